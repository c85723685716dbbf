"""A tokenised corpus on the disk: its layout, how it is written and opened, and how damage is noticed.

    tokens-<split>.bin      little-endian uint16 (uint32 above 65,536 entries); end-of-text after each document
    documents-<split>.json  where documents start, their bytes, names and projects
    tokenizer.json
    dataset.json            fingerprint, counts, report, and size and SHA-256 of each other file

When it is built and how it is found again: `dataset.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autonas.data.cache import key_of
from autonas.data.records import SPLITS, CorpusReport, Document
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CorpusError, TokenizerError
from autonas.trial import DataRef, from_json, to_json

FORMAT = 1
_BATCH_BYTES = 4_000_000  # of text encoded at once: memory stays bounded, all cores stay busy


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """The documents of a split: number i is `tokens[starts[i]:starts[i + 1]]`, and the last of those is end-of-text."""

    starts: NDArray[np.int64]  # (n + 1,)
    bytes: NDArray[np.int64]  # (n,), of the text as UTF-8
    names: tuple[str, ...]
    projects: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifest:
    """dataset.json, without its own checksum."""

    format: int
    fingerprint: str
    corpus_fingerprint: str
    dtype: Literal["<u2", "<u4"]
    report: CorpusReport
    files: Mapping[str, _Stamp]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stamp:
    num_bytes: int
    sha256: str


class Dataset:
    """A prepared corpus, read-only. Make one with `Dataset.open` or `dataset.prepare`."""

    def __init__(self, folder: Path, manifest: _Manifest, tokenizer: Tokenizer) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self._manifest = manifest
        self._documents: dict[str, Documents] = {}

    @classmethod
    def open(cls, folder: str | os.PathLike[str], fingerprint: str | None = None) -> Dataset:
        """The data set in `folder`; with `fingerprint`, that one and no other.

        The sizes of all files are checked and the content of the tokenizer's; `verify` reads the others.

        Raises:
            CorpusError: missing, half-written, truncated, of another format or another fingerprint.
        """
        path = Path(folder).resolve()
        manifest = _read_manifest(path)
        if fingerprint not in (None, manifest.fingerprint):
            raise CorpusError(f"{path}: holds data set {manifest.fingerprint}, not {fingerprint}; build the corpus again")
        for name, stamp in manifest.files.items():
            try:
                size = (path / name).stat().st_size
            except OSError as error:
                raise _damaged(path, f"{name} cannot be read ({error.strerror})") from error
            if size != stamp.num_bytes:
                raise _damaged(path, f"{name} has {size:,} bytes instead of {stamp.num_bytes:,}")
        try:
            tokenizer = Tokenizer.load(path / "tokenizer.json", check=False)
        except TokenizerError as error:
            raise _damaged(path, "tokenizer.json is corrupt") from error
        dataset = cls(path, manifest, tokenizer)
        dataset._verify_file("tokenizer.json")  # small, and a flipped bit can leave another usable tokenizer
        return dataset

    @property
    def fingerprint(self) -> str:
        return self._manifest.fingerprint

    @property
    def corpus_fingerprint(self) -> str:
        """Of the documents alone: two tokenizers on one corpus share it."""
        return self._manifest.corpus_fingerprint

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    @property
    def ref(self) -> DataRef:
        """How a job names this data set."""
        return DataRef(folder=str(self.folder), fingerprint=self.fingerprint)

    @property
    def report(self) -> dict[str, Any]:
        """The corpus report as a JSON-ready mapping."""
        return self._manifest.report.to_dict()

    def lines(self) -> list[str]:
        """What this is, for people."""
        head = f"data set {self.fingerprint}, vocabulary {self.vocab_size:,} (tokenizer {self.tokenizer.fingerprint})"
        return [head, f"  {self.folder}", *self._manifest.report.lines()]

    def tokens(self, split: str) -> NDArray[np.unsignedinteger[Any]]:
        """All token ids of a split, (n,), uint16 or uint32, mapped and not copied. Raises CorpusError."""
        assert split in SPLITS, split
        try:
            return np.memmap(self.folder / f"tokens-{split}.bin", dtype=self._manifest.dtype, mode="r")
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, f"tokens-{split}.bin cannot be read ({error})") from error

    def documents(self, split: str) -> Documents:
        """Where the documents of a split lie in its tokens; read once. Raises CorpusError."""
        assert split in SPLITS, split
        if split not in self._documents:
            self._documents[split] = self._read_documents(split)
        return self._documents[split]

    def _read_documents(self, split: str) -> Documents:
        name = f"documents-{split}.json"
        try:
            values = json.loads((self.folder / name).read_bytes())
            documents = Documents(
                starts=np.array(values["starts"], dtype=np.int64),
                bytes=np.array(values["bytes"], dtype=np.int64),
                names=tuple(values["names"]),
                projects=tuple(values["projects"]),
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise _damaged(self.folder, f"{name} is corrupt ({error})") from error
        lengths = {len(documents.starts) - 1, len(documents.bytes), len(documents.names), len(documents.projects)}
        if len(lengths) > 1 or documents.starts[-1] != len(self.tokens(split)):
            raise _damaged(self.folder, f"{name} is corrupt (its lists do not go together)")
        return documents

    def text(self, split: str, number: int) -> str:
        """The text of document `number` of a split, as it was read."""
        starts = self.documents(split).starts
        return self.tokenizer.decode(self.tokens(split)[starts[number] : starts[number + 1] - 1].tolist())

    def verify(self) -> None:
        """Read every file and compare its checksum. Raises CorpusError naming the damaged file."""
        for name in self._manifest.files:
            self._verify_file(name)

    def _verify_file(self, name: str) -> None:
        try:
            with (self.folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _damaged(self.folder, f"{name} cannot be read ({error.strerror})") from error
        if found != self._manifest.files[name].sha256:
            raise _damaged(self.folder, f"{name} is not what was written (its checksum differs)")


def dataset_fingerprint(corpus_fingerprint: str, tokenizer: Tokenizer) -> str:
    """What a data set is called: documents, tokenizer and layout, and nothing of where or when."""
    return key_of(FORMAT, corpus_fingerprint, tokenizer.fingerprint)[:16]


def write_dataset(
    folder: Path, documents: Sequence[Document], tokenizer: Tokenizer, report: CorpusReport, corpus_fingerprint: str
) -> None:
    """Tokenise `documents` into an existing empty `folder`. Raises OSError when it cannot be written."""
    dtype: Literal["<u2", "<u4"] = "<u2" if tokenizer.vocab_size <= 65_536 else "<u4"
    files: dict[str, _Stamp] = {}
    tokens: dict[str, int] = {}
    for split in SPLITS:
        members = [document for document in documents if document.split == split]
        starts = [0]
        files[f"tokens-{split}.bin"] = _write(folder / f"tokens-{split}.bin", _token_blocks(members, tokenizer, dtype, starts))
        index = {
            "starts": starts,
            "bytes": [document.num_bytes for document in members],
            "names": [document.name for document in members],
            "projects": [document.project for document in members],
        }
        files[f"documents-{split}.json"] = _write(folder / f"documents-{split}.json", [json.dumps(index).encode()])
        tokens[split] = starts[-1]
    files["tokenizer.json"] = _write(folder / "tokenizer.json", [tokenizer.to_bytes()])
    manifest = _Manifest(
        format=FORMAT,
        fingerprint=dataset_fingerprint(corpus_fingerprint, tokenizer),
        corpus_fingerprint=corpus_fingerprint,
        dtype=dtype,
        report=CorpusReport.from_dict({**report.to_dict(), "tokens": tokens}),
        files=files,
    )
    values = to_json(manifest)
    content = json.dumps({**values, "checksum": key_of(values)}, indent=1).encode()
    _write(folder / "dataset.json", [content])


def _token_blocks(
    documents: Sequence[Document], tokenizer: Tokenizer, dtype: Literal["<u2", "<u4"], starts: list[int]
) -> Iterator[bytes]:
    """The split's tokens in order; `starts` grows by the end of each document."""
    batch: list[str] = []
    num_bytes = 0
    for number, document in enumerate(documents, start=1):
        batch.append(document.text)
        num_bytes += document.num_bytes
        if num_bytes >= _BATCH_BYTES or number == len(documents):
            for ids in tokenizer.encode_batch(batch):
                starts.append(starts[-1] + len(ids) + 1)
                yield np.array([*ids, tokenizer.end_of_text], dtype=dtype).tobytes()
            batch, num_bytes = [], 0


