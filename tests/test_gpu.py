"""The worker on a CUDA device: the same checks as on a processor, and results that agree with its own. Run with `-m gpu`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from autonas.data.dataset import CorpusSettings, TokenizerSettings, prepare
from autonas.evaluation.latency import measure_latency
from autonas.evaluation.leak import leak_test
from autonas.model.decode import generate
from autonas.model.transformer import build_model
from autonas.trial import Budget, EvaluationSettings, Job, LatencySettings, TrainingSettings
from autonas.worker import run_job
from tests.studies import SMALL_SPEC

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


@pytest.fixture
def job(code_corpus: Path, tmp_path: Path) -> Job:
    dataset = prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))
    return Job(
        kind="train",
        study="gpu",
        trial=0,
        attempt=1,
        spec=SMALL_SPEC,
        budget=Budget(rung=0, tokens=24_000, cooldown_tokens=6_000),
        seed=1,
        data_seed=2,
        data=dataset.ref,
        training=TrainingSettings(batch_tokens=512, warmup_tokens=2_048, precision="float32"),
        evaluation=EvaluationSettings(validation_tokens=4_000, prompts_per_kind=3, samples_per_prompt=2, new_tokens=8),
        latency=LatencySettings(device="cuda", context=32),
        objectives=("val_loss", "collapse_rate"),
        folder=str(tmp_path),
        device="cuda",
        threads=1,
    )


def test_a_job_on_the_device_reaches_the_loss_of_the_processor(job: Job, tmp_path: Path) -> None:
    there = run_job(job)
    here = run_job(dataclasses.replace(job, device="cpu", folder=str(tmp_path / "cpu")))
    assert there.ok, there.failure
    assert there.scores["val_loss"].value == pytest.approx(here.scores["val_loss"].value, abs=0.02)


def test_bfloat16_costs_little_loss(job: Job, tmp_path: Path) -> None:
    full = run_job(job)
    training = dataclasses.replace(job.training, precision="bfloat16")
    half = run_job(dataclasses.replace(job, training=training, folder=str(tmp_path / "half")))
    assert half.scores["val_loss"].value == pytest.approx(full.scores["val_loss"].value, abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("position", ["rope", "alibi", "learned"])
def test_no_architecture_leaks_on_the_device(dtype: torch.dtype, position: str) -> None:
    model = build_model(dataclasses.replace(SMALL_SPEC, position=position), 0, "cuda", dtype)
    assert "max" in leak_test(model)


def test_greedy_tokens_are_those_of_the_processor() -> None:
    prompts = [[5, 6, 7], [9] * 11]
    made = [generate(build_model(SMALL_SPEC, 0, device), prompts, max_new_tokens=16) for device in ("cpu", "cuda")]
    assert made[0] == made[1]


def test_latency_is_measured_on_the_device() -> None:
    result = measure_latency(SMALL_SPEC, LatencySettings(device="cuda", context=32))
    assert result.decode.value > 0
    assert "cuda" in result.stamps["driver"]


def test_running_out_of_memory_is_a_failure_of_the_trial(job: Job) -> None:
    # Two million windows a step: a gigabyte of tokens on the host, and more logits than any device holds.
    training = dataclasses.replace(job.training, batch_tokens=2_000_000 * SMALL_SPEC.context_length)
    outcome = run_job(dataclasses.replace(job, training=training))
    assert outcome.failure is not None
    assert outcome.failure.kind == "out_of_memory"
