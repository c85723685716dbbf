"""Where documents come from: the interpreter's own library, globs of files, JSON Lines.

Finding (names, sizes, times; cheap) is apart from reading, so that a corpus that has not changed is recognised without being
read. Says nothing about whether a text is worth keeping: `filters.py` does.
"""

from __future__ import annotations

import fnmatch
import glob
import itertools
import json
import os
import re
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas.data.records import CorpusSettings
from autonas.errors import CorpusError

_MAGIC = re.compile(r"[*?\[]")
_NOT_LIBRARY = ("site-packages", "dist-packages", "__pycache__", "lib-dynload", "config-*")
_TEST_FOLDERS = ("test", "tests", "idle_test")
# Tables written by programs. All of encodings/ goes: its few written modules are not worth a list of the 115 that are not.
_GENERATED = ("encodings/*", "pydoc_data/*", "_sysconfigdata*", "html/entities.py")
_TEXT_KEYS = ("text", "content", "code")
_PROJECT_KEYS = ("project", "repo", "repo_name")
_NAME_KEYS = ("name", "path")
_LICENCE_KEYS = ("licence", "license")


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDocument:
    name: str
    project: str
    data: bytes
    licence: str = ""


def find_files(settings: CorpusSettings) -> list[FoundFile]:
    """Every file of the corpus once, in an order that does not depend on the machine.

    Raises:
        CorpusError: a pattern matches nothing or names a folder, or the interpreter's library has no source.
    """
    found: list[FoundFile] = []
    for source in settings.sources:
        found += SOURCES[source]()
    for place, patterns in (("paths", settings.paths), ("jsonl", settings.jsonl)):
        for pattern in patterns:
            found += _find_pattern(pattern, f"corpus.{place}", jsonl=place == "jsonl")
    once: dict[tuple[str, bool], FoundFile] = {}
    for file in found:
        once.setdefault((os.path.realpath(file.path), file.jsonl), file)
    return list(once.values())


def read_documents(file: FoundFile) -> Iterator[RawDocument]:
    """The documents of one file, as bytes.

    Raises:
        OSError: the file cannot be read.
        CorpusError: a line of a JSON Lines file is not what it should be; the message names file and line.
    """
    if not file.jsonl:
        yield RawDocument(name=file.name, project=file.project, data=file.path.read_bytes(), licence=file.licence)
        return
    with file.path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _read_line(line, file, number)


def _find_stdlib() -> list[FoundFile]:
    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not any(fnmatch.fnmatch(name, no) for no in _NOT_LIBRARY))
        for name in sorted(files):
            path = Path(folder, name)
            if name.endswith(".py") and path.is_file():
                relative = path.relative_to(root)
                found.append(
                    _found(
                        path,
                        name=f"python-stdlib/{relative.as_posix()}",
                        project=relative.parts[0].removesuffix(".py"),
                        dropped=_left_out(relative),
                        licence="PSF-2.0",
                    )
                )
    if not found:
        raise CorpusError(f"python-stdlib: no source files in {root}; install Python's library as source, or give `paths:`")
    return found


def _left_out(relative: Path) -> str:
    if any(part in _TEST_FOLDERS for part in relative.parts[:-1]):
        return "test suite"
    if any(fnmatch.fnmatch(relative.as_posix(), pattern) for pattern in _GENERATED):
        return "generated"
    return ""


SOURCES: dict[str, Callable[[], list[FoundFile]]] = {"python-stdlib": _find_stdlib}


def _find_pattern(pattern: str, place: str, jsonl: bool) -> list[FoundFile]:
    try:
        expanded = Path(pattern).expanduser()
        literal = not _MAGIC.search(str(expanded)) or expanded.is_file()
        is_folder = literal and expanded.is_dir()
    except (OSError, RuntimeError) as error:  # no such user's home; a name too long; a folder that may not be entered
        raise CorpusError(f"{place}: {pattern!r} cannot be read ({error}); check the name and its permissions") from error
    if is_folder:
        example = Path(pattern, "*.jsonl" if jsonl else "**/*.py")
        raise CorpusError(f"{place}: {pattern!r} is a folder; name its files, such as {str(example)!r}")
    # Not Path.glob, which enters hidden folders: nobody means .git or .venv by **.
    paths = [expanded] if literal else [Path(name) for name in sorted(glob.iglob(str(expanded), recursive=True))]  # noqa: PTH207
    prefix = expanded.parent if literal else _fixed_prefix(expanded)
    found = []
    for path in paths:
        try:
            if path.is_file():
                found.append(_found(path, *_name_and_project(path, prefix), jsonl=jsonl, literal=literal))
        except OSError:
            name, project = _name_and_project(path, prefix)
            found.append(FoundFile(path=path, name=name, project=project, num_bytes=0, mtime_ns=0, dropped="unreadable"))
    if not found:
        raise CorpusError(f"{place}: {pattern!r} matches no file (from {Path.cwd()}); mend the name or the pattern")
    return found


def _fixed_prefix(pattern: Path) -> Path:
    """The folders before the first wildcard: of "src/*/a.py", "src"."""
    fixed = itertools.takewhile(lambda part: not _MAGIC.search(part), pattern.parts)
    return Path(*fixed)


def _name_and_project(path: Path, prefix: Path) -> tuple[str, str]:
    """Names without the machine's own folders, so that the same files make the same corpus wherever they lie."""
    relative = path.relative_to(prefix)
    # "." says nothing about a project; the last folder of any other prefix tells two globs apart.
    label = prefix.name if prefix.name != ".." else prefix.resolve().name
    top = relative.parts[0] if len(relative.parts) > 1 else relative.stem
    return _printable(Path(label, relative).as_posix()), _printable(Path(label, top).as_posix())


def _printable(name: str) -> str:
    # File names are bytes; those that are not UTF-8 arrive with lone surrogates, which nothing downstream can store.
    return name.encode("utf-8", "backslashreplace").decode()


def _found(path: Path, name: str, project: str, **rest: Any) -> FoundFile:
    status = path.stat()
    return FoundFile(path=path, name=name, project=project, num_bytes=status.st_size, mtime_ns=status.st_mtime_ns, **rest)


def _read_line(line: bytes, file: FoundFile, number: int) -> RawDocument:
    place = f"{file.path}:{number}"
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f'{place}: not JSON ({error}); each line must be one object such as {{"text": …}}') from error
    if not isinstance(record, dict):
        raise CorpusError(f'{place}: a {type(record).__name__}, not an object; each line must be such as {{"text": …}}')
    text = _string(record, _TEXT_KEYS, place)
    if text is None:
        raise CorpusError(f"{place}: no text; the object needs a key {', '.join(map(repr, _TEXT_KEYS))}")
    name = _string(record, _NAME_KEYS, place) or f"{file.name}:{number}"
    return RawDocument(
        name=_printable(name),
        project=_printable(_string(record, _PROJECT_KEYS, place) or name),
        data=text.encode("utf-8", "surrogatepass"),  # a lone surrogate makes bytes that do not decode: dropped and counted
        licence=_printable(_string(record, _LICENCE_KEYS, place) or ""),
    )


def _string(record: dict[str, Any], keys: Sequence[str], place: str) -> str | None:
    for key in keys:
        value = record.get(key)
        if value is not None:
            if not isinstance(value, str):
                raise CorpusError(f"{place}: {key!r} is a {type(value).__name__}, not a string")
            return value
    return None
