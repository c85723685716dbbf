"""Which documents train, validate and test. Whole projects only; near duplicates are gone before (`duplicates.py`)."""

from __future__ import annotations

import hashlib
import posixpath
from collections import defaultdict
from collections.abc import Sequence

from autonas.data.records import SPLITS, Document, Split
from autonas.errors import CorpusError

_MOST_OF_SHARE = 0.25  # a project larger than this part of a share would speak for the whole of it
_TOLERANCE = 1.1  # a share may be overfilled by this factor


def assign_splits(
    documents: Sequence[Document], *, validation_share: float, test_share: float, seed: int
) -> tuple[list[Split], str]:
    """The split of each document, and by what it is split: "project", or "folder" or "document" where projects are too few.

    Groups are drawn in the order of a hash of seed and name until the shares of bytes are reached, so that the same documents
    are split alike everywhere. Every split gets at least one group.

    Raises:
        CorpusError: fewer documents than splits.
    """
    if len(documents) < len(SPLITS):
        raise CorpusError(
            f"corpus: {len(documents)} usable document(s), but train, validation and test need one each; "
            "name more files, or cut a large one into several"
        )
    sizes = [document.num_bytes for document in documents]
    groups = {
        "project": [document.project for document in documents],
        "folder": [posixpath.dirname(document.name) for document in documents],
        "document": [f"{document.name}\0{number}" for number, document in enumerate(documents)],
    }
    split_by, keys = next((by, keys) for by, keys in groups.items() if len(set(keys)) >= len(SPLITS))
    weights: dict[str, int] = defaultdict(int)
    for key, size in zip(keys, sizes, strict=True):
        weights[key] += size
    chosen = _fill(weights, {"validation": validation_share, "test": test_share}, seed)
    return [chosen.get(key, "train") for key in keys], split_by


def draw_order(seed: int, name: str) -> bytes:
    """Sorts names into an order that depends on the seed and on nothing else."""
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()


def _fill(weights: dict[str, int], shares: dict[Split, float], seed: int) -> dict[str, Split]:
    free = sorted(weights, key=lambda name: draw_order(seed, name))
    chosen: dict[str, Split] = {}
    for rank, (split, share) in enumerate(shares.items()):
        still_needed = len(shares) - rank  # groups that must be left for the splits after this one, train among them
        target = share * sum(weights.values())
        filled = 0
        for largest in (_MOST_OF_SHARE * target, target):
            for name in list(free):
                fits = weights[name] <= largest and filled + weights[name] <= _TOLERANCE * target
                if fits and filled < target and len(free) > still_needed:
                    chosen[name] = split
                    filled += weights[name]
                    free.remove(name)
        if not filled:
            smallest = min(free, key=lambda name: (weights[name], draw_order(seed, name)))
            chosen[smallest] = split
            free.remove(smallest)
    return chosen
