"""Leaks are planted in every place that can carry one, and each must be found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from torch import Tensor, nn

from autonas.arch import POSITIONS, ArchSpec
from autonas.errors import TrialFailure
from autonas.evaluation.leak import leak_test
from autonas.model.blocks import Attention, Block, Frame
from autonas.model.cache import KVCache
from autonas.model.transformer import Transformer, build_model
from tests.model.strategies import specs

SPEC = ArchSpec(layers=3, width=32, heads=4, kv_heads=4, vocab_size=50, context_length=24)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(specs(dropout=True))
def test_every_architecture_passes(spec: ArchSpec) -> None:
    assume(spec.width >= 8)  # one or two normalised channels are a sign: a model of them may well ignore its past
    for dtype in (torch.float32, torch.bfloat16):
        assert leak_test(build_model(spec, seed=0, dtype=dtype), tolerance=1e-7).startswith("max |Δlogit| 0 <= 1e-07 over")


@pytest.mark.parametrize("position", POSITIONS)
def test_a_model_passes_at_its_full_size_in_training_mode(position: str) -> None:
    spec = dataclasses.replace(SPEC, position=position, width=64, context_length=256, residual_dropout=0.2)
    model = build_model(spec, seed=0).train()
    state = torch.get_rng_state()
    assert leak_test(model) == "max |Δlogit| 0 <= 1e-05 over 24 changes"
    assert model.training and torch.equal(state, torch.get_rng_state())
    assert all(weight.grad is None for weight in model.parameters())
    assert not model.embedding._forward_hooks


def block_of(model: Transformer, layer: int) -> Block:
    block = model.blocks[layer]
    assert isinstance(block, Block)
    return block


def with_window(ahead: int, behind: int = 1000, heads: range = range(4)) -> Callable[[Attention], None]:
    """Let `heads` see `ahead` tokens of the future and `behind` of the past."""

    def plant(attention: Attention) -> None:
        def attend(q: Tensor, k: Tensor, v: Tensor, frame: Frame) -> Tensor:
            keys = torch.arange(k.shape[2])
            queries = torch.arange(k.shape[2] - q.shape[2], k.shape[2])[:, None]
            allowed = torch.zeros(4, q.shape[2], k.shape[2], dtype=torch.bool)
            allowed[:] = keys <= queries
            for head in heads:
                allowed[head] = (keys <= queries + ahead) & (keys >= queries - behind)
            return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)

        attention._attend = attend  # type: ignore[method-assign]

    return plant


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("layers", [(0, 1, 2), (0,), (1,), (2,)])
@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(with_window(ahead=1000), id="no mask"),
        pytest.param(with_window(ahead=1), id="one ahead"),
        pytest.param(with_window(ahead=3, behind=3), id="symmetric window"),
        pytest.param(with_window(ahead=1000, heads=range(2, 3)), id="one head without a mask"),
        pytest.param(with_window(ahead=1, heads=range(3, 4)), id="one head one ahead"),
        pytest.param(with_window(ahead=20), id="far ahead"),
    ],
)
def test_a_leak_in_the_attention_is_found(plant: Callable[[Attention], None], layers: tuple[int, ...], seed: int) -> None:
    model = build_model(SPEC, seed=seed)
    for layer in layers:
        plant(block_of(model, layer).attention)
    with pytest.raises(TrialFailure, match="sees the future") as caught:
        leak_test(model)
    assert caught.value.kind == "leak"


def test_the_planted_attention_passes_when_it_is_causal() -> None:
    model = build_model(SPEC, seed=0)
    for layer in range(3):
        with_window(ahead=0)(block_of(model, layer).attention)
    assert leak_test(model).startswith("max |Δlogit| ")


def time_mean(x: Tensor) -> Tensor:
    return x + 1e-2 * x.mean(dim=1, keepdim=True)


def time_normalised(x: Tensor) -> Tensor:
    """A batch norm over time: the classic leak of a convolutional habit."""
    return (x - x.mean(dim=1, keepdim=True)) / (x.std(dim=1, keepdim=True, correction=0) + 1e-3)


def blended_with_next(x: Tensor) -> Tensor:
    return x + 1e-2 * torch.cat((x[:, 1:], x[:, -1:]), dim=1)


def last_to_first(x: Tensor) -> Tensor:
    """One pair of positions only, as a wrapped convolution would have."""
    return torch.cat((x[:, :1] + 1e-2 * x[:, -1:], x[:, 1:]), dim=1)


@pytest.mark.parametrize("leak", [time_mean, time_normalised, blended_with_next, last_to_first])
@pytest.mark.parametrize("place", ["feed_forward", "attention_norm", "final_norm", "embedding"])
def test_a_leak_past_the_attention_is_found(leak: Callable[[Tensor], Tensor], place: str) -> None:
    model = build_model(SPEC, seed=0)
    part = getattr(block_of(model, 1), place) if place in ("feed_forward", "attention_norm") else getattr(model, place)
    part.register_forward_hook(lambda module, inputs, output: leak(output))
    with pytest.raises(TrialFailure, match="sees the future"):
        leak_test(model)


def test_a_leak_in_training_mode_only_is_found() -> None:
    model = build_model(SPEC, seed=0)
    model.final_norm.register_forward_hook(lambda m, inputs, output: time_mean(output) if m.training else output)
    with pytest.raises(TrialFailure, match="training pass"):
        leak_test(model)


def test_a_leak_at_full_context_only_is_found() -> None:
    model = build_model(SPEC, seed=0)
    model.final_norm.register_forward_hook(lambda m, i, output: time_mean(output) if output.shape[1] == 24 else output)
    with pytest.raises(TrialFailure, match="of 24"):
        leak_test(model)


def test_a_leak_at_short_lengths_only_is_found() -> None:
    model = build_model(SPEC, seed=0)
    model.final_norm.register_forward_hook(lambda m, i, output: time_mean(output) if output.shape[1] < 24 else output)
    with pytest.raises(TrialFailure, match="of 7"):
        leak_test(model)


class CacheLeak(Transformer):
    """Filling a cache, every token sees all of the piece it comes with."""

    def features(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        x = super().features(tokens, cache)
        return x if cache is None else time_mean(x)


def test_a_leak_in_the_cached_pass_only_is_found() -> None:
    with pytest.raises(TrialFailure, match="cached pass"):
        leak_test(CacheLeak(SPEC))


class StaleCache(Transformer):
    """A cache that forgets: causal, but not the model that was trained."""

    def features(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        x = super().features(tokens, cache)
        if cache is not None:
            cache.values *= 0.5
        return x


def test_a_cached_pass_that_computes_something_else_is_found() -> None:
    with pytest.raises(TrialFailure, match="with a KV cache differ"):
        leak_test(StaleCache(SPEC))


class GradientLeak(Transformer):
    """No change of a token shows this one: its value is nothing, but training would follow its slope."""

    def features(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        x = super().features(tokens, cache)
        ahead = torch.cat((x[:, 1:], x[:, -1:]), dim=1)
        return x + 1e-2 * (ahead - ahead.detach())


def test_a_leak_of_the_gradient_alone_is_found() -> None:
    with pytest.raises(TrialFailure, match="gradient"):
        leak_test(GradientLeak(SPEC))


def test_a_model_that_ignores_its_past_does_not_pass() -> None:
    model = build_model(SPEC, seed=0)
    for layer in range(3):
        nn.init.zeros_(block_of(model, layer).attention.out.weight)
    with pytest.raises(TrialFailure, match="the test is blind"):
        leak_test(model)


def test_a_model_that_says_nothing_does_not_pass() -> None:
    model = build_model(dataclasses.replace(SPEC, tied_embeddings=False), seed=0)
    nn.init.zeros_(model.unembedding.weight)
    with pytest.raises(TrialFailure, match="the test is blind"):
        leak_test(model)


def test_logits_that_are_no_numbers_do_not_pass() -> None:
    model = build_model(SPEC, seed=0)
    nn.init.constant_(model.final_norm.weight, float("nan"))  # type: ignore[arg-type]
    with pytest.raises(TrialFailure):
        leak_test(model)
