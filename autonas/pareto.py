"""Dominance, fronts, ranks, hypervolume and knee: functions on arrays of shape (n, d), every column minimised.

NaN is refused by an assert (the ledger holds none; a failed trial has no row). Duplicates do not dominate each other: equal
rows share a rank and are all on the front together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def non_dominated(points: ArrayLike) -> NDArray[np.bool_]:
    """Which of the (n, d) points no other dominates (is nowhere worse and somewhere better)."""
    array = _checked(points)
    mask = np.ones(len(array), dtype=bool)
    for i, point in enumerate(array):
        dominators = np.all(array <= point, axis=1) & np.any(array < point, axis=1)
        mask[i] = not dominators.any()
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
    """The volume that the points dominate up to `reference` (d,), exactly, by the WFG recursion (While et al. 2012).

    Points that do not lie below the reference in every column add nothing. Fine for some hundreds of points in four columns.

    Raises:
        ValueError: `reference` does not fit the points.
    """
    array = _checked(points)
    corner = np.asarray(reference, dtype=np.float64)
    if corner.shape != (array.shape[1],):
        raise ValueError(f"reference has shape {corner.shape}; it must have one value for each of {array.shape[1]} columns")
    inside = array[np.all(array < corner, axis=1)]
    if not len(inside):
        return 0.0
    front = np.unique(inside[non_dominated(inside)], axis=0)
    return _wfg(front, corner)


def _wfg(front: Array, corner: Array) -> float:
    if front.shape[1] == 1:
        return float(corner[0] - front[:, 0].min())
    if front.shape[1] == 2:
        order = front[np.argsort(front[:, 0])]
        heights = np.concatenate([[corner[1]], order[:-1, 1]]) - order[:, 1]
        return float(np.sum((corner[0] - order[:, 0]) * heights))
    # Worst last column first: the limited sets shrink fastest that way.
    front = front[np.argsort(-front[:, -1], kind="stable")]
    volume = 0.0
    for i, point in enumerate(front):
        alone = float(np.prod(corner - point))
        rest = front[i + 1 :]
        if len(rest):
            limited = np.unique(np.maximum(rest, point), axis=0)
            alone -= _wfg(limited[non_dominated(limited)], corner)
        volume += alone
    return volume


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


def _checked(points: ArrayLike) -> Array:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0 and array.ndim != 2:
        array = array.reshape(0, 1)
    assert array.ndim == 2, f"points must have shape (n, d), not {array.shape}"
    assert not np.isnan(array).any(), "points must not hold NaN"
    return array
