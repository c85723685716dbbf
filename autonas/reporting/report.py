"""What a report says, as records. How it is worked out is in the sibling modules, how it looks in text.py and pages/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autonas.arch import ArchSpec
from autonas.objective import Objective
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedNoise:
    """Standard deviation of `val_loss` over training seeds, in nats, from declared repeats and priors.

    All trials of a study see one order of the training text, and their first repeats another: what an order does to all alike
    is noise of a loss, and not of a difference between trials.
    """

    deviation: float  # of a loss
    degrees_of_freedom: int  # the prior's and the repeats' together
    repeats: int  # trainings that were repeats of another
    prior_deviation: float
    prior_degrees_of_freedom: int
    between_trials: float  # of a trial's loss, beyond what moves all trials alike
    shifts: tuple[float, ...]  # by which first, second, … repeats are higher alike


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
    within_noise: bool  # dominated, but by nobody who is ahead by a standard error of the difference in every objective
    probability: float  # of being non-dominated, given how uncertain all values are
    is_knee: bool
    difference: Difference | None  # None when a trial has no val_loss

    @property
    def number(self) -> int:
        return self.trial.number


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervolumePoint:
    """The share of the reference box that is dominated after `trial` ended, with its 95 % interval."""

    trial: int
    elapsed_s: float  # since the study began
    train_s: float  # in training jobs by then, all workers together
    search_s: float  # of them, without those of declared repeats, which measure noise and find nothing
    tokens: int  # trained by then
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What random search alone would have reached with as much of something else as the study spent, with its 95 % interval."""

    spent: float  # that the random trials took
    value: float
    low: float
    high: float
    curve: tuple[tuple[float, float], ...]  # (spent, hypervolume on average)


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What random search alone would have reached with the study's training. Values are None with too few random trials."""

    trials: int  # with params drawn at random
    stopped: int  # of them, by the study's scheduler: they count with their cost and find nothing
    unfinished: int  # of them, that failed or were infeasible after training: likewise
    train_s: float  # that they took
    own: float | None  # hypervolume of these trials alone
    value: float | None  # with all the training that the study spent
    low: float | None  # of its 95 % interval
    high: float | None
    curve: tuple[tuple[float, float], ...]  # (seconds in training jobs, hypervolume on average)
    by_tokens: Reached | None = None  # None where nothing can be told, and where the ledger does not tell tokens
    # At the soonest, over the time since the study began in seconds: on all of its workers, never idle, and with nothing before
    # and between the trainings. None where nothing can be told, and where the study paused or its jobs left no word of when.
    by_elapsed: Reached | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """By how much `ahead_s` more seconds of training would raise the hypervolume from `value`, with a 90 % interval."""

    ahead_s: float
    value: float
    gain: float  # the median
    low: float
    high: float
    foretold_low: (
        float | None
    )  # the same forecast after two thirds of the training, for the last third; None: too early to tell
    foretold_high: float | None
    came: float | None  # by how much it did rise in the last third


@dataclass(frozen=True, slots=True, kw_only=True)
class RankAgreement:
    """Kendall's τ between the losses at a rung and at a later one, with its 95 % interval; None with too few trials to tell."""

    rung: int
    later: int
    pairs: int  # trials scored at both
    scored: int  # trials that could have been: fewer pairs were selected
    controls: bool  # random trials alone, none of which was stopped between
    value: float | None
    low: float | None
    high: float | None
    unselected: float | None = None  # estimated for all that were scored; None where nobody was selected


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
    with_next: RankAgreement | None  # None at the last two rungs, where it would be `with_last` or nothing
    with_last: RankAgreement | None  # None at the last


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
    hypervolume: tuple[HypervolumePoint, ...]  # after each final trial, in order of ending
    hypervolume_measured: float | None  # of the measured values as they stand, which noise flatters
    hypervolume_rule: str
    reference: Mapping[str, float]  # the hypervolume's reference point, in the objectives' units
    reference_is_fixed: bool  # no trial to come will move it
    control: Control | None  # None in a random search, and where no trial was random
    prospect: Prospect | None  # None where too little has happened to tell
    rungs: tuple[RungSummary, ...]
    dropped: tuple[Dropped, ...]
    stopped: tuple[TrialRecord, ...]
    alarms: tuple[Alarm, ...]
    train_seconds: float  # in training jobs, all workers together
    train_tokens: int
    elapsed_s: float | None
    summary: tuple[str, ...]  # paragraphs of plain text

    @property
    def front(self) -> tuple[Standing, ...]:
        return tuple(standing for standing in self.standings if standing.on_front)

    @property
    def near(self) -> tuple[Standing, ...]:
        """Trials off the front by no more than noise, the likeliest members first."""
        return tuple(sorted((s for s in self.standings if s.within_noise), key=lambda s: -s.probability))

    @property
    def knee(self) -> Standing | None:
        return next((standing for standing in self.standings if standing.is_knee), None)

    @property
    def attributes(self) -> Mapping[str, Any]:
        return self.study.attributes
