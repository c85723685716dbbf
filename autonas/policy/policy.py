"""What a study does next, as a pure function of its recipe's settings and its ledger.

Proposes params (dispatch to `sampler`), lets trials advance (dispatch to `rungs`), asks for declared repeats, and says when a
study is at its end. Screening costs and running jobs are the study loop's business.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autonas import pareto
from autonas.policy import sampler
from autonas.policy.prior import Prior
from autonas.policy.problem import Problem
from autonas.policy.rungs import RungScheduler, Standing, make_scheduler, num_survivors
from autonas.policy.settings import SearchSettings
from autonas.policy.view import View
from autonas.trial import Budget, Outcome, StudyRecord

if TYPE_CHECKING:
    from autonas.policy.adaptive import Adaptive

# Draws for one trial before the search for something new becomes an enumeration.
_MAX_DRAWS = 50
# The share of the trials that are seen at the first rung before one of them goes on, in a study of so many trials.
_KEPT = 1 / 3
# So many infeasible trials in a row say that the space, not the luck, is empty.
MAX_INFEASIBLE_RUN = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Propose:
    """Screen these params and, if they are feasible, begin a trial. `repeat_of` makes it a declared repeat."""

    params: Mapping[str, Any]
    sampler_state: Mapping[str, Any]
    repeat_of: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Train:
    """Train this trial to this rung."""

    trial: int
    rung: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """This trial does not go on; its scores stay at the rung it has reached."""

    trial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """This trial has been scored at the last rung."""

    trial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing can be decided before a running job has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """The study is at its end, for this reason."""

    reason: str


Step = Propose | Train | Stop | Complete | Wait | Finish


class Policy:
    """The decisions of one study. An answer depends on settings, prior and the record it is given, and on nothing else.

    What is kept between answers is what would be worked out anew. (Beyond some 100 results several jobs are planned at a time,
    by the record at that moment; a study that was interrupted plans anew.)
    """

    def __init__(self, problem: Problem, settings: SearchSettings, prior: Prior | None = None) -> None:
        self._problem = problem
        self._settings = settings
        self._prior = prior or Prior()
        self._scheduler: RungScheduler | None = None
        if settings.stopping != "gain":
            self._scheduler = make_scheduler(
                settings.stopping, reduction_factor=settings.reduction_factor, min_survivors=settings.min_survivors
            )
        self.rungs = settings.rungs
        self._begin_view()

    def budget(self, rung: int) -> Budget:
        """The token counts of the study's `rung`."""
        tokens = self.rungs[rung]
        return Budget(rung=rung, tokens=tokens, cooldown_tokens=max(1, round(tokens * self._settings.cooldown_share)))

    def next_step(self, study: StudyRecord, *, running: frozenset[int], accepting: bool = True) -> Step:
        """What to do next. `running`: trials with a job under way; `accepting`: whether new trials may still begin."""
        if not self._view.is_of(study):
            self._begin_view()
        self._view.update(study)
        view = self._view
        for number in view.at_end:
            if number not in running:
                return Complete(trial=number)
        for number, trial in view.fresh.items():
            if number not in running:
                return Train(trial=number, rung=len(trial.rungs))
        more = accepting and view.num_begun < self._settings.trials
        busy = any(len(study.trials[number].rungs) == 0 for number in running)
        if self._scheduler is None:
            step = self._gain(running, more=more)
        else:
            step = self._advance(study, running, more_to_come=more or busy)
            if step is None and more:
                step = self._propose(study, running) or self._advance(study, running, more_to_come=busy)
        if step is not None:
            return step
        if any(study.trials[number].repeat_of is None for number in running):
            return Wait()
        # Which come next does not depend on how the ones before have ended, so they may run side by side.
        last = self._repeat(study)
        if running and (isinstance(last, Finish) or not accepting):
            return Wait()
        unfinished = isinstance(last, Propose) or view.num_begun < self._settings.trials
        return last if accepting or not unfinished else Finish(reason="time is up")

    def _begin_view(self) -> None:
        self._view = View(self._problem, len(self.rungs))
        self._chooser: Adaptive | None = None

    @property
    def _adaptive(self) -> Adaptive:
        if self._chooser is None:
            from autonas.policy.adaptive import Adaptive  # with scipy, which whoever only looks at a study need not wait for

            settings = self._settings
            self._chooser = Adaptive(
                self._problem, self.rungs, settings.cooldown_share, settings.seed, settings.trials, self._prior
            )
        return self._chooser

    def _gain(self, running: frozenset[int], *, more: bool) -> Step | None:
        """The job that is worth most; the end of trials that are worth nothing; None when there is neither."""
        view = self._view
        more = more and view.trailing_infeasible < MAX_INFEASIBLE_RUN
        under_way = [view.row(number) for number in running if view.has(number)]
        waiting = view.paused.copy()
        waiting[under_way] = False
        hopeless = self._adaptive.hopeless(view, view.numbers[waiting].tolist())
        if hopeless is not None:
            return Stop(trial=hopeless)
        left, usual = self._tokens_left(under_way, more=more), self._adaptive.usual_effort
        beyond = self.rungs[-1] - np.array([0, *self.rungs])[view.reached[waiting]]
        affordable = beyond * (view.efforts[waiting] / usual) <= left
        going_on = frozenset(view.numbers[waiting][affordable].tolist())
        choice = self._adaptive.choose(view, running, may_begin=more, may_go_on=going_on)
        if choice is None:
            return None if under_way or not waiting.any() else Stop(trial=int(view.numbers[waiting].min()))
        if choice.trial is not None:
            return Train(trial=choice.trial, rung=int(view.reached[view.row(choice.trial)]))
        assert choice.params is not None
        return Propose(params=choice.params, sampler_state=choice.notes or {})

    def _tokens_left(self, under_way: Sequence[int], *, more: bool) -> float:
        """Tokens that trials may go on with now; while trials are still to begin, a part is kept for them.

        `under_way` are the rows of trials with a job, whose tokens are spent.
        Tokens of an architecture that costs twice the usual count twice, so that a study takes the time that was planned.
        """
        view, settings = self._view, self._settings
        reached = view.reached.copy()
        reached[under_way] += 1
        if settings.tokens is not None:
            total, counted = float(settings.tokens), 0
            kept = float(self.rungs[0] * (settings.trials - view.num_begun)) if more else 0.0
        else:  # beyond the first rung, which every trial is trained to
            total, counted, count = 0.0, self.rungs[0], settings.trials
            for before, rung in itertools.pairwise(self.rungs):
                count = num_survivors(count, settings.reduction_factor, settings.min_survivors)
                total += count * (rung - before)
            known = float((view.reached > 0).sum()) / settings.trials
            kept = total * min(1.0, (1.0 - known) / (1.0 - _KEPT)) if more else 0.0
        after = np.array([0, *(tokens - counted for tokens in self.rungs)])
        return total - kept - float(after[reached] @ view.efforts) / self._adaptive.usual_effort

    def _advance(self, study: StudyRecord, running: frozenset[int], *, more_to_come: bool) -> Step | None:
        """Higher rungs first: what is nearest to its end frees its checkpoint soonest and informs the sampler most."""
        assert self._scheduler is not None
        view = self._view
        waiting = {n: view.trial(n) for n in view.numbers[view.paused].tolist() if n not in running}
        open_below = more_to_come
        chosen: list[tuple[int, tuple[int, ...], bool]] = []
        for rung in range(len(self.rungs) - 1):
            advancing = self._scheduler.advancing(self.standings(study, rung), more_to_come=open_below)
            chosen.append((rung, advancing, open_below))
            going_on = any(n in waiting and len(waiting[n].rungs) == rung + 1 for n in advancing)
            # Another trial may still reach the next rung while one waits to, trains for it, or may be chosen for it.
            training = any(
                t.state == "live" and t.number not in waiting and t.repeat_of is None and len(t.rungs) == rung + 1
                for t in study.trials
            )
            open_below = open_below or going_on or training
        for rung, advancing, _ in reversed(chosen):
            for number in advancing:
                if number in waiting and len(waiting[number].rungs) == rung + 1:
                    return Train(trial=number, rung=rung + 1)
        for rung, advancing, still_open in chosen:
            for number, trial in waiting.items():
                if len(trial.rungs) == rung + 1 and not still_open and number not in advancing:
                    return Stop(trial=number)
        return None

    def standings(self, study: StudyRecord, rung: int) -> list[Standing]:
        """Every trial scored at `rung`, wherever it is now, by the objectives that can be judged there."""
        judged = [objective for objective in self._problem.objectives if objective.known != "final"]
        judged.sort(key=lambda objective: objective.known != "trained")
        result = []
        for trial in study.trials:
            if len(trial.rungs) > rung and trial.repeat_of is None and trial.state != "failed":
                scores = [trial.score(objective.name, rung) for objective in judged]
                assert all(scores), f"trial {trial.number} lacks a score at rung {rung}"
                values = tuple(
                    math.log(max(s.value, 1e-12)) if o.logarithmic else s.value
                    for o, s in zip(judged, scores, strict=True)
                    if s is not None
                )
                result.append(Standing(trial=trial.number, values=values))
        return result

    def _propose(self, study: StudyRecord, running: frozenset[int]) -> Propose | None:
        """Params whose architecture the study has not seen; None when the space holds nothing new."""
        view = self._view
        if view.trailing_infeasible >= MAX_INFEASIBLE_RUN:
            return None
        if self._settings.sampler == "autonas":
            choice = self._adaptive.choose(view, running, may_begin=True, may_go_on=frozenset())
            return None if choice is None else Propose(params=choice.params or {}, sampler_state=choice.notes or {})
        for attempt in range(_MAX_DRAWS):
            drawn, state = sampler.draw(
                self._settings.sampler,
                self._problem,
                study,
                num_rungs=len(self.rungs),
                seed=self._settings.seed,
                attempt=attempt,
            )
            params = self._problem.settle(drawn)
            if self._problem.identity(params) not in view.known:
                return Propose(params=params, sampler_state=state)
        rng = np.random.default_rng(sampler.derived_seed(self._settings.seed, len(study.trials), "enumerate"))
        fresh = self._problem.fresh(rng, view.known)
        return None if fresh is None else Propose(params=fresh, sampler_state={})

    def _repeat(self, study: StudyRecord) -> Step:
        """The next declared repeat: a trial of the last rung once more, first where noise decides who is on the front."""
        finals = [t for t in study.trials if t.state == "complete" and t.repeat_of is None]
        repeated = [t.repeat_of for t in study.trials if t.repeat_of is not None and t.retry_of is None]
        due = min(self._settings.repeats, len(finals)) - len(repeated)
        if due <= 0:
            return Finish(reason=self._end_reason(study))
        standings = [s for s in self.standings(study, len(self.rungs) - 1) if any(t.number == s.trial for t in finals)]
        values = np.array([s.values for s in standings])
        spread = [int(i) for i in pareto.epsilon_net_order(values)]
        margins = _margins(values)
        order = [standings[i].trial for i in sorted(spread, key=lambda i: margins[i])]
        pick = next(number for number in order if number not in repeated)
        return Propose(params=study.trials[pick].params, sampler_state={}, repeat_of=pick)

    def _end_reason(self, study: StudyRecord) -> str:
        if begun(study) >= self._settings.trials:
            return f"all {self._settings.trials} trials have ended"
        if trailing_infeasible(study) >= MAX_INFEASIBLE_RUN:
            return f"{MAX_INFEASIBLE_RUN} candidates in a row broke a rule or a limit; widen the limits"
        return "the space holds no further architecture"


