"""What every engine promises; each implementation is put through all of it. Real jobs, on real code."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.engine.base import Engine, JobProgress
from autonas.engine.choice import EngineSettings
from autonas.engine.inline import InlineEngine
from autonas.engine.ray_tune import RayEngine
from autonas.errors import CorpusError
from autonas.trial import Budget, Job
from tests.studies import small_job

Make = Callable[..., Engine]
ENGINES: dict[str, Make] = {
    "inline": InlineEngine,
    "inline, two at once": lambda **options: InlineEngine(together=lambda jobs: 2, **options),
    "ray": lambda **options: RayEngine(EngineSettings(workers=1, device="cpu"), **options),
}


@pytest.fixture(params=sorted(ENGINES))
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[Engine] = []
    if request.param == "ray":
        request.getfixturevalue("one_ray")

    def build(**options: object) -> Engine:
        made.append(ENGINES[request.param](**options))
        return made[-1]

    yield build
    for engine in made:
        engine.close()


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


@pytest.fixture
def job(dataset: Dataset, tmp_path: Path) -> Job:
    return small_job(dataset.ref, tmp_path)


def test_every_started_job_comes_back_exactly_once(make: Make, job: Job) -> None:
    engine = make()
    names = []
    waiting = [dataclasses.replace(job, trial=number) for number in range(3)]
    under_way = 0
    while waiting or under_way:
        while waiting and under_way < engine.capacity:
            engine.start(waiting.pop(0))
            under_way += 1
        outcomes = engine.wait()
        assert outcomes
        under_way -= len(outcomes)
        names += [(outcome.trial, outcome.rung) for outcome in outcomes]
    assert sorted(names) == [(0, 0), (1, 0), (2, 0)]


def test_the_same_job_has_the_same_result_wherever_it_runs(make: Make, job: Job, tmp_path: Path) -> None:
    results = []
    for number in range(2):
        engine = make()
        engine.start(dataclasses.replace(job, folder=str(tmp_path / str(number))))
        results += engine.wait()
    assert results[0].scores == results[1].scores
    assert results[0].documents == results[1].documents
    assert results[0].curve == results[1].curve


def test_a_trial_that_ends_badly_is_an_outcome(make: Make, job: Job) -> None:
    engine = make()
    engine.start(dataclasses.replace(job, time_limit_s=0.0))
    (outcome,) = engine.wait()
    assert outcome.failure is not None
    assert outcome.failure.kind == "timeout"
    assert not outcome.scores
    engine.start(dataclasses.replace(job, trial=1))
    assert engine.wait()[0].ok, "an engine lives on after a failure"


def test_what_cannot_be_done_as_asked_raises(make: Make, job: Job, tmp_path: Path) -> None:
    engine = make()
    engine.start(dataclasses.replace(job, data=dataclasses.replace(job.data, folder=str(tmp_path / "nowhere"))))
    with pytest.raises(CorpusError, match="nowhere"):
        engine.wait()


def test_progress_is_told(make: Make, job: Job) -> None:
    seen: list[JobProgress] = []
    engine = make(on_progress=seen.append)
    engine.start(job)
    engine.wait()
    assert [progress.tokens for progress in seen] == sorted(progress.tokens for progress in seen)
    assert seen[-1].tokens == 5_120
    assert all(progress.trial == 0 and progress.loss > 0 for progress in seen)


def test_an_interrupted_job_is_no_outcome_and_goes_on_from_its_checkpoint(make: Make, job: Job, tmp_path: Path) -> None:
    job = dataclasses.replace(job, budget=Budget(rung=0, tokens=409_600, cooldown_tokens=1_024), checkpoint_every_s=0.0)
    whole = make()
    whole.start(dataclasses.replace(job, folder=str(tmp_path / "whole")))
    (expected,) = whole.wait()
    assert expected.ok
    trunk = tmp_path / "checkpoints" / "00000" / "trunk.safetensors"
    engine = make(stop=trunk.exists)
    engine.start(job)
    with pytest.raises(KeyboardInterrupt):
        engine.wait()
    engine.close()
    again = make()
    again.start(dataclasses.replace(job, attempt=2))
    (outcome,) = again.wait()
    assert outcome.scores == expected.scores
    assert outcome.curve == expected.curve
    assert 0 < outcome.new_tokens < expected.new_tokens == outcome.tokens


def test_closing_gives_up_what_was_started_and_may_be_done_twice(make: Make, job: Job, tmp_path: Path) -> None:
    engine = make()
    engine.start(job)
    engine.close()
    engine.close()
    assert not list(tmp_path.glob("checkpoints/*/cooled.safetensors"))
