"""An n-gram model of the tokens that a model was trained on: what order alone, three tokens deep, answers. No torch.

Interpolated Kneser–Ney (Kneser & Ney 1995; Chen & Goodman 1999, 2.7) with one discount, of any order; of order 2 it is the
bigram of evaluation/baselines.py, which a test holds it to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.errors import RequestError

_DISCOUNT: Final = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """What follows contexts of one length. Grams are codes, context · V + token, sorted, so that a context's lie together."""

    grams: NDArray[np.int64]  # (G,)
    counts: NDArray[np.int64]  # (G,), of the highest order occurrences, of the others different tokens before
    contexts: NDArray[np.int64]  # (C,) sorted codes
    starts: NDArray[np.int64]  # (C + 1,) into the grams
    totals: NDArray[np.int64]  # (C,) sums of counts


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramModel:
    """P(token | at most order − 1 tokens before it)."""

    vocab_size: int
    num_tokens: int  # it was fitted on
    levels: tuple[_Level, ...]  # by the length of the context, from 0

    @property
    def order(self) -> int:
        return len(self.levels)

    def distribution(self, history: Sequence[int]) -> NDArray[np.float64]:
        """The probability of each token after `history`, (V,)."""
        size = self.vocab_size
        chances = np.full(size, 1 / size)
        context = 0
        for length, level in enumerate(self.levels):
            if length > len(history):
                break
            context = _code(history[len(history) - length :], size)
            place = int(np.searchsorted(level.contexts, context))
            if place == len(level.contexts) or level.contexts[place] != context:
                break  # and nothing longer has been seen either
            own = slice(level.starts[place], level.starts[place + 1])
            total = level.totals[place]
            chances *= _DISCOUNT * (level.starts[place + 1] - level.starts[place]) / total
            chances[level.grams[own] - context * size] += (level.counts[own] - _DISCOUNT) / total
        return chances

    def probabilities(self, tokens: Sequence[int], first: int) -> NDArray[np.float64]:
        """Of each of `tokens[first:]` after all before it: what `distribution` says, for all of them at once."""
        size, every = self.vocab_size, np.array(tokens, dtype=np.int64)
        targets = every[first:]
        chances = np.full(len(targets), 1 / size)
        contexts = np.zeros(len(targets), dtype=np.int64)
        for length, level in enumerate(self.levels):
            if length:  # one token further back, where there is one
                back = np.arange(first, len(every)) - length
                contexts = np.where(back >= 0, contexts + every[np.maximum(back, 0)] * size ** (length - 1), -1)
            place = np.minimum(np.searchsorted(level.contexts, contexts), max(len(level.contexts) - 1, 0))
            known = level.contexts[place] == contexts if len(level.contexts) else np.zeros(len(targets), dtype=bool)
            if not known.any():
                break
            grams = contexts * size + targets
            found = np.minimum(np.searchsorted(level.grams, grams), len(level.grams) - 1)
            seen = np.where(level.grams[found] == grams, level.counts[found] - _DISCOUNT, 0.0)
            share = _DISCOUNT * (level.starts[place + 1] - level.starts[place])
            chances = np.where(known, (seen + share * chances) / level.totals[place], chances)
        return chances


def fit_ngrams(tokens: NDArray[np.integer[Any]], vocab_size: int, order: int = 3) -> NgramModel:
    """The model of `tokens` laid end to end, documents with their end-of-text between them.

    Raises:
        RequestError: so many tokens of such a vocabulary do not fit a number of 64 bits.
    """
    assert order >= 1
    if vocab_size**order >= 2**62:
        raise RequestError(f"{order}-grams of {vocab_size:,} entries do not fit 64 bits; lower ngram_order to {order - 1}.")
    count = max(len(tokens) - order + 1, 0)
    codes = np.zeros(count, dtype=np.int64)
    for place in range(order):
        codes = codes * vocab_size + tokens[place : place + count]
    grams, counts = np.unique(codes, return_counts=True)
    levels = [_level(grams, counts, vocab_size)]
    for length in range(order - 1, 0, -1):
        # Of a shorter gram the different tokens before it count, and not how often it was there.
        grams, counts = np.unique(grams % vocab_size**length, return_counts=True)
        levels.append(_level(grams, counts, vocab_size))
    return NgramModel(vocab_size=vocab_size, num_tokens=len(tokens), levels=tuple(reversed(levels)))


def _level(grams: NDArray[np.int64], counts: NDArray[np.int64], vocab_size: int) -> _Level:
    contexts, starts = np.unique(grams // vocab_size, return_index=True)
    totals = np.add.reduceat(counts, starts) if len(starts) else np.zeros(0, dtype=np.int64)
    return _Level(grams=grams, counts=counts, contexts=contexts, starts=np.append(starts, len(grams)), totals=totals)


def _code(tokens: Sequence[int], vocab_size: int) -> int:
    code = 0
    for token in tokens:
        code = code * vocab_size + int(token)
    return code
