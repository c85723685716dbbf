"""What a split says more than once: stretches, whole documents, lines that many documents share, texts that look generated.

Streamed over token ids, one chunk of whole documents at a time; what is kept is a few numbers for each line and document.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.grams import GRAM, Hashes, distinct, document_chunks, grams_of, token_hashes
from autonas.data.records import SPLITS
from autonas.data.store import Dataset
from autonas.data.token_classes import CLASSES, TokenClasses

STRETCH: Final = 50  # tokens without blanks
_LINE: Final = 6  # tokens of a line that is looked at: "return self" and "else:" stand everywhere
_MANY: Final = 0.01  # of the documents, and at least three: so many share a line of boilerplate
_SHOWN: Final = 12  # lines
_HASHES: Final = 1 << 23  # stretches compared; of more, a fixed sample by their hash
_POWERS: Final = np.cumprod(np.full(1024, 0x9E3779B97F4A7C15, dtype=np.uint64), dtype=np.uint64)
# Of documents with as many lines: what written code hardly has. Of 543 of the standard library none, of 3,816 of it and of some
# large packages 50, tables and test data mostly.
_LOOKED_AT: Final = 50
_FEWEST_DIFFERENT: Final = 0.5  # of its lines
_MOST_NUMBERS: Final = 0.3  # of its tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedLine:
    """A line that many documents share."""

    text: str
    documents: int
    share: float  # of the split's tokens that are not blank, in all its occurrences


@dataclass(frozen=True, slots=True, kw_only=True)
class Repetition:
    """What is said more than once in a split."""

    stretches: float  # share of stretches of 50 tokens that stood before
    boilerplate: float  # share of tokens in lines that many documents share
    lines: tuple[RepeatedLine, ...]  # the costliest of these
    generated: tuple[str, ...]  # names of documents that look written by a program, with why


def find_repetition(dataset: Dataset, classes: TokenClasses, split: str = "train") -> Repetition:
    """What `split` says more than once.

    Stretches are after Lee et al. (2022), "Deduplicating Training Data Makes Language Models Better", who take out what stands
    twice in 50 tokens.
    """
    table = token_hashes(dataset)
    lines = _Lines.of(dataset, split, table, classes)
    return Repetition(
        stretches=_repeated_stretches(dataset, split, table),
        boilerplate=lines.boilerplate_share(),
        lines=tuple(lines.costliest(dataset, split)),
        generated=tuple(_generated(dataset, split, lines, classes)),
    )


def equal_documents(dataset: Dataset) -> dict[str, int]:
    """Documents whose tokens are an earlier one's, by the two splits: {"train, validation": 2}. The build leaves none."""
    seen: dict[bytes, str] = {}
    found: dict[str, int] = defaultdict(int)
    for split in SPLITS:
        tokens, starts = dataset.tokens(split), dataset.documents(split).starts
        for first, last in itertools.pairwise(starts):
            key = hashlib.blake2b(np.asarray(tokens[first:last]).tobytes(), digest_size=16).digest()
            if key in seen:
                found[f"{seen[key]}, {split}"] += 1
            else:
                seen[key] = split
    return dict(found)


