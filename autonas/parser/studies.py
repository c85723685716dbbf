"""Commands of studies: what is searched, read, watched and promoted."""

from __future__ import annotations

import argparse
import shlex

from autonas.commands import engine_settings
from autonas.parser.options import (
    Command,
    count,
    engine_options,
    hours,
    number,
    port,
    recipe_options,
    study_options,
)


def add_search(command: Command) -> None:
    search = command("search", "search", "search a space for its Pareto front", "autonas search --space quickstart.yaml")
    recipe_options(search)
    search.add_argument("--study", metavar="NAME", help="the study's name (default: the space's)")
    search.add_argument("--trials", type=count, metavar="N", help="trials that begin training")
    search.add_argument("--max-hours", type=hours, metavar="H", help="stop beginning trials in time for an end after H hours")
    engine_options(search)
    search.add_argument("--sampler", metavar="NAME", help="autonas (default), tpe, nsgaii, gp or random")
    search.add_argument(
        "--warm-start",
        action="append",
        default=[],
        metavar="STUDY",
        help="begin with the front of an earlier study, and learn from its scores; or the file of an architecture; repeatable",
    )
    search.add_argument("--resume", action="store_true", help="go on with a study that exists")
    search.add_argument("--retry-failed", action="store_true", help="with --resume: try again what has failed")
    search.add_argument("--no-promote", action="store_true", help="start no full run at the end, whatever the space file says")
    search.add_argument("--json", action="store_true", help="print the front as JSON at the end")
    search.add_argument(
        "--tensorboard",
        nargs="?",
        const="",
        metavar="DIR",
        help="write an event file for each trial, for TensorBoard (default DIR: tensorboard/ in the study's folder)",
    )
    search.add_argument("--quiet", action="store_true", help="no progress")
    study_options(search)
    search.set_defaults(resume_hint=_search_again)

    plan = command("plan", "plan", "say what a search would cost, before it is begun", "autonas plan --space code_lm.yaml")
    recipe_options(plan)
    plan.add_argument("--trials", type=count, metavar="N")
    plan.add_argument("--max-hours", type=hours, metavar="H")
    plan.add_argument("--spec", metavar="FILE", help="plan one full run of this architecture instead, with --steps")
    plan.add_argument("--steps", type=count, metavar="N", help="optimiser steps of that run")
    engine_options(plan)
    plan.add_argument("--json", action="store_true", help="print JSON")


def add_reading(command: Command) -> None:
    status = command("status", "studies", "say what a study, or every study, has done so far", "autonas status quickstart")
    status.add_argument("study", nargs="?", metavar="STUDY", help="or a run's folder; all studies here when left out")
    front = command("front", "studies", "print the Pareto front of a study", "autonas front quickstart --json")
    front.add_argument("study", metavar="STUDY")
    report = command("report", "studies", "write a study's report, or a run's page, one HTML file", "autonas report quickstart")
    report.add_argument(
        "studies", nargs="+", metavar="STUDY", help="or a run's folder, also while it is trained; several studies: side by side"
    )
    report.add_argument(
        "--out", dest="file", metavar="FILE", help="default: reports/STUDY.html, reports/A-vs-B.html, or RUN/evaluation.html"
    )
    cancel = command("cancel", "studies", "stop a study, wherever it runs", "autonas cancel quickstart")
    cancel.add_argument("study", metavar="STUDY")
    clean = command("clean", "studies", "free checkpoints that nothing needs", "autonas clean quickstart")
    clean.add_argument("study", nargs="?", metavar="STUDY", help="all studies here when left out")
    dashboard = command(
        "dashboard", "dashboard", "show studies in Optuna Dashboard, for looking", "autonas dashboard quickstart"
    )
    dashboard.add_argument("study", nargs="?", metavar="STUDY", help="all studies here when left out")
    dashboard.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="an address of this machine alone (default: 127.0.0.1)"
    )
    dashboard.add_argument("--port", type=port, default=8080, metavar="N", help="default: 8080; 0: any that is free")
    dashboard.add_argument("--open", action="store_true", help="open it in a browser")
    for sub in (status, front, report, clean, cancel, dashboard):
        study_options(sub, out_name="--trials-dir" if sub is report else "--out")
    for sub in (status, front):
        sub.add_argument("--json", action="store_true", help="print JSON")


def add_promote(command: Command) -> None:
    promote = command(
        "promote", "promotion", "train the winner of a study in full", "autonas promote quickstart --limit params=1M"
    )
    promote.add_argument("study", metavar="STUDY")
    promote.add_argument("--trial", type=number, metavar="N", help="this trial of the front")
    promote.add_argument("--select", metavar="NAME", help="knee, or the objective that the trial is to be best in")
    promote.add_argument("--limit", action="append", metavar="K=V", help="a score's upper bound, such as params=1M; repeatable")
    promote.add_argument("--weight", action="append", metavar="K=V", help="an objective's weight in the knee (1); repeatable")
    promote.add_argument("--steps", type=count, metavar="N", help="optimiser steps (default: the recipe's, or 50,000)")
    promote.add_argument("--out", dest="run", metavar="RUN", help="the run's folder (default: in the study's, runs/)")
    again = promote.add_mutually_exclusive_group()
    again.add_argument(
        "--retest", type=count, metavar="K", help="train the best K again before one is picked (default: the recipe's, or 3)"
    )
    again.add_argument(
        "--no-retest",
        action="store_const",
        const=0,
        dest="retest",
        help="promote the best as measured; nobody takes its place",
    )
    promote.add_argument(
        "--retest-seeds", type=count, metavar="S", help="new trainings of each of them (default: the recipe's, or 2)"
    )
    promote.add_argument(
        "--no-succession", action="store_true", help="nobody takes the place of a run that diverges or collapses"
    )
    engine_options(promote)
    promote.add_argument("--resume", action="store_true", help="go on with the run that was interrupted")
    promote.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    promote.add_argument("--json", action="store_true", help="print the evaluation (or what would be done) as JSON")
    study_options(promote, out_name="--trials-dir")
    promote.set_defaults(resume_hint=_promote_again)


def _promote_again(options: argparse.Namespace) -> str:
    """The command that goes on with an interrupted promotion: of the only one that was, where no folder is given."""
    from autonas.promotion.execution import promote_command

    command = promote_command(
        options.study,
        going_on_with=options.run,
        storage=options.storage,
        trials_dir=options.out,
        engine=engine_settings(options),
    )
    return command if options.run is not None else f"{command} --resume"


def _search_again(options: argparse.Namespace) -> str:
    """The command that goes on with an interrupted search; the storage is left out, since its URL may hold a password."""
    parts = ["autonas", "search", "--space", options.space]
    for flag in ("study", "trials", "max_hours", "sampler", "seed", "threads", "workers", "gpus_per_worker", "ray_address"):
        if getattr(options, flag) is not None:
            parts += [f"--{flag.replace('_', '-')}", str(getattr(options, flag))]
    parts += ["--out", options.out] if options.out != "trials" else []
    parts += ["--device", options.device] if options.device != "auto" else []
    parts += ["--engine", options.engine] if options.engine != "ray" else []
    parts += ["--no-promote"] if options.no_promote else []
    parts += [] if options.tensorboard is None else ["--tensorboard", *([options.tensorboard] if options.tensorboard else [])]
    # An embedded study that was interrupted before its ledger was written has nothing to go on with.
    folder = getattr(options, "folder", None)  # known once the space file has been read
    begun = folder is not None and (options.storage is not None or any(folder.glob("*.journal")))
    return shlex.join(parts) + (" --storage URL" if options.storage else "") + (" --resume" if begun else "")
