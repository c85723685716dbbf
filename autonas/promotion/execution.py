"""Carrying out a full run: by one process at a time, tried again where that may help, cancelled, remembered by its study.

Which run it is, is decided in promote.py; what a worker does with it, in full_run.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autonas.engine.base import Engine
from autonas.engine.choice import EngineSettings
from autonas.errors import RETRIED, StudyError, TrialFailure, resource_error
from autonas.ledger import Ledger, run_is_at_work, run_lease, study_lease
from autonas.promotion.book import FOLDER as BOOKS
from autonas.promotion.promote import Promotion, check_resumed, plan_promotion
from autonas.promotion.replicas import Choice
from autonas.promotion.select import Pick, Preference
from autonas.run_folder import TRIALS, check_claim, next_attempt, write_json
from autonas.study.files import cancel_requested, forget_cancel, request_cancel
from autonas.trial import Job, Outcome, StudyRecord, from_json, to_json

RECORD = "promotion.json"


@contextlib.contextmanager
def claimed(job: Job, *, resume: bool) -> Iterator[Job]:
    """The job as the next attempt at its run, whose folder is meanwhile this process's alone.

    Raises:
        StudyError: another process is at work on it, or the folder is not the job's to have.
    """
    folder = Path(job.folder)
    with run_lease(folder):
        check_claim(job, resume=resume)
        forget_cancel(folder)  # of an earlier attempt; whoever asks from now on means this one
        yield dataclasses.replace(job, attempt=next_attempt(folder))


def check_room(engine: Engine, job: Job, say: Callable[[str], None] = lambda text: None) -> None:
    """See that the engine has what the job needs, before anything is written for it. Raises RequestError."""
    if engine.name == "inline":
        from autonas.evaluation.latency import resolve_device

        resolve_device(job.device)
    else:
        say(engine.describe())  # which connects, and counts the workers


def carry_out(
    job: Job,
    engine: Engine,
    *,
    retries: int = 0,
    say: Callable[[str], None] = lambda text: None,
    storage: str | None = None,
    trials_dir: str | Path = TRIALS,
) -> Outcome:
    """Run the job on the engine. One that ends by no fault of its own is tried again, `retries` times, from its checkpoint.

    Where its study is kept, `storage` and `trials_dir`, is said in the command that goes on with it.

    Raises:
        StudyError: another process has taken over.
        TrialFailure: the run ended badly, or was cancelled ("preempted"); its last checkpoint is kept.
    """
    with told_of_cancelling(job, storage=storage, trials_dir=trials_dir):
        return _tried(job, engine, retries, say)


@contextlib.contextmanager
def told_of_cancelling(job: Job, *, storage: str | None = None, trials_dir: str | Path = TRIALS) -> Iterator[None]:
    """Turn an interruption that `autonas cancel` asked for into the failure that says how to go on.

    Raises:
        TrialFailure: the run was cancelled ("preempted").
    """
    try:
        yield
    except KeyboardInterrupt as interruption:
        if not cancel_requested(Path(job.folder)):
            raise
        forget_cancel(Path(job.folder))
        how = promote_command(job.study, going_on_with=job.folder, storage=storage, trials_dir=trials_dir)
        raise TrialFailure(
            "preempted", f"the run in {job.folder} was cancelled. Its last checkpoint is kept; go on with it: {how}"
        ) from interruption


def _tried(job: Job, engine: Engine, retries: int, say: Callable[[str], None]) -> Outcome:
    for attempt in range(retries + 1):
        engine.start(dataclasses.replace(job, attempt=job.attempt + attempt))
        outcomes = engine.wait()
        while not outcomes:
            outcomes = engine.wait()
        (outcome,) = outcomes
        failure = outcome.failure
        if failure is None:
            return outcome
        if failure.kind not in RETRIED or attempt == retries:
            break
        say(
            f"the run is tried again from its checkpoint after {failure.kind}: {failure.message} "
            f"({attempt + 1} of {retries} retries)"
        )
    assert failure is not None
    raise TrialFailure(
        failure.kind, f"the run in {job.folder} ended ({failure.kind}): {failure.message}. Its last checkpoint is kept."
    )


def promote_command(
    study: str,
    *,
    going_on_with: str | Path | None = None,
    storage: str | None = None,
    trials_dir: str | Path = TRIALS,
    engine: EngineSettings | None = None,
) -> str:
    """The command that promotes a study kept there, or goes on with its promotion in a folder; what is usual is left out.

    A storage's URL may hold a password: the command has the word URL in its place.
    """
    engine, usual = engine or EngineSettings(), EngineSettings()
    parts = ["autonas", "promote", study]
    if going_on_with is not None:
        parts += ["--resume", "--out", str(going_on_with)]
    if Path(trials_dir) != TRIALS:
        parts += ["--trials-dir", str(trials_dir)]
    for field in dataclasses.fields(EngineSettings):
        value = getattr(engine, field.name)
        if value != getattr(usual, field.name):
            flag = "engine" if field.name == "name" else field.name.replace("_", "-")
            parts += [f"--{flag}", str(value)]
    return shlex.join(parts) + (" --storage URL" if storage else "")


def record(promotion: Promotion, study_folder: Path, storage: str | None, choice: Choice | None = None) -> bool:
    """Write the pick beside its run, and into the ledger unless another process is at work on the study: whether it could.

    `choice` is what its replicas said, once they have. An earlier promotion into the same folder left no run there, and is
    not one to be remembered.

    Raises:
        RequestError: the ledger, or the run's folder, cannot be written.
    """
    pick = to_json(promotion.pick)
    if choice is not None:
        pick |= {"reason": f"{pick['reason']} {choice.reason}", "replicas": choice.reason, "chosen": dict(choice.values)}
    if promotion.looked:
        pick |= {"second_look": to_json(promotion.looked)}
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry: Mapping[str, Any] = {"study": promotion.study, **pick, "steps": promotion.steps, "begun_at": now}
    try:
        promotion.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise resource_error(error, promotion.folder) from error
    write_json(promotion.folder / RECORD, entry)
    short = {name: entry[name] for name in ("trial", "method", "reason", "steps", "begun_at")}
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(study_lease(promotion.study, study_folder))
        except StudyError:
            return False
        ledger = stack.enter_context(contextlib.closing(Ledger.open(promotion.study, study_folder, storage)))
        known = ledger.read().attributes.get("promotions") or []
        others = [each for each in known if Path(each["folder"]).resolve() != promotion.folder.resolve()]
        looked = {name: promotion.looked[name] for name in ("probability", "book", "instead_of") if name in promotion.looked}
        ledger.set_attribute("promotions", [*others, {**short, **looked, "folder": str(promotion.folder)}])
    return True


def record_failure(study: str, run: Path, why: str, study_folder: Path, storage: str | None) -> None:
    """Note in the ledger why a run made way for the next candidate, unless another process is at work on the study."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(study_lease(study, study_folder))
        except StudyError:
            return
        ledger = stack.enter_context(contextlib.closing(Ledger.open(study, study_folder, storage)))
        known = ledger.read().attributes.get("promotions") or []
        own = run.resolve()
        noted = [{**each, "failed": why} if Path(each["folder"]).resolve() == own else each for each in known]
        ledger.set_attribute("promotions", noted)


