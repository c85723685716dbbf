"""Several jobs at once in this process, which the tests ask for: on a processor the engine itself never does."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from autonas.api import read_recipe
from autonas.arch import ArchSpec
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.engine.inline import MOST, InlineEngine, together_on_cuda
from autonas.errors import CorpusError
from autonas.evaluation.latency import lease_name
from autonas.evaluation.latency_cache import LatencyResult
from autonas.evaluation.lease import alone
from autonas.study import run_study
from autonas.trial import Budget, Job, LatencySettings, Outcome, Score
from tests.studies import SMALL_SPEC, small_job, write_space
from tests.studies import essence as studies_essence


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


@pytest.fixture
def job(dataset: Dataset, tmp_path: Path) -> Job:
    return small_job(dataset.ref, tmp_path, objectives=("val_loss", "collapse_rate"))


@pytest.fixture
def engine() -> Iterator[InlineEngine]:
    with contextlib.closing(InlineEngine(together=up_to(3))) as made:
        yield made


def up_to(most: int) -> Any:
    return lambda jobs: min(most, len(jobs))


def ended(engine: InlineEngine, jobs: Sequence[Job]) -> list[Outcome]:
    for job in jobs:
        engine.start(job)
    outcomes: list[Outcome] = []
    while len(outcomes) < len(jobs):
        outcomes += engine.wait()
    return outcomes


def essence(outcome: Outcome) -> Any:
    return dataclasses.replace(outcome, seconds=0.0)


def three(job: Job, folder: Path) -> list[Job]:
    """Of different shapes and lengths; the first is the longest."""
    specs = (
        SMALL_SPEC,
        dataclasses.replace(SMALL_SPEC, layers=2, residual_dropout=0.1),
        dataclasses.replace(SMALL_SPEC, width=24),
    )
    lengths = (40_960, 4_096, 8_192)
    return [
        dataclasses.replace(
            job,
            trial=number,
            spec=spec,
            seed=number,
            folder=str(folder),
            budget=Budget(rung=0, tokens=tokens, cooldown_tokens=1_024),
        )
        for number, (spec, tokens) in enumerate(zip(specs, lengths, strict=True))
    ]


def test_jobs_at_once_have_the_outcomes_that_they_have_one_after_the_other(
    engine: InlineEngine, job: Job, tmp_path: Path
) -> None:
    found = ended(engine, three(job, tmp_path / "together"))
    with contextlib.closing(InlineEngine()) as single:
        expected = [ended(single, [one])[0] for one in three(job, tmp_path / "apart")]
    assert [essence(o) for o in sorted(found, key=lambda o: o.trial)] == [essence(o) for o in expected]
    assert all(outcome.ok for outcome in found)
    assert found[-1].trial == 0, "in order of ending: the longest began first"
    for name in ("cooled.safetensors", "trunk.safetensors"):
        for number in range(3):
            files = [tmp_path / way / "checkpoints" / f"{number:05d}" / name for way in ("together", "apart")]
            beside, alone = (load_file(file) for file in files)
            assert beside.keys() == alone.keys() and all(torch.equal(beside[key], alone[key]) for key in alone)
    for number in range(3):
        curves = [(tmp_path / way / "metrics" / f"{number:05d}.jsonl").read_text() for way in ("together", "apart")]
        assert [line.partition('"tokens_per_s"')[0] for line in curves[0].splitlines()] == [
            line.partition('"tokens_per_s"')[0] for line in curves[1].splitlines()
        ]


def test_one_that_fails_is_an_outcome_and_the_others_go_on(engine: InlineEngine, job: Job, tmp_path: Path) -> None:
    jobs = three(job, tmp_path)
    jobs[0] = dataclasses.replace(jobs[0], training=dataclasses.replace(job.training, learning_rate=1e30))
    outcomes = {outcome.trial: outcome for outcome in ended(engine, jobs)}
    failure = outcomes[0].failure
    assert failure is not None and failure.kind in ("nan", "diverged")
    with contextlib.closing(InlineEngine()) as single:
        for number in (1, 2):
            (expected,) = ended(single, [dataclasses.replace(jobs[number], folder=str(tmp_path / "apart"))])
            assert essence(outcomes[number]) == essence(expected)


def test_what_needs_the_device_alone_has_it_while_trainings_of_the_same_process_stand_still(
    engine: InlineEngine, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[int] = []
    curves = [tmp_path / "metrics" / f"{number:05d}.jsonl" for number in range(2)]

    def timed(spec: ArchSpec, settings: LatencySettings) -> LatencyResult:
        with alone(lease_name(torch.device("cpu"))):
            for _ in range(3):
                lines.append(sum(len(curve.read_text().splitlines()) for curve in curves if curve.exists()))
                time.sleep(0.1)
        score = Score.exact(1.0, "ms/token")
        return LatencyResult(decode=score, prefill=score, prefill_short=None, stamps={})

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # locks of this test's own
    monkeypatch.setattr("autonas.worker.measured_latency", timed)
    first, *_ = three(job, tmp_path)
    latency = dataclasses.replace(job, kind="latency", trial=7)
    outcomes = {outcome.trial: outcome for outcome in ended(engine, [first, dataclasses.replace(first, trial=1), latency])}
    assert all(outcome.ok for outcome in outcomes.values())
    assert outcomes[7].scores["latency"].value == 1.0
    assert outcomes[0].scores == outcomes[1].scores
    assert len(set(lines)) == 1, lines


def test_what_has_no_room_waits_for_it(job: Job, tmp_path: Path) -> None:
    """The last may run beside nobody, so that it is begun when the others have ended, long as one of them is."""

    def together(jobs: Sequence[Job]) -> int:
        return next((place for place, one in enumerate(jobs) if one.trial == 2), len(jobs)) or 1

    jobs = three(dataclasses.replace(job, time_limit_s=60.0), tmp_path)
    with contextlib.closing(InlineEngine(together=together)) as engine:
        found = ended(engine, jobs)
    assert [outcome.trial for outcome in found] == [1, 0, 2]
    assert all(outcome.ok for outcome in found)


def test_what_cannot_be_done_is_raised_and_what_runs_beside_it_is_given_up(
    engine: InlineEngine, job: Job, tmp_path: Path
) -> None:
    jobs = three(job, tmp_path)
    jobs[1] = dataclasses.replace(job, trial=1, data=dataclasses.replace(job.data, folder=str(tmp_path / "nowhere")))
    with pytest.raises(CorpusError, match="nowhere"):
        ended(engine, jobs[:2])
    engine.close()
    assert not (tmp_path / "checkpoints" / "00000" / "cooled.safetensors").exists()


def test_jobs_that_are_interrupted_go_on_from_their_checkpoints(job: Job, tmp_path: Path) -> None:
    jobs = [dataclasses.replace(one, checkpoint_every_s=0.0) for one in three(job, tmp_path / "stopped")[:2]]
    jobs = [dataclasses.replace(one, budget=Budget(rung=0, tokens=163_840, cooldown_tokens=1_024)) for one in jobs]
    trunks = [tmp_path / "stopped" / "checkpoints" / f"{number:05d}" / "trunk.safetensors" for number in range(2)]
    engine = InlineEngine(stop=lambda: all(trunk.exists() for trunk in trunks), together=up_to(2))
    with pytest.raises(KeyboardInterrupt):
        ended(engine, jobs)
    engine.close()
    assert not list(tmp_path.glob("stopped/checkpoints/*/cooled.safetensors"))
    with contextlib.closing(InlineEngine(together=up_to(2))) as again:
        found = {outcome.trial: outcome for outcome in ended(again, [dataclasses.replace(one, attempt=2) for one in jobs])}
    with contextlib.closing(InlineEngine()) as single:
        for one in jobs:
            (expected,) = ended(single, [dataclasses.replace(one, folder=str(tmp_path / "apart"))])
            assert found[one.trial].scores == expected.scores and found[one.trial].curve == expected.curve
            assert 0 < found[one.trial].new_tokens < expected.new_tokens


def test_a_study_of_two_jobs_at_once_has_the_records_of_one_job_after_the_other(tmp_path: Path, code_corpus: Path) -> None:
    changes = {"budget": {"trials": 4, "repeats": 1, "rungs": ["6K", "18K"]}}
    recipe = read_recipe(write_space(tmp_path / "small.yaml", code_corpus, **changes))
    studies = []
    for most in (1, 2):
        with contextlib.closing(InlineEngine(together=lambda jobs, most=most: most)) as engine:  # type: ignore[misc]
            studies.append(run_study(recipe, engine, name="small", folder=tmp_path / str(most)))
    assert studies_essence(studies[1]) == studies_essence(studies[0])


def test_capacity_follows_what_is_under_way(job: Job) -> None:
    engine = InlineEngine(together=up_to(4))
    assert engine.capacity == 1, "nothing is known yet of what there will be"
    engine.start(job)
    assert engine.capacity == 4
    engine.start(dataclasses.replace(job, kind="latency", trial=1))
    assert engine.capacity == 5, "a latency takes no training's place"
    engine.close()
    assert engine.capacity == 1
    engine.start(dataclasses.replace(job, kind="run"))
    assert engine.capacity == 1, "a full run has the process to itself"
    engine.close()
    everything = InlineEngine(together=len)
    everything.start(job)
    assert everything.capacity == MOST


def test_on_a_processor_jobs_run_one_at_a_time(job: Job) -> None:
    for device in ("cpu", "cuda:17"):
        assert together_on_cuda([dataclasses.replace(job, device=device)] * 3) == 1
    assert together_on_cuda([job, dataclasses.replace(job, device="cuda")]) == 1
    engine = InlineEngine()
    engine.start(job)
    assert engine.capacity == 1
