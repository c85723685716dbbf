from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.arch import ACTIVATIONS, NORMS, POSITIONS, ArchSpec
from autonas.model.graphs import KEY_BUCKET, key_bucket, row_bucket
from autonas.model.memory import Memory, RowMemory, SharedMemory, StaticMemory, can_share
from autonas.model.plan import Plan
from autonas.model.prompts import common_beginning, read_prompts
from autonas.model.sampling import GREEDY, Sampling
from autonas.model.steps import Choice, PlainSteps, StaticSteps, next_logits
from autonas.model.transformer import Transformer
from tests.model.strategies import specs
from tests.model.test_decode import lively_model

checked = settings(derandomize=True, deadline=None, max_examples=40)
PROMPTS = [(1, 2, 3, 4, 5, 6), (7,), (1, 2, 9)]
STEPS = 6


def full_logits(model: Transformer, tokens: list[list[int]]) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([model.eval()(torch.tensor([row]))[0, -1] for row in tokens])


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("tied", [True, False])
def test_every_kind_of_step_gives_the_logits_of_full_passes(
    kv_heads: int, position: str, norm: str, activation: str, tied: bool
) -> None:
    """In float32, for prompts of different lengths, two rows of each, and with the graph's keys beyond what is there."""
    spec = ArchSpec(
        layers=2,
        width=32,
        heads=4,
        kv_heads=kv_heads,
        norm=norm,
        activation=activation,
        position=position,
        tied_embeddings=tied,
        vocab_size=40,
        context_length=24,
    )
    model = lively_model(spec, torch.float32)
    rows = [0, 0, 1, 1, 2, 2]
    said = [list(PROMPTS[row]) for row in rows]
    with torch.inference_mode():
        plan = Plan(model)
        cache, logits = read_prompts(plan, PROMPTS)
        scale = float(logits.abs().max())
        torch.testing.assert_close(logits[rows], full_logits(model, said), rtol=0, atol=1e-5 * max(scale, 1.0))
        memories: list[Memory] = [
            RowMemory(cache, rows, STEPS, plan.slopes),
            StaticMemory(cache, rows, STEPS, plan.slopes),
            SharedMemory(cache, 2, STEPS, plan.slopes),
        ]
        tokens = torch.arange(6)
        for step in range(STEPS):
            for row, token in zip(said, tokens.tolist(), strict=True):
                row.append(token)
            expected = full_logits(model, said)
            for memory in memories:
                found = next_logits(plan, tokens, memory)
                torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * max(scale, 1.0), msg=f"{memory} {step}")
            tokens = expected.argmax(-1)


@checked
@given(specs(min_context=12), st.booleans(), st.booleans())
def test_the_static_step_makes_the_tokens_of_the_plain_one(spec: ArchSpec, sample: bool, penalise: bool) -> None:
    """With everything that changes in tensors, `time` among them: what a graph records, run eagerly."""
    model = lively_model(spec)
    prompts = [tuple(token % spec.vocab_size for token in prompt) for prompt in PROMPTS]
    rows = [0, 1, 2, 0]
    sampling = Sampling(
        temperature=0.9 if sample else 0.0, top_k=5 if sample else None, repetition_penalty=1.3 if penalise else 1.0
    )
    made = []
    with torch.inference_mode():
        plan = Plan(model)
        cache, logits = read_prompts(plan, prompts)
        for kind, memory in ((PlainSteps, RowMemory), (StaticSteps, StaticMemory)):
            uniforms = torch.rand(STEPS, 4, generator=torch.Generator().manual_seed(0)) if sample else None
            seen = torch.zeros(4, spec.vocab_size, dtype=torch.bool) if penalise else None
            choice = Choice(sampling=sampling, uniforms=uniforms, seen=seen)
            steps = kind(plan, memory(cache, rows, STEPS, plan.slopes), choice, logits[rows], STEPS)  # type: ignore[arg-type]
            for _ in range(STEPS - 1):
                steps.step()
            made.append(steps.made.tolist())
    assert made[0] == made[1]


def test_a_static_step_allocates_nothing_that_it_keeps() -> None:
    model = lively_model(ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=20, context_length=24))
    with torch.inference_mode():
        plan = Plan(model)
        cache, logits = read_prompts(plan, PROMPTS)
        memory = StaticMemory(cache, [0, 1, 2], STEPS, plan.slopes)
        steps = StaticSteps(plan, memory, Choice(sampling=GREEDY, uniforms=None, seen=None), logits, STEPS)
        kept = (memory.keys, memory.values, memory.positions, memory.slot, steps.made)
        before = [tensor.data_ptr() for tensor in kept]
        steps.step()
        after = [tensor.data_ptr() for tensor in (memory.keys, memory.values, memory.positions, memory.slot, steps.made)]
    assert before == after


def test_attention_sums_are_to_be_had_on_this_processor() -> None:
    """The operators that the fast paths need are not public: this fails when a torch comes without them."""
    model = lively_model(ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=20, context_length=24), torch.float32)
    assert can_share(torch.device("cpu")) and Plan(model).packed


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=40).map(tuple), min_size=1, max_size=5, unique=True))
@settings(derandomize=True, deadline=None)
def test_a_common_beginning_is_common_and_leaves_each_prompt_a_token(prompts: list[tuple[int, ...]]) -> None:
    count = common_beginning(prompts)
    assert len({prompt[:count] for prompt in prompts}) == 1
    assert all(len(prompt) > count for prompt in prompts)


def test_a_long_common_beginning_is_found() -> None:
    head = tuple(range(30))
    assert common_beginning([(*head, 1), (*head, 2, 3), (*head, 2, 4)]) == 30
    assert common_beginning([head, (*head, 1)]) == 29
    assert common_beginning([head]) == 0


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_buckets_hold_what_is_put_into_them(rows: int, keys: int) -> None:
    assert rows <= row_bucket(rows) < 2 * rows + 256
    assert keys <= key_bucket(keys, 2000) <= min(keys + KEY_BUCKET, 2000)
