"""A shelf of studies on which every trial has a note and files. They are made from the ledger when they are looked at.

Optuna keeps notes, and what it knows of files, as attributes. Here these attributes are told when they are asked for, and kept
nowhere.
"""

from __future__ import annotations

import copy
import io
import json
import threading
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from autonas.dashboard.files import FILES
from autonas.dashboard.notes import full_note, trial_note
from autonas.ledger.notes import note_text
from autonas.ledger.reading import Reading
from autonas.ledger.shelf import Shelf
from autonas.trial import StudyRecord, TrialRecord

if TYPE_CHECKING:
    from _collections_abc import dict_items

_FILE = "artifacts:"  # Optuna's key of what is known of a file, before its id
_FILE_OF_TRIAL = "dashboard:artifacts:"  # the dashboard's, before the trial's id and the file's


class AnnotatedShelf(Shelf):
    """As `Shelf`, with a note for every trial, and files for those that were scored."""

    def __init__(self, out: Path, url: str | None, name: str | None = None) -> None:
        self._read: dict[int, _Read] = {}  # by study id here
        self._reading = threading.Lock()
        super().__init__(out, url, name)

    def get_all_studies(self) -> list[FrozenStudy]:
        found = super().get_all_studies()
        for study in found:
            study.system_attrs = self._annotated(study._study_id, study.system_attrs)
        return found

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._annotated(study_id, super().get_study_system_attrs(study_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = super().get_all_trials(study_id, deepcopy=False)
        with self._reading:
            records = self._take(study_id, found).trials
        annotated = [_with_files(study_id, trial, records) for trial in found if states is None or trial.state in states]
        return copy.deepcopy(annotated) if deepcopy else annotated

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        return {}  # a trial's files are told with its study: the ids of trials are unique within it only

    def trial(self, study_id: int, number: int) -> TrialRecord:
        """A trial's record, as it was when the study was last looked at.

        Raises:
            KeyError: there is no such study, or no such trial in it.
        """
        records = self._known(study_id).study.trials
        if not 0 <= number < len(records):
            raise KeyError(f"there is no trial {number}")
        return records[number]

    def _known(self, study_id: int) -> _Read:
        if study_id not in self._read:
            self.get_all_trials(study_id, deepcopy=False)
        return self._read[study_id]

    def _take(self, study_id: int, trials: list[FrozenTrial]) -> StudyRecord:
        """The study's record, of which only what has changed is read anew."""
        if study_id not in self._read:
            self._read[study_id] = _Read(self.get_study_name_from_id(study_id))
        try:
            hidden = super().get_study_system_attrs(study_id)
            return self._read[study_id].take(self.get_study_user_attrs(study_id), hidden, trials)
        except BaseException:
            del self._read[study_id]  # half of what has changed may be unread
            raise

    def _annotated(self, study_id: int, own: Mapping[str, Any]) -> dict[str, Any]:
        def note(trial_id: int) -> str | None:
            known = self._known(study_id)
            number = known.numbers.get(trial_id)
            if number is None:
                return None
            return full_note(known.study.trials[number], note_text(own, trial_id), known.note(number))

        def files(trial_id: int) -> Mapping[str, str]:
            known = self._known(study_id)
            number = known.numbers.get(trial_id)
            return {} if number is None else files_of(study_id, known.study.trials[number])

        return StudyAttributes(own, note, files)


class _Read:
    """What was read of a study, and the notes that were made of it."""

    def __init__(self, name: str) -> None:
        self._reading = Reading(name)
        self._notes: dict[int, tuple[TrialRecord, str]] = {}  # by trial: of which record, and the text
        self.numbers: dict[int, int] = {}  # of trials, by their ids
        self.study: StudyRecord

    def take(self, shown: Mapping[str, Any], hidden: Mapping[str, Any], trials: list[FrozenTrial]) -> StudyRecord:
        self.study = self._reading.take(shown, hidden, trials)
        self.numbers = {trial._trial_id: trial.number for trial in trials if trial.number < len(self.study.trials)}
        return self.study

    def note(self, number: int) -> str:
        """The trial's note, made again only when its record is another."""
        trial, known = self.study.trials[number], self._notes.get(number)
        if known is None or known[0] is not trial:
            known = self._notes[number] = (trial, trial_note(trial, self.study.recipe["objectives"]))
        return known[1]


class StudyAttributes(dict[str, Any]):
    """System attributes of a study, with a note for each of its trials that is made when it is asked for.

    Optuna Dashboard looks whether there is a version of a trial's note, and then for the note's parts among all attributes of
    the study, for one trial after another: with a note for each, that is work as the square of their number. What it goes
    through here is the study's own attributes and the note of the trial that it asked for last.
    """

    def __init__(
        self, own: Mapping[str, Any], note: Callable[[int], str | None], files: Callable[[int], Mapping[str, str]]
    ) -> None:
        super().__init__({key: value for key, value in own.items() if _trial_of(key) is None})
        self._note, self._files = note, files
        self._asked: int | None = None

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or self.get(key) is not None

    def __missing__(self, key: str) -> Any:
        if (found := self.get(key)) is None:
            raise KeyError(key)
        return found

    def get(self, key: Any, default: Any = None) -> Any:
        if super().__contains__(key) or not isinstance(key, str):
            return super().get(key, default)
        if key.startswith(_FILE_OF_TRIAL):
            trial, _, file = key.removeprefix(_FILE_OF_TRIAL).partition(":")
            return self._files(int(trial)).get(file, default) if trial.isdecimal() else default
        trial_id = _trial_of(key)
        if trial_id is None or not key.endswith((":note_ver", ":note_str:0")):
            return default
        self._asked = trial_id
        text = self._note(trial_id)
        return default if text is None else 1 if key.endswith("ver") else text

    def items(self) -> dict_items[str, Any]:
        text = None if self._asked is None else self._note(self._asked)
        return super().items() if text is None else {**self, f"dashboard:{self._asked}:note_str:0": text}.items()


class RenderedFiles:
    """An artifact store in Optuna's sense, whose files are rendered from the records when they are read."""

    def __init__(self, shelf: AnnotatedShelf) -> None:
        self._shelf = shelf

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The file.

        Raises:
            ArtifactNotFound: there is none of this id.
        """
        try:
            study_id, number, index = (int(part, 16) for part in artifact_id.split("-"))
            trial, file = self._shelf.trial(study_id, number), FILES[index]
        except (ValueError, LookupError) as error:
            raise ArtifactNotFound(f"there is no file {artifact_id}") from error
        if not file.is_there(trial):
            raise ArtifactNotFound(f"trial {number} has no {file.name}")
        return io.BytesIO(file.render(trial).encode())

    def write(self, artifact_id: str, content_body: BinaryIO) -> NoReturn:
        raise AssertionError("a reader does not write")

    def remove(self, artifact_id: str) -> NoReturn:
        raise AssertionError("a reader does not write")


def files_of(study_id: int, trial: TrialRecord) -> dict[str, str]:
    """What Optuna is told of the files of a trial, by their ids."""
    found = {}
    for index, file in enumerate(FILES):
        if file.is_there(trial):
            key = f"{study_id:x}-{trial.number:x}-{index:x}"
            found[key] = json.dumps({"artifact_id": key, "filename": file.name, "mimetype": file.type, "encoding": None})
    return found


def _with_files(study_id: int, trial: FrozenTrial, records: tuple[TrialRecord, ...]) -> FrozenTrial:
    files = files_of(study_id, records[trial.number])
    annotated = copy.copy(trial)  # the storage keeps its own
    annotated.system_attrs = {**trial.system_attrs, **{_FILE + key: told for key, told in files.items()}}
    return annotated


def _trial_of(key: str) -> int | None:
    """The id of the trial of whose note an attribute is part; None where it is of none."""
    place, _, rest = key.removeprefix("dashboard:").partition(":")
    is_note = key.startswith("dashboard:") and place.isdecimal() and rest.startswith("note_")
    return int(place) if is_note else None
