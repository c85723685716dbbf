"""Learning curves of all trials: training loss of the trunk, the cooldown of each rung, the validation loss after it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go

from autonas.figures import theme
from autonas.figures.texts import plain
from autonas.reporting.labels import spread
from autonas.reporting.learning import ORDER, Baseline, LearningCurve, learning
from autonas.reporting.report import Report

_WIDTHS = {"knee": 1.8, "front": 1.4}  # pixels; others 1
_MOST_LABELS = 8
_LABEL_SHARE = 0.03  # of the height, from one label to the next


def curves(report: Report) -> go.Figure | None:
    """Loss over tokens (logarithmic), coloured by what became of the trial; None when none was scored at a rung.

    One trace a kind, whose lines are apart from each other by a point that is none: hundreds of trials are drawn at once.
    """
    found = learning(report)
    if found is None:
        return None
    traces: list[go.Scatter] = []
    for kind in ORDER:
        own = [curve for curve in found.curves if curve.kind == kind]
        if own:
            traces += [*_lines(kind, own), _scores(kind, own)]
    traces += [_baseline(baseline) for baseline in found.baselines]
    return theme.figure(
        traces,
        x=theme.axis("tokens shown", unit="tokens", log=True),
        y=theme.axis("loss, nats per token"),
        height=400,
        annotations=_labels(found.curves),
        margin={"l": 8, "r": 36, "t": 12, "b": 8},
    )


def _lines(kind: str, own: Sequence[LearningCurve]) -> list[go.Scatter]:
    name, _, _ = theme.MARKS[kind]
    trunks = [(curve.trial, curve.trunk) for curve in own if curve.trunk]
    forks = [(curve.trial, fork) for curve in own for fork in curve.forks]
    return [
        go.Scatter(
            **_joined(lines),
            mode="lines",
            line={"width": _WIDTHS.get(kind, 1.0), "color": theme.LIGHT[name], "dash": dash},
            hovertemplate=f"trial %{{customdata}}: {what} %{{y:.3f}} at %{{x:.3s}} tokens<extra></extra>",
        )
        for lines, dash, what in ((trunks, "solid", "training loss"), (forks, "dot", "cooldown,"))
        if lines
    ]


def _joined(lines: Iterable[tuple[int, Sequence[tuple[int, float]]]]) -> dict[str, list[Any]]:
    """Lines of trials behind one another, each ended by a point that is none."""
    x: list[int | None] = []
    y: list[float | None] = []
    trials: list[int | None] = []
    for trial, points in lines:
        x += [*(tokens for tokens, _ in points), None]
        y += [*(round(loss, 4) for _, loss in points), None]
        trials += [trial] * len(points) + [None]
    return {"x": x[:-1], "y": y[:-1], "customdata": trials[:-1]}


def _scores(kind: str, own: Sequence[LearningCurve]) -> go.Scatter:
    name, symbol, size = theme.MARKS[kind]
    places = [(curve.trial, rung, tokens, loss) for curve in own for rung, tokens, loss in curve.scores]
    return go.Scatter(
        x=[tokens for _, _, tokens, _ in places],
        y=[round(loss, 4) for _, _, _, loss in places],
        mode="markers",
        marker={"color": theme.LIGHT[name], "symbol": symbol, "size": min(size, 8)},
        customdata=[trial for trial, _, _, _ in places],
        text=[f"rung {rung}" for _, rung, _, _ in places],
        hovertemplate="trial %{customdata}: validation loss %{y:.3f} at %{text}, %{x:.3s} tokens<extra></extra>",
    )


def _baseline(baseline: Baseline) -> go.Scatter:
    """A short level line at a rung's end: models of counts fitted on the tokens that trials had been shown there."""
    name, level = plain(baseline.name, 40), (baseline.low + baseline.high) / 2
    return go.Scatter(
        x=[baseline.tokens * 0.8, baseline.tokens * 1.04],
        y=[level, level],
        mode="lines+text",
        line={"width": 1.4, "color": theme.LIGHT["ink"]},
        text=["", name],
        textposition="top left",
        textfont={"size": 10, "color": theme.LIGHT["ink"]},
        hovertemplate=f"{name} model: {baseline.low:.3f}–{baseline.high:.3f} nats at rung {baseline.rung}<extra></extra>",
    )


def _labels(found: Sequence[LearningCurve]) -> list[dict[str, Any]]:
    """The front's trials named at their ends, while they are few."""
    named = [curve for curve in found if curve.kind in ("front", "knee") and curve.scores]
    if not named or len(named) > _MOST_LABELS:
        return []
    losses = [loss for curve in found for points in (curve.trunk, *curve.forks) for _, loss in points]
    losses += [loss for curve in found for _, _, loss in curve.scores]
    low, high = min(losses), max(losses)
    heights = spread([curve.scores[-1][2] for curve in named], (high - low) * _LABEL_SHARE, low, high)
    return [
        {
            "text": str(curve.trial),
            "x": math.log10(max(curve.scores[-1][1], 1)),  # of a logarithmic axis
            "y": height,
            "xanchor": "left",
            "xshift": 6,
            "showarrow": False,
            "font": {"size": 10, "color": theme.LIGHT[theme.MARKS[curve.kind][0]]},
        }
        for curve, height in zip(named, heights, strict=True)
    ]
