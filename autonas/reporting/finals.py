"""The trials of a study's last rung, with declared repeats merged into their originals and seed noise in their intervals.

Nothing is compared across budgets: what was stopped, failed or judged infeasible has no place here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from autonas.evaluation.intervals import t_quantile
from autonas.objective import OBJECTIVES
from autonas.reporting.quantities import half_width
from autonas.reporting.report import FinalTrial, SeedNoise
from autonas.trial import Score, StudyRecord, TrialRecord

# A normal distribution's 95 % interval reaches so many standard deviations to each side.
Z95 = 1.959964
# Seed deviation measured on tiny decoders: about 0.07 nats. Worth two repeats: enough to steady a study with one or two
# repeats of its own, little enough that five of them have the word.
PRIOR_DEVIATION = 0.07
PRIOR_DEGREES_OF_FREEDOM = 2
# Where nothing is known, half of that variance is taken to be the order's, which moves all trials alike, and half a trial's
# own. In a study with 24 repeats the latter was a fifth of this (docs/decisions.md): a factor of three is one deviation.
PRIOR_BETWEEN = PRIOR_DEVIATION / math.sqrt(2)
_BETWEEN_REACH = math.log(3)
_LOSSES = ("val_loss", "bits_per_byte")


def rung_tokens(study: StudyRecord) -> tuple[int, ...]:
    """Token counts of the rungs at which the study scores; full-fidelity studies score at the last one only."""
    budget = study.recipe["budget"]
    rungs = tuple(int(tokens) for tokens in budget["rungs"])
    return rungs[-1:] if budget.get("scheduler") == "full" else rungs


def finals(study: StudyRecord) -> tuple[FinalTrial, ...]:
    """The complete trials of the last rung in trial order; a declared repeat is part of its original and not listed."""
    last = len(rung_tokens(study)) - 1
    runs: dict[int, list[TrialRecord]] = {}
    for trial in study.trials:
        if trial.state == "complete" and trial.spec is not None and len(trial.rungs) == last + 1:
            runs.setdefault(trial.number if trial.repeat_of is None else trial.repeat_of, []).append(trial)
    # An original has the lower number, so it leads its group; repeats of what did not complete stand for nothing.
    groups = {number: group for number, group in sorted(runs.items()) if group[0].number == number}
    noise = pooled_noise([[loss_at(run, last) for run in group] for group in groups.values()])
    return tuple(merged_trial(group, last, noise) for group in groups.values())


def seed_noise(trials: Sequence[FinalTrial]) -> SeedNoise:
    """The seed noise that `finals` put into the intervals of these trials."""
    return pooled_noise([[loss_at(run, trial.outcome.rung) for run in trial.runs] for trial in trials])


def pooled_noise(groups: Sequence[Sequence[float | None]]) -> SeedNoise:
    """Pool the spread within groups of losses (nats), each of one architecture over several seeds, with the priors.

    Of a loss, the estimate is the scaled-inverse-χ² one: (ν₀ s₀² + Σ (x − group mean)²) / (ν₀ + Σ (n − 1)).
    """
    squares, freedom = 0.0, 0
    for group in groups:
        losses = [loss for loss in group if loss is not None]
        if len(losses) > 1:
            mean = math.fsum(losses) / len(losses)
            squares += math.fsum((loss - mean) ** 2 for loss in losses)
            freedom += len(losses) - 1
    total = PRIOR_DEGREES_OF_FREEDOM + freedom
    variance = (PRIOR_DEGREES_OF_FREEDOM * PRIOR_DEVIATION**2 + squares) / total
    between, shifts = _between_trials(groups)
    return SeedNoise(
        deviation=math.sqrt(variance),
        degrees_of_freedom=total,
        repeats=freedom,
        prior_deviation=PRIOR_DEVIATION,
        prior_degrees_of_freedom=PRIOR_DEGREES_OF_FREEDOM,
        between_trials=between,
        shifts=shifts,
    )


def _between_trials(groups: Sequence[Sequence[float | None]]) -> tuple[float, tuple[float, ...]]:
    """The deviation of trials beyond what moves all alike, and by how much the first, second, … repeats are higher alike.

    The deviation is that of how differences to the originals differ. Its logarithm has a normal prior, and its mean is the
    estimate; shifts are drawn towards 0 by as much as they are unsure, since one difference does not tell one from the other.
    """
    by_run: list[list[float]] = []
    for run in range(1, max((len(group) for group in groups), default=0)):
        pairs = ((group[0], group[run]) for group in groups if len(group) > run)
        by_run.append([again - first for first, again in pairs if first is not None and again is not None])
    squares = math.fsum((gap - math.fsum(gaps) / len(gaps)) ** 2 / 2 for gaps in by_run for gap in gaps)
    freedom = sum(max(len(gaps) - 1, 0) for gaps in by_run)
    logs = np.linspace(-6 * _BETWEEN_REACH, 6 * _BETWEEN_REACH, 2001)  # of the deviation over the prior's
    deviations = PRIOR_BETWEEN * np.exp(logs)
    chances = -0.5 * (logs / _BETWEEN_REACH) ** 2 - freedom * logs - squares / (2 * deviations**2)
    weights = np.exp(chances - chances.max())
    between = PRIOR_BETWEEN * math.exp(float(weights @ logs / weights.sum()))
    shifts = []
    for gaps in by_run:
        kept = PRIOR_BETWEEN**2 / (PRIOR_BETWEEN**2 + between**2 / len(gaps)) if gaps else 0.0
        shifts.append(kept * math.fsum(gaps) / len(gaps) if gaps else 0.0)
    return between, tuple(shifts)


def mean_nats(trial: FinalTrial) -> np.ndarray | None:
    """Nats of each validation document (n,), mean over the trial's runs; None when a run lacks them or they do not match."""
    documents = [run.rungs[trial.outcome.rung].documents for run in trial.runs]
    known = [d for d in documents if d is not None]
    if len(known) < len(documents) or any(d.tokens != known[0].tokens for d in known):
        return None
    mean: np.ndarray = np.mean([d.nats for d in known], axis=0)
    return mean


