"""A promotion with several candidates, step by step: the second look, the run of the likeliest best, and of who comes after.

Each step reads the book (book.py) and writes it, so that a promotion that was killed at any moment goes on by the same steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas.engine.base import Engine
from autonas.errors import StudyError, TrialFailure
from autonas.promotion.book import Attempt, Book, new_book, read_book
from autonas.promotion.evidence import Judged, second_look
from autonas.promotion.execution import check_room, record_failure, told_of_cancelling
from autonas.promotion.promote import Promotion, plan_promotion, resumed_job
from autonas.promotion.retest import run_retest
from autonas.promotion.select import Pick, Preference
from autonas.promotion.succession import why_next
from autonas.recipe import Recipe
from autonas.reporting.front import build_report
from autonas.run_folder import read_evaluation, run_state, write_json
from autonas.study.files import cancel_requested
from autonas.trial import Job, StudyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The full run that comes next: its job (None: it has ended and is to be judged), and its promotion where it begins."""

    book: Book
    attempt: Attempt
    job: Job | None
    promotion: Promotion | None


def begin_book(study: StudyRecord, study_folder: Path, promotion: Promotion, wanted: Preference, run: Path | None) -> Book:
    """The book of a promotion that is to begin, or that has begun its second look and no run yet. Writes nothing.

    Raises:
        StudyError: it was carried through before, or has begun its run; or the folder holds another.
    """
    assert promotion.retest is not None
    book = new_book(study, study_folder, wanted, promotion.retest, promotion.steps, run)
    known = read_book(book.folder)
    if known is not None and known.closed:
        runs = ", ".join(each.folder for each in known.runs) or "none"
        raise StudyError(
            f"{book.folder} holds this promotion, carried through (its runs: {runs}). Give another --out for another run."
        )
    if known is not None and known.runs:
        raise StudyError(f"{known.runs[-1].folder} holds a run already. Go on with it (--resume) or give another --out.")
    if known is None and run is not None and run_state(run) != "absent":
        raise StudyError(f"{run} holds a run already. Go on with it (--resume) or give another --out.")
    return known or book


def look_again(
    study: StudyRecord,
    book: Book,
    engine: Engine,
    *,
    study_folder: Path,
    storage: str | None,
    trials_dir: str | Path,
    device: str,
    threads: int,
    say: Callable[[str], None],
) -> Book:
    """Train the candidates again, and write down who is the likeliest best.

    Raises:
        StudyError: the study has gone on since, and a candidate is not on its front any more.
        TrialFailure: no fault of a candidate (workers lost, no memory, cancelled): it can be gone on with.
    """
    recipe = Recipe.from_resolved(study.recipe)
    report = build_report(study)
    front = [standing.number for standing in report.front]
    gone = [pick.trial for pick in book.retest.candidates if pick.trial not in front]
    if gone:
        raise StudyError(
            f"{book.folder}: trial {gone[0]} is not on the front any more, since the search has gone on. "
            "Leave out --resume to begin a new promotion, and remove this folder."
        )
    like = plan_promotion(
        study,
        book.wanted,
        study_folder=study_folder,
        steps=book.steps,
        device=device,
        threads=threads,
        say=say,
        pick=book.retest.candidates[0],
    ).job
    check_room(engine, like, say)  # now, since a promotion that cannot begin is not one to be remembered
    book = book.noted()
    others = [path for path in sorted(book.folder.parent.glob("*")) if path != book.folder]
    with told_of_cancelling(dataclasses.replace(like, folder=str(book.folder)), storage=storage, trials_dir=trials_dir):
        retested = run_retest(book.retest, like, engine, recipe=recipe, folder=book.folder, others=others, say=say)
    look = second_look(report, book.retest, retested, book.wanted)
    return book.noted(look=look)


