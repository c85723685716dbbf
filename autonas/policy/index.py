"""How much a trial is worth per second of training when it may be stopped at any rung: a Gittins index.

A trial pays for its next rung, sees a better forecast of its last score, and goes on or not. Its index is the price per unit of
cost at which beginning it is just worth while (Gittins 1979; for search with costs Weitzman 1979). Whoever always trains the
trial of the highest index, new or waiting, needs no brackets and no halving factor: a candidate of which little is known is
worth a cheap look, a poor one is not gone on with, and a promising one is finished.

The forecast is a martingale on a grid: each stage resolves a known part of its variance. Exact up to the grid.
"""

from __future__ import annotations

import numpy as np

from autonas.policy.surrogate import Array

_REACH, _CELLS = 4.0, 33  # the grid: so many deviations to both sides of the mean
_HALVINGS = 22
GRID = np.linspace(-_REACH, _REACH, _CELLS)


def indices(gains: Array, stages: Array, costs: Array) -> Array:
    """The index of n trials, (n,), in gain per unit of cost.

    `gains` (n, cells): what a trial adds if its last score is its mean plus GRID deviations; `stages` (n, j): the deviation
    that each of its j ≥ 1 stages to come resolves; `costs` (n, j) of each, positive.
    """
    total = np.sqrt((stages**2).sum(axis=1, keepdims=True))
    steps = stages / np.where(total > 0, total, 1.0)
    moves = [_moves(steps[:, stage]) for stage in range(stages.shape[1])]
    last = costs.shape[1] - 1
    high = gains.max(axis=1) / costs[:, 0] + 1e-300
    low = np.zeros_like(high)
    for _ in range(_HALVINGS):
        price = np.where(low > 0, np.sqrt(low * high), high * 1e-3)
        worth = gains
        for stage in range(last, -1, -1):
            worth = np.einsum("nij,nj->ni", moves[stage], worth) - (price * costs[:, stage])[:, None]
            if stage:
                worth = np.maximum(worth, 0.0)
        paying = worth[:, _CELLS // 2] > 0
        low, high = np.where(paying, price, low), np.where(paying, high, price)
    result: Array = low
    return result


def _moves(steps: Array) -> Array:
    """Probabilities to move between cells of the grid by a normal step of n deviations, (n, cells, cells)."""
    width = GRID[1] - GRID[0]
    gap = GRID[None, None, :] - GRID[None, :, None]
    # A step narrower than a cell stays in it.
    density = np.exp(-0.5 * (gap / np.maximum(steps, 0.3 * width)[:, None, None]) ** 2)
    result: Array = density / density.sum(axis=2, keepdims=True)
    return result
