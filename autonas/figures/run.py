"""Drawings of a full run: its way over tokens, and what its evaluation found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import plotly.graph_objects as go

from autonas.figures import theme
from autonas.figures.texts import plain
from autonas.policy.prediction import Predicted
from autonas.reporting.evaluation import Values, rows_by_context
from autonas.reporting.quantities import tokens_text
from autonas.reporting.run_so_far import RunSoFar, Stretch, thinned
from autonas.trial import Score

_TALL, _LOW = 400, 220
# Losses at the beginning would press the rest of the curve into a corner: it enters at the top.
_SHOWN_FROM = 0.02
# Figures of the lines of training by name, with their titles, and what stands along their axes.
SERIES_TITLES: Final = {
    "learning_rate": "Learning rate of hidden matrices",
    "gradient_norm": "Gradient norm before clipping",
    "tokens_per_s": "Tokens per second",
}
_AXES: Final = {"learning_rate": "Learning rate", "gradient_norm": "Gradient norm", "tokens_per_s": "Tokens/s"}


def run_figures(
    so_far: RunSoFar | None, values: Values, predicted: Predicted | None = None, final: Score | None = None
) -> dict[str, go.Figure]:
    """All drawings that there is something to draw for, by name.

    `predicted` is the `val_loss` that was foretold, `final` the one that was measured at the end on all of the validation text.
    """
    figures: dict[str, go.Figure | None] = {}
    if so_far is not None:
        figures["loss"] = loss_figure(so_far, predicted, final)
        figures |= {name: series_figure(so_far, name) for name in SERIES_TITLES}
        figures["looks"] = looks_figure(so_far)
    suite: Values = values.get("suite", {})
    for name, draw in _EVALUATION.items():
        if name in suite:
            try:
                figures[name] = draw(suite[name]["result"])
            except (KeyError, TypeError, IndexError, ValueError):
                figures[name] = None  # of another version: its table says so
    return {name: figure for name, figure in figures.items() if figure is not None}


def loss_figure(so_far: RunSoFar, predicted: Predicted | None = None, final: Score | None = None) -> go.Figure | None:
    """Training and validation loss over tokens; None before the second line of either."""
    lines = thinned(so_far.losses)
    if len(lines) < 2 and len(so_far.probes) < 2:
        return None
    traces = [_line(lines, "training", "final", "nats/token")] if lines else []
    bounds = [line.mean for line in lines if line.tokens >= _SHOWN_FROM * so_far.tokens] or [line.mean for line in lines[-1:]]
    if so_far.probes:
        at = [probe.tokens for probe in so_far.probes]
        low, high = [probe.low for probe in so_far.probes], [probe.high for probe in so_far.probes]
        traces += _band(at, low, high, "front")
        traces.append(
            go.Scatter(
                x=at,
                y=[probe.value for probe in so_far.probes],
                customdata=list(zip(low, high, strict=True)),
                name="validation",
                mode="lines+markers",
                line={"color": theme.LIGHT["front"], "width": 1.6},
                marker={"color": theme.LIGHT["front"], "size": 4, "symbol": "circle"},
                hovertemplate="%{x:,} tokens: %{y:.3f} (%{customdata[0]:.3f}–%{customdata[1]:.3f})<extra>validation</extra>",
            )
        )
        bounds += [*low, *high]
    if (best := so_far.best) is not None:
        traces.append(_point(best.tokens, best.value, "lowest", "knee", "diamond"))
    if predicted is not None:
        traces += _prediction(so_far.total_tokens, predicted)
        bounds += [end for each in predicted.intervals for end in (each.low, each.high)] + [predicted.value]
    if final is not None and so_far.ended:
        traces.append(_measured(so_far.tokens, final))
        bounds += [final.low, final.high]
    return theme.figure(
        traces,
        x=_tokens_axis(so_far),
        y=theme.axis("Loss, nats per token", range=_span(bounds)),
        height=_TALL,
        **_legend(),
        **_marks(so_far),
    )


def series_figure(so_far: RunSoFar, name: str) -> go.Figure | None:
    """One number of the lines of training over tokens, with the least and the greatest of each stretch; None without two."""
    lines = thinned(so_far.series.get(name, ()))
    if len(lines) < 2:
        return None
    at = [line.tokens for line in lines]
    traces = []
    if any(line.low < line.high for line in lines):
        traces += _band(at, [line.low for line in lines], [line.high for line in lines], "second")
    unit = {"learning_rate": "", "gradient_norm": "", "tokens_per_s": "tokens/s"}[name]
    traces.append(_line(lines, SERIES_TITLES[name], "second", unit, digits=".3~s" if name == "tokens_per_s" else ".3g"))
    floor: dict[str, Any] = {"rangemode": "tozero", "tickformat": "~s" if name == "tokens_per_s" else "~g"}
    return theme.figure(traces, x=_tokens_axis(so_far), y=theme.axis(_AXES[name], **floor), height=_LOW, **_marks(so_far))


def looks_figure(so_far: RunSoFar) -> go.Figure | None:
    """The share of degenerate samples at each look, with Wilson's 95 % interval; None before the first."""
    looks = so_far.looks
    if not looks:
        return None
    samples = ["" if look.samples is None else f" of {look.samples} samples" for look in looks]
    above = [0.0 if look.high is None else look.high - look.rate for look in looks]
    below = [0.0 if look.low is None else look.rate - look.low for look in looks]
    trace = go.Scatter(
        x=[look.tokens for look in looks],
        y=[look.rate for look in looks],
        customdata=[[text, look.detector] for text, look in zip(samples, looks, strict=True)],
        mode="lines+markers",
        line={"color": theme.LIGHT["front"], "width": 1.2, "dash": "dot"},
        marker={"color": theme.LIGHT["front"], "size": 8},
        error_y=_error_bar("front", above, below),
        hovertemplate="%{x:,} tokens: %{y:.0%}%{customdata[0]} %{customdata[1]}<extra></extra>",
    )
    top = max(0.05, *(look.rate + more for look, more in zip(looks, above, strict=True)))
    share = theme.axis(f"Share of {looks[-1].detector} samples", unit="share", range=[0.0, min(top * 1.05, 1.02)])
    return theme.figure([trace], x=_tokens_axis(so_far), y=share, height=280, **_marks(so_far))


