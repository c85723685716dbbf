"""Near duplicates: which texts are almost the same as an earlier one.

Texts are sets of 5-grams of tokens. MinHash with locality-sensitive hashing (datasketch) proposes pairs; the exact Jaccard
similarity of their sets decides, so a pair is never called near-duplicate by an estimate. Containment (a file copied into a
longer one) is not looked for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SIMILARITY = 0.85
_WORD = re.compile(r"\w+|[^\w\s]")
_SHINGLE = 5  # tokens
# 16 bands of 6 rows: a pair at similarity 0.85 is missed once in 2,000, at 0.5 it costs one exact comparison in five.
_BANDS, _ROWS = 16, 6
_CHUNK = 8192  # shingles hashed at once: 3 MB of temporary memory
_MULTIPLIERS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F], dtype=np.uint64
)


class _WordHashes(dict[str, int]):
    """64 bits for every distinct word, hashed once. Python's own `hash` differs from process to process."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = value
        return value


def near_duplicates(texts: Sequence[str], similarity: float = SIMILARITY) -> list[int]:
    """For each text the index of the first text of its cluster: its own when it has no near duplicate before it.

    Clusters are connected: when a is like b and b is like c, the three are one cluster even if a is less like c.
    """
    # datasketch brings scipy, a second to import; only a corpus that is built needs it.
    from datasketch import MinHash, MinHashLSH

    words = _WordHashes()
    index = MinHashLSH(num_perm=_BANDS * _ROWS, params=(_BANDS, _ROWS))
    blank = MinHash(num_perm=_BANDS * _ROWS, seed=1, hashfunc=int)
    clusters = _Clusters(len(texts))
    shingles: list[NDArray[np.uint32]] = []
    for number, text in enumerate(texts):
        own = shingle_hashes(text, words)
        shingles.append(own)
        if not len(own):
            continue
        signature = blank.copy()
        for start in range(0, len(own), _CHUNK):
            signature.update_batch(own[start : start + _CHUNK].tolist())
        same = False
        for other in sorted(index.query(signature)):
            if not same and clusters.first(other) != clusters.first(number):
                alike = jaccard(own, shingles[other])
                same = alike == 1.0
                if alike >= similarity:
                    clusters.join(number, other)
        # What is like a text is like its copy: leaving copies out keeps ten thousand equal stubs from being compared pairwise.
        if not same:
            index.insert(number, signature)
    return [clusters.first(number) for number in range(len(texts))]


def shingle_hashes(text: str, words: dict[str, int] | None = None) -> NDArray[np.uint32]:
    """The distinct 5-grams of the text's tokens as sorted 32-bit hashes; of a shorter text, the one n-gram that it is."""
    table = _WordHashes() if words is None else words
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
