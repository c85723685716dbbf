"""Dominance, fronts, ranks, hypervolume and knee: functions on arrays of shape (n, d), every column minimised.

NaN is refused by an assert (the ledger holds none; a failed trial has no row). Duplicates do not dominate each other: equal
rows share a rank and are all on the front together.
"""

from __future__ import annotations

import bisect
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_FEW = 16


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Which of the (n, d) points no other dominates (is nowhere worse and somewhere better). O(n · front · d)."""
    array = _checked(points)
    mask = np.zeros(len(array), dtype=bool)
    # Whoever dominates a point has no larger sum, rounded too, and comes before it among equal sums: the first left is never
    # dominated. A strong point comes early and strikes out most of the others at once.
    sums = array.sum(axis=1) if np.isfinite(array).all() else np.zeros(len(array))
    left = np.lexsort((*array.T[::-1], sums))
    columns = array.T[:, left]  # by columns: comparing a few long ones is several times as fast as many short rows
    while len(left):
        first = columns[:, :1]
        beaten = np.all(columns >= first, axis=0)
        mask[left[beaten & np.all(columns == first, axis=0)]] = True
        left, columns = left[~beaten], np.compress(~beaten, columns, axis=1)
    return mask


def ranks(points: ArrayLike) -> NDArray[np.int64]:
    """Non-dominated sorting (Deb et al. 2002): 0 for the front, 1 for the front of what remains, and so on."""
    array = _checked(points)
    result = np.zeros(len(array), dtype=np.int64)
    remaining = np.arange(len(array))
    rank = 0
    while len(remaining):
        front = non_dominated(array[remaining])
        result[remaining[front]] = rank
        remaining = remaining[~front]
        rank += 1
    return result


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """The volume that the points dominate up to `reference` (d,), exactly.

    By sorting in two columns, by a sweep in three, O(n log n) each; above, column by column as the WFG recursion does (While et
    al. 2012): thousands of points on a front of three columns, some hundreds in four. Points that do not lie below the
    reference in every column add nothing.

    Raises:
        ValueError: `reference` does not fit the points.
    """
    array = _checked(points)
    corner = _corner(reference, array.shape[1])
    inside = array[np.all(array < corner, axis=1)]
    return _volume(_distinct_front(inside), corner)


class Front:
    """A front that grows point by point, and its hypervolume below `reference` (d,): 10,000 points of 3 columns in seconds.

    Duplicates are all members, as they are for `non_dominated`; members beyond the reference add no volume.
    """

    def __init__(self, reference: ArrayLike) -> None:
        self._corner = np.asarray(reference, dtype=np.float64)
        assert self._corner.ndim == 1, f"reference must have shape (d,), not {self._corner.shape}"
        self._columns = np.empty((len(self._corner), 16))  # room for more than the members, doubled when it is full
        self._count = 0
        self.volume = 0.0

    @property
    def points(self) -> Array:
        """The non-dominated points (n, d), in the order in which they came."""
        return self._columns[:, : self._count].T.copy()

    def add(self, point: ArrayLike) -> float:
        """Take in a point (d,); returns the volume it adds, 0.0 when it is dominated."""
        new = self._point(point)
        members = self._columns[:, : self._count]
        no_worse = np.all(members <= new[:, None], axis=0)
        no_better = np.all(members >= new[:, None], axis=0)
        if np.any(no_worse & ~no_better):
            return 0.0
        gain = self.gain(new)
        if (beaten := no_better & ~no_worse).any():
            kept = np.compress(~beaten, members, axis=1)
            self._count = kept.shape[1]
            self._columns[:, : self._count] = kept
        if self._count == self._columns.shape[1]:
            self._columns = np.concatenate([self._columns, np.empty_like(self._columns)], axis=1)
        self._columns[:, self._count] = new
        self._count += 1
        self.volume += gain
        return gain

    def gain(self, point: ArrayLike) -> float:
        """The volume that a point (d,) would add."""
        new = self._point(point)
        if not np.all(new < self._corner):
            return 0.0
        # What the front already holds of the box that the point dominates: its members, each moved into the box.
        moved = np.maximum(self._columns[:, : self._count], new[:, None])
        moved = np.compress(np.all(moved < self._corner[:, None], axis=0), moved, axis=1)
        # Most of them lie behind the nearest few; the sort in `non_dominated` is for what is left.
        nearest: list[Array] = []
        while moved.shape[1] > _FEW:
            nearest.append(moved[:, np.argmin(moved.sum(axis=0)), None])
            moved = np.compress(~np.all(moved >= nearest[-1], axis=0), moved, axis=1)
        moved = np.concatenate([*nearest, moved], axis=1)
        return max(float(np.prod(self._corner - new)) - _volume(_distinct_front(moved.T), self._corner), 0.0)

    def _point(self, point: ArrayLike) -> Array:
        new = np.asarray(point, dtype=np.float64)
        assert new.shape == self._corner.shape, f"a point must have shape {self._corner.shape}, not {new.shape}"
        assert not np.isnan(new).any(), "points must not hold NaN"
        return new


class _Staircase:
    """The area that points of two columns dominate up to a corner, point by point."""

    def __init__(self, right: float, top: float) -> None:
        self._xs, self._ys = [-math.inf, right], [top, -math.inf]  # x rising, y falling; the ends stand for the corner

    def add(self, x: float, y: float) -> float:
        """The area that the point adds."""
        first = bisect.bisect_left(self._xs, x)
        if self._ys[first - 1] <= y or (self._xs[first] == x and self._ys[first] <= y):
            return 0.0
        area, left, height, last = 0.0, x, self._ys[first - 1], first
        while self._ys[last] > y:
            area += (self._xs[last] - left) * (height - y)
            left, height = self._xs[last], self._ys[last]
            last += 1
        area += (self._xs[last] - left) * (height - y)
        self._xs[first:last], self._ys[first:last] = [x], [y]
        return area


def _distinct_front(points: Array) -> Array:
    """The non-dominated points, each once."""
    return np.unique(points[non_dominated(points)], axis=0)


def _volume(front: Array, corner: Array) -> float:
    """The volume of a set (n, d) below the corner without duplicates or dominated points."""
    if not len(front):
        return 0.0
    if front.shape[1] == 1:
        return float(corner[0] - front[:, 0].min())
    if front.shape[1] == 2:
        order = front[np.argsort(front[:, 0])]
        heights = np.concatenate([[corner[1]], order[:-1, 1]]) - order[:, 1]
        return float(np.sum((corner[0] - order[:, 0]) * heights))
    if front.shape[1] == 3:
        return _swept(front, corner)
    # Worst last column first: what is left of the others within a point's box then has one last column, the point's.
    front = front[np.argsort(-front[:, -1], kind="stable")]
    volume = 0.0
    for i, point in enumerate(front):
        face = float(np.prod(corner[:-1] - point[:-1]))
        rest = np.maximum(front[i + 1 :, :-1], point[:-1])
        face -= _volume(_distinct_front(rest), corner[:-1])
        volume += face * float(corner[-1] - point[-1])
    return volume


def _swept(front: Array, corner: Array) -> float:
    """Three columns: the area of a staircase in the first two, times the step to the next of the last."""
    stairs = _Staircase(float(corner[0]), float(corner[1]))
    volume = area = 0.0
    below = float(corner[2])
    for x, y, z in front[np.argsort(front[:, 2], kind="stable")].tolist():
        volume += area * (z - below)
        area += stairs.add(x, y)
        below = z
    return volume + area * (float(corner[2]) - below)


def normalised(points: ArrayLike) -> Array:
    """The points with every column mapped to [0, 1] by its minimum and maximum; a constant column becomes 0."""
    array = _checked(points)
    if not len(array):
        return array
    low, high = array.min(axis=0), array.max(axis=0)
    scaled: Array = (array - low) / np.where(high > low, high - low, 1.0)
    return scaled


def epsilon_net_order(points: ArrayLike) -> NDArray[np.int64]:
    """The points' indices from best to worst: by rank, and within a rank farthest-first, so that any prefix is spread out.

    The order begins with the best of each column, first column first, so that no end of the front is lost to a short prefix.
    It goes on with the point farthest from all points chosen so far, ranks before it included (the ε-net of MO-ASHA,
    Schmucker et al. 2021, arXiv 2106.12639). Ties go to the lower index.
    """
    array = normalised(points)
    rank = ranks(array)
    chosen: list[int] = []
    for level in range(int(rank.max(initial=-1)) + 1):
        members = [int(i) for i in np.flatnonzero(rank == level)]
        if level == 0:
            for column in range(array.shape[1]):
                best = min(members, key=lambda i: (array[i, column], i), default=None)
                # The best of a column overall may have been chosen for another column already.
                if best is not None and array[best, column] == 0.0 and not (array[chosen, column] == 0.0).any():
                    members.remove(best)
                    chosen.append(best)
        while members:
            gaps = np.array([np.min(np.linalg.norm(array[chosen] - array[i], axis=1)) for i in members])
            chosen.append(members.pop(int(np.argmax(gaps))))
    return np.array(chosen, dtype=np.int64)


def knee(points: ArrayLike) -> int:
    """The index of the front point nearest to the ideal corner, after each column is mapped to [0, 1] over the front.

    With one point, that point. Ties go to the lower index.

    Raises:
        ValueError: there are no points.
    """
    array = _checked(points)
    if not len(array):
        raise ValueError("an empty set of points has no knee")
    front = np.flatnonzero(non_dominated(array))
    distance = np.linalg.norm(normalised(array[front]), axis=1)
    return int(front[int(np.argmin(distance))])


def _corner(reference: ArrayLike, columns: int) -> Array:
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != (columns,):
        raise ValueError(f"reference has shape {corner.shape}; it must have one value for each of {columns} columns")
    return corner


def _checked(points: ArrayLike) -> Array:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0 and array.ndim != 2:
        array = array.reshape(0, 1)
    assert array.ndim == 2, f"points must have shape (n, d), not {array.shape}"
    assert not np.isnan(array).any(), "points must not hold NaN"
    return array
