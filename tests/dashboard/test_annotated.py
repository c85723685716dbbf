"""Notes and files of trials: what Optuna Dashboard's own readers find of them, and that nothing is written for it."""

from __future__ import annotations

import contextlib
import io
import json
import random
from pathlib import Path

import pytest
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna_dashboard._note import get_note_from_system_attrs
from optuna_dashboard.artifact._backend import get_trial_artifact_meta, list_trial_artifacts

from autonas.dashboard.annotated import AnnotatedShelf, RenderedFiles, StudyAttributes
from autonas.ledger import Ledger
from autonas.ledger.notes import note_attributes
from tests.dashboard.test_serving import COMPLETE, FAILED, INFEASIBLE, LIVE, RETRY, STOPPED, fingerprints, write_study
from tests.ledger.examples import begin, outcome


@pytest.fixture
def shelf(tmp_path: Path) -> AnnotatedShelf:
    write_study("first", tmp_path)
    return AnnotatedShelf(tmp_path, None, "first")


def note_of(shelf: AnnotatedShelf, number: int) -> str:
    (trial,) = (trial for trial in shelf.get_all_trials(0, deepcopy=False) if trial.number == number)
    return str(get_note_from_system_attrs(shelf.get_all_studies()[0].system_attrs, trial._trial_id)["body"])


def test_every_trial_has_a_note_and_what_the_ledger_noted_is_in_it(shelf: AnnotatedShelf) -> None:
    notes = [note_of(shelf, number) for number in range(8)]
    assert all(notes)
    assert notes[COMPLETE].startswith("**Scored at the last rung.**") and notes[STOPPED].startswith("**Stopped early")
    assert "11.2 nats" in notes[FAILED] and f"Trial {RETRY} takes its place" in notes[FAILED]
    assert "width is 3" in notes[INFEASIBLE] and "node went away" in notes[LIVE]


def test_notes_are_found_in_any_order_and_keep_apart(shelf: AnnotatedShelf) -> None:
    attributes = shelf.get_study_system_attrs(0)
    expected = {number: note_of(shelf, number) for number in range(8)}
    ids = {trial.number: trial._trial_id for trial in shelf.get_all_trials(0)}
    order = [number for number in expected for _ in range(4)]
    random.Random(0).shuffle(order)
    for number in order:
        assert get_note_from_system_attrs(attributes, ids[number]) == {"version": 1, "body": expected[number]}
    assert "every objective is minimised" in get_note_from_system_attrs(attributes, None)["body"].lower()
    assert get_note_from_system_attrs(attributes, 99) == {"version": 0, "body": ""}


def test_each_note_is_looked_for_among_few_attributes_however_many_trials_have_one() -> None:
    kept = {key: value for i in range(200) for key, value in note_attributes({}, i, f"note {i}").items()}
    told = StudyAttributes({**kept, "own": 1}, lambda trial_id: f"note {trial_id}", lambda trial_id: {})
    for trial_id in range(200):
        assert get_note_from_system_attrs(told, trial_id) == get_note_from_system_attrs(kept, trial_id)
        assert len(told.items()) == 2, "its own and the note of one trial"


def test_a_trial_that_goes_on_has_a_new_note_and_files(shelf: AnnotatedShelf, tmp_path: Path) -> None:
    def files() -> list[str]:
        (trial,) = (trial for trial in shelf.get_all_trials(0) if trial.number == LIVE)
        return [told["filename"] for told in list_trial_artifacts({}, trial.system_attrs, trial)]

    before = note_of(shelf, LIVE)
    assert files() == []
    with contextlib.closing(Ledger.open("first", tmp_path / "first", None)) as ledger:
        ledger.finish_rung(outcome(LIVE, 0))
        begin(ledger)
    assert files() == ["curve.svg", "curve.csv", "samples.txt"]
    assert note_of(shelf, LIVE) != before and note_of(shelf, 8)


def test_files_are_found_by_the_dashboard_and_rendered_and_belong_to_one_trial(shelf: AnnotatedShelf) -> None:
    store = RenderedFiles(shelf)
    attributes = shelf.get_study_system_attrs(0)
    for trial in shelf.get_all_trials(0):
        told = list_trial_artifacts(attributes, trial.system_attrs, trial)
        assert bool(told) == (trial.number in (0, 1, 2, STOPPED))
        for file in told:
            assert get_trial_artifact_meta(shelf, 0, trial._trial_id, file["artifact_id"]) == file
            assert get_trial_artifact_meta(shelf, 0, trial._trial_id + 1, file["artifact_id"]) is None
            with store.open_reader(file["artifact_id"]) as content:
                assert content.read().decode()
    for wrong in ("0-0-9", "0-63-0", "9-0-0", "0", "0-0-0-0", "ff-", f"0-{FAILED:x}-0"):
        with pytest.raises(ArtifactNotFound):
            store.open_reader(wrong)
    with pytest.raises(AssertionError, match="does not write"):
        store.write("0-0-0", io.BytesIO())
    with pytest.raises(AssertionError, match="does not write"):
        store.remove("0-0-0")


@pytest.mark.parametrize("in_database", [False, True])
def test_nothing_is_written_and_the_storage_keeps_its_own(tmp_path: Path, in_database: bool) -> None:
    url = f"sqlite:///{tmp_path}/studies.db" if in_database else None
    write_study("first", tmp_path, url)
    before = fingerprints(tmp_path)
    shelf = AnnotatedShelf(tmp_path, url, "first")
    for _ in range(2):
        for trial in shelf.get_all_trials(0, deepcopy=False):
            note_of(shelf, trial.number)
    storage, inner = shelf._place(0)
    kept = [key for trial in storage.get_all_trials(inner, deepcopy=False) for key in trial.system_attrs]
    assert not [key for key in kept if key.startswith("artifacts:")]
    shelf.close()
    assert fingerprints(tmp_path) == before


def test_of_several_studies_each_has_its_own_notes(tmp_path: Path) -> None:
    write_study("first", tmp_path)
    write_study("second", tmp_path)
    with contextlib.closing(Ledger.open("second", tmp_path / "second", None)) as ledger:
        ledger.finish_rung(outcome(LIVE, 0))
    shelf = AnnotatedShelf(tmp_path, None)
    names = shelf.names()
    attributes = {name: shelf.get_study_system_attrs(study_id) for name, study_id in names.items()}
    bodies = {name: get_note_from_system_attrs(attributes[name], LIVE)["body"] for name in names}
    assert "| 0 | 12 |" in bodies["second"] and "| 0 | 12 |" not in bodies["first"]
    ids = {
        json.loads(told)["artifact_id"]
        for study_id in names.values()
        for trial in shelf.get_all_trials(study_id)
        for key, told in trial.system_attrs.items()
        if key.startswith("artifacts:")
    }
    assert len(ids) == 3 * (4 + 5)
