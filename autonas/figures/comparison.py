"""Drawings of studies side by side: fronts in pairs of objectives, volumes in one box, and how common architectures reproduce.

A mark's customdata begins with `study:trial`, since trial numbers are not the same in two studies; its meta names its study, by
which a page hides and shows it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

import plotly.graph_objects as go

from autonas.figures import theme
from autonas.figures.texts import plain
from autonas.objective import Objective
from autonas.reporting.duel import VolumePoint
from autonas.reporting.quantities import interval_text, score_text
from autonas.reporting.report import FinalTrial
from autonas.reporting.reproduction import Common
from autonas.reporting.scales import log_ticks
from autonas.reporting.side_by_side import Side, SideBySide

LONGEST_NAME: Final = 60
MOST_OTHERS: Final = 400  # of a study's final trials that are not on its front; all that are on it are drawn
SYMBOLS: Final = ("circle", "diamond", "square", "triangle-up", "cross", "star")


def comparison_figures(found: SideBySide) -> dict[str, go.Figure]:
    """All drawings that there is something to draw for, by name."""
    figures = {}
    if found.box is not None:
        pairs = itertools.combinations(range(len(found.objectives)), 2)
        for first, second in pairs:
            figures[f"front-{first}-{second}"] = front_figure(found, found.objectives[first], found.objectives[second])
        if found.budget_flops is not None:
            figures["volume-flops"] = volume_figure(found, "flops")
        if found.budget_s is not None:
            figures["volume-seconds"] = volume_figure(found, "train_s")
    if found.common and len(found.sides) == 2:
        for number, objective in enumerate(found.objectives):
            if objective.known != "arithmetic":
                figures[f"common-{number}"] = common_figure(found, objective, number)
    return figures


def look(side: int) -> tuple[str, str, str]:
    """The colour's name, the symbol and the dash of a side."""
    return theme.SERIES[side % len(theme.SERIES)], SYMBOLS[side % len(SYMBOLS)], theme.DASHES[side % len(theme.DASHES)]


def front_figure(found: SideBySide, x: Objective, y: Objective) -> go.Figure:
    """The fronts of all sides in two objectives, with intervals; the other final trials faint behind them."""
    traces: list[go.Scatter] = []
    for number, side in enumerate(found.sides):
        others = drawn_others(side)
        traces.append(_marks(side, number, others, x, y, faint=True))
    traces += [_marks(side, number, side.members, x, y, faint=False) for number, side in enumerate(found.sides)]
    across, up = ([trial.scores[objective.name].value for side in found.sides for trial in side.trials] for objective in (x, y))
    return theme.figure(traces, x=_axis(x, across), y=_axis(y, up), height=330)


