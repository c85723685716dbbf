"""From a study's front to a full run: proposed, begun, gone on with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas.api.reading import read_study, study_folder
from autonas.api.runs import report_run
from autonas.engine.base import JobProgress
from autonas.engine.choice import EngineSettings, make_engine
from autonas.errors import StudyError, TrialFailure
from autonas.ledger import run_lease
from autonas.machine import resolve_threads
from autonas.promotion.before import before_run
from autonas.promotion.book import Book, books, new_book, read_book
from autonas.promotion.candidates import begin_book, given_up, judge_run, look_again, next_run
from autonas.promotion.execution import begun_promotion, carry_out, check_room, claimed
from autonas.promotion.execution import record as record_promotion
from autonas.promotion.prediction import check_prediction
from autonas.promotion.promote import (
    Promotion,
    check_resumed,
    plan_promotion,
    preference,
    resumed_job,
    second_look_of,
    unfinished_run,
)
from autonas.promotion.replicas import is_choosing
from autonas.promotion.succession import YIELDING
from autonas.recipe import Recipe
from autonas.run_folder import TRIALS, run_state, run_tokens
from autonas.study.files import cancel_requested, forget_cancel
from autonas.trial import Job, StudyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What is around a promotion and no part of it: where its study is, what computes, who is told."""

    storage: str | None
    out: str | Path
    engine: EngineSettings
    say: Callable[[str], None]
    on_run: Callable[[Path], object]
    on_progress: Callable[[JobProgress, int], None]

    @property
    def here(self) -> dict[str, Any]:
        """What a job is made with on this machine."""
        return {"device": self.engine.device, "threads": resolve_threads(self.engine.threads), "say": self.say}


