from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autonas import cost
from autonas.arch import ArchSpec
from autonas.model.cache import KVCache
from autonas.model.transformer import Transformer, build_model
from tests.model.strategies import specs

PRIOR = ArchSpec(layers=8, width=512, heads=8, kv_heads=8, ffn_multiplier=3.0, norm="layernorm", tied_embeddings=False)

checked = settings(derandomize=True, deadline=None, max_examples=60)


@pytest.mark.parametrize(
    ("spec", "params"),
    [
        (PRIOR, 29_180_928),
        (dataclasses.replace(PRIOR, tied_embeddings=True), 25_084_928),
        (ArchSpec(layers=4, width=256, heads=8, kv_heads=8, ffn_multiplier=3.0, tied_embeddings=False), 6_719_744),
    ],
)
def test_the_prior_system_has_its_parameters(spec: ArchSpec, params: int) -> None:
    assert cost.count_params(spec) == params
    with torch.device("meta"):
        assert sum(p.numel() for p in Transformer(spec).parameters()) == params


def test_the_prior_run_has_its_flops() -> None:
    # 156.7 MFLOP a token, 64.2 PFLOP over 409.6 M tokens.
    assert cost.training_flops_per_token(PRIOR) == 156_721_152
    assert round(cost.training_flops_per_token(PRIOR) * 409.6e6 / 1e15, 1) == 64.2


@checked
@given(specs())
def test_parameters_are_those_of_the_built_model(spec: ArchSpec) -> None:
    model = build_model(spec, seed=0)
    counted = dict.fromkeys(cost.param_breakdown(spec), 0)
    for name, weight in model.named_parameters():
        if "norm" in name:
            part = "norms"
        elif name.startswith("blocks."):
            part = "attention" if ".attention." in name else "feed_forward"
        else:
            part = {"embedding": "embedding", "position_embedding": "positions", "unembedding": "head"}[name.split(".")[0]]
        counted[part] += weight.numel()
    assert counted == cost.param_breakdown(spec)
    assert sum(counted.values()) == cost.count_params(spec)


@checked
@given(specs())
def test_flops_are_those_of_the_built_model(spec: ArchSpec) -> None:
    model, length = build_model(spec, seed=0), spec.context_length
    tokens = torch.zeros(2, length, dtype=torch.int64)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        logits = model(tokens)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as backward:
        torch.autograd.backward(logits.sum())
    # The plain kernel computes the masked half too: T keys for every query, where (T + 1) / 2 are counted.
    masked = spec.layers * 2 * spec.width * (length - 1)
    per_token = cost.forward_flops_per_token(spec) + masked
    assert forward.get_total_flops() == tokens.numel() * per_token
    assert backward.get_total_flops() == tokens.numel() * 2 * per_token
    assert cost.training_flops_per_token(spec) == 3 * cost.forward_flops_per_token(spec)


@checked
@given(specs())
def test_decoding_flops_are_those_of_one_cached_step(spec: ArchSpec) -> None:
    model, length = build_model(spec, seed=0).eval(), spec.context_length
    cache = KVCache(spec, 1, length)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model(torch.zeros(1, length - 1, dtype=torch.int64), cache)
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 1, dtype=torch.int64), cache)
    assert counter.get_total_flops() == cost.decode_flops_per_token(spec, length)


@checked
@given(specs())
def test_the_mean_of_decoding_a_window_is_its_forward_pass(spec: ArchSpec) -> None:
    window = range(1, spec.context_length + 1)
    total = sum(cost.decode_flops_per_token(spec, context) for context in window)
    assert total == spec.context_length * cost.forward_flops_per_token(spec)


@checked
@given(specs())
def test_cache_bytes_are_those_of_the_cache(spec: ArchSpec) -> None:
    assert KVCache(spec, 1, 7).num_bytes == cost.kv_bytes(spec, 7, bytes_per_value=4)
    assert KVCache(spec, 3, 7, dtype=torch.bfloat16).num_bytes == 3 * cost.kv_bytes(spec, 7)


@checked
@given(specs())
def test_inference_bytes_are_weights_and_cache(spec: ArchSpec) -> None:
    model = build_model(spec, seed=0, dtype=torch.bfloat16)
    weights = sum(p.nbytes for p in model.parameters())
    cache = KVCache(spec, 1, spec.context_length, dtype=torch.bfloat16)
    assert cost.inference_bytes(spec) == weights + cache.num_bytes
    assert cost.inference_bytes(spec, context=5) == weights + cost.kv_bytes(spec, 5)


@checked
@given(specs(dropout=True))
def test_saved_activations_are_those_of_autograd(spec: ArchSpec) -> None:
    model, length = build_model(spec, seed=0).train(), spec.context_length
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    saved: dict[int, torch.Tensor] = {}  # by storage; the tensors are held, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own and tensor.is_floating_point():
            saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    tokens = torch.zeros(5, length, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(tokens)
    values = sum(t.untyped_storage().nbytes() for t in saved.values()) / 4
    if spec.position == "alibi":
        values -= spec.heads * length**2  # its bias: once, not for each token
    assert logits.requires_grad
    expected = cost.saved_values_per_token(spec) * tokens.numel()
    if spec.attention_dropout == 0.0:
        assert values == expected
    else:
        # The plain attention kernel copies what is not contiguous, and shares what is.
        assert values == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"layers": 5},
        {"activation": "swiglu", "norm": "layernorm"},
        {"attention_dropout": 0.1, "residual_dropout": 0.1},
        {"kv_heads": 1, "position": "alibi", "tied_embeddings": False},
        {"layers": 1, "width": 32, "vocab_size": 4000},
    ],
)
def test_the_peak_of_a_training_step_is_near_its_estimate(change: dict[str, int]) -> None:
    base = ArchSpec(layers=2, width=128, heads=4, kv_heads=4, vocab_size=1024, context_length=64)
    spec = dataclasses.replace(base, **change)  # type: ignore[arg-type]
    model = build_model(spec, seed=0).train()
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.zeros(8, spec.context_length, dtype=torch.int64)

    def step() -> None:
        torch.autograd.backward(F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()
    moments = sum(t.nbytes for state in optimizer.state.values() for t in state.values() if t.ndim > 0)
    weights = sum(p.nbytes for p in model.parameters())
    assert weights + weights + moments == cost.training_bytes(spec, batch_tokens=0)
    peak = weights + moments + _peak_of_new_bytes(step)
    assert 0.75 <= peak / cost.training_bytes(spec, tokens.numel()) <= 1.02


def _peak_of_new_bytes(step: Callable[[], None]) -> int:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    changes: list[tuple[int, int]] = []
    events = list(profile.profiler.kineto_results.experimental_event_tree())
    while events:
        event = events.pop()
        events.extend(event.children)
        if event.tag == torch._C._profiler._EventType.Allocation:
            changes.append((event.start_time_ns, event.extra_fields.alloc_size))
    held = peak = 0
    for _, num_bytes in sorted(changes):
        held += num_bytes
        peak = max(peak, held)
    return peak


def test_arithmetic_needs_no_torch() -> None:
    code = "import sys, autonas.cost; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