def clustered_error(amounts: np.ndarray, sizes: np.ndarray) -> float:
    """Standard error of Σ amounts / Σ sizes when the (n,) documents, not their tokens, are what was drawn.

    The linearised ratio estimator (Cochran 1977, §6.4); 0.0 for a single document, which says nothing about others.
    """
    count = len(sizes)
    if count < 2:
        return 0.0
    residuals = amounts - amounts.sum() / sizes.sum() * sizes
    return float(np.sqrt(count / (count - 1) * np.sum(residuals**2)) / sizes.sum())


def loss_at(run: TrialRecord, rung: int) -> float | None:
    """The `val_loss` of a training at `rung`; None where it was not measured."""
    score = run.rungs[rung].scores.get("val_loss")
    return None if score is None else score.value


def merged_trial(runs: Sequence[TrialRecord], rung: int, noise: SeedNoise) -> FinalTrial:
    """Trainings of one architecture as one trial, scored at `rung`; the noise's shifts are of the runs after the first."""
    original = runs[0]
    assert original.spec is not None
    outcome = original.rungs[rung]
    trial = FinalTrial(number=original.number, spec=original.spec, scores={}, outcome=outcome, runs=tuple(runs))
    names = [*outcome.scores, *(name for name in original.scores if name not in outcome.scores)]
    order = [name for name in OBJECTIVES if name in names] + [name for name in names if name not in OBJECTIVES]
    scores = {name: _mean_score(name, runs, rung, noise.shifts) for name in order}
    for name in _LOSSES:
        if name in scores and "val_loss" in scores:
            scores[name] = _with_noise(name, scores, trial, noise)
    return dataclasses.replace(trial, scores=scores)


