"""Where labels go in a drawing, so that none hides another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def spread(heights: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Heights moved as little as it takes to be `gap` apart, in their order, within [low, high] while they fit."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    moved = list(heights)
    for before, here in itertools.pairwise(order):
        moved[here] = max(moved[here], moved[before] + gap)
    if order and moved[order[-1]] > high:
        moved[order[-1]] = high
        for here, after in reversed(list(itertools.pairwise(order))):
            moved[here] = min(moved[here], moved[after] - gap)
    return [round(max(height, low), 1) for height in moved]
