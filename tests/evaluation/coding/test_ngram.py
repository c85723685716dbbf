from __future__ import annotations

import itertools

import numpy as np
import pytest

from autonas.errors import RequestError
from autonas.evaluation.baselines import bigram_probabilities, count_bigrams
from autonas.evaluation.coding.ngram import fit_ngrams

TOKENS = np.random.default_rng(0).zipf(1.5, size=400) % 7


def brute_force(tokens: list[int], size: int, order: int, history: tuple[int, ...], token: int) -> float:
    """The formula as it is printed, by looking at all n-grams each time."""
    chance = 1 / size
    for length in range(min(len(history), order - 1) + 1):
        context = history[len(history) - length :]
        longest = {tuple(tokens[place : place + order]) for place in range(len(tokens) - order + 1)}
        if length == order - 1:
            grams = [tuple(tokens[place : place + order]) for place in range(len(tokens) - order + 1)]
        else:  # different tokens before, so of the distinct longer ones
            grams = [gram[1:] for gram in distinct(longest, length + 2)]
        after = [gram[-1] for gram in grams if gram[:-1] == context]
        if not after:
            break
        chance = (max(after.count(token) - 0.75, 0) + 0.75 * len(set(after)) * chance) / len(after)
    return chance


def distinct(grams: set[tuple[int, ...]], length: int) -> set[tuple[int, ...]]:
    return {gram[len(gram) - length :] for gram in grams}


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_agrees_with_brute_force(order: int) -> None:
    model = fit_ngrams(TOKENS, 8, order)
    for history in [(), (1,), (7,), (1, 1), (2, 1), (1, 7), (1, 1, 1), (3, 2, 1), (1, 2, 3, 1)]:
        found = model.distribution(history)
        expected = [brute_force(TOKENS.tolist(), 8, order, history, token) for token in range(8)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_it_is_a_distribution_after_everything_and_the_two_ways_to_ask_agree(order: int) -> None:
    model = fit_ngrams(TOKENS, 9, order)
    for history in itertools.product(range(9), repeat=2):
        assert model.distribution(history).sum() == pytest.approx(1)
    text = [8, *TOKENS[:50].tolist(), 8, 8, 0]
    for first in (0, 1, 3, 52):
        found = model.probabilities(text, first)
        expected = [model.distribution(text[:place])[text[place]] for place in range(first, len(text))]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_of_order_two_it_is_the_bigram_of_the_baselines() -> None:
    model = fit_ngrams(TOKENS, 8, 2)
    counts = count_bigrams(TOKENS[None, :], 8)
    for previous in range(8):
        expected = bigram_probabilities(counts, np.full(8, previous), np.arange(8))
        np.testing.assert_allclose(model.distribution((previous,)), expected, rtol=1e-12)


def test_nothing_shown_is_the_uniform_model() -> None:
    for tokens in (np.zeros(0, dtype=np.uint16), np.zeros(2, dtype=np.uint16)):
        model = fit_ngrams(tokens, 5, 3)
        assert model.distribution((1, 2)).tolist() == [0.2] * 5
        assert model.probabilities([1, 2, 3], 1).tolist() == [0.2, 0.2]


def test_grams_that_fit_no_number_are_refused() -> None:
    with pytest.raises(RequestError, match="lower ngram_order to 3"):
        fit_ngrams(TOKENS, 50_257, 4)


def test_it_predicts_what_it_was_shown_better_with_more_context() -> None:
    walk = (np.arange(600) * 3 + np.random.default_rng(1).integers(0, 2, 600)) % 11
    losses = [-np.log(fit_ngrams(walk, 11, order).probabilities(walk.tolist(), 1)).mean() for order in (1, 2, 3)]
    assert losses[0] > losses[1] > losses[2]
