"""What a corpus is asked to be (`CorpusSettings`, `TokenizerSettings`), is made of (`Document`), and turned out to be
(`CorpusReport`), as data. Nothing here touches a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from autonas.errors import CorpusError, TokenizerError
from autonas.trial import from_json, to_json

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SOURCE_NAMES = ("python-stdlib", "site-packages")
SMALLEST_VOCABULARY = 257  # every byte, and end-of-text


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """Rows of a data set of the Hugging Face hub, or of a folder in the hub's format: its name or path, and what to take.

    Raises:
        CorpusError: an empty name, or a number of documents that cannot be.
    """

    dataset: str
    config: str | None = None  # the data set's own default when None
    split: str = "train"
    revision: str | None = None  # branch, tag or commit; None: the latest
    column: str = "content"  # of the text
    name_column: str | None = None
    project_column: str | None = None  # None: every row is a project of its own
    licence_column: str | None = None
    max_documents: int | None = None  # the first rows; None: all

    def __post_init__(self) -> None:
        names = ("dataset", "config", "split", "revision", "column", "name_column", "project_column", "licence_column")
        for name in names:
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip() or "\0" in value):
                raise CorpusError(f"corpus.hub.{name}: {value!r} is not a usable name; write a non-empty string")
        if "[" in self.split:
            raise CorpusError(f"corpus.hub.split: {self.split!r} is a slice; name the split, and limit it by max_documents")
        limit = self.max_documents
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise CorpusError(f"corpus.hub.max_documents is {limit!r}; it must be a whole number of at least 1")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        named = (self.column, self.name_column, self.project_column, self.licence_column)
        return tuple(dict.fromkeys(column for column in named if column is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusSettings:
    """Where a corpus comes from and how it is split. Relative `paths` and `jsonl` start at the working directory.

    With neither `sources` nor `paths` nor `jsonl` nor `hub` it is the interpreter's own library.

    Raises:
        CorpusError: an unknown source, or a share or size that cannot be.
    """

    sources: tuple[str, ...] = ()  # names of SOURCE_NAMES
    paths: tuple[str, ...] = ()  # globs; `**` crosses folders, `~` is the home folder
    jsonl: tuple[str, ...] = ()  # globs of files with one {"text": …, "project": …, "name": …} a line
    hub: HubSettings | None = None
    validation_share: float = 0.05  # of the bytes
    test_share: float = 0.05
    max_bytes: int | None = None  # of the train split: a fixed subset of its documents
    seed: int = 0  # of the split

    def __post_init__(self) -> None:
        for name in ("sources", "paths", "jsonl"):
            for value in getattr(self, name):
                if not isinstance(value, str) or not value.strip() or "\0" in value:
                    raise CorpusError(f"corpus.{name}: {value!r} is not a usable name; write a non-empty string")
        for source in self.sources:
            if source not in SOURCE_NAMES:
                raise CorpusError(f"corpus.sources: there is no source {source!r}; choose of {', '.join(SOURCE_NAMES)}")
        if not (self.sources or self.paths or self.jsonl or self.hub):
            object.__setattr__(self, "sources", SOURCE_NAMES[:1])
        for name in ("validation_share", "test_share"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 0.25:
                raise CorpusError(f"corpus.{name} is {value!r}; it must be above 0 and at most 0.25")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise CorpusError(f"corpus.seed is {self.seed!r}; it must be a whole number")
        limit = self.max_bytes
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise CorpusError(f"corpus.max_bytes is {limit!r}; it must be a whole number of bytes, at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerSettings:
    """A byte-level BPE of `vocab_size` entries trained on the train split, or the `tokenizer.json` at `file`.

    Raises:
        TokenizerError: an unknown algorithm, or a vocabulary too small to hold every byte and end-of-text.
    """

    algorithm: str = "bpe"
    vocab_size: int = 8000  # not used with `file`
    file: str | None = None

    def __post_init__(self) -> None:
        if self.algorithm != "bpe":
            raise TokenizerError(f"tokenizer.algorithm is {self.algorithm!r}; only bpe is trained here, or name a `file:`")
        check_vocab_size(self.vocab_size)
        if self.file is not None and (not isinstance(self.file, str) or not self.file.strip() or "\0" in self.file):
            raise TokenizerError(f"tokenizer.file is {self.file!r}; write the path of a tokenizer.json")


def check_vocab_size(vocab_size: object) -> None:
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int) or vocab_size < SMALLEST_VOCABULARY:
        raise TokenizerError(
            f"tokenizer.vocab_size is {vocab_size!r}; it must be a whole number of at least {SMALLEST_VOCABULARY} "
            "(256 bytes and end-of-text)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text of a corpus. `project` is the unit that never straddles the split."""

    name: str
    project: str
    text: str
    split: Split = "train"
    licence: str = "unknown"

    @property
    def num_bytes(self) -> int:
        return len(self.text.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusReport:
    """What was kept and what was dropped, and why. `tokens` is filled when the corpus is tokenised."""

    documents: Mapping[str, int]  # by split
    bytes: Mapping[str, int]
    projects: Mapping[str, int]
    tokens: Mapping[str, int] = field(default_factory=dict)  # end-of-text counted
    found: int = 0  # documents looked at, kept or not
    dropped: Mapping[str, int] = field(default_factory=dict)  # documents by reason
    dropped_examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # a few names by reason
    licences: Mapping[str, int] = field(default_factory=dict)  # kept documents by SPDX name, or "unknown"
    split_by: str = "project"  # "folder" or "document" where there are too few projects

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        values: dict[str, Any] = to_json(self)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CorpusReport:
        """The inverse of `to_dict`. Raises ValueError when a field is missing, unknown or of another type."""
        return from_json(cls, values)

    def lines(self) -> list[str]:
        """The report for people."""
        kept = sum(self.documents.values())
        lines = [f"{self.found:,} documents found, {kept:,} kept, {self.found - kept:,} dropped; split by {self.split_by}"]
        lines.append(f"  {'split':<12}{'projects':>10}{'documents':>11}{'bytes':>15}{'tokens':>14}")
        for split in SPLITS:
            tokens = f"{self.tokens[split]:,}" if split in self.tokens else "-"
            lines.append(
                f"  {split:<12}{self.projects.get(split, 0):>10,}{self.documents.get(split, 0):>11,}"
                f"{self.bytes.get(split, 0):>15,}{tokens:>14}"
            )
        for reason, count in sorted(self.dropped.items(), key=lambda item: (-item[1], item[0])):
            lines.append(f"  dropped {count:>7,}  {reason} (such as {', '.join(self.dropped_examples.get(reason, ())[:2])})")
        licences = sorted(self.licences.items(), key=lambda item: (-item[1], item[0]))
        lines.append("  licences: " + ", ".join(f"{name} {count:,}" for name, count in licences))
        if self.split_by != "project":
            lines.append(f"  note: fewer than three projects, so the split is by {self.split_by}; its parts may be related")
        return lines
