"""Each alarm fires on what it is for, and not on a sound study."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from autonas.evaluation.timing import Blocks, Protocol, complaints, latency_score
from autonas.reporting.front import build_report
from autonas.trial import Finding, Outcome, Score, StudyRecord, TrialRecord
from tests.reporting.studies import make_study


def titles(study: StudyRecord) -> dict[str, tuple[int, ...]]:
    return {alarm.title: alarm.trials for alarm in build_report(study).alarms}


def with_last_outcome(
    study: StudyRecord, change: Callable[[TrialRecord], dict[str, Any]], *, every: bool = False
) -> StudyRecord:
    """The study with fields of the first complete trial's last outcome (or all complete ones') replaced."""
    trials = list(study.trials)
    for trial in study.trials:
        if trial.state == "complete":
            outcome: Outcome = dataclasses.replace(trial.rungs[-1], **change(trial))
            trials[trial.number] = dataclasses.replace(trial, rungs=(*trial.rungs[:-1], outcome))
            if not every:
                break
    return dataclasses.replace(study, trials=tuple(trials))


def first_complete(study: StudyRecord) -> int:
    return next(trial.number for trial in study.trials if trial.state == "complete")


def test_a_sound_study_raises_no_alarm() -> None:
    for seed in range(5):
        assert not [alarm for alarm in build_report(make_study(seed=seed)).alarms if alarm.severity == "alarm"]


def test_a_loss_far_below_a_bigram_model_is_called_too_good() -> None:
    study = with_last_outcome(make_study(repeats=0), lambda trial: {"baselines": {"unigram": 12.0, "bigram": 11.0}})
    assert titles(study)["Too good to be true"] == (first_complete(study),)


def finding(check: str = "gradient_norm", severity: Any = "alarm", text: str = "far above its median") -> Finding:
    return Finding(check=check, severity=severity, text=text)


def test_what_was_found_in_trials_is_told_once_for_each_check_with_their_figures() -> None:
    study = with_last_outcome(
        make_study(repeats=0),
        lambda trial: {"findings": (finding(text=f"spike {trial.number}"), finding("rollback", "note", "went back"))},
        every=True,
    )
    numbers = tuple(trial.number for trial in study.trials if trial.state == "complete")
    found = {alarm.title: alarm for alarm in build_report(study).alarms}
    spikes, rollbacks = found["Gradients out of bounds"], found["Training went back"]
    assert (spikes.severity, rollbacks.severity) == ("alarm", "note") and spikes.trials == rollbacks.trials == numbers
    assert [f"Trial {number}: spike {number}." in spikes.text for number in numbers] == [True] * 3 + [False] * (
        len(numbers) - 3
    )
    assert spikes.text.endswith(f"And so of {len(numbers) - 3} more trainings.")


def test_what_was_found_in_a_repeat_is_told_of_its_trial() -> None:
    study = make_study(repeats=1)
    repeat = study.trials[-1]
    marked = dataclasses.replace(repeat.rungs[1], findings=(finding(),))
    trials = (*study.trials[:-1], dataclasses.replace(repeat, rungs=(repeat.rungs[0], marked)))
    assert titles(dataclasses.replace(study, trials=trials))["Gradients out of bounds"] == (repeat.repeat_of,)


def test_a_check_that_is_not_known_here_is_told_by_its_name() -> None:
    study = with_last_outcome(make_study(), lambda trial: {"findings": (finding("a_later_check"),)})
    assert titles(study)["A later check"] == (first_complete(study),)


def test_what_is_on_record_is_not_found_again() -> None:
    low = {"unigram": 12.0, "bigram": 11.0}
    study = with_last_outcome(
        make_study(repeats=0), lambda trial: {"baselines": low, "findings": (finding("loss_floor", text="as measured"),)}
    )
    (alarm,) = [alarm for alarm in build_report(study).alarms if alarm.title == "Too good to be true"]
    assert alarm.text == "As measured." and alarm.trials == (first_complete(study),)


def test_collapse_between_rungs_and_a_loss_that_stands_still_are_found_in_the_record() -> None:
    def rate(value: float) -> Score:
        return Score(value=value, low=value - 0.05, high=value + 0.05, unit="share", n=200)

    study = make_study()
    trial = study.trials[first_complete(study)]
    first, last = (
        dataclasses.replace(outcome, scores={**outcome.scores, "degeneration": rate(share)})
        for outcome, share in zip(trial.rungs, (0.1, 0.5), strict=True)
    )
    for rungs, title in (
        ((first, last), "Loss falls, generation collapses"),
        ((trial.rungs[0], dataclasses.replace(trial.rungs[1], documents=trial.rungs[0].documents)), "A metric never moves"),
    ):
        trials = list(study.trials)
        trials[trial.number] = dataclasses.replace(trial, rungs=rungs)
        assert titles(dataclasses.replace(study, trials=tuple(trials)))[title] == (trial.number,)


def test_a_final_trial_worse_than_a_unigram_model_is_called_so() -> None:
    study = with_last_outcome(make_study(repeats=0), lambda trial: {"baselines": {"unigram": 2.0, "bigram": 1.9}})
    assert titles(study)["Worse than counting tokens"] == (first_complete(study),)


def test_a_missing_leak_test_is_noticed_in_repeats_too() -> None:
    study = make_study(repeats=1)
    repeat = study.trials[-1]
    unchecked = dataclasses.replace(repeat, rungs=(repeat.rungs[0], dataclasses.replace(repeat.rungs[1], checks={})))
    found = titles(dataclasses.replace(study, trials=(*study.trials[:-1], unchecked)))
    assert found["Leak test missing"] == (repeat.repeat_of,)


def test_an_objective_that_never_moves_is_an_alarm_and_another_metric_a_note() -> None:
    same = {name: Score(value=0.25, low=0.2, high=0.3, unit="share") for name in ("collapse_rate", "collapse_prior")}
    study = with_last_outcome(make_study(), lambda trial: {"scores": {**trial.rungs[-1].scores, **same}}, every=True)
    severities = {alarm.title: alarm.severity for alarm in build_report(study).alarms}
    assert severities["Collapse rate never moves"] == "alarm"
    assert severities["Collapse rate, prior rules never moves"] == "note"


def test_a_noisy_latency_is_noted() -> None:
    study = make_study()
    numbers = [
        t.number for t in study.trials if t.state == "complete" and t.repeat_of is None and t.scores["latency"].note == "noisy"
    ]
    assert numbers and titles(study)["Latency per token is noisy"] == tuple(numbers)


@pytest.mark.parametrize(("reference_s", "doubted"), [(2e-3, True), (1.05e-3, False), (0.5e-3, False)])
def test_a_reference_that_later_runs_quicker_raises_an_alarm(reference_s: float, doubted: bool) -> None:
    """A reference known to be slower than it is makes all latencies too long. That it runs slower now proves nothing."""
    blocks = Blocks(candidate=(3e-3,) * 21, reference=(1e-3,) * 21, calls=5)
    found = complaints(blocks, Protocol(), reference_s)
    assert found, "each of these is a noisy measurement"
    score = latency_score([blocks], found, reference_s, "ms/token")
    study = with_last_outcome(make_study(repeats=0), lambda trial: {"scores": {**trial.rungs[-1].scores, "latency": score}})
    title = "Latencies are scaled wrongly"
    assert titles(study).get(title) == ((first_complete(study),) if doubted else None)


@pytest.mark.parametrize(
    ("check", "title"), [("training path", "Trained on a slower path"), ("decoding path", "Decoded on a slower path")]
)
def test_a_slower_path_is_noted_with_its_reason(check: str, title: str) -> None:
    checks = {"leak": "fine", check: "eager 40 steps (there is no C compiler; install gcc, or set CC)"}
    study = with_last_outcome(make_study(), lambda trial: {"checks": checks})
    found = [alarm for alarm in build_report(study).alarms if alarm.title.endswith("on a slower path")]
    assert [(alarm.title, alarm.trials) for alarm in found] == [(title, (first_complete(study),))]
    assert found[0].text.endswith("there is no C compiler; install gcc, or set CC.")
    usual = with_last_outcome(make_study(), lambda trial: {"checks": {**checks, check: "native bfloat16 40 steps"}})
    assert title not in titles(usual)


def test_assumed_seed_noise_is_noted_only_without_repeats() -> None:
    assert "Seed noise is assumed" in titles(make_study(repeats=0))
    assert "Seed noise is assumed" not in titles(make_study(repeats=1))


def test_a_final_trial_without_a_score_is_reported_and_left_off_the_front() -> None:
    study = with_last_outcome(make_study(repeats=0), lambda trial: {"scores": {"val_loss": trial.rungs[-1].scores["val_loss"]}})
    report = build_report(study)
    assert titles(study)["Scores are missing"] == (first_complete(study),) == report.unplaced
    assert first_complete(study) not in {standing.number for standing in report.standings}