def _mean_score(name: str, runs: Sequence[TrialRecord], rung: int, shifts: Sequence[float]) -> Score:
    """The mean over runs, without what moves all repeats alike: a trial that was repeated is compared with those that were not.

    What is known before training does not depend on the seed: the original's stands as it is.
    """
    found = []
    for run, shift in zip(runs, (0.0, *shifts), strict=False):
        score, loss = run.score(name, rung), run.score("val_loss", rung)
        if score is None:
            continue
        alike = shift * score.value / loss.value if name in _LOSSES and loss is not None and loss.value else 0.0
        found.append(dataclasses.replace(score, value=score.value - alike, low=score.low - alike, high=score.high - alike))
    first = found[0]
    if len(found) == 1 or (name in OBJECTIVES and OBJECTIVES[name].before_training):
        return first
    count = len(found)
    value = math.fsum(score.value for score in found) / count
    # Each side's errors are independent and add in squares (MOVER: Zou & Donner 2008).
    below = math.sqrt(math.fsum((score.value - score.low) ** 2 for score in found)) / count
    above = math.sqrt(math.fsum((score.high - score.value) ** 2 for score in found)) / count
    # Runs share their validation documents, and each has samples of its own.
    shared = name in _LOSSES or name == "gap"
    if name == "gap":  # the documents' errors do not average out; those of a loss are worked out from the documents later
        below, above = (math.fsum(widths) / count for widths in zip(*(_widths(score) for score in found), strict=True))
    observations = (
        None if any(score.n is None for score in found) else sum(score.n or 0 for score in found[: 1 if shared else None])
    )
    notes = dict.fromkeys(score.note for score in found if score.note)
    return Score(
        value=value,
        low=value - below,
        high=value + above,
        unit=first.unit,
        n=observations,
        note="; ".join([f"mean of {count} seeds", *notes]),
    )


def _widths(score: Score) -> tuple[float, float]:
    return score.value - score.low, score.high - score.value


def _with_noise(name: str, scores: Mapping[str, Score], trial: FinalTrial, noise: SeedNoise) -> Score:
    """The loss with an interval for both its errors: the choice of documents, and the training seed with its order."""
    score = scores[name]
    # Bits per byte is val_loss in another unit, so seed noise scales with it.
    scale = score.value / scores["val_loss"].value if scores["val_loss"].value else 1.0
    seed_error = noise.deviation * scale / math.sqrt(trial.seeds)
    of_documents = evaluation_error(name, score, trial)
    reach = t_quantile(_joint_freedom(of_documents, trial, seed_error, noise)) * math.hypot(of_documents, seed_error)
    return dataclasses.replace(score, low=score.value - reach, high=score.value + reach)


def _joint_freedom(of_documents: float, trial: FinalTrial, of_seeds: float, noise: SeedNoise) -> float:
    """Degrees of freedom of the sum of two estimated variances (Welch 1947, Satterthwaite 1946)."""
    documents = trial.outcome.documents
    parts = [(of_seeds, noise.degrees_of_freedom)]
    if documents is not None:
        parts.append((of_documents, max(len(documents.tokens) - 1, 1)))
    total = sum(error**2 for error, _ in parts)
    return math.inf if total == 0 else total**2 / sum(error**4 / freedom for error, freedom in parts)


def evaluation_error(name: str, score: Score, trial: FinalTrial) -> float:
    """Standard error of a merged loss over validation documents; runs share them, so it does not shrink with seeds."""
    nats, documents = mean_nats(trial), trial.outcome.documents
    if nats is None or documents is None or len(documents.tokens) < 2:
        return half_width(score) / Z95
    if name == "bits_per_byte":
        return clustered_error(nats / math.log(2), np.asarray(documents.bytes, dtype=np.float64))
    return clustered_error(nats, np.asarray(documents.tokens, dtype=np.float64))
