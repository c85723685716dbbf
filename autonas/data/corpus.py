"""From settings to documents: find, read, filter, remove duplicates, split, and report what was kept and dropped.

Everything is held in memory as text. Tokens are made in `dataset.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from autonas.data.duplicates import near_duplicates
from autonas.data.files import FoundFile
from autonas.data.records import SPLITS, CorpusReport, CorpusSettings, Document
from autonas.data.sources import find_files
from autonas.data.split import assign_splits, draw_order
from autonas.data.texts import Dropped, Text, read_texts
from autonas.errors import CorpusError

__all__ = ["CorpusReport", "CorpusSettings", "Document", "collect", "corpus_fingerprint"]

_EXAMPLES = 5  # names kept for each reason


def collect(
    settings: CorpusSettings, files: Sequence[FoundFile] | None = None, *, processes: int | None = None
) -> tuple[list[Document], CorpusReport]:
    """The documents of a corpus, split, and the report on it. `files` are those of `find_files`, where it has run already.

    `processes` read the files: one, or for a large corpus one for each core, unless given. How many changes no result.

    Raises:
        CorpusError: nothing found, nothing left, fewer documents than splits, or a file or line that cannot be used.
    """
    files = find_files(settings) if files is None else files
    drops = _Drops()
    documents = _unlike(_once(_readable(read_texts(files, processes), drops), drops), drops)
    if not documents:
        raise CorpusError(f"corpus: none of {drops.total:,} documents can be used ({drops}); name other files")
    splits, split_by = assign_splits(
        documents, validation_share=settings.validation_share, test_share=settings.test_share, seed=settings.seed
    )
    documents = [dataclasses.replace(document, split=split) for document, split in zip(documents, splits, strict=True)]
    if settings.max_bytes is not None:
        documents = _limit_train(documents, settings.max_bytes, settings.seed, drops)
    return documents, _report(documents, drops, split_by)


def corpus_fingerprint(documents: Sequence[Document]) -> str:
    """64 hexadecimal digits over names, projects, splits and texts: two corpora with the same one are the same corpus."""
    digest = hashlib.sha256()
    for document in documents:
        for part in (document.split, document.name, document.project, document.text):
            data = part.encode()
            digest.update(len(data).to_bytes(8, "little"))
            digest.update(data)
    return digest.hexdigest()


class _Drops:
    """Counts what is dropped, by reason, with a few names."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = defaultdict(list)

    def __str__(self) -> str:
        return ", ".join(f"{reason} {count:,}" for reason, count in self.counts.most_common()) or "none found"

    @property
    def total(self) -> int:
        return self.counts.total()

    def add(self, reason: str, name: str) -> None:
        self.counts[reason] += 1
        if len(self.examples[reason]) < _EXAMPLES:
            self.examples[reason].append(name)


def _readable(found: Iterable[Text | Dropped], drops: _Drops) -> list[Text]:
    texts = []
    for item in found:
        if isinstance(item, Text):
            texts.append(item)
        else:
            drops.add(item.reason, item.name)
    return texts


def _once(texts: Sequence[Text], drops: _Drops) -> list[Text]:
    kept: dict[bytes, Text] = {}
    for text in texts:
        if kept.setdefault(text.digest, text) is not text:
            drops.add("exact duplicate", text.document.name)
    return list(kept.values())


def _unlike(texts: Sequence[Text], drops: _Drops) -> list[Document]:
    firsts = near_duplicates([text.sketch for text in texts])
    for number, first in enumerate(firsts):
        if first != number:
            drops.add("near duplicate", texts[number].document.name)
    return [text.document for number, text in enumerate(texts) if firsts[number] == number]


def _limit_train(documents: list[Document], max_bytes: int, seed: int, drops: _Drops) -> list[Document]:
    train = [number for number, document in enumerate(documents) if document.split == "train"]
    room, kept = max_bytes, set()
    for number in sorted(train, key=lambda number: draw_order(seed, f"{documents[number].name}\0{documents[number].text}")):
        size = documents[number].num_bytes
        if size <= room:
            kept.add(number)
            room -= size
        else:
            drops.add("over max_bytes", documents[number].name)
    if not kept:
        least = min(documents[number].num_bytes for number in train)
        raise CorpusError(f"corpus.max_bytes is {max_bytes:,}, but the smallest train document has {least:,} bytes; allow more")
    return [document for number, document in enumerate(documents) if document.split != "train" or number in kept]


def _report(documents: list[Document], drops: _Drops, split_by: str) -> CorpusReport:
    by_split = {split: [document for document in documents if document.split == split] for split in SPLITS}
    return CorpusReport(
        documents={split: len(members) for split, members in by_split.items()},
        bytes={split: sum(document.num_bytes for document in members) for split, members in by_split.items()},
        projects={split: len({document.project for document in members}) for split, members in by_split.items()},
        found=len(documents) + drops.total,
        dropped=dict(sorted(drops.counts.items())),
        dropped_examples={reason: tuple(names) for reason, names in sorted(drops.examples.items())},
        licences=dict(sorted(Counter(document.licence for document in documents).items())),
        split_by=split_by,
    )
