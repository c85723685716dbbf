"""Runs of tokens as 64-bit hashes, made of token ids by the million: what copies and repetitions are found by.

A token counts by its text without blanks around it, and blank ones do not count at all, so that other indentation changes
nothing. Hashes are equal where runs are; that two different ones meet by accident does not happen (2^-64 each).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from autonas.data.store import Dataset
from autonas.data.token_classes import vocabulary_texts

GRAM: Final = 13  # tokens without blanks: a line or so, eight words
_CHUNK: Final = 1 << 21  # tokens hashed at once

Hashes = NDArray[np.uint64]
_Number = TypeVar("_Number", bound=np.integer[Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Grams:
    """The runs of 13 tokens of some documents, in order, none over the end of one."""

    grams: Hashes  # (runs,)
    owners: NDArray[np.int64]  # (runs,) the document's number
    tokens: NDArray[np.int64]  # (documents,) that are not blank


def token_hashes(dataset: Dataset) -> Hashes:
    """64 bits for each entry of the vocabulary, the same for the same text with blanks around it or not; 0 for blank ones."""
    hashes = np.zeros(dataset.vocab_size, dtype=np.uint64)
    for number, text in enumerate(vocabulary_texts(dataset.tokenizer)):
        bare = text.strip()
        if bare:
            # Parts of characters all decode alike: their number tells them apart.
            key = f"\0{number}" if "\ufffd" in bare else bare
            hashes[number] = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") | 1
    return hashes


# NumPy promises raw bits to stay the same in later versions. Odd, so that all 64 bits of a token count.
_FACTORS: Final = np.random.Philox(13).random_raw(GRAM).astype(np.uint64) | np.uint64(1)


def grams_of(dataset: Dataset, split: str, table: Hashes, first: int, last: int) -> Grams:
    """Those of documents `first` to `last - 1`."""
    starts = dataset.documents(split).starts[first : last + 1]
    return token_grams(np.asarray(dataset.tokens(split)[starts[0] : starts[-1]]), starts - starts[0], table, first)


def token_grams(tokens: NDArray[np.integer[Any]], starts: NDArray[np.int64], table: Hashes, first: int = 0) -> Grams:
    """Those of documents that lie end to end in `tokens`, (starts - 1) of them, numbered from `first`."""
    hashes = table[tokens]
    real = hashes != 0
    before = np.concatenate(([0], np.cumsum(real)))
    sizes = np.diff(before[starts])
    hashes = hashes[real]
    owners = np.repeat(np.arange(first, first + len(sizes)), sizes)
    count = max(len(hashes) - GRAM + 1, 0)
    mixed = np.zeros(count, dtype=np.uint64)
    for offset, factor in enumerate(_FACTORS):
        mixed += hashes[offset : offset + count] * factor  # modulo 2^64
    mixed ^= mixed >> np.uint64(32)
    whole = owners[:count] == owners[len(owners) - count :]
    return Grams(grams=mixed[whole], owners=owners[:count][whole], tokens=sizes)


def document_chunks(starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Whole documents of about so many tokens together."""
    first = 0
    while first < len(starts) - 1:
        last = max(int(np.searchsorted(starts, starts[first] + _CHUNK, side="right")) - 1, first + 1)
        yield first, last
        first = last


def distinct(values: NDArray[_Number]) -> NDArray[_Number]:
    """Different values, rising. NumPy's `unique` takes twenty times as long for two million hashes (2.4)."""
    ordered = np.sort(values)
    different: NDArray[_Number] = ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]
    return different
