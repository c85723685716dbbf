"""Progress in words and as JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest

from autonas.reporting.front import build_report
from autonas.reporting.progress import (
    agreement_text,
    agreements,
    control_text,
    hypervolume_per_hour,
    hypervolume_text,
    near_text,
    progress_json,
    prospect_text,
)
from autonas.reporting.report import Report
from tests.reporting.studies import make_study, make_waiting_study, with_controls


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report(with_controls(make_waiting_study(trials=40, survivors=40, repeats=2)))


def test_the_numbers_are_those_of_the_report(report: Report) -> None:
    last, control, prospect = report.hypervolume[-1], report.control, report.prospect
    assert control is not None and control.value is not None and prospect is not None
    assert f"{last.value:.3f} ({last.low:.3f}–{last.high:.3f})" in hypervolume_text(report)
    assert f"{report.hypervolume_measured:.3f}" in hypervolume_text(report)
    assert f"{control.value:.3f}" in control_text(report)
    share = 100 * prospect.gain / prospect.value
    assert f"raise it by {share:.{0 if share > 9.9 else 1}f} %" in prospect_text(report)
    assert "held" in prospect_text(report)
    assert hypervolume_per_hour(report) == pytest.approx(last.value * 3600 / report.train_seconds)
    assert all(str(standing.number) in near_text(report.near) for standing in report.near[:8])


def test_the_json_holds_everything_and_survives_json(report: Report) -> None:
    told = json.loads(json.dumps(progress_json(report)))
    assert told["hypervolume_low"] <= told["hypervolume"] <= told["hypervolume_high"]
    assert set(told["reference"]) == {"val_loss", "params", "latency", "collapse_rate"} and told["reference_fixed"] is True
    assert told["random_control"]["low"] <= told["random_control"]["value"] <= told["random_control"]["high"]
    assert told["forecast"]["low"] <= told["forecast"]["gain"] <= told["forecast"]["high"]
    assert [entry["trial"] for entry in told["near_front"]] == [standing.number for standing in report.near]
    assert all(entry["within_noise"] is True for entry in told["near_front"])
    assert told["random_control"]["stopped"] == 0
    (pair,) = told["rank_agreement"]
    assert (pair["rung"], pair["later"]) == (0, 1) and pair["low"] <= pair["kendall_tau"] <= pair["high"]


def test_what_cannot_be_told_is_said_so_or_left_out() -> None:
    few = build_report(make_study(survivors=4, repeats=0))
    assert prospect_text(few) == "Too little has happened to tell what more training would buy."
    assert control_text(few) == ""
    (pair,) = agreements(few)
    assert agreement_text(pair) == "cannot be told from 4 trials"
    empty = build_report(dataclasses.replace(make_study(), trials=(), timeline=()))
    assert hypervolume_text(empty) == control_text(empty) == prospect_text(empty) == near_text(empty.near) == ""
    told = json.loads(json.dumps(progress_json(empty)))
    assert told["hypervolume"] is None and told["forecast"] is None and told["near_front"] == [] and told["reference"] == {}


def test_a_few_random_trials_are_called_too_few() -> None:
    study = make_study(trials=20, survivors=20, infeasible=0, failures=0)
    for count, words in ((1, "Only one trial was drawn"), (3, "Only 3 trials were drawn")):
        trials = tuple(dataclasses.replace(t, sampler_state={"control": t.number < count}) for t in study.trials)
        assert control_text(build_report(dataclasses.replace(study, trials=trials))).startswith(words)


def test_what_became_of_random_trials_is_said() -> None:
    study = make_study(trials=30, survivors=12, infeasible=0, failures=0, repeats=0)
    text = control_text(build_report(with_controls(study, every=1)))
    assert "95 % interval" in text and "scaled up from 30 random trials" in text
    assert "18 were stopped by this search's own scheduler" in text and "with their cost and as finding nothing" in text
    assert "stopped" not in control_text(build_report(with_controls(make_study(trials=20, survivors=20))))
    # Five that finished, one stopped, one that turned out infeasible after its training.
    kept = [t for t in study.trials if t.state == "complete"][:5]
    stopped, infeasible = [t for t in study.trials if t.state == "stopped"][:2]
    drawn = {t.number for t in (*kept, stopped, infeasible)}
    trials = tuple(
        dataclasses.replace(
            t,
            sampler_state={"control": t.number in drawn},
            state="infeasible" if t.number == infeasible.number else t.state,
        )
        for t in study.trials
    )
    text = control_text(build_report(dataclasses.replace(study, trials=trials)))
    assert "1 was stopped by this search's own scheduler and 1 failed, was infeasible or left unscored" in text


def test_random_trials_of_which_none_finished_are_not_called_too_few() -> None:
    study = make_study(trials=30, survivors=12, infeasible=0, failures=0, repeats=0)
    trials = tuple(dataclasses.replace(t, sampler_state={"control": t.state == "stopped"}) for t in study.trials)
    text = control_text(build_report(dataclasses.replace(study, trials=trials)))
    assert (
        "cannot be told: of 18 trials drawn at random, none was scored at the last rung" in text and "18 were stopped" in text
    )


def test_with_as_many_tokens_is_said_where_they_are_told() -> None:
    report = build_report(with_controls(make_waiting_study(trials=30, survivors=12)))
    assert report.control is not None and report.control.by_tokens is not None
    assert f"with as many tokens {report.control.by_tokens.value:.3f}" in control_text(report)


def test_a_forecast_that_failed_is_said_to_have(report: Report) -> None:
    assert report.prospect is not None
    failed = dataclasses.replace(report.prospect, foretold_low=0.0, foretold_high=0.001, came=0.1)
    assert prospect_text(dataclasses.replace(report, prospect=failed)).endswith("came, so it did not hold.")


def test_a_long_list_of_near_trials_is_cut(report: Report) -> None:
    near = [dataclasses.replace(report.standings[-1], within_noise=True)] * 12
    assert near_text(near).endswith("and 4 more.")