def collapse_figure(result: Values) -> go.Figure | None:
    """Degeneration by the length of context, with 95 % intervals; None with fewer than two lengths."""
    rows = rows_by_context(result)
    if len(rows) < 2:
        return None
    name = "degeneration" if "degeneration" in rows[0]["rates"] else "collapse_rate"
    rates = [row["rates"][name] for row in rows]
    trace = go.Scatter(
        x=[row["context_tokens"] for row in rows],
        y=[rate["value"] for rate in rates],
        customdata=[[rate["low"], rate["high"]] for rate in rates],
        mode="lines+markers",
        line={"color": theme.LIGHT["front"], "width": 1.2},
        marker={"color": theme.LIGHT["front"], "size": 8},
        error_y=_error_bar(
            "front", [rate["high"] - rate["value"] for rate in rates], [rate["value"] - rate["low"] for rate in rates]
        ),
        hovertemplate="%{x} tokens: %{y:.0%} (%{customdata[0]:.0%}–%{customdata[1]:.0%})<extra></extra>",
    )
    lengths = [row["context_tokens"] for row in rows]
    x = theme.axis("Tokens of context", log=True, tickvals=lengths, ticktext=[str(length) for length in lengths])
    top = max(0.05, *(rate["high"] for rate in rates))
    title = "Share degenerate" if name == "degeneration" else "Share collapsed"
    return theme.figure([trace], x=x, y=theme.axis(title, unit="share", range=[0.0, min(1.05 * top, 1.02)]), height=300)


def token_classes_figure(result: Values) -> go.Figure | None:
    """The loss of each class of tokens with its 95 % interval, beside those of models of counts; None without a class."""
    classes = sorted(result["classes"], key=lambda each: each["loss"]["value"])
    if not classes:
        return None
    names = [plain(each["name"]) for each in classes]
    traces = [
        go.Scatter(
            x=[each[key] for each in classes],
            y=names,
            name=key,
            mode="markers",
            marker={"color": theme.LIGHT[colour], "symbol": symbol, "size": 8},
            hovertemplate="%{y}: %{x:.2f} nats/token<extra>" + key + "</extra>",
        )
        for key, colour, symbol in (
            ("unigram", "faint", "line-ns-open"),
            ("kind", "second", "triangle-up-open"),
            ("bigram", "soft", "square-open"),
        )
    ]
    traces.append(_forest([each["loss"] for each in classes], names, "this model", "front"))
    x = theme.axis("Nats per token", rangemode="tozero")
    y = theme.axis("", type="category", nticks=len(names), ticks="", showgrid=False)
    return theme.figure(traces, x=x, y={**y, "type": "category"}, height=90 + 26 * len(names), **_legend())


def calibration_figure(result: Values) -> go.Figure:
    """The loss as it is and at the temperature that suits the model, with 95 % intervals, and the entropy it is sure by."""
    names = ["at the suited temperature", "as it is"]
    traces = [
        _forest([result["calibrated"], result["raw"]], names, "loss", "front"),
        go.Scatter(
            x=[result["entropy"]],
            y=["as it is"],
            name="entropy",
            mode="markers",
            marker={"color": theme.LIGHT["knee"], "symbol": "diamond", "size": 9},
            hovertemplate="entropy of what it predicts: %{x:.3f} nats<extra></extra>",
        ),
    ]
    y = {**theme.axis("", ticks="", showgrid=False), "type": "category"}
    return theme.figure(traces, x=theme.axis("Nats per token"), y=y, height=190, **_legend())


_EVALUATION: Final = {
    "collapse": collapse_figure,
    "token_classes": token_classes_figure,
    "calibration": calibration_figure,
}


def _tokens_axis(so_far: RunSoFar) -> dict[str, Any]:
    return theme.axis("Tokens shown", unit="tokens", range=[0, 1.015 * max(so_far.total_tokens, so_far.tokens, 1)])