def next_run(
    study: StudyRecord, book: Book, study_folder: Path, *, device: str, threads: int, say: Callable[[str], None]
) -> Turn | None:
    """The full run to begin, to go on with or to judge; None where no candidate is left.

    Raises:
        StudyError: what is in the run's folder is not the candidate's.
        TrialFailure: the promotion was cancelled between two runs ("preempted").
    """
    assert book.look is not None
    if cancel_requested(book.folder):
        raise TrialFailure("preempted", f"the promotion in {book.folder} was cancelled; --resume goes on with it")
    attempt = book.under_way
    if attempt is None:
        trial = None if book.closed else book.next_trial()
        if trial is None:
            return None
        attempt = Attempt(trial=trial, folder=str(book.run_folder(trial, study_folder)))
        book = book.noted(runs=(*book.runs, attempt))
    folder = Path(attempt.folder)
    state = run_state(folder)
    if state == "ended":
        return Turn(book=book, attempt=attempt, job=None, promotion=None)
    if state == "begun":
        job = resumed_job(study, folder, steps=book.steps, trial=attempt.trial, device=device, threads=threads, say=say)
        return Turn(book=book, attempt=attempt, job=job, promotion=None)
    promotion = plan_promotion(
        study,
        book.wanted,
        study_folder=study_folder,
        steps=book.steps,
        run=folder,
        device=device,
        threads=threads,
        say=say,
        pick=_pick(book, attempt.trial),
        looked=_looked(book, attempt.trial),
        revised={name: seen.together for name, seen in _judged(book, attempt.trial).scores.items()},
    )
    return Turn(book=book, attempt=attempt, job=promotion.job, promotion=promotion)


def judge_run(
    book: Book, attempt: Attempt, failure: str, *, study_folder: Path, storage: str | None, say: Callable[[str], None]
) -> Book:
    """Write down how a run has ended, or `failure` where it did so badly: whether it stands, or the next takes its place.

    Raises:
        StudyError: its evaluation cannot be read.
    """
    assert book.look is not None
    folder, look = Path(attempt.folder), book.look
    why = failure or why_next(folder, attempt.trial, look, book.wanted.limits)
    if why and not failure and not book.retest.succession:
        say(f"warning: of the run in {folder}: {why}; nobody takes its place, as was asked")
        stands = True
    else:
        stands = not why
    if not failure:
        link = {**_looked(book, attempt.trial), **({"doubt": why} if why else {})}
        write_json(folder / "evaluation.json", {**read_evaluation(folder), "promotion": link})
    if stands:
        return book.ended(dataclasses.replace(attempt, state="ended", why=why), closed="ended")
    record_failure(book.study, folder, why, study_folder, storage)
    book = book.ended(dataclasses.replace(attempt, state="failed", why=why))
    following = book.next_trial()
    if following is not None:
        say(f"the run of trial {attempt.trial} makes way for trial {following}: {why}")
    return book


def given_up(book: Book) -> str:
    """That no candidate is left, and why."""
    assert book.look is not None
    out = [f"trial {each.trial} is out of the second look ({each.out})" for each in book.look.candidates if each.out]
    failed = [f"trial {each.trial}: {each.why}" for each in book.runs]
    return (
        f"no candidate of the promotion in {book.folder} is left. {'; '.join([*failed, *out])}. "
        f"Promote another by its number: autonas promote {book.study} --trial N"
    )


def _pick(book: Book, trial: int) -> Pick:
    """The candidate as a pick, whose reason begins with what the second look says, and with whose place it takes."""
    assert book.look is not None
    pick = next(pick for pick in book.retest.candidates if pick.trial == trial)
    before = [each for each in book.runs if each.state == "failed"]
    instead = [f"Trial {trial} takes the place of trial {each.trial}: {each.why.rstrip('.')}." for each in before[-1:]]
    return dataclasses.replace(pick, reason=" ".join([*instead, book.look.reason, pick.reason]))


def _judged(book: Book, trial: int) -> Judged:
    assert book.look is not None
    return next(each for each in book.look.candidates if each.trial == trial)


def _looked(book: Book, trial: int) -> dict[str, Any]:
    """What a run's record says of the second look."""
    assert book.look is not None
    judged = _judged(book, trial)
    return {
        "book": str(book.folder),
        "trial": trial,
        "probability": judged.probability,
        "seeds": book.look.seeds,
        "reason": book.look.reason,
        "order": list(book.look.order),
        "candidates": [_short(each) for each in book.look.candidates],
        "instead_of": _instead_of(book.runs, trial),
    }


def _short(judged: Judged) -> dict[str, Any]:
    return {
        "trial": judged.trial,
        "probability": judged.probability,
        "by_study": judged.by_study,
        "by_retest": judged.by_retest,
        "luck": judged.luck,
        "out": judged.out,
        "scores": {
            name: {
                part: None if score is None else [score.value, score.low, score.high]
                for part, score in (("study", seen.study), ("again", seen.again), ("together", seen.together))
            }
            for name, seen in judged.scores.items()
        },
    }


def _instead_of(runs: Sequence[Attempt], trial: int) -> list[dict[str, Any]]:
    """The runs that made way for this trial's."""
    return [
        {"trial": each.trial, "folder": each.folder, "why": each.why}
        for each in runs
        if each.state == "failed" and each.trial != trial
    ]
