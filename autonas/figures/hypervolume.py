"""The hypervolume after each trial, over training, time or tokens; random search beside it, what more would buy behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go

from autonas.figures import theme
from autonas.figures.units import unit_of
from autonas.reporting.history import started_at
from autonas.reporting.quantities import duration_text, tokens_text
from autonas.reporting.report import HypervolumePoint, Report

Against = Literal["train_s", "elapsed_s", "tokens"]

MOST_POINTS = 1000  # of more trials every so many-th is drawn, the last always


@dataclass(frozen=True, slots=True, kw_only=True)
class _Random:
    """Random search over training or tokens: what its own trials took, and its interval where it is scaled up to."""

    spent: float
    low: float
    high: float
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    title: str
    unit: str
    divisor: float
    now: float  # in the axis' unit, as far as the study has come
    end: float
    at: Callable[[HypervolumePoint], float]


def hypervolume(report: Report, against: Against = "train_s") -> go.Figure | None:
    """The hypervolume with its 95 % interval; None before a trial has finished, and where the ledger does not tell the time.

    Random search is drawn, too, where it is known; over the time since the study began it is that of workers who never wait.
    Over training, so is the forecast.
    """
    points = report.hypervolume
    if not is_told(report, against):
        return None
    axis = _axis(report, against)
    shown = thinned(points)
    across = [axis.at(point) for point in shown]
    traces = _band([*across, axis.now], [*shown, shown[-1]])
    annotations: list[dict[str, Any]] = []
    above = True  # whose label goes above the line: the study's own, or random search's
    random = _random_search(report, against)
    if against == "train_s":
        traces += _ahead(report, axis)
    if random is not None:
        traces += _random(random, axis.divisor)
        spent, value = random.curve[-1]
        above = value < points[-1].value
        annotations.append(_label("random search", spent / axis.divisor, value, above=not above))
    traces += _own(shown, across, axis)
    annotations.append(_label(f"{points[-1].value:.3f}", axis.now, points[-1].value, above=above, color="front"))
    return theme.figure(
        traces,
        x=theme.axis(axis.title, unit=axis.unit, range=[0.0, axis.end * 1.02]),
        y=theme.axis("hypervolume, share of the box", range=[0.0, max(_highest(report, against) * 1.05, 1e-6)]),
        annotations=annotations,
    )


def thinned(points: Sequence[HypervolumePoint]) -> list[HypervolumePoint]:
    """At most about `MOST_POINTS` of them, the last among them."""
    return [*points[: -1 : -(-len(points) // MOST_POINTS)], points[-1]]


def is_told(report: Report, against: Against) -> bool:
    """Whether there is anything to draw: finished trials of which the ledger says when they ended, or after how many tokens."""
    if not report.hypervolume:
        return False
    if against == "elapsed_s":
        ended = {number for number, _ in report.study.timeline}
        return started_at(report.study) is not None and all(point.trial in ended for point in report.hypervolume)
    return against != "tokens" or report.hypervolume[-1].tokens > 0


def _axis(report: Report, against: Against) -> _Axis:
    points, random = report.hypervolume, _random_search(report, against)
    reached = 0.0 if random is None else random.curve[-1][0]
    if against == "tokens":
        now = max(float(points[-1].tokens), float(report.train_tokens), reached)
        return _Axis(title="tokens trained", unit="tokens", divisor=1.0, now=now, end=now, at=lambda point: float(point.tokens))
    if against == "elapsed_s":
        now = max(points[-1].elapsed_s, reached, 1e-6)
        seconds, unit = unit_of(now)
        title = f"{unit} since the study began, pauses included"
        now /= seconds
        return _Axis(title=title, unit="", divisor=seconds, now=now, end=now, at=lambda point: point.elapsed_s / seconds)
    now = max(points[-1].train_s, report.train_seconds, reached, 1e-6)
    end = now + (report.prospect.ahead_s if report.prospect else 0.0)
    seconds, unit = unit_of(end)
    return _Axis(
        title=f"{unit} of training, all workers together",
        unit="",
        divisor=seconds,
        now=now / seconds,
        end=end / seconds,
        at=lambda point: point.train_s / seconds,
    )


def _random_search(report: Report, against: Against) -> _Random | None:
    control = report.control
    if control is None or control.low is None or control.high is None:
        return None
    if against == "train_s":
        return _Random(spent=control.train_s, low=control.low, high=control.high, curve=control.curve)
    found = control.by_tokens if against == "tokens" else control.by_elapsed
    return None if found is None else _Random(spent=found.spent, low=found.low, high=found.high, curve=found.curve)


def _highest(report: Report, against: Against) -> float:
    ends = [point.high for point in report.hypervolume]
    if (random := _random_search(report, against)) is not None:
        ends.append(random.high)
    if against == "train_s" and report.prospect:
        ends.append(report.prospect.value + report.prospect.high)
    return max(ends)


def _band(across: list[float], points: Sequence[HypervolumePoint]) -> list[go.Scatter]:
    """The interval, held from each trial to the next."""
    edge = {"mode": "lines", "line": {"width": 0, "shape": "hv"}, "hoverinfo": "skip", "x": across}
    low = go.Scatter(**edge, y=[point.low for point in points])
    high = go.Scatter(**edge, y=[point.high for point in points], fill="tonexty", fillcolor=theme.rgba("front", 0.12))
    return [low, high]


def _own(points: Sequence[HypervolumePoint], across: list[float], axis: _Axis) -> list[go.Scatter]:
    values = [point.value for point in points]
    stairs = go.Scatter(
        x=[across[0], *across, axis.now],
        y=[0.0, *values, values[-1]],
        mode="lines",
        line={"shape": "hv", "width": 1.6, "color": theme.LIGHT["front"]},
        hoverinfo="skip",
    )
    marks = go.Scatter(
        x=across,
        y=values,
        mode="markers",
        marker={"size": 5, "color": theme.LIGHT["front"]},
        customdata=[point.trial for point in points],
        text=[
            f"{point.low:.3f}–{point.high:.3f}, after {duration_text(point.train_s)}, {tokens_text(point.tokens)} tokens"
            for point in points
        ],
        hovertemplate="trial %{customdata}: %{y:.3f} (%{text})<extra></extra>",
    )
    return [stairs, marks]


def _random(random: _Random, divisor: float) -> list[go.Scatter]:
    """Random search: solid as far as it was seen, dashed where it is scaled up from there, with its interval at the end."""
    curve = random.curve
    split = max(sum(spent <= random.spent * 1.0001 for spent, _ in curve), 1)
    traces = []
    for part, dash in ((curve[:split], "solid"), (curve[split - 1 :], "dash")):
        traces.append(
            go.Scatter(
                x=[spent / divisor for spent, _ in part],
                y=[value for _, value in part],
                mode="lines",
                line={"width": 1.4, "dash": dash, "color": theme.LIGHT["final"]},
                hovertemplate="random search: %{y:.3f}<extra></extra>",
            )
        )
    spent, value = curve[-1]
    end = go.Scatter(
        x=[spent / divisor],
        y=[value],
        mode="markers",
        marker={"size": 6, "symbol": "circle-open", "color": theme.LIGHT["final"]},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [random.high - value],
            "arrayminus": [value - random.low],
            "color": theme.LIGHT["final"],
            "thickness": 1,
            "width": 3,
        },
        hovertemplate=f"as much random search: %{{y:.3f}} ({random.low:.3f}–{random.high:.3f}, 95 %)<extra></extra>",
    )
    return [*traces, end]


def _ahead(report: Report, axis: _Axis) -> list[go.Scatter]:
    """The forecast: its 90 % interval, widening from nothing, and the median."""
    prospect = report.prospect
    if prospect is None:
        return []
    start = report.hypervolume[-1].value
    middle, low, high = (prospect.value + gain for gain in (prospect.gain, prospect.low, prospect.high))
    fan = go.Scatter(
        x=[axis.now, axis.end, axis.end, axis.now],
        y=[start, high, low, start],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=theme.rgba("front", 0.12),
        hoverinfo="skip",
    )
    median = go.Scatter(
        x=[axis.now, axis.end],
        y=[start, middle],
        mode="lines+markers",
        line={"width": 1.4, "dash": "dash", "color": theme.LIGHT["front"]},
        marker={"size": [0, 7], "symbol": "circle-open", "color": theme.LIGHT["front"]},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [0.0, high - middle],
            "arrayminus": [0.0, middle - low],
            "color": theme.LIGHT["front"],
            "thickness": 1,
            "width": 3,
        },
        hovertemplate=f"forecast: %{{y:.3f}} ({low:.3f}–{high:.3f}, nine times in ten)<extra></extra>",
    )
    return [fan, median]


def _label(text: str, x: float, y: float, *, above: bool, color: str = "soft") -> dict[str, Any]:
    return {
        "text": text,
        "x": x,
        "y": y,
        "xanchor": "right",
        "yanchor": "bottom" if above else "top",
        "yshift": 3 if above else -3,
        "showarrow": False,
        "font": {"size": 11, "color": theme.LIGHT[color]},
    }
