"""What a space file's `export:` asks for: formats that every architecture of the space must have, as rules over dimensions.

`autonas export` refuses by the same rules. Formats that every architecture has are not listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from autonas.arch import ArchSpec
from autonas.space.node import Section
from autonas.space.rules import Rule, parse_rule

_LIKE_GPT2 = "norm == 'layernorm' and activation in ['gelu', 'silu'] and (kv_heads == heads or kv_heads == 1)"
_CONDITIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "safetensors": (),
    "hf": (),
    "hf-native": (f"position == 'rope' or position == 'learned' and {_LIKE_GPT2}",),  # no code of its own beside the weights
    "onnx": (),
    "gguf": ("norm == 'rmsnorm'", "activation == 'swiglu'", "position == 'rope'"),
}
EXPORTS: Final = tuple(_CONDITIONS)


def export_rules(name: str) -> tuple[Rule, ...]:
    """What an architecture must be to be exported so; the text of each says which export needs it."""
    rules = (parse_rule(text) for text in _CONDITIONS[name])
    return tuple(replace(rule, text=f"export: {name} needs {rule.text}", export=name) for rule in rules)


def broken_exports(name: str, spec: ArchSpec) -> tuple[str, ...]:
    """The rules of an export that `spec` does not meet, as texts."""
    values = spec.to_dict()
    return tuple(rule.text for rule in export_rules(name) if not rule.holds(values))


def read_exports(root: Section) -> tuple[str, ...]:
    """The `export:` of a file: one format, or a list of them."""
    node = root.get("export")
    if node is None:
        return ()
    items = node.items() if isinstance(node.content, tuple) else (node,)
    return tuple(dict.fromkeys(item.one_of(EXPORTS, "export") for item in items))
