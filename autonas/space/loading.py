"""From the `space:`, `rules:`, `limits:` and `export:` of a space file to a `Space`, and back to plain values.

Everything that can be wrong with them is found here, before anything is spent, and is one `RecipeError` with its line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from autonas.arch import DIMENSIONS, HORIZON_BOUND, ArchSpec
from autonas.errors import RecipeError
from autonas.objective import OBJECTIVES
from autonas.space.dimensions import EXAMPLES, MAX_OPTIONS, describe_domain, held_at, read_domain
from autonas.space.domains import Domain, Fixed, Int, Value
from autonas.space.exports import export_rules, read_exports
from autonas.space.feasibility import dead_head_count, find_emptiness
from autonas.space.limits import ARITHMETIC, LIMITED, MEASURED, Limits
from autonas.space.node import Node, Section
from autonas.space.rules import KINDS, Rule, parse_rule
from autonas.space.space import DEFAULTS, REQUIRED, Space

MAX_RULES = 50


def read_space(
    root: Section,
    *,
    name: str,
    vocab_size: int,
    context_length: int,
    sample_horizon_bound: bool,
    price: Callable[[ArchSpec], Mapping[str, float]],
) -> Space:
    """The space of a file, checked: its dimensions are known, its rules can be met, its limits leave something.

    Raises:
        RecipeError: it is wrong somewhere; names file, line, value and remedy.
    """
    node = root.need("space", "describe at least layers, width and heads there")
    section = node.section(DIMENSIONS)
    for required in REQUIRED:
        section.need(required, f"write one number, {EXAMPLES['whole']}")
    domains: dict[str, Domain] = {dimension: Fixed(value=value) for dimension, value in DEFAULTS.items()}
    defaults: dict[str, Value] = {}
    for dimension, entry in section.node.entries().items():
        domains[dimension] = read_domain(dimension, entry)
        if dimension in HORIZON_BOUND and not isinstance(domains[dimension], Fixed):
            defaults.update(held_at(dimension, entry, domains[dimension], sample_horizon_bound))
    if "batch_tokens" in domains:
        _check_batches(section.need("batch_tokens", "write some"), domains["batch_tokens"], context_length)
    space = Space(
        name=name,
        domains={dimension: domains[dimension] for dimension in DIMENSIONS if dimension in domains},
        limits=_limits(root),
        vocab_size=vocab_size,
        context_length=context_length,
        defaults=defaults,
        sample_horizon_bound=sample_horizon_bound,
        price=price,
    )
    space = _with_rules(space, root)
    space = replace(space, rules=(*space.rules, *(rule for name in read_exports(root) for rule in export_rules(name))))
    _check_not_empty(space, root)
    return space


def describe_space(space: Space) -> dict[str, Any]:
    """The `space`, `rules`, `limits` and, if any, `export` of a file that gives this space again, as JSON-ready values."""
    described: dict[str, Any] = {}
    for name, domain in space.domains.items():
        described[name] = describe_domain(domain)
        if name in space.defaults:
            described[name]["default"] = space.defaults[name]
    limits: dict[str, Any] = {}
    for name in LIMITED:
        least, most = space.limits.bounds(name)
        bounds = {"min": least, "max": most}
        if kept := {key: value for key, value in bounds.items() if value is not None}:
            limits[name] = kept
    exports = list(dict.fromkeys(rule.export for rule in space.rules if rule.export))
    return {
        "space": described,
        "rules": [rule.text for rule in space.rules if not rule.export],
        "limits": limits,
        **({"export": exports} if exports else {}),
    }


def _check_batches(node: Node, domain: Domain, context_length: int) -> None:
    values = (domain.low, domain.low + domain.step) if isinstance(domain, Int) else domain.values(MAX_OPTIONS)
    for value in values:
        if isinstance(value, int) and value % context_length:
            nearest = max(round(value / context_length), 1) * context_length
            raise node.complaint(f"holds {value:,}, not a multiple of context_length {context_length:,}; write {nearest:,}")


def _with_rules(space: Space, root: Section) -> Space:
    node = root.get("rules")
    if node is None:
        return space
    items = node.items()
    if len(items) > MAX_RULES:
        raise node.complaint(f"has {len(items):,} rules; write at most {MAX_RULES}")
    names = {name: kind for name, kind in KINDS.items() if name in space.held or name in space.searched}
    names |= {"vocab_size": "number", "context_length": "number"}
    rules: list[Rule] = []
    for item in items:
        text = item.text()
        try:
            rules.append(parse_rule(text, names))
        except RecipeError as error:
            raise item.complaint(str(error)) from error
    return replace(space, rules=tuple(rules))


def _limits(root: Section) -> Limits:
    node = root.get("limits")
    if node is None:
        return Limits()
    bounds: dict[str, Any] = {}
    for name, entry in node.entries().items():
        if name in OBJECTIVES and name not in LIMITED:
            raise entry.complaint(f"is known only after training and cannot be limited; limit some of {', '.join(LIMITED)}")
    for name, entry in node.section(LIMITED).node.entries().items():
        if isinstance(entry.content, str):
            raise entry.complaint(f"is {entry.shown}, not a mapping; write {{max: {entry.content[:40] or '30M'}}}")
        for side, bound in entry.section(("max",) if name in MEASURED else ("min", "max")).node.entries().items():
            if name in ARITHMETIC:
                bounds[f"{name}_{side}"] = bound.bytes() if name == "memory" else bound.whole(least=1)
            else:
                bounds[f"{name}_{side}_ms"] = bound.milliseconds()
        least, most = bounds.get(f"{name}_min"), bounds.get(f"{name}_max")
        if least is not None and most is not None and least > most:
            raise entry.complaint(f"has min {least:,} above max {most:,}; write the smaller one as min")
    return Limits(**bounds)


def _check_not_empty(space: Space, root: Section) -> None:
    dead = dead_head_count(space)
    if dead is not None:
        name, count, divided = dead
        node = root.need("space", "").section(DIMENSIONS).get(name) or root.node
        raise node.complaint(
            f"holds {count}, which divides no {divided} of the space; remove it or add {divided} that it divides"
        )
    emptiness = find_emptiness(space)
    if emptiness is not None:
        raise _node_at(root.node, emptiness.place).complaint(emptiness.message)


def _node_at(root: Node, place: str) -> Node:
    children = root.content.values() if isinstance(root.content, Mapping) else root.content
    for child in children if not isinstance(children, str) else ():
        if child.place == place:
            return child
        if place.startswith(child.place) and place[len(child.place)] in ".[":
            return _node_at(child, place)
    return root
