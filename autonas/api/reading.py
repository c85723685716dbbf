"""Studies and recipes as they are kept: read, reported, cancelled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autonas.api.records import Front, front_of
from autonas.errors import RequestError, StudyError
from autonas.ledger import Ledger, is_running
from autonas.promotion.execution import cancel_runs, promote_command
from autonas.recipe import Recipe, load_recipe
from autonas.run_folder import TRIALS, read_evaluation, run_state
from autonas.study import cancel_study
from autonas.trial import StudyRecord

REPORTS = Path("reports")


def read_recipe(
    space: str | Path,
    trials: int | None = None,
    max_hours: float | None = None,
    sampler: str | None = None,
    seed: int | None = None,
) -> Recipe:
    """The recipe in a space file, with what is not None replaced."""
    return load_recipe(str(space), trials=trials, max_hours=max_hours, sampler=sampler, seed=seed)


def study_folder(name: str, out: str | Path = TRIALS) -> Path:
    """Where a study keeps its files.

    Raises:
        StudyError: the name cannot be that of a folder.
    """
    if not name or name.startswith(".") or any(c in name for c in "/\\\0\n"):
        raise StudyError(f"--study {name!r} cannot be the name of a folder. Use letters, digits, - and _.")
    return Path(out) / name


def read_study(name: str, *, storage: str | None = None, out: str | Path = TRIALS) -> StudyRecord:
    """Everything that the ledger knows of a study, running or not.

    Raises:
        StudyError: there is none of this name.
        StorageError: its storage cannot be read.
    """
    with contextlib.closing(Ledger.open(name, study_folder(name, out), storage)) as ledger:
        return ledger.read()


def cancel(
    name: str,
    *,
    storage: str | None = None,
    out: str | Path = TRIALS,
    say: Callable[[str], None] = lambda text: None,
) -> StudyRecord:
    """Stop a study that runs, wherever it does, or close one that was interrupted; returns it as it is then.

    Its promotions that are at work on this machine are stopped too; `say` tells which, and how to go on with them.

    Raises:
        StudyError: there is none of this name, it has ended and is not being promoted, or it does not stop within a minute.
    """
    folder = study_folder(name, out)
    study = read_study(name, storage=storage, out=out)
    stopped = cancel_runs(study, folder)
    for run in stopped:
        if run_state(run) == "ended":
            say(f"the run in {run} had ended before it could be stopped")
        else:
            command = promote_command(name, going_on_with=run, storage=storage, trials_dir=out)
            say(f"the run in {run} was stopped; go on with it: {command}")
    if stopped and study.attributes.get("closed") is not None and not is_running(name, folder):
        return study
    return cancel_study(name, folder, storage)


def front(name: str | StudyRecord, *, storage: str | None = None, out: str | Path = TRIALS) -> Front:
    """The front of a study, by its name or as `search` returned it: a list of dictionaries that shows itself as a table.

    An entry holds trial, fingerprint, spec, scores with intervals, rung, seeds and the probability of being on the front.
    """
    return front_of(name if isinstance(name, StudyRecord) else read_study(name, storage=storage, out=out))


def report(
    name: str, *others: str, storage: str | None = None, out: str | Path = TRIALS, file: str | Path | None = None
) -> Path:
    """Write a study's report, by default to reports/<study>.html; returns where.

    With `others` it is one page that lays the studies side by side, by default reports/<study>-vs-<other>.html.

    Raises:
        StudyError: there is no study of a name, or one is named twice.
        RequestError: a name is that of a run's folder, which is not compared with studies.
    """
    if not others:
        from autonas.pages.study_page import write_report

        study = read_study(name, storage=storage, out=out)
        promote = promote_command(name, storage=storage, trials_dir=out)
        return write_report(study, Path(file) if file else REPORTS / f"{name}.html", evaluations_of(study), promote)
    from autonas.pages.compare_page import write_comparison

    names = (name, *others)
    for each in names:
        if run_state(Path(each)) != "absent":
            raise RequestError(
                f"{each} is a run: studies are compared with studies. `autonas evaluate RUN --against OTHER` compares runs."
            )
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise StudyError(f"{twice!r} is named twice: a study is not compared with itself")
    studies = [read_study(each, storage=storage, out=out) for each in names]
    return write_comparison(studies, Path(file) if file else REPORTS / f"{'-vs-'.join(names)}.html", names)


def evaluations_of(study: StudyRecord) -> dict[str, dict[str, Any]]:
    """What evaluation.json says of each of a study's full runs that have ended and are still there, by the folder's name."""
    folders = [Path(each["folder"]) for each in study.attributes.get("promotions") or ()]
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        if run_state(folder) == "ended":
            try:
                found[folder.name] = read_evaluation(folder)
            except StudyError as error:  # of one run: the report of its study tells it
                found[folder.name] = {"findings": [{"check": "evaluation", "severity": "note", "text": str(error)}]}
    return found
