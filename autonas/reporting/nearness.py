"""Which trials are off the front by no more than noise: dominance with a margin of one standard error of the difference.

Shapes: N trials, D documents, K objectives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from autonas.objective import Objective
from autonas.reporting.finals import Z95, evaluation_error
from autonas.reporting.quantities import half_width
from autonas.reporting.report import FinalTrial, SeedNoise
from autonas.reporting.uncertainty import document_nats

Array = NDArray[np.float64]


def within_noise(trials: Sequence[FinalTrial], objectives: Sequence[Objective], noise: SeedNoise) -> NDArray[np.bool_]:
    """Which dominated trials (N,) are so by less than noise: none is ahead of them by a standard error in every objective.

    The standard error is that of the difference, paired where both were scored on the same documents. In an exact objective, to
    be ahead is to be no worse. Trials on the front are not marked.
    """
    if not trials:
        return np.zeros(0, dtype=bool)
    values = np.array([[trial.scores[o.name].value for o in objectives] for trial in trials])
    columns = [_paired_errors(objective, trials, noise) for objective in objectives]
    marked = np.zeros(len(trials), dtype=bool)
    for i in range(len(trials)):
        better = np.any(values < values[i], axis=1)
        errors = np.stack([column(i) for column in columns], axis=1)
        dominated = np.any(better & np.all(values <= values[i], axis=1))
        surely = np.any(better & np.all(values + errors <= values[i], axis=1))
        marked[i] = dominated and not surely
    return marked


def _paired_errors(objective: Objective, trials: Sequence[FinalTrial], noise: SeedNoise) -> Callable[[int], Array]:
    """The standard errors (N,) of the differences between a trial and all, in the objective's unit."""
    scores = [trial.scores[objective.name] for trial in trials]
    if objective.known == "arithmetic":
        return lambda i: np.zeros(len(trials))
    if objective.known != "trained":
        own = np.array([half_width(score) / Z95 for score in scores])
        timed = objective.known == "measured"
        kinds = [trial.spec.inference_fingerprint if timed else str(trial.number) for trial in trials]
        same = np.unique(kinds, return_inverse=True)[1]
        return lambda i: np.where(same == same[i], 0.0, np.hypot(own, own[i]))
    values = np.array([score.value for score in scores])
    nats = np.array([trial.scores["val_loss"].value if "val_loss" in trial.scores else 1.0 for trial in trials])
    of_seeds = noise.between_trials * values / np.where(nats > 0, nats, 1.0) / np.sqrt([trial.seeds for trial in trials])
    residuals = _residuals(objective.name, trials)
    if residuals is None:
        apart = np.array([evaluation_error(objective.name, score, trial) for score, trial in zip(scores, trials, strict=True)])
        return lambda i: np.hypot(np.hypot(apart, apart[i]), np.hypot(of_seeds, of_seeds[i]))
    return lambda i: np.hypot(np.linalg.norm(residuals - residuals[i], axis=1), np.hypot(of_seeds, of_seeds[i]))


def _residuals(name: str, trials: Sequence[FinalTrial]) -> Array | None:
    """Rows (N, D) whose distances are the standard errors of paired differences: see `clustered_error`, which is linear."""
    nats = document_nats(trials)
    if nats is None or trials[0].outcome.documents is None:
        return None
    documents = trials[0].outcome.documents
    sizes = np.asarray(documents.tokens if name == "val_loss" else documents.bytes, dtype=np.float64)
    amounts = nats if name == "val_loss" else nats / math.log(2)
    count = len(sizes)
    rows: Array = (amounts - (amounts.sum(axis=1) / sizes.sum())[:, None] * sizes) * (
        math.sqrt(count / (count - 1)) / sizes.sum()
    )
    return rows
