"""A full run: its folder, its schedule, and that an interruption at any moment changes nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.errors import CheckpointError, RequestError, StudyError
from autonas.promotion import full_run
from autonas.promotion.full_run import RunSettings, load_run, train_run
from autonas.training.loop import Progress
from autonas.trial import EvaluationSettings, LatencySettings, TrainingSettings
from tests.studies import SMALL_SPEC

SETTINGS = RunSettings(
    steps=24,
    seed=3,
    training=TrainingSettings(batch_tokens=512, warmup_tokens=1_024),
    evaluation=EvaluationSettings(validation_tokens=3_000, prompts_per_kind=2, samples_per_prompt=2, new_tokens=8),
    latency=LatencySettings(device="cpu", context=32),
    cooldown_share=0.2,
)
SCHEDULES = ("wsd", "cosine")


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


def settings(schedule: Any) -> RunSettings:
    return dataclasses.replace(SETTINGS, training=dataclasses.replace(SETTINGS.training, schedule=schedule))


def essence(evaluation: dict[str, Any]) -> Any:
    timed = ("latency", "prefill_latency")
    return [evaluation["tokens"], {k: v for k, v in evaluation["scores"].items() if k not in timed}, evaluation["samples"]]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_has_exactly_its_steps_and_its_rate_falls_to_the_end(dataset: Dataset, tmp_path: Path, schedule: str) -> None:
    seen: list[Progress] = []
    evaluation = train_run(
        SMALL_SPEC, dataset, settings(schedule), out=tmp_path / "run", on_progress=lambda step, total: seen.append(step)
    )
    assert evaluation["tokens"] == 24 * 512 == seen[-1].tokens
    assert [step.tokens for step in seen] == [512 * (number + 1) for number in range(24)]
    rates = [step.learning_rate for step in seen]
    assert rates[-1] < 0.3 * max(rates)
    if schedule == "wsd":
        assert len({f"{rate:.9f}" for rate in rates[3:19]}) == 1, "the phase between warm-up and cooldown is stable"


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("step", [2, 19, 21])
def test_an_interrupted_run_ends_as_the_whole_one(
    dataset: Dataset, tmp_path: Path, schedule: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full_run, "CHECKPOINT_EVERY_S", 0.0)
    whole = train_run(SMALL_SPEC, dataset, settings(schedule), out=tmp_path / "whole")

    def interrupt(progress: Progress, total: int) -> None:
        if progress.tokens == (step + 1) * 512:
            raise KeyboardInterrupt

    out = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train_run(SMALL_SPEC, dataset, settings(schedule), out=out, on_progress=interrupt)
    said: list[str] = []
    resumed = train_run(SMALL_SPEC, dataset, settings(schedule), out=out, resume=True, say=said.append)
    assert f"at {step * 512:,} of" in said[0]
    assert essence(resumed) == essence(whole)
    tokens = [json.loads(line)["tokens"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert tokens == sorted(set(tokens))
    assert tokens[-1] == 24 * 512


def test_a_finished_run_can_be_loaded_and_is_the_model_that_was_scored(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_run(SMALL_SPEC, dataset, SETTINGS, out=out)
    loaded = load_run(out)
    assert loaded.spec == SMALL_SPEC
    assert loaded.tokenizer.decode(loaded.tokenizer.encode("def f():")) == "def f():"
    again = full_run.evaluate(loaded.model, dataset, SETTINGS)
    recorded = json.loads((out / "evaluation.json").read_text())
    assert again["scores"]["val_loss"] == recorded["scores"]["val_loss"]
    assert json.loads((out / "spec.json").read_text()) == SMALL_SPEC.to_dict()


def test_a_folder_holds_one_run(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(StudyError, match="holds no run"):
        train_run(SMALL_SPEC, dataset, SETTINGS, out=out, resume=True)
    with pytest.raises(StudyError, match="is no run"):
        load_run(out)
    train_run(SMALL_SPEC, dataset, SETTINGS, out=out)
    with pytest.raises(StudyError, match="holds a run already"):
        train_run(SMALL_SPEC, dataset, SETTINGS, out=out)
    other = dataclasses.replace(SMALL_SPEC, norm="layernorm")
    with pytest.raises(StudyError, match=r"spec\.norm was rmsnorm, is layernorm"):
        train_run(other, dataset, SETTINGS, out=out, resume=True)


def test_a_damaged_run_is_named(dataset: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_run(SMALL_SPEC, dataset, SETTINGS, out=out)
    weights = out / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_run(out)
    (out / "run.json").write_text("{")
    with pytest.raises(StudyError, match=r"run\.json: cannot be read"):
        train_run(SMALL_SPEC, dataset, SETTINGS, out=out, resume=True)


def test_a_run_without_memory_ends_with_a_message_and_keeps_its_checkpoint(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*arguments: object) -> None:
        torch.empty(2**60)

    monkeypatch.setattr(full_run, "evaluate", hungry)
    with pytest.raises(RequestError, match=r"ended \(out_of_memory\).*last checkpoint is kept"):
        train_run(SMALL_SPEC, dataset, SETTINGS, out=tmp_path / "run")
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").exists()
