"""What more training would buy: a forecast of the hypervolume's growth, and how its like did on this study's own past.

Gains come at random along the logarithm of the training spent, and become smaller by a power of it. Both the rate's trend and
the fall of sizes are read off the later three quarters of the study, by a grid over their posteriors; rates and sizes are drawn
from theirs (conjugate). A factor for what the model leaves out was set so that 90 % intervals hold: of five kinds of search in
two and three objectives, at 10 to 128 trials, they held 95 % of what came, and 70 % in the worst case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autonas.reporting.report import HypervolumePoint, Prospect

Array = NDArray[np.float64]

LEAST_TRIALS = 8
LONGEST_S = 3600.0
_FIRST = 3  # the first trials gain by being first
_LEAST_GAINS = 2
_RECENT, _LEAST_RECENT = 0.25, 4  # what is read: from a quarter of the trials on, or as far back as four gains
_LEFT_OUT = 0.5  # standard deviation of the logarithm of what the model leaves out
_FALLS, _TRENDS = np.linspace(0.0, 3.0, 31), np.linspace(-1.5, 1.5, 31)
_SHAPES = np.array([0.15, 0.25, 0.4, 0.6, 1.0])  # of a gamma of sizes: from a few great ones among many small to one kind
_NUM_DRAWS = 4000
_SEED = 20_240_503  # any constant: the same ledger gives the same report


def prospect(points: Sequence[HypervolumePoint], search_s: float) -> Prospect | None:
    """What an hour more of training would buy, or as much again as was spent when that is less; None if it cannot be told.

    Training is that of candidates: declared repeats are left out. With it comes the same forecast, as it was to be made after
    two thirds of the training, and what came then.
    """
    ahead_s = min(LONGEST_S, search_s)
    draws = predicted_gains([p.search_s for p in points], [p.value for p in points], search_s, ahead_s)
    if draws is None:
        return None
    low, middle, high = (float(x) for x in np.quantile(draws, (0.05, 0.5, 0.95)))
    then_s = search_s * 2 / 3
    past = [point for point in points if point.search_s <= then_s]
    before = predicted_gains([p.search_s for p in past], [p.value for p in past], then_s, search_s - then_s)
    foretold = None if before is None else tuple(float(x) for x in np.quantile(before, (0.05, 0.95)))
    came = points[-1].value - past[-1].value if past else 0.0
    return Prospect(
        ahead_s=ahead_s,
        value=points[-1].value,
        gain=middle,
        low=low,
        high=high,
        foretold_low=None if foretold is None else foretold[0],
        foretold_high=None if foretold is None else foretold[1],
        came=None if foretold is None else came,
    )


def predicted_gains(spent: Sequence[float], values: Sequence[float], now: float, ahead: float) -> Array | None:
    """Draws (B,) of the growth of `values` from `now` over `ahead`, given them after each trial at `spent` training.

    None where nothing can be told: few trials, few gains, or nothing spent.
    """
    if len(values) < LEAST_TRIALS or ahead <= 0 or not 0 < spent[_FIRST - 1] < now:
        return None
    gains = np.diff(np.asarray(values, dtype=np.float64), prepend=0.0)
    at = np.log(np.asarray(spent, dtype=np.float64) / now)
    grew = np.flatnonzero(gains > 1e-9 * values[-1])
    grew = grew[grew >= _FIRST]
    if len(grew) < _LEAST_GAINS:
        return None
    start = max(_FIRST, min(int(_RECENT * len(values)), int(grew[-min(_LEAST_RECENT, len(grew))])))
    if at[start - 1] > -1e-9:  # all gains read came after the last training that is told of
        return None
    grew = grew[grew >= start]
    return _drawn(gains[grew], at[grew], float(at[start - 1]), math.log1p(ahead / now))


def _drawn(sizes: Array, at: Array, begin: float, end: float) -> Array:
    """Draws of the sum of gains on (0, end), from gains of these sizes at these places on (begin, 0) of the logarithm.

    Gains are a Poisson process of the rate λ e^(c u), their sizes gammas of the shape a and the scale θ e^(-b u). λ and θ have
    improper priors and conjugate posteriors; b, c and a are on grids, b and c with normal priors.
    """
    rng = np.random.default_rng(_SEED)
    count = len(sizes)
    rates = _TRENDS * at.sum() - (count + 0.5) * np.log(_integral(_TRENDS, begin, 0.0)) - 0.5 * (_TRENDS / 0.5) ** 2
    trend = rng.choice(_TRENDS, size=_NUM_DRAWS, p=_normalised(rates))
    levelled = (sizes * np.exp(_FALLS[:, None] * at)).sum(axis=1)  # what the gains sum to, had none fallen (b,)
    lgamma = np.array([[math.lgamma(count * a), count * math.lgamma(a)] for a in _SHAPES])
    falls = (
        (_SHAPES - 1) * np.log(sizes).sum()
        + _SHAPES * _FALLS[:, None] * at.sum()
        - count * _SHAPES * np.log(levelled)[:, None]
        + lgamma[:, 0]
        - lgamma[:, 1]
        - 0.5 * ((_FALLS[:, None] - 1.0) / 0.6) ** 2
    )  # (b, a)
    which, kind = np.divmod(rng.choice(falls.size, size=_NUM_DRAWS, p=_normalised(falls.ravel())), len(_SHAPES))
    fall, shape = _FALLS[which], _SHAPES[kind]
    rate = rng.gamma(count + 0.5, size=_NUM_DRAWS) / _integral(trend, begin, 0.0)
    numbers = rng.poisson(rate * _integral(trend, 0.0, end))
    scale = levelled[which] / rng.gamma(shape * count)
    most = int(numbers.max(initial=0))
    share = rng.random((_NUM_DRAWS, most))
    steep = np.abs(trend[:, None]) > 1e-9
    divisor = np.where(steep, trend[:, None], 1.0)
    places = np.where(steep, np.log1p(share * np.expm1(trend[:, None] * end)) / divisor, share * end)
    drawn = scale[:, None] * np.exp(-fall[:, None] * places) * rng.gamma(np.broadcast_to(shape[:, None], share.shape))
    total: Array = np.where(np.arange(most) < numbers[:, None], drawn, 0.0).sum(axis=1)
    return total * np.exp(_LEFT_OUT * rng.standard_normal(_NUM_DRAWS))


def _integral(trend: Array, begin: float, end: float) -> Array:
    """∫ e^(c u) du from begin to end, for each c."""
    steep = np.abs(trend) > 1e-9
    divisor = np.where(steep, trend, 1.0)
    area: Array = np.where(steep, (np.exp(trend * end) - np.exp(trend * begin)) / divisor, end - begin)
    return area


def _normalised(logs: Array) -> Array:
    chances = np.exp(logs - logs.max())
    whole: Array = chances / chances.sum()
    return whole
