"""Axes: from values to coordinates, and the round numbers to label them with."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from autonas.reporting.quantities import scaled_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    at: float  # a coordinate
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Maps [low, high] onto [start, end], linearly or by logarithms (then low > 0)."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, log: bool = False, margin: float = 0.06) -> Scale:
        """A scale that holds all values with some room at both ends; something sensible for one value or none."""
        finite = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
        low, high = (min(finite), max(finite)) if finite else (1.0, 2.0)
        if log:
            room = (high / low) ** margin if high > low else 1.3
            return cls(low=low / room, high=high * room, start=start, end=end, log=True)
        room = margin * (high - low) if high > low else (abs(high) * 0.1 or 1.0)
        return cls(low=low - room, high=high + room, start=start, end=end)

    def at(self, value: float) -> float:
        """The coordinate of a value, to a tenth; values outside come to lie at the ends."""
        inside = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(inside / self.low) / math.log(self.high / self.low)
        else:
            share = (inside - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, unit: str, count: int = 5) -> tuple[Tick, ...]:
        """Up to about `count` round values inside the scale, labelled in `unit`."""
        values = _log_values(self.low, self.high, count) if self.log else []
        if len(values) < 3:
            values = _linear_values(self.low, self.high, count)
        step = min((b - a for a, b in itertools.pairwise(values)), default=1.0)
        return tuple(Tick(at=self.at(value), text=tick_text(value, unit, step)) for value in values)


def log_ticks(values: Sequence[float], unit: str, count: int = 5) -> list[tuple[float, str]]:
    """Round values over the reach of these and their labels, for a logarithmic axis: few enough to be read."""
    scale = Scale.over(values, 0.0, 1.0, log=True)
    found = _log_values(scale.low, scale.high, count)
    if len(found) < 3:
        found = _linear_values(scale.low, scale.high, count)
    step = min((b - a for a, b in itertools.pairwise(found)), default=1.0)
    return [(value, tick_text(value, unit, step)) for value in found]


def tick_text(value: float, unit: str, step: float) -> str:
    """A label with as many decimals as tell it from its neighbours `step` away."""
    if unit == "share":
        return f"{100 * value:.{0 if step >= 0.01 else 1}f} %"
    if unit in ("parameters", "bytes", "FLOP/token", "tokens"):
        return _short(value)
    return f"{value:.{_decimals_of(step)}f}"


def _short(value: float) -> str:
    """As `scaled_text`, without trailing zeros or a gap: 1.5M, 200k."""
    number, _, prefix = scaled_text(value).partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + prefix


def _decimals_of(step: float) -> int:
    return next((digits for digits in range(6) if abs(step * 10**digits - round(step * 10**digits)) < 1e-6 * 10**digits), 6)


def _linear_values(low: float, high: float, count: int) -> list[float]:
    rough = (high - low) / max(count, 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_values(low: float, high: float, count: int) -> list[float]:
    """1, 2, 5 in every decade, thinned to what fits."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        values = [factor * 10.0**decade for decade in decades for factor in factors]
        values = [value for value in values if low <= value <= high]
        if len(values) <= count + 1:
            return values
    return values[:: math.ceil(len(values) / count)]
