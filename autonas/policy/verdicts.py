"""What the arms of a replica tell of each horizon-bound dimension: a value, its paired difference, a verdict. Pure.

Differences are of unsmoothed losses on the same documents, in which the miscalibration that label smoothing leaves counts in
full. Their errors are over documents and over seeds, for a pair of one seed differs from a pair of another too. What cannot be
told is said, and its default is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autonas.evaluation.intervals import ratio_estimate, t_quantile
from autonas.policy.arms import CAVEATS, PRIOR_NOISE, SMALLEST_EFFECT, Arm, Dimension, PairNoise, counted
from autonas.trial import DocumentLosses


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """An arm as one seed trained it; `documents` is None where it failed."""

    arm: Arm
    seed: int
    documents: DocumentLosses | None
    collapse_rate: float | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The loss of an arm minus that of the defaults, in nats per token."""

    changes: Mapping[str, float]
    difference: float
    error: float  # over documents and seeds
    reach: float  # half the 95 % interval
    error_over_documents: float
    seeds: int
    collapse_difference: float | None = None  # share; no part of the choice

    @property
    def text(self) -> str:
        return f"{self.difference:+.3f} ± {self.error:.3f} nats"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the arms say of a dimension. `chosen` is its default unless another value is identified as better."""

    dimension: str
    default: float
    chosen: float
    identified: bool
    reason: str  # a sentence
    differences: tuple[Paired, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """The chosen values together against the defaults, with seeds that had no part in the choice."""

    confirmed: bool
    reason: str
    difference: Paired | None


def choose_arms(
    dimensions: Sequence[Dimension],
    trained: Sequence[Trained],
    *,
    prior: PairNoise = PRIOR_NOISE,
    smallest_effect: float = SMALLEST_EFFECT,
) -> tuple[Verdict, ...]:
    """The value of each dimension, as far as the arms identify one.

    A value takes the default's place when its 95 % interval lies below zero; of several the lowest. A default is identified
    when no other value's interval goes as far below zero as the smallest effect. Else it is kept without being identified.
    """
    differences = {_key(found.changes): found for found in paired_differences(trained, prior=prior)}
    verdicts = []
    for dimension in dimensions:
        own = [differences.get(_key({dimension.name: value})) for value in dimension.values]
        known = [found for found in own if found is not None]
        verdicts.append(_verdict(dimension, known, smallest_effect))
    return tuple(verdicts)


def confirm(trained: Sequence[Trained], *, prior: PairNoise = PRIOR_NOISE) -> Confirmation:
    """Whether the one arm beside the defaults is better than they are, by at least a standard error.

    Each of its values was identified by itself; new seeds see that they go together, and that luck did not choose them: of
    values that are worth nothing, fewer than one in a hundred passes both.
    """
    found = paired_differences(trained, prior=prior)
    if not found:
        failures = ", ".join(dict.fromkeys(each.failure for each in trained if each.failure)) or "nothing was trained"
        return Confirmation(
            confirmed=False, difference=None, reason=f"not confirmed: the pair could not be trained ({failures})"
        )
    (difference,) = found
    confirmed = difference.difference < -difference.error
    how = "confirmed" if confirmed else "not confirmed"
    reason = f"{how} by {counted(difference.seeds, 'pair')} with new seeds: {difference.text}"
    return Confirmation(confirmed=confirmed, difference=difference, reason=reason)


def paired_differences(trained: Sequence[Trained], *, prior: PairNoise = PRIOR_NOISE) -> tuple[Paired, ...]:
    """Each arm against the defaults of the same seeds. Arms that failed, or whose defaults did, are left out."""
    defaults = {each.seed: each for each in trained if not each.arm.changes and each.documents is not None}
    groups: dict[tuple[tuple[str, float], ...], list[Trained]] = {}
    for each in trained:
        if each.arm.changes and each.documents is not None and each.seed in defaults:
            groups.setdefault(_key(each.arm.changes), []).append(each)
    by_seed = {key: [_difference(each, defaults[each.seed]) for each in group] for key, group in groups.items()}
    noise = _pooled(list(by_seed.values()), prior)
    return tuple(_paired(group, defaults, noise) for group in groups.values())


def _paired(group: Sequence[Trained], defaults: Mapping[int, Trained], noise: PairNoise) -> Paired:
    pairs = [(each, defaults[each.seed]) for each in group]
    nats = [np.subtract(_documents(own).nats, _documents(other).nats) for own, other in pairs]
    sizes = np.array(_documents(group[0]).tokens, dtype=np.int64)
    difference, over_documents = ratio_estimate(np.mean(nats, axis=0), sizes)
    over_documents = over_documents if len(sizes) > 1 else noise.over_documents  # of which one tells nothing
    over_seeds = noise.over_seeds / math.sqrt(len(pairs))
    error = math.hypot(over_documents, over_seeds)
    collapses = [
        own.collapse_rate - other.collapse_rate
        for own, other in pairs
        if own.collapse_rate is not None and other.collapse_rate is not None
    ]
    freedom = _joint_freedom((over_documents, max(len(sizes) - 1, 1)), (over_seeds, noise.freedom))
    return Paired(
        changes=dict(group[0].arm.changes),
        difference=difference,
        error=error,
        reach=t_quantile(freedom) * error,
        error_over_documents=over_documents,
        seeds=len(pairs),
        collapse_difference=math.fsum(collapses) / len(collapses) if collapses else None,
    )


def _pooled(by_arm: Sequence[Sequence[float]], prior: PairNoise) -> PairNoise:
    """The spread of pairs over seeds, pooled over arms and with the prior: its scaled-inverse-χ² estimate.

    All arms of a seed have the same defaults in their pairs, so that their squares are correlated (by ρ² = 1/4 where each half
    of a pair is as noisy as the other): m arms are worth m / (1 + (m - 1) / 4).
    """
    several = [np.array(found) for found in by_arm if len(found) > 1]
    count = sum(len(found) - 1 for found in several)
    if not count:
        return prior
    worth = count / (1 + (len(several) - 1) / 4)
    mean_square = sum(float(((found - found.mean()) ** 2).sum()) for found in several) / count
    freedom = prior.freedom + worth
    variance = (prior.freedom * prior.over_seeds**2 + worth * mean_square) / freedom
    return PairNoise(over_documents=prior.over_documents, over_seeds=math.sqrt(variance), freedom=freedom)


def _joint_freedom(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of estimated variances, given as errors and freedoms (Welch 1947, Satterthwaite 1946)."""
    total = sum(error**2 for error, _ in parts)
    return math.inf if total == 0 else total**2 / sum(error**4 / freedom for error, freedom in parts)


