"""Where documents come from: installed libraries, globs of files, JSON Lines, the Hugging Face hub.

Finding (names, sizes, times; cheap) is apart from reading, so that a corpus that has not changed is recognised without being
read. Says nothing about whether a text is worth keeping: `filters.py` does.
"""

from __future__ import annotations

import glob
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas.data.files import FoundFile, found_file, printable
from autonas.data.hub import find_rows
from autonas.data.libraries import find_site_packages, find_stdlib
from autonas.data.records import CorpusSettings
from autonas.errors import CorpusError
from autonas.machine import cache_folder

_MAGIC = re.compile(r"[*?\[]")
_TEXT_KEYS = ("text", "content", "code")
_PROJECT_KEYS = ("project", "repo", "repo_name")
_NAME_KEYS = ("name", "path")
_LICENCE_KEYS = ("licence", "license")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDocument:
    name: str
    project: str
    data: bytes
    licence: str = ""


def find_files(settings: CorpusSettings, cache: Path | None = None) -> list[FoundFile]:
    """Every file of the corpus once, in an order that does not depend on the machine. Rows of the hub are fetched into `cache`.

    Raises:
        CorpusError: a pattern matches nothing or names a folder, a library has no source here, or the hub does not give rows.
        ResourceError: the cache cannot be written.
    """
    found: list[FoundFile] = []
    for source in settings.sources:
        found += SOURCES[source]()
    for place, patterns in (("paths", settings.paths), ("jsonl", settings.jsonl)):
        for pattern in patterns:
            found += _find_pattern(pattern, f"corpus.{place}", jsonl=place == "jsonl")
    if settings.hub is not None:
        found.append(find_rows(settings.hub, cache_folder() if cache is None else cache))
    once: dict[tuple[str, bool], FoundFile] = {}
    for file in found:
        once.setdefault((os.path.realpath(file.path), file.jsonl), file)
    return list(once.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A file, or of a JSON Lines file the whole lines between two places."""

    file: FoundFile
    start: int
    num_bytes: int
    first_line: int = 1


def parts(file: FoundFile, size: int) -> Iterator[Part]:
    """`file` in parts of about `size` bytes: a file that is one document is one part, however long."""
    if not file.jsonl or file.dropped:
        yield Part(file=file, start=0, num_bytes=0 if file.dropped else file.num_bytes)
        return
    start, first_line = 0, 1
    try:
        with file.path.open("rb") as content:
            while block := content.read(size):
                block += content.readline()
                yield Part(file=file, start=start, num_bytes=len(block), first_line=first_line)
                start += len(block)
                first_line += block.count(b"\n")
    except OSError:
        # Whoever reads the part meets the same error, and knows what to do about it.
        yield Part(file=file, start=start, num_bytes=1, first_line=first_line)


def part_at(file: FoundFile, place: int, size: int) -> Part:
    """About `size` bytes of whole lines from the first that begins at or behind `place`; lines are counted from there.

    Raises:
        CorpusError: the file cannot be read.
    """
    try:
        with file.path.open("rb") as content:
            content.seek(max(place - 1, 0))
            start = place + len(content.readline()) - 1 if place else 0
            content.seek(start)
            return Part(file=file, start=start, num_bytes=len(content.read(size)) + len(content.readline()))
    except OSError as error:
        raise CorpusError(f"{file.path}: cannot be read ({error.strerror}); check it and its permissions") from error


def read_documents(file: FoundFile) -> Iterator[RawDocument]:
    """The documents of one file, as bytes.

    Raises:
        OSError: the file cannot be read.
        CorpusError: a line of a JSON Lines file is not what it should be; the message names file and line.
    """
    for part in parts(file, 1 << 22):
        yield from read_part(part)


def read_part(part: Part) -> Iterator[RawDocument]:
    """The documents of one part, as bytes. Raises as `read_documents`."""
    file = part.file
    if not file.jsonl:
        yield RawDocument(name=file.name, project=file.project, data=file.path.read_bytes(), licence=file.licence)
        return
    with file.path.open("rb") as content:
        content.seek(part.start)
        lines = content.read(part.num_bytes).split(b"\n")
    for number, line in enumerate(lines, start=part.first_line):
        if line.strip():
            yield _read_line(line, file, number)


SOURCES: dict[str, Callable[[], list[FoundFile]]] = {
    "python-stdlib": find_stdlib,
    "site-packages": find_site_packages,
}


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
                found.append(found_file(path, *_name_and_project(path, prefix), jsonl=jsonl, literal=literal))
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
    return printable(Path(label, relative).as_posix()), printable(Path(label, top).as_posix())


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
        name=printable(name),
        project=printable(_string(record, _PROJECT_KEYS, place) or name),
        data=text.encode("utf-8", "surrogatepass"),  # a lone surrogate makes bytes that do not decode: dropped and counted
        licence=printable(_string(record, _LICENCE_KEYS, place) or ""),
    )


def _string(record: dict[str, Any], keys: Sequence[str], place: str) -> str | None:
    for key in keys:
        value = record.get(key)
        if value is not None:
            if not isinstance(value, str):
                raise CorpusError(f"{place}: {key!r} is a {type(value).__name__}, not a string")
            return value
    return None
