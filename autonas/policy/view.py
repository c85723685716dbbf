"""A study's trials as arrays, kept up with its record by looking at what has changed.

A `View` holds nothing that the record does not say: reading the same record into a new one gives the same arrays. Scores are on
the scale on which they are compared (logarithms where the objective says so).
"""

from __future__ import annotations

import itertools
import math
import operator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas.objective import Objective
from autonas.policy.problem import Array, Problem
from autonas.trial import StudyRecord, TrialRecord

_LEAST = 1e-12
_Z95 = 1.96


class View:
    """Originals in trial order; a declared repeat adds to its original's scores. n rows, r rungs, m objectives.

    Arrays: `numbers` (n,) of the trials; `values` (n, r, m) mean scores of trained objectives, NaN where there is none;
    `variances` (n, r, m) of their sampling noise where each has its own; `before` (n, m) scores known before training;
    `reached` (n,) rungs scored; `features` (n, d); `pace` (n,) seconds per trained token, NaN at first; `efforts` (n,) what a
    token was thought to cost; `scored` (n,) whether the trial may stand on the front; `paused` (n,) whether it is live with a
    rung behind it.
    """

    def __init__(self, problem: Problem, num_rungs: int) -> None:
        self._problem = problem
        self._seen: list[TrialRecord] = []
        self._copies: dict[int, list[int]] = {}  # of an original's number: those of its repeats
        self._rows: dict[int, int] = {}
        self._identity: dict[int, str] = {}
        self._arrays = _Arrays.of(16, num_rungs, len(problem.objectives), 0)
        self._size = 0
        self.known: dict[str, int] = {}  # identity -> the first trial that has it
        self.fresh: dict[int, TrialRecord] = {}  # live and without a rung, or a live repeat: has its next job to be given
        self.at_end: dict[int, TrialRecord] = {}  # live, and scored at the last rung
        self.num_begun = 0  # as `--trials` counts
        self.num_outcomes = 0  # rungs scored
        self.seconds = 0.0  # of all outcomes
        self.trailing_infeasible = 0

    def is_of(self, study: StudyRecord) -> bool:
        """Whether a record may be the one that was shown last with more in it: its first trial is the same."""
        return not self._seen or (len(study.trials) >= len(self._seen) and study.trials[0].params == self._seen[0].params)

    def update(self, study: StudyRecord) -> None:
        """Take in what has changed since the record that was shown last."""
        differing = map(operator.is_not, self._seen, study.trials)
        for number in list(itertools.compress(range(len(self._seen)), differing)):
            before, self._seen[number] = self._seen[number], study.trials[number]
            self._take(before, study.trials[number])
        for trial in study.trials[len(self._seen) :]:
            self._seen.append(trial)
            self._take(None, trial)

    def _take(self, before: TrialRecord | None, trial: TrialRecord) -> None:
        number = trial.number
        if before is None:
            self._identity[number] = self._problem.identity(trial.params)
            self.known.setdefault(self._identity[number], number)
            unfit = trial.state == "infeasible" and not trial.rungs
            self.trailing_infeasible = self.trailing_infeasible + 1 if unfit else 0
            self.num_begun += not unfit and trial.repeat_of is None and trial.retry_of is None
            if trial.repeat_of is not None:
                self._copies.setdefault(trial.repeat_of, []).append(number)
        new = trial.rungs[len(before.rungs) if before else 0 :]
        self.num_outcomes += len(new)
        self.seconds += sum(outcome.seconds for outcome in new)
        live = trial.state == "live"
        for group, belongs in (
            (self.at_end, live and len(trial.rungs) == self._arrays.values.shape[1]),
            (self.fresh, live and (not trial.rungs or trial.repeat_of is not None)),
        ):
            if belongs:
                group[number] = trial
            else:
                group.pop(number, None)
        self._write(trial.number if trial.repeat_of is None else trial.repeat_of)

    def _write(self, number: int) -> None:
        """Bring an original's row up to date."""
        trial = self._seen[number]
        if trial.state == "infeasible" and not trial.rungs and not any(o.name in trial.scores for o in self._measured):
            return
        arrays = self._arrays
        if number not in self._rows:
            described = self._problem.features([trial.params])
            if self._size == len(arrays.numbers) or not self._size:
                capacity = max(16, 2 * self._size)
                arrays = self._arrays = arrays.grown(capacity, described.shape[1])
            self._rows[number] = self._size
            arrays.numbers[self._size] = number
            arrays.features[self._size] = described[0]
            arrays.efforts[self._size] = self._problem.efforts([trial.params])[0]
            self._size += 1
        row = self._rows[number]
        runs = [trial, *(self._seen[copy] for copy in self._copies.get(number, ()))]
        arrays.reached[row] = len(trial.rungs)
        arrays.paused[row] = trial.state == "live" and bool(trial.rungs)
        arrays.scored[row] = trial.state in ("complete", "live") and len(trial.rungs) == arrays.values.shape[1]
        seconds, tokens = sum(o.seconds for o in trial.rungs), sum(o.new_tokens for o in trial.rungs)
        arrays.pace[row] = seconds / tokens if tokens and seconds > 0 else np.nan
        for column, objective in enumerate(self._problem.objectives):
            if objective.before_training:
                score = trial.scores.get(objective.name)
                arrays.before[row, column] = np.nan if score is None else scaled(objective, score.value)
                continue
            for rung in range(len(trial.rungs)):
                found = [run.rungs[rung].scores.get(objective.name) for run in runs if len(run.rungs) > rung]
                scores = [score for score in found if score is not None]
                if scores:
                    arrays.values[row, rung, column] = sum(scaled(objective, s.value) for s in scores) / len(scores)
                    if objective.known == "final":
                        widths = sum(((s.high - s.low) / (2 * _Z95)) ** 2 for s in scores)
                        arrays.variances[row, rung, column] = widths / len(scores) ** 2

    @property
    def _measured(self) -> tuple[Objective, ...]:
        return tuple(o for o in self._problem.objectives if o.known == "measured")

    def __len__(self) -> int:
        return self._size

    @property
    def numbers(self) -> NDArray[np.int64]:
        return self._arrays.numbers[: self._size]

    @property
    def values(self) -> Array:
        return self._arrays.values[: self._size]

    @property
    def variances(self) -> Array:
        return self._arrays.variances[: self._size]

    @property
    def before(self) -> Array:
        return self._arrays.before[: self._size]

    @property
    def reached(self) -> NDArray[np.int64]:
        return self._arrays.reached[: self._size]

    @property
    def paused(self) -> NDArray[np.bool_]:
        return self._arrays.paused[: self._size]

    @property
    def features(self) -> Array:
        return self._arrays.features[: self._size]

    @property
    def pace(self) -> Array:
        return self._arrays.pace[: self._size]

    @property
    def efforts(self) -> Array:
        return self._arrays.efforts[: self._size]

    @property
    def scored(self) -> NDArray[np.bool_]:
        return self._arrays.scored[: self._size]

    def has(self, number: int) -> bool:
        """Whether a trial has a row: it is an original, and describes an architecture."""
        return number in self._rows

    def row(self, number: int) -> int:
        """The row of an original."""
        return self._rows[number]

    def trial(self, number: int) -> TrialRecord:
        """As it was shown last."""
        return self._seen[number]


