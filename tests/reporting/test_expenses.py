"""What a study was spent on: every second counted once, by what became of the trial."""

from __future__ import annotations

import dataclasses

import pytest

from autonas.cost import training_flops_per_token
from autonas.reporting.expenses import PURPOSES, WAITING, expenses, expenses_text
from autonas.reporting.front import build_report
from autonas.reporting.timeline import timeline
from autonas.trial import Failure, StudyRecord
from tests.reporting.studies import make_study, make_waiting_study, without_spans


def with_tokens(study: StudyRecord) -> StudyRecord:
    """The study with the tokens that each job trained."""
    trials = tuple(
        dataclasses.replace(t, rungs=tuple(dataclasses.replace(o, new_tokens=1000 + o.rung) for o in t.rungs))
        for t in study.trials
    )
    return dataclasses.replace(study, trials=trials)


@pytest.mark.parametrize("repeats", [0, 2])
def test_all_training_is_counted_once(repeats: int) -> None:
    report = build_report(with_tokens(make_study(trials=20, repeats=repeats)))
    found = {expense.purpose: expense for expense in expenses(report)}
    others = ("learning-rate calibration", "timing before training", "failed jobs", WAITING)
    trained = [name for name in found if name not in others]
    assert sum(found[name].seconds for name in trained) == pytest.approx(report.train_seconds)
    assert sum(found[name].tokens for name in trained) == report.train_tokens
    flops = sum(
        training_flops_per_token(trial.spec) * outcome.new_tokens
        for trial in report.study.trials
        if trial.spec is not None
        for outcome in trial.rungs
    )
    assert sum(found[name].flops for name in trained) == pytest.approx(flops)
    assert list(found) == [purpose for purpose in PURPOSES if purpose in found]


def test_the_purpose_is_what_became_of_the_trial() -> None:
    study = make_study()
    report = build_report(study)
    found = {expense.purpose: expense for expense in expenses(report)}
    dominated = [standing for standing in report.standings if not standing.on_front]
    assert found["trials on the front"].jobs == 2 * len(report.front)
    assert found["dominated trials"].jobs == 2 * len(dominated)
    assert found["stopped trials"].jobs == len(report.stopped)
    assert found["declared repeats"].jobs == 2 * sum(trial.repeat_of is not None for trial in study.trials)
    assert (found["failed jobs"].jobs, found["failed jobs"].seconds) == (1, 6.0)


def test_a_job_whose_worker_went_away_is_counted_without_its_time() -> None:
    study = make_study(failures=0)
    lost = Failure(kind="preempted", message="its worker went away")
    trials = tuple(dataclasses.replace(t, retries=(lost,)) if t.number == 0 else t for t in study.trials)
    found = {e.purpose: e for e in expenses(build_report(dataclasses.replace(study, trials=trials)))}
    assert (found["failed jobs"].jobs, found["failed jobs"].untold, found["failed jobs"].seconds) == (1, 1, 0.0)


def test_a_study_of_an_earlier_version_tells_of_its_training_alone() -> None:
    report = build_report(without_spans(make_study()))
    found = {expense.purpose: expense for expense in expenses(report)}
    assert "timing before training" not in found
    calibration = found["learning-rate calibration"]
    assert (calibration.jobs, calibration.untold, calibration.seconds, calibration.tokens) == (6, 6, 0.0, 0)
    trained = [e for name, e in found.items() if name not in ("learning-rate calibration", "failed jobs", WAITING)]
    assert sum(e.seconds for e in trained) == pytest.approx(report.train_seconds)


def with_waiting(study: StudyRecord, each_s: float) -> StudyRecord:
    """The study with spans that are longer than what its trainings took, by this in each."""
    trials = tuple(
        dataclasses.replace(
            trial,
            rungs=tuple(
                dataclasses.replace(o, span=o.span and dataclasses.replace(o.span, seconds=o.span.seconds + each_s))
                for o in trial.rungs
            ),
        )
        for trial in study.trials
    )
    return dataclasses.replace(study, trials=trials)


@pytest.mark.parametrize("each_s", [0.0, 0.001, 2.5, 40.0])
@pytest.mark.parametrize("study", [make_study(), make_waiting_study(repeats=2)], ids=["jobs of all kinds", "waiting trials"])
def test_the_rows_add_up_to_the_time_at_work(study: StudyRecord, each_s: float) -> None:
    report = build_report(with_waiting(study, each_s))
    found, lanes = expenses(report), timeline(report.study)
    assert lanes is not None
    # Of the calibration's points here, spans and seconds are the same.
    assert sum(expense.seconds for expense in found) == pytest.approx(lanes.busy_s, abs=0.5)
    jobs = sum(len(trial.rungs) for trial in study.trials)
    waited = {expense.purpose: expense for expense in found}.get(WAITING)
    if each_s < 1:
        assert waited is None and "less than 0.5 s in all" in expenses_text(report)
    else:
        assert waited is not None and waited.seconds == pytest.approx(jobs * each_s) and waited.jobs == 0
        assert "a row of its own" in expenses_text(report)
    assert sum(expense.jobs for expense in found) == len(lanes.segments)
    assert expenses_text(report).endswith("at work.")


def test_what_cannot_add_up_is_said_not_to() -> None:
    study = with_waiting(make_study(), 3.0)
    report = build_report(without_spans(study))
    assert "cannot be told, since none of them has left its span" in expenses_text(report)
    assert WAITING not in {expense.purpose for expense in expenses(report)}
    lost = dataclasses.replace(study.trials[0], rungs=tuple(dataclasses.replace(o, span=None) for o in study.trials[0].rungs))
    some = build_report(dataclasses.replace(study, trials=(lost, *study.trials[1:])))
    assert f" {len(lost.rungs)} left no span" in expenses_text(some) and "add up" not in expenses_text(some)
    assert expenses_text(build_report(dataclasses.replace(study, trials=(), attributes={}))) == ""