def _write(path: Path, blocks: Sequence[bytes] | Iterator[bytes]) -> _Stamp:
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
            digest.update(block)
            size += len(block)
        file.flush()
        os.fsync(file.fileno())
    return _Stamp(num_bytes=size, sha256=digest.hexdigest())


def _read_manifest(folder: Path) -> _Manifest:
    try:
        content = (folder / "dataset.json").read_bytes()
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise CorpusError(f"{folder}: no such data set; build it with `autonas corpus build`") from error
        raise _damaged(folder, "dataset.json is missing") from error
    except OSError as error:
        raise CorpusError(f"{folder}: dataset.json cannot be read ({error.strerror}); check its permissions") from error
    try:
        values = json.loads(content)
        if isinstance(values, dict) and values.get("format") not in (None, FORMAT):
            raise _damaged(folder, f"it has format {values['format']}, not {FORMAT}")
        checksum = values.pop("checksum")
        manifest = from_json(_Manifest, values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(folder, "dataset.json is corrupt") from error
    if checksum != key_of(values):
        raise _damaged(folder, "dataset.json is corrupt (its checksum differs)")
    return manifest


def _damaged(folder: Path, what: str) -> CorpusError:
    return CorpusError(f"{folder}: a damaged data set: {what}; delete this folder, and it is built again")
