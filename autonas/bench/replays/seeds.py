"""What replays that differ by their seed say together. Infinity stands for a budget that was never enough; NaN is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas.policy.problem import Array

_RESAMPLES = 2000
Statistic = Callable[[Array], Array]  # (…, n) -> (…)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval, by the bootstrap over seeds (percentiles)."""

    value: float
    low: float
    high: float


def median(values: Array) -> Array:
    """The median over the last axis by ranks alone: of two middle values of which one is infinite, that one."""
    ordered = np.sort(values, axis=-1)
    count = ordered.shape[-1]
    below, above = ordered[..., (count - 1) // 2], ordered[..., count // 2]
    with np.errstate(invalid="ignore"):
        middle: Array = np.where(np.isinf(above), above, (below + above) / 2)
    return middle


def mean(values: Array) -> Array:
    result: Array = values.mean(axis=-1)
    return result


def estimate(values: Sequence[float], statistic: Statistic = median) -> Estimate:
    """The statistic over seeds."""
    array = _checked(values)
    return _bounded(float(statistic(array)), statistic(array[_picks(len(array))]))


def ratio(ours: Sequence[float], peers: Sequence[float], statistic: Statistic = median) -> Estimate:
    """The peer's statistic over ours, seeds paired: how many times its budget, where these are budgets."""
    first, second = _checked(ours), _checked(peers)
    assert len(first) == len(second), (len(first), len(second))
    picks = _picks(len(first))
    return _bounded(
        float(_divided(statistic(second), statistic(first))), _divided(statistic(second[picks]), statistic(first[picks]))
    )


def gap_closed(ours: Sequence[float], peers: Sequence[float], oracle: float) -> Estimate:
    """How much of the way from the peer's median budget to the oracle's ours goes, on a logarithmic scale, seeds paired."""
    first, second = _checked(ours), _checked(peers)
    picks = _picks(len(first))

    def share(mine: Array, theirs: Array) -> Array:
        whole = np.log(np.maximum(theirs / oracle, 1.0 + 1e-9))
        gone: Array = np.log(_divided(theirs, mine)) / whole
        return gone

    with np.errstate(divide="ignore"):
        return _bounded(float(share(median(first), median(second))), share(median(first[picks]), median(second[picks])))


def _divided(above: Array, below: Array) -> Array:
    """Nothing is gained by who does not get there, whatever the peer does; two who have nothing are equal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Array = np.where(np.isinf(below), 0.0, np.where((below == 0) & (above == 0), 1.0, above / below))
    return quotient


def _picks(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(count, size=(_RESAMPLES, count))


def _bounded(value: float, resampled: Array) -> Estimate:
    low, high = np.quantile(resampled, 0.025, method="lower"), np.quantile(resampled, 0.975, method="higher")
    return Estimate(value=value, low=float(low), high=float(high))


def _checked(values: Sequence[float]) -> Array:
    array = np.asarray(values, dtype=np.float64)
    assert len(array) and not np.isnan(array).any(), values
    return array
