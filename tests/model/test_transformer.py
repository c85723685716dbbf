from __future__ import annotations

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autonas.arch import ACTIVATIONS, NORMS, POSITIONS, ArchSpec
from autonas.errors import RequestError
from autonas.model.blocks import NORM_EPSILON, Block
from autonas.model.positions import alibi_slopes
from autonas.model.transformer import Transformer, build_model, eval_mode
from tests.model.strategies import specs

checked = settings(derandomize=True, deadline=None, max_examples=60)
SPEC = ArchSpec(layers=2, width=32, heads=4, kv_heads=2, vocab_size=50, context_length=16)


def tokens_of(spec: ArchSpec, rows: int = 2, length: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(spec.vocab_size, (rows, length or spec.context_length), generator=generator)


def plain_logits(model: Transformer, tokens: Tensor) -> Tensor:
    """The definition written out with loops over heads and explicit masks, to compare the fast model with."""
    spec, weights = model.spec, dict(model.named_parameters())
    length, half, width = tokens.shape[1], spec.head_width // 2, spec.head_width

    def norm(x: Tensor, name: str) -> Tensor:
        if spec.norm == "layernorm":
            x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + NORM_EPSILON).sqrt()
            return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]
        return x / (x.square().mean(-1, keepdim=True) + NORM_EPSILON).sqrt() * weights[f"{name}.weight"]

    def turn(x: Tensor) -> Tensor:
        if spec.position != "rope":
            return x
        rate = 10000.0 ** (-torch.arange(half, dtype=x.dtype) * 2 / width)
        z = torch.polar(torch.ones(length, half, dtype=x.dtype), torch.arange(length, dtype=x.dtype)[:, None] * rate)
        z = torch.complex(x[..., :half], x[..., half:]) * z
        return torch.cat((z.real, z.imag), -1)

    def attention(x: Tensor, name: str) -> Tensor:
        rows = torch.split(x @ weights[f"{name}.qkv.weight"].T, width, dim=-1)  # H queries, K keys, K values
        heads, distance = [], torch.arange(length)[None, :] - torch.arange(length)[:, None]
        for h in range(spec.heads):
            group = h // (spec.heads // spec.kv_heads)
            q, k, v = rows[h], rows[spec.heads + group], rows[spec.heads + spec.kv_heads + group]
            scores = turn(q) @ turn(k).transpose(1, 2) / math.sqrt(width)
            if spec.position == "alibi":
                scores = scores + alibi_slopes(spec.heads)[h] * distance
            heads.append(scores.masked_fill(distance > 0, -torch.inf).softmax(-1) @ v)
        return torch.cat(heads, -1) @ weights[f"{name}.out.weight"].T

    def feed_forward(x: Tensor, name: str) -> Tensor:
        hidden = x @ weights[f"{name}.up.weight"].T
        activate = F.gelu if spec.activation in ("gelu", "geglu") else F.silu
        if spec.activation in ("geglu", "swiglu"):
            hidden = activate(hidden[..., : spec.ffn_width]) * hidden[..., spec.ffn_width :]
        else:
            hidden = activate(hidden)
        return hidden @ weights[f"{name}.down.weight"].T

    x = weights["embedding.weight"][tokens]
    if spec.position == "learned":
        x = x + weights["position_embedding.weight"][:length]
    for layer in range(spec.layers):
        x = x + attention(norm(x, f"blocks.{layer}.attention_norm"), f"blocks.{layer}.attention")
        x = x + feed_forward(norm(x, f"blocks.{layer}.feed_forward_norm"), f"blocks.{layer}.feed_forward")
    return norm(x, "final_norm") @ weights["embedding.weight" if spec.tied_embeddings else "unembedding.weight"].T


@checked
@given(specs())
def test_logits_are_those_of_the_definition(spec: ArchSpec) -> None:
    model = build_model(spec, seed=0, dtype=torch.float64)
    with torch.no_grad():
        for weight in model.parameters():  # norms away from the identity, logits of order one
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(2), dtype=weight.dtype) * 0.1)
        tokens = tokens_of(spec)
        torch.testing.assert_close(model(tokens), plain_logits(model, tokens), rtol=1e-5, atol=1e-6)


@checked
@given(specs())
def test_every_parameter_gets_a_gradient(spec: ArchSpec) -> None:
    model, tokens = build_model(spec, seed=0), tokens_of(spec)
    torch.autograd.backward(F.cross_entropy(model(tokens).flatten(0, 1), tokens.roll(-1, 1).flatten()))
    for name, weight in model.named_parameters():
        assert weight.grad is not None and bool(weight.grad.isfinite().all()), name
        if spec.width > 2 and spec.head_width > 2:  # a LayerNorm of two channels is a sign, and has no gradient
            assert float(weight.grad.abs().max()) > 0, name


@checked
@given(specs(), st.sampled_from([torch.float32, torch.bfloat16]))
def test_features_and_head_are_the_forward_pass(spec: ArchSpec, dtype: torch.dtype) -> None:
    model, tokens = build_model(spec, seed=0, dtype=dtype), tokens_of(spec)
    features = model.features(tokens)
    assert features.shape == (*tokens.shape, spec.width)
    logits = model(tokens)
    assert logits.shape == (*tokens.shape, spec.vocab_size) and logits.dtype == dtype
    assert torch.equal(model.head(features), logits)


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    first, again, other = (build_model(SPEC, seed=seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])


def test_building_neither_reads_nor_moves_the_global_random_state() -> None:
    torch.manual_seed(0)
    first, state = build_model(SPEC, seed=7), torch.get_rng_state()
    assert torch.equal(state, torch.manual_seed(0).get_state())
    torch.manual_seed(123)
    assert torch.equal(first.embedding.weight, build_model(SPEC, seed=7).embedding.weight)


