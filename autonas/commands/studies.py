"""Commands on studies that exist: `status`, `front`, `report`, `clean`, `cancel`."""

from __future__ import annotations

import argparse
import contextlib
import shlex
from pathlib import Path
from typing import Any

from autonas.commands import OK, note, print_json
from autonas.errors import StorageError, StudyError
from autonas.trial import StudyRecord


def _studies(options: argparse.Namespace) -> list[str]:
    """The named study, or every study in the folder."""
    from autonas.ledger import study_names
    from autonas.ledger.storage import without_password

    if options.study:
        return [options.study]
    found = study_names(Path(options.out), options.storage)
    if not found:
        place = without_password(options.storage or options.out)
        raise StudyError(f"there is no study in {place}. Start one with `autonas search`.")
    return found


def status(options: argparse.Namespace) -> int:
    from autonas.api import read_study, study_folder
    from autonas.run_folder import run_state

    if options.study and run_state(Path(options.study)) != "absent":
        return _run_status(Path(options.study), as_json=options.json)
    statuses = []
    for name in _studies(options):
        try:
            study = read_study(name, storage=options.storage, out=options.out)
        except StorageError as error:
            if options.study:
                raise
            note(str(error))  # the other studies can be read all the same
            continue
        statuses.append(_status_of(study, study_folder(name, options.out)))
    if options.json:
        print_json(statuses[0] if options.study else statuses)
        return OK
    _tell(statuses, options)
    return OK


