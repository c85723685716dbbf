"""Which held-out documents stand in training, whole or in part, as they are or a little changed: what no loss may rest on.

The build drops near duplicates (duplicates.py), but not a file that was copied into a longer one, and a user's own split may
hold anything. So every run of 13 tokens of a held-out document, blanks left out, is looked for in all of training. Near
duplicates are found by it, too. Works on token ids, streamed: no text is decoded, and memory is that of the held-out split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.grams import GRAM, Grams, Hashes, distinct, document_chunks, grams_of, token_hashes
from autonas.data.store import Dataset
from autonas.trial import Finding

CHECK: Final = "held_out_in_training"
SPAN: Final = 50  # tokens in a row that count as copied word by word
COPIED: Final = 0.3  # of a document's runs that one training document holds, from which on it is a copy
ALARM_COPIED: Final = 0.01  # of the held-out tokens, in documents that are copies
SOME_VERBATIM: Final = 0.03
ALARM_VERBATIM: Final = 0.05
_ENOUGH_OWN: Final = 50  # runs of a copy that are no boilerplate, or
_ENOUGH: Final = 1000  # runs of any kind: no licence is so long
_COMMON: Final = 10  # training documents that hold a run of tokens, from which on it is boilerplate: a licence, an idiom
_FILTER_BITS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentOverlap:
    """What of one held-out document stands in training. Tokens are those that are not blank."""

    name: str
    project: str
    tokens: int
    share: float  # of its different runs of 13 tokens, those that stand anywhere in training
    source: str = ""  # the training document that holds most of them; of equals, the first
    source_share: float = 0.0  # how many that one holds
    source_grams: int = 0
    source_own: int = 0  # of these, runs that fewer than ten training documents hold: no boilerplate
    verbatim: int = 0  # tokens in spans of 50 and more all of whose runs stand in training
    verbatim_own: int = 0  # without spans that are boilerplate for the larger part

    @property
    def is_copy(self) -> bool:
        """Whether one training document holds a large part of it, and more than a licence header."""
        enough = self.source_own >= _ENOUGH_OWN or self.source_grams >= _ENOUGH
        return self.source_share >= COPIED and enough


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Held-out documents against the training split, most copied first."""

    split: str
    documents: tuple[DocumentOverlap, ...]

    @property
    def tokens(self) -> int:
        return sum(document.tokens for document in self.documents)

    @property
    def copies(self) -> tuple[DocumentOverlap, ...]:
        """The documents that stand in training for a large part."""
        return tuple(document for document in self.documents if document.is_copy)

    @property
    def verbatim_share(self) -> float:
        """Of all tokens, those that stand in training in spans of 50 and more, boilerplate left out."""
        return sum(document.verbatim_own for document in self.documents) / max(self.tokens, 1)


def find_overlap(dataset: Dataset, split: str = "validation", against: str = "train") -> Overlap:
    """What of each document of `split` stands in the documents of `against`. Five seconds for 30 M tokens.

    Tokens are compared by their text without blanks around it: other indentation changes nothing.

    Raises:
        CorpusError: the data set is damaged.
    """
    table = token_hashes(dataset)
    held_out = grams_of(dataset, split, table, 0, len(dataset.documents(split)))
    grams = distinct(held_out.grams)
    holders = _holders(dataset, against, table, grams)
    return Overlap(split=split, documents=tuple(_documents(dataset, split, against, held_out, grams, holders)))