def _margins(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
    """By how much the first score of each row (n, m) would have to change for it to join the front, or to leave it."""
    margins = []
    for place, row in enumerate(values):
        rivals = (values[:, 1:] <= row[1:]).all(axis=1)
        rivals[place] = False
        margins.append(float(np.abs(values[rivals, 0].min() - row[0])) if rivals.any() else math.inf)
    return margins


def begun(study: StudyRecord) -> int:
    """The trials that began training: what `--trials` counts. Declared repeats are left out, and a retry is its original's."""
    counted = (trial for trial in study.trials if trial.repeat_of is None and trial.retry_of is None)
    return sum(trial.state != "infeasible" or bool(trial.rungs) for trial in counted)


def beats_unigram(outcome: Outcome) -> str | None:
    """None when a scored model beats a unigram model of the tokens it was shown; else what was found, in words.

    A model that has learnt nothing does not repeat itself, and must not win by it.
    """
    loss, unigram = outcome.scores["val_loss"].value, outcome.baselines["unigram"]
    if loss < unigram:
        return None
    return f"its validation loss of {loss:.3f} nats is not below the {unigram:.3f} of a unigram model of the same tokens"


def trailing_infeasible(study: StudyRecord) -> int:
    """The length of the run of infeasible trials with which the study ends so far."""
    count = 0
    for trial in reversed(study.trials):
        if trial.state != "infeasible" or trial.rungs:
            break
        count += 1
    return count
