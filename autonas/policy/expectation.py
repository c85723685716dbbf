"""What is expected of trials and candidates: their scores at the last rung, and what the rungs to come will cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas.objective import Objective
from autonas.policy.gain import Scores
from autonas.policy.ladder import Fitted, Forecasts, Ladder, fit_ladder, fit_scores
from autonas.policy.problem import Array
from autonas.policy.surrogate import Inputs
from autonas.policy.view import View


@dataclass(frozen=True, slots=True)
class Expectation:
    """Learnt from a study's trials. `ladders` and `scores` by column: trained objectives; measured and final ones."""

    objectives: tuple[Objective, ...]
    ladders: Mapping[int, Ladder]
    scores: Mapping[int, Fitted | None]
    pace: Fitted | None  # logarithm of seconds per token and unit of effort
    tokens: Array  # (rungs,) that each rung adds

    def of(
        self, inputs: Inputs, before: Array, reached: int = 0, values: Array | None = None, variances: Array | None = None
    ) -> tuple[Scores, Forecasts]:
        """Scores of n architectures at the last rung, and the forecast of the first trained objective.

        `before` (n, m) holds what is known before training; `reached` rungs have been scored with `values` (n, rungs, m).
        """
        mean, deviation = before.copy(), np.zeros_like(before)
        primary: Forecasts | None = None
        for column, objective in enumerate(self.objectives):
            if objective.known == "trained":
                scores = values[:, reached - 1, column] if values is not None and reached else None
                forecasts = self.ladders[column].forecasts(inputs, reached, scores)
                mean[:, column], deviation[:, column] = forecasts.mean, forecasts.deviation
                primary = primary or forecasts
            elif objective.known == "final" and values is not None and variances is not None and reached == len(self.tokens):
                mean[:, column], deviation[:, column] = values[:, -1, column], np.sqrt(variances[:, -1, column])
            elif objective.known in ("final", "measured"):
                unknown = np.isnan(before[:, column])
                fitted = self.scores[column]
                guess, doubt = (np.zeros(len(inputs)), np.ones(len(inputs))) if fitted is None else fitted.predict(inputs)
                mean[unknown, column], deviation[unknown, column] = guess[unknown], doubt[unknown]
        assert primary is not None, "a study has an objective that training improves at every rung"
        return Scores(mean, deviation), primary

    def of_trials(self, view: View, inputs: Inputs, rows: NDArray[np.int64]) -> tuple[Scores, Forecasts]:
        """Scores at the last rung of trials (rows of the view), measured or expected; stages behind them are 0."""
        columns, rungs = len(self.objectives), len(self.tokens)
        scores = Scores(np.zeros((len(rows), columns)), np.zeros((len(rows), columns)))
        forecasts = Forecasts(np.zeros(len(rows)), np.zeros((len(rows), rungs)))
        reached = view.reached[rows]
        for count in np.unique(reached):
            places = np.flatnonzero(reached == count)
            at = rows[places]
            found, primary = self.of(inputs.take(at), view.before[at], int(count), view.values[at], view.variances[at])
            scores.mean[places], scores.deviation[places] = found.mean, found.deviation
            forecasts.mean[places], forecasts.stages[places, count:] = primary.mean, primary.stages
        return scores, forecasts

    def costs(self, inputs: Inputs, efforts: Array) -> Array:
        """What each rung adds in cost (n, rungs): seconds, once the pace of a trial is known."""
        rates = efforts if self.pace is None else efforts * np.exp(self.pace.predict(inputs)[0])
        result: Array = rates[:, None] * self.tokens
        return result


def learn(view: View, inputs: Inputs, efforts: Array, objectives: Sequence[Objective], tokens: Array) -> Expectation | None:
    """What a study's trials tell; None before the first score of each objective that every rung has."""
    ladders: dict[int, Ladder] = {}
    scores: dict[int, Fitted | None] = {}
    for column, objective in enumerate(objectives):
        if objective.known == "trained":
            ladder = fit_ladder(inputs, view.values[:, :, column])
            if ladder is None:
                return None
            ladders[column] = ladder
        elif objective.known == "final":
            scores[column] = fit_scores(inputs, view.values[:, -1, column], view.variances[:, -1, column])
        elif objective.known == "measured":
            scores[column] = fit_scores(inputs, view.before[:, column])
    pace = fit_scores(inputs, np.log(view.pace / efforts))
    return Expectation(tuple(objectives), ladders, scores, pace, tokens)
