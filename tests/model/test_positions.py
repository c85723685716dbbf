from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.model.positions import alibi_slopes, attention_bias, rope_tables, rotate


@settings(derandomize=True, deadline=None, max_examples=30)
@given(shift=st.integers(1, 200), gap=st.integers(0, 50), half=st.integers(1, 8))
def test_rotated_products_depend_on_the_distance_only(shift: int, gap: int, half: int) -> None:
    cos, sin = rope_tables(300, 2 * half)
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 2 * half, generator=generator)

    def product(i: int, j: int) -> float:
        return float((rotate(q, cos[i : i + 1], sin[i : i + 1]) * rotate(k, cos[j : j + 1], sin[j : j + 1])).sum())

    assert product(gap, 0) == pytest.approx(product(gap + shift, shift), abs=1e-4)


def test_rotation_turns_halves_with_base_ten_thousand() -> None:
    cos, sin = rope_tables(8, 4)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 1, 4)
    angles = [5.0, 5.0 / 100.0]  # position 5, frequencies 10000^0 and 10000^(-2/4)
    expected = [
        1 * math.cos(angles[0]) - 3 * math.sin(angles[0]),
        2 * math.cos(angles[1]) - 4 * math.sin(angles[1]),
        3 * math.cos(angles[0]) + 1 * math.sin(angles[0]),
        4 * math.cos(angles[1]) + 2 * math.sin(angles[1]),
    ]
    assert rotate(x, cos[5:6], sin[5:6]).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_rotation_keeps_lengths_and_formats() -> None:
    cos, sin = rope_tables(6, 8)
    x = torch.randn(2, 6, 3, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rotate(x, cos, sin).norm(dim=-1), x.norm(dim=-1))
    assert rotate(x.bfloat16(), cos, sin).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        (1, [2**-8]),
        (2, [2**-4, 2**-8]),
        (8, [2**-1, 2**-2, 2**-3, 2**-4, 2**-5, 2**-6, 2**-7, 2**-8]),
        # Those of 4 heads, then every second of 8: the reference code's answer.
        (6, [2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3]),
        (3, [2**-4, 2**-8, 2**-2]),
    ],
)
def test_alibi_slopes_are_the_published_ones(heads: int, slopes: list[float]) -> None:
    assert alibi_slopes(heads) == pytest.approx(slopes)


@pytest.mark.parametrize("heads", range(1, 33))
def test_alibi_slopes_are_distinct_and_falling_below_one(heads: int) -> None:
    slopes = alibi_slopes(heads)
    assert len(set(slopes)) == heads
    assert all(0 < slope < 1 for slope in slopes)


def test_the_bias_hides_the_future_and_weighs_the_past() -> None:
    bias = attention_bias(torch.tensor([[2, 3]]), 4, torch.tensor([0.5]), torch.float32)
    minus = -torch.inf
    assert bias.tolist() == [[[[-1.0, -0.5, 0.0, minus], [-1.5, -1.0, -0.5, 0.0]]]]
    plain = attention_bias(torch.tensor([[0], [1]]), 3, None, torch.float32)
    assert plain.tolist() == [[[[0.0, minus, minus]]], [[[0.0, 0.0, minus]]]]
