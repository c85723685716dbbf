"""The book of a promotion with several candidates: who they are, what the second look found, which of them was trained in full.

It is `promotion.json` in a folder of its own, `promotions/` in the study's, since whose the full run is, is known only after
the second look. It is written anew, whole, after each step, so that a promotion that was killed goes on where it was.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from autonas.errors import StudyError, resource_error
from autonas.promotion.evidence import SecondLook
from autonas.promotion.retest import Retest
from autonas.promotion.select import Preference
from autonas.run_folder import write_json
from autonas.trial import StudyRecord, from_json, to_json

FOLDER = "promotions"
RECORD = "promotion.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A candidate's full run: under way, or how it ended; `why` it made way for the next."""

    trial: int
    folder: str
    state: Literal["begun", "ended", "failed"] = "begun"
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A promotion with several candidates, as far as it has come."""

    study: str
    steps: int
    wanted: Preference
    retest: Retest
    run: str | None  # the folder asked for; None: one in the study's `runs/`
    begun_at: str
    look: SecondLook | None = None
    runs: tuple[Attempt, ...] = ()
    closed: Literal["", "ended", "given up"] = ""
    folder: Path = field(default=Path(), compare=False)

    @property
    def under_way(self) -> Attempt | None:
        """The full run that was begun and has not ended."""
        return next((each for each in self.runs if each.state == "begun"), None)

    def next_trial(self) -> int | None:
        """The candidate whose turn it is; None when all that may have one have had it."""
        assert self.look is not None
        been = {each.trial for each in self.runs}
        order = self.look.order
        if self.wanted.trial is not None:
            order = tuple(trial for trial in order if trial == self.wanted.trial)
        elif not self.retest.succession:
            order = order[:1]
        return next((trial for trial in order if trial not in been), None)

    def run_folder(self, trial: int, study_folder: Path) -> Path:
        """Where this candidate's full run is: in the folder asked for or, after the first, beside it."""
        pick = next(pick for pick in self.retest.candidates if pick.trial == trial)
        if self.run is None:
            return study_folder / "runs" / f"{trial}-{pick.spec.fingerprint[:8]}-{self.steps}"
        return Path(self.run) if not self.runs else Path(f"{self.run}-{trial}")

    def is_in(self, path: Path) -> bool:
        """Whether `path` is the book's folder, or that of a run of it."""
        own = [self.folder, *(Path(each.folder) for each in self.runs), *([] if self.run is None else [Path(self.run)])]
        return path.resolve() in [each.resolve() for each in own]

    def noted(self, **changes: Any) -> Book:
        """The book with changes, written down. Raises ResourceError."""
        book = dataclasses.replace(self, **changes)
        values = {name: value for name, value in to_json(book).items() if name != "folder"}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise resource_error(error, self.folder) from error
        write_json(self.folder / RECORD, values)
        return book

    def ended(self, attempt: Attempt, **changes: Any) -> Book:
        """The book with this run's end written down."""
        return self.noted(runs=tuple(attempt if each.folder == attempt.folder else each for each in self.runs), **changes)


def new_book(study: StudyRecord, study_folder: Path, wanted: Preference, retest: Retest, steps: int, run: Path | None) -> Book:
    """The book of this promotion, not yet written. The same promotion of the same study has the same folder."""
    numbers = [pick.trial for pick in retest.candidates]
    asked: Mapping[str, Any] = {
        "wanted": to_json(wanted),
        "candidates": [(pick.trial, pick.spec.fingerprint) for pick in retest.candidates],
        "seeds": retest.seeds,
        "succession": retest.succession,
        "run": None if run is None else str(run),
        "begun": study.attributes.get("started_at"),
    }
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
    return Book(
        study=study.name,
        steps=steps,
        wanted=wanted,
        retest=retest,
        run=None if run is None else str(run),
        begun_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        folder=study_folder / FOLDER / f"{'-'.join(map(str, numbers))}-{steps}-{digest}",
    )


def read_book(folder: Path) -> Book | None:
    """The book in `folder`; None where there is none.

    Raises:
        StudyError: it cannot be read.
    """
    try:
        values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return dataclasses.replace(from_json(Book, values), folder=folder)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise StudyError(
            f"{folder / RECORD}: cannot be read ({error}). Restore it, or remove the folder and promote again."
        ) from error


def books(study_folder: Path) -> list[Book]:
    """All promotions with several candidates that a study's folder knows of. Raises StudyError."""
    found = (read_book(path.parent) for path in sorted((study_folder / FOLDER).glob(f"*/{RECORD}")))
    return [book for book in found if book is not None]
