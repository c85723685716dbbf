"""The oracle that stands beside every figure: somebody who knows all the scores of a table, and trains only what pays.

Greedy: each next row is the one that adds most hypervolume, or most for what it costs. Hypervolume is submodular, so that fewer
trainings cannot reach much more (Nemhauser et al. 1978); a little less than what is said here may still be possible.
"""

from __future__ import annotations

import heapq

import numpy as np

from autonas.bench.replays.simulation import Regime, Trace
from autonas.bench.tables import Table


def clairvoyant(table: Table, regime: Regime) -> Trace:
    """The greedy order that is best in a regime, trained one row after another, until all of the front is found."""
    prices = np.ones(len(table)) if regime == "trainings" else table.spent[:, -1]
    front = table.empty_front()
    rows: list[int] = []
    # What a row adds only shrinks as others come before it: an old figure is a bound, and only the best one is looked at anew.
    bounds = [(-front.gain(table.points[row]) / prices[row], row) for row in table.front]
    heapq.heapify(bounds)
    shares: list[float] = []
    while bounds:
        _, row = heapq.heappop(bounds)
        worth = -front.gain(table.points[row]) / prices[row]
        if bounds and worth > bounds[0][0]:
            heapq.heappush(bounds, (worth, row))
            continue
        front.add(table.points[row])
        rows.append(row)
        shares.append(front.volume / table.volume)
    spent = np.cumsum(table.spent[rows, -1])
    return Trace(
        shares=tuple(shares),
        begun=tuple(range(1, len(rows) + 1)),
        spent=tuple(map(float, spent)),
        elapsed=tuple(map(float, spent)),
        tried=tuple(rows),
        finished=tuple(rows),
        proposals=len(rows),
        ended_begun=len(rows),
        ended_spent=float(spent[-1]),
        exhausted=True,
    )
