"""What a study has spent on training, in floating-point operations: a measure that does not depend on the machine."""

from __future__ import annotations

import math
from collections.abc import Callable

from autonas import cost
from autonas.reporting.volume import training_spent
from autonas.trial import StudyRecord, TrialRecord


def total_flops(study: StudyRecord) -> float:
    """Training FLOPs of all trials: forward and backward, of the tokens that each of them trained itself."""
    return math.fsum(_flops(trial) for trial in study.trials)


def spent_by(study: StudyRecord) -> dict[int, tuple[float, float]]:
    """By trial: seconds in training jobs and training FLOPs of all that had ended with it, in order of ending."""
    seconds = training_spent(study)  # in that order
    flops = accumulated(study, list(seconds), _flops)
    return {number: (seconds[number][0], flops[number]) for number in seconds}


def accumulated(study: StudyRecord, order: list[int], amount: Callable[[TrialRecord], float]) -> dict[int, float]:
    """What had been spent when each of the trials had ended, in that order."""
    trials = {trial.number: trial for trial in study.trials}
    spent, total = {}, 0.0
    for number in order:
        total += amount(trials[number])
        spent[number] = total
    return spent


def _flops(trial: TrialRecord) -> float:
    if trial.spec is None:
        return 0.0
    return cost.training_flops_per_token(trial.spec) * sum(outcome.new_tokens for outcome in trial.rungs)
