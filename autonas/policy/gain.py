"""What a trial is expected to add to the front: expected hypervolume improvement, by points spread over the objectives' box.

The hypervolume is the share of a box that the front dominates. A new trial c adds the points u that it dominates and nothing
else does, so that (Emmerich et al. 2006; here for scores some of which are known exactly)

    E[gain of c] = ∫ P(c dominates u) · Π over the others i of (1 - P(i dominates u)) du,      P(i ≤ u) = Π over objectives

With independent normal scores each factor is a normal distribution function, and for an exact score 0 or 1. The product over
the others holds for finished trials, with the noise that their scores have, and for those under way, by what is predicted of
them. The integral is a sum over points of a lattice that is the same in every box. All arrays are minimised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from autonas.policy.candidates import best_of

Array = NDArray[np.float64]

_CHUNK, _MOST_CHUNKS = 8192, 12
ENOUGH_POINTS = 1200  # that somebody may still gain
_BLOCK = 8192
_REACH, _PER_DEVIATION = 6, 1024
_NORMAL = ndtr(np.arange(-_REACH * _PER_DEVIATION, _REACH * _PER_DEVIATION + 1) / _PER_DEVIATION)
_FAR = 3.0  # standard deviations below the mean beyond which nothing is hoped for


@dataclass(frozen=True, slots=True)
class Scores:
    """Means and standard deviations of n trials in m objectives, (n, m) each; a deviation of 0 is of an exact score."""

    mean: Array
    deviation: Array

    def __len__(self) -> int:
        return len(self.mean)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Scores:
        return Scores(self.mean[rows], self.deviation[rows])


class Firm:
    """Finished trials that may be on the front by their scores or by what these may be in truth; the others take nothing from
    anybody.

    Of those that were looked at before, while no score of theirs has changed, only these few are compared with what has come.
    """

    def __init__(self) -> None:
        self._rows = np.zeros(0, dtype=np.int64)
        self._low, self._mean = np.zeros((0, 0)), np.zeros((0, 0))
        self._kept = np.zeros(0, dtype=np.int64)

    def places(self, rows: NDArray[np.int64], scores: Scores) -> NDArray[np.int64]:
        """Places (k,) among the finished trials of these rows (n,), rising, with `scores` of all of them."""
        mean, low = scores.mean, scores.mean - 2.0 * scores.deviation
        seen = np.isin(rows, self._rows, assume_unique=True)
        compared = np.arange(len(rows))
        if (
            seen.sum() == len(self._rows) > 0
            and np.array_equal(mean[seen], self._mean)
            and np.array_equal(low[seen], self._low)
        ):
            compared = np.flatnonzero(~seen | np.isin(rows, self._kept, assume_unique=True))
        found: NDArray[np.int64] = compared[np.union1d(best_of(mean[compared]), best_of(low[compared]))]
        self._rows, self._mean, self._low, self._kept = rows, mean, low, rows[found]
        return found


def dominating(scores: Scores, points: Array, doubt: Array | float = 0.0) -> Array:
    """The probability that each of n trials is at least as good as each of s points in every objective, (n, s).

    `doubt` (m,) is the deviation of the points themselves, where they are other trials' scores.
    """
    doubts = np.broadcast_to(np.asarray(doubt, dtype=np.float64), points.shape[1:])
    exact = (scores.deviation == 0).all(axis=0) & (doubts == 0)
    result = np.ones((len(scores), len(points)))
    deviations = np.hypot(scores.deviation, doubts)
    scale = np.where(deviations == 0, 1.0, deviations)
    columns = np.ascontiguousarray(points.T)
    step = max(1, _BLOCK // max(1, len(points)))
    for begin in range(0, len(scores), step):  # blocks that stay in the cache
        rows = slice(begin, begin + step)
        block = result[rows]
        for column, is_exact in enumerate(exact):
            mean = scores.mean[rows, column, None]
            if is_exact:
                block *= mean <= columns[column]
                continue
            gap = columns[column] - mean
            sure = deviations[rows, column] == 0
            chance = _normal(gap / scale[rows, column, None])
            if sure.any():
                chance[sure] = gap[sure] >= 0
            block *= chance
    return result


def _normal(z: Array) -> Array:
    """The normal distribution function from a table, exact to 2e-4: it is asked for a million times in a decision.

    `z` is overwritten.
    """
    cells = np.multiply(z, _PER_DEVIATION, out=z)
    cells += _REACH * _PER_DEVIATION + 0.5
    np.clip(cells, 0, len(_NORMAL) - 1, out=cells)
    return _NORMAL.take(cells.astype(np.int32))


def open_points(low: Array, high: Array, taken: Scores, hopeful: Scores, shift: Array) -> tuple[Array, Array, float]:
    """Points of the box (s, m), the probability that nothing in `taken` dominates each (s,), and a point's share of the box.

    Left out are points that are surely taken, and those out of reach of everything in `hopeful`. `shift` (m,) in 0…1 moves the
    lattice, whose density is the same throughout.
    """
    best = _lower_front(hopeful)
    firm = _lower_front(taken, optimism=-_FAR)
    kept: list[Array] = []
    wanted, drawn = ENOUGH_POINTS, 0
    for chunk in range(_MOST_CHUNKS):
        points = low + (high - low) * _lattice(chunk * _CHUNK, _CHUNK, shift)
        inside = _reached(best, points)
        inside[inside] = ~_reached(firm, points[inside])
        places = np.flatnonzero(inside)[:wanted]
        kept.append(points[places])
        wanted -= len(places)
        drawn += _CHUNK if wanted else int(places[-1]) + 1
        if not wanted:
            break
    points = np.concatenate(kept)
    return points, still_free(np.ones(len(points)), taken, points), 1.0 / drawn


def still_free(free: Array, taken: Scores, points: Array) -> Array:
    """The probability that each point is free (s,), from what it was before these trials came."""
    for chance in dominating(taken, points):
        free = free * (1.0 - chance)
    return free


def expected_gains(scores: Scores, points: Array, value: Array) -> Array:
    """What each trial is expected to add, (n,), where points are worth `value` (s,): their share of the box, as far as free."""
    gains: Array = dominating(scores, points) @ value
    return gains


def _lower_front(scores: Scores, optimism: float = _FAR) -> Array:
    """The non-dominated of the points that lie `optimism` deviations below the means, (k, m)."""
    corners = np.unique(scores.mean - optimism * scores.deviation, axis=0)
    corners = corners[np.argsort(corners.sum(axis=1), kind="stable")]  # nothing is dominated by what follows it
    front = []
    while len(corners):
        front.append(corners[0])
        corners = corners[~_beyond(corners[0], corners.T)]
    return np.array(front).reshape(-1, scores.mean.shape[1])


def _reached(corners: Array, points: Array) -> NDArray[np.bool_]:
    """Which points some corner is at least as good as in every objective."""
    reached = np.zeros(len(points), dtype=bool)
    columns = np.ascontiguousarray(points.T)
    for corner in corners:
        reached |= _beyond(corner, columns)
    return reached


def _beyond(corner: Array, columns: Array) -> NDArray[np.bool_]:
    """Which points, (m, s), are nowhere better than a corner (m,). Column by column: numpy is slow along short rows."""
    result: NDArray[np.bool_] = corner[0] <= columns[0]
    for own, others in zip(corner[1:], columns[1:], strict=True):
        result &= own <= others
    return result


def _lattice(first: int, count: int, shift: Array) -> Array:
    """`count` points of the additive-recurrence lattice in the unit cube (Roberts 2018), from the `first` one on."""
    size = len(shift)
    base = 2.0
    for _ in range(30):
        base = (1.0 + base) ** (1.0 / (size + 1))
    steps = base ** -np.arange(1.0, size + 1.0)
    result: Array = (shift + np.arange(first + 1, first + count + 1)[:, None] * steps) % 1.0
    return result
