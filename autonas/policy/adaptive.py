"""The default way to search: what is cheap to know is known, what costs training is predicted, the job worth most is next.

For every candidate, and for every trial that waits at a rung, the scores at the last rung are predicted with their uncertainty
(expectation.py), the expected gain in hypervolume is worked out against what is finished and under way (gain.py), and from it
and the price of the rungs to come an index (index.py). The job of the highest index comes next. There is no bracket and no
barrier.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from autonas.policy.candidates import Candidates, Pool, best_of
from autonas.policy.expectation import Expectation, learn
from autonas.policy.gain import Firm, Scores, dominating, expected_gains, open_points
from autonas.policy.index import GRID, indices
from autonas.policy.prior import Prior
from autonas.policy.problem import Array, Params, Problem
from autonas.policy.surrogate import Inputs
from autonas.policy.view import View, scaled

CONTROL = "control"  # a note of a trial whose params were drawn at random, whatever was known
GAIN = "expected_gain"  # a note: of hypervolume, weighted by preferences, as a share of the box, when the trial was proposed

_NUM_FIRST = 3  # trials spread over the sizes before anything is predicted
_CONTROL_EVERY = 10
_MOST_INDEXED = 48  # candidates, by gain per cost, whose indices are worked out
_SCREENED = 4  # of so many points one is enough to find so many times the candidates
_ELITE = 12  # trials whose neighbours are candidates
# Up to so many results everything is worked out anew after each; then when there is a sixteenth more to learn from.
_EACH_ONE, _SHARE = 96, 16
# Where jobs are over sooner than it takes to decide on them, so many are planned at a time as take this long, but no more than
# a part of the results that there are to learn from.
_DECIDING_S, _LEARNT_FROM = 0.05, 4
# A point of the box is worth 1/e of another that is nearer by so much, as a share of the box, to what is preferred.
_FAR_OFF, _LEAST_EXTENT = 0.1, 1e-3
_MARGIN = 0.1  # of the box, beyond the ends of the front
# A trial that waits is stopped when it reaches the front with no more than this probability, by forecasts of which so many have
# come to their end, and with deviations so many times as wide: an early forecast of what is unlike all that is known errs.
HOPELESS, _ENOUGH_FINISHED, _CAUTION = 0.005, 8, 2.0

_THREADS = ThreadpoolController()


@dataclass(frozen=True, slots=True)
class Choice:
    """What is worth most: a candidate (params, and notes to keep with them), or a trial that goes on (its number)."""

    params: Params | None = None
    notes: Mapping[str, Any] | None = None
    trial: int | None = None
    reached: int = 0  # rungs that the trial has behind it


class Adaptive:
    """Chooses for one study, by its seed and its record. `rungs` are token counts, `cooldown` the share of them on top of each.

    With many results or workers several jobs are planned at a time; a study that was interrupted then plans anew.
    """

    def __init__(
        self, problem: Problem, rungs: Sequence[int], cooldown: float, seed: int, num_trials: int, prior: Prior
    ) -> None:
        self._problem = problem
        tokens = np.array(rungs, dtype=np.float64)
        self._tokens = np.diff(tokens, prepend=0.0) + cooldown * tokens
        self._num_first = max(min(_NUM_FIRST, num_trials // 2), min(len(prior.starts), num_trials), 1)
        self._primary = next(i for i, o in enumerate(problem.objectives) if o.known == "trained")
        self._candidates = Candidates(problem, seed, prior)
        self._learnt: tuple[int, Expectation] | None = None
        self._plan: list[Choice] = []
        self._situation: object = None  # in which it was made
        self._firm = Firm()
        self._judged: int | None = None  # the results there were when it was last worked out who is hopeless
        self._hopeless: frozenset[int] = frozenset()

    def hopeless(self, view: View, waiting: Sequence[int]) -> int | None:
        """One of the trials that wait of which a finished one is better in everything, as good as surely; None without any."""
        if not waiting or np.count_nonzero(view.scored) < _ENOUGH_FINISHED or (expectation := self._learn(view)) is None:
            return None
        if self._judged is None or view.num_outcomes >= self._judged + _at_a_time(self._judged, view):
            with _one_thread():
                self._judged, self._hopeless = view.num_outcomes, self._beaten(view, expectation, waiting)
        return min(self._hopeless.intersection(waiting), default=None)

    def _beaten(self, view: View, expectation: Expectation, waiting: Sequence[int]) -> frozenset[int]:
        inputs = self._candidates.inputs(view.features)
        done, _ = expectation.of_trials(view, inputs, np.flatnonzero(view.scored))
        done = done.take(best_of(done.mean))
        waits, _ = expectation.of_trials(view, inputs, np.array([view.row(number) for number in waiting], dtype=np.int64))
        doubts = _CAUTION * waits.deviation
        beaten = (dominating(done, waits.mean[i : i + 1], doubts[i]).max() for i in range(len(waits)))
        return frozenset(n for n, chance in zip(waiting, beaten, strict=True) if chance >= 1.0 - HOPELESS)

    def choose(self, view: View, running: Collection[int], *, may_begin: bool, may_go_on: frozenset[int]) -> Choice | None:
        """What to train next: a new candidate when one `may_begin`, or one of the trials that `may_go_on`; None for neither."""
        expectation = self._learn(view)
        if expectation is None or view.num_begun < self._num_first:
            if may_begin:
                first = self._candidates.first(view.known)
                return None if first is None else Choice(params=first, notes={})
            if expectation is None:
                return None
        length = max(_at_a_time(view.num_outcomes, view), len(running) // 8)
        situation = (view.num_outcomes, len(view), frozenset(running), may_go_on, may_begin)
        if length > 1 or situation == self._situation:
            for place, choice in enumerate(self._plan):
                if self._still_stands(view, choice, may_begin, may_go_on):
                    del self._plan[:place]  # of what comes before, nothing will stand again
                    return self._or_control(view, choice)
        self._situation = situation
        with _one_thread():
            self._plan = self._planned(view, expectation, running, may_begin, sorted(may_go_on), length)
        return self._or_control(view, self._plan[0]) if self._plan else None

    def _still_stands(self, view: View, choice: Choice, may_begin: bool, may_go_on: frozenset[int]) -> bool:
        """Whether a planned job may be given out, and has not been."""
        if choice.params is None:
            assert choice.trial is not None
            return choice.trial in may_go_on and view.reached[view.row(choice.trial)] == choice.reached
        return may_begin and self._problem.identity(choice.params) not in view.known

    @property
    def usual_effort(self) -> float:
        """What a token is thought to cost in training a candidate drawn at random, on average."""
        return self._candidates.usual_effort

    def _or_control(self, view: View, choice: Choice) -> Choice:
        """Every tenth candidate gives way to one drawn at random: what is gained by all this is measured against those."""
        if choice.params is None or view.num_begun % _CONTROL_EVERY != _CONTROL_EVERY - 1:
            return choice
        drawn = self._candidates.control(view.num_begun, view.known)
        return choice if drawn is None else Choice(params=drawn, notes={CONTROL: True})

    def _learn(self, view: View) -> Expectation | None:
        if not view.num_outcomes:
            return None
        if self._learnt is not None and view.num_outcomes < self._learnt[0] + _at_a_time(self._learnt[0], view):
            return self._learnt[1]
        with _one_thread():
            inputs = self._candidates.inputs(view.features)
            expectation = learn(view, inputs, view.efforts, self._problem.objectives, self._tokens)
        if expectation is not None:
            self._learnt = view.num_outcomes, expectation
        return expectation

    def _planned(
        self,
        view: View,
        expectation: Expectation,
        running: Collection[int],
        may_begin: bool,
        may_go_on: Sequence[int],
        length: int,
    ) -> list[Choice]:
        """The next `length` jobs, each chosen as if those before it were under way."""
        inputs = self._candidates.inputs(view.features)
        finished = np.flatnonzero(view.scored)
        waiting = np.array([view.row(n) for n in may_go_on], dtype=np.int64)
        # A trial that waits and may not go on yet is under way as well: what it promises need not be begun once more.
        at_work = view.paused.copy()
        at_work[[view.row(n) for n in running if view.has(n)]] = True
        at_work[waiting] = False
        under_way = np.flatnonzero(at_work)
        done, _ = expectation.of_trials(view, inputs, finished)
        firm = self._firm.places(finished, done)
        finished, done = finished[firm], done.take(firm)
        coming, _ = expectation.of_trials(view, inputs, under_way)
        hopeful, forecasts = expectation.of_trials(view, inputs, waiting)
        pool: Pool | None = None
        if may_begin:
            best = np.concatenate([finished, waiting])[best_of(np.concatenate([done.mean, hopeful.mean]))]
            elite = self._candidates.rng("elite", view.num_begun).permutation(best)[:_ELITE]
            params = [view.trial(int(view.numbers[row])).params for row in elite]
            pool = self._candidates.pool(view.num_begun, params, view.known, count=length)
        stages = forecasts.stages
        if pool is not None:
            new, new_forecasts = expectation.of(pool.inputs, pool.before)
            hopeful, stages = _joined(hopeful, new), np.concatenate([stages, new_forecasts.stages])
        if not len(hopeful):
            return []
        taken = _joined(done, coming)
        low, whole = self._box(view, taken, hopeful)
        low, high = self._within_limits(low, whole)
        shift = self._candidates.rng("points", view.num_begun).random(len(low))
        points, free, share = open_points(low, high, taken, hopeful, shift)
        value = free * share * self._preferred(points, low, whole)
        costs = self._costs(view, expectation, inputs, waiting, pool)
        first = np.zeros(len(hopeful), dtype=np.int64)
        first[: len(waiting)] = view.reached[waiting]
        prices = np.where(np.arange(costs.shape[1]) >= first[:, None], costs, 0.0).sum(axis=1)
        most = max(_MOST_INDEXED, 2 * length)
        places, gains, chances = _screened(hopeful, prices, points, value, len(waiting), most)
        worth = np.zeros(len(places))
        for count in np.unique(first[places]):
            some = np.flatnonzero(first[places] == count)
            at = places[some]
            worth[some] = self._indices(hopeful.take(at), stages[at, count:], costs[at, count:], points, value)
        if not worth.any():  # nothing is expected of anything: what is cheapest tells more soonest
            worth = 1e-30 / costs[places].sum(axis=1)
        jobs: list[Choice] = []
        for pick in _greedy(worth, chances, value, length):
            place = int(places[pick])
            if place < len(waiting):
                jobs.append(Choice(trial=may_go_on[place], reached=int(first[place])))
            else:
                assert pool is not None
                jobs.append(Choice(params=pool.params[place - len(waiting)], notes={GAIN: float(gains[pick])}))
        return jobs

    def _preferred(self, points: Array, low: Array, high: Array) -> Array:
        """What points (s, m) are worth for where they lie in the box: the same without preferences.

        With them the less the farther they are from the best of what counts, as a promotion's pick is measured (weighted
        hypervolume, Zitzler et al. 2007). An objective in which nothing differs, or of which nothing is known, tells nothing.
        """
        weights = self._problem.preference
        extent = high - low
        factors = np.array([weights.get(objective.name, 0.0) for objective in self._problem.objectives])
        factors = np.where(extent > _LEAST_EXTENT * np.maximum(1.0, np.abs(high)), factors, 0.0)
        if not factors.any():
            return np.ones(len(points))
        worth: Array = np.exp(-np.sqrt((((points - low) / extent) ** 2) @ (factors / factors.sum())) / _FAR_OFF)
        return worth

    def _box(self, view: View, taken: Scores, hopeful: Scores) -> tuple[Array, Array]:
        """Where gains count (m,), (m,): from beyond the best that can be hoped for to beyond the ends of the expected front.

        Where no score is negative none will be: what is uncertain about a small rate must not be hoped for below 0.
        """
        everything = _joined(taken, hopeful)
        hoped = everything.mean - 3.0 * everything.deviation
        ends = everything.mean
        low = np.minimum(ends.min(axis=0), hoped.min(axis=0))
        high = ends.max(axis=0)
        high = high + np.maximum(_MARGIN * (high - ends.min(axis=0)), 1e-9 * np.maximum(1.0, np.abs(high)))
        for column, objective in enumerate(self._problem.objectives):
            known = view.before[:, column] if objective.before_training else view.values[:, :, column]
            if not objective.logarithmic and not (known < 0).any():
                low[column] = max(low[column], 0.0)
        return np.minimum(low, high - 1e-12), high

    def _within_limits(self, low: Array, high: Array) -> tuple[Array, Array]:
        """The part of the box that whoever asked has a use for."""
        limits = (self._problem.limits.get(objective.name) for objective in self._problem.objectives)
        most = [np.inf if m is None else scaled(o, m) for o, m in zip(self._problem.objectives, limits, strict=True)]
        high = np.minimum(high, most)
        return np.minimum(low, high - 1e-12), high

    def _costs(
        self, view: View, expectation: Expectation, inputs: Inputs, waiting: NDArray[np.int64], pool: Pool | None
    ) -> Array:
        """What each rung costs the trials that wait and the candidates, (n, rungs)."""
        costs = expectation.costs(inputs.take(waiting), view.efforts[waiting])
        return costs if pool is None else np.concatenate([costs, expectation.costs(pool.inputs, pool.efforts)])

    def _indices(self, scores: Scores, stages: Array, costs: Array, points: Array, value: Array) -> Array:
        """The index of n trials (n,), from what each adds at every last score that it may have."""
        column = self._primary
        sure = Scores(scores.mean.copy(), scores.deviation.copy())
        sure.mean[:, column], sure.deviation[:, column] = -np.inf, 0.0
        order = np.argsort(points[:, column], kind="stable")
        masses = (dominating(sure, points) * value)[:, order]
        beyond = np.concatenate([np.cumsum(masses[:, ::-1], axis=1)[:, ::-1], np.zeros((len(masses), 1))], axis=1)
        outcomes = scores.mean[:, column, None] + np.sqrt((stages**2).sum(axis=1))[:, None] * GRID
        at = np.searchsorted(points[order, column], outcomes)
        return indices(np.take_along_axis(beyond, at, axis=1), stages, costs)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Matrices of some hundred rows are no faster on several threads, which wait, busily, where workers train."""
    with _THREADS.limit(limits=1, user_api="blas"):
        yield


