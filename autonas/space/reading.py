"""Strict reading of one YAML file into nodes with line numbers. Knows YAML, not what a space file means.

Only plain YAML passes: mappings with unique text keys, lists and scalars. Tags, anchors and aliases (code and bombs), several
documents, files over a megabyte, too many or too deeply nested entries and undecodable bytes are refused. PyYAML's events
are used instead of its loaders, because those recurse, resolve YAML 1.1 types and let the last of two equal keys win.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from autonas.errors import RecipeError
from autonas.space.node import Node

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_NODES = 20_000


def read_yaml(path: str | os.PathLike[str]) -> Node:
    """The root mapping of the YAML file at `path`.

    Raises:
        RecipeError: the file cannot be read, is not YAML, or uses more of YAML than a space file may; names file and line.
    """
    return parse_yaml(_read_text(Path(path)), source=str(path))


def parse_yaml(text: str, source: str) -> Node:
    """As `read_yaml`, of a text; `source` names it in complaints."""
    _refuse_control_characters(text, source)
    composer = _Composer(source)
    try:
        root = composer.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _refusal(source, mark, f"is not YAML: {error.problem or error.context}; mend the line") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF" is a bare ValueError
        raise RecipeError(f"{source}: is not YAML ({' '.join(str(error).split())[:100]}); mend it") from error
    if root is None or root.is_null:
        raise RecipeError(f"{source}: is empty; a space file needs at least `space:` and `budget:`")
    root.entries()
    return root


def _read_text(path: Path) -> str:
    try:
        if path.is_dir():
            raise RecipeError(f"{path}: is a folder; name the space file in it")
        if path.exists() and not path.is_file():
            raise RecipeError(f"{path}: is not a regular file; name a YAML file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: there is no such file; name a space file, such as quickstart.yaml") from error
    except PermissionError as error:
        raise RecipeError(f"{path}: no permission to read it; change its permissions or name another file") from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"{str(path)[:200]!r}: cannot be read ({error}); name a readable file") from error
    if len(content) > MAX_BYTES:
        raise RecipeError(f"{path}: is larger than {MAX_BYTES:,} bytes; a space file is a few kilobytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RecipeError(f"{path}:{line}: byte {content[error.start]:#04x} is not UTF-8; save the file as UTF-8") from error


def _refuse_control_characters(text: str, source: str) -> None:
    for character in text:
        if (character < " " and character not in "\t\n\r") or character in "\x7f\ufffe\uffff":
            line = text.count("\n", 0, text.index(character)) + 1
            raise RecipeError(f"{source}:{line}: holds the control character {ord(character):#04x}; remove it")


def _refusal(source: str, mark: Any, message: str) -> RecipeError:
    where = source if mark is None else f"{source}:{mark.line + 1}"
    return RecipeError(f"{where}: {' '.join(message.split())}")


class _Composer:
    """Turns the events of one document into nodes; depth and number of nodes are bounded while the events stream in."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._num_nodes = 0

    def document(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise _refusal(self._source, event.start_mark, "a second document starts here; keep one")
                root = self._node(next(events), events, place="", line=None, depth=0)
        return root

    def _node(self, event: Any, events: Iterator[Any], *, place: str, line: int | None, depth: int) -> Node:
        self._refuse(event, place, depth)
        line = _line(event) if line is None else line
        content: str | tuple[Node, ...] | dict[str, Node]
        plain = False
        if isinstance(event, yaml.ScalarEvent):
            content, plain = event.value, not event.style
        elif isinstance(event, yaml.SequenceStartEvent):
            content = self._items(events, place, depth)
        else:
            content = self._entries(events, place, depth)
        return Node(content=content, place=place, source=self._source, line=line, plain=plain)

    def _items(self, events: Iterator[Any], place: str, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, place=f"{place}[{len(items)}]", line=None, depth=depth + 1))
        return tuple(items)

    def _entries(self, events: Iterator[Any], place: str, depth: int) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            self._refuse(event, place, depth)
            where = f" in {place}" if place else ""
            if not isinstance(event, yaml.ScalarEvent):
                raise _refusal(self._source, event.start_mark, f"a key{where} is a list or a mapping; write a plain name")
            key = event.value
            if key in entries:
                message = f"the key {key[:60]!r}{where} stands twice (first on line {entries[key].line}); keep one"
                raise _refusal(self._source, event.start_mark, message)
            child = f"{place}.{key[:60]}" if place else key[:60]
            entries[key] = self._node(next(events), events, place=_printable(child), line=_line(event), depth=depth + 1)
        return entries

    def _refuse(self, event: Any, place: str, depth: int) -> None:
        where = f" at {place}" if place else ""
        self._num_nodes += 1
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _refusal(self._source, event.start_mark, f"an anchor or alias{where}; write the values out")
        if event.tag is not None:
            message = f"the tag {str(event.tag)[:60]!r}{where}; tags are refused, write plain values"
            raise _refusal(self._source, event.start_mark, message)
        if depth > MAX_DEPTH:
            raise _refusal(self._source, event.start_mark, f"nested more than {MAX_DEPTH} deep; a space file needs five")
        if self._num_nodes > MAX_NODES:
            raise _refusal(self._source, event.start_mark, f"more than {MAX_NODES:,} entries; a space file has dozens")


def _line(event: Any) -> int:
    number: int = event.start_mark.line + 1
    return number


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
