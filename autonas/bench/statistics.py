"""What paired blocks say: a ratio with its interval; how far repeated measurements agree. Functions on arrays without NaN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_RESAMPLES = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times as fast, with the 95 % interval of that."""

    value: float
    low: float
    high: float


def paired_ratio(ours: Sequence[float], peers: Sequence[float], seed: int = 0) -> Ratio:
    """The median over pairs of `peers / ours`, seconds of the same work done side by side; above 1 when ours is faster.

    The interval is the bootstrap's over pairs, by percentiles (Efron and Tibshirani, An Introduction to the Bootstrap, 13.3).
    A pair is one round: what slows the machine in it slows both.
    """
    assert len(ours) == len(peers) > 0, (len(ours), len(peers))
    ratios = np.asarray(peers, dtype=np.float64) / np.asarray(ours, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(len(ratios), size=(_RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[picks], axis=1), (2.5, 97.5))
    return Ratio(value=float(np.median(ratios)), low=float(low), high=float(high))


def spread(values: ArrayLike) -> float:
    """Interquartile range over median."""
    low, middle, high = np.percentile(np.asarray(values, dtype=np.float64), (25, 50, 75))
    return float((high - low) / middle)


def coefficient_of_variation(values: ArrayLike) -> float:
    """Standard deviation (n - 1) over mean."""
    array = np.asarray(values, dtype=np.float64)
    return float(array.std(ddof=1) / array.mean())


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """The correlation of ranks; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _ranks(values: ArrayLike) -> np.ndarray:
    _, place, counts = np.unique(np.asarray(values, dtype=np.float64), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: np.ndarray = ((ends - counts + ends - 1) / 2)[place]
    return ranks
