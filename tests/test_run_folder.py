"""A run's folder: how its steps are counted, who may have it, and its curve. What a worker makes of it: test_full_run.py."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.errors import ResourceError, StudyError
from autonas.run_folder import RunLog, check_claim, claim, next_attempt, run_budget, run_state, run_steps, step_tokens
from autonas.training.attempts import claim_attempt
from autonas.trial import DataRef, TrainingSettings
from tests.studies import SMALL_SPEC, small_job

DATA = DataRef(folder="data", fingerprint="f")


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process can grow, as where there is no space left."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@given(steps=st.integers(1, 10**6), share=st.floats(0.01, 1.0), schedule=st.sampled_from(["wsd", "cosine"]))
def test_a_run_has_the_steps_it_was_asked_for(steps: int, share: float, schedule: str) -> None:
    training = TrainingSettings(schedule=schedule, batch_tokens=1000)  # type: ignore[arg-type]
    budget = run_budget(SMALL_SPEC, training, steps, share)
    each = step_tokens(SMALL_SPEC, training)
    assert each == 960, "whole windows of 64"
    assert budget.tokens + budget.cooldown_tokens == steps * each
    assert budget.tokens % each == budget.cooldown_tokens % each == 0
    assert (budget.cooldown_tokens == 0) == (schedule == "cosine")
    if schedule == "wsd" and steps > 100:
        assert budget.cooldown_tokens == pytest.approx(share * budget.tokens, rel=0.5 if share < 0.1 else 0.1)


def test_the_batch_that_a_spec_names_is_the_one_counted() -> None:
    spec = dataclasses.replace(SMALL_SPEC, batch_tokens=128)
    job = dataclasses.replace(small_job(DATA, Path("x")), spec=spec)
    job = dataclasses.replace(job, budget=run_budget(spec, job.training, 30, 0.2))
    assert job.budget.tokens + job.budget.cooldown_tokens == 30 * 128
    assert run_steps(job) == 30


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    job = small_job(DATA, tmp_path / "run")
    assert run_state(tmp_path / "run") == "absent"
    check_claim(job, resume=False)
    with pytest.raises(StudyError, match="holds no run to go on with"):
        check_claim(job, resume=True)
    claim(job)
    assert run_state(tmp_path / "run") == "begun"
    claim(job)
    check_claim(job, resume=True)
    with pytest.raises(StudyError, match="holds a run already"):
        check_claim(job, resume=False)
    other = dataclasses.replace(job, data=dataclasses.replace(DATA, fingerprint="g"))
    with pytest.raises(StudyError, match="data was f, is g"):
        claim(other)


def test_attempts_are_counted_on(tmp_path: Path) -> None:
    assert next_attempt(tmp_path) == 1
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "attempt").write_text("4\n")
    assert next_attempt(tmp_path) == 5


def test_the_curve_has_the_mean_of_each_stretch(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "metrics.jsonl", 0, stretch=20, attempt=1)
    for step, loss in enumerate([4.0, 3.0, 2.0, 1.0, 9.0], 1):
        log.step({"tokens": 10 * step, "loss": loss})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["tokens"], line["loss"]) for line in lines] == [(20, 3.5), (40, 1.5)]
    assert log.curve(10) == ((20, 3.5), (40, 1.5))


def test_a_resumed_curve_drops_what_lies_beyond_the_checkpoint_and_what_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    kept = '{"tokens": 10, "loss": 2.0}\n{"tokens": 10, "val_loss": 2.5}\n'
    path.write_text(kept + '{"tokens": 20, "loss": 1.0}\nno json\n{"tokens": 5')
    log = RunLog(path, 15, stretch=10, attempt=1)
    assert path.read_text() == kept
    assert log.curve(5) == ((10, 2.0),)


def test_a_curve_survives_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    before = '{"tokens": 10, "loss": 2.0}\n{"tokens": 20, "loss": 1.0}\n'
    path.write_text(before)
    with full_disk():
        log = RunLog(path, 20, stretch=10, attempt=1)
        assert log.curve(5) == ((10, 2.0), (20, 1.0)), "where nothing is dropped nothing is written"
        with pytest.raises(ResourceError, match="cannot be written"):
            RunLog(path, 15, stretch=10, attempt=1)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_superseded_attempt_writes_no_line_more(tmp_path: Path) -> None:
    claim_attempt(tmp_path / "checkpoints", 1)
    path = tmp_path / "metrics.jsonl"
    log = RunLog(path, 0, stretch=10, attempt=1)
    log.write({"tokens": 10, "loss": 2.0})
    claim_attempt(tmp_path / "checkpoints", 2)
    kept = path.read_text()
    with pytest.raises(StudyError, match="attempt 1 was superseded by attempt 2"):
        log.step({"tokens": 20, "loss": 1.0})
    with pytest.raises(StudyError, match="superseded"):
        RunLog(path, 0, stretch=10, attempt=1)
    assert path.read_text() == kept


@given(st.integers(0, 500), st.integers(1, 64))
def test_a_thinned_curve_keeps_its_end(num_lines: int, num_points: int) -> None:
    log = object.__new__(RunLog)
    log._points = [{"tokens": number, "loss": 1.0} for number in range(num_lines)]
    curve = log.curve(num_points)
    assert len(curve) <= num_points
    assert [tokens for tokens, _ in curve] == sorted({tokens for tokens, _ in curve})
    assert not num_lines or curve[-1][0] == num_lines - 1
