"""Jobs that fail, workers that are lost, outcomes that come too late, studies that are cancelled."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

import autonas
from autonas.api import read_recipe
from autonas.engine.choice import EngineSettings
from autonas.engine.inline import InlineEngine
from autonas.errors import StudyError
from autonas.policy.policy import begun
from autonas.study import Watcher, run_study
from autonas.study.apart import CALIBRATION_TRIAL
from autonas.study.clock import Clock
from autonas.trial import Failure, Job, Outcome, StudyRecord
from tests.studies import essence, write_space

INLINE = EngineSettings(name="inline")


class FailingEngine(InlineEngine):
    """Really runs every job but the first `times` of the chosen trials, which end badly."""

    def __init__(self, failing: dict[int, Failure], times: int = 1_000) -> None:
        super().__init__()
        self.failing, self.times = failing, times
        self.jobs: list[Job] = []

    def start(self, job: Job) -> None:
        self.jobs.append(job)
        super().start(job)

    def wait(self) -> list[Outcome]:
        job = self.jobs[-1]
        if job.trial not in self.failing or sum(earlier.trial == job.trial for earlier in self.jobs) > self.times:
            return super().wait()
        self.close()
        failure = self.failing[job.trial]
        return [
            Outcome(kind=job.kind, trial=job.trial, attempt=job.attempt, rung=job.budget.rung, seconds=0.1, failure=failure)
        ]


def test_a_failed_trial_is_recorded_by_kind_and_the_study_goes_on(tmp_path: Path, code_corpus: Path) -> None:
    recipe = read_recipe(write_space(tmp_path / "s.yaml", code_corpus, budget={"rungs": ["3K"], "repeats": 0}, rules=[]))
    failing = {1: Failure(kind="nan", message="no number"), 3: Failure(kind="out_of_memory", message="too large")}
    engine = FailingEngine(failing)
    study = run_study(recipe, engine, name="small", folder=tmp_path / "small")
    assert {t.number: t.failure for t in study.trials if t.state == "failed"} == {1: "nan", 3: "out_of_memory"}
    assert begun(study) == 5
    # What would end the same way again is not tried again; what may not is, as often as the recipe says.
    assert [len(study.trials[number].retries) for number in (1, 3)] == [0, 2]
    attempts = [job.attempt for job in engine.jobs if job.trial == 3]
    assert len(attempts) == 3 and attempts == sorted(set(attempts)), "every attempt has a number of its own"

    again = run_study(recipe, InlineEngine(), name="small", folder=tmp_path / "small", resume=True, retry_failed=True)
    assert [trial.retry_of for trial in again.trials[5:]] == [1, 3]
    assert all(trial.rungs and trial.state not in ("live", "failed") for trial in again.trials[5:])
    assert begun(again) == 5
    final = run_study(recipe, InlineEngine(), name="small", folder=tmp_path / "small", resume=True, retry_failed=True)
    assert len(final.trials) == len(again.trials), "a failed trial has one successor"


def test_a_lost_job_is_tried_again_and_the_study_is_the_same(tmp_path: Path, code_corpus: Path) -> None:
    recipe = read_recipe(write_space(tmp_path / "s.yaml", code_corpus, budget={"repeats": 0}))
    lost = Failure(kind="preempted", message="its worker has gone")
    whole = run_study(recipe, InlineEngine(), name="small", folder=tmp_path / "whole")
    first, second = [trial.number for trial in whole.trials if trial.rungs][:2]
    engine = FailingEngine({first: lost, second: lost}, times=2)
    study = run_study(recipe, engine, name="small", folder=tmp_path / "lost")
    assert essence(study) == essence(whole)
    assert [(t.number, len(t.retries)) for t in study.trials if t.retries] == [(first, 2), (second, 2)]


def test_an_outcome_of_an_attempt_that_was_given_up_is_not_remembered(tmp_path: Path, code_corpus: Path) -> None:
    class Doubling(InlineEngine):
        """Returns, before each outcome, one of an attempt that is long over."""

        def wait(self) -> list[Outcome]:
            (outcome,) = super().wait()
            stale = dataclasses.replace(outcome, attempt=outcome.attempt - 1, scores={}, tokens=1)
            return [stale, outcome, stale]

    recipe = read_recipe(write_space(tmp_path / "s.yaml", code_corpus, budget={"trials": 2, "rungs": ["3K"], "repeats": 0}))
    study = run_study(recipe, Doubling(), name="small", folder=tmp_path / "small")
    assert all(outcome.scores and outcome.tokens > 1 for trial in study.trials for outcome in trial.rungs)


def test_a_job_that_is_no_trials_has_the_time_that_is_left_when_it_starts(
    tmp_path: Path, code_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = {"trials": 1, "rungs": ["3K"], "repeats": 0, "max_hours": 1}
    changes = {"calibration": {"rates": [1e-3, 2e-3], "tokens": "2K"}, "training": {"warmup": "1K"}, "budget": budget}
    engine = FailingEngine({CALIBRATION_TRIAL + 1: Failure(kind="preempted", message="its worker has gone")}, times=1)
    monkeypatch.setattr(Clock, "spent_s", property(lambda clock: 600.0 * len(engine.jobs)))
    run_study(read_recipe(write_space(tmp_path / "s.yaml", code_corpus, **changes)), engine, name="s", folder=tmp_path / "s")
    apart = [job for job in engine.jobs if job.trial >= CALIBRATION_TRIAL]
    assert [job.trial - CALIBRATION_TRIAL for job in apart] == [0, 1, 1, 2, 3]
    assert [job.time_limit_s for job in apart] == [3600.0 * 1.15 - 600.0 * number for number in range(5)]


def test_a_cancelled_study_ends_where_it_is_and_can_be_gone_on_with(tmp_path: Path, code_corpus: Path) -> None:
    space = write_space(tmp_path / "s.yaml", code_corpus, budget={"repeats": 0})
    out = tmp_path / "trials"
    answers: list[object] = []

    def changed(study: StudyRecord) -> None:
        if any(trial.rungs for trial in study.trials) and not answers:
            answers.append("asked")
            thread.start()

    def cancel() -> None:
        answers.append(autonas.cancel("small", out=out))

    thread = threading.Thread(target=cancel)
    stopped = autonas.search(space, out=out, engine=INLINE, watcher=Watcher(changed=changed))
    thread.join()
    assert isinstance(answers[1], StudyRecord)
    assert stopped.attributes["closed"] == answers[1].attributes["closed"] == "cancelled"
    assert begun(stopped) < 5
    with pytest.raises(StudyError, match=r"ended already \(cancelled\)"):
        autonas.cancel("small", out=out)
    whole = autonas.search(space, out=out, engine=INLINE, resume=True)
    assert essence(whole) == essence(autonas.search(space, out=tmp_path / "other", engine=INLINE))
