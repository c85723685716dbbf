from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from autonas.arch import ArchSpec
from autonas.data.batches import Windows
from autonas.data.dataset import Dataset
from autonas.evaluation import native_loss, passes
from autonas.evaluation.intervals import t_quantile
from autonas.evaluation.loss import (
    evaluate_loss,
    loss_scores,
    merge_documents,
    paired_difference,
    ratio_estimate,
)
from autonas.evaluation.passes import document_nats, fast_pass, half_losses, held_to_plain, plain_losses, plain_nats
from autonas.evaluation.scored import ScoredTokens, scored_tokens
from autonas.model.transformer import Transformer, build_model
from autonas.training.loop import train
from autonas.training.state import new_state
from autonas.trial import DocumentLosses, EvaluationSettings, TrainingSettings

FEW = EvaluationSettings(validation_tokens=6_000)


def toy_tokens(lengths: list[int], vocab_size: int, seed: int = 0) -> ScoredTokens:
    generator = np.random.default_rng(seed)
    total = sum(lengths)
    return ScoredTokens(
        inputs=generator.integers(vocab_size, size=total),
        targets=generator.integers(vocab_size, size=total),
        starts=np.concatenate(([0], np.cumsum(lengths))),
        bytes=np.array(lengths) * 3,
    )


def no_fast_pass(model: Transformer) -> tuple[None, str]:
    return None, ""


def test_documents_packed_together_have_the_losses_they_have_alone() -> None:
    spec = ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=50, context_length=8)
    model = build_model(spec, 3).eval()
    lengths = [1, 7, 8, 9, 30, 2, 16]
    scored = toy_tokens(lengths, 50)
    packed = plain_nats(model, scored)
    for number in range(len(lengths)):
        expected = 0.0
        for begin in range(scored.starts[number], scored.starts[number + 1], 8):
            end = min(begin + 8, scored.starts[number + 1])
            logits = model(torch.from_numpy(scored.inputs[begin:end])[None])[0].detach().double()
            chosen = logits.log_softmax(-1)[torch.arange(end - begin), torch.from_numpy(scored.targets[begin:end])]
            expected -= float(chosen.sum())
        assert packed[number] == pytest.approx(expected, rel=1e-5)


def test_a_uniform_model_scores_the_logarithm_of_the_vocabulary_on_every_token(dataset: Dataset, model: Transformer) -> None:
    with torch.no_grad():
        model.embedding.weight.zero_()
    documents = evaluate_loss(model, dataset, FEW)
    scored = scored_tokens(dataset, "validation", FEW.validation_tokens)
    assert sum(documents.tokens) == len(scored.targets)
    assert loss_scores(documents)["val_loss"].value == pytest.approx(math.log(dataset.vocab_size), rel=1e-6)
    bits = loss_scores(documents)["bits_per_byte"].value
    expected = math.log2(dataset.vocab_size) * sum(documents.tokens) / sum(documents.bytes)
    assert bits == pytest.approx(expected, rel=1e-6)


def test_dropout_and_smoothing_do_not_touch_the_loss_and_the_mode_is_kept(dataset: Dataset, spec: ArchSpec) -> None:
    plain = evaluate_loss(build_model(spec, 5), dataset, FEW)
    wet = dataclasses.replace(spec, residual_dropout=0.5, attention_dropout=0.5, label_smoothing=0.2)
    model = build_model(wet, 5).train()
    assert evaluate_loss(model, dataset, FEW) == plain
    assert model.training


def test_the_same_model_is_scored_alike_twice(dataset: Dataset, model: Transformer) -> None:
    assert evaluate_loss(model, dataset, FEW) == evaluate_loss(model, dataset, FEW)


def test_blocks_of_logits_do_not_change_the_loss(dataset: Dataset, model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "fast_pass", no_fast_pass)
    whole = evaluate_loss(model, dataset, FEW)
    monkeypatch.setattr("autonas.evaluation.passes._BLOCK_LOGITS", {"cpu": 7 * dataset.vocab_size})
    monkeypatch.setattr("autonas.evaluation.passes._BATCH_TOKENS", {"cpu": 300})
    np.testing.assert_allclose(evaluate_loss(model, dataset, FEW).nats, whole.nats, rtol=1e-5)


