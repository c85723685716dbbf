"""Why trials were stopped: what is said is true of the ledger, for every trial, and no more than it shows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from autonas.reporting.front import build_report
from autonas.reporting.report import Report
from autonas.reporting.stopping import rule_text, stop_text, stops, text_of
from autonas.trial import Score, StudyRecord
from tests.reporting.studies import OBJECTIVES, make_study

JUDGED = ("val_loss", "params", "latency")  # collapse is judged at the last rung alone


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report(make_study(trials=40, survivors=12))


def placed(study: StudyRecord, scores: dict[int, tuple[float, float, float]]) -> StudyRecord:
    """The study with these losses at rung 0, parameters and latencies."""
    trials = []
    for trial in study.trials:
        if trial.number in scores:
            loss, params, latency = scores[trial.number]
            first = trial.rungs[0]
            first = dataclasses.replace(first, scores={**first.scores, "val_loss": Score.exact(loss, "nats/token")})
            known = {"params": Score.exact(params, "parameters"), "latency": Score.exact(latency, "ms/token")}
            trial = dataclasses.replace(trial, rungs=(first, *trial.rungs[1:]), scores={**trial.scores, **known})
        trials.append(trial)
    return dataclasses.replace(study, trials=tuple(trials))


def four() -> StudyRecord:
    """Four trials, of which one went on."""
    return make_study(trials=4, survivors=1, repeats=0, infeasible=0, failures=0, documents=3, curve_points=3, samples=4)


def test_what_is_counted_is_counted_by_hand(report: Report) -> None:
    trials = [trial for trial in report.study.trials if trial.repeat_of is None and trial.rungs]
    found = stops(report)
    assert {stop.trial for stop in found} == {trial.number for trial in report.stopped}
    for stop in found:
        own = report.study.trials[stop.trial]
        mine = [own.score(name, 0) for name in JUDGED]
        ahead = [
            other.number
            for other in trials
            if other.number != stop.trial
            and all(a.value <= b.value for a, b in zip([other.score(n, 0) for n in JUDGED], mine, strict=True) if a and b)
        ]
        went_on = [number for number in ahead if len(report.study.trials[number].rungs) > 1]
        assert (stop.num_ahead, stop.num_resting_ahead) == (len(went_on), len(ahead) - len(went_on))
        assert set(stop.ahead) <= set(went_on) and set(stop.resting_ahead) <= set(ahead) - set(went_on)
        better = sum(t.rungs[0].scores["val_loss"].value < (stop.loss or 0) for t in trials)
        assert (stop.rank, stop.scored) == (better + 1, 40)


def test_there_is_a_sentence_for_every_stopped_trial_and_for_no_other(report: Report) -> None:
    by_trial = {stop.trial: text_of(stop) for stop in stops(report)}
    for trial in report.study.trials:
        assert stop_text(report, trial) == by_trial.get(trial.number, "")
    assert all(text.startswith("Stopped at rung 0 (262 k tokens) with a loss of ") for text in by_trial.values())


def test_who_was_ahead_is_named() -> None:
    study = four()
    (on,) = (trial.number for trial in study.trials if len(trial.rungs) > 1)
    a, b, c = (trial.number for trial in study.trials if trial.number != on)
    report = build_report(placed(study, {on: (3.0, 100, 1.0), a: (3.5, 100, 1.0), b: (2.9, 900, 9.0), c: (2.95, 950, 9.5)}))
    assert stop_text(report, study.trials[a]) == (
        f"Stopped at rung 0 (262 k tokens) with a loss of 3.500, 4th of 4 scored there: trial {on} went on and was at least as "
        "good in validation loss, parameters and latency per token."
    )
    assert "1st of 4 scored there: no trial was at least as good in" in stop_text(report, study.trials[b])
    assert "1 went on, and it was not chosen" in stop_text(report, study.trials[b])
    text = stop_text(report, study.trials[c])
    assert "no trial that went on was at least as good" in text and f"trial {b} was, and has not gone on either" in text


def test_of_many_that_were_ahead_a_few_are_named() -> None:
    study = make_study(trials=8, survivors=6, repeats=0, infeasible=0, failures=0, documents=3, curve_points=3, samples=4)
    scores = {t.number: ((2.0 if len(t.rungs) > 1 else 3.0) + t.number / 100, 100.0, 1.0) for t in study.trials}
    report = build_report(placed(study, scores))
    best = sorted((t.number for t in study.trials if len(t.rungs) > 1), key=lambda number: scores[number][0])[:3]
    last = max(t.number for t in report.stopped)
    assert f"trials {', '.join(map(str, best))} and 3 more went on and were at least as good" in stop_text(
        report, report.study.trials[last]
    )


def test_what_only_the_last_rung_judges_has_no_part() -> None:
    found = stops(build_report(make_study(objectives=("val_loss", "collapse_rate"))))
    assert found and all(stop.judged == ("validation loss",) for stop in found)


def test_trials_that_failed_or_are_repeats_are_not_among_the_scored(report: Report) -> None:
    study = report.study
    first = next(trial for trial in study.trials if len(trial.rungs) > 1)
    trials = tuple(dataclasses.replace(t, state="failed", rungs=t.rungs[:1]) if t is first else t for t in study.trials)
    assert {stop.scored for stop in stops(build_report(dataclasses.replace(study, trials=trials)))} == {39}


def test_a_trial_without_a_loss_has_no_rank() -> None:
    study = four()
    one = next(trial for trial in study.trials if trial.state == "stopped")
    bare = dataclasses.replace(one.rungs[0], scores={})
    trials = tuple(dataclasses.replace(t, rungs=(bare,)) if t is one else t for t in study.trials)
    report = build_report(dataclasses.replace(study, trials=trials))
    stop = next(stop for stop in stops(report) if stop.trial == one.number)
    assert (stop.loss, stop.rank, stop.num_ahead) == (None, None, 0)
    assert "with a loss" not in text_of(stop)


def test_a_study_that_stopped_nobody_has_no_stops() -> None:
    report = build_report(make_study(trials=6, survivors=6))
    assert stops(report) == ()
    assert stop_text(report, report.study.trials[0]) == ""


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ({"scheduler": "auto"}, "largest expected gain"),
        ({"scheduler": "auto", "sampler": "tpe"}, "non-dominated rank"),
        (
            {"scheduler": "pareto", "reduction_factor": 3.0, "min_survivors": 4},
            "about one trial in 3, but no fewer than 4, go on",
        ),
        ({"scheduler": "gain"}, "forecasts are not in the ledger"),
        ({"scheduler": "full"}, "Every trial goes to the end"),
        ({"scheduler": "curves"}, "Every trial goes to the end"),
        ({"scheduler": "of tomorrow"}, "cannot be told"),
    ],
)
def test_the_rule_is_that_of_the_recipe(budget: dict[str, Any], says: str) -> None:
    study = make_study(objectives=OBJECTIVES)
    recipe = {**study.recipe, "budget": {"rungs": [1, 2], **budget}}
    assert says in rule_text(dataclasses.replace(study, recipe=recipe))


def test_time_that_was_up_is_told() -> None:
    study = make_study()
    closed = {**study.attributes, "closed": "time is up; trials that could not go on: 2"}
    assert "time was up" in rule_text(dataclasses.replace(study, attributes=closed))
    assert "time was up" not in rule_text(study)