def drawn_others(side: Side) -> list[FinalTrial]:
    """The final trials off a side's front that are drawn: all, or as many as can be told apart, evenly spaced by number."""
    on_front = set(side.front)
    others = [trial for place, trial in enumerate(side.trials) if place not in on_front]
    if len(others) <= MOST_OTHERS:
        return others
    return [others[place * len(others) // MOST_OTHERS] for place in range(MOST_OTHERS)]


def volume_figure(found: SideBySide, by: str) -> go.Figure:
    """The share of the common box that each front dominates, against what had been spent, up to what all have spent and on."""
    traces: list[go.Scatter] = []
    for number, volumes in enumerate(found.volumes):
        colour, _, dash = look(number)
        at = [0.0, *(_spent(point, by) for point in volumes.points)]
        meta = {"kind": f"study-{number}"}
        edge: dict[str, Any] = {
            "mode": "lines",
            "line": {"width": 0, "shape": "hv"},
            "hoverinfo": "skip",
            "meta": meta,
            "x": at,
        }
        traces.append(go.Scatter(y=[0.0, *(point.low for point in volumes.points)], **edge))
        traces.append(
            go.Scatter(
                y=[0.0, *(point.high for point in volumes.points)], fill="tonexty", fillcolor=theme.rgba(colour, 0.13), **edge
            )
        )
        traces.append(
            go.Scatter(
                x=at,
                y=[0.0, *(point.value for point in volumes.points)],
                customdata=[[None, "", ""], *(_told_point(number, point) for point in volumes.points)],
                name=plain(found.sides[number].name, LONGEST_NAME),
                mode="lines",
                line={"color": theme.LIGHT[colour], "width": 1.8, "dash": dash, "shape": "hv"},
                meta=meta,
                hovertemplate="%{y:.3f} (%{customdata[1]}–%{customdata[2]})<extra>%{fullData.name}</extra>",
            )
        )
    budget = found.budget_flops if by == "flops" else found.budget_s
    mark = {"color": theme.LIGHT["soft"], "width": 1, "dash": "dot"}
    shape = {"type": "line", "xref": "x", "yref": "paper", "x0": budget, "x1": budget, "y0": 0, "y1": 1, "line": mark}
    scaled = by == "flops"
    title = "Training compute, FLOP" if scaled else "Seconds in training jobs, all workers together"
    return theme.figure(
        traces,
        x=theme.axis(title, unit="FLOP/token" if scaled else "", rangemode="tozero"),
        y=theme.axis("Dominated share of the common box", rangemode="tozero"),
        height=360,
        shapes=[shape],
    )


def common_figure(found: SideBySide, objective: Objective, number: int) -> go.Figure:
    """The scores of common architectures in one study against those in the other; on the line they are the same."""
    rows = [(each, pair) for each in found.common for pair in each.pairs if pair.objective == objective]
    ends = [end for _, pair in rows for score in (pair.first, pair.second) for end in (score.low, score.high)]
    colour, symbol, _ = look(0)
    line = {"color": theme.LIGHT["faint"], "width": 1, "dash": "dot"}
    first, second = ([getattr(pair, name) for _, pair in rows] for name in ("first", "second"))
    traces = [
        go.Scatter(x=[min(ends), max(ends)], y=[min(ends), max(ends)], mode="lines", line=line, hoverinfo="skip"),
        go.Scatter(
            x=[score.value for score in first],
            y=[score.value for score in second],
            customdata=[[f"0:{each.trials[0]}", each.trials[0], each.trials[1], _told(each)] for each, _ in rows],
            mode="markers",
            marker={"color": theme.LIGHT[colour], "symbol": symbol, "size": 8},
            error_x=_error_bar(colour, first),
            error_y=_error_bar(colour, second),
            hovertemplate="trials %{customdata[1]} and %{customdata[2]}: %{x:.4~g} and %{y:.4~g}"
            "<br>%{customdata[3]}<extra></extra>",
        ),
    ]
    names = [plain(side.name, 30) for side in found.sides[:2]]
    return theme.figure(
        traces,
        x=_axis(objective, ends, f"{objective.title}, {names[0]}"),
        y=_axis(objective, ends, f"… {names[1]}"),
        height=330,
    )


def _marks(side: Side, number: int, trials: Sequence[FinalTrial], x: Objective, y: Objective, *, faint: bool) -> go.Scatter:
    colour, symbol, _ = look(number)
    across, up = ([trial.scores[objective.name] for trial in trials] for objective in (x, y))
    marker: dict[str, Any] = {"color": theme.LIGHT[colour], "symbol": symbol, "size": 9}
    bars: dict[str, Any] = {"error_x": _error_bar(colour, across), "error_y": _error_bar(colour, up)}
    if faint:
        marker, bars = {**marker, "symbol": f"{symbol}-open", "size": 6, "opacity": 0.4}, {}
    where = "on its front" if not faint else "not on its front"
    return go.Scatter(
        x=[score.value for score in across],
        y=[score.value for score in up],
        customdata=[[f"{number}:{trial.number}", trial.number, _score(trial, x), _score(trial, y)] for trial in trials],
        name=plain(side.name, LONGEST_NAME),
        mode="markers",
        marker=marker,
        meta={"kind": f"study-{number}"},
        hovertemplate=f"trial %{{customdata[1]}}, {where}<br>{x.title} %{{customdata[2]}}<br>{y.title} %{{customdata[3]}}"
        "<extra>%{fullData.name}</extra>",
        **bars,
    )


def _score(trial: FinalTrial, objective: Objective) -> str:
    score = trial.scores[objective.name]
    interval = interval_text(score)
    return f"{score_text(score)} ({interval})" if interval else score_text(score)


def _told(common: Common) -> str:
    return plain(f"{common.spec.layers} × {common.spec.width}, {common.spec.fingerprint}")


def _axis(objective: Objective, values: Sequence[float], title: str = "") -> dict[str, Any]:
    unit = "" if objective.unit in ("share", "parameters") else f", {objective.unit}"
    ticks: dict[str, Any] = {}
    if objective.logarithmic and values:
        found = log_ticks(values, objective.unit)
        ticks = {"tickmode": "array", "tickvals": [value for value, _ in found], "ticktext": [text for _, text in found]}
    return theme.axis((title or objective.title) + unit, unit=objective.unit, log=objective.logarithmic, **ticks)


def _told_point(number: int, point: VolumePoint) -> list[Any]:
    return [f"{number}:{point.trial}", f"{point.low:.3f}", f"{point.high:.3f}"]


def _spent(point: VolumePoint, by: str) -> float:
    return point.flops if by == "flops" else point.train_s


def _error_bar(colour: str, scores: Sequence[Any]) -> dict[str, Any]:
    above, below = [score.high - score.value for score in scores], [score.value - score.low for score in scores]
    bar = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
    return {**bar, "color": theme.rgba(colour, 0.5), "thickness": 1, "width": 0}