def begun_promotion(
    study: StudyRecord,
    folder: Path,
    *,
    study_folder: Path,
    steps: int | None = None,
    trial: int | None = None,
    device: str = "cpu",
    threads: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> Promotion:
    """The promotion that has begun its replicas in `folder` and not yet its run, to be gone on with as it was begun.

    Raises:
        StudyError: it is another study's, its steps or its trial are not those given, its record cannot be read, or the corpus
            has changed.
    """
    try:
        entry = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        names = {field.name for field in dataclasses.fields(Pick)}
        pick = from_json(Pick, {name: value for name, value in entry.items() if name in names})
        begun_with, name = int(entry["steps"]), str(entry["study"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"{folder / RECORD}: cannot be read ({error}). Restore it, or give another --out.") from error
    check_resumed(folder, study, name, (("--steps", steps, begun_with), ("--trial", trial, pick.trial)))
    replicas = entry.get("replicas")
    reason = pick.reason if replicas is None else pick.reason.removesuffix(f" {replicas}")
    return plan_promotion(
        study,
        Preference(),
        study_folder=study_folder,
        steps=begun_with,
        run=folder,
        device=device,
        threads=threads,
        say=say,
        pick=dataclasses.replace(pick, reason=reason),
    )


def cancel_runs(study: StudyRecord, study_folder: Path, *, timeout_s: float = 60.0) -> list[Path]:
    """Stop the study's promotions that are at work on this machine; returns their folders.

    Raises:
        StudyError: one does not stop within `timeout_s`.
    """
    known = [Path(each["folder"]) for each in study.attributes.get("promotions") or ()]
    folders = {path.resolve(): path for path in (*known, *sorted((study_folder / "runs").glob("*")))}
    several = {path.resolve(): path for path in sorted((study_folder / BOOKS).glob("*"))}
    at_work = [path for path in {**folders, **several}.values() if run_is_at_work(path)]
    for path in at_work:
        request_cancel(path)
    deadline = time.monotonic() + timeout_s
    for path in at_work:
        while run_is_at_work(path):
            if time.monotonic() >= deadline:
                raise StudyError(f"the run in {path} has not stopped in {timeout_s:.0f} s. It will when it next looks.")
            time.sleep(0.1)
        forget_cancel(path)
    # Of a promotion with several candidates its run is told, where that was at work.
    runs = [path for path in at_work if path.resolve() not in several]
    return runs or at_work
