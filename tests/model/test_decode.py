from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.arch import POSITIONS, ArchSpec
from autonas.errors import RequestError
from autonas.model import decode
from autonas.model.decode import generate, make_cache, prefill, stream
from autonas.model.transformer import Transformer, build_model
from tests.model.strategies import specs

checked = settings(derandomize=True, deadline=None, max_examples=40)
SPEC = ArchSpec(layers=2, width=32, heads=4, kv_heads=2, vocab_size=50, context_length=32)


def lively_model(spec: ArchSpec, dtype: torch.dtype = torch.float64) -> Transformer:
    """Weights large enough that the likeliest token depends on the whole past; float64, so that sums decide nothing."""
    model = build_model(spec, seed=0, dtype=dtype)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(8.0)
    return model


def draw_prompts(spec: ArchSpec, data: st.DataObject, longest: int) -> list[list[int]]:
    lengths = data.draw(st.lists(st.integers(1, longest), min_size=1, max_size=6))
    return [np.random.default_rng((n, i % 2)).integers(0, spec.vocab_size, n).tolist() for i, n in enumerate(lengths)]


def plain_completion(model: Transformer, prompt: list[int], num_new: int) -> list[int]:
    """Greedy, one full pass a token."""
    tokens = prompt[-(model.spec.context_length - num_new) :]
    with torch.no_grad():
        for _ in range(num_new):
            tokens = [*tokens, int(model.eval()(torch.tensor([tokens]))[0, -1].argmax())]
    return tokens[-num_new:]


@checked
@given(specs(dropout=True, min_context=6), st.data())
def test_a_greedy_batch_is_what_full_passes_say_one_by_one(spec: ArchSpec, data: st.DataObject) -> None:
    model, num_new = lively_model(spec), data.draw(st.integers(1, spec.context_length - 1))
    prompts = draw_prompts(spec, data, spec.context_length + 3)
    found = generate(model, prompts, max_new_tokens=num_new)
    assert found == [plain_completion(model, prompt, num_new) for prompt in prompts]


@checked
@given(specs(min_context=8), st.data())
def test_a_sampled_batch_is_its_rows_sampled_alone(spec: ArchSpec, data: st.DataObject) -> None:
    model, num_new = lively_model(spec), 4
    prompts = draw_prompts(spec, data, spec.context_length)
    uniforms = np.random.default_rng(0).random((len(prompts), num_new))
    how: dict[str, Any] = {"max_new_tokens": num_new, "temperature": 0.8, "top_k": 7}
    together = generate(model, prompts, uniforms=uniforms, **how)
    alone = [generate(model, [p], uniforms=uniforms[i : i + 1], **how)[0] for i, p in enumerate(prompts)]
    assert together == alone


def test_batches_of_bounded_size_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model(SPEC)
    prompts = [np.random.default_rng(i).integers(0, 50, 1 + i % 20).tolist() for i in range(30)]
    whole = generate(model, prompts, max_new_tokens=8)
    monkeypatch.setattr(decode, "MAX_BATCH_TOKENS", 60)
    assert generate(model, prompts, max_new_tokens=8) == whole


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_equal_prompts_and_numbers_are_equal(dtype: torch.dtype) -> None:
    model = lively_model(SPEC, dtype)
    prompts = [[1, 2, 3], [4], [1, 2, 3], [4]]
    uniforms = np.tile(np.random.default_rng(0).random((1, 10)), (4, 1))
    found = generate(model, prompts, max_new_tokens=10, temperature=1.0, uniforms=uniforms)
    assert found[0] == found[2] and found[1] == found[3]


def test_a_completion_ends_before_the_stop_token() -> None:
    model = lively_model(SPEC)
    prompts = [np.random.default_rng(i).integers(0, 50, 5).tolist() for i in range(20)]
    free = generate(model, prompts, max_new_tokens=20)
    stop = free[0][7]
    stopped = generate(model, prompts, max_new_tokens=20, stop_token=stop)
    assert stopped == [row[: row.index(stop)] if stop in row else row for row in free]
    assert len(stopped[0]) <= 7
    assert [list(stream(model, p, max_new_tokens=20, stop_token=stop)) for p in prompts] == stopped


