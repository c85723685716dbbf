"""One dimension of a space file, between YAML and a `Domain`: types, ranges, and what a held dimension is held at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from autonas.arch import ACTIVATIONS, HORIZON_BOUND, NORMS, POSITIONS
from autonas.space.domains import Choice, Domain, Fixed, Float, Int, Value
from autonas.space.node import Node, Section
from autonas.space.rules import KINDS
from autonas.space.space import DEFAULTS

MAX_OPTIONS = 256

_LARGEST_WHOLE = {"layers": 1024, "width": 65_536, "heads": 1024, "kv_heads": 1024, "batch_tokens": 10**9}
_NAMED = {"norm": NORMS, "activation": ACTIVATIONS, "position": POSITIONS}
_NUMBERS: Mapping[str, Callable[[Node], float]] = {
    "ffn_multiplier": lambda node: node.number(above=0.0, most=64.0),
    "attention_dropout": lambda node: node.number(least=0.0, below=1.0),
    "residual_dropout": lambda node: node.number(least=0.0, below=1.0),
    "label_smoothing": lambda node: node.number(least=0.0, below=1.0),
    "learning_rate": lambda node: node.number(above=0.0, most=1.0),
    "weight_decay": lambda node: node.number(least=0.0, most=10.0),
}
_KEYS = ("choice", "int", "float", "step", "log", "default")
EXAMPLES = {"whole": "{int: [2, 8]} or {choice: [2, 4, 8]}", "number": "{float: [0.0, 0.2]} or {choice: [2, 4]}"}


def read_domain(name: str, node: Node) -> Domain:
    if isinstance(node.content, str):
        return Fixed(value=_value(name, node))
    if isinstance(node.content, tuple):
        raise node.complaint("is a list; write {choice: [...]} for options, or {int: [low, high]} for a range")
    section = node.section(_KEYS)
    given = [kind for kind in ("choice", "int", "float") if kind in node.content]
    if len(given) != 1:
        example = (
            EXAMPLES["number" if name in _NUMBERS else "whole"]
            if name in KINDS and KINDS[name] == "number"
            else "{choice: [...]}"
        )
        raise node.complaint(f"needs exactly one of choice, int, float; write it as {example}")
    if name not in HORIZON_BOUND and "default" in node.content:
        message = "is only for dimensions that are held during the search (dropout, smoothing, optimisation); remove it"
        raise node.content["default"].complaint(message)
    if given[0] != "int" and "step" in node.content:
        raise node.content["step"].complaint("is only for {int: [low, high]}; remove it")
    if given[0] == "choice":
        return _choice(name, section)
    return _range(name, given[0], section)


def _choice(name: str, section: Section) -> Domain:
    if "log" in section.node.entries():
        raise section.node.entries()["log"].complaint("is only for ranges; remove it")
    node = section.need("choice", "write its options in brackets")
    items = node.items()
    if not items:
        raise node.complaint("has no options; write some in brackets")
    if len(items) > MAX_OPTIONS:
        raise node.complaint(f"has {len(items):,} options; write at most {MAX_OPTIONS}, or a range")
    options: list[Value] = []
    for item in items:
        value = _value(name, item)
        if value in options:
            raise item.complaint(f"is {item.shown}, which stands there twice; keep one")
        options.append(value)
    return Choice(options=tuple(options)) if len(options) > 1 else Fixed(value=options[0])


def _range(name: str, kind: str, section: Section) -> Domain:
    node = section.need(kind, "write [low, high]")
    if KINDS[name] != "number" or (kind == "float" and name not in _NUMBERS):
        raise node.complaint(
            f"is no range that {name} can have; write {{choice: [...]}}"
            + (" or {int: [...]}" if name in _LARGEST_WHOLE else "")
        )
    ends = node.items()
    if len(ends) != 2:
        raise node.complaint(f"has {len(ends)} entries; write two, [low, high]")
    low, high = (_number(name, end) if kind == "float" else _whole(name, end) for end in ends)
    if low > high:
        raise node.complaint(f"goes from {ends[0].shown} down to {ends[1].shown}; write the smaller one first")
    log = section.flag("log", False)
    if log and low <= 0:
        raise ends[0].complaint(f"is {ends[0].shown}, where a logarithmic range cannot start; write more than 0, or log: false")
    if low == high:
        return Fixed(value=low)
    if kind == "float":
        return Float(low=float(low), high=float(high), log=log)
    step = section.whole("step", 1, least=1)
    if log and step > 1:
        raise node.complaint("has a step and is logarithmic, which do not go together; drop one of them")
    if (high - low) % step:
        reached = int(low + (high - low) // step * step)
        raise node.complaint(
            f"does not reach {ends[1].shown} from {ends[0].shown} in steps of {step}; write {reached} as the high end"
        )
    return Int(low=int(low), high=int(high), step=step, log=log)


def _value(name: str, node: Node) -> Value:
    """One value of the dimension, of the type that the dimension has."""
    if name in _NAMED:
        return node.one_of(_NAMED[name], name)
    if name == "tied_embeddings":
        return node.flag()
    if name == "kv_heads" and node.content == "heads":
        return "heads"
    return _number(name, node) if name in _NUMBERS else _whole(name, node)


def _number(name: str, node: Node) -> float:
    return _NUMBERS[name](node)


def _whole(name: str, node: Node) -> int:
    if name in _NUMBERS:  # {int: [2, 4]} of a dimension that may have fractions
        _number(name, node)
    return node.whole(least=1, most=_LARGEST_WHOLE.get(name, 64))


def held_at(name: str, node: Node, domain: Domain, sampled: bool) -> dict[str, Value]:
    """At what a horizon-bound dimension that varies is held: its `default:`, or nothing dropped, or the study's own."""
    section = node.section(_KEYS)
    given = section.get("default")
    if given is not None:
        value = _value(name, given)
        if not domain.contains(value):
            raise given.complaint(f"is {given.shown}, which is not in the range above; write a value of the range")
        return {name: domain.convert(value)}
    if name not in DEFAULTS:
        return {}
    if not sampled and not domain.contains(DEFAULTS[name]):
        raise node.complaint("does not hold 0, at which it would be held during the search; write the `default:` to hold it at")
    return {name: domain.convert(DEFAULTS[name])} if domain.contains(DEFAULTS[name]) else {}


def describe_domain(domain: Domain) -> Any:
    match domain:
        case Fixed():
            return domain.value
        case Int():
            return {"int": [domain.low, domain.high], "step": domain.step, "log": domain.log}
        case Float():
            return {"float": [domain.low, domain.high], "log": domain.log}
        case Choice():
            return {"choice": list(domain.options)}
