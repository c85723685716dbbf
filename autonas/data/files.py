"""The files that a corpus is read from, as they are found: name, project, size and time. Reads none of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file that holds one document, or many (`jsonl`); or one that its source leaves out (`dropped` says why)."""

    path: Path
    name: str
    project: str
    num_bytes: int
    mtime_ns: int
    jsonl: bool = False
    literal: bool = False  # asked for by its own name, not by a pattern: it must be readable
    dropped: str = ""
    licence: str = ""


def found_file(path: Path, name: str, project: str, **rest: Any) -> FoundFile:
    """The file at `path` as it is now. Raises OSError when it is gone."""
    status = path.stat()
    return FoundFile(path=path, name=name, project=project, num_bytes=status.st_size, mtime_ns=status.st_mtime_ns, **rest)


def printable(name: str) -> str:
    """`name` without lone surrogates: file names are bytes, and what is not UTF-8 in them cannot be stored downstream."""
    return name.encode("utf-8", "backslashreplace").decode()
