from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from autonas.evaluation.rates import (
    design_effect,
    detectable_difference,
    paired_difference,
    pooled_rate,
    required_samples,
    sign_flip_p_value,
    wilson_interval,
)
from autonas.trial import EvaluationSettings


def test_kinds_count_equally_whatever_their_numbers() -> None:
    rate = pooled_rate([[[True, True]] * 2, [[False, False]] * 30])
    assert rate.value == 0.5 and rate.per_kind == (1.0, 0.0)
    assert pooled_rate([[], [[True, False]] * 4]).per_kind == (0.5,)


def test_samples_that_agree_within_prompts_are_worth_one_each() -> None:
    alike = np.repeat(np.array([[1.0], [0.0], [1.0], [0.0], [0.0], [0.0]] * 5), 4, axis=1)
    assert design_effect(alike) == pytest.approx(4.0, rel=0.05)
    spread = np.tile([[1.0, 0.0, 0.0, 0.0]], (30, 1))
    assert design_effect(spread) == 1.0
    assert design_effect(np.zeros((30, 4))) == 2.0 and design_effect(np.zeros((30, 1))) == 1.0


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=20))
def test_an_interval_holds_its_rate_and_lies_between_none_and_all(hits: list[list[bool]]) -> None:
    rate = pooled_rate([hits, hits[::-1]])
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert 1 <= rate.design_effect <= 3 and rate.effective <= 6 * len(hits)


def test_the_interval_covers_correlated_samples_at_least_nine_times_in_ten() -> None:
    generator = np.random.default_rng(0)
    covered, repeats = 0, 600
    for _ in range(repeats):
        # Prompts differ: Beta(0.6, 5.4) has mean 0.1 and an intra-prompt correlation of 1/7, so a design effect of 1.43.
        shares = generator.beta(0.6, 5.4, size=(2, 32, 1))
        rate = pooled_rate((generator.random((2, 32, 4)) < shares).tolist())
        covered += rate.low <= 0.1 <= rate.high
    assert 0.92 <= covered / repeats <= 0.995


def test_the_prior_systems_own_interval_is_reproduced() -> None:
    low, high = wilson_interval(8 / 55, 55)
    assert (round(low, 3), round(high, 3)) == (0.076, 0.262)


def test_what_it_takes_to_tell_rates_apart() -> None:
    assert required_samples(0.05, 0.08) == pytest.approx(1060, abs=2)
    assert required_samples(0.05, 0.15) == 141
    settings = EvaluationSettings()
    samples = 2 * settings.prompts_per_kind * settings.samples_per_prompt
    # The defaults tell 5 % from 15 % up to a design effect of 1.8.
    assert required_samples(0.05, 0.15, design_effect=1.8) <= samples


def test_that_many_samples_really_tell_5_from_15_percent_four_times_in_five() -> None:
    generator = np.random.default_rng(1)
    n = required_samples(0.05, 0.15)
    a, b = generator.binomial(n, 0.05, 20_000) / n, generator.binomial(n, 0.15, 20_000) / n
    middle = (a + b) / 2
    told = np.abs(b - a) > 1.959964 * np.sqrt(2 * middle * (1 - middle) / n)
    assert told.mean() == pytest.approx(0.8, abs=0.03)


@given(st.integers(5, 5000), st.floats(1, 4), st.floats(0, 0.5))
def test_the_detectable_difference_is_the_inverse_of_the_required_samples(n: int, effect: float, base: float) -> None:
    found = detectable_difference(n, effect, base)
    assert base < found <= 1
    if found < 1:
        assert required_samples(base, found, effect) <= n <= required_samples(base, base + 0.98 * (found - base), effect)


@given(st.lists(st.integers(-3, 3), max_size=9))
def test_the_sign_flip_test_counts_every_choice_of_signs(differences: list[int]) -> None:
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in _signs(len(differences))]
    expected = np.mean([total >= abs(sum(differences)) for total in sums])
    assert sign_flip_p_value(differences) == pytest.approx(expected)


def _signs(count: int) -> list[tuple[int, ...]]:
    return list(itertools.product((-1, 1), repeat=count))


@given(st.integers(0, 20), st.integers(0, 20))
def test_with_one_sample_a_prompt_it_is_mcnemars_exact_test(only_first: int, only_second: int) -> None:
    first = [[True]] * only_first + [[False]] * only_second + [[True], [False]]
    second = [[False]] * only_first + [[True]] * only_second + [[True], [False]]
    found = paired_difference(first, second)
    discordant = only_first + only_second
    expected = binomtest(only_first, discordant).pvalue if discordant else 1.0
    assert found.p_value == pytest.approx(expected)
    assert (found.only_first, found.only_second, found.prompts) == (only_first, only_second, discordant + 2)
    assert found.low <= found.value <= found.high


def test_equal_models_are_told_apart_once_in_twenty_however_alike_a_prompts_samples_are() -> None:
    generator = np.random.default_rng(2)
    told, covered, repeats = 0, 0, 800
    for _ in range(repeats):
        shares = generator.beta(0.6, 2.4, size=(32, 1))
        first, second = (generator.random((32, 4)) < shares for _ in range(2))
        found = paired_difference(first.tolist(), second.tolist())
        told += found.p_value < 0.05
        covered += found.low <= 0 <= found.high
    assert told / repeats <= 0.07 and covered / repeats >= 0.92


def test_pairing_tells_apart_what_two_separate_rates_do_not() -> None:
    generator = np.random.default_rng(3)
    shares = generator.random((64, 1)) < 0.4  # prompts on which a model collapses, or does not
    first = np.repeat(shares, 2, axis=1)
    second = first & (generator.random((64, 2)) < 0.7)
    found = paired_difference(first.tolist(), second.tolist())
    assert found.p_value < 0.01 and found.low > 0
    separate = [pooled_rate([hits.tolist()]) for hits in (first, second)]
    assert separate[0].low < separate[1].high
