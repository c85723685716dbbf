from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from autonas.errors import RequestError
from autonas.model.sampling import Sampling, choose_tokens, penalised

checked = settings(derandomize=True, deadline=None, max_examples=100)
# Few values, so that equal logits are common.
rows = st.lists(st.sampled_from((-3.0, -1.0, -0.0, 0.0, 0.5, 2.0)), min_size=1, max_size=12)


def plain_choice(logits: list[float], temperature: float, top_k: int | None, top_p: float | None, u: float) -> int:
    """The rule in words: fall through the candidates by probability, then index, until u is covered."""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:top_k]
    weights = np.exp((np.array([logits[i] for i in order]) - max(logits)) / temperature)
    covered = np.cumsum(weights / weights.sum())
    if top_p is not None:
        enough = next((i for i, share in enumerate(covered) if share >= top_p), len(order) - 1)
        order, covered = order[: enough + 1], covered[: enough + 1]
    return order[min(int(np.searchsorted(covered, u * covered[-1], side="right")), len(order) - 1)]


def choose(logits: list[float], temperature: float, top_k: int | None, u: float, top_p: float | None = None) -> int:
    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    return int(choose_tokens(torch.tensor([logits]), sampling, torch.tensor([u], dtype=torch.float64))[0])


@checked
@given(
    rows,
    st.sampled_from((0.3, 0.7, 1.0, 5.0)),
    st.one_of(st.none(), st.integers(1, 15)),
    st.one_of(st.none(), st.floats(0.01, 0.99)),
    st.floats(0.001, 0.999),
)
def test_a_uniform_number_chooses_by_the_inverse_cdf(
    logits: list[float], temperature: float, top_k: int | None, top_p: float | None, u: float
) -> None:
    assert choose(logits, temperature, top_k, u, top_p) == plain_choice(logits, temperature, top_k, top_p, u)


@checked
@given(rows, st.integers(1, 15))
def test_the_ends_of_the_unit_interval_are_the_first_and_last_candidate(logits: list[float], top_k: int) -> None:
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:top_k]
    assert choose(logits, 1.0, top_k, 0.0) == order[0]
    assert choose(logits, 1.0, top_k, np.nextafter(1.0, 0.0)) == order[-1]


@checked
@given(rows)
def test_temperature_zero_is_the_first_of_the_likeliest(logits: list[float]) -> None:
    assert choose(logits, 0.0, None, 0.9) == logits.index(max(logits))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("top_k", [1, 5, 299])
def test_equal_logits_are_kept_in_order_of_their_index(dtype: torch.dtype, top_k: int) -> None:
    """bfloat16 has so few values that ties are the rule; which of them a plain topk keeps is not defined."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 300, generator=generator).to(dtype)
    uniforms = torch.rand(40, generator=generator, dtype=torch.float64)
    chosen = choose_tokens(logits, Sampling(temperature=0.9, top_k=top_k), uniforms)
    order = logits.float().sort(dim=-1, descending=True, stable=True).indices[:, :top_k]
    kept = logits.float().gather(1, order)
    covered = torch.softmax(kept.double() / 0.9, dim=-1).cumsum(-1)
    rank = (covered <= uniforms[:, None]).sum(-1).clamp(max=top_k - 1)
    assert torch.equal(chosen, order.gather(1, rank[:, None])[:, 0])


def test_frequencies_are_the_probabilities() -> None:
    logits = torch.tensor([0.0, 2.0, -1.0, 1.0])
    uniforms = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    chosen = choose_tokens(logits.expand(20_000, 4), Sampling(temperature=0.7), uniforms)
    shares: Tensor = chosen.bincount(minlength=4) / 20_000
    torch.testing.assert_close(shares, torch.softmax(logits / 0.7, 0), rtol=0, atol=1e-4)


def test_a_common_number_survives_a_small_change_of_the_logits() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2000, 50, generator=generator) * 2
    uniforms = torch.rand(2000, generator=generator, dtype=torch.float64)
    nudged = logits + 0.01 * torch.randn(2000, 50, generator=generator)
    how = Sampling(temperature=0.7, top_k=40)
    same = choose_tokens(logits, how, uniforms) == choose_tokens(nudged, how, uniforms)
    assert float(same.float().mean()) > 0.95


def test_a_whole_nucleus_and_no_penalty_change_no_token() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, seen = torch.randn(500, 60, generator=generator) * 3, torch.ones(500, 60, dtype=torch.bool)
    uniforms = torch.rand(500, generator=generator, dtype=torch.float64)
    plain = choose_tokens(logits, Sampling(temperature=0.8, top_k=40), uniforms)
    off = Sampling(temperature=0.8, top_k=40, top_p=1.0, repetition_penalty=1.0)
    assert torch.equal(plain, choose_tokens(logits, off, uniforms, seen))


def test_a_penalty_makes_seen_tokens_less_likely_whatever_the_sign_of_their_logit() -> None:
    logits = torch.tensor([[2.0, -2.0, 1.0, 0.0]])
    seen = torch.tensor([[True, True, False, True]])
    assert torch.equal(penalised(logits, seen, 2.0), torch.tensor([[1.0, -4.0, 1.0, 0.0]]))
    assert int(choose_tokens(logits, Sampling(repetition_penalty=2.5), None, seen)) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -0.5}, "temperature is -0.5"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"repetition_penalty": 0.0}, "repetition_penalty is 0.0"),
    ],
)
def test_what_cannot_be_sampled_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Sampling(**values)
