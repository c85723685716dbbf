"""Whether a training loss rises where it should fall: a test of rank, which asks nothing of the noise but that it comes in any
order.

What is tested is every epoch and its second half, of the first one the second half alone, or that of the training's stable
phase where that is less than an epoch: a bump behind the warm-up is over by then. The probability that noise alone
raises an alarm in a training is below `FALSE_ALARM` (Mann, Econometrica 13, 1945; Kendall's S with its normal approximation,
which for few values errs on the safe side), shared by all that is tested; and a rise below `LEAST_NATS` is none.

Epochs are reshuffled. What was shown most recently comes early in the next epoch as often as late, but nothing in its second
half was shown less than half an epoch ago, so a model that learns by heart has a loss that drops at the boundary and rises
behind it, epoch by epoch, lower each time. From the second epoch on the loss must therefore be above the same stretch of the
epoch before as well.

Shapes: n values in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

FALSE_ALARM: Final = 1e-4  # for each training
LEAST_NATS: Final = 0.05
_FEWEST: Final = 12  # values: of fewer no order is improbable enough
_MOST: Final = 32  # more are means of several: neighbours are alike where the weights wander slowly

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Mean losses of stretches of `bin_tokens`, the first of which begins after `first` tokens."""

    first: int
    bin_tokens: int
    means: Sequence[float]
    warmup_tokens: int
    epoch_tokens: int
    offset: int = 0  # tokens before all of these, where the curve is that of a later part of a training


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    values: Values
    begins: int
    ends: int
    where: str = ""
    before: Values | None = None  # of the same stretch an epoch earlier; None where nothing is compared


def find_rise(curve: Curve, stable_end: int | None = None) -> str | None:
    """In words, from where to where the loss rose most; None where it did not."""
    stretches = _judged(curve, stable_end)
    if not stretches:
        return None
    least = NormalDist().inv_cdf(1.0 - FALSE_ALARM / len(stretches))
    risen = [(rise(one.values), one) for one in stretches if _has_risen(one, least)]
    if not risen:
        return None
    _, worst = max(risen, key=lambda pair: pair[0])
    quarter = max(len(worst.values) // 4, 1)
    low, high = worst.values[:quarter].mean(), worst.values[-quarter:].mean()
    count = len({one.ends for _, one in risen})
    others = f", and in {count - 1} other epochs" if count > 1 else ""
    return (
        f"the training loss rose from {low:.2f} to {high:.2f} nats between {worst.begins + curve.offset:,} and "
        f"{worst.ends + curve.offset:,} tokens"
        f"{worst.where}{others}; noise alone does so in less than one training of {1 / FALSE_ALARM:,.0f}"
    )


def can_judge(curve: Curve, stable_end: int | None = None) -> bool:
    """Whether any stretch of the curve is long enough for `find_rise` to say something of it."""
    return bool(_judged(curve, stable_end))


def _judged(curve: Curve, stable_end: int | None) -> list[_Stretch]:
    return [one for one in _stretches(curve, stable_end) if len(one.values) >= _FEWEST]


def _has_risen(one: _Stretch, least: float) -> bool:
    """By more than noise explains, at a z-value of `least`."""
    values = _merged(one.values)
    if mann_kendall(values) <= least or rise(values) < LEAST_NATS:
        return False
    if one.before is None:
        return True
    now, before = one.values[len(one.values) // 2 :], one.before[len(one.before) // 2 :]
    if len(before) < _FEWEST // 2:
        return False
    error = math.sqrt(now.var(ddof=1) / len(now) + before.var(ddof=1) / len(before))
    return float(now.mean() - before.mean()) > least * error


def mann_kendall(values: Values) -> float:
    """How many standard deviations Kendall's S of `values` (n) lies above 0; nan-free for n >= 2."""
    n = len(values)
    s = float(np.sign(values[None, :] - values[:, None])[np.triu_indices(n, 1)].sum())
    return math.copysign(max(abs(s) - 1.0, 0.0), s) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def rise(values: Values) -> float:
    """From the first to the last of `values` (n) by the median of the slopes between any two (Theil and Sen)."""
    first, second = np.triu_indices(len(values), 1)
    return float(np.median((values[second] - values[first]) / (second - first))) * (len(values) - 1)


def _merged(values: Values) -> Values:
    """Means of neighbours, so that there are at most `_MOST`; a rest at the beginning is left out."""
    each = -(-len(values) // _MOST)
    count = len(values) // each
    merged: Values = values[len(values) - count * each :].reshape(count, each).mean(axis=1)
    return merged


def _stretches(curve: Curve, stable_end: int | None) -> list[_Stretch]:
    means = np.asarray(curve.means, dtype=np.float64)
    begins = curve.first + curve.bin_tokens * np.arange(len(means))
    ends = begins + curve.bin_tokens
    end = int(ends[-1]) if len(ends) else 0
    end = end if stable_end is None else min(end, stable_end)
    start, epoch = max(curve.warmup_tokens, curve.first), curve.epoch_tokens

    def between(low: float, high: float) -> Values:
        return means[(begins >= max(low, start)) & (ends <= min(high, end))]

    if end <= epoch:
        middle = (start + end) // 2
        return [_Stretch(values=between(middle, end), begins=middle, ends=end)]
    if epoch < 2 * _FEWEST * curve.bin_tokens:
        return _by_epochs(curve, between, end)
    found = []
    for number in range(math.ceil(end / epoch)):
        high = (number + 1) * epoch
        # All of an epoch only where there is another to compare it with: the first one has the bump behind the warm-up in it.
        for low in (number * epoch + epoch // 2, *([number * epoch] if number else [])):
            before = between(low - epoch, min(high, end) - epoch) if number else None
            where = f" in epoch {number + 1}"
            found.append(_Stretch(values=between(low, high), begins=low, ends=min(high, end), where=where, before=before))
    return found


def _by_epochs(curve: Curve, between: Callable[[float, float], Values], end: int) -> list[_Stretch]:
    """Where epochs are too short to be looked into: their means, of the second half of the training."""
    whole = end // curve.epoch_tokens
    parts = [between(number * curve.epoch_tokens, (number + 1) * curve.epoch_tokens) for number in range(whole // 2, whole)]
    values = np.array([part.mean() for part in parts if len(part)])
    begins = whole // 2 * curve.epoch_tokens
    return [_Stretch(values=values, begins=begins, ends=whole * curve.epoch_tokens, where=", epoch by epoch")]
