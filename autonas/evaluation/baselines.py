"""What a trained model has to beat: unigram and bigram models of exactly the tokens it was shown, scored on the same tokens.

A model that does not beat the unigram has learnt nothing of order. Fitting and scoring need arrays only, no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.evaluation.scored import scored_tokens
from autonas.trial import EvaluationSettings

_DISCOUNT: Final = 0.75
_ADDED: Final = 1.0  # to every unigram count: Laplace. With 2,048 entries and 256 K tokens, 0.01 or 1 differ by .002 nats
_CHUNK_WINDOWS: Final = 8192

Windows = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BigramCounts:
    """How often each token was a target, and each pair a predecessor and its target. Pairs are sorted codes a · V + b."""

    targets: NDArray[np.int64]  # (V,)
    pairs: NDArray[np.int64]  # (distinct pairs,)
    counts: NDArray[np.int64]  # (distinct pairs,)

    @property
    def vocab_size(self) -> int:
        return len(self.targets)


def baselines(
    windows: Windows | Iterable[Windows], dataset: Dataset, settings: EvaluationSettings, split: str = "validation"
) -> dict[str, float]:
    """Nats per token of "unigram" (add-one) and "bigram" (interpolated Kneser–Ney, discount 0.75).

    `windows` are the training windows shown, (count, context + 1), in one array or several: all but a window's first token are
    targets, each after its predecessor. A window that was shown again counts again.

    Raises:
        CorpusError: the split has no document.
    """
    return counted_baselines(count_bigrams(windows, dataset.vocab_size), dataset, settings, split)


def counted_baselines(
    counts: BigramCounts, dataset: Dataset, settings: EvaluationSettings, split: str = "validation"
) -> dict[str, float]:
    """As `baselines`, of windows that have been counted."""
    scored = scored_tokens(dataset, split, settings.validation_tokens)
    return {
        "unigram": float(-np.log(unigram_probabilities(counts, scored.targets)).mean()),
        "bigram": float(-np.log(bigram_probabilities(counts, scored.inputs, scored.targets)).mean()),
    }


def count_bigrams(windows: Windows | Iterable[Windows], vocab_size: int) -> BigramCounts:
    """Count targets and pairs, a part of the windows at a time, so that memory is that of the distinct pairs."""
    parts = [windows] if isinstance(windows, np.ndarray) else windows
    targets = np.zeros(vocab_size, dtype=np.int64)
    pairs, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for part in parts:
        for first in range(0, len(part), _CHUNK_WINDOWS):
            chunk = np.asarray(part[first : first + _CHUNK_WINDOWS], dtype=np.int64)
            targets += np.bincount(chunk[:, 1:].ravel(), minlength=vocab_size)
            new, new_counts = np.unique(chunk[:, :-1] * vocab_size + chunk[:, 1:], return_counts=True)
            merged, places = np.unique(np.concatenate((pairs, new)), return_inverse=True)
            total = np.zeros(len(merged), dtype=np.int64)
            np.add.at(total, places, np.concatenate((counts, new_counts)))
            pairs, counts = merged, total
    return BigramCounts(targets=targets, pairs=pairs, counts=counts)


def unigram_probabilities(model: BigramCounts, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """P(w) = (c(w) + 1) / (N + V) of each of `tokens`."""
    total = model.targets.sum() + _ADDED * model.vocab_size
    return (model.targets[tokens] + _ADDED) / total  # type: ignore[no-any-return]


def bigram_probabilities(model: BigramCounts, previous: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Interpolated Kneser–Ney (Kneser & Ney 1995; Chen & Goodman 1999, 2.7) with D = 0.75:

        P(w | h) = max(c(h, w) − D, 0) / c(h) + D · N(h •) / c(h) · Q(w)          Q(w) where h was never seen
        Q(w)     = max(N(• w) − D, 0) / N + D · |{w: N(• w) > 0}| / N · 1 / V

    N(h •) is the number of different tokens after h, N(• w) of those before w, N of different pairs. Q is smoothed with the
    uniform distribution by the same rule, so that a token that was never a target has a probability too.
    """
    size = model.vocab_size
    before, after = np.divmod(model.pairs, size)
    followers = np.bincount(before, minlength=size)  # N(h •)
    context = np.bincount(before, weights=model.counts, minlength=size)  # c(h)
    continuations = np.bincount(after, minlength=size)  # N(• w)
    num_pairs = len(model.pairs)
    if num_pairs == 0:
        return np.full(len(tokens), 1 / size)
    spare = _DISCOUNT * np.count_nonzero(continuations) / num_pairs
    lower = np.maximum(continuations - _DISCOUNT, 0) / num_pairs + spare / size  # Q, (V,)
    codes = previous * size + tokens
    places = np.minimum(np.searchsorted(model.pairs, codes), num_pairs - 1)
    seen = np.where(model.pairs[places] == codes, model.counts[places], 0)  # c(h, w)
    divisor = np.maximum(context[previous], 1)
    share = np.where(context[previous] > 0, _DISCOUNT * followers[previous] / divisor, 1.0)
    return np.maximum(seen - _DISCOUNT, 0) / divisor + share * lower[tokens]  # type: ignore[no-any-return]
