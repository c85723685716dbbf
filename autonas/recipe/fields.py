"""What the readers of sections share: which keys a record has, which options a field, and files that must exist."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autonas.space.node import Section

LARGEST_SEED = 2**32 - 1  # what every library here takes


def fields_of(kind: type) -> tuple[str, ...]:
    """The names of a record's fields: the keys of its section, where the section does not say otherwise."""
    return tuple(entry.name for entry in dataclasses.fields(kind))


@functools.cache
def options_of(kind: type, name: str) -> tuple[str, ...]:
    """The options of a record's field that is a `Literal`."""
    return typing.get_args(typing.get_type_hints(kind)[name])


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a record under the keys that the file has for them."""
    return {names.get(key, key): value for key, value in values.items()}


def read_file(section: Section, key: str, at_edge: bool) -> str | None:
    """The file named at `key`, which must exist when a space file is read; relative names start at the working directory."""
    node = section.get(key)
    if node is None:
        return None
    if at_edge and not is_file(Path(node.text())):
        raise node.complaint(f"is {node.shown}, which is no file here; name one that exists, or leave the line out")
    return node.text()


def is_file(path: Path) -> bool:
    try:
        return path.expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or a home that nobody has
        return False


def is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False
