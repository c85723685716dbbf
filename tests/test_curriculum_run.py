"""A full run over stages, and one with a teacher: nothing jumps at a boundary, and an interruption anywhere changes nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from autonas import full_run
from autonas.curriculum import Curriculum, Judge, Stage, Teacher
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.data.pairs import training_pairs
from autonas.data.stages import StagedWindows
from autonas.errors import RecipeError, StudyError, TrialFailure
from autonas.evaluation.detectors import is_collapsed
from autonas.model.transformer import build_model
from autonas.run_data import curriculum_sources, run_windows
from autonas.run_folder import read_job, run_budget
from autonas.teachers import load_teaching, write_texts
from autonas.training.guards import LossGuard
from autonas.training.loop import Progress, train
from autonas.training.optimizers import moments
from autonas.training.state import new_state
from autonas.training.watch import Watch
from autonas.trial import Finding, Job, TrainingSettings
from autonas.tuning.planning import plan_tuning
from autonas.worker import run_job
from tests.studies import SMALL_SPEC, small_job

STEP = 512
STAGES = Curriculum(
    stages=(
        Stage(share=0.5, difficulty=(0.0, 0.5)),
        Stage(share=0.25, difficulty=(0.5, 1.0), max_tokens=5_000),
        Stage(share=0.25, sources=(("pairs", 1.0),)),
    ),
    judge=Judge(layers=1, width=16, tokens=12_000),
)


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


@pytest.fixture(autouse=True)
def saves_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(full_run, "SAVES_SHARE", float("inf"))


def make_job(dataset: Dataset, folder: Path, steps: int = 24, **changes: Any) -> Job:
    job = small_job(dataset.ref, folder)
    budget = run_budget(SMALL_SPEC, job.training, steps, 0.2)
    return dataclasses.replace(job, kind="run", budget=budget, checkpoint_every_s=0.0, **changes)


@pytest.mark.parametrize("step", [17, *(pytest.param(step, marks=pytest.mark.slow) for step in (3, 12, 21))])
def test_a_run_over_stages_that_is_killed_ends_as_the_whole_one(dataset: Dataset, tmp_path: Path, step: int) -> None:
    whole = run_job(make_job(dataset, tmp_path / "whole", curriculum=STAGES))
    assert whole.ok, whole.failure

    def interrupt(job: Job, progress: Progress) -> None:
        if progress.tokens == (step + 1) * STEP:
            raise KeyboardInterrupt

    job = make_job(dataset, tmp_path / "broken", curriculum=STAGES)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, on_progress=interrupt)
    resumed = run_job(job)
    assert resumed.scores["val_loss"] == whole.scores["val_loss"] and resumed.curve == whole.curve
    assert resumed.checks["curriculum"] == whole.checks["curriculum"]
    assert "stage 3: tokens 9,216 to 12,288: pairs 100%" in whole.checks["curriculum"]


def test_the_moments_cross_a_boundary_without_a_jump(dataset: Dataset) -> None:
    """The first step of a stage is one more step of the same optimizer: m' = b1 m + (1 - b1) g, counted on."""
    curriculum = Curriculum(stages=(Stage(share=0.5), Stage(share=0.5, sources=(("pairs", 1.0),))))
    sources = curriculum_sources(dataset, curriculum)
    windows = StagedWindows(sources, curriculum, SMALL_SPEC.context_length, 0, 8 * STEP)
    assert windows.boundaries == (4 * STEP,)
    settings = TrainingSettings(batch_tokens=STEP, warmup_tokens=STEP)
    state = new_state(build_model(SMALL_SPEC, 0), windows, settings, seed=0)
    before: dict[str, torch.Tensor] = {}
    for progress in train(state, until_tokens=8 * STEP):
        after = {name: value.clone() for name, value in moments(state.optimizer)}
        if progress.tokens == 5 * STEP:
            gradients = {name: place.of(state.optimizer.flat.gradients) for name, place in state.optimizer.flat.places.items()}
            for name, gradient in gradients.items():
                expected = settings.beta1 * before[f"{name}.exp_avg"] + (1 - settings.beta1) * gradient
                torch.testing.assert_close(after[f"{name}.exp_avg"], expected, rtol=1e-4, atol=1e-8)
                assert after[f"{name}.step"] == 5.0
        before = after
    assert before["embedding.weight.step"] == 8.0


