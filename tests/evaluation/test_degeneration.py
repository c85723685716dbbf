from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from autonas.arch import ArchSpec
from autonas.data.dataset import Dataset
from autonas.errors import CorpusError
from autonas.evaluation.baselines import bigram_probabilities
from autonas.evaluation.collapse import measure_collapse
from autonas.evaluation.degeneration import SHORTEST, STATISTICS, TokenRange, _passages, token_range
from autonas.evaluation.python_continuations import CONTINUATIONS
from autonas.model.transformer import build_model
from autonas.trial import EvaluationSettings

LENGTH = 40
Tokens = NDArray[np.int64]


@pytest.fixture(scope="module")
def known(dataset: Dataset) -> TokenRange:
    return token_range(dataset, LENGTH)


@pytest.fixture(scope="module")
def real(dataset: Dataset) -> Tokens:
    """(passages, 2 + L) of held-out text; the range is made of these."""
    return _passages(dataset, LENGTH)[:400]


def outside(known: TokenRange, before: Tokens, made: Tokens) -> float:
    return float(np.mean([reason != "" for reason in known.outside(before.tolist(), made.tolist())]))


def sampled(known: TokenRange, before: Tokens, row: Callable[[int], NDArray[np.float64]]) -> Tokens:
    """(n, L) tokens of a Markov chain, at temperature 0.7 and top-k 40."""
    generator = np.random.default_rng(0)
    previous, columns = before[:, -1], []
    for _ in range(LENGTH):
        logits = np.log(np.stack([row(int(token)) for token in previous])) / 0.7
        logits[logits < np.sort(logits, axis=1)[:, -40, None]] = -np.inf
        previous = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
        columns.append(previous)
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("length", [SHORTEST, 8, 16, LENGTH])
def test_real_text_is_inside_its_range_at_every_length(known: TokenRange, real: Tokens, length: int) -> None:
    assert outside(known, real[:, :2], real[:, 2 : 2 + length]) <= 0.03


def test_babble_and_noise_are_outside(known: TokenRange, real: Tokens) -> None:
    size = known.bigrams.vocab_size
    before, generator = real[:200, :2], np.random.default_rng(1)
    noise = generator.integers(0, size, (200, LENGTH))
    shuffled = generator.permuted(real[:200, 2:], axis=1)
    words = sampled(known, before, lambda token: np.exp(-known.rarities))
    pairs = sampled(known, before, lambda token: bigram_probabilities(known.bigrams, np.full(size, token), np.arange(size)))
    assert outside(known, before, noise) == 1.0
    assert outside(known, before, shuffled) > 0.95
    assert outside(known, before, words) > 0.95
    assert outside(known, before, pairs) > 0.5


def test_the_reason_names_the_statistic_and_its_side(known: TokenRange, real: Tokens) -> None:
    noise = np.random.default_rng(1).integers(0, known.bigrams.vocab_size, (50, LENGTH))
    reasons = set(known.outside(real[:50, :2].tolist(), noise.tolist()))
    allowed = {f"range:{name} {side}" for name in STATISTICS for side in ("high", "low")}
    assert reasons <= allowed and any(reason.endswith("high") for reason in reasons)


def test_what_ends_at_once_is_short_and_no_text_has_ended(known: TokenRange, real: Tokens) -> None:
    before = real[:3, :2].tolist()
    assert known.outside(before, [[], [5], [5, 6, 7]]) == ["range:short"] * 3
    assert known.outside([[1]], [real[0, 2:].tolist()])[0] != "range:short"


def test_a_continuation_is_judged_alone_and_by_its_first_tokens(known: TokenRange, real: Tokens) -> None:
    made = [row[2 : 2 + length].tolist() for row, length in zip(real, (5, 17, 40, 33), strict=False)]
    before = real[:4, :2].tolist()
    together = known.outside(before, made)
    assert together == [known.outside([b], [m])[0] for b, m in zip(before, made, strict=True)]
    longer = [[*row, *([0] * 50)] if len(row) == LENGTH else row for row in made]
    assert known.outside(before, longer) == together


def test_written_continuations_are_always_inside(dataset: Dataset) -> None:
    written = tuple(CONTINUATIONS.items())
    widened = token_range(dataset, LENGTH, written)
    end, encode = dataset.tokenizer.end_of_text, dataset.tokenizer.encode
    before = [[end, *encode(prompt)] for prompt, _ in written]
    made = [encode(text) for _, text in written]
    assert widened.outside(before, made) == [""] * len(written)
    assert (widened.limits >= token_range(dataset, LENGTH).limits).all()


def test_an_untrained_model_does_not_collapse_and_does_not_win(dataset: Dataset, spec: ArchSpec) -> None:
    settings = EvaluationSettings(prompts_per_kind=8, samples_per_prompt=2, new_tokens=LENGTH)
    scores, _ = measure_collapse(build_model(spec, 1), dataset, settings, seed=0)
    assert scores["collapse_rate"].value < 0.3 and scores["degeneration"].value > 0.95


def test_too_little_held_out_text_is_an_error_where_the_range_is_wanted(dataset: Dataset, spec: ArchSpec) -> None:
    settings = EvaluationSettings(prompts_per_kind=1, samples_per_prompt=1, new_tokens=90)
    longest = max(np.diff(dataset.documents(split).starts).max() for split in ("validation", "test"))
    with pytest.raises(CorpusError, match=r"passages of .* tokens, too few .* collapse_rate"):
        token_range(dataset, int(longest))
    wide = dataclasses.replace(spec, context_length=int(longest) + 64)
    settings = dataclasses.replace(settings, new_tokens=int(longest))
    scores, _ = measure_collapse(build_model(wide, 1), dataset, settings, seed=0, wanted=("collapse_rate",))
    assert scores.keys() == {"collapse_rate", "collapse_prior"}


def test_it_needs_no_torch() -> None:
    code = "import sys, autonas.evaluation.degeneration; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
