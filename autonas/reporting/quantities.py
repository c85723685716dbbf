"""Numbers as people read them: magnitudes, units, intervals, durations."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from autonas.arch import spec_text as spec_text
from autonas.trial import Score

_SCALED = {"parameters": "", "FLOP/token": "", "bytes": "B"}
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def value_text(value: float, unit: str, error: float = 0.0) -> str:
    """A value without its unit's name (1.23 M, 14 %, 3.71) and with the digits that `error`, half its interval, warrants."""
    if unit == "share":
        return f"{100 * value:.0f} %" if error >= 0.005 or value in (0.0, 1.0) else f"{100 * value:.1f} %"
    if unit in _SCALED:
        return scaled_text(value) + _SCALED[unit]
    return f"{value:.{_decimals(value, error)}f}"


def interval_text(score: Score, error: float | None = None) -> str:
    """The interval alone, 3.60–3.84; empty for an exact score. `error` sets the digits; by default it is half the interval."""
    if score.low == score.high:
        return ""
    error = half_width(score) if error is None else error
    low, high = value_text(score.low, score.unit, error), value_text(score.high, score.unit, error)
    if score.unit == "share":
        low = low.removesuffix(" %")
    return f"{low}–{high}"


def score_text(score: Score, error: float | None = None) -> str:
    """The value of a score, without its interval; digits as in `interval_text`."""
    return value_text(score.value, score.unit, half_width(score) if error is None else error)


def common_error(scores: Sequence[Score]) -> float:
    """The `error` that gives all these scores the same digits: the median of their half intervals."""
    return statistics.median(map(half_width, scores)) if scores else 0.0


def half_width(score: Score) -> float:
    """Half of a score's interval, in its unit."""
    return (score.high - score.low) / 2


def scaled_text(value: float) -> str:
    """Three digits and a metric prefix: 1.23 M, 456 k, 12."""
    for factor, prefix in _PREFIXES:
        if abs(value) >= factor * 0.9995:
            return f"{_three_digits(value / factor)} {prefix}"
    return f"{value:.3g}"


def tokens_text(tokens: float) -> str:
    """A token count: 256 k, 1 M."""
    for factor, prefix in _PREFIXES:
        if abs(tokens) >= factor * 0.9995:
            return f"{tokens / factor:.3g} {prefix}"
    return f"{tokens:.0f}"


def duration_text(seconds: float) -> str:
    """45 s, 7 min 12 s, 3 h 05 min, 2 d 4 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def probability_text(probability: float) -> str:
    """A probability from draws; they are too few to tell 0 or 1 from nearly so."""
    if probability > 0.995:
        return "> 99 %"
    return "< 1 %" if probability < 0.005 else f"{100 * probability:.0f} %"


def _three_digits(value: float) -> str:
    """Three significant digits, trailing zeros kept, for 1 to 999: a column of them lines up."""
    size = abs(value)
    return f"{value:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}"


def _decimals(value: float, error: float) -> int:
    if error > 0:
        return min(max(1 - math.floor(math.log10(error)), 0), 4)
    return min(max(2 - math.floor(math.log10(abs(value))), 0), 4) if value else 1