def test_the_schedule_crosses_a_boundary_without_a_jump(dataset: Dataset, tmp_path: Path) -> None:
    seen: dict[str, list[Progress]] = {"plain": [], "staged": []}
    for name, curriculum in (("plain", None), ("staged", STAGES)):
        run_job(
            make_job(dataset, tmp_path / name, curriculum=curriculum),
            on_progress=lambda job, step, name=name: seen[name].append(step),  # type: ignore[misc]
        )
    assert [step.learning_rate for step in seen["staged"]] == [step.learning_rate for step in seen["plain"]]
    assert [step.tokens for step in seen["staged"]] == [step.tokens for step in seen["plain"]]


def test_a_run_is_not_gone_on_with_under_another_curriculum(dataset: Dataset, tmp_path: Path) -> None:
    job = make_job(dataset, tmp_path / "run", steps=6, curriculum=STAGES)
    run_job(job)
    other = dataclasses.replace(STAGES, stages=(Stage(share=0.5), Stage(share=0.5, max_epochs=3.0)))
    with pytest.raises(StudyError, match="curriculum"):
        run_job(dataclasses.replace(job, curriculum=other))


def test_a_tuned_run_knows_what_its_base_was_shown(dataset: Dataset, tmp_path: Path) -> None:
    base = make_job(dataset, tmp_path / "base", steps=6, curriculum=STAGES)
    assert run_job(base).ok
    lines = ({"id": str(n), "prompt": f"def f{n}(x):", "solution": f"\n    return x + {n * n}\n"} for n in range(20))
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    job, _ = plan_tuning(tmp_path / "base", tmp_path / "data.jsonl", method="sft", folder=tmp_path / "tuned", steps=2)
    assert run_job(job).ok
    shown, again = run_windows(dataset, base), run_windows(dataset, read_job(tmp_path / "tuned"))
    assert again.name == shown.name


def test_a_stage_that_is_harder_is_no_divergence_and_one_that_diverges_is() -> None:
    def judge(boundaries: tuple[int, ...], losses: list[float]) -> int | None:
        guard = LossGuard(300, 0, boundaries)
        for number, loss in enumerate(losses):
            try:
                guard.check((number + 1) * 10, loss, 1.0)
            except TrialFailure:
                return number
            other = LossGuard(300, 0, boundaries)
            other.restore(json.loads(json.dumps(guard.state())))
            guard = other
        return None

    harder = [1.0] * 100 + [4.5] * 100
    assert judge((), harder) is not None, "without the boundary this is a divergence"
    assert judge((1000,), harder) is None
    broken = harder[:150] + [9.0] * 50
    assert (judge((1000,), broken) or 0) > 150


def rising(losses: list[float], boundaries: tuple[int, ...]) -> tuple[Finding, ...]:
    watch = Watch(step_tokens=10, warmup_tokens=0, epoch_tokens=10**9, floor=0.0, boundaries=boundaries)
    rng = np.random.default_rng(0)
    for number, loss in enumerate(losses):
        watch.see((number + 1) * 10, loss + float(rng.normal(0.0, 0.05)), 1.0)
    return watch.findings()


def test_a_rise_is_looked_for_within_stages() -> None:
    steps = [3.0] * 675 + [4.0] * 225
    assert rising(steps, (6750,)) == ()
    assert [finding.check for finding in rising(steps, ())] == ["rising_loss"], "without the boundary it is one"
    falling = np.linspace(3.0, 2.5, 300).tolist()
    wrong = falling + [value + 1.0 for value in falling] + list(reversed(falling))
    (finding,) = rising(wrong, (3000, 6000))
    assert finding.check == "rising_loss" and "between 7,500 and 9,000 tokens" in finding.text


