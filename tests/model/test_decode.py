from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.arch import POSITIONS, ArchSpec
from autonas.errors import RequestError
from autonas.model import decode, prompts
from autonas.model.decode import PATHS, Sampling, StopRule, generate
from autonas.model.native_decode import MOST_BFLOAT16_ROWS
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
    """Of different lengths, some equal, some with a common beginning, each perhaps several times."""
    lengths = data.draw(st.lists(st.integers(1, longest), min_size=1, max_size=6))
    drawn = [np.random.default_rng((n, i % 2)).integers(0, spec.vocab_size, n).tolist() for i, n in enumerate(lengths)]
    if data.draw(st.booleans()):
        beginning = np.random.default_rng(7).integers(0, spec.vocab_size, data.draw(st.integers(1, longest))).tolist()
        drawn = [beginning + prompt for prompt in drawn]
    return [prompt for prompt in drawn for _ in range(data.draw(st.integers(1, 3)))]


def plain_completion(model: Transformer, prompt: list[int], num_new: int) -> list[int]:
    """Greedy, one full pass a token."""
    tokens = prompt[-(model.spec.context_length - num_new) :]
    with torch.no_grad():
        for _ in range(num_new):
            tokens = [*tokens, int(model.eval()(torch.tensor([tokens]))[0, -1].argmax())]
    return tokens[-num_new:]


