"""Carrying out a full run: one process at a time, what is tried again, what is written when, and cancelling."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autonas
from autonas import api, worker
from autonas.api import reading
from autonas.engine.base import JobProgress
from autonas.errors import RETRIED, StudyError, TrialFailure
from autonas.ledger import Ledger, run_is_at_work
from autonas.promotion import execution
from autonas.promotion.execution import carry_out
from autonas.promotion.promote import resumed_job
from autonas.trial import Failure, Job, Outcome
from tests.promotion.conftest import INLINE, STEP, STEPS, Run

HOLD = """
import sys, time
from pathlib import Path
from autonas.ledger import run_lease
with run_lease(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


class Losing:
    """An engine that loses its worker some times before it runs the job."""

    name = "losing"
    capacity = 1

    def describe(self) -> str:
        return "1 worker that is lost now and then"

    def __init__(self, times: int, kind: Any = "preempted") -> None:
        self.left, self.kind = times, kind
        self.attempts: list[int] = []
        self._job: Job | None = None

    def start(self, job: Job) -> None:
        self.attempts.append(job.attempt)
        self._job = job

    def wait(self) -> list[Outcome]:
        assert self._job is not None
        if self.left:
            self.left -= 1
            failure = Failure(kind=self.kind, message="the worker died")
            return [Outcome(kind="run", trial=0, attempt=self._job.attempt, rung=0, seconds=0.0, failure=failure)]
        return [Outcome(kind="run", trial=0, attempt=self._job.attempt, rung=0, seconds=0.0)]

    def close(self) -> None:
        pass


def test_a_lost_worker_is_replaced_as_often_as_allowed_each_time_by_a_later_attempt(job: Job) -> None:
    engine = Losing(2)
    assert carry_out(job, engine, retries=2).ok
    assert engine.attempts == [1, 2, 3]
    engine = Losing(3)
    with pytest.raises(TrialFailure, match=r"ended \(preempted\): the worker died. Its last checkpoint is kept"):
        carry_out(job, engine, retries=2)


def test_a_run_that_diverged_is_not_tried_again(job: Job) -> None:
    engine = Losing(1, "diverged")
    with pytest.raises(TrialFailure, match="diverged"):
        carry_out(job, engine, retries=5)
    assert engine.attempts == [1]


@pytest.mark.parametrize("kind", sorted(RETRIED))
def test_a_run_is_tried_again_after_what_trials_are(job: Job, kind: str) -> None:
    said: list[str] = []
    engine = Losing(1, kind)
    assert carry_out(job, engine, retries=1, say=said.append).ok
    assert engine.attempts == [1, 2]
    assert said == [f"the run is tried again from its checkpoint after {kind}: the worker died (1 of 1 retries)"]


def test_who_was_superseded_is_refused_and_not_tried_again(study: Path) -> None:
    told: list[int] = []

    def supersede(step: JobProgress, total: int) -> None:
        told.append(step.tokens)
        if step.tokens == 5 * STEP:
            Path("run/checkpoints/attempt").write_text("9\n")

    with pytest.raises(StudyError, match=r"attempt 1 was superseded by attempt 9: another process has taken over"):
        autonas.promote("small", steps=STEPS, run="run", engine=INLINE, on_progress=supersede)
    assert told == sorted(set(told)), "no second attempt began"


def test_a_job_replayed_in_a_place_that_was_taken_over_is_one_message(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = autonas.promote("small", steps=5, run="run", engine=INLINE)
    (run / "checkpoints" / "attempt").write_text("9\n")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.name != "tokenizer.json"}
    capsys.readouterr()
    assert worker.main([str(run / "run.json"), "--in-place"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("autonas: ") and "attempt 1 was superseded by attempt 9" in err
    assert err.count("\n") == 1
    assert before == {path: path.stat().st_mtime_ns for path in before}


# One process at a time


@pytest.fixture
def holder(study: Path) -> Iterator[Path]:
    """A run's folder that another process is at work in."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, "held"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield Path("held")
    process.kill()
    process.communicate()


def test_a_run_at_work_elsewhere_is_left_alone(holder: Path, run: Run) -> None:
    spec = {"layers": 1, "width": 16, "heads": 2, "kv_heads": 1}
    Path("spec.json").write_text(json.dumps(spec))
    for command in (
        ("promote", "small", "--engine", "inline", "--steps", "5", "--out", "held"),
        ("train", "--space", "small.yaml", "--spec", "spec.json", "--steps", "5", "--out", "held"),
    ):
        code, _, err = run(*command)
        assert code == 2
        assert err.strip().splitlines()[-1].startswith("autonas: the run in held is at work in another process. Wait for it")
    assert [path.name for path in holder.iterdir()] == ["lease"]
    assert "promotions" not in autonas.read_study("small").attributes


def test_a_promotion_holds_its_run(study: Path) -> None:
    held: list[bool] = []
    autonas.promote("small", steps=5, run="run", engine=INLINE, on_progress=lambda *_: held.append(run_is_at_work(Path("run"))))
    assert held and all(held)
    assert not run_is_at_work(Path("run"))


def test_the_attempt_is_counted_when_the_run_is_held(study: Path) -> None:
    def interrupt(step: JobProgress, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        autonas.promote("small", steps=5, run="run", engine=INLINE, on_progress=interrupt)
    job = resumed_job(autonas.read_study("small"), Path("run"))
    Path("run/checkpoints/attempt").write_text("7\n")
    with execution.claimed(job, resume=True) as claimed:
        assert claimed.attempt == 8


# What is written when


def test_a_promotion_that_cannot_begin_leaves_nothing(study: Path, run: Run) -> None:
    before = sorted(map(str, Path().rglob("*")))
    for wrong in (("--device", "cuda:99"), ("--workers", "2"), ("--device", "tpu")):
        code, _, err = run("promote", "small", "--engine", "inline", "--steps", "5", *wrong)
        assert code == 2, err
        assert "promotions" not in autonas.read_study("small").attributes
        left = [path for path in map(str, Path().rglob("*")) if path not in before]
        assert all(path.startswith("trials/small/ledger") for path in left), left


def test_a_promotion_into_the_same_folder_replaces_its_entry(study: Path) -> None:
    for number in (1, 2):
        shutil.rmtree("run", ignore_errors=True)
        autonas.promote("small", steps=4 + number, run="run", engine=INLINE)
    (entry,) = autonas.read_study("small").attributes["promotions"]
    assert entry["steps"] == 6
    autonas.promote("small", steps=5, run="other", engine=INLINE)
    assert [each["folder"] for each in autonas.read_study("small").attributes["promotions"]] == ["run", "other"]


def test_a_ledger_that_cannot_be_opened_is_said_to_be_that(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    promotion = autonas.propose_promotion("small", steps=5, engine=INLINE)

    def gone(*arguments: Any) -> Ledger:
        raise StudyError("there is no study 'small'")

    monkeypatch.setattr(Ledger, "open", gone)
    with pytest.raises(StudyError, match="there is no study"):
        execution.record(promotion, study, None)


# Cancelling


class Cancelling:
    """Asks in a thread of its own, as another process would, for the study to stop at the third step of its run."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.answers: list[object] = []
        self._thread = threading.Thread(target=self._cancel)

    def _cancel(self) -> None:
        try:
            self.answers.append(autonas.cancel("small", say=self.said.append))
        except StudyError as error:
            self.answers.append(error)

    def __call__(self, step: JobProgress, total: int) -> None:
        if step.tokens == 3 * STEP:
            self._thread.start()

    def join(self) -> None:
        self._thread.join()


def test_a_promotion_that_is_cancelled_stops_and_can_be_gone_on_with(study: Path) -> None:
    closed = autonas.read_study("small").attributes["closed"]
    cancelling = Cancelling()
    complaint = r"was cancelled\. Its last checkpoint is kept; go on with it: autonas promote small --resume --out run"
    with pytest.raises(TrialFailure, match=complaint) as caught:
        autonas.promote("small", steps=20_000, run="run", engine=INLINE, on_progress=cancelling)
    cancelling.join()
    assert caught.value.kind == "preempted"
    assert cancelling.said == ["the run in run was stopped; go on with it: autonas promote small --resume --out run"]
    assert autonas.read_study("small").attributes["closed"] == closed, "the study had ended, and stays as it was"
    assert not Path("run/cancel").exists()
    told: list[int] = []

    def interrupt(step: JobProgress, total: int) -> None:
        told.append(step.tokens)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        autonas.promote("small", run="run", resume=True, engine=INLINE, on_progress=interrupt)
    assert told[0] > 3 * STEP, "it went on from the checkpoint"
    with pytest.raises(StudyError, match="has ended already"):
        autonas.cancel("small")


def test_the_promotion_at_the_end_of_a_search_is_cancelled_too(study: Path) -> None:
    cancelling = Cancelling()
    with pytest.raises(TrialFailure, match="was cancelled"):
        api.promote_winner("small", engine=INLINE, on_progress=cancelling)
    cancelling.join()
    (said,) = cancelling.said
    assert "/runs/" in said


def test_a_request_of_an_earlier_time_does_not_stop_a_run(study: Path) -> None:
    Path("run").mkdir()
    Path("run/cancel").touch()
    assert (autonas.promote("small", steps=5, run="run", engine=INLINE) / "evaluation.json").exists()


def test_the_command_tells_what_it_has_stopped(holder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "cancel_runs", lambda study, folder: [holder])
    code, out, err = run("cancel", "small")
    assert code == 0, err
    assert out == "small: the run in held was stopped; go on with it: autonas promote small --resume --out held\n"


def test_a_run_that_does_not_stop_is_said_so(holder: Path) -> None:
    study = autonas.read_study("small")
    study = dataclasses.replace(study, attributes={**study.attributes, "promotions": [{"folder": "held"}]})
    with pytest.raises(StudyError, match="the run in held has not stopped in 0 s"):
        execution.cancel_runs(study, Path("trials/small"), timeout_s=0.2)
