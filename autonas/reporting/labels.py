"""Where labels go in a drawing, so that none hides a point or another label."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

# Labels of more points than this would lie on one another.
MAX_LABELS = 16


def place_labels(
    anchors: Sequence[tuple[float, float]],
    texts: Sequence[str],
    obstacles: Sequence[tuple[float, float]],
    box: tuple[float, float, float, float],
) -> list[tuple[float, float] | None]:
    """Where to put a label beside each anchor so that it hides no point and no other label; None where there is no room.

    Tried in turn: right, left, above, below, and the four corners. Coordinates are of the label's middle and baseline.
    """
    if len(anchors) > MAX_LABELS:
        return [None] * len(anchors)
    taken: list[tuple[float, float, float, float]] = [(x - 4, y - 4, x + 4, y + 4) for x, y in obstacles]
    result: list[tuple[float, float] | None] = []
    for (x, y), text in zip(anchors, texts, strict=True):
        half = 3.2 * len(text) + 0.5
        places = itertools.chain(
            ((x + 9 + half, y + 4), (x - 9 - half, y + 4), (x, y - 9), (x, y + 17)),
            ((x + side * (6 + half), y + down) for down in (-6, 14) for side in (1, -1)),
        )
        result.append(None)
        for label_x, label_y in places:
            area = (label_x - half, label_y - 9, label_x + half, label_y + 1)
            inside = area[0] >= box[0] and area[1] >= box[1] and area[2] <= box[2] and area[3] <= box[3]
            if inside and not any(_overlap(area, other) for other in taken):
                taken.append(area)
                result[-1] = (round(label_x, 1), round(label_y, 1))
                break
    return result


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


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
