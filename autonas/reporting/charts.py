"""The report's drawings as coordinates: which point, line and label lies where. The template turns them into SVG.

Every drawing has its own coordinate system (`width` x `height`, y downwards). Marks carry the trial they show, which is what
links the drawings with one another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autonas.objective import Objective
from autonas.reporting.labels import place_labels
from autonas.reporting.report import Report, Standing
from autonas.reporting.scales import Scale, Tick
from autonas.trial import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The plotting area and its axes."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    trial: int
    kind: str  # "front", "knee" or "final"
    x: float
    y: float
    x_low: float
    x_high: float
    y_low: float
    y_high: float
    label_x: float | None  # None: not labelled
    label_y: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """One objective against another; `row` and `column` place it in the triangle of all pairs."""

    frame: Frame
    row: int
    column: int
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    trial: int
    kind: str  # as a point's, or the state of a trial that is not final
    path: str
    label_x: float | None = None
    label_y: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelAxis:
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
    axes: tuple[ParallelAxis, ...]
    lines: tuple[Line, ...]


def kind_of(standing: Standing) -> str:
    """How a final trial is drawn."""
    return "knee" if standing.is_knee else "front" if standing.on_front else "final"


def scatters(report: Report) -> tuple[Scatter, ...]:
    """Every pair of objectives, row by row: the lower triangle of a scatter matrix."""
    objectives = report.objectives
    return tuple(
        _scatter(report.standings, objectives[column], objectives[row], row - 1, column)
        for row in range(1, len(objectives))
        for column in range(row)
    )


def parallel(report: Report, width: int = 1000, height: int = 300) -> Parallel | None:
    """One line per final trial over the dimensions that vary and the objectives; None when there is nothing to compare."""
    standings = report.standings
    if len(standings) < 2:
        return None
    specs = [standing.trial.spec.to_dict() for standing in standings]
    names = [name for name in specs[0] if len({str(spec.get(name)) for spec in specs}) > 1]
    count = len(names) + len(report.objectives)
    top, bottom, left, right = 46.0, height - 16.0, 44.0, width - 60.0
    places = [round(left + (right - left) * i / max(count - 1, 1), 1) for i in range(count)]
    axes: list[ParallelAxis] = []
    columns: list[list[float]] = []
    for name, x in zip(names, places, strict=False):
        ticks, heights = _dimension_axis([spec.get(name) for spec in specs], bottom, top)
        axes.append(ParallelAxis(title=name.replace("_", " "), x=x, ticks=ticks, is_objective=False))
        columns.append(heights)
    for objective, x in zip(report.objectives, places[len(names) :], strict=True):
        values = [standing.trial.scores[objective.name].value for standing in standings]
        scale = Scale.over(values, bottom, top, log=objective.before_training, margin=0.0)
        axes.append(ParallelAxis(title=objective.title, x=x, ticks=scale.ticks(objective.unit), is_objective=True))
        columns.append([scale.at(value) for value in values])
    lines = [
        Line(
            trial=standing.number,
            kind=kind_of(standing),
            path=_path(list(zip(places, heights, strict=True))),
            label_x=right + 6,
            label_y=heights[-1],
        )
        for standing, heights in zip(standings, zip(*columns, strict=True), strict=True)
    ]
    return Parallel(width=width, height=height, top=top, bottom=bottom, axes=tuple(axes), lines=tuple(reversed(lines)))


def _scatter(
    standings: Sequence[Standing], across: Objective, up: Objective, row: int, column: int, width: int = 340, height: int = 250
) -> Scatter:
    left, right, top, bottom = 46.0, width - 14.0, 24.0, height - 36.0
    x_scores = [standing.trial.scores[across.name] for standing in standings]
    y_scores = [standing.trial.scores[up.name] for standing in standings]
    x_scale = Scale.over(_reach(standings, x_scores), left, right, log=across.before_training)
    y_scale = Scale.over(_reach(standings, y_scores), bottom, top, log=up.before_training)
    places = [(x_scale.at(x.value), y_scale.at(y.value)) for x, y in zip(x_scores, y_scores, strict=True)]
    named = [i for i, standing in enumerate(standings) if standing.on_front]
    texts = [str(standings[i].number) for i in named]
    labels = dict(
        zip(named, place_labels([places[i] for i in named], texts, places, (left, top, width - 2.0, bottom)), strict=True)
    )
    points = [
        _point(standing, x_scale, y_scale, x, y, labels.get(i))
        for i, (standing, x, y) in enumerate(zip(standings, x_scores, y_scores, strict=True))
    ]
    frame = Frame(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_title=_title(across),
        y_title=_title(up),
        x_ticks=x_scale.ticks(across.unit),
        y_ticks=y_scale.ticks(up.unit),
    )
    # The front is drawn last, over the rest.
    return Scatter(frame=frame, row=row, column=column, points=tuple(reversed(points)))


def _point(standing: Standing, across: Scale, up: Scale, x: Score, y: Score, label: tuple[float, float] | None) -> Point:
    return Point(
        trial=standing.number,
        kind=kind_of(standing),
        x=across.at(x.value),
        y=up.at(y.value),
        x_low=across.at(x.low),
        x_high=across.at(x.high),
        y_low=up.at(y.low),
        y_high=up.at(y.high),
        label_x=None if label is None else label[0],
        label_y=None if label is None else label[1],
    )


def _reach(standings: Sequence[Standing], scores: Sequence[Score]) -> list[float]:
    """What an axis must hold: all values, and the intervals of the front."""
    ends = [
        end for standing, score in zip(standings, scores, strict=True) if standing.on_front for end in (score.low, score.high)
    ]
    return [score.value for score in scores] + ends


def _dimension_axis(values: Sequence[object], bottom: float, top: float) -> tuple[tuple[Tick, ...], list[float]]:
    """Ticks and heights for one dimension: its distinct values equally spaced, or a scale when there are too many."""
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    distinct = sorted(set(numbers)) if len(numbers) == len(values) else sorted({str(value) for value in values})
    if len(distinct) > 8 and len(numbers) == len(values):
        scale = Scale.over(numbers, bottom, top, margin=0.0)
        return scale.ticks(""), [scale.at(number) for number in numbers]
    levels = {value: round(bottom + (top - bottom) * i / max(len(distinct) - 1, 1), 1) for i, value in enumerate(distinct)}
    keys = [float(value) if len(numbers) == len(values) else str(value) for value in values]  # type: ignore[arg-type]
    ticks = tuple(Tick(at=y, text=_level_text(value)) for value, y in levels.items())
    return ticks, [levels[key] for key in keys]


def _level_text(value: object) -> str:
    if value in ("True", "False"):
        return "yes" if value == "True" else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _title(objective: Objective) -> str:
    unit = "" if objective.unit in ("share", "parameters") else f", {objective.unit}"
    return objective.title + unit


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
