"""Parallel coordinates as coordinates: one line per trial over the dimensions that vary and the objectives.

A drawing of its own and not Plotly's, whose parallel coordinates know neither hover nor click nor keyboard, draw by WebGL and
need a content security policy that allows evaluation (docs/decisions.md). y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autonas.reporting.marks import SHOWN_AT_FIRST, Mark
from autonas.reporting.report import Report
from autonas.reporting.scales import Scale, Tick

_MOST_LEVELS = 8  # of a dimension of numbers; more have a scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    trial: int
    kind: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    name: str
    title: str
    x: float
    ticks: tuple[Tick, ...]
    is_objective: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    width: int
    height: int
    top: float
    bottom: float
    axes: tuple[Axis, ...]
    lines: tuple[Line, ...]  # what matters most comes last, and is drawn on top


def parallel(report: Report, found: Sequence[Mark], width: int = 1000, height: int = 300) -> Parallel | None:
    """The lines of these marks; None when there is nothing to compare. A trial that was not scored in an objective at the last
    rung has no point on that axis: nothing is compared across budgets."""
    if len(report.standings) < 2:
        return None
    specs = [mark.spec.to_dict() for mark in found]
    finals = [mark.kind in SHOWN_AT_FIRST for mark in found]
    names = [name for name in specs[0] if len({str(spec.get(name)) for spec in specs}) > 1]
    count = len(names) + len(report.objectives)
    top, bottom, left, right = 46.0, height - 16.0, 44.0, width - 60.0
    places = [round(left + (right - left) * i / max(count - 1, 1), 1) for i in range(count)]
    axes: list[Axis] = []
    columns: list[list[float | None]] = []
    for name, x in zip(names, places, strict=False):
        ticks, heights = _dimension_axis([spec.get(name) for spec in specs], bottom, top)
        axes.append(Axis(name=name, title=name.replace("_", " "), x=x, ticks=ticks, is_objective=False))
        columns.append(heights)
    for objective, x in zip(report.objectives, places[len(names) :], strict=True):
        name, early = objective.name, objective.before_training
        values = [
            mark.scores[name].value if name in mark.scores and (early or final) else None
            for mark, final in zip(found, finals, strict=True)
        ]
        scale = Scale.over([value for value in values if value is not None], bottom, top, log=early, margin=0.0)
        axes.append(Axis(name=objective.name, title=objective.title, x=x, ticks=scale.ticks(objective.unit), is_objective=True))
        columns.append([None if value is None else scale.at(value) for value in values])
    lines = tuple(
        Line(trial=mark.number, kind=mark.kind, path=_path(list(zip(places, heights, strict=True))))
        for mark, heights in zip(found, zip(*columns, strict=True), strict=True)
    )
    return Parallel(width=width, height=height, top=top, bottom=bottom, axes=tuple(axes), lines=lines)


def _dimension_axis(values: Sequence[Any], bottom: float, top: float) -> tuple[tuple[Tick, ...], list[float | None]]:
    """Ticks and heights for one dimension: its distinct values equally spaced, or a scale when there are too many."""
    known = [value for value in values if value is not None]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    if numeric and len(set(known)) > _MOST_LEVELS:
        scale = Scale.over([float(value) for value in known], bottom, top, margin=0.0)
        return scale.ticks(""), [None if value is None else scale.at(float(value)) for value in values]
    levels = sorted(set(known)) if numeric else sorted({str(value) for value in known})
    heights = {level: round(bottom + (top - bottom) * i / max(len(levels) - 1, 1), 1) for i, level in enumerate(levels)}
    ticks = tuple(Tick(at=y, text=_level_text(level)) for level, y in heights.items())
    return ticks, [None if value is None else heights[value if numeric else str(value)] for value in values]


def _level_text(value: object) -> str:
    if value in ("True", "False"):
        return "yes" if value == "True" else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _path(places: Sequence[tuple[float, float | None]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places if y is not None)