@pytest.mark.parametrize("plain", [True, False])
def test_way_is_made_before_every_batch_and_changes_nothing(
    dataset: Dataset, model: Transformer, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    calls: list[int] = []
    batches: list[int] = []
    if plain:
        monkeypatch.setattr(passes, "fast_pass", no_fast_pass)
    elif fast_pass(model)[0] is None:
        pytest.skip("this processor has no bfloat16 instructions")
    undisturbed = evaluate_loss(model, dataset, FEW)
    owner: Any = model if plain else native_loss
    name = "features" if plain else "_losses"
    real = getattr(owner, name)

    def counted(*arguments: Any) -> Any:
        batches.append(len(calls))
        return real(*arguments)

    monkeypatch.setattr(owner, name, counted)
    assert evaluate_loss(model, dataset, FEW, make_way=lambda: calls.append(0)) == undisturbed
    assert len(batches) > 1
    assert batches == list(range(1, len(batches) + 1))


def test_losses_in_bfloat16_are_those_of_the_plain_pass(
    dataset: Dataset, spec: ArchSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    for change in ({}, {"position": "alibi", "norm": "layernorm"}, {"position": "learned", "tied_embeddings": False}):
        model = build_model(dataclasses.replace(spec, **change), 5)
        if fast_pass(model)[0] is None:
            pytest.skip("this processor has no bfloat16 instructions")
        fast = evaluate_loss(model, dataset, FEW)
        with monkeypatch.context() as patch:
            patch.setattr(passes, "fast_pass", no_fast_pass)
            plain = evaluate_loss(model, dataset, FEW)
        assert fast.tokens == plain.tokens
        assert sum(fast.nats) / sum(fast.tokens) == pytest.approx(sum(plain.nats) / sum(plain.tokens), abs=1e-3)
        assert "in bfloat16" in loss_scores(fast)["val_loss"].note
        assert "bfloat16" not in loss_scores(plain)["val_loss"].note


def test_a_fast_pass_that_is_wrong_is_not_used(dataset: Dataset, model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    if fast_pass(model)[0] is None:
        pytest.skip("this processor has no bfloat16 instructions")
    real = native_loss._losses
    monkeypatch.setattr(native_loss, "_losses", lambda *arguments: [losses + 0.01 for losses in real(*arguments)])
    found = evaluate_loss(model, dataset, FEW)
    assert "was not right" in found.how
    with monkeypatch.context() as patch:
        patch.setattr(passes, "fast_pass", no_fast_pass)
        assert found.nats == evaluate_loss(model, dataset, FEW).nats


def trained(spec: ArchSpec, dataset: Dataset, device: str = "cpu") -> Transformer:
    """A model whose logits are no longer small."""
    windows = Windows(dataset.tokens("train"), spec.context_length, 0)
    settings = TrainingSettings(batch_tokens=512, warmup_tokens=1_024, learning_rate=5e-3, precision="float32")
    state = new_state(build_model(spec, 5, device), windows, settings, seed=0)
    for _ in train(state, until_tokens=60 * 512):
        pass
    return state.model


@pytest.mark.parametrize("change", [{}, {"position": "alibi", "norm": "layernorm"}, {"position": "learned"}])
def test_products_in_bfloat16_have_the_losses_of_the_plain_pass_and_leaves_the_model_alone(
    dataset: Dataset, spec: ArchSpec, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a CUDA device does, done on a processor."""
    model = trained(dataclasses.replace(spec, **change), dataset).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    monkeypatch.setattr(passes, "fast_pass", lambda model: (half_losses, ""))
    fast = evaluate_loss(model, dataset, FEW)
    monkeypatch.setattr(passes, "fast_pass", no_fast_pass)
    plain = evaluate_loss(model, dataset, FEW)
    assert fast.how.startswith("in bfloat16, ") and plain.how == ""
    assert sum(fast.nats) / sum(fast.tokens) == pytest.approx(sum(plain.nats) / sum(plain.tokens), abs=1e-3)
    assert fast.nats != plain.nats
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("spoil", "right"),
    [
        (lambda losses: losses, True),
        (lambda losses: losses + 0.0015, True),
        (lambda losses: losses + 0.003, False),
        (lambda losses: losses + np.where(np.arange(len(losses)) % 2, 0.05, -0.05), False),
        (lambda losses: np.where(np.arange(len(losses)) == 3, np.nan, losses), False),
    ],
)
def test_a_planted_bias_or_error_of_any_fast_pass_is_caught(
    dataset: Dataset, model: Transformer, monkeypatch: pytest.MonkeyPatch, spoil: Any, right: bool
) -> None:
    scored = scored_tokens(dataset, "validation", FEW.validation_tokens)
    with torch.no_grad():
        losses = [spoil(window) for window in plain_losses(model.eval(), scored)]
    found, note = held_to_plain(model, scored, losses)
    assert found == right and note.startswith("in bfloat16, ")
    monkeypatch.setattr(passes, "fast_pass", lambda model: (lambda *arguments: losses, ""))
    nats, how = document_nats(model, scored)
    assert how == (note if right else f"in float32, since a fast pass was not right ({note})")
    assert right or np.array_equal(nats, plain_nats(model, scored))


def test_why_there_are_no_kernels_is_said(dataset: Dataset, model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(passes, "find_kernels", lambda bits: (None, "there is no C compiler"))
    documents = evaluate_loss(model, dataset, FEW)
    assert documents.how == "in float32, since there is no C compiler"
    monkeypatch.setattr(passes, "has_bfloat16", lambda device: False)
    assert evaluate_loss(model, dataset, FEW).how == "", "nothing is missing where the processor has no bfloat16"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("change", [{}, {"position": "alibi", "norm": "layernorm"}, {"position": "learned"}])
def test_losses_in_bfloat16_on_a_device_are_those_of_its_plain_pass(
    dataset: Dataset, spec: ArchSpec, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = trained(dataclasses.replace(spec, **change), dataset, "cuda")
    fast = evaluate_loss(model, dataset, FEW)
    again = evaluate_loss(model, dataset, FEW)
    monkeypatch.setattr(passes, "fast_pass", no_fast_pass)
    plain = evaluate_loss(model, dataset, FEW)
    assert fast.how.startswith("in bfloat16, ") and fast == again
    assert sum(fast.nats) / sum(fast.tokens) == pytest.approx(sum(plain.nats) / sum(plain.tokens), abs=1e-3)


def test_merging_documents_keeps_all_sums_and_the_loss() -> None:
    generator = np.random.default_rng(0)
    nats, tokens = generator.gamma(2.0, size=1300) * 100, generator.integers(1, 900, size=1300)
    merged = merge_documents(nats, tokens, tokens * 3)
    assert len(merged.nats) == len(merged.tokens) == len(merged.bytes) == 512
    assert sum(merged.tokens) == tokens.sum() and sum(merged.bytes) == 3 * tokens.sum()
    assert sum(merged.nats) == pytest.approx(nats.sum())
    assert merge_documents(nats[:512], tokens[:512], tokens[:512]).nats == tuple(nats[:512])


def test_the_interval_holds_the_true_loss_in_about_95_of_100_corpora() -> None:
    generator, covered = np.random.default_rng(1), 0
    for _ in range(400):
        tokens = generator.integers(50, 400, size=40)
        rates = 3.0 + generator.normal(0, 0.5, size=40)  # documents differ, whatever their tokens
        documents = DocumentLosses(nats=tuple(rates * tokens), tokens=tuple(tokens.tolist()), bytes=tuple(tokens.tolist()))
        score = loss_scores(documents)["val_loss"]
        covered += score.low <= 3.0 <= score.high
    assert 0.91 <= covered / 400 <= 0.99


def test_pairing_cancels_the_difficulty_of_documents() -> None:
    generator = np.random.default_rng(2)
    tokens = generator.integers(50, 400, size=60)
    difficulty = generator.normal(4.0, 1.0, size=60)
    a, b = (
        DocumentLosses(
            nats=tuple((difficulty + shift + generator.normal(0, 0.02, size=60)) * tokens),
            tokens=tuple(tokens.tolist()),
            bytes=tuple(tokens.tolist()),
        )
        for shift in (0.1, 0.0)
    )
    difference, error = paired_difference(a, b)
    assert difference == pytest.approx(0.1, abs=4 * error)
    assert error < ratio_estimate(np.array(a.nats), tokens)[1] / 10
    assert paired_difference(a, a) == (0.0, 0.0)
    with pytest.raises(AssertionError, match="same documents"):
        paired_difference(a, dataclasses.replace(b, tokens=b.tokens[::-1]))


def test_one_document_says_nothing_of_its_error() -> None:
    score = loss_scores(DocumentLosses(nats=(30.0,), tokens=(10,), bytes=(25,)))["val_loss"]
    assert (score.low, score.value, score.high) == (0.0, 3.0, 6.0) and "no error estimate" in score.note


# Student's t, 97.5 % point, from printed tables.
@pytest.mark.parametrize(("freedom", "point"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (10, 2.228), (120, 1.980)])
def test_t_quantile_agrees_with_the_tables(freedom: int, point: float) -> None:
    assert t_quantile(freedom) == pytest.approx(point, rel=5e-3)
