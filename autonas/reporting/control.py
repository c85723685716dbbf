"""What random search alone would have reached: a study's random trials, scaled up to all the training that it spent.

A point of the reference box is found by a set of trials when one of them dominates it. How many points k random trials find
on average is exact, as for species in ecology (rarefaction: Hurlbert 1971): of n trials, d of which dominate a point, k
random ones miss it with the chance C(n − d, k) / C(n, k). Beyond n, the gain of one more trial goes on falling by a power of
their number, as it did so far. The interval is by leaving out each trial in turn (the jackknife). In 36 simulated cases, 6 to
40 trials of three kinds of search in two and three objectives scaled up three and eight times, it held the truth in 80 to 100
% of 40 runs.

Random trials of a study with rungs were stopped by comparison with its others, not only with each other: so they count with
what they cost, and those that were stopped find nothing. The report says how many (progress.py).

Shapes: n random trials, N final trials, K objectives, Q points of the box.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autonas.evaluation.intervals import t_quantile
from autonas.reporting.agreement import is_control
from autonas.reporting.report import Control, Reached
from autonas.reporting.timeline import timeline
from autonas.reporting.volume import Box, found_points, region
from autonas.trial import StudyRecord, TrialRecord

Array = NDArray[np.float64]

LEAST_CONTROLS = 5
_NUM_LATTICE = 4096
_MOST_GROUPS = 50
# The exponent of the fall of gains before anything is seen, and the weight of that belief in squared logarithms of trials.
_USUAL_FALL, _BELIEF = 1.7, 2.0
_LEAST_FALL = 1.02  # slower, and the sum of all gains would be infinite


def control_trials(study: StudyRecord) -> list[TrialRecord]:
    """The trials that were trained with params drawn at random; none in a random search, which is its own control."""
    if study.recipe["budget"].get("sampler") == "random":
        return []
    return [t for t in study.trials if is_control(t) and t.repeat_of is None and t.rungs and t.state != "live"]


def random_control(
    study: StudyRecord, numbers: Sequence[int], rows: Array, box: Box, train_s: float, train_tokens: int, elapsed_s: float
) -> Control | None:
    """The hypervolume of random search after `train_s` seconds of training; None for studies without random trials.

    `rows` (N, K) as compared are of the final trials `numbers`. Beside it, what it reaches with `train_tokens` tokens, and in
    `elapsed_s` seconds at the soonest.
    """
    trials = control_trials(study)
    if not trials:
        return None
    own_s = math.fsum(outcome.seconds for trial in trials for outcome in trial.rungs)
    own_tokens = sum(outcome.new_tokens for trial in trials for outcome in trial.rungs)
    stopped = sum(trial.state == "stopped" for trial in trials)
    place = {number: i for i, number in enumerate(numbers)}
    reached = [place[trial.number] for trial in trials if trial.number in place]
    told = Control(
        trials=len(trials),
        stopped=stopped,
        unfinished=len(trials) - stopped - len(reached),
        train_s=own_s,
        own=None,
        value=None,
        low=None,
        high=None,
        curve=(),
    )
    if len(trials) < LEAST_CONTROLS or not reached or own_s <= 0.0:
        return told
    placed = box.place(rows[reached])
    points, share = region(placed, _NUM_LATTICE)
    found = np.zeros((len(trials), len(points)), dtype=bool)  # those that were stopped found nothing
    found[: len(placed)] = found_points(placed, points)
    known, without = rarefied(found), rarefied_without(found)
    value, low, high, curve = _scaled(known, without, share, own_s, train_s)
    workers = _workers_throughout(study)

    def reached_with(own: float, spent: float) -> Reached | None:
        if own <= 0.0 or spent <= 0.0:
            return None
        value, low, high, curve = _scaled(known, without, share, own, spent)
        return Reached(spent=own, value=value, low=low, high=high, curve=curve)

    return dataclasses.replace(
        told,
        own=float(known[-1]) * share,
        value=value,
        low=low,
        high=high,
        curve=curve,
        by_tokens=reached_with(float(own_tokens), float(train_tokens)),
        by_elapsed=None if workers is None else reached_with(own_s / workers, elapsed_s),
    )


def _workers_throughout(study: StudyRecord) -> int | None:
    """How many jobs a study ran at one time, at most; None where it paused, or where not every job left word of when."""
    lanes = timeline(study)
    return lanes.places if lanes is not None and not lanes.untold and len(lanes.sessions) == 1 else None


def _scaled(
    known: Array, without: Sequence[Array], share: float, own: float, spent: float
) -> tuple[float, float, float, tuple[tuple[float, float], ...]]:
    """What random trials that took `own` in all reach when `spent` is spent: its value, low and high end, and the way there."""
    trials = len(known) - 1
    each = own / trials
    wanted = max(spent / each, float(trials))
    value = expected(known, wanted)
    reach = t_quantile(trials - 1) * jackknife_error(np.array([expected(one, wanted) for one in without]))
    counts = sorted({1.0, *map(float, np.linspace(1, trials, 12)), *map(float, np.linspace(trials, wanted, 12))})
    return (
        value * share,
        max(value - reach, float(known[-1])) * share,
        min(value + reach, 1.0) * share,
        tuple((count * each, expected(known, count) * share) for count in counts),
    )


def expected(known: Array, count: float) -> float:
    """The share of points that `count` random trials find, given what 0, 1, …, n do (n + 1,); beyond n, extrapolated."""
    most = len(known) - 1
    if count <= most:
        return float(np.interp(count, np.arange(most + 1), known))
    gains = np.diff(known)[max(1, most // 4) :]
    if not len(gains) or gains[-1] <= 0.0:
        return float(known[-1])
    # The k-th trial's gain falls as k to a power: a line through logarithms, held to the usual where few trials tell.
    sizes = np.log(np.arange(most - len(gains) + 1, most + 1) - 0.5)
    logs = np.log(np.maximum(gains, 1e-12))
    centred = sizes - sizes.mean()
    fall = (_BELIEF * _USUAL_FALL - float(centred @ logs)) / (_BELIEF + float(centred @ centred))
    fall = max(fall, _LEAST_FALL)
    scale = math.exp(float(logs.mean()) + fall * float(sizes.mean()))
    further = scale / (fall - 1) * (most ** (1 - fall) - count ** (1 - fall))  # the integral of scale · k^-fall
    return float(min(known[-1] + further, 1.0))


def rarefied(found: NDArray[np.bool_]) -> Array:
    """The mean share (n + 1,) of points that 0, 1, …, n of the trials find, given which they do (n, Q)."""
    return _by_finders(found.sum(axis=0), len(found))


def rarefied_without(found: NDArray[np.bool_]) -> list[Array]:
    """The same with each of up to fifty equal groups of trials left out in turn."""
    finders, count = found.sum(axis=0), len(found)
    size = -(-count // _MOST_GROUPS)
    groups = [found[first : first + size] for first in range(0, count - size + 1, size)]
    return [_by_finders(finders - group.sum(axis=0), count - size) for group in groups]


def jackknife_error(without: Array) -> float:
    """The standard error of an estimate from its values with each group of observations left out (Efron & Stein 1981)."""
    return float(np.sqrt((len(without) - 1) / len(without) * np.sum((without - without.mean()) ** 2)))


def _by_finders(finders: NDArray[np.int64], count: int) -> Array:
    shares = np.bincount(finders, minlength=count + 1) / len(finders)  # of points that 0, 1, …, n of the trials find
    return np.concatenate([[0.0], shares @ (1 - _missed(count))])


@functools.lru_cache(maxsize=2)
def _missed(count: int) -> Array:
    """The chance (n + 1, n) that 1, …, n of n trials miss a point that 0, …, n of them find."""
    # That of k is that of k - 1, times (n - d - k + 1) / (n - k + 1).
    k = np.arange(count)
    steps = np.maximum(count - np.arange(count + 1)[:, None] - k, 0) / (count - k)
    chances: Array = np.cumprod(steps, axis=1)
    return chances
