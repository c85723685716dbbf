"""How far one rung's ranks by validation loss agree with another's: Kendall's τ, with an interval, and what selection hides.

Only trials that went on are seen at a later rung, and those lie closer together than all did: among them ranks agree less. So τ
is told with how many were seen, and beside it stands what it would have been among all, by Thorndike's case 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autonas.reporting.report import RankAgreement
from autonas.trial import TrialRecord

Array = NDArray[np.float64]

LEAST_PAIRS = 5
_MOST_PAIRED = 400
_NUM_RESAMPLES = 1000
_SEED = 20_240_502  # any constant: the same ledger gives the same report


def agreement(trials: Sequence[TrialRecord], rung: int, later: int) -> RankAgreement:
    """The agreement of `rung` with a `later` one over trials that are not repeats.

    Where some were stopped between, but every random one was scored at both, those alone are taken: nobody selected them.
    """
    here = [t for t in trials if _loss(t, rung) is not None and (t.state != "live" or _loss(t, later) is not None)]
    both = [trial for trial in here if _loss(trial, later) is not None]
    drawn = [trial for trial in here if is_control(trial)]
    unselected = len(both) < len(here) and len(drawn) >= LEAST_PAIRS and all(_loss(t, later) is not None for t in drawn)
    if unselected:
        here = both = drawn
    if len(both) < LEAST_PAIRS:
        return RankAgreement(
            rung=rung, later=later, pairs=len(both), scored=len(here), controls=unselected, value=None, low=None, high=None
        )
    first, second = (np.array([_loss(trial, at) for trial in both], dtype=np.float64) for at in (rung, later))
    some = slice(None, None, -(-len(both) // _MOST_PAIRED))  # their pairs grow with the square, and the error hardly shrinks
    value, low, high = kendall_interval(first[some], second[some])
    every = np.array([_loss(trial, rung) for trial in here], dtype=np.float64)
    return RankAgreement(
        rung=rung,
        later=later,
        pairs=len(both),
        scored=len(here),
        controls=unselected,
        value=value,
        low=low,
        high=high,
        unselected=None if len(both) == len(here) else unrestricted(value, float(first.std()), float(every.std())),
    )


def is_control(trial: TrialRecord) -> bool:
    """Whether the trial's params were drawn at random, as the policy marks them."""
    return trial.sampler_state.get("control") is True


def kendall(first: Array, second: Array) -> float:
    """Kendall's τ-b of two rows (n,); 0.0 where either is constant."""
    return float(_weighted(_signs(first), _signs(second), np.ones((1, len(first))))[0])


def kendall_interval(first: Array, second: Array) -> tuple[float, float, float]:
    """τ-b with its 95 % interval: bootstrap over trials, never narrower than Fieller's (Fieller, Hartley & Pearson 1957).

    Resamples of a few trials in perfect order are in perfect order too, and alone would call five trials certain.
    """
    count = len(first)
    assert count >= LEAST_PAIRS, count
    one, other = _signs(first), _signs(second)
    value = float(_weighted(one, other, np.ones((1, count)))[0])
    rng = np.random.default_rng(_SEED)
    times = rng.multinomial(count, np.full(count, 1 / count), size=_NUM_RESAMPLES).astype(np.float64)
    low, high = np.quantile(_weighted(one, other, times), (0.025, 0.975))
    most = 1 - 2 / (count * (count - 1))  # as if half of a pair were out of order
    centre, reach = math.atanh(min(max(value, -most), most)), 1.959964 * math.sqrt(0.437 / (count - 4))
    return value, min(float(low), math.tanh(centre - reach)), max(float(high), math.tanh(centre + reach))


def unrestricted(value: float, spread: float, spread_of_all: float) -> float:
    """What τ among selected trials would be among all, given the spreads of what was selected by (Thorndike 1949, case 2).

    For normal scores, by r = sin(π τ / 2). Without spread among the selected nothing can be told, and τ stays.
    """
    if spread <= 0.0:
        return value
    wider = max(spread_of_all / spread, 1.0)
    r = math.sin(math.pi * value / 2)
    return 2 / math.pi * math.asin(r * wider / math.sqrt(1 + r * r * (wider * wider - 1)))


def _loss(trial: TrialRecord, rung: int) -> float | None:
    score = trial.rungs[rung].scores.get("val_loss") if len(trial.rungs) > rung else None
    return None if score is None else score.value


def _signs(values: Array) -> Array:
    """Who of each pair is larger (n, n)."""
    return np.sign(values[:, None] - values[None, :])


def _weighted(first: Array, second: Array, times: Array) -> Array:
    """τ-b (B,) of samples in which each trial comes `times` (B, n) over; a trial and its copy make no pair."""

    def paired(signs: Array) -> Array:
        total: Array = np.einsum("bi,bi->b", times @ signs, times)
        return total

    size = np.sqrt(paired(np.abs(first)) * paired(np.abs(second)))
    taus: Array = np.where(size > 0, paired(first * second) / np.where(size > 0, size, 1.0), 0.0)
    return taus