@pytest.fixture(scope="module", params=["native", "torch"], autouse=True)
def steps(request: pytest.FixtureRequest) -> Iterator[str]:
    """By our own kernels, and as where there is no compiler."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr(decode, "native_decoder", lambda model: None)
        yield request.param


def test_each_half_of_these_tests_takes_its_own_steps(steps: str) -> None:
    spec = ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=60, context_length=32)
    PATHS.clear()
    generate(lively_model(spec), [[1, 2, 3]], max_new_tokens=4)
    assert PATHS.steps == {"native" if steps == "native" else "rows": 3}


@checked
@given(specs(dropout=True, min_context=6), st.data(), st.sampled_from([1, 16]))
def test_a_greedy_batch_is_what_full_passes_say_one_by_one(spec: ArchSpec, data: st.DataObject, min_shared: int) -> None:
    model, num_new = lively_model(spec), data.draw(st.integers(1, spec.context_length - 1))
    drawn = draw_prompts(spec, data, spec.context_length + 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompts, "MIN_SHARED", min_shared)
        found = generate(model, drawn, max_new_tokens=num_new)
    assert found == [plain_completion(model, prompt, num_new) for prompt in drawn]


@checked
@given(specs(min_context=8), st.data())
def test_a_sampled_batch_is_its_rows_sampled_alone(spec: ArchSpec, data: st.DataObject) -> None:
    model, num_new = lively_model(spec), 4
    drawn = draw_prompts(spec, data, spec.context_length)
    uniforms = np.random.default_rng(0).random((len(drawn), num_new))
    how: dict[str, Any] = {
        "max_new_tokens": num_new,
        "sampling": Sampling(
            temperature=0.8,
            top_k=data.draw(st.sampled_from([None, 7])),
            top_p=data.draw(st.sampled_from([None, 0.9])),
            repetition_penalty=data.draw(st.sampled_from([1.0, 1.3])),
        ),
        "stop": StopRule(token=data.draw(st.sampled_from([None, 0])), sequences=data.draw(st.sampled_from([(), ((1, 1),)]))),
    }
    together = generate(model, drawn, uniforms=uniforms, **how)
    alone = [generate(model, [p], uniforms=uniforms[i : i + 1], **how)[0] for i, p in enumerate(drawn)]
    assert together == alone


@checked
@given(specs(min_context=8), st.data())
def test_rows_that_ended_are_left_out_without_a_trace(spec: ArchSpec, data: st.DataObject) -> None:
    model = lively_model(spec)
    num_new = data.draw(st.integers(2, spec.context_length - 1))
    drawn = draw_prompts(spec, data, spec.context_length)
    free = generate(model, drawn, max_new_tokens=num_new)
    stop = data.draw(st.sampled_from(sorted({token for row in free for token in row})))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "CHECK_STEPS", {"cpu": 1})
        patch.setattr(decode, "COMPACT_BELOW", 1.0)
        stopped = generate(model, drawn, max_new_tokens=num_new, stop=StopRule(token=stop))
    assert stopped == [row[: row.index(stop)] if stop in row else row for row in free]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("repeats", [1, 4])
def test_packed_products_and_shared_prompts_change_no_token_of_a_batch_large_enough_for_them(
    dtype: torch.dtype, repeats: int, steps: str
) -> None:
    spec = dataclasses.replace(SPEC, width=64, vocab_size=512, context_length=64)
    drawn = [np.random.default_rng(i).integers(0, 512, 20 + i).tolist() for i in range(8) for _ in range(repeats)]
    PATHS.clear()
    found = generate(lively_model(spec, dtype), drawn, max_new_tokens=12)
    wide = dtype == torch.bfloat16 and len(drawn) > MOST_BFLOAT16_ROWS
    torch_path = "shared" if repeats > 1 else "rows"
    assert PATHS.steps == {torch_path if steps == "torch" or wide else "native": 11}
    expected = generate(lively_model(spec), drawn, max_new_tokens=12)
    # bfloat16 has 8 bits: near ties part, and everything behind them.
    same = sum(a == b for a, b in zip(found, expected, strict=True)) / len(drawn)
    assert same == 1.0 if dtype == torch.float32 else found[0][:1] == expected[0][:1]


def test_batches_of_bounded_size_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model(SPEC)
    drawn = [np.random.default_rng(i).integers(0, 50, 1 + i % 20).tolist() for i in range(30)]
    whole = generate(model, drawn, max_new_tokens=8)
    monkeypatch.setattr(prompts, "MAX_BATCH_TOKENS", 60)
    assert generate(model, drawn, max_new_tokens=8) == whole


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_equal_prompts_and_numbers_are_equal(dtype: torch.dtype) -> None:
    model = lively_model(SPEC, dtype)
    drawn = [[1, 2, 3], [4], [1, 2, 3], [4]]
    uniforms = np.tile(np.random.default_rng(0).random((1, 10)), (4, 1))
    found = generate(model, drawn, max_new_tokens=10, sampling=Sampling(temperature=1.0), uniforms=uniforms)
    assert found[0] == found[2] and found[1] == found[3]


def test_a_completion_ends_before_the_stop_token() -> None:
    model = lively_model(SPEC)
    drawn = [np.random.default_rng(i).integers(0, 50, 5).tolist() for i in range(20)]
    free = generate(model, drawn, max_new_tokens=20)
    stop = free[0][7]
    stopped = generate(model, drawn, max_new_tokens=20, stop=StopRule(token=stop))
    assert stopped == [row[: row.index(stop)] if stop in row else row for row in free]
    assert len(stopped[0]) <= 7


def test_a_completion_ends_before_a_stop_sequence() -> None:
    model = lively_model(SPEC)
    free = generate(model, [[5, 6]], max_new_tokens=20)[0]
    for length in (1, 2, 5):
        rule = StopRule(sequences=(tuple(free[9 : 9 + length]), (free[3], 49, 49)))
        stopped = generate(model, [[5, 6]], max_new_tokens=20, stop=rule)[0]
        assert stopped == free[: len(stopped)] and len(stopped) <= 9
    assert generate(model, [[5, 6]], max_new_tokens=20, stop=StopRule(sequences=((50, 51),))) == [free]


def test_all_rows_stopped_ends_the_work_and_makes_way_before_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model(SPEC)
    stop = StopRule(token=generate(model, [[1]], max_new_tokens=1)[0][0])
    times = 0

    def count() -> None:
        nonlocal times
        times += 1

    monkeypatch.setattr(decode, "CHECK_STEPS", {"cpu": 4})
    assert generate(model, [[1], [1]], max_new_tokens=30, stop=stop, make_way=count) == [[], []]
    assert times == 4


def test_neither_mode_nor_random_state_is_touched() -> None:
    model = lively_model(dataclasses.replace(SPEC, residual_dropout=0.5)).train()
    state = torch.get_rng_state()
    generate(model, [[1]], max_new_tokens=3)
    assert model.training and torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert torch.equal(state, torch.get_rng_state())
    torch.autograd.backward(model(torch.tensor([[1, 2]])).sum())


def test_weights_that_changed_are_seen_by_the_next_call() -> None:
    model = lively_model(dataclasses.replace(SPEC, width=64), torch.float32)
    drawn = [[1, 2, 3], [7, 8]] * 64
    before = generate(model, drawn, max_new_tokens=8)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(-1.0)
    after = generate(model, drawn, max_new_tokens=8)
    assert before != after == [plain_completion(model, prompt, 8) for prompt in drawn[:2]] * 64


@pytest.mark.parametrize("position", POSITIONS)
def test_the_context_is_used_up_to_its_last_token(position: str) -> None:
    model = lively_model(dataclasses.replace(SPEC, position=position))
    prompt = np.random.default_rng(0).integers(0, 50, 100).tolist()
    assert generate(model, [prompt], max_new_tokens=31) == generate(model, [prompt[-1:]], max_new_tokens=31)
    assert generate(model, [prompt], max_new_tokens=2) == generate(model, [prompt[-30:]], max_new_tokens=2)


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
        ({"sampling": Sampling(temperature=1.0), "uniforms": None}, r"needs uniform numbers of shape \(1, 4\), and got none"),
        (
            {"sampling": Sampling(temperature=1.0), "uniforms": np.zeros((4, 1))},
            r"shape \(1, 4\), and got an array of shape \(4, 1\)",
        ),
    ],
)
def test_what_cannot_be_generated_is_said(change: dict[str, Any], message: str) -> None:
    how: dict[str, Any] = {"prompts": [[1]], "max_new_tokens": 4, **change}
    with pytest.raises(RequestError, match=message):
        generate(lively_model(SPEC), how.pop("prompts"), **how)
