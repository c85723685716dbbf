"""Which checks ran, and what they found: nothing is called checked that was not, and nothing found is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest

from autonas.evaluation.plausibility import TITLES
from autonas.reporting.front import build_report
from autonas.reporting.trust import (
    CORPUS_CHECKS,
    RUNG_CHECKS,
    STUDY_CHECKS,
    TRAINING_CHECKS,
    TrustRow,
    checks_of,
    findings_by_trial,
    trust_rows,
)
from autonas.trial import Finding, StudyRecord
from tests.reporting.studies import make_study

# What a worker of this version writes beside the leak test (worker.py, held_out.py); tests/test_worker.py holds that it does.
RECORDED: Mapping[str, str] = {
    "leak": "max |Δ| 2.4e-07 <= 1e-4",
    "watch": "steps 1 to 1,350: constant loss, rising loss, gradient norm",
    "compression": "xz with training text in front: 3.506 nats a token",
    "copies": "71 validation documents held against 1,385 of training",
    "coding tasks": "20 looked for in 1,385 documents of training",
    "gap": "validation 5.270 less training 4.990: +0.144 ± 0.048 nats beyond what the texts explain",
    "content": "names, words, keywords and numbers: 5.827 nats, 70% of tokens",
}


def with_outcome(study: StudyRecord, number: int, **changes: object) -> StudyRecord:
    """The study with its trial's last outcome changed."""
    trial = study.trials[number]
    last = dataclasses.replace(trial.rungs[-1], **changes)  # type: ignore[arg-type]
    trials = list(study.trials)
    trials[number] = dataclasses.replace(trial, rungs=(*trial.rungs[:-1], last))
    return dataclasses.replace(study, trials=tuple(trials))


def with_checks(study: StudyRecord, checks: Mapping[str, str]) -> StudyRecord:
    """The study with these checks in every outcome."""
    trials = tuple(
        dataclasses.replace(trial, rungs=tuple(dataclasses.replace(outcome, checks=checks) for outcome in trial.rungs))
        for trial in study.trials
    )
    return dataclasses.replace(study, trials=trials)


def trained(study: StudyRecord) -> int:
    return next(trial.number for trial in study.trials if trial.state == "complete")


def scored(study: StudyRecord) -> int:
    return sum(len(trial.rungs) for trial in study.trials)


def rows_of(study: StudyRecord) -> dict[str, TrustRow]:
    return {row.title: row for row in trust_rows(build_report(study))}


def row_of(study: StudyRecord, check: str) -> TrustRow:
    return rows_of(study)[TITLES[check]]


def test_every_check_has_a_row_with_what_it_would_catch() -> None:
    rows = trust_rows(build_report(with_checks(make_study(), RECORDED)))
    assert [row.title for row in rows] == [TITLES[name] for name in STUDY_CHECKS]
    assert all(row.catches and row.ran and row.found for row in rows)
    assert not [row for row in rows if row.severity]


def test_no_check_is_claimed_that_no_study_runs() -> None:
    assert not {"corpus_repetition", "corpus_balance", "diversity", "early_stopping"} & set(STUDY_CHECKS)


def test_what_every_training_records_is_told_of_all_and_what_none_records_of_none() -> None:
    study = make_study()
    full, bare = with_checks(study, RECORDED), with_checks(study, {"leak": RECORDED["leak"]})
    for check in TRAINING_CHECKS[1:]:
        if check == "smoothing_floor":
            continue
        told = row_of(full, check)
        assert (told.ran, told.found) == (f"all {scored(study)} scored trainings", "nothing"), check
        if check != "loss_floor":  # whose baselines are in the outcomes of all versions
            unknown = row_of(bare, check)
            assert (
                unknown.ran == f"none of {scored(study)} scored trainings: not recorded" and unknown.found == "cannot be told"
            )
    assert row_of(bare, "loss_floor").found == "nothing"
    for check in CORPUS_CHECKS:
        assert row_of(full, check).ran.startswith("the corpus of all trainings: ") and row_of(full, check).found == "nothing"
        assert (row_of(bare, check).ran, row_of(bare, check).found) == ("not recorded", "cannot be told")


@pytest.mark.parametrize("check", [name for name in TRAINING_CHECKS if name != "smoothing_floor"])
def test_a_row_falls_silent_by_as_many_trainings_as_lose_their_record(check: str) -> None:
    """Take the record away from one training after another: the count follows, and what was found stays."""
    study = with_checks(make_study(repeats=0), RECORDED)
    numbers = [trial.number for trial in study.trials if trial.rungs]
    total = scored(study)
    for gone, number in enumerate(numbers[:3], 1):
        study = with_outcome(study, number, checks={}, baselines={})
        row = row_of(study, check)
        assert row.ran == f"{total - gone} of {total} scored trainings; not recorded in {gone}"
    study = with_outcome(study, numbers[0], findings=(Finding(check=check, severity="alarm", text="found"),))
    row = row_of(study, check)
    assert row.ran == f"{total - 2} of {total} scored trainings; not recorded in 2", "who found something has looked"
    assert row.trials == (numbers[0],) and row.severity == "alarm"