def _at_a_time(num_outcomes: int, view: View) -> int:
    """How many results are waited for, and how many jobs are planned, at one time; by the time that jobs have taken so far."""
    usual = 1 if num_outcomes < _EACH_ONE else num_outcomes // _SHARE
    each = max(view.seconds / max(view.num_outcomes, 1), 1e-9)
    return max(usual, min(num_outcomes // _LEARNT_FROM, int(_DECIDING_S / each)))


def _screened(
    hopeful: Scores, prices: Array, points: Array, value: Array, num_waiting: int, count: int
) -> tuple[NDArray[np.int64], Array, Array]:
    """The places (k,) of highest expected gain for their price, up to `count` of those that wait and as many of the candidates
    after them; what each gains (k,), and its chances to dominate each of the points (k, s), which are worth `value` (s,).

    Whoever promises little by a part of the points is left out of what is worked out with all of them.
    """
    part = slice(None, None, _SCREENED)
    rates = expected_gains(hopeful, points[part], value[part]) / prices
    places = _best_of_both(rates, num_waiting, _SCREENED * count)
    chances = dominating(hopeful.take(places), points)
    gains = chances @ value
    kept = _best_of_both(gains / prices[places], int((places < num_waiting).sum()), count)
    return places[kept], gains[kept], chances[kept]


def _greedy(worth: Array, chances: Array, free: Array, length: int) -> list[int]:
    """The places of highest `worth` (k,), one after the other; each takes its points from those that follow.

    `chances` (k, s) are theirs to dominate each of the points.
    """
    chosen: list[int] = []
    begin = worth / np.maximum(chances @ free, 1e-300)
    now = worth.copy()
    while len(chosen) < min(length, len(worth)):
        best = int(np.argmax(now))
        chosen.append(best)
        if len(chosen) < length:
            free = free * (1.0 - chances[best])
            now = begin * (chances @ free)
            now[chosen] = -1.0
    return chosen


def _best_of_both(rates: Array, num_waiting: int, count: int) -> NDArray[np.int64]:
    """Places of the highest rates among the trials that wait, and among the candidates after them, rising."""
    places = np.concatenate([_highest(rates[:num_waiting], count), num_waiting + _highest(rates[num_waiting:], count)])
    return np.sort(places)


def _highest(values: Array, count: int) -> NDArray[np.int64]:
    return np.argsort(-values, kind="stable")[:count]


def _joined(first: Scores, second: Scores) -> Scores:
    return Scores(np.concatenate([first.mean, second.mean]), np.concatenate([first.deviation, second.deviation]))
