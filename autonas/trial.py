"""What a trial is, as data: what a worker is asked (`Job`), what comes back (`Outcome`), what is remembered (`TrialRecord`).

Everything here goes to JSON and back without loss; nothing here computes, trains or stores.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from autonas.arch import ArchSpec
from autonas.curriculum import Curriculum, Teacher
from autonas.errors import FAILURE_KINDS, FailureKind

Record = TypeVar("Record")
TrialState = Literal["live", "complete", "stopped", "infeasible", "failed"]
_Reader = Callable[[Any, str], Any]  # of a value, and of its place for what there is to complain of
_PLAIN = frozenset({float, int, str, bool})


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One measured number with its 95 % interval. `low == value == high` says that it is exact."""

    value: float
    low: float
    high: float
    unit: str
    n: int | None = None  # independent observations behind it
    note: str = ""  # how it was measured, in words; flags such as "noisy"

    def __post_init__(self) -> None:
        assert all(map(math.isfinite, (self.value, self.low, self.high))), f"a score must be finite: {self}"
        assert self.low <= self.value <= self.high, f"a score must lie in its interval: {self}"

    @classmethod
    def exact(cls, value: float, unit: str, note: str = "") -> Score:
        return cls(value=value, low=value, high=value, unit=unit, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A rung: the stable trunk is trained to `tokens` in all; a fork is cooled down over `cooldown_tokens` more and scored."""

    rung: int
    tokens: int
    cooldown_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRef:
    """A prepared corpus: a folder of tokens and its content fingerprint."""

    folder: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How every trial of a study is trained, where its spec does not say otherwise. Lengths are in tokens."""

    learning_rate: float = 1.5e-3  # of hidden matrices at width 128; scaled per shape by training/optimizers.py
    weight_decay: float = 0.1
    batch_tokens: int = 8192
    warmup_tokens: int = 32768
    optimizer: Literal["adamw", "muon"] = "adamw"  # muon: of hidden matrices, with AdamW for all other weights
    beta1: float = 0.9  # of AdamW
    beta2: float = 0.95  # of AdamW
    muon_momentum: float = 0.9
    grokfast: float = 0.0  # lambda: so many times the slow part of the gradients is added to them; 0: no filter
    grokfast_alpha: float = 0.98  # how much of the slow part a step leaves: it is the mean of some 1 / (1 - alpha) steps
    clip_norm: float = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    schedule: Literal["wsd", "cosine"] = "wsd"  # cosine decays over the budget's tokens and has no cooldown
    final_rate_share: float = 0.0  # the rate at the very end, as a share of the peak
    # shape: a rate for each role and shape, and decay of hidden matrices only; none: one rate and one decay for every weight
    rate_scaling: Literal["shape", "none"] = "shape"
    rollbacks: int = 2  # at most so often back to the last good state with half the rate, when a training diverges
    patience: int | None = None  # evaluations on the way without a gain before a full run ends early; None: it never does
    min_delta: float = 0.0  # nats that count as a gain there
    time_limit_s: float | None = None  # of one job
    memory_limit: int | None = None  # bytes

    # They say nothing of what is learned: a training may go on under others.
    LIMITS: ClassVar[frozenset[str]] = frozenset({"time_limit_s", "memory_limit"})

    def __post_init__(self) -> None:
        assert self.rollbacks >= 0 and self.min_delta >= 0.0, self
        assert self.patience is None or self.patience >= 1, self
        assert self.grokfast >= 0.0 and 0.0 <= self.grokfast_alpha < 1.0 and 0.0 <= self.muon_momentum < 1.0, self
        assert self.optimizer == "adamw" or self.rate_scaling == "shape", self

    @property
    def num_copies(self) -> int:
        """Of weights and moments, that a training holds to go back to: the last good state and the most recent one."""
        return 2 if self.rollbacks else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """How every trial of a study is scored."""

    validation_tokens: int = 262_144  # at most; whole documents
    prompts_file: str | None = None  # one JSON string a line; None: the embedded Python prompts, or held-out documents
    language: Literal["python", "other"] = "python"
    prompts_per_kind: int = 32  # few-shot and bare each
    samples_per_prompt: int = 4
    new_tokens: int = 60
    temperature: float = 0.7
    top_k: int = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySettings:
    """What a latency means. `context` is the number of tokens in the KV cache while a token is timed."""

    runtime: Literal["torch"] = "torch"
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = 1
    batch: int = 1
    context: int = 256
    table: str | None = None  # a JSON file of `autonas latency` from another device; nothing is measured then


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSettings:
    """How a trained model is tuned on prompts and solutions. `rank` and what follows it is of "lora" alone."""

    base: str  # the folder of the run that is tuned
    base_weights: str  # a digest of its model.safetensors
    data: str  # a file of examples
    data_digest: str  # of what they hold
    method: Literal["sft", "lora"]
    steps: int
    learning_rate: float  # of hidden matrices, or of adapters beside them, with 2 layers of width 128
    probe_steps: int  # between two evaluations on the way
    batch_examples: int = 8
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    validation_share: float = 0.1
    patience: int | None = 3  # evaluations in a row without a gain before the tuning ends; None: it never ends early
    min_delta: float = 0.0  # nats that count as a gain there
    tasks: tuple[str, ...] = ("builtin",)  # that no example may give away
    allow_contamination: bool = False
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.05  # of what an adapter reads
    targets: tuple[str, ...] = ("qkv", "out", "up", "down")  # linear layers that have one, in every block

    def __post_init__(self) -> None:
        assert min(self.steps, self.probe_steps, self.batch_examples, self.rank) >= 1, self
        assert 0.0 <= self.validation_share < 1.0 and 0.0 <= self.dropout < 1.0, self


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker is asked. `python -m autonas.worker job.json` replays it with the same result.

    `kind`: "train" trains to the budget's rung and measures; "latency" builds the untrained model and times it; "run" is a
    full run, whose folder is its own; "tune" tunes the model of such a run, whose data and budget it names, in another folder.
    """

    kind: Literal["train", "latency", "run", "tune"]
    study: str
    trial: int
    attempt: int
    spec: ArchSpec
    budget: Budget
    seed: int  # of the weights and of dropout
    data_seed: int  # of the order of training windows: common to all trials of a study that are not declared repeats
    data: DataRef
    training: TrainingSettings
    evaluation: EvaluationSettings
    latency: LatencySettings
    objectives: tuple[str, ...]  # names from objective.py to measure at this rung
    folder: str  # the study's: checkpoints/<trial>/ and metrics/<trial>.jsonl lie in it
    device: str = "cpu"
    threads: int = 1
    time_limit_s: float | None = None
    checkpoint_every_s: float = 30.0
    unique_tokens: int | None = None  # of the training split, which alone are trained on: a replica's corpus. None: all
    curriculum: Curriculum | None = None  # of a full run; None: the whole training split from beginning to end
    teacher: Teacher | None = None  # that a full run learns from beside the text
    tuning: TuningSettings | None = None  # of kind "tune"

    @property
    def name(self) -> str:
        return f"{self.trial:05d}-{self.kind}-{self.budget.rung}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpan:
    """When and where a job ran, by its worker's own clock."""

    worker: str  # host:process
    began_at: str  # ISO time, UTC
    seconds: float  # by the wall, waiting for others included


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    kind: FailureKind
    message: str
    span: JobSpan | None = field(default=None, compare=False)  # of the job that failed; None where its worker went away

    def __post_init__(self) -> None:
        assert self.kind in FAILURE_KINDS, self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a plausibility check found in one outcome: a number that should not be believed as it stands ("alarm"), or what
    qualifies one that may be ("note")."""

    check: str  # which check, as docs/trust.md lists them
    severity: Literal["alarm", "note"]
    text: str  # what was found, with its figures


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLosses:
    """Summed unsmoothed nats, tokens and bytes of each validation document, in the data set's order: what pairs two trials."""

    nats: tuple[float, ...]
    tokens: tuple[int, ...]
    bytes: tuple[int, ...]
    how: str = ""  # they were computed, where that was not the plain pass in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One generation with the detectors of the collapse suite that fired on it."""

    prompt: str
    text: str
    kind: Literal["few_shot", "bare"]
    detectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What comes back from a job: scores, or a failure, and how they came about."""

    kind: Literal["train", "latency", "run", "tune"]
    trial: int
    attempt: int
    rung: int
    seconds: float
    failure: Failure | None = None
    scores: Mapping[str, Score] = field(default_factory=dict)
    tokens: int = 0  # tokens the scored model was shown, cooldown included
    new_tokens: int = 0  # of them, those trained by this job, which `seconds` were spent on
    documents: DocumentLosses | None = None
    # "unigram", "bigram": nats per token of models fitted on the same tokens and scored on the same tokens
    baselines: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[tuple[int, float], ...] = ()  # (tokens, training loss), thinned
    samples: tuple[Sample, ...] = ()
    # named checks that ran, and what they found: {"leak": "max |Δ| 3e-7 <= 1e-4"}
    checks: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    # None in ledgers of earlier versions, and where the worker went away
    span: JobSpan | None = field(default=None, compare=False)

    @property
    def ok(self) -> bool:
        return self.failure is None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """A trial as the ledger remembers it. Its rungs are in order and none is missing or doubled."""

    number: int
    state: TrialState
    params: Mapping[str, Any]  # as the sampler drew them
    spec: ArchSpec | None  # None when the params break a rule and describe no architecture
    repeat_of: int | None = None  # a declared repeat of this trial with new seeds
    retry_of: int | None = None  # takes the place of this trial, which failed
    scores: Mapping[str, Score] = field(default_factory=dict)  # known before training: params, memory, flops, latency
    measured: JobSpan | None = None  # the job that timed it before training
    rungs: tuple[Outcome, ...] = ()
    retries: tuple[Failure, ...] = ()  # jobs of it that failed and were tried again, oldest first
    reason: str = ""  # the rule broken, or how it failed, in words
    failure: FailureKind | None = None
    # The job that it failed with; None where it had none, where its worker went away, and in ledgers of earlier versions
    failed: JobSpan | None = field(default=None, compare=False)
    nearest: Mapping[str, Any] | None = None  # of an infeasible trial: the nearest legal params
    sampler_state: Mapping[str, Any] = field(default_factory=dict)

    def score(self, name: str, rung: int) -> Score | None:
        """The named score as known at `rung`: from that rung's outcome, or from before training."""
        if 0 <= rung < len(self.rungs) and name in self.rungs[rung].scores:
            return self.rungs[rung].scores[name]
        return self.scores.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """A study as the ledger remembers it, in trial order: what resume, status, front and report read."""

    name: str
    recipe: Mapping[str, Any]  # as resolved; recipe.from_resolved is its inverse
    # environment, data (fingerprint and report), calibration, started_at, ended_at, spent_s, closed (why no new trials begin)
    attributes: Mapping[str, Any]
    trials: tuple[TrialRecord, ...]
    timeline: tuple[tuple[int, str], ...] = ()  # (trial number, ISO time of its end), in order of ending


def to_json(record: Any) -> Any:
    """A record as plain JSON values: records become objects, tuples become lists."""
    if type(record) in _PLAIN:  # first: an outcome has hundreds of them
        return record
    if isinstance(record, tuple | list):
        return list(record) if _PLAIN.issuperset(map(type, record)) else [to_json(value) for value in record]
    if isinstance(record, ArchSpec):
        return record.to_dict()
    if dataclasses.is_dataclass(record):
        return {f.name: to_json(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    return record


def from_json(kind: type[Record], values: Any) -> Record:
    """The inverse of `to_json` for a record of class `kind`.

    Raises:
        ValueError: a field is missing, unknown or of the wrong type; the message names it.
    """
    return typing.cast(Record, _reader(typing.cast(Any, kind))(values, kind.__name__))


@functools.cache
def _reader(kind: Any) -> _Reader:
    """What reads JSON values of a kind, whose type hints are looked into once."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return lambda value, place: value
    if kind is ArchSpec:
        return lambda value, place: ArchSpec.from_dict(value)
    if dataclasses.is_dataclass(kind):
        return _record_reader(typing.cast(type, kind))
    if origin in (typing.Union, types.UnionType):
        inner = _reader(next(a for a in arguments if a is not type(None)))
        if type(None) not in arguments:
            return inner
        return lambda value, place: None if value is None else inner(value, place)
    if origin is Literal:
        return functools.partial(_read_literal, arguments)
    if origin is tuple:
        return functools.partial(_read_list if arguments[-1] is ... else _read_tuple, arguments)
    if origin is not None and issubclass(origin, Mapping):
        return functools.partial(_read_mapping, _reader(arguments[1]))
    return functools.partial(_read_plain, kind)


def _read_plain(kind: type, value: Any, place: str) -> Any:
    if type(value) is kind:
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{place} is {value!r}, not {kind.__name__}")
    return value


def _read_literal(options: tuple[Any, ...], value: Any, place: str) -> Any:
    if value not in options:
        raise ValueError(f"{place} is {value!r}, not one of {', '.join(map(repr, options))}")
    return value


def _read_list(kinds: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    """As many as there are, all of the first of `kinds`."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{place} is {value!r}, not a list")
    kind = kinds[0]
    if kind in _PLAIN and {kind}.issuperset(map(type, value)):
        return tuple(value)
    read = _reader(kind)
    return tuple(read(each, f"{place}[{index}]") for index, each in enumerate(value))


def _read_tuple(kinds: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{place} is {value!r}, not a list")
    if tuple(map(type, value)) == kinds:  # as it should be: a curve has many
        return tuple(value)
    if len(value) != len(kinds):
        raise ValueError(f"{place} is {value!r}, not a list of {len(kinds)}")
    return tuple(_reader(k)(v, f"{place}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))


def _read_mapping(read: _Reader, value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{place} is {value!r}, not an object")
    return {key: read(each, f"{place}.{key}") for key, each in value.items()}


def _record_reader(kind: type) -> _Reader:
    fields, hints = dataclasses.fields(kind), typing.get_type_hints(kind)
    readers = {f.name: _reader(hints[f.name]) for f in fields}
    needed = [f.name for f in fields if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]

    def read(values: Any, place: str) -> Any:
        if not isinstance(values, Mapping):
            raise ValueError(f"{place} is {values!r}, not an object")
        unknown = sorted(values.keys() - readers.keys())
        if unknown:
            raise ValueError(f"{place} has no field {unknown[0]!r}")
        for name in needed:
            if name not in values:
                raise ValueError(f"{place} lacks {name!r}")
        return kind(**{name: readers[name](value, f"{place}.{name}") for name, value in values.items()})

    return read