def propose_promotion(
    study: str,
    *,
    trial: int | None = None,
    select: str | None = None,
    limits: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    steps: int | None = None,
    storage: str | None = None,
    out: str | Path = TRIALS,
    run: str | Path | None = None,
    retest: int | None = None,
    retest_seeds: int | None = None,
    succession: bool | None = None,
    engine: EngineSettings | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Promotion:
    """What `promote` with the same arguments would do: the pick and its reason, the job, its epochs and its seconds here."""
    record = read_study(study, storage=storage, out=out)
    engine = engine or EngineSettings()
    settings = Recipe.from_resolved(record.recipe).promote
    wanted = preference(settings, trial=trial, select=select, limits=limits, weights=weights)
    return plan_promotion(
        record,
        wanted,
        study_folder=study_folder(study, out),
        steps=steps,
        run=None if run is None else Path(run),
        device=engine.device,
        threads=resolve_threads(engine.threads),
        say=say,
        **second_look_of(settings, wanted, retest=retest, seeds=retest_seeds, succession=succession),
    )


def promote(
    study: str,
    *,
    trial: int | None = None,
    select: str | None = None,
    limits: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
    steps: int | None = None,
    storage: str | None = None,
    out: str | Path = TRIALS,
    run: str | Path | None = None,
    resume: bool = False,
    retest: int | None = None,
    retest_seeds: int | None = None,
    succession: bool | None = None,
    engine: EngineSettings | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_run: Callable[[Path], object] = lambda folder: None,
    on_progress: Callable[[JobProgress, int], None] = lambda progress, total_tokens: None,
) -> Path:
    """Train the winner of a study in full; returns the run's folder, which `load` takes.

    The winner is the front's knee, or what `select` (an objective), `limits` (score to most) and `weights` (objective to
    weight) prefer, or `trial`; what is left out is as the space file's `promote:` says. The folder is `run`, by default one in
    the study's `runs/`. `resume` goes on with the run that was interrupted, as it was begun; `run` is then its folder, or the
    promotion's. `on_run` is told the folder when a full run begins, `on_progress` its steps.

    First the best `retest` candidates are trained again with `retest_seeds` new seeds each, and the likeliest best is picked.
    With `succession` the next of them takes the place of one whose run diverges or collapses. A trial that is named is trained
    again only where `retest` is given, and nobody takes its place.

    Raises:
        RequestError: what was asked cannot be done as asked; the message names place, value and remedy.
        TrialFailure: the run ended badly (it diverged, there was no memory); its last checkpoint is kept. With several
            candidates: all of their runs did, or all candidates are out before.
    """
    engine = engine or EngineSettings()
    around = _Around(storage=storage, out=out, engine=engine, say=say, on_run=on_run, on_progress=on_progress)
    if resume:
        if select is not None or limits or weights:
            raise StudyError("--resume goes on with a run as it was begun: leave out --select, --limit and --weight")
        if retest is not None or retest_seeds is not None or succession is not None:
            raise StudyError(
                "--resume goes on with a promotion as it was begun: leave out --retest, --retest-seeds, --no-retest and "
                "--no-succession"
            )
        return _go_on(study, steps=steps, trial=trial, run=run, around=around)
    promotion = propose_promotion(
        study,
        trial=trial,
        select=select,
        limits=limits,
        weights=weights,
        steps=steps,
        storage=storage,
        out=out,
        run=run,
        retest=retest,
        retest_seeds=retest_seeds,
        succession=succession,
        engine=engine,
        say=say,
    )
    if promotion.retest is not None:
        record = read_study(study, storage=storage, out=out)
        settings = Recipe.from_resolved(record.recipe).promote
        wanted = preference(settings, trial=trial, select=select, limits=limits, weights=weights)
        own = study_folder(study, out)
        book = begin_book(record, own, promotion, wanted, None if run is None else Path(run))
        say(promotion.describe())
        return _by_book(record, book, around)
    return _in_full(study, promotion.job, promotion, around)


def _go_on(
    study: str,
    *,
    steps: int | None,
    trial: int | None,
    run: str | Path | None,
    around: _Around,
) -> Path:
    """Go on with an interrupted promotion, wherever it was: between candidates, choosing, or in its full run."""
    record = read_study(study, storage=around.storage, out=around.out)
    own = study_folder(study, around.out)
    begun = unfinished_run(own) if run is None else Path(run)
    book = next((each for each in books(own) if each.is_in(begun)), None)
    if book is not None:
        running = book.under_way.trial if book.under_way else book.retest.candidates[0].trial
        options = (("--steps", steps, book.steps), ("--trial", trial, running))
        check_resumed(book.folder, record, book.study, options)
        return _by_book(record, book, around)
    asked: dict[str, Any] = {"steps": steps, "trial": trial, **around.here}
    if is_choosing(begun):
        promotion = begun_promotion(record, begun, study_folder=own, **asked)
        return _in_full(study, promotion.job, promotion, around)
    return _in_full(study, resumed_job(record, begun, **asked), None, around)


def _by_book(study: StudyRecord, book: Book, around: _Around) -> Path:
    """Carry a promotion with several candidates through, from wherever it was; returns the folder of the run that stands."""
    own, name = study_folder(study.name, around.out), study.name
    with run_lease(book.folder):
        forget_cancel(book.folder)
        book = read_book(book.folder) or book  # another process may have gone on with it meanwhile
        if book.look is None:
            runner = make_engine(around.engine, stop=lambda: cancel_requested(book.folder))
            with contextlib.closing(runner):
                book = look_again(
                    study, book, runner, study_folder=own, storage=around.storage, trials_dir=around.out, **around.here
                )
        while (turn := next_run(study, book, own, **around.here)) is not None:
            book, promotion = turn.book, turn.promotion
            folder, failure = Path(turn.attempt.folder), ""
            try:
                if turn.job is not None:
                    _in_full(name, turn.job, promotion, around)
            except TrialFailure as error:
                if error.kind not in YIELDING:
                    raise
                failure = str(error)
            book = judge_run(book, turn.attempt, failure, study_folder=own, storage=around.storage, say=around.say)
            if book.closed == "ended":
                return folder
        book = book.noted(closed="given up")
        raise TrialFailure("error", given_up(book))


def _in_full(study: str, job: Job, promotion: Promotion | None, around: _Around) -> Path:
    """Carry out a promotion's job, a new one's or (without `promotion`) one to be gone on with; returns the run's folder."""
    record = read_study(study, storage=around.storage, out=around.out)
    retries = Recipe.from_resolved(record.recipe).search.retries
    folder, total, in_full = Path(job.folder), run_tokens(job), promotion is None

    def report(step: JobProgress) -> None:
        if in_full:  # and not of a replica
            around.on_progress(step, total)

    with contextlib.ExitStack() as stack:
        job = stack.enter_context(claimed(job, resume=promotion is None))
        runner = make_engine(around.engine, report, stop=lambda: cancel_requested(folder))
        stack.enter_context(contextlib.closing(runner))
        check_room(runner, job, around.say)  # now, since a promotion that cannot begin is not one to be remembered
        if promotion is None:
            around.say(f"going on with {folder}")
        else:
            around.say(promotion.describe())
            if not record_promotion(promotion, study_folder(study, around.out), around.storage):
                around.say(f"the study {study!r} is at work in another process: the promotion is noted in {folder} alone")
            where: dict[str, Any] = {"study_folder": study_folder(study, around.out), "trials_dir": around.out}
            job = before_run(record, promotion, job, runner, storage=around.storage, say=around.say, **where)
        in_full = True
        around.on_run(folder)
        carry_out(job, runner, retries=retries, say=around.say, storage=around.storage, trials_dir=around.out)
        for text in check_prediction(folder):
            around.say(text)
    report_run(folder)
    return folder


def promote_winner(
    study: str,
    *,
    storage: str | None = None,
    out: str | Path = TRIALS,
    engine: EngineSettings | None = None,
    say: Callable[[str], None] = lambda text: None,
    on_run: Callable[[Path], object] = lambda folder: None,
    on_progress: Callable[[JobProgress, int], None] = lambda progress, total_tokens: None,
) -> Path:
    """What a search does at its end: `promote` as its space file says; goes on with that run, or leaves it, if there is one."""
    proposed = propose_promotion(study, storage=storage, out=out, engine=engine)
    if proposed.retest is not None:
        record = read_study(study, storage=storage, out=out)
        wanted = preference(Recipe.from_resolved(record.recipe).promote)
        book = new_book(record, study_folder(study, out), wanted, proposed.retest, proposed.steps, None)
        known = read_book(book.folder)
        if known is not None and known.closed:
            return _already(known, say)
        begun = None if known is None else known.folder
        where: dict[str, Any] = {"storage": storage, "out": out, "engine": engine, "say": say}
        where |= {"on_run": on_run, "on_progress": on_progress}
        return promote(study, run=begun, resume=begun is not None, **where)
    state = run_state(proposed.folder)
    if state == "ended":
        say(f"trial {proposed.pick.trial} was promoted before: {proposed.folder}")
        return proposed.folder
    return promote(
        study,
        storage=storage,
        out=out,
        run=proposed.folder,
        resume=state == "begun",
        engine=engine,
        say=say,
        on_run=on_run,
        on_progress=on_progress,
    )


def _already(book: Book, say: Callable[[str], None]) -> Path:
    """The run of a promotion that was carried through before. Raises TrialFailure where none of its runs stands."""
    if book.closed == "given up":
        raise TrialFailure("error", given_up(book))
    stands = next(each for each in book.runs if each.state == "ended")
    say(f"trial {stands.trial} was promoted before: {stands.folder}")
    return Path(stands.folder)
