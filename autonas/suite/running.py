"""An evaluation from its first part to its last: resumable, as each part is written with what it was asked."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from autonas import machine
from autonas.data.dataset import Dataset
from autonas.errors import CorpusError, RequestError, ResourceError, StudyError
from autonas.evaluation.coding.loading import load_tasks
from autonas.evaluation.latency import lease_name, resolve_device
from autonas.evaluation.lease import sharing
from autonas.loaded_run import load_run
from autonas.pinning import pin_threads
from autonas.run_folder import read_evaluation, read_job, run_state, write_json
from autonas.suite.parts import PARTS, Part
from autonas.suite.subject import SUITE_VERSION, Subject, SuiteSettings, digest
from autonas.training.loop import finish_steps

OnPart = Callable[[str, int, int], object]  # name of the part, steps done, steps in all


def evaluate_run(
    run: Path,
    *,
    settings: SuiteSettings | None = None,
    only: Sequence[str] = (),
    again: bool = False,
    dataset: Dataset | None = None,
    device: str = "auto",
    threads: int | None = None,
    on_part: OnPart = lambda name, done, total: None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Do the parts that are not done yet (or `only` the named ones; `again`: all of them anew); returns evaluation.json.

    The data set is that of the run, which is looked for where it was, or is `dataset`. Coding tasks need a sandbox; where this
    machine has none they are left out, and "missing" says why, unless they are asked for by name.

    Raises:
        StudyError: there is no finished run in `run`.
        CheckpointError, TokenizerError: its files are damaged.
        CorpusError: its data set is not there any more, or `dataset` is another one.
        RequestError: `only` names no part, or a source of tasks is none.
        ResourceError: the folder cannot be written; or `only` names a part that this machine cannot do.
    """
    unknown = sorted(set(only) - set(PARTS))
    if unknown:
        raise RequestError(f"--only {unknown[0]!r}: there is no such part; choose of {', '.join(PARTS)}")
    loaded = load_run(run, device)
    if run_state(run) != "ended":
        raise StudyError(f"{run}: has been trained and not yet scored; end it with --resume first")
    settings = settings or SuiteSettings()
    for source in settings.tasks:
        load_tasks(source)  # found out now, and not after what takes minutes
    job = read_job(run)
    if dataset is None:
        try:
            dataset = Dataset.open(job.data.folder, job.data.fingerprint)
        except CorpusError as error:
            raise CorpusError(f"{error} Or give the recipe it is built from, with --space FILE.") from error
    if dataset.fingerprint != job.data.fingerprint:
        raise CorpusError(
            f"{run} was trained on the data set {job.data.fingerprint}, and this recipe's is {dataset.fingerprint}; give the "
            "recipe that it was trained with"
        )
    if dataset.tokenizer.fingerprint != loaded.tokenizer.fingerprint:
        raise CorpusError(f"{run}: its tokenizer is not that of its data set {job.data.folder}; restore one of them")
    where = resolve_device(device)
    pin_threads(threads or job.threads)
    torch.set_num_threads(threads or job.threads)
    weights = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()[:16]
    missing: dict[str, str] = {}
    for name, part in PARTS.items():
        if only and name not in only:
            continue
        subject = Subject(
            folder=run,
            job=job,
            loaded=loaded,
            dataset=dataset,
            device=where,
            settings=settings,
            weights=weights,
            again=again,
            make_way=lambda: None,
            step=functools.partial(on_part, name),
        )
        try:
            _do(name, part, subject, again=again, say=say)
        except ResourceError as error:
            if only or not part.optional:
                raise
            say(f"{name}: not done here: {error}")
            missing[name] = str(error)
    values = read_evaluation(run)
    left = {name: why for name, why in {**values.get("missing", {}), **missing}.items() if name not in values["suite"]}
    if left != values.get("missing", {}):
        values = {**values, "missing": left}
        write_json(run / "evaluation.json", values)
    return values


def _do(name: str, part: Part, subject: Subject, *, again: bool, say: Callable[[str], None]) -> None:
    asked = digest([SUITE_VERSION, subject.weights, subject.dataset.fingerprint, str(subject.device), part.asks(subject)])
    before = read_evaluation(subject.folder).get("suite", {}).get(name)
    if before is not None and before["asked"] == asked and not again:
        say(f"{name}: done before")
        subject.step(1, 1)
        return
    subject.step(0, 1)
    started = time.monotonic()
    if part.alone:
        result = part.measure(subject)
        seconds = time.monotonic() - started
    else:
        with sharing(lease_name(subject.device), functools.partial(finish_steps, subject.device)) as turn:
            result = part.measure(dataclasses.replace(subject, make_way=turn.make_way))
            seconds = turn.clock() - started
    values = read_evaluation(subject.folder)  # again: another process may have done another part meanwhile
    done = {"asked": asked, "weights": subject.weights, "seconds": seconds, "result": result}
    suite = {**values.get("suite", {}), name: done}
    ordered = {known: suite[known] for known in PARTS if known in suite}
    scores = {**values.get("scores", {}), **result.get("scores", {})}
    environment = {**machine.environment(), "device": str(subject.device), "threads": torch.get_num_threads()}
    write_json(subject.folder / "evaluation.json", {**values, "scores": scores, "suite": ordered, "evaluated": environment})
    subject.step(1, 1)
