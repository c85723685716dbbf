from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autonas.arch import ArchSpec
from autonas.data.dataset import Dataset
from autonas.errors import RequestError
from autonas.evaluation.collapse import (
    collapse_rate,
    common_uniforms,
    design_effect,
    detectable_difference,
    draw_samples,
    measure_collapse,
    required_samples,
    wilson_interval,
)
from autonas.evaluation.detectors import SUITE_VERSION, is_collapsed, is_collapsed_prior
from autonas.evaluation.prompts import choose_prompts
from autonas.model.transformer import Transformer, build_model
from autonas.trial import EvaluationSettings

SETTINGS = EvaluationSettings(prompts_per_kind=6, samples_per_prompt=2, new_tokens=24)


def always_says(model: Transformer, token: int) -> Transformer:
    """Make `token` the likeliest one after everything, by far."""
    with torch.no_grad():
        model.embedding.weight.fill_(0.01)
        model.embedding.weight[token] = 100.0
    return model


def test_a_model_that_says_one_word_for_ever_has_collapsed(dataset: Dataset, model: Transformer) -> None:
    (token,) = dataset.tokenizer.encode(" self")
    rate, prior, samples = measure_collapse(always_says(model, token), dataset, SETTINGS, seed=0)
    assert rate.value == prior.value == rate.high == 1.0 and 0.5 < rate.low < 1.0
    assert all(sample.text == " self" * 24 and "prior:word" in sample.detectors for sample in samples)


def test_a_model_that_ends_at_once_has_not_collapsed_but_is_told_of(dataset: Dataset, model: Transformer) -> None:
    rate, _, samples = measure_collapse(always_says(model, dataset.tokenizer.end_of_text), dataset, SETTINGS, seed=0)
    assert rate.value == 0.0 and rate.high > 0.0
    assert "100.0% empty" in rate.note and {sample.text for sample in samples} == {""}


def test_the_rate_is_that_of_the_samples_and_the_prior_rules_find_no_more(dataset: Dataset, model: Transformer) -> None:
    rate, prior, samples = measure_collapse(model, dataset, SETTINGS, seed=3)
    drawn = draw_samples(model, dataset, choose_prompts(dataset, SETTINGS), SETTINGS, seed=3)
    texts = [sample.text for row in drawn for sample in row]
    assert rate.value == pytest.approx(np.mean([is_collapsed(text) for text in texts]))
    assert prior.value == pytest.approx(np.mean([is_collapsed_prior(text) for text in texts])) and prior.value <= rate.value
    assert len(samples) == 12 and {sample.kind for sample in samples} == {"few_shot", "bare"}
    assert len({sample.prompt for sample in samples}) == 12
    for word in (SUITE_VERSION, "few-shot and bare", "24 samples", "tells 5 % from", "empty"):
        assert word in rate.note


def test_the_same_seed_gives_the_same_and_another_seed_other_samples(dataset: Dataset, model: Transformer) -> None:
    first = measure_collapse(model, dataset, SETTINGS, seed=3)
    assert measure_collapse(model, dataset, SETTINGS, seed=3) == first
    assert measure_collapse(model, dataset, SETTINGS, seed=4)[2] != first[2]


def test_way_is_made_between_new_tokens_and_changes_nothing(dataset: Dataset, model: Transformer) -> None:
    calls: list[float] = []

    def make_way() -> float:
        calls.append(1.0)
        return 1.0

    undisturbed = measure_collapse(model, dataset, SETTINGS, seed=3)
    assert measure_collapse(model, dataset, SETTINGS, seed=3, make_way=make_way) == undisturbed
    assert len(calls) >= SETTINGS.new_tokens - 1
    calls.clear()
    measure_collapse(model, dataset, SETTINGS, seed=3)
    assert not calls, "the model keeps nothing of it"


def test_a_sample_does_not_depend_on_what_else_is_sampled(dataset: Dataset, model: Transformer) -> None:
    prompts = choose_prompts(dataset, SETTINGS)
    many = draw_samples(model, dataset, prompts, SETTINGS, seed=5)
    few = draw_samples(model, dataset, prompts[:3], dataclasses.replace(SETTINGS, samples_per_prompt=1), seed=5)
    assert [row[0] for row in many[:3]] == [row[0] for row in few]


def test_random_numbers_are_common_uniform_and_never_one() -> None:
    drawn = np.concatenate([common_uniforms(7, prompt, sample, 60) for prompt in range(40) for sample in range(4)])
    assert len(set(drawn)) == len(drawn) and drawn.min() >= 0 and drawn.max() < 1
    assert drawn.mean() == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / len(drawn)))
    # Fixed for good: samples of studies years apart are compared.
    assert common_uniforms(7, 1, 2, 2).tolist() == pytest.approx([0.8277691332614714, 0.5056665987158014])


def test_a_prompt_longer_than_its_room_is_cropped_and_none_is_left_is_an_error(dataset: Dataset) -> None:
    spec = ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=dataset.vocab_size, context_length=32)
    drawn = draw_samples(build_model(spec, 0), dataset, choose_prompts(dataset, SETTINGS)[:2], SETTINGS, seed=0)
    assert len(drawn) == 2
    with pytest.raises(RequestError, match="60 new tokens do not fit"):
        measure_collapse(build_model(spec, 0), dataset, EvaluationSettings(), seed=0)


def test_kinds_count_equally_whatever_their_numbers() -> None:
    rate = collapse_rate([[[True, True]] * 2, [[False, False]] * 30])
    assert rate.value == 0.5 and rate.per_kind == (1.0, 0.0)
    assert collapse_rate([[], [[True, False]] * 4]).per_kind == (0.5,)


def test_samples_that_agree_within_prompts_are_worth_one_each() -> None:
    alike = np.repeat(np.array([[1.0], [0.0], [1.0], [0.0], [0.0], [0.0]] * 5), 4, axis=1)
    assert design_effect(alike) == pytest.approx(4.0, rel=0.05)
    spread = np.tile([[1.0, 0.0, 0.0, 0.0]], (30, 1))
    assert design_effect(spread) == 1.0
    assert design_effect(np.zeros((30, 4))) == 2.0 and design_effect(np.zeros((30, 1))) == 1.0


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=20))
def test_an_interval_holds_its_rate_and_lies_between_none_and_all(hits: list[list[bool]]) -> None:
    rate = collapse_rate([hits, hits[::-1]])
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert 1 <= rate.design_effect <= 3 and rate.effective <= 6 * len(hits)


def test_the_interval_covers_correlated_samples_at_least_nine_times_in_ten() -> None:
    generator = np.random.default_rng(0)
    covered, repeats = 0, 600
    for _ in range(repeats):
        # Prompts differ: Beta(0.6, 5.4) has mean 0.1 and an intra-prompt correlation of 1/7, so a design effect of 1.43.
        shares = generator.beta(0.6, 5.4, size=(2, 32, 1))
        rate = collapse_rate((generator.random((2, 32, 4)) < shares).tolist())
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
