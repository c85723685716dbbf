"""What a tuning will do, found out before it begins: which examples it uses, how long it takes, what its job is. No torch."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from autonas.data.tokenizer import Tokenizer
from autonas.errors import RequestError, StudyError
from autonas.run_folder import next_attempt, read_job, run_state
from autonas.trial import DataRef, Finding, Job, TuningSettings
from autonas.tuning.contamination import given_tasks, refuse_contamination
from autonas.tuning.encoding import Encoded, encode_examples
from autonas.tuning.examples import Example, digest_of, read_examples
from autonas.tuning.split import split_examples

TARGETS: Final = ("qkv", "out", "up", "down")
EPOCHS: Final = 20.0
RATES: Final[Mapping[str, float]] = {"sft": 3e-4, "lora": 2e-3}
_PROBES_PER_EPOCH: Final = 1
_MOST_PROBES: Final = 40
_FEW: Final = 100  # examples


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Examples on their sides, by their numbers in the file; those that do not fit the context are on neither."""

    examples: tuple[Example, ...]
    encoded: Mapping[int, Encoded]
    training: tuple[int, ...]
    validation: tuple[int, ...]
    validation_groups: int
    too_long: tuple[int, ...]

    def tokens_of(self, job: Job) -> int:
        """About how many tokens the job will read, if it does not end early."""
        assert job.tuning is not None
        mean = sum(self.encoded[number].read for number in self.training) / len(self.training)
        return round(mean * job.tuning.batch_examples * job.tuning.steps)

    def lines(self) -> list[str]:
        """What is used, for people."""
        of_groups = f"{len(self.validation)} to validate on, in {self.validation_groups} groups"
        found = [f"{len(self.training)} examples to tune on; {of_groups}"]
        if self.too_long:
            ids = ", ".join(self.examples[number].id for number in self.too_long[:5])
            found.append(f"{len(self.too_long)} examples are longer than the context and left out: {ids}")
        return found

    def findings(self) -> tuple[Finding, ...]:
        """What speaks for reading the scores with care."""
        found = []
        used = len(self.training) + len(self.validation)
        if used < _FEW:
            text = (
                f"{used} examples are few: the {len(self.validation)} of validation give a rough loss, and those tuned on are "
                "soon known by heart; what counts is the lowest validation loss"
            )
            found.append(Finding(check="few_examples", severity="note", text=text))
        if not self.validation:
            text = "there is no validation: nothing says whether the tuning went too far"
            found.append(Finding(check="no_validation", severity="alarm", text=text))
        if self.too_long:
            text = f"{len(self.too_long)} of {len(self.examples)} examples are longer than the context and were left out"
            found.append(Finding(check="too_long", severity="note", text=text))
        return tuple(found)


def plan_examples(examples: Sequence[Example], tokenizer: Tokenizer, context: int, validation_share: float) -> Plan:
    """Encode and split.

    Raises:
        CorpusError: none fits the context, or they cannot be split.
    """
    encoded = encode_examples(examples, tokenizer, context)
    fitting = sorted(encoded)
    split = split_examples([examples[number] for number in fitting], validation_share)
    return Plan(
        examples=tuple(examples),
        encoded=encoded,
        training=tuple(fitting[place] for place in split.training),
        validation=tuple(fitting[place] for place in split.validation),
        validation_groups=split.validation_groups,
        too_long=tuple(number for number in range(len(examples)) if number not in encoded),
    )


def plan_tuning(
    run: Path,
    data: Path,
    *,
    method: str,
    folder: Path,
    epochs: float | None = None,
    steps: int | None = None,
    rate: float | None = None,
    batch: int = 8,
    rank: int = 16,
    alpha: float = 32.0,
    dropout: float = 0.05,
    targets: Sequence[str] = TARGETS,
    validation_share: float = 0.1,
    patience: int | None = 3,
    tasks: Sequence[str] = (),
    allow_contamination: bool = False,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    data_ref: DataRef | None = None,
) -> tuple[Job, Plan]:
    """The job that tunes the model of `run` on the examples of `data` into `folder`, and the examples as it will use them.

    `steps` or `epochs` (default 20) over the examples; with validation it ends earlier once that gains nothing. `tasks` are
    sources of coding tasks beside the shipped ones that no example may give away. `data_ref` is the run's data set where it is
    not where the run was trained.

    Raises:
        RequestError: the run, the examples or a setting cannot be used; the message says which and why.
    """
    check_settings(method, targets=targets, epochs=epochs, steps=steps, patience=patience, validation_share=validation_share)
    if run_state(run) != "ended":
        raise StudyError(f"{run}: is no finished run. `autonas promote STUDY` and `autonas train --spec FILE` make one.")
    base = read_job(run)
    examples = read_examples(data)
    sources = tuple(dict.fromkeys(("builtin", *tasks)))
    found = given_tasks(examples, sources)
    if not allow_contamination:
        refuse_contamination(found, str(data))
    plan = plan_examples(examples, Tokenizer.load(run / "tokenizer.json"), base.spec.context_length, validation_share)
    per_epoch = math.ceil(len(plan.training) / batch)
    count = steps or max(1, round((epochs or EPOCHS) * len(plan.training) / batch))
    settings = TuningSettings(
        base=str(run.resolve()),
        base_weights=weights_digest(run),
        data=str(data.resolve()),
        data_digest=digest_of(examples),
        method="lora" if method == "lora" else "sft",
        steps=count,
        learning_rate=RATES[method] if rate is None else rate,
        probe_steps=max(per_epoch // _PROBES_PER_EPOCH, math.ceil(count / _MOST_PROBES), 1),
        batch_examples=batch,
        validation_share=validation_share,
        patience=patience,
        tasks=sources,
        allow_contamination=allow_contamination,
        rank=rank,
        alpha=alpha,
        dropout=dropout,
        targets=tuple(targets),
    )
    job = dataclasses.replace(
        base,
        kind="tune",
        study="",
        trial=0,
        attempt=next_attempt(folder),
        seed=seed,
        data=base.data if data_ref is None else data_ref,
        folder=str(folder),
        device=device,
        threads=threads,
        tuning=settings,
    )
    return job, plan


def check_settings(
    method: str,
    *,
    targets: Sequence[str],
    epochs: float | None,
    steps: int | None,
    patience: int | None,
    validation_share: float,
) -> None:
    """Raises RequestError for what cannot be."""
    if method not in RATES:
        raise RequestError(f"--method {method!r}: choose sft, which tunes every weight, or lora, which tunes adapters")
    unknown = [name for name in targets if name not in TARGETS]
    if unknown or not targets:
        raise RequestError(f"--targets {','.join(targets)!r}: choose of {', '.join(TARGETS)}, with commas between")
    if epochs is not None and steps is not None:
        raise RequestError("--epochs and --steps both say how long to tune; give one of them")
    if not 0.0 <= validation_share <= 0.5:
        raise RequestError(f"--validation-share {validation_share:g}: give a share from 0 (none) to 0.5")


def weights_digest(run: Path) -> str:
    """Of a run's weights. Raises StudyError where it has none."""
    try:
        return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise StudyError(f"{run}: its weights cannot be read ({error.strerror or error}); name a finished run") from error
