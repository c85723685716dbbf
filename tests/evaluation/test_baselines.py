from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from autonas.data.batches import Windows
from autonas.data.dataset import Dataset
from autonas.evaluation.baselines import (
    baselines,
    bigram_probabilities,
    count_bigrams,
    unigram_probabilities,
)
from autonas.evaluation.scored import scored_tokens
from autonas.trial import EvaluationSettings


def brute_force_bigram(windows: list[list[int]], vocab_size: int, previous: int, token: int) -> float:
    """The formula as it is printed, over Python dictionaries."""
    pairs = Counter((w[i], w[i + 1]) for w in windows for i in range(len(w) - 1))
    after, before = defaultdict(set), defaultdict(set)
    for a, b in pairs:
        after[a].add(b)
        before[b].add(a)
    lower = (
        max(len(before[token]) - 0.75, 0) / len(pairs) + 0.75 * len([b for b in before.values() if b]) / len(pairs) / vocab_size
    )
    context = sum(count for (a, _), count in pairs.items() if a == previous)
    if context == 0:
        return lower
    return max(pairs[previous, token] - 0.75, 0) / context + 0.75 * len(after[previous]) / context * lower


def test_a_bigram_model_small_enough_for_paper() -> None:
    # Pairs shown: 0→1 twice, 1→0 once, 1→2 once. N = 3 different pairs, N(•0) = N(•1) = N(•2) = 1, V = 4.
    model = count_bigrams(np.array([[0, 1, 0], [0, 1, 2]]), 4)
    spare = 0.75 * 3 / 3 / 4  # D · 3 continued tokens / N · 1/V
    seen, unseen = 0.25 / 3 + spare, spare  # Q(0) = Q(1) = Q(2), Q(3)
    found = bigram_probabilities(model, np.array([0, 0, 1, 1, 3]), np.array([1, 3, 2, 1, 0]))
    assert found.tolist() == pytest.approx(
        [1.25 / 2 + 0.75 / 2 * seen, 0.75 / 2 * unseen, 0.25 / 2 + 1.5 / 2 * seen, 1.5 / 2 * seen, seen]
    )
    assert unigram_probabilities(model, np.array([0, 1, 2, 3])).tolist() == pytest.approx([2 / 8, 3 / 8, 2 / 8, 1 / 8])


def test_agrees_with_brute_force_on_random_windows() -> None:
    generator = np.random.default_rng(0)
    windows = generator.zipf(1.6, size=(30, 9)) % 11
    model = count_bigrams(windows, 12)  # 11 is never shown
    previous, tokens = (grid.ravel() for grid in np.meshgrid(np.arange(12), np.arange(12)))
    expected = [brute_force_bigram(windows.tolist(), 12, int(p), int(t)) for p, t in zip(previous, tokens, strict=True)]
    np.testing.assert_allclose(bigram_probabilities(model, previous, tokens), expected, rtol=1e-12)


def test_probabilities_sum_to_one_after_every_context() -> None:
    generator = np.random.default_rng(1)
    model = count_bigrams(generator.integers(0, 40, size=(20, 12)), 50)
    for previous in range(50):
        assert bigram_probabilities(model, np.full(50, previous), np.arange(50)).sum() == pytest.approx(1)
    assert unigram_probabilities(model, np.arange(50)).sum() == pytest.approx(1)


def test_each_target_counts_once_although_windows_overlap_by_a_token() -> None:
    tokens = np.random.default_rng(2).integers(0, 20, size=2001).astype(np.uint16)
    shown = Windows(tokens, context=16, seed=0).take(0, 125)
    model = count_bigrams(shown, 20)
    np.testing.assert_array_equal(model.targets, np.bincount(tokens[1:], minlength=20))
    assert model.counts.sum() == 2000


def test_parts_count_as_one_array_does(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = np.random.default_rng(3).integers(0, 30, size=(50, 8))
    whole = count_bigrams(windows, 30)
    monkeypatch.setattr("autonas.evaluation.baselines._CHUNK_WINDOWS", 7)
    parts = count_bigrams(iter([windows[:13], windows[13:13], windows[13:]]), 30)
    for name in ("targets", "pairs", "counts"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_nothing_shown_is_the_uniform_model(dataset: Dataset) -> None:
    found = baselines(np.zeros((0, 9), dtype=np.int64), dataset, EvaluationSettings(validation_tokens=3000))
    assert found == {name: pytest.approx(math.log(dataset.vocab_size)) for name in ("unigram", "bigram")}


def test_scored_on_exactly_the_tokens_of_the_loss(dataset: Dataset) -> None:
    settings = EvaluationSettings(validation_tokens=4000)
    shown = Windows(dataset.tokens("train"), context=96, seed=0).take(0, 300)
    scored = scored_tokens(dataset, "validation", 4000)
    model = count_bigrams(shown, dataset.vocab_size)
    found = baselines(shown, dataset, settings)
    assert found["bigram"] == pytest.approx(-np.log(bigram_probabilities(model, scored.inputs, scored.targets)).mean())
    assert found["bigram"] < found["unigram"] < math.log(dataset.vocab_size)
