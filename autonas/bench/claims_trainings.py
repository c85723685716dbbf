"""The trainings behind `bench claims`: every size with and without smoothing and dropout, by some seeds; and their measurement.

A folder holds one experiment: its name ends in a digest of all that the results depend on but the number of seeds. It keeps the
outcome and the model of each training that has ended, which is not repeated; for other detectors a model is measured again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import json
import shutil
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from autonas import cost
from autonas.arch import ArchSpec
from autonas.bench import Say
from autonas.data.dataset import Dataset
from autonas.engine.base import Engine
from autonas.errors import RETRIED, InfeasibleArch, RequestError, TrialFailure, resource_error
from autonas.evaluation.calibration import MATCHED_ENTROPY, Calibration, calibrate
from autonas.evaluation.degeneration import RANGE_VERSION
from autonas.evaluation.detectors import SUITE_VERSION
from autonas.evaluation.latency import resolve_device
from autonas.evaluation.profile import ProfileRow, ProfileSettings, collapse_profile
from autonas.evaluation.prompts import KINDS
from autonas.evaluation.scored import scored_tokens
from autonas.model.transformer import Transformer, eval_mode
from autonas.policy.sampler import derived_seed
from autonas.recipe import Recipe
from autonas.run_folder import write_json
from autonas.training.checkpoint import load_model
from autonas.trial import Budget, Job, Outcome, from_json, to_json

SMOOTHING, DROPOUT = (
    0.1,
    0.2,
)  # of the prior run: its "strong regularisation"; dropout of attention and on both residual branches
EPOCHS = 13.6  # over its corpus
JUDGED_BY = f"{SUITE_VERSION}, {RANGE_VERSION}"  # the detectors' versions: a model is measured again when they change
_MOST_SIZES = 4
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """How one model was trained. `size` counts the experiment's architectures from the smallest."""

    size: int
    smoothing: bool
    dropout: bool
    seed: int

    @property
    def name(self) -> str:
        parts = ("smoothing", self.smoothing), ("dropout", self.dropout)
        return "-".join([f"size{self.size}", *(name for name, has in parts if has), f"seed{self.seed}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A training that has ended, and what was measured of its model; `failure` says why nothing was."""

    treatment: Treatment
    failure: str = ""
    seconds: float = 0.0
    leak: str = ""  # what the leak test found
    judged_by: str = ""  # JUDGED_BY, as it was
    calibration: Calibration | None = None
    smoothed_loss: float | None = (
        None  # on the same documents, by the smoothing it was trained with: what the prior run reported
    )
    rows: tuple[ProfileRow, ...] = ()  # few-shot and bare prompts, at the settings' temperature and at the matched entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is trained and measured, whatever the seeds."""

    recipe: Recipe
    specs: tuple[ArchSpec, ...]  # without regularisation, from the smallest
    dataset: Dataset
    seed: int
    device: str
    threads: int
    out: Path

    @property
    def budget(self) -> Budget:
        search = self.recipe.search
        return Budget(rung=0, tokens=search.rungs[-1], cooldown_tokens=round(search.rungs[-1] * search.cooldown_share))

    @property
    def unique_tokens(self) -> int:
        """The corpus, the same for all: so small that it is read as often as the prior run read its own."""
        budget, context = self.budget, self.specs[0].context_length
        windows = max(round((budget.tokens + budget.cooldown_tokens) / EPOCHS / context), 1)
        return windows * context + 1

    @property
    def profile(self) -> ProfileSettings:
        settings = self.recipe.evaluation
        return ProfileSettings(
            contexts=(),
            temperatures=(settings.temperature,),
            seeds=1,
            samples=settings.samples_per_prompt,
            prompts=settings.prompts_per_kind,
            entropy=MATCHED_ENTROPY,
        )

    @property
    def folder(self) -> Path:
        depends = [self.dataset.ref.fingerprint, self.specs, self.budget, self.unique_tokens, self.seed, self.profile]
        depends += [self.recipe.training, self.recipe.evaluation, SMOOTHING, DROPOUT]
        digest = hashlib.sha256(json.dumps(to_json(depends)).encode()).hexdigest()[:8]
        return self.out / f"{self.recipe.name}-{digest}"

    def treatments(self, seeds: int) -> list[Treatment]:
        """Seed by seed, so that what is cut off leaves whole seeds."""
        return [
            Treatment(size=size, smoothing=smoothing, dropout=dropout, seed=seed)
            for seed in range(seeds)
            for size, smoothing, dropout in itertools.product(range(len(self.specs)), (False, True), (False, True))
        ]

    def job(self, treatment: Treatment, number: int) -> Job:
        """One training. Those of a seed and size begin with the same weights; all of a seed read the same windows alike."""
        changes = {
            "label_smoothing": SMOOTHING if treatment.smoothing else 0.0,
            "attention_dropout": DROPOUT if treatment.dropout else 0.0,
            "residual_dropout": DROPOUT if treatment.dropout else 0.0,
        }
        return Job(
            kind="train",
            study=self.recipe.name,
            trial=number,
            attempt=self._attempt(number),
            spec=ArchSpec.from_dict({**self.specs[treatment.size].to_dict(), **changes}),
            budget=self.budget,
            seed=derived_seed(self.seed, "weights", "claims", treatment.size, treatment.seed),
            data_seed=derived_seed(self.seed, "data", "claims", treatment.seed),
            data=self.dataset.ref,
            training=self.recipe.training,
            evaluation=self.recipe.evaluation,
            latency=self.recipe.latency,
            objectives=("val_loss",),
            folder=str(self.folder),
            device=self.device,
            threads=self.threads,
            unique_tokens=self.unique_tokens,
        )

    def model(self, treatment: Treatment) -> Path:
        return self.folder / "models" / f"{treatment.name}.safetensors"

    def file(self, part: str, treatment: Treatment) -> Path:
        return self.folder / part / f"{treatment.name}.json"

    def checkpoints(self, number: int) -> Path:
        return self.folder / "checkpoints" / f"{number:05d}"

    def _attempt(self, number: int) -> int:
        """The next one: a worker that an earlier one has left behind stops when it finds it."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.checkpoints(number) / "attempt").read_text(encoding="ascii")) + 1
        return 1


def sizes(recipe: Recipe, named: str) -> tuple[ArchSpec, ...]:
    """Every architecture of the recipe's space, from the smallest.

    Raises:
        RequestError: there are fewer than two or many, so that they are no sizes to compare; or the schedule has no cooldown.
    """
    if recipe.training.schedule != "wsd":
        raise RequestError(f"--space {named}: training.schedule is {recipe.training.schedule}; write wsd, or leave it out")
    domains = recipe.space.searched_domains
    options = [domain.values(_MOST_SIZES + 1) for domain in domains.values()]
    found = set()
    plain = {"label_smoothing": 0.0, "attention_dropout": 0.0, "residual_dropout": 0.0}
    for values in itertools.islice(itertools.product(*options), (_MOST_SIZES + 1) ** 3):
        try:
            spec = recipe.space.decode(dict(zip(domains, values, strict=True)))
        except InfeasibleArch:
            continue
        found.add(ArchSpec.from_dict({**spec.to_dict(), **plain}))
    if not 2 <= len(found) <= _MOST_SIZES:
        raise RequestError(
            f"--space {named}: its space has {len(found)} legal architectures, and each is trained in every way; "
            f"leave 2 to {_MOST_SIZES}, such as width: {{choice: [48, 128]}} and one value of everything else"
        )
    return tuple(sorted(found, key=lambda spec: (cost.count_params(spec), spec.fingerprint)))


def run_trainings(experiment: Experiment, seeds: int, engine: Engine, say: Say) -> list[Result]:
    """Train and measure all of them, as many at once as there is room for; those that have ended before are read.

    Raises:
        RequestError: a training cannot be done as asked.
        TrialFailure: workers were lost again and again.
        KeyboardInterrupt: the user's; what has ended is kept.
    """
    treatments = experiment.treatments(seeds)
    ended = {each: outcome for each in treatments if (outcome := _ended(experiment, each)) is not None}
    if ended:
        say(f"{len(ended)} of {len(treatments)} trainings have ended before, in {experiment.folder}")
    found = {each: _result(experiment, each, outcome, say) for each, outcome in ended.items()}
    jobs = [(each, experiment.job(each, number)) for number, each in enumerate(treatments) if each not in ended]
    for treatment, outcome in _carry_out(engine, jobs, experiment.recipe.search.retries):
        _keep(experiment, treatment, outcome)
        found[treatment] = _result(experiment, treatment, outcome, say)
        say(f"{treatment.name}: {result_text(found[treatment])} ({len(found)} of {len(treatments)})")
    return [found[each] for each in treatments]


def _carry_out(engine: Engine, jobs: Sequence[tuple[Treatment, Job]], retries: int) -> Iterator[tuple[Treatment, Outcome]]:
    waiting = deque(jobs)
    under_way: dict[int, tuple[Treatment, Job]] = {}
    tries: Counter[int] = Counter()
    while waiting or under_way:
        while waiting and len(under_way) < engine.capacity:
            treatment, job = waiting.popleft()
            under_way[job.trial] = treatment, job
            engine.start(job)
        for outcome in engine.wait():
            treatment, job = under_way.pop(outcome.trial)
            tries[job.trial] += 1
            if outcome.failure is not None and outcome.failure.kind in RETRIED:
                if tries[job.trial] <= retries:
                    waiting.appendleft((treatment, dataclasses.replace(job, attempt=job.attempt + 1)))
                    continue
                if outcome.failure.kind == "preempted":  # by no fault of the treatment, which would be left out for it
                    raise TrialFailure("preempted", f"{treatment.name}: its worker was lost: {outcome.failure.message}")
            yield treatment, outcome


def _keep(experiment: Experiment, treatment: Treatment, outcome: Outcome) -> None:
    """The outcome and the model, so that other detectors can judge it later; not what only its training needed."""
    try:
        if outcome.ok:
            experiment.model(treatment).parent.mkdir(parents=True, exist_ok=True)
            (experiment.checkpoints(outcome.trial) / "cooled.safetensors").replace(experiment.model(treatment))
        shutil.rmtree(experiment.checkpoints(outcome.trial), ignore_errors=True)
    except OSError as error:
        raise resource_error(error, error.filename or experiment.folder) from error
    _write(experiment.file("outcomes", treatment), outcome)


def _ended(experiment: Experiment, treatment: Treatment) -> Outcome | None:
    """How it has ended before, if that is known and its model is there."""
    outcome = _read(experiment.file("outcomes", treatment), Outcome)
    if outcome is None or (outcome.ok and not experiment.model(treatment).exists()):
        return None
    # What may end better another time is tried again with the bench.
    return None if outcome.failure is not None and outcome.failure.kind in RETRIED else outcome


def _result(experiment: Experiment, treatment: Treatment, outcome: Outcome, say: Say) -> Result:
    """What is measured of a training's model; by these detectors not more than once."""
    if outcome.failure is not None:
        return Result(
            treatment=treatment, failure=f"{outcome.failure.kind}: {outcome.failure.message}", seconds=outcome.seconds
        )
    file = experiment.file("results", treatment)
    known = _read(file, Result)
    if known is not None and known.judged_by == JUDGED_BY:
        return known
    say(f"{treatment.name}: measuring its model")
    torch.set_num_threads(experiment.threads)
    settings, dataset = experiment.recipe.evaluation, experiment.dataset
    model, _ = load_model(experiment.model(treatment), resolve_device(experiment.device))
    # The prompts and random numbers are the same for all: differences are the models'.
    rows = collapse_profile(model, dataset, settings, experiment.seed, experiment.profile)
    result = Result(
        treatment=treatment,
        seconds=outcome.seconds,
        leak=outcome.checks["leak"],
        judged_by=JUDGED_BY,
        calibration=calibrate(model, dataset, settings),
        smoothed_loss=smoothed_loss(model, dataset, settings.validation_tokens),
        rows=tuple(row for row in rows if row.prompts in KINDS),
    )
    _write(file, result)
    return result


def smoothed_loss(model: Transformer, dataset: Dataset, validation_tokens: int) -> float:
    """The validation loss against targets smoothed as in the model's training, in nats per token: (1 - ε) times the plain one,
    and ε times the mean of -log p over the vocabulary. It cannot be less than their entropy.
    """
    scored = scored_tokens(dataset, "validation", validation_tokens)
    epsilon, device = model.spec.label_smoothing, model.embedding.weight.device
    begins, lengths, _ = scored.windows(model.spec.context_length)
    total = 0.0
    with eval_mode(model):
        for begin, length in zip(begins.tolist(), lengths.tolist(), strict=True):
            inputs, targets = (
                torch.from_numpy(part[begin : begin + length]).to(device) for part in (scored.inputs, scored.targets)
            )
            logits = model.head(model.features(inputs[None])[0]).float()  # (length, V)
            losses = torch.nn.functional.cross_entropy(logits, targets, label_smoothing=epsilon, reduction="sum")
            total += float(losses)
    return total / len(scored.targets)


def _read(file: Path, kind: type[Record]) -> Record | None:
    try:
        return from_json(kind, json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _write(file: Path, record: Outcome | Result) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise resource_error(error, file.parent) from error
    write_json(file, to_json(record))


def result_text(result: Result) -> str:
    if result.failure:
        return f"failed ({result.failure})"
    assert result.calibration is not None
    rates: Mapping[str, float] = {
        row.title: row.rates["degeneration"].value for row in result.rows if "degeneration" in row.rates
    }
    shares = ", ".join(f"{title} {rate:.0%}" for title, rate in rates.items())
    return f"loss {result.calibration.raw.value:.3f}; degeneration: {shares}; {result.seconds:.0f} s"