def _tell(statuses: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Where studies stand, in words: one that was asked for by its name, or all."""
    from autonas.commands.painting import print_text, screen_width
    from autonas.reporting.status import text_status, text_statuses

    commands = {each["study"]: _next_commands(each, options) for each in statuses}
    if options.study:
        (one,) = statuses
        print_text(text_status(one, commands[one["study"]], screen_width()))
        return
    unfinished = {name: [command for reason, command in found if reason in _UNFINISHED] for name, found in commands.items()}
    if statuses:
        print_text(text_statuses(statuses, {name: found for name, found in unfinished.items() if found}, screen_width()))


_UNFINISHED = ("To go on with the search", "To go on with the promotion")


def _next_commands(status: dict[str, Any], options: argparse.Namespace) -> list[tuple[str, str]]:
    """What may be done next with a study, as (why, the command)."""
    from autonas.api import study_folder
    from autonas.promotion.execution import promote_command
    from autonas.run_folder import TRIALS

    name, found = status["study"], []
    search, promotion = _UNFINISHED
    if status["state"] == "interrupted":
        recipe = study_folder(name, options.out) / "recipe.yaml"
        parts = ["autonas", "search", "--space", str(recipe) if recipe.exists() else "FILE", "--study", name, "--resume"]
        parts += ["--out", str(options.out)] if Path(options.out) != TRIALS else []
        found.append((search, shlex.join(parts) + (" --storage URL" if options.storage else "")))
    for each in (*status["promotions"], *status["second_looks"]):
        if each["state"] == "interrupted":
            where = each["folder"]
            command = promote_command(name, going_on_with=where, storage=options.storage, trials_dir=options.out)
            found.append((promotion, command))
    if status["state"] == "ended" and status["front"] and not status["promotions"] and not status["second_looks"]:
        command = promote_command(name, storage=options.storage, trials_dir=options.out)
        found.append(("To train its winner in full (the knee, unless the space file says otherwise)", command))
    return found


def _status_of(study: StudyRecord, folder: Path) -> dict[str, Any]:
    from autonas.ledger import is_running
    from autonas.plan import remaining_seconds
    from autonas.policy.policy import Policy, begun
    from autonas.recipe import Recipe
    from autonas.reporting.front import build_report
    from autonas.reporting.progress import progress_json
    from autonas.study import study_status

    recipe, running = Recipe.from_resolved(study.recipe), is_running(study.name, folder)
    closed = study.attributes.get("closed")
    left = None if closed and not running else remaining_seconds(study, recipe, Policy(recipe.problem, recipe.search))
    failures: dict[str, int] = {}
    for trial in study.trials:
        if trial.failure is not None:
            failures[trial.failure] = failures.get(trial.failure, 0) + 1
    report = build_report(study)
    return {
        "study": study.name,
        "state": "running" if running else "ended" if closed else "interrupted",
        "closed": closed,
        "trials": {
            **study_status(study),
            "begun": begun(study),
            "wanted": recipe.search.trials,
            "repeats": sum(trial.repeat_of is not None for trial in study.trials),
        },
        "rungs": [sum(len(t.rungs) > rung for t in study.trials) for rung in range(len(recipe.search.rungs))],
        "failures": failures,
        "front": len(report.front),
        **progress_json(report),
        "retries": sum(len(trial.retries) for trial in study.trials),
        "promotions": [_promotion_of(each) for each in study.attributes.get("promotions") or ()],
        "second_looks": _second_looks(folder),
        "spent_s": study.attributes.get("spent_s"),
        "left_s": left,
    }


def _promotion_of(promotion: dict[str, Any]) -> dict[str, Any]:
    """A promotion as the ledger remembers it, with its run's state: running, interrupted, ended, or absent (gone from here)."""
    from autonas.ledger import run_is_at_work
    from autonas.promotion.replicas import is_choosing
    from autonas.reporting.run_so_far import run_json, run_so_far
    from autonas.run_folder import run_state

    folder = Path(promotion["folder"])
    state: str = run_state(folder)
    if state == "begun" or is_choosing(folder):
        state = "running" if run_is_at_work(folder) else "interrupted"
    if "failed" in promotion:  # and the next candidate took its place
        state = "failed"
    found = {"trial": promotion["trial"], "steps": promotion["steps"], "folder": str(folder), "state": state}
    if state in ("running", "interrupted"):
        with contextlib.suppress(StudyError):  # its replicas are being trained, or its record is damaged
            found["progress"] = run_json(run_so_far(folder))
    return found


def _run_status(run: Path, *, as_json: bool) -> int:
    """Where a full run stands."""
    from autonas.commands.painting import print_text, screen_width
    from autonas.ledger import run_is_at_work
    from autonas.reporting.columns import facts, paragraph
    from autonas.reporting.run_so_far import facts_of, run_json, run_so_far

    so_far = run_so_far(run)
    state = "ended" if so_far.ended else "running" if run_is_at_work(run) else "interrupted"
    if as_json:
        print_json({"run": str(run), "state": state, **run_json(so_far)})
        return OK
    width = screen_width()
    rows = [(name, text) for name, text in facts_of(so_far) if state == "running" or name != "left"]
    rows += [("go on with", "the command that began it, and --resume")] if state == "interrupted" else []
    print_text("\n".join([*paragraph(f"{run}: {state}", width), *facts(rows, width)]))
    return OK


def _second_looks(folder: Path) -> list[dict[str, Any]]:
    """Promotions with several candidates of which no run is known yet, or whose last run has made way for the next."""
    from autonas.ledger import run_is_at_work
    from autonas.promotion.book import books

    return [
        {
            "candidates": [pick.trial for pick in book.retest.candidates],
            "steps": book.steps,
            "folder": str(book.folder),
            "state": "running" if run_is_at_work(book.folder) else "interrupted",
        }
        for book in books(folder)
        if not book.closed and book.under_way is None
    ]


def front(options: argparse.Namespace) -> int:
    from autonas.api import read_study
    from autonas.commands.painting import print_text, screen_width
    from autonas.promotion.execution import promote_command
    from autonas.reporting.front import front_json
    from autonas.reporting.text import text_front

    study = read_study(options.study, storage=options.storage, out=options.out)
    if options.json:
        print_json(front_json(study))
    else:
        command = promote_command(options.study, storage=options.storage, trials_dir=options.out)
        ended = study.attributes.get("closed") is not None
        print_text(text_front(study, width=screen_width(), promote=command if ended else ""))
    return OK


def report(options: argparse.Namespace) -> int:
    from autonas.api import report, report_run
    from autonas.run_folder import run_state

    name, *others = options.studies
    if not others and run_state(Path(name)) != "absent":
        print(report_run(Path(name), file=options.file))
        return OK
    print(report(name, *others, storage=options.storage, out=options.out, file=options.file))
    return OK


def clean(options: argparse.Namespace) -> int:
    from autonas.api import read_study, study_folder
    from autonas.checkpoints import clean_checkpoints
    from autonas.ledger import study_lease

    for name in _studies(options):
        folder = study_folder(name, options.out)
        try:
            with study_lease(name, folder):
                freed = clean_checkpoints(read_study(name, storage=options.storage, out=options.out), folder)
        except StudyError as error:
            if options.study:
                raise
            note(str(error))  # the other studies can be cleaned all the same
            continue
        print(f"{name}: freed {freed / 1e6:.1f} MB of checkpoints")
    return OK


def cancel(options: argparse.Namespace) -> int:
    from autonas.api import cancel
    from autonas.study import CANCELLED, study_status

    def tell(text: str) -> None:
        print(f"{options.study}: {text}")

    study = cancel(options.study, storage=options.storage, out=options.out, say=tell)
    if study.attributes.get("closed") == CANCELLED:
        states = ", ".join(f"{count} {state}" for state, count in study_status(study).items() if count)
        tell(f"cancelled; {states or 'no trials'}. `autonas search` with --resume goes on with it.")
    return OK