def test_all_rows_stopped_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model(SPEC)
    stop = generate(model, [[1]], max_new_tokens=1)[0][0]
    steps = 0

    def count(*arguments: object) -> None:
        nonlocal steps
        steps += 1

    model.register_forward_hook(count)
    monkeypatch.setattr(decode, "STOP_CHECK_STEPS", 4)
    assert generate(model, [[1], [1]], max_new_tokens=30, stop_token=stop) == [[], []]
    assert steps == 3


def test_a_stream_is_reproduced_by_its_seed() -> None:
    model = lively_model(SPEC)
    how: dict[str, Any] = {"max_new_tokens": 16, "temperature": 1.5}
    first, again, other = (list(stream(model, [1, 2], seed=seed, **how)) for seed in (1, 1, 2))
    assert first == again != other
    uniforms = np.random.default_rng(1).random((1, 16))
    assert generate(model, [[1, 2]], uniforms=uniforms, **how) == [first]


def test_neither_mode_nor_random_state_is_touched() -> None:
    model = lively_model(dataclasses.replace(SPEC, residual_dropout=0.5)).train()
    state = torch.get_rng_state()
    tokens = stream(model, [1], max_new_tokens=3)
    next(tokens)
    assert model.training and torch.is_grad_enabled()
    generate(model, [[1]], max_new_tokens=3)
    assert model.training and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("position", POSITIONS)
def test_the_context_is_used_up_to_its_last_token(position: str) -> None:
    model = lively_model(dataclasses.replace(SPEC, position=position))
    prompt = np.random.default_rng(0).integers(0, 50, 100).tolist()
    assert generate(model, [prompt], max_new_tokens=31) == generate(model, [prompt[-1:]], max_new_tokens=31)
    assert generate(model, [prompt], max_new_tokens=2) == generate(model, [prompt[-30:]], max_new_tokens=2)


def test_prefill_gives_the_logits_after_each_prompt() -> None:
    model = lively_model(SPEC).eval()
    prompts = [[1, 2, 3, 4], [5], [6, 7]]
    with torch.no_grad():
        logits = prefill(model, prompts, make_cache(model, 3, 4))
        for row, prompt in zip(logits, prompts, strict=True):
            torch.testing.assert_close(row, model(torch.tensor([prompt]))[0, -1])


def test_no_prompts_give_no_completions() -> None:
    assert generate(lively_model(SPEC), [], max_new_tokens=3) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompts": [[1], []]}, "prompt 1 has no tokens"),
        ({"prompts": [[1, 50]]}, "prompt 0 has token 50, outside the vocabulary of 50"),
        ({"prompts": [[-1]]}, "prompt 0 has token -1"),
        ({"max_new_tokens": 32}, "32 new tokens do not fit a context of 32"),
        ({"max_new_tokens": 0}, "0 new tokens"),
        ({"temperature": -0.5}, "temperature is -0.5"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": 1.0, "uniforms": None}, r"needs uniform numbers of shape \(1, 4\), and got none"),
        ({"temperature": 1.0, "uniforms": np.zeros((4, 1))}, r"shape \(1, 4\), and got an array of shape \(4, 1\)"),
        ({"top_k": 0}, "top_k is 0"),
    ],
)
def test_what_cannot_be_generated_is_said(change: dict[str, Any], message: str) -> None:
    how: dict[str, Any] = {"prompts": [[1]], "max_new_tokens": 4, **change}
    with pytest.raises(RequestError, match=message):
        generate(lively_model(SPEC), how.pop("prompts"), **how)


def test_a_wrong_stream_is_refused_at_the_call() -> None:
    with pytest.raises(RequestError, match="40 new tokens"):
        stream(lively_model(SPEC), [1], max_new_tokens=40)