def test_number_format_does_not_change_the_draw() -> None:
    full, half = build_model(SPEC, seed=7), build_model(SPEC, seed=7, dtype=torch.bfloat16)
    assert torch.equal(full.embedding.weight.bfloat16(), half.embedding.weight)


@pytest.mark.parametrize("position", POSITIONS)
def test_weights_are_drawn_with_the_stated_deviations(position: str) -> None:
    spec = ArchSpec(layers=8, width=256, heads=4, kv_heads=4, position=position, tied_embeddings=False, vocab_size=512)
    for name, weight in build_model(spec, seed=0).state_dict().items():
        if weight.ndim == 1:
            continue
        expected = 0.02
        if name.startswith("blocks."):
            expected = 0.32 / math.sqrt(weight.shape[1])
            if ".out." in name or ".down." in name:
                expected /= 4.0  # sqrt(2 · 8 layers)
        assert float(weight.std()) == pytest.approx(expected, rel=0.02), name
        assert abs(float(weight.mean())) < expected / 50, name


def test_the_state_dict_has_weights_only() -> None:
    for position in POSITIONS:
        model = build_model(dataclasses.replace(SPEC, position=position), seed=0)
        assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("name", ["attention_dropout", "residual_dropout"])
def test_dropout_falls_in_training_only(name: str) -> None:
    spec = ArchSpec.from_dict({**SPEC.to_dict(), name: 0.3})
    model, tokens = build_model(spec, seed=0), tokens_of(spec)
    without = build_model(SPEC, seed=0).eval()
    with eval_mode(model):
        assert torch.equal(model(tokens), without(tokens))
    assert model.training
    assert not torch.equal(model(tokens), model(tokens))


def test_residual_dropout_falls_on_both_branches_and_in_the_feed_forward() -> None:
    spec = dataclasses.replace(SPEC, layers=1, residual_dropout=0.5)
    model = build_model(spec, seed=0).train()
    block = model.blocks[0]
    assert isinstance(block, Block)
    seen: dict[str, Tensor] = {}
    block.feed_forward.down.register_forward_hook(lambda module, inputs, output: seen.update(hidden=inputs[0]))
    block.feed_forward_norm.register_forward_hook(lambda module, inputs, output: seen.update(between=inputs[0]))
    x = torch.randn(4, 16, 32, generator=torch.Generator().manual_seed(0))
    frame = model._frame(16, None, torch.float32)
    out = block(x, frame, None, 0)
    for dropped in (seen["hidden"], seen["between"] - x, out - seen["between"]):
        assert 0.4 < float((dropped == 0).float().mean()) < 0.6


def test_eval_mode_ends_as_it_began() -> None:
    model = build_model(SPEC, seed=0)

    def fail_inside() -> None:
        with eval_mode(model):
            assert not model.training and not torch.is_grad_enabled()
            raise ZeroDivisionError

    for training in (True, False):
        model.train(training)
        with pytest.raises(ZeroDivisionError):
            fail_inside()
        assert model.training == training and torch.is_grad_enabled()


@pytest.mark.parametrize("position", POSITIONS)
def test_inference_mode_leaves_the_model_trainable(position: str) -> None:
    # The tables of a length are kept; made in inference mode they could not be used by a training step.
    model = build_model(dataclasses.replace(SPEC, position=position, context_length=40), seed=0)
    tokens = tokens_of(model.spec, length=40 if position == "learned" else 50)
    with torch.inference_mode():
        model(tokens)
    torch.autograd.backward(model(tokens).sum())
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("position", ["rope", "alibi"])
def test_relative_positions_run_past_the_context(position: str) -> None:
    spec = dataclasses.replace(SPEC, position=position)
    model, longer = build_model(spec, seed=0), build_model(dataclasses.replace(spec, context_length=64), seed=0)
    tokens = tokens_of(spec, length=64)
    torch.testing.assert_close(model(tokens), longer(tokens))


def test_learned_positions_end_at_the_context() -> None:
    model = build_model(dataclasses.replace(SPEC, position="learned"), seed=0)
    with pytest.raises(RequestError, match="17 tokens do not fit a context of 16 with learned positions"):
        model(torch.zeros(1, 17, dtype=torch.int64))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_bfloat16_and_autocast_stay_near_float32(norm: str, position: str, activation: str) -> None:
    spec = dataclasses.replace(SPEC, norm=norm, position=position, activation=activation)
    tokens = tokens_of(spec)
    exact = build_model(spec, seed=0)
    reference = exact(tokens)
    half = build_model(spec, seed=0, dtype=torch.bfloat16)(tokens)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = exact(tokens)
        torch.autograd.backward(mixed.float().square().sum())
    scale = float(reference.detach().std())
    for logits in (half, mixed):
        assert float((logits.float() - reference).detach().abs().max()) < 0.15 * scale
    assert all(bool(weight.grad.isfinite().all()) for weight in exact.parameters() if weight.grad is not None)


def test_the_norms_of_a_bfloat16_model_do_not_overflow_or_lose_small_inputs() -> None:
    model = build_model(SPEC, seed=0, dtype=torch.bfloat16)
    for scale in (1e-2, 1e4):
        x = (torch.randn(4, 32, generator=torch.Generator().manual_seed(0)) * scale).bfloat16()
        y = model.final_norm(x).float()
        expected = x.float() / (x.float().square().mean(-1, keepdim=True) + NORM_EPSILON).sqrt()
        torch.testing.assert_close(y, expected, rtol=1e-2, atol=1e-2)
