"""One architecture from a YAML or JSON file with the space file's names. Whole spaces are in loading.py."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from autonas.arch import ACTIVATIONS, DIMENSIONS, NORMS, POSITIONS, ArchSpec
from autonas.errors import InfeasibleArch
from autonas.space.node import Node, closest
from autonas.space.reading import read_yaml

_WHOLE = ("layers", "width", "heads", "kv_heads", "batch_tokens", "vocab_size", "context_length")
_NAMES = {"norm": NORMS, "activation": ACTIVATIONS, "position": POSITIONS}
_KNOWN = (*DIMENSIONS, "vocab_size", "context_length")


def read_spec(path: str | os.PathLike[str], defaults: Mapping[str, Any]) -> ArchSpec:
    """The architecture in a file: a mapping of names to values, or an entry of `autonas front --json` with its `spec`.

    `defaults` stand for names that the file leaves out.

    Raises:
        RecipeError: the file cannot be read, or says something that is no architecture; the message names line and value.
    """
    root = read_yaml(path)
    entries = root.entries()
    if "spec" in entries:
        root = entries["spec"]
        entries = root.entries()
    values: dict[str, Any] = {}
    for name, node in entries.items():
        if name not in _KNOWN:
            raise node.complaint(f"is not a name of an architecture{closest(name, _KNOWN)}")
        values[name] = _value(name, node)
    try:
        return ArchSpec.from_dict({**defaults, **values})
    except InfeasibleArch as error:
        raise root.complaint(f"is no architecture: {error}") from error


def _value(name: str, node: Node) -> Any:
    if name == "kv_heads" and node.content == "heads":
        raise node.complaint("is heads; leave it out for as many as heads, or write a number")
    if name in _WHOLE:
        return node.whole(least=1)
    if name in _NAMES:
        return node.one_of(_NAMES[name], name)
    if name == "tied_embeddings":
        return node.flag()
    return node.number(least=0.0)
