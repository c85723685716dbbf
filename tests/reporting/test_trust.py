"""Which checks ran, and what they found: nothing is called checked that was not, and nothing found is left out."""

from __future__ import annotations

import dataclasses

from autonas.evaluation.plausibility import TITLES
from autonas.reporting.front import build_report
from autonas.reporting.trust import STUDY_CHECKS, checks_of, findings_by_trial, trust_rows
from autonas.trial import Finding, StudyRecord
from tests.reporting.studies import make_study


def with_outcome(study: StudyRecord, number: int, **changes: object) -> StudyRecord:
    """The study with its trial's last outcome changed."""
    trial = study.trials[number]
    last = dataclasses.replace(trial.rungs[-1], **changes)  # type: ignore[arg-type]
    trials = list(study.trials)
    trials[number] = dataclasses.replace(trial, rungs=(*trial.rungs[:-1], last))
    return dataclasses.replace(study, trials=tuple(trials))


def trained(study: StudyRecord) -> int:
    return next(trial.number for trial in study.trials if trial.state == "complete")


def test_every_check_has_a_row_with_what_it_would_catch() -> None:
    study = make_study()
    rows = trust_rows(build_report(study))
    assert [row.title for row in rows[: len(STUDY_CHECKS)]] == [TITLES[name] for name in STUDY_CHECKS]
    assert all(row.catches for row in rows)
    scored = sum(len(trial.rungs) for trial in study.trials)
    assert rows[0].found == f"passed by the models of {scored} of {scored} scored trainings" and rows[0].severity == ""


def test_a_training_without_a_leak_test_is_an_alarm() -> None:
    study = make_study()
    rows = trust_rows(build_report(with_outcome(study, trained(study), checks={})))
    assert rows[0].severity == "alarm"


def test_what_was_found_names_its_trials_and_its_severity() -> None:
    study = make_study()
    number = trained(study)
    planted = Finding(check="gap", severity="alarm", text="validation loss lies below training loss")
    other = Finding(check="some_new_check", severity="note", text="a note")
    report = build_report(with_outcome(study, number, findings=(planted, other)))
    rows = {row.title: row for row in trust_rows(report)}
    assert rows[TITLES["gap"]].severity == "alarm" and rows[TITLES["gap"]].trials == (number,)
    assert rows["Some new check"].trials == (number,)
    assert findings_by_trial(report)[str(number)][0] == ["alarm", TITLES["gap"], planted.text]


def test_a_loss_too_good_to_be_true_is_found_in_studies_that_did_not_look() -> None:
    study = make_study()
    number = trained(study)
    score = dataclasses.replace(study.trials[number].rungs[-1].scores["val_loss"], value=0.5, low=0.4, high=0.6)
    scores = {**study.trials[number].rungs[-1].scores, "val_loss": score}
    rows = {row.title: row for row in trust_rows(build_report(with_outcome(study, number, scores=scores)))}
    assert rows[TITLES["loss_floor"]].trials == (number,) and rows[TITLES["loss_floor"]].severity == "alarm"


def test_checks_are_told_with_what_they_found_and_an_empty_study_claims_nothing() -> None:
    study = make_study()
    told = checks_of(build_report(study))
    assert all(["leak", "max |Δ| 2.4e-07 <= 1e-4"] in rows for rows in told.values())
    empty = build_report(dataclasses.replace(study, trials=(), timeline=()))
    assert trust_rows(empty) == () and checks_of(empty) == {} and findings_by_trial(empty) == {}
