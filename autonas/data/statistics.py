"""Counts of a prepared corpus: which tokens, of what kind, in how many and how long documents, from which sources.

What is said twice is in repetition.py, what of validation stands in training in overlap.py, all together in inspection.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.store import Dataset
from autonas.data.token_classes import CLASSES, STRUCTURAL, TokenClasses

_CHUNK: Final = 1 << 22  # tokens counted at once
_QUANTILES: Final = (0, 10, 50, 90, 100)
_RARE: Final = 100  # occurrences: of fewer, an embedding learns little
_ZIPF_RANKS: Final = (10, 1000)
_SHOWN: Final = 5  # sources and projects


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFrequency:
    """One entry of the vocabulary; `name` is its class where it stands alone."""

    text: str
    name: str
    count: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """How the training split uses the vocabulary."""

    size: int
    never: int  # entries that do not occur
    rare: int  # entries that occur fewer than 100 times, those that never do counted
    entropy_bits: float  # of the unigram: what a token would cost if all were independent
    zipf: float  # s of count ~ rank^-s, least squares of logarithms, ranks 10 to 1,000
    top: tuple[TokenFrequency, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitStatistics:
    """One split. End-of-text counts as a token of its document."""

    documents: int
    tokens: int
    bytes: int
    bytes_per_token: float
    characters_per_token: float  # of a character that takes several tokens each counts as one
    classes: Mapping[str, float]  # share of tokens of each class
    structural: float  # newlines, whitespace and punctuation together
    lengths: Mapping[str, int]  # tokens of documents: quantiles 0, 10, 50, 90, 100
    over_context: float | None  # share of documents longer than the context; None where that is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How evenly the training tokens come from the members of one kind: sources, or projects."""

    count: int
    effective: float  # 1 / Σ share²: so many of equal size would be as uneven (Simpson 1949)
    largest: Mapping[str, float]  # shares of tokens of the largest few


def count_tokens(tokens: NDArray[np.unsignedinteger[Any]], vocab_size: int) -> NDArray[np.int64]:
    """Occurrences of each entry, (V,); the tokens may be mapped from a file."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    for first in range(0, len(tokens), _CHUNK):
        counts += np.bincount(tokens[first : first + _CHUNK], minlength=vocab_size)
    return counts


def vocabulary_use(counts: NDArray[np.int64], classes: TokenClasses, num_top: int) -> Vocabulary:
    """What `counts`, (V,), say."""
    order = np.argsort(-counts, kind="stable")
    shares = counts[counts > 0] / counts.sum()
    total = max(int(counts.sum()), 1)
    return Vocabulary(
        size=len(counts),
        never=int((counts == 0).sum()),
        rare=int((counts < _RARE).sum()),
        entropy_bits=float(-(shares * np.log2(shares)).sum()),
        zipf=_zipf(counts[order]),
        top=tuple(
            TokenFrequency(
                text=classes.texts[number],
                name=CLASSES[classes.alone[number]],
                count=int(counts[number]),
                share=float(counts[number] / total),
            )
            for number in order[:num_top]
            if counts[number]
        ),
    )


def _zipf(falling: NDArray[np.int64]) -> float:
    first, last = _ZIPF_RANKS
    part = falling[first - 1 : last]
    part = part[part > 0]
    if len(part) < 2:
        return 0.0
    ranks = np.log(np.arange(first, first + len(part)))
    return float(-np.polyfit(ranks, np.log(part), 1)[0])


def split_statistics(dataset: Dataset, split: str, classes: TokenClasses, context: int | None) -> SplitStatistics:
    """Documents, tokens and classes of one split."""
    documents, tokens = dataset.documents(split), dataset.tokens(split)
    lengths = np.diff(documents.starts)
    by_class = classes.count(tokens)
    counts = count_tokens(tokens, dataset.vocab_size)
    characters = np.array([len(text) for text in classes.texts]) @ counts
    total, num_bytes = len(tokens), int(documents.bytes.sum())
    of_text = max(total - len(documents), 1)  # end-of-text has no text
    quantiles = np.percentile(lengths, _QUANTILES).astype(np.int64)
    return SplitStatistics(
        documents=len(documents),
        tokens=total,
        bytes=num_bytes,
        bytes_per_token=num_bytes / of_text,
        characters_per_token=float(characters / of_text),
        classes={name: float(count / total) for name, count in zip(CLASSES, by_class, strict=True)},
        structural=float(sum(by_class[CLASSES.index(name)] for name in STRUCTURAL) / total),
        lengths={str(q): int(value) for q, value in zip(_QUANTILES, quantiles, strict=True)},
        over_context=None if context is None else float((lengths > context).mean()),
    )


def sources_of(names: Sequence[str]) -> list[str]:
    """Where each document is from: the first folder of its name, which is the library or the folder before the first "*"."""
    return [name.partition("/")[0] if "/" in name else name.partition(":")[0] for name in names]


def balance(members: Sequence[str], lengths: NDArray[np.int64]) -> Balance:
    """Of documents that belong to `members`, with so many tokens each."""
    sizes: dict[str, int] = defaultdict(int)
    for member, length in zip(members, lengths.tolist(), strict=True):
        sizes[member] += length
    total = sum(sizes.values())
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:_SHOWN]
    return Balance(
        count=len(sizes),
        effective=total**2 / sum(size**2 for size in sizes.values()),
        largest={name: sizes[name] / total for name in largest},
    )