def _repeated_stretches(dataset: Dataset, split: str, table: Hashes) -> float:
    documents = dataset.documents(split)
    # By their hash, so that of equal stretches all are taken or none.
    one_of = np.uint64(-(-int(documents.starts[-1]) // _HASHES))
    parts = [np.zeros(0, dtype=np.uint64)]
    for first, last in document_chunks(documents.starts):
        found = grams_of(dataset, split, table, first, last)
        reach = STRETCH - GRAM
        count = max(len(found.grams) - reach, 0)
        whole = found.owners[:count] == found.owners[len(found.owners) - count :]
        # Four runs of 13 cover 50 tokens.
        mixed = np.zeros(count, dtype=np.uint64)
        for offset, factor in zip((0, GRAM, 2 * GRAM, reach), _POWERS[:4], strict=True):
            mixed += found.grams[offset : offset + count] * factor  # modulo 2^64
        mixed = mixed[whole]
        mixed ^= mixed >> np.uint64(29)
        parts.append(mixed[mixed % one_of == 0])
    stretches = np.concatenate(parts)
    return 1 - len(distinct(stretches)) / len(stretches) if len(stretches) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """All lines of a split with at least six tokens that are not blank, in order."""

    hashes: Hashes  # (lines,)
    lengths: NDArray[np.int64]  # (lines,) in such tokens
    owners: NDArray[np.int64]  # (lines,) the document's number
    places: NDArray[np.int64]  # (lines,) of the first such token, in the split's tokens
    document_lines: NDArray[np.int64]  # (documents,) of any length
    numbers: NDArray[np.float64]  # (documents,) share of number tokens
    tokens: int  # that are not blank

    @classmethod
    def of(cls, dataset: Dataset, split: str, table: Hashes, classes: TokenClasses) -> _Lines:
        chunks = [
            _chunk_lines(dataset, split, table, classes, first, last)
            for first, last in document_chunks(dataset.documents(split).starts)
        ]
        return cls(
            hashes=np.concatenate([chunk.hashes for chunk in chunks]),
            lengths=np.concatenate([chunk.lengths for chunk in chunks]),
            owners=np.concatenate([chunk.owners for chunk in chunks]),
            places=np.concatenate([chunk.places for chunk in chunks]),
            document_lines=np.concatenate([chunk.document_lines for chunk in chunks]),
            numbers=np.concatenate([chunk.numbers for chunk in chunks]),
            tokens=sum(chunk.tokens for chunk in chunks),
        )

    def _shared(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each line, which different one it is, and of each different one the number of documents."""
        _, which = np.unique(self.hashes, return_inverse=True)
        num_documents = len(self.document_lines)
        pairs = distinct(which * num_documents + self.owners)
        return which, np.bincount(pairs // num_documents, minlength=int(which.max(initial=-1)) + 1)

    def _least(self) -> float:
        return max(3.0, _MANY * len(self.document_lines))

    def boilerplate_share(self) -> float:
        which, documents = self._shared()
        return float(self.lengths[documents[which] >= self._least()].sum() / max(self.tokens, 1))

    def costliest(self, dataset: Dataset, split: str) -> Iterator[RepeatedLine]:
        which, documents = self._shared()
        taken = np.bincount(which, weights=self.lengths, minlength=len(documents)) * (documents >= self._least())
        firsts = np.full(len(documents), -1)
        firsts[which[::-1]] = np.arange(len(which))[::-1]  # the first line of each kind is written last
        for kind in np.argsort(-taken, kind="stable")[:_SHOWN]:
            if taken[kind]:
                begin = int(self.places[firsts[kind]])
                # Blank tokens within the line are few: twice as many tokens hold all of it.
                ids = dataset.tokens(split)[begin : begin + 2 * int(self.lengths[firsts[kind]]) + 8].tolist()
                text = dataset.tokenizer.decode(ids).strip().splitlines()[0].strip()
                yield RepeatedLine(text=text, documents=int(documents[kind]), share=float(taken[kind] / self.tokens))

    def different(self) -> NDArray[np.float64]:
        """Of each document, the share of its lines, of six tokens and more, that are different; 1 where there are few."""
        num_documents = len(self.document_lines)
        order = np.lexsort((self.hashes, self.owners))
        owners, hashes = self.owners[order], self.hashes[order]
        new = np.append(True, (owners[1:] != owners[:-1]) | (hashes[1:] != hashes[:-1]))[: len(owners)]
        totals = np.bincount(owners, minlength=num_documents)
        shares = np.bincount(owners, weights=new, minlength=num_documents) / np.maximum(totals, 1)
        return np.where(totals >= _LOOKED_AT, shares, 1.0)


def _chunk_lines(dataset: Dataset, split: str, table: Hashes, classes: TokenClasses, first: int, last: int) -> _Lines:
    """Those of documents `first` to `last - 1`."""
    breaks = np.array([("\n" in text or "\r" in text) for text in classes.texts])
    breaks[dataset.tokenizer.end_of_text] = True
    is_number = classes.alone == CLASSES.index("number")
    begin, *_, end = dataset.documents(split).starts[first : last + 1]
    starts = dataset.documents(split).starts[first : last + 1] - begin
    ids = np.asarray(dataset.tokens(split)[begin:end])
    hashes = table[ids]
    line = np.cumsum(breaks[ids])  # a break belongs to the line that it begins
    document_lines = np.diff(np.append(0, line)[starts])
    numbers = np.add.reduceat(is_number[ids], starts[:-1], dtype=np.float64) / np.maximum(np.diff(starts), 1)
    places = np.flatnonzero(hashes)
    heads = np.flatnonzero(np.diff(line[places], prepend=-1))
    lengths = np.diff(np.append(heads, len(places)))
    within = np.arange(len(places)) - np.repeat(heads, lengths)
    mixed = hashes[places] * _POWERS[within % len(_POWERS)]
    sums = np.add.reduceat(mixed, heads) if len(heads) else mixed
    long = lengths >= _LINE
    return _Lines(
        hashes=sums[long],
        lengths=lengths[long],
        owners=np.searchsorted(starts, places[heads][long], side="right") - 1 + first,
        places=places[heads][long] + begin,
        document_lines=document_lines,
        numbers=numbers,
        tokens=len(places),
    )


def _generated(dataset: Dataset, split: str, lines: _Lines, classes: TokenClasses) -> Iterator[str]:
    names = dataset.documents(split).names
    different = lines.different()
    for number in np.flatnonzero((different < _FEWEST_DIFFERENT) | (lines.numbers > _MOST_NUMBERS)):
        if lines.document_lines[number] >= _LOOKED_AT:
            if different[number] < _FEWEST_DIFFERENT:
                yield f"{names[number]} ({different[number]:.0%} of its lines are different)"
            else:
                yield f"{names[number]} ({lines.numbers[number]:.0%} of its tokens are numbers)"
