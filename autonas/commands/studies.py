"""Commands on studies that exist: `status`, `front`, `report`, `clean`, `cancel`."""

from __future__ import annotations

import argparse
import contextlib
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
    for each in statuses:
        _print_status(each, storage=options.storage, trials_dir=options.out)
    return OK


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
    from autonas.ledger import run_is_at_work
    from autonas.reporting.run_so_far import facts_of, run_json, run_so_far

    so_far = run_so_far(run)
    state = "ended" if so_far.ended else "running" if run_is_at_work(run) else "interrupted"
    if as_json:
        print_json({"run": str(run), "state": state, **run_json(so_far)})
        return OK
    print(f"{run}: {state}")
    for name, text in facts_of(so_far):
        if state == "running" or name != "left":
            print(f"  {name:18} {text}")
    if state == "interrupted":
        print("  go on with         the command that began it, and --resume")
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


def _print_status(status: dict[str, Any], *, storage: str | None, trials_dir: str) -> None:
    from autonas.promotion.execution import promote_command
    from autonas.reporting.quantities import duration_text

    trials = status["trials"]
    states = ", ".join(f"{trials[s]} {s}" for s in ("live", "complete", "stopped", "infeasible", "failed") if trials[s])
    repeats = f" and {trials['repeats']} repeated" if trials["repeats"] else ""
    closed = f" ({status['closed']})" if status["closed"] else ""
    print(f"{status['study']}: {status['state']}{closed}")
    print(f"  trials       {trials['begun']} of {trials['wanted']} begun{repeats}; {states or 'none yet'}")
    print(f"  rungs        {', '.join(f'{count} at rung {rung}' for rung, count in enumerate(status['rungs']))}")
    if status["failures"]:
        print(f"  failures     {', '.join(f'{count} {kind}' for kind, count in status['failures'].items())}")
    if status["retries"]:
        print(f"  retries      {status['retries']} jobs were tried again")
    for line in _progress_lines(status):
        print(f"  {line}")
    spent = duration_text(status["spent_s"] or 0.0)
    left = f", about {duration_text(status['left_s'])} left" if status["left_s"] is not None else ""
    print(f"  time         {spent} so far{left}")
    for each in status["promotions"]:
        print(f"  promotion    trial {each['trial']}, {each['steps']:,} steps: {each['state']}, in {each['folder']}")
        if (where := each.get("progress")) is not None:
            left = f", about {duration_text(where['left_s'])} left" if where["left_s"] and each["state"] == "running" else ""
            best = f", validation loss {where['val_loss']:.3f}" if where["val_loss"] is not None else ""
            print(f"  trained      {where['tokens'] / where['total_tokens']:.0%}{best}{left}")
        if each["state"] == "interrupted":
            where = each["folder"]
            command = promote_command(status["study"], going_on_with=where, storage=storage, trials_dir=trials_dir)
            print(f"  go on with   {command}")
    for each in status["second_looks"]:
        numbers = ", ".join(map(str, each["candidates"]))
        print(f"  promotion    of trial {numbers}, {each['steps']:,} steps: second look {each['state']}, in {each['folder']}")
        if each["state"] == "interrupted":
            where = each["folder"]
            command = promote_command(status["study"], going_on_with=where, storage=storage, trials_dir=trials_dir)
            print(f"  go on with   {command}")
    if status["state"] == "interrupted":
        print("  go on with   the same `autonas search` and --resume")


def _progress_lines(status: dict[str, Any]) -> list[str]:
    """The front's lines: how good it is, how sure that is, and what more training would buy."""
    from autonas.reporting.quantities import duration_text

    if (value := status["hypervolume"]) is None:
        return []
    near = f"; {len(status['near_front'])} more within a standard error" if status["near_front"] else ""
    interval = f"{status['hypervolume_low']:.3f}–{status['hypervolume_high']:.3f}"
    lines = [f"front        {status['front']} trials, hypervolume {value:.3f} ({interval}){near}"]
    control, forecast = status["random_control"], status["forecast"]
    if control is not None and control["value"] is not None:
        span = f"{control['low']:.3f}–{control['high']:.3f}"
        lines.append(f"random       search alone would have {control['value']:.3f} ({span}) for as much training")
    if forecast is not None and value > 0.0:
        gain, low, high = (f"{100 * forecast[name] / value:.1f}" for name in ("gain", "low", "high"))
        lines.append(f"forecast     {duration_text(forecast['ahead_s'])} more training would add {gain} % ({low}–{high} %)")
    told = [pair for pair in status["rank_agreement"] if pair["kendall_tau"] is not None]
    if told:
        pair = max((pair for pair in told if pair["rung"] == told[0]["rung"]), key=lambda pair: int(pair["later"]))
        agreement = f"{pair['kendall_tau']:.2f} ({pair['low']:.2f} to {pair['high']:.2f})"
        lines.append(f"ranks        Kendall's τ {agreement} between rungs {pair['rung']} and {pair['later']}")
    return lines


def front(options: argparse.Namespace) -> int:
    from autonas.api import read_study
    from autonas.reporting.front import front_json
    from autonas.reporting.text import text_front

    study = read_study(options.study, storage=options.storage, out=options.out)
    if options.json:
        print_json(front_json(study))
    else:
        print(text_front(study))
    return OK


def report(options: argparse.Namespace) -> int:
    from autonas.api import report, report_run
    from autonas.run_folder import run_state

    run = Path(options.study)
    if run_state(run) != "absent":
        print(report_run(run, file=options.file))
        return OK
    print(report(options.study, storage=options.storage, out=options.out, file=options.file))
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
