"""How far two rankings of the same things agree: Kendall's tau over all pairs, or over pairs of equal size only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Kendall's tau with its 95 % interval, and the pairs behind it."""

    tau: float
    low: float
    high: float
    pairs: int


def agreement(first: ArrayLike, second: ArrayLike, near: NDArray[np.bool_] | None = None, seed: int = 0) -> Agreement | None:
    """Kendall's tau (1938) of two scores (n,) of the same things: concordant less discordant pairs, as a share of all pairs.

    `near` (n, n), symmetric: the pairs that count. A pair that is tied in either score counts as neither. The interval is the
    bootstrap's over things, by percentiles; resamples without a pair are left out. NaN has no place here. None: no pair counts.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    assert x.shape == y.shape and x.ndim == 1 and np.isfinite([x, y]).all(), (x.shape, y.shape)
    counted = np.ones((len(x), len(x)), dtype=bool) if near is None else near.copy()
    np.fill_diagonal(counted, False)  # also keeps a thing that was drawn twice from being a pair with itself
    signs = np.sign(x[:, None] - x) * np.sign(y[:, None] - y) * counted
    pairs = int(counted.sum()) // 2
    if not pairs:
        return None
    rng, taus = np.random.default_rng(seed), []
    for _ in range(_RESAMPLES):
        drawn = np.bincount(rng.integers(len(x), size=len(x)), minlength=len(x)).astype(np.float64)
        if weight := drawn @ counted @ drawn:
            taus.append(drawn @ signs @ drawn / weight)
    low, high = np.percentile(taus, (2.5, 97.5))
    return Agreement(tau=float(signs.sum() / 2 / pairs), low=float(low), high=float(high), pairs=pairs)


def of_equal_size(sizes: Sequence[float], ratio: float) -> NDArray[np.bool_]:
    """(n, n): which pairs of things have sizes within this ratio of one another."""
    logs = np.log(np.asarray(sizes, dtype=np.float64))
    return np.asarray(np.abs(logs[:, None] - logs) <= np.log(ratio) + 1e-12)
