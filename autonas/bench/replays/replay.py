"""The search policy of a study, policy/policy.py itself, on a table of finished trials in virtual time.

What the study's loop (study/search.py) does with an engine and a ledger is done here with a simulation and a list: each step is
asked for with the record of what is known by then, and nothing else is told.
"""

from __future__ import annotations

import dataclasses

from autonas.bench.replays.simulation import Ended, Limit, Simulation, Trace
from autonas.bench.tables import TableProblem
from autonas.policy.policy import Complete, Finish, Policy, Propose, Stop, Train, Wait
from autonas.policy.settings import SearchSettings
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord

_FULL_S = 4096.0  # that a full training is said to take, whatever the table's unit: longer than deciding on it


def replay(problem: TableProblem, settings: SearchSettings, *, workers: int, limit: Limit) -> Trace:
    """Search the table as a study with these settings would. `settings.rungs` are steps of the table, the last one its last."""
    return Replay(problem, settings, workers).run(limit)


class Replay:
    """One study while it is replayed."""

    def __init__(self, problem: TableProblem, settings: SearchSettings, workers: int) -> None:
        self.problem, self.table = problem, problem.table
        assert settings.rungs[-1] == self.table.steps[-1], (settings.rungs, self.table.steps)
        self.policy = Policy(problem, settings)
        self.simulation = Simulation(self.table, workers)
        self._seconds = _FULL_S / self.table.full_cost
        self._steps = [self.table.steps.index(rung) for rung in settings.rungs]  # of each rung
        self._trials: list[TrialRecord] = []
        self._rows: list[int] = []  # of each trial
        self._seen: set[int] = set()
        self._duplicates = 0
        self._study: StudyRecord | None = None  # None: something has changed since it was made

    def run(self, limit: Limit) -> Trace:
        """Take step after step, until the limit is reached or the policy says that the study is at its end."""
        exhausted = False
        while True:
            if not self.simulation.idle:
                self.take_in(self.simulation.wait())
            else:
                step = self.policy.next_step(self.study, running=frozenset(self.simulation.running), accepting=True)
                if isinstance(step, Finish):
                    exhausted = True
                    break
                if not isinstance(step, Wait):
                    self._take(step)
                    continue
                assert self.simulation.running, "the policy waits, and nothing is under way"
                self.take_in(self.simulation.wait())
            if limit.reached(self.simulation):
                break
        return self.simulation.trace(duplicates=self._duplicates, proposals=len(self._trials), exhausted=exhausted)

    @property
    def study(self) -> StudyRecord:
        """What is known by now."""
        if self._study is None:
            self._study = StudyRecord(name=self.table.name, recipe={}, attributes={}, trials=tuple(self._trials))
        return self._study

    def _take(self, step: Propose | Train | Stop | Complete) -> None:
        if isinstance(step, Propose):
            self._begin(step)
        elif isinstance(step, Train):
            rungs = len(self._trials[step.trial].rungs)
            assert step.rung == rungs, f"trial {step.trial} has {rungs} rungs and cannot be trained to rung {step.rung}"
            after = self._steps[step.rung - 1] if step.rung else None
            self.simulation.start(step.trial, self._rows[step.trial], self._steps[step.rung], after=after)
        elif isinstance(step, Stop):
            reason = f"stopped at rung {len(self._trials[step.trial].rungs) - 1}"
            self._change(step.trial, state="stopped", reason=reason)
        else:
            self._change(step.trial, state="complete")

    def _begin(self, step: Propose) -> None:
        """A trial, with the scores of its row that need no training. A table has one value of each: a repeat has the same."""
        row = self.problem.row(step.params)
        if step.repeat_of is None:
            self._duplicates += row in self._seen
            self._seen.add(row)
        known = {
            objective.name: Score.exact(float(self.table.scores[row, -1, column]), objective.unit)
            for column, objective in enumerate(self.table.objectives)
            if objective.before_training
        }
        trial = TrialRecord(
            number=len(self._trials),
            state="live",
            params=step.params,
            spec=None,
            repeat_of=step.repeat_of,
            scores=known,
            sampler_state=step.sampler_state,
        )
        self._trials.append(trial)
        self._rows.append(row)
        self._study = None
        self.simulation.begin(row)

    def take_in(self, ended: Ended) -> None:
        """Write down how a job has ended."""
        trial = self._trials[ended.trial]
        if ended.failed:
            self._change(ended.trial, state="failed", failure="nan", reason="it has no scores in the table")
        else:
            self._change(ended.trial, rungs=(*trial.rungs, self._outcome(trial, ended)))

    def _outcome(self, trial: TrialRecord, ended: Ended) -> Outcome:
        rung, last = len(trial.rungs), ended.step == len(self.table.steps) - 1
        scores = {
            objective.name: Score.exact(float(self.table.scores[ended.row, ended.step, column]), objective.unit)
            for column, objective in enumerate(self.table.objectives)
            if objective.known == "trained" or (last and objective.known == "final")
        }
        tokens = self.table.steps[ended.step]
        before = trial.rungs[-1].tokens if trial.rungs else 0
        return Outcome(
            kind="train",
            trial=trial.number,
            attempt=1,
            rung=rung,
            seconds=ended.cost * self._seconds,
            scores=scores,
            tokens=tokens,
            new_tokens=tokens - before,
        )

    def _change(self, number: int, **fields: object) -> None:
        self._trials[number] = dataclasses.replace(self._trials[number], **fields)  # type: ignore[arg-type]
        self._study = None
