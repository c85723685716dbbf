"""What is in the files of a corpus: texts worth learning from, each with a sketch to compare it by, and what was dropped.

The slow half of collecting a corpus, done on all cores. Nothing here depends on how many there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autonas.data.duplicates import Sketch, WordHashes, sketch
from autonas.data.files import FoundFile
from autonas.data.filters import decode, licence, reason_to_drop
from autonas.data.processes import ordered_map
from autonas.data.records import Document
from autonas.data.sources import Part, RawDocument, parts, read_part
from autonas.errors import CorpusError
from autonas.machine import num_cores

_PART_BYTES = 4_000_000  # of files read by one process at a time
# A process takes a quarter of a second to begin, and reads 10 MB in one.
_WORTH_PROCESSES = 16_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A document that passed the filters."""

    document: Document
    digest: bytes  # of the text
    sketch: Sketch


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A document, or a whole file, that is not used."""

    name: str
    reason: str


def read_texts(files: Sequence[FoundFile], processes: int | None = None) -> Iterator[Text | Dropped]:
    """What is in `files`, in their order, read by so many processes (default: one, or for a large corpus one for each core).

    Raises:
        CorpusError: a line of a JSON Lines file is wrong, or a file asked for by its own name cannot be read.
        ResourceError: a process was killed.
    """
    if processes is None:
        large = sum(file.num_bytes for file in files if not file.dropped) >= _WORTH_PROCESSES
        processes = num_cores() if large else 1
    for read in ordered_map(read_parts, _batches(files), processes):
        yield from read


def _batches(files: Sequence[FoundFile]) -> Iterator[list[Part]]:
    """The parts of all files in order, as much together as one process should read at a time."""
    batch: list[Part] = []
    num_bytes = 0
    for part in (part for file in files for part in parts(file, _PART_BYTES)):
        if batch and num_bytes + part.num_bytes > _PART_BYTES:
            yield batch
            batch, num_bytes = [], 0
        batch.append(part)
        num_bytes += part.num_bytes
    if batch:
        yield batch


def read_parts(batch: Sequence[Part]) -> list[Text | Dropped]:
    """What is in `batch`. Raises as `read_texts`."""
    words = WordHashes()
    found: list[Text | Dropped] = []
    for part in batch:
        file = part.file
        if file.dropped:
            found.append(Dropped(name=file.name, reason=file.dropped))
            continue
        try:
            found += [_judge(raw, words) for raw in read_part(part)]
        except OSError as error:
            if file.literal:
                raise CorpusError(f"{file.path}: cannot be read ({error.strerror}); check it and its permissions") from error
            found.append(Dropped(name=file.name, reason="unreadable"))
    return found


def _judge(raw: RawDocument, words: WordHashes) -> Text | Dropped:
    text, reason = decode(raw.data)
    reason = reason or reason_to_drop(text)
    if reason:
        return Dropped(name=raw.name, reason=reason)
    document = Document(name=raw.name, project=raw.project, text=text, licence=licence(text) or raw.licence or "unknown")
    return Text(document=document, digest=hashlib.sha256(text.encode()).digest(), sketch=sketch(text, words))