def test_a_student_of_a_run_is_resumable_and_says_whom_it_heard(dataset: Dataset, tmp_path: Path) -> None:
    run_job(make_job(dataset, tmp_path / "teacher"))
    teacher = Teacher(model=str(tmp_path / "teacher"), weight=0.7, temperature=2.0)
    whole = run_job(make_job(dataset, tmp_path / "whole", teacher=teacher))
    assert whole.ok and "eager distilled 24 steps" in whole.checks["training path"]
    assert "weight 0.7, temperature 2" in whole.checks["teacher"]

    def interrupt(job: Job, progress: Progress) -> None:
        if progress.tokens == 21 * STEP:
            raise KeyboardInterrupt

    job = make_job(dataset, tmp_path / "broken", teacher=teacher)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, on_progress=interrupt)
    assert run_job(job).scores["val_loss"] == whole.scores["val_loss"]


def hugging_face(dataset: Dataset, folder: Path, vocab_size: int = 320) -> None:
    """A causal model with the data set's tokenizer, whose logits are padded as Hugging Face's often are."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    backend = tokenizers.Tokenizer.from_str(dataset.tokenizer.to_bytes().decode())
    theirs: Any = PreTrainedTokenizerFast
    theirs(tokenizer_object=backend, eos_token="<|endoftext|>").save_pretrained(folder)


def test_a_model_of_hugging_face_with_the_same_tokens_teaches(dataset: Dataset, tmp_path: Path) -> None:
    hugging_face(dataset, tmp_path / "theirs")
    teaching = load_teaching(Teacher(model=str(tmp_path / "theirs")), dataset.tokenizer, torch.device("cpu"))
    tokens = torch.from_numpy(dataset.tokens("train")[:32].astype(np.int64))[None]
    logits = teaching.logits(tokens)
    assert logits.shape == (1, 32, 300)
    model = LlamaForCausalLM.from_pretrained(tmp_path / "theirs")
    torch.testing.assert_close(logits, model(tokens).logits[..., :300])
    outcome = run_job(make_job(dataset, tmp_path / "run", steps=6, teacher=Teacher(model=str(tmp_path / "theirs"))))
    assert outcome.ok, outcome.failure


def test_a_teacher_of_other_tokens_is_refused_with_the_way_out(dataset: Dataset, tmp_path: Path, code_corpus: Path) -> None:
    other = prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=310))
    hugging_face(other, tmp_path / "theirs")
    with pytest.raises(RecipeError, match=r"another tokenizer .*autonas teach"):
        load_teaching(Teacher(model=str(tmp_path / "theirs")), dataset.tokenizer, torch.device("cpu"))
    with pytest.raises(RecipeError, match="neither a run's folder nor a causal model"):
        load_teaching(Teacher(model=str(tmp_path / "nowhere")), dataset.tokenizer, torch.device("cpu"))


def test_a_teacher_of_any_tokens_writes_texts_that_a_run_is_shown(dataset: Dataset, tmp_path: Path, code_corpus: Path) -> None:
    other = prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=310))
    hugging_face(other, tmp_path / "theirs")
    run_job(make_job(dataset, tmp_path / "ours", steps=6))
    for name in ("theirs", "ours"):
        files = [tmp_path / f"{name}-{number}.jsonl" for number in range(2)]
        found = [write_texts(str(tmp_path / name), dataset, file, count=40, max_tokens=20, seed=3) for file in files]
        assert found[0] == found[1] and files[0].read_bytes() == files[1].read_bytes()
        assert found[0].texts + found[0].collapsed == 40
        heads = {pair.head for pair in training_pairs(dataset)}
        texts = [json.loads(line)["text"] for line in files[0].read_text().splitlines()]
        assert all(any(text.startswith(head) for head in heads) for text in texts)
        assert not any(is_collapsed(text[len(head) :]) for text in texts for head in heads if text.startswith(head))
    stages = (Stage(share=0.5), Stage(share=0.5, sources=(("made", 1.0),)))
    curriculum = Curriculum(stages=stages, texts=(("made", str(tmp_path / "theirs-0.jsonl")),))
    outcome = run_job(make_job(dataset, tmp_path / "run", steps=12, curriculum=curriculum))
    assert outcome.ok and "made 100%" in outcome.checks["curriculum"]