def test_a_training_too_short_for_a_check_or_a_gap_not_measured_is_said_in_words() -> None:
    study = make_study()
    short = with_checks(study, {**RECORDED, "watch": "steps 1 to 40: constant loss"})
    assert row_of(short, "constant_loss").found == "nothing"
    assert row_of(short, "gradient_norm").ran == f"none of {scored(study)} scored trainings: too short for it"
    assert row_of(short, "gradient_norm").found == "does not apply"
    unmeasured = with_checks(study, {**RECORDED, "gap": "not measured: too few validation documents or windows shown"})
    assert row_of(unmeasured, "gap").ran.endswith(": too few validation documents or windows shown")
    assert row_of(study, "smoothing_floor").ran == f"none of {scored(study)} scored trainings: without label smoothing"


def test_the_smoothing_floor_is_of_smoothed_models_alone() -> None:
    study = with_checks(make_study(repeats=0), {**RECORDED, "watch": RECORDED["watch"] + ", smoothing floor"})
    number = trained(study)
    spec = study.trials[number].spec
    assert spec is not None
    trials = list(study.trials)
    trials[number] = dataclasses.replace(trials[number], spec=dataclasses.replace(spec, label_smoothing=0.1))
    row = row_of(dataclasses.replace(study, trials=tuple(trials)), "smoothing_floor")
    own, total = len(trials[number].rungs), scored(study)
    assert row.ran == f"{own} of {total} scored trainings; without label smoothing in {total - own}" and row.found == "nothing"


def test_checks_between_rungs_count_the_steps_that_have_both_ends() -> None:
    study = make_study(repeats=0)
    complete = [trial.number for trial in study.trials if trial.state == "complete"]
    row = row_of(study, "constant")
    assert row.ran == f"{len(complete)} steps from rung to rung of {len(complete)} trials" and row.found == "nothing"
    assert row_of(study, "collapse_while_falling").found == "cannot be told", "collapse is measured at the last rung alone"
    without = with_outcome(study, complete[0], documents=None)
    assert row_of(without, "constant").ran.startswith(f"{len(complete) - 1} steps")
    assert set(RUNG_CHECKS) <= set(STUDY_CHECKS)


def test_a_training_without_a_leak_test_is_an_alarm() -> None:
    study = make_study()
    row = trust_rows(build_report(with_outcome(study, trained(study), checks={})))[0]
    assert row.severity == "alarm" and row.found == f"passed by {scored(study) - 1}"
    whole = trust_rows(build_report(study))[0]
    assert whole.severity == "" and whole.ran == f"all {scored(study)} scored trainings"
    none = trust_rows(build_report(with_checks(study, {})))[0]
    assert none.severity == "alarm" and none.found == "cannot be told"


def test_what_was_found_names_its_trials_and_its_severity() -> None:
    study = make_study()
    number = trained(study)
    planted = Finding(check="gap", severity="alarm", text="validation loss lies below training loss")
    other = Finding(check="some_new_check", severity="note", text="a note")
    report = build_report(with_outcome(study, number, findings=(planted, other)))
    rows = {row.title: row for row in trust_rows(report)}
    assert rows[TITLES["gap"]].severity == "alarm" and rows[TITLES["gap"]].trials == (number,)
    assert rows["Some new check"].trials == (number,) and rows["Some new check"].ran == "known only where it found something"
    assert findings_by_trial(report)[str(number)][0] == ["alarm", TITLES["gap"], planted.text]


def test_what_stands_in_the_corpus_is_told_once_and_of_no_trial() -> None:
    study = with_checks(make_study(repeats=0), RECORDED)
    copied = Finding(check="held_out_in_training", severity="alarm", text="10 of 38 documents stand in training")
    for trial in study.trials:
        if trial.rungs:
            study = with_outcome(study, trial.number, findings=(copied,))
    row = row_of(study, "held_out_in_training")
    assert row.found == copied.text and row.trials == () and row.severity == "alarm"


def test_a_loss_too_good_to_be_true_is_found_in_studies_that_did_not_look() -> None:
    study = make_study()
    number = trained(study)
    score = dataclasses.replace(study.trials[number].rungs[-1].scores["val_loss"], value=0.5, low=0.4, high=0.6)
    scores = {**study.trials[number].rungs[-1].scores, "val_loss": score}
    row = row_of(with_outcome(study, number, scores=scores), "loss_floor")
    assert row.trials == (number,) and row.severity == "alarm"


def test_checks_are_told_with_what_they_found_and_an_empty_study_claims_nothing() -> None:
    study = make_study()
    told = checks_of(build_report(study))
    assert all(["leak", "max |Δ| 2.4e-07 <= 1e-4"] in rows for rows in told.values())
    empty = build_report(dataclasses.replace(study, trials=(), timeline=()))
    assert trust_rows(empty) == () and checks_of(empty) == {} and findings_by_trial(empty) == {}