def _line(lines: Sequence[Stretch], name: str, colour: str, unit: str, digits: str = ".3f") -> go.Scatter:
    return go.Scatter(
        x=[line.tokens for line in lines],
        y=[line.mean for line in lines],
        name=name,
        mode="lines",
        line={"color": theme.LIGHT[colour], "width": 1.4},
        hovertemplate=f"%{{x:,}} tokens: %{{y:{digits}}} {unit}<extra>{name}</extra>",
    )


def _band(at: Sequence[float], low: Sequence[float], high: Sequence[float], colour: str) -> list[go.Scatter]:
    """The area between two lines, which says nothing when pointed at."""
    edge: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    return [
        go.Scatter(x=list(at), y=list(low), **edge),
        go.Scatter(x=list(at), y=list(high), fill="tonexty", fillcolor=theme.rgba(colour, 0.16), **edge),
    ]


def _point(tokens: int, value: float, name: str, colour: str, symbol: str) -> go.Scatter:
    return go.Scatter(
        x=[tokens],
        y=[value],
        name=name,
        mode="markers",
        marker={"color": theme.LIGHT[colour], "symbol": symbol, "size": 11},
        hovertemplate=f"{name}: %{{y:.3f}} nats/token after %{{x:,}} tokens<extra></extra>",
    )


def _prediction(tokens: int, predicted: Predicted) -> list[go.Scatter]:
    """Where the run was foretold to end: a bar for each interval, the surest the thinnest."""
    bars = [
        go.Scatter(
            x=[tokens, tokens],
            y=[each.low, each.high],
            mode="lines",
            line={"color": theme.LIGHT["pick"], "width": width},
            opacity=0.75,
            showlegend=False,
            hovertemplate=f"foretold, {each.level:.0%}: {each.low:.3f}–{each.high:.3f} nats/token<extra></extra>",
        )
        for each, width in zip(predicted.intervals, (7, 2.5, *[1.5] * len(predicted.intervals)), strict=False)
    ]
    return [*bars, _point(tokens, predicted.value, "foretold before the run", "pick", "line-ew-open")]


def _measured(tokens: int, final: Score) -> go.Scatter:
    return go.Scatter(
        x=[tokens],
        y=[final.value],
        name="measured at the end",
        mode="markers",
        marker={"color": theme.LIGHT["ink"], "symbol": "star", "size": 10},
        error_y=_error_bar("ink", [final.high - final.value], [final.value - final.low]),
        hovertemplate=f"at the end, all validation text: {final.value:.3f} ({final.low:.3f}–{final.high:.3f})<extra></extra>",
    )


def _forest(scores: Sequence[Mapping[str, Any]], names: Sequence[str], name: str, colour: str) -> go.Scatter:
    """Scores side by side as points with their intervals, one a line."""
    bar = _error_bar(
        colour, [each["high"] - each["value"] for each in scores], [each["value"] - each["low"] for each in scores]
    )
    return go.Scatter(
        x=[each["value"] for each in scores],
        y=list(names),
        customdata=[[each["low"], each["high"]] for each in scores],
        name=name,
        mode="markers",
        marker={"color": theme.LIGHT[colour], "symbol": "circle", "size": 8},
        error_x=bar,
        hovertemplate="%{y}: %{x:.3f} (%{customdata[0]:.3f}–%{customdata[1]:.3f})<extra>" + name + "</extra>",
    )


def _error_bar(colour: str, above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    bar = {"type": "data", "symmetric": False, "array": list(above), "arrayminus": list(below)}
    return {**bar, "color": theme.LIGHT[colour], "thickness": 1.2, "width": 3}


def _marks(so_far: RunSoFar) -> dict[str, Any]:
    """Upright lines where something changed: stages, the cooldown, and where the training went back to."""
    changes = [(stage.begins, f"stage {stage.number}", "soft", "dot") for stage in so_far.stages]
    if so_far.cooldown_from is not None:
        changes.append((so_far.cooldown_from, "cooldown", "soft", "dash"))
    changes += [(tokens, f"went back to {tokens_text(tokens)}", "alarm", "dashdot") for tokens, _ in so_far.rollbacks]
    shapes = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": at,
            "x1": at,
            "y0": 0,
            "y1": 1,
            "line": {"color": theme.LIGHT[colour], "width": 1, "dash": dash},
        }
        for at, _, colour, dash in changes
    ]
    labels = [
        {
            "x": at,
            "y": 1,
            "xref": "x",
            "yref": "paper",
            "text": plain(text),
            "showarrow": False,
            "textangle": -90,
            "xanchor": "right",
            "yanchor": "top",
            "font": {"size": 10, "color": theme.LIGHT[colour]},
        }
        for at, text, colour, _ in changes
        if at > 0
    ]
    return {"shapes": shapes, "annotations": labels}


def _span(bounds: Sequence[float]) -> list[float]:
    low, high = min(bounds), max(bounds)
    room = 0.04 * (high - low) or 0.1
    return [low - room, high + room]


def _legend() -> dict[str, Any]:
    """Above the drawing, so that it takes nothing of its width on a phone."""
    look = {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "font": {"size": 12}}
    return {"showlegend": True, "legend": {**look, "bgcolor": "rgba(0,0,0,0)"}}