def _difference(own: Trained, other: Trained) -> float:
    mine, its = _documents(own), _documents(other)
    assert mine.tokens == its.tokens, "two trainings are paired on the same documents only"
    return (math.fsum(mine.nats) - math.fsum(its.nats)) / max(sum(mine.tokens), 1)


def _documents(trained: Trained) -> DocumentLosses:
    assert trained.documents is not None
    return trained.documents


def _verdict(dimension: Dimension, known: Sequence[Paired], smallest_effect: float) -> Verdict:
    name, default = dimension.name, dimension.default
    chosen, identified = default, False
    better = [found for found in known if found.difference + found.reach < 0]
    missing = len(dimension.values) - len(known)
    if better:
        best = min(better, key=lambda found: found.difference)
        chosen, identified = best.changes[name], True
        reason = f"{name} {chosen:g} instead of {default:g}: {best.text} over {counted(best.seeds, 'pair')}"
    elif not known:
        reason = f"{name} not identified by this budget: no pair could be trained; its default {default:g} is kept"
    else:
        best = min(known, key=lambda found: found.difference)
        identified = not missing and all(found.difference - found.reach > -smallest_effect for found in known)
        other = f"{best.changes[name]:g} differs by {best.text} over {counted(best.seeds, 'pair')}"
        if identified:
            reason = f"{name} {default:g}, its default: {other}"
        else:
            reason = f"{name} not identified by this budget: {other}; its default {default:g} is kept"
    if identified and name in CAVEATS:
        reason += f" ({CAVEATS[name]})"
    return Verdict(
        dimension=name, default=default, chosen=chosen, identified=identified, reason=reason, differences=tuple(known)
    )


def _key(changes: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(changes.items()))
