"""Numbers as people read them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.arch import ArchSpec
from autonas.reporting.quantities import (
    common_error,
    duration_text,
    interval_text,
    probability_text,
    scaled_text,
    score_text,
    spec_text,
    tokens_text,
)
from autonas.trial import Score

FACTORS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


@given(st.floats(1, 9e16))
def test_a_scaled_text_says_the_number_to_three_digits(value: float) -> None:
    number, _, prefix = scaled_text(value).partition(" ")
    assert float(number) * FACTORS[prefix] == pytest.approx(value, rel=6e-3)
    assert len(number.replace(".", "")) <= 4


@pytest.mark.parametrize(
    ("score", "value", "interval"),
    [
        (Score(value=3.7123, low=3.58, high=3.84, unit="nats/token"), "3.71", "3.58–3.84"),
        (Score(value=0.4018, low=0.3938, high=0.4099, unit="ms/token"), "0.4018", "0.3938–0.4099"),
        (Score(value=12.34, low=10.0, high=15.0, unit="ms"), "12.3", "10.0–15.0"),
        (Score(value=0.0781, low=0.03, high=0.17, unit="share"), "8 %", "3–17 %"),
        (Score(value=0.0042, low=0.004, high=0.0044, unit="share"), "0.4 %", "0.4–0.4 %"),
        (Score.exact(1_015_808, "parameters"), "1.02 M", ""),
        (Score.exact(918_000, "bytes"), "918 kB", ""),
        (Score.exact(999_700, "parameters"), "1.00 M", ""),
        (Score.exact(0, "parameters"), "0", ""),
    ],
)
def test_a_score_has_the_digits_that_its_interval_warrants(score: Score, value: str, interval: str) -> None:
    assert (score_text(score), interval_text(score)) == (value, interval)


def test_scores_with_a_common_error_have_the_same_digits() -> None:
    scores = [
        Score(value=0.4 + 0.1 * i, low=0.4 + 0.1 * i - e, high=0.4 + 0.1 * i + e, unit="ms")
        for i, e in enumerate((0.001, 0.02, 0.3))
    ]
    assert {len(score_text(score, common_error(scores))) for score in scores} == {len("0.400")}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (432, "7 min 12 s"),
        (3599.6, "1 h 00 min"),
        (11100, "3 h 05 min"),
        (187200, "2 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_probability_from_draws_is_never_called_certain() -> None:
    assert (probability_text(1.0), probability_text(0.0), probability_text(0.483)) == ("> 99 %", "< 1 %", "48 %")


def test_token_counts() -> None:
    assert [tokens_text(count) for count in (512, 262_144, 1_048_576, 409_600_000)] == ["512", "262 k", "1.05 M", "410 M"]


def test_a_spec_in_one_line_tells_apart_whatever_differs() -> None:
    base: dict[str, Any] = {"layers": 4, "width": 128, "heads": 4, "kv_heads": 4}
    changes: list[dict[str, Any]] = [
        {},
        {"layers": 3},
        {"width": 64},
        {"heads": 8},
        {"kv_heads": 2},
        {"ffn_multiplier": 2.5},
        {"norm": "layernorm"},
    ]
    changes += [{"activation": "swiglu"}, {"position": "alibi"}, {"tied_embeddings": False}, {"attention_dropout": 0.1}]
    changes += [
        {"residual_dropout": 0.1},
        {"label_smoothing": 0.05},
        {"learning_rate": 0.002},
        {"weight_decay": 0.0},
        {"batch_tokens": 4096},
    ]
    texts = [spec_text(ArchSpec(**{**base, **change})) for change in changes]
    assert len(set(texts)) == len(changes)
    assert texts[4] == "4 × 128, 4/2 heads, ffn 4 gelu, rmsnorm, rope, tied"
