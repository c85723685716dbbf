"""The hypervolume as coordinates: over training spent, with random search's beside it and what more would buy behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autonas.reporting.charts import Frame
from autonas.reporting.report import HypervolumePoint, Report
from autonas.reporting.scales import Scale

_MOMENTS = 60
_ABOVE, _BELOW = -9.0, 15.0  # a label's baseline from its line


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomLine:
    """Random search's hypervolume."""

    path: str
    beyond: str  # where it is extrapolated
    label: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """What is forecast, from the last value to the end of the axis."""

    path: str  # to the median
    fan: str  # the interval, widening from nothing
    x: float
    y: float
    y_low: float
    y_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The hypervolume after each trial, held until the next."""

    frame: Frame
    path: str
    band: str  # its 95 % interval
    points: tuple[tuple[int, float, float], ...]  # (trial, x, y)
    last: str  # the last value, as text
    label: tuple[float, float]  # its end
    random: RandomLine | None
    ahead: Ahead | None


def steps(report: Report, width: int = 460, height: int = 280) -> Steps | None:
    """The drawing; None before a trial has finished."""
    points = report.hypervolume
    if not points:
        return None
    now = max(points[-1].train_s, *(spent for spent, _ in _random_curve(report)), 1e-6)
    end = now + (report.prospect.ahead_s if report.prospect else 0.0)
    unit_s, unit = (3600.0, "hours") if end >= 3 * 3600 else (60.0, "minutes") if end >= 180 else (1.0, "seconds")
    left, right, top, bottom = 44.0, width - 14.0, 26.0, height - 34.0
    across = Scale(low=0.0, high=end * 1.02, start=left, end=right)
    labelled = Scale(low=0.0, high=end * 1.02 / unit_s, start=left, end=right)
    up = Scale(low=0.0, high=max(_highest(report) * 1.05, 1e-6), start=bottom, end=top)
    places = [(point, across.at(point.train_s)) for point in _thinned(points)]
    end_of_line = (across.at(now), up.at(points[-1].value))
    line = _random_line(report, across, up, end_of_line)
    above = line is None or line.label[1] > end_of_line[1]
    return Steps(
        frame=Frame(
            width=width,
            height=height,
            left=left,
            right=right,
            top=top,
            bottom=bottom,
            x_title=f"{unit} of training, all workers together",
            y_title="Hypervolume, as a share of the reference box",
            x_ticks=labelled.ticks(unit),
            y_ticks=up.ticks(""),
        ),
        path=_stairs([(x, up.at(point.value)) for point, x in places], bottom, across.at(now)),
        band=_band([(x, up.at(point.low), up.at(point.high)) for point, x in places], bottom, across.at(now)),
        points=tuple((point.trial, x, up.at(point.value)) for point, x in places),
        last=f"{points[-1].value:.3f}",
        label=(end_of_line[0], round(end_of_line[1] + (_ABOVE if above else _BELOW), 1)),
        random=line,
        ahead=_ahead(report, end_of_line, across.at(end), up),
    )


def _random_curve(report: Report) -> tuple[tuple[float, float], ...]:
    return report.control.curve if report.control else ()


def _highest(report: Report) -> float:
    prospect = report.prospect
    ends = [point.high for point in report.hypervolume] + [value for _, value in _random_curve(report)]
    return max([*ends, prospect.value + prospect.high] if prospect else ends)


def _thinned(points: Sequence[HypervolumePoint]) -> list[HypervolumePoint]:
    """At most about sixty moments, the last among them."""
    return [*points[: -1 : -(-len(points) // _MOMENTS)], points[-1]]


def _stairs(places: Sequence[tuple[float, float]], bottom: float, end: float) -> str:
    return f"M{places[0][0]:g} {bottom:g}" + "".join(f"H{x:g}V{y:g}" for x, y in places) + f"H{end:g}"


def _band(places: Sequence[tuple[float, float, float]], bottom: float, end: float) -> str:
    """There along the upper ends and back along the lower."""
    back = "".join(f"V{low:g}H{x:g}" for x, low, _ in reversed(places))
    return f"{_stairs([(x, high) for x, _, high in places], bottom, end)}{back}Z"


def _random_line(report: Report, across: Scale, up: Scale, own: tuple[float, float]) -> RandomLine | None:
    curve, control = _random_curve(report), report.control
    if control is None or not curve:
        return None
    places = [(across.at(spent), up.at(value)) for spent, value in curve]
    split = max(sum(spent <= control.train_s * 1.0001 for spent, _ in curve), 1)
    x, y = places[-1]
    label = (x, round(y + (_BELOW if y >= own[1] else _ABOVE), 1))  # on the other side than the study's own
    return RandomLine(path=_line(places[:split]), beyond=_line(places[split - 1 :]), label=label)


def _ahead(report: Report, start: tuple[float, float], x: float, up: Scale) -> Ahead | None:
    prospect = report.prospect
    if prospect is None:
        return None
    y, low, high = (up.at(prospect.value + gain) for gain in (prospect.gain, prospect.low, prospect.high))
    fan = f"{_line([start, (x, high)])}V{low:g}Z"
    return Ahead(path=_line([start, (x, y)]), fan=fan, x=x, y=y, y_low=low, y_high=high)


def _line(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
