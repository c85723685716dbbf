"""Architectures that two studies both trained to the end: how well their scores reproduce."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autonas.arch import ArchSpec
from autonas.evaluation.intervals import t_quantile
from autonas.objective import Objective
from autonas.reporting.comparison import same_order
from autonas.reporting.finals import Z95, clustered_error, evaluation_error, mean_nats
from autonas.reporting.quantities import half_width
from autonas.reporting.report import FinalTrial, SeedNoise
from autonas.trial import Score, StudyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A score of one architecture in two studies, and by how much the second's is higher, with its 95 % interval."""

    objective: Objective
    first: Score
    second: Score
    difference: float
    low: float
    high: float

    @property
    def agrees(self) -> bool:
        return self.low <= 0.0 <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """An architecture, by its fingerprint, in two of the sides: the trials, and each score that may be compared."""

    first: int
    second: int
    trials: tuple[int, int]
    spec: ArchSpec
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """How well an objective reproduces over the common architectures of two sides."""

    objective: Objective
    count: int
    agreeing: int  # whose difference may be nothing, by its 95 % interval
    mean: float  # of the differences, the second's less the first's
    deviation: float  # their root mean square


Side = tuple[StudyRecord, Sequence[FinalTrial], SeedNoise]


def common_architectures(sides: Sequence[Side], objectives: Sequence[Objective]) -> tuple[Common, ...]:
    """Architectures that were trained to the last rung in two sides, in the first one's order of trials."""
    found = []
    for first, second in itertools.combinations(range(len(sides)), 2):
        theirs: dict[str, FinalTrial] = {}
        for trial in sides[second][1]:
            theirs.setdefault(trial.spec.fingerprint, trial)
        seen = set()
        for trial in sides[first][1]:
            other = theirs.get(trial.spec.fingerprint)
            if other is None or trial.spec.fingerprint in seen:
                continue
            seen.add(trial.spec.fingerprint)
            pairs = tuple(_pair(objective, (sides[first], trial), (sides[second], other)) for objective in objectives)
            found.append(Common(first=first, second=second, trials=(trial.number, other.number), spec=trial.spec, pairs=pairs))
    return tuple(found)


def reproductions(common: Sequence[Common]) -> tuple[Reproduction, ...]:
    """By objective, over common architectures of the same two sides."""
    found = []
    for objective in [pair.objective for pair in common[0].pairs] if common else []:
        pairs = [pair for each in common for pair in each.pairs if pair.objective == objective]
        differences = [pair.difference for pair in pairs]
        found.append(
            Reproduction(
                objective=objective,
                count=len(pairs),
                agreeing=sum(pair.agrees for pair in pairs),
                mean=math.fsum(differences) / len(differences),
                deviation=math.sqrt(math.fsum(value**2 for value in differences) / len(differences)),
            )
        )
    return tuple(found)


def _pair(objective: Objective, first: tuple[Side, FinalTrial], second: tuple[Side, FinalTrial]) -> Pair:
    ours, theirs = first[1].scores[objective.name], second[1].scores[objective.name]
    difference = theirs.value - ours.value
    reach = _reach(objective, first, second)
    return Pair(
        objective=objective,
        first=ours,
        second=theirs,
        difference=difference,
        low=difference - reach,
        high=difference + reach,
    )


def _reach(objective: Objective, first: tuple[Side, FinalTrial], second: tuple[Side, FinalTrial]) -> float:
    """Half of a difference's 95 % interval: documents where they are not the same, seeds, counts or timings."""
    (own, trial), (others, other) = first, second
    scores = trial.scores[objective.name], other.scores[objective.name]
    if objective.known == "arithmetic":
        return 0.0
    if objective.known != "trained":
        return math.hypot(*map(half_width, scores))
    alike = same_order(own[0], others[0])
    seeds = []
    for noise, one, score in ((own[2], trial, scores[0]), (others[2], other, scores[1])):
        nats = one.scores["val_loss"].value if "val_loss" in one.scores else 0.0
        scale = 1.0 if objective.name == "val_loss" or not nats else score.value / nats
        seeds.append((noise.between_trials if alike else noise.deviation) * scale / math.sqrt(one.seeds))
    freedom = own[2].degrees_of_freedom + others[2].degrees_of_freedom
    return math.hypot(t_quantile(freedom) * math.hypot(*seeds), Z95 * _over_documents(objective, trial, other))


def _over_documents(objective: Objective, trial: FinalTrial, other: FinalTrial) -> float:
    """The standard error of a difference of losses over validation documents, paired where both have the same."""
    own, theirs = mean_nats(trial), mean_nats(other)
    documents = trial.outcome.documents
    scores = trial.scores[objective.name], other.scores[objective.name]
    if own is None or theirs is None or documents is None or len(own) != len(theirs):
        return math.hypot(
            *(evaluation_error(objective.name, score, t) for score, t in zip(scores, (trial, other), strict=True))
        )
    if objective.name == "bits_per_byte":
        return clustered_error((own - theirs) / math.log(2), np.asarray(documents.bytes, dtype=np.float64))
    return clustered_error(own - theirs, np.asarray(documents.tokens, dtype=np.float64))
