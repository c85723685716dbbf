from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from autonas.arch import ArchSpec
from autonas.data.dataset import Dataset
from autonas.errors import RequestError
from autonas.evaluation.collapse import (
    common_uniforms,
    draw_samples,
    has_collapsed,
    is_degenerate,
    measure_collapse,
    real_range,
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
    scores, samples = measure_collapse(always_says(model, token), dataset, SETTINGS, seed=0)
    assert {score.value for score in scores.values()} == {1.0} and len(scores) == 3
    assert scores["collapse_rate"].high == 1.0 and 0.5 < scores["collapse_rate"].low < 1.0
    assert all(sample.text == " self" * 24 and "prior:word" in sample.detectors for sample in samples)


def test_a_model_that_ends_at_once_has_not_collapsed_but_degenerated(dataset: Dataset, model: Transformer) -> None:
    scores, samples = measure_collapse(always_says(model, dataset.tokenizer.end_of_text), dataset, SETTINGS, seed=0)
    assert scores["collapse_rate"].value == 0.0 and scores["collapse_rate"].high > 0.0
    assert scores["degeneration"].value == 1.0 and {sample.detectors for sample in samples} == {("range:short",)}
    assert "100.0% empty" in scores["collapse_rate"].note and {sample.text for sample in samples} == {""}


def test_the_rate_is_that_of_the_samples_and_the_prior_rules_find_no_more(dataset: Dataset, model: Transformer) -> None:
    scores, samples = measure_collapse(model, dataset, SETTINGS, seed=3)
    rate, prior = scores["collapse_rate"], scores["collapse_prior"]
    known = real_range(dataset, SETTINGS)
    drawn = draw_samples(model, dataset, choose_prompts(dataset, SETTINGS), SETTINGS, seed=3, known=known)
    flat = [sample.detectors for row in drawn for sample in row]
    assert scores["degeneration"].value == pytest.approx(np.mean([is_degenerate(found) for found in flat]))
    assert rate.value == pytest.approx(np.mean([has_collapsed(found) for found in flat]))
    assert rate.value <= scores["degeneration"].value
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
    assert measure_collapse(model, dataset, SETTINGS, seed=4)[1] != first[1]


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