def scaled(objective: Objective, value: float) -> float:
    """A score on the scale on which it is compared."""
    return math.log(max(value, _LEAST)) if objective.logarithmic else value


@dataclass(slots=True)
class _Arrays:
    """Rows with room for more."""

    numbers: NDArray[np.int64]
    reached: NDArray[np.int64]
    scored: NDArray[np.bool_]
    paused: NDArray[np.bool_]
    values: Array
    variances: Array
    before: Array
    pace: Array
    efforts: Array
    features: Array

    @classmethod
    def of(cls, capacity: int, rungs: int, columns: int, width: int) -> _Arrays:
        return cls(
            numbers=np.zeros(capacity, dtype=np.int64),
            reached=np.zeros(capacity, dtype=np.int64),
            scored=np.zeros(capacity, dtype=bool),
            paused=np.zeros(capacity, dtype=bool),
            values=np.full((capacity, rungs, columns), np.nan),
            variances=np.zeros((capacity, rungs, columns)),
            before=np.full((capacity, columns), np.nan),
            pace=np.full(capacity, np.nan),
            efforts=np.ones(capacity),
            features=np.zeros((capacity, width)),
        )

    def grown(self, capacity: int, width: int) -> _Arrays:
        """A copy with room for `capacity` rows."""
        result = _Arrays.of(capacity, self.values.shape[1], self.values.shape[2], width)
        for name in ("numbers", "reached", "scored", "paused", "values", "variances", "before", "pace", "efforts"):
            old = getattr(self, name)
            getattr(result, name)[: len(old)] = old
        if self.features.shape[1]:
            result.features[: len(self.features)] = self.features
        return result