def overlap_finding(overlap: Overlap) -> Finding | None:
    """An alarm when copies are a hundredth of the held-out tokens or word-by-word spans a twentieth; a note for fewer.

    Licence headers and idioms, which many training documents have, are no copies.
    """
    copies, total = overlap.copies, max(overlap.tokens, 1)
    copied = sum(document.tokens for document in copies) / total
    if not copies and overlap.verbatim_share < SOME_VERBATIM:
        return None
    found = []
    if copies:
        first = copies[0]
        found.append(
            f"{len(copies)} of {len(overlap.documents)} {overlap.split} documents ({copied:.1%} of the tokens) stand in "
            f"training in large part, such as {first.name}, {first.source_share:.0%} of it in {first.source}"
        )
    found.append(
        f"{overlap.verbatim_share:.1%} of the {overlap.split} tokens stand in training word by word, in spans of {SPAN} and "
        "more"
    )
    alarm = copied >= ALARM_COPIED or overlap.verbatim_share >= ALARM_VERBATIM
    return Finding(check=CHECK, severity="alarm" if alarm else "note", text="; ".join(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holders:
    """Which training documents hold each of some runs: those of run g are `documents[starts[g]:starts[g + 1]]`, rising."""

    starts: NDArray[np.int64]
    documents: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.diff(self.starts)


def _holders(dataset: Dataset, against: str, table: Hashes, known: Hashes) -> _Holders:
    """Of each of the sorted runs `known`, streaming through all documents of `against`."""
    num_documents = max(len(dataset.documents(against)), 1)
    mask = np.uint64((1 << _FILTER_BITS) - 1)
    # A look into a table of bits spares most searches.
    maybe = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
    maybe[known & mask] = True
    codes = [np.zeros(0, dtype=np.int64)]
    for first, last in document_chunks(dataset.documents(against).starts):
        found = grams_of(dataset, against, table, first, last)
        likely = maybe[found.grams & mask]
        grams, owners = found.grams[likely], found.owners[likely]
        places = np.minimum(np.searchsorted(known, grams), max(len(known) - 1, 0))
        same = known[places] == grams if len(known) else np.zeros(0, dtype=np.bool_)
        codes.append(distinct(places[same] * num_documents + owners[same]))
    together = np.sort(np.concatenate(codes))
    holders, documents = np.divmod(together, num_documents)
    return _Holders(starts=np.searchsorted(holders, np.arange(len(known) + 1)), documents=documents)


def _documents(
    dataset: Dataset, split: str, against: str, held_out: Grams, known: Hashes, holders: _Holders
) -> list[DocumentOverlap]:
    documents, sources = dataset.documents(split), dataset.documents(against)
    places = np.searchsorted(known, held_out.grams)
    counts = holders.counts
    edges = np.searchsorted(held_out.owners, np.arange(len(documents) + 1))
    found = []
    for number in range(len(documents)):
        row = places[edges[number] : edges[number + 1]]
        grams = distinct(row)
        total, own = _held_by(holders, grams, len(sources))
        source = int(np.argmax(total)) if total.any() else -1
        verbatim, verbatim_own = _spans(counts[row] > 0, counts[row] < _COMMON)
        found.append(
            DocumentOverlap(
                name=documents.names[number],
                project=documents.projects[number],
                tokens=int(held_out.tokens[number]),
                share=float((counts[grams] > 0).mean()) if len(grams) else 0.0,
                source=sources.names[source] if source >= 0 else "",
                source_share=float(total[source] / len(grams)) if source >= 0 else 0.0,
                source_grams=int(total[source]) if source >= 0 else 0,
                source_own=int(own[source]) if source >= 0 else 0,
                verbatim=verbatim,
                verbatim_own=verbatim_own,
            )
        )
    return sorted(found, key=lambda document: (-document.source_share, document.name))


def _held_by(holders: _Holders, grams: NDArray[np.int64], num_sources: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of `grams` each training document holds, and how many of those that fewer than ten hold."""
    counts = holders.counts[grams]
    # All ranges of holders end to end.
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    documents = holders.documents[np.repeat(holders.starts[grams], counts) + offsets]
    own = np.repeat(counts < _COMMON, counts)
    total = np.bincount(documents, minlength=max(num_sources, 1))
    return total, np.bincount(documents[own], minlength=max(num_sources, 1))


def _spans(present: NDArray[np.bool_], own: NDArray[np.bool_]) -> tuple[int, int]:
    """Tokens of one document in spans of 50 and more all of whose runs are present; and of those that are `own` by half."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], present, [False])).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    lengths = ends - begins + GRAM - 1
    long = lengths >= SPAN
    before = np.concatenate(([0], np.cumsum(own)))
    mostly_own = 2 * (before[ends] - before[begins]) >= ends - begins
    return int(lengths[long].sum()), int(lengths[long & mostly_own].sum())
