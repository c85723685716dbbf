"""What a report says, as records. How it is worked out is in the sibling modules, how it looks in text.py and render.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autonas.arch import ArchSpec
from autonas.objective import Objective
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedNoise:
    """Standard deviation of `val_loss` over training seeds, in nats, pooled from declared repeats and a prior."""

    deviation: float
    degrees_of_freedom: int  # the prior's and the repeats' together
    repeats: int  # trainings that were repeats of another
    prior_deviation: float
    prior_degrees_of_freedom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalTrial:
    """A trial scored at the last rung, with its declared repeats merged into it. `runs` begins with the original."""

    number: int
    spec: ArchSpec
    scores: Mapping[str, Score]  # means over the runs; the intervals of losses include seed noise
    outcome: Outcome  # the original's at the last rung
    runs: tuple[TrialRecord, ...]

    @property
    def seeds(self) -> int:
        return len(self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A trial's `val_loss` minus the best trial's, in nats, with its standard errors."""

    value: float
    error: float  # evaluation and training seeds
    evaluation_error: float  # over validation documents alone, on the same documents where `paired`
    paired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a final trial stands among the others."""

    trial: FinalTrial
    on_front: bool  # non-dominated in its measured values
    probability: float  # of being non-dominated, given how uncertain all values are
    is_knee: bool
    difference: Difference | None  # None when a trial has no val_loss

    @property
    def number(self) -> int:
        return self.trial.number


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervolumePoint:
    """The share of the reference box that is dominated after `trial` ended, `elapsed_s` seconds after the study began."""

    trial: int
    elapsed_s: float
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RungSummary:
    """What happened at a rung to trials that are not repeats. Losses are in nats per token."""

    rung: int
    tokens: int
    cooldown_tokens: int | None  # as shown beyond `tokens` before scoring; None while nothing has been scored
    scored: int
    advanced: int
    stopped: int
    infeasible: int  # judged so by what training showed
    failed: int  # on the way to this rung
    waiting: int
    best: float | None
    median: float | None
    baselines: Mapping[str, tuple[float, float]]  # name -> least and greatest over the trials
    beaten: Mapping[str, int]  # name -> trials below that baseline of theirs
    median_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Trials that left the study for one reason, with the latest as an example."""

    how: Literal["infeasible", "failed"]
    reason: str  # the rule or the kind of failure
    trials: tuple[int, ...]
    example: TrialRecord

    @property
    def count(self) -> int:
        return len(self.trials)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something a reader must know before believing the numbers: an alarm speaks against them, a note qualifies them."""

    severity: Literal["alarm", "note"]
    title: str
    text: str
    trials: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a report says about a study."""

    study: StudyRecord
    objectives: tuple[Objective, ...]
    rung_tokens: tuple[int, ...]
    standings: tuple[Standing, ...]  # the front first, by the first objective
    unplaced: tuple[int, ...]  # final trials that lack an objective's score
    seed_noise: SeedNoise
    num_draws: int
    num_documents: int | None  # validation documents that pair the trials; None when they cannot be paired
    hypervolume: tuple[HypervolumePoint, ...]
    hypervolume_rule: str
    rungs: tuple[RungSummary, ...]
    dropped: tuple[Dropped, ...]
    stopped: tuple[TrialRecord, ...]
    alarms: tuple[Alarm, ...]
    train_seconds: float
    elapsed_s: float | None
    summary: tuple[str, ...]  # paragraphs of plain text

    @property
    def front(self) -> tuple[Standing, ...]:
        return tuple(standing for standing in self.standings if standing.on_front)

    @property
    def knee(self) -> Standing | None:
        return next((standing for standing in self.standings if standing.is_knee), None)

    @property
    def attributes(self) -> Mapping[str, Any]:
        return self.study.attributes
