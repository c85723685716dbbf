"""What is one event in many trainings is told once, with the range of its figures; what is not stays apart."""

from __future__ import annotations

import dataclasses
import random

import pytest

from autonas.reporting.alike import Told, event_text, events, same_text
from autonas.reporting.front import build_report
from autonas.reporting.trust import findings_by_trial
from autonas.trial import Finding, StudyRecord, TrialRecord
from tests.reporting.studies import make_study


@pytest.fixture(scope="module")
def trial() -> TrialRecord:
    return next(trial for trial in make_study().trials if trial.state == "complete")


def spike(factor: float, tokens: int = 942_080) -> str:
    """As training/watch.py says it."""
    return (
        f"the gradient norm was above 10 times its running median once, at {tokens:,} tokens; "
        f"at most {factor:.3g} times, {factor / 2:.3g} at {tokens:,} tokens"
    )


def told(trial: TrialRecord, *texts: str) -> list[Told]:
    return [Told(number=number, run=trial, text=text) for number, text in enumerate(texts)]


def test_one_event_has_the_range_of_every_figure_that_differs_whatever_the_order(trial: TrialRecord) -> None:
    factors = [10.7, 10.0, 13.6, 11.0, 12.2]
    for seed in range(5):
        random.Random(seed).shuffle(factors)
        (event,) = events(told(trial, *map(spike, factors)))
        assert event_text(event) == (
            "In 5 trainings: the gradient norm was above 10 times its running median once, at 942,080 tokens; at most 10 to "
            "13.6 times, 5 to 6.8 at 942,080 tokens. The same text was shown to all of them then."
        )


def test_what_happened_at_other_tokens_or_more_often_is_another_event(trial: TrialRecord) -> None:
    twice = (
        "the gradient norm was above 10 times its running median 2 times, between 4,096 and 942,080 tokens; at most 11 times, "
        "4 at 942,080 tokens"
    )
    found = events(told(trial, spike(11.0, 4_096), spike(10.5), twice, spike(12.0), twice.replace("11 times", "12 times")))
    assert [len(event) for event in found] == [2, 2, 1]
    assert "at most 11 to 12 times" in event_text(found[1])
    assert "between 4,096 and 942,080 tokens" in event_text(found[1])


def test_findings_without_a_moment_are_no_event_however_alike(trial: TrialRecord) -> None:
    gaps = [f"validation loss 5.2{i} and training loss 5.{i} nats differ" for i in range(4)]
    rungs = [f"between 262,144 and 1,048,576 tokens validation loss fell from 4.{i} to 3.{i}" for i in range(4)]
    assert [len(event) for event in events(told(trial, *gaps, *rungs))] == [1] * 8


def test_the_same_text_is_claimed_only_of_one_order_and_one_length_of_windows(trial: TrialRecord) -> None:
    pair = told(trial, spike(10.0), spike(11.0))
    assert trial.spec is not None and same_text(pair)
    longer = dataclasses.replace(trial, spec=dataclasses.replace(trial.spec, context_length=512))
    for other in (longer, dataclasses.replace(trial, repeat_of=3)):
        mixed = [pair[0], dataclasses.replace(pair[1], run=other)]
        assert not same_text(mixed) and "The same text" not in event_text(mixed)
        assert event_text(mixed).startswith("In 2 trainings: ")


@pytest.mark.parametrize("figure", ["1e-07", "-3.5", "−3.5", "12", "1,234,567", "0.25"])
def test_a_figure_that_all_share_is_told_as_it_was_written(trial: TrialRecord, figure: str) -> None:
    (event,) = events(told(trial, *(f"k2_{figure} was {figure}, then {i} at 4,096 tokens" for i in range(3))))
    assert event_text(event).startswith(f"In 3 trainings: k2_{figure} was {figure}, then 0 to 2 at 4,096 tokens.")


def with_findings(study: StudyRecord) -> StudyRecord:
    trials = [
        dataclasses.replace(
            trial,
            rungs=tuple(
                dataclasses.replace(
                    outcome, findings=(Finding(check="gradient_norm", severity="alarm", text=spike(10.0 + trial.number)),)
                )
                for outcome in trial.rungs
            ),
        )
        for trial in study.trials
    ]
    return dataclasses.replace(study, trials=tuple(trials))


def test_a_report_tells_an_event_once_and_the_drawer_each_trials_own_figures() -> None:
    report = build_report(with_findings(make_study(repeats=0)))
    (alarm,) = [alarm for alarm in report.alarms if alarm.title == "Gradients out of bounds"]
    numbers = sorted(standing.number for standing in report.standings)
    assert alarm.text.startswith(f"In {len(numbers)} trainings: ") and alarm.text.count("running median") == 1
    assert f"at most {10 + numbers[0]} to {10 + numbers[-1]} times" in alarm.text and alarm.trials == tuple(numbers)
    own = findings_by_trial(report)
    assert all(own[str(number)][0][2] == spike(10.0 + number) for number in numbers)
