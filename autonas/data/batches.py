"""The order in which a model sees the training tokens: a pure function of tokens, context and seed. Shuffles no files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autonas.data.store import Dataset
from autonas.errors import CorpusError

_SUBSET_SEED = 20250102  # any fixed number: the corpus of a replica is the same for all of its trainings


def training_windows(dataset: Dataset, context: int, seed: int, unique_tokens: int | None = None) -> Windows:
    """The windows of a data set's training split, or of a corpus of `unique_tokens` of its tokens and no other.

    Such a corpus is whole documents, drawn over all of the split in an order that depends on nothing but the split (its first
    documents would be of a few projects); the last one is cut. A smaller corpus is the beginning of a larger one.

    Raises:
        CorpusError: fewer tokens than one window.
    """
    tokens = dataset.tokens("train")
    if unique_tokens is None or unique_tokens >= len(tokens):
        return Windows(tokens, context, seed)
    return Windows(_drawn(tokens, dataset.documents("train").starts, unique_tokens), context, seed)


def _drawn(tokens: NDArray[np.unsignedinteger[Any]], starts: NDArray[np.int64], count: int) -> NDArray[np.unsignedinteger[Any]]:
    """The first `count` tokens of the documents in drawn order."""
    # By sorting raw bits: NumPy promises these to stay the same in later versions.
    order = np.argsort(np.random.Philox(_SUBSET_SEED).random_raw(len(starts) - 1), kind="stable")
    taken = int(np.searchsorted(np.cumsum(np.diff(starts)[order]), count)) + 1
    return np.concatenate([tokens[starts[number] : starts[number + 1]] for number in order[:taken]])[:count]


class Windows:
    """Windows of `context + 1` tokens: inputs are all but the last, targets all but the first.

    Windows start `context` tokens apart, so in one epoch each token but the first is a target once (a tail shorter than a
    window is never seen). Every epoch is a new permutation. Window number k is the same whatever the batch size, and whether
    training was interrupted before it.

    Raises:
        CorpusError: fewer tokens than one window.
    """

    def __init__(self, tokens: NDArray[np.unsignedinteger[Any]], context: int, seed: int) -> None:
        assert context >= 1 and seed >= 0 and tokens.ndim == 1
        if len(tokens) < context + 1:
            raise CorpusError(
                f"corpus: a split has {len(tokens):,} tokens, fewer than one window of {context:,} + 1; "
                "give a larger corpus or a smaller context_length"
            )
        self._tokens = np.asarray(tokens)
        self._context = context
        self._seed = seed
        self.content = ""  # a digest of the tokens, where they are not simply those of the data set
        self.name = f"{context} {seed} {len(tokens)}"  # of this order of the data set's tokens
        self._epoch: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, dtype=np.int64))

    @property
    def tokens(self) -> NDArray[np.unsignedinteger[Any]]:
        """All of the tokens; windows start at `starts` in them."""
        return self._tokens

    @property
    def tokens_per_window(self) -> int:
        """Targets of one window."""
        return self._context

    @property
    def num_windows(self) -> int:
        """Windows of one epoch."""
        return (len(self._tokens) - 1) // self._context

    @property
    def first_pass(self) -> int:
        """Windows that are shown before one of them comes again."""
        return self.num_windows

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Tokens at which other texts begin to be shown: none, where all of them are shown alike."""
        return ()

    def take(self, first: int, count: int) -> NDArray[np.int64]:
        """Windows `first` … `first + count - 1` of the endless sequence of epochs, as (count, context + 1)."""
        starts = self.starts(first, count)
        offsets = np.arange(self._context + 1)
        windows: NDArray[np.int64] = self._tokens[starts[:, None] + offsets].astype(np.int64)
        return windows

    def starts(self, first: int, count: int) -> NDArray[np.int64]:
        """Where those windows start in the tokens, (count,)."""
        assert first >= 0 and count >= 0
        parts = [np.zeros(0, dtype=np.int64)]
        number, end = first, first + count
        while number < end:
            epoch, position = divmod(number, self.num_windows)
            part = self._permutation(epoch)[position : position + end - number]
            parts.append(part)
            number += len(part)
        return np.concatenate(parts) * self._context

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        if self._epoch[0] != epoch:
            self._epoch = (epoch, permutation((self._seed, epoch), self.num_windows))
        return self._epoch[1]


def permutation(seed: Sequence[int], count: int) -> NDArray[np.int64]:
    """A random order of `count` things that depends on `seed` alone."""
    # By sorting raw bits: NumPy promises these to stay the same in later versions, and `permutation` not.
    bits = np.random.Philox(np.random.SeedSequence(list(seed))).random_raw(count)
    return np.argsort(bits, kind="stable").astype(np.int64)
