"""Near duplicates: which texts are almost the same as an earlier one.

Texts are sets of 5-grams of tokens. MinHash with locality-sensitive hashing (datasketch) proposes pairs; the exact Jaccard
similarity of their sets decides, so a pair is never called near-duplicate by an estimate. Containment (a file copied into a
longer one) is not looked for. Sketches, the slow part, are made of each text alone, so by any number of processes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIMILARITY = 0.85
_WORD = re.compile(r"\w+|[^\w\s]")
_SHINGLE = 5  # tokens
# 16 bands of 6 rows: a pair at similarity 0.85 is missed once in 2,000, at 0.5 it costs one exact comparison in five.
_BANDS, _ROWS = 16, 6
_CHUNK = 1024  # shingles hashed at once: .8 MB of temporary memory, which stays in a processor's cache
_MULTIPLIERS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], dtype=np.uint64
)


# NumPy promises raw bits to stay the same in later versions. Multiply-shift needs odd multipliers for all 64 bits to count.
_FACTORS, _SHIFTS = np.random.Philox(1).random_raw(2 * _BANDS * _ROWS).astype(np.uint64).reshape(2, -1, 1) | np.uint64(1)


class WordHashes(dict[str, int]):
    """64 bits for every distinct word, hashed once. Python's own `hash` differs from process to process."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = value
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What a text is compared by."""

    shingles: NDArray[np.uint32]  # sorted and distinct
    signature: NDArray[np.uint32]  # (96,): of each hash function the least value over the shingles


def sketch(text: str, words: WordHashes | None = None) -> Sketch:
    """The sketch of `text`; `words` saves hashing the words of earlier texts again."""
    shingles = shingle_hashes(text, words)
    signature = np.full(_BANDS * _ROWS, np.iinfo(np.uint32).max, dtype=np.uint32)
    for start in range(0, len(shingles), _CHUNK):
        # Multiply-shift (Dietzfelbinger et al. 1997): (a · x + b) mod 2^64, of which the upper half is kept. (96, chunk)
        hashed = (_FACTORS * shingles[start : start + _CHUNK].astype(np.uint64) + _SHIFTS) >> np.uint64(32)
        signature = np.minimum(signature, hashed.min(axis=1).astype(np.uint32))
    return Sketch(shingles=shingles, signature=signature)


def near_duplicates(sketches: Sequence[Sketch], similarity: float = SIMILARITY) -> list[int]:
    """For each text the index of the first text of its cluster: its own when it has no near duplicate before it.

    Clusters are connected: when a is like b and b is like c, the three are one cluster even if a is less like c.
    """
    # datasketch brings scipy, a second to import; only a corpus that is built needs it.
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
    blank = MinHash(num_perm=_BANDS * _ROWS, seed=1)
    clusters = _Clusters(len(sketches))
    for number, own in enumerate(sketches):
        if not len(own.shingles):
            continue
        signature = blank.copy()
        signature.hashvalues = own.signature.astype(np.uint64)
        same = False
        for other in sorted(index.query(signature)):
            if not same and clusters.first(other) != clusters.first(number):
                alike = jaccard(own.shingles, sketches[other].shingles)
                same = alike == 1.0
                if alike >= similarity:
                    clusters.join(number, other)
        # What is like a text is like its copy: leaving copies out keeps ten thousand equal stubs from being compared pairwise.
        if not same:
            index.insert(number, signature)
    return [clusters.first(number) for number in range(len(sketches))]


def shingle_hashes(text: str, words: dict[str, int] | None = None) -> NDArray[np.uint32]:
    """The distinct 5-grams of the text's tokens as sorted 32-bit hashes; of a shorter text, the one n-gram that it is."""
    table = WordHashes() if words is None else words
    tokens = _WORD.findall(text)
    if not tokens:
        return np.zeros(0, dtype=np.uint32)
    hashes = np.fromiter(map(table.__getitem__, tokens), dtype=np.uint64, count=len(tokens))
    size = min(_SHINGLE, len(tokens))
    mixed = np.zeros(len(tokens) - size + 1, dtype=np.uint64)
    for offset in range(size):
        mixed += hashes[offset : offset + len(mixed)] * _MULTIPLIERS[offset]  # modulo 2^64
    return np.unique((mixed >> np.uint64(32)).astype(np.uint32))


def jaccard(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> float:
    """Shared share of two sets given as sorted distinct hashes; 0 for two empty ones."""
    shared = len(np.intersect1d(a, b, assume_unique=True))
    union = len(a) + len(b) - shared
    return shared / union if union else 0.0


class _Clusters:
    """Disjoint sets of 0 … n-1, each named by its smallest member."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def first(self, member: int) -> int:
        while self._parent[member] != member:
            self._parent[member] = self._parent[self._parent[member]]
            member = self._parent[member]
        return member

    def join(self, a: int, b: int) -> None:
        low, high = sorted((self.first(a), self.first(b)))
        self._parent[high] = low
