"""A place in a space file: what stands there, on which line, under which dotted name, and typed ways to take it.

A `Node` interprets nothing until it is asked: `norm: no` is the text "no" where a text is wanted and an error where true or
false is, so that the YAML 1.1 rules (`on` is true, `1e-3` is text, `1:30` is 90) never apply. Every complaint is one line:
`file.yaml:12: space.heads: is …; remedy`. Files are turned into nodes by reading.py.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from autonas.errors import RecipeError
from autonas.space.numbers import BYTES, MILLISECONDS, NO_UNITS, parse_number

LARGEST_COUNT = 10**18
_LONGEST_SHOWN = 60
_LONGEST_TEXT = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """`content` is a scalar's text, a list's nodes or a mapping's nodes; `plain` says that a scalar stood without quotes."""

    content: str | tuple[Node, ...] | Mapping[str, Node]
    place: str = ""  # dotted: space.heads.choice[2]
    source: str = ""  # the file's name, as the user gave it
    line: int | None = None  # from 1; of the key, in a mapping
    plain: bool = False

    def complaint(self, message: str) -> RecipeError:
        """An error that says where; `message` goes on from the place's name, with the value and the remedy."""
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        parts = [part for part in (where, self.place) if part]
        return RecipeError(": ".join([*parts, " ".join(message.split())]))

    @property
    def shown(self) -> str:
        """The value as it is shown in a complaint: short, on one line."""
        if isinstance(self.content, str):
            if self.is_null:
                return "empty"
            text = ascii(self.content) if not self.content.isprintable() else repr(self.content)
            text = text[1:-1] if self.plain and self.content.isprintable() else text
            return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
        return "a list" if isinstance(self.content, tuple) else "a mapping"

    @property
    def is_null(self) -> bool:
        return self.plain and self.content in ("", "~", "null", "Null", "NULL")

    def entries(self) -> Mapping[str, Node]:
        if not isinstance(self.content, Mapping):
            raise self.complaint(f"is {self.shown}, not a mapping; write `key: value` lines below it")
        return self.content

    def items(self) -> tuple[Node, ...]:
        if not isinstance(self.content, tuple):
            raise self.complaint(f"is {self.shown}, not a list; write it in brackets, such as [a, b]")
        return self.content

    def text(self, longest: int = _LONGEST_TEXT) -> str:
        if not isinstance(self.content, str) or self.is_null or not self.content.strip():
            raise self.complaint(f"is {self.shown}, not a text; write some")
        if len(self.content) > longest:
            raise self.complaint(f"is a text of {len(self.content)} characters; write at most {longest}")
        if "\0" in self.content:
            raise self.complaint("holds a NUL character; remove it")
        return self.content

    def one_of(self, allowed: Collection[str], what: str = "value") -> str:
        if isinstance(self.content, str) and self.content in allowed:
            return self.content
        raise self.complaint(f"is {self.shown}, an unknown {what}{closest(self.content, allowed)}")

    def flag(self) -> bool:
        if self.plain and self.content in ("true", "True", "TRUE", "false", "False", "FALSE"):
            return str(self.content).lower() == "true"
        raise self.complaint(f"is {self.shown}, which is neither true nor false; write true or false")

    def number(
        self,
        *,
        least: float = -float(LARGEST_COUNT),
        most: float = float(LARGEST_COUNT),
        above: float | None = None,
        below: float | None = None,
        units: Mapping[str, Decimal] = NO_UNITS,
    ) -> float:
        value = float(self._decimal(units, "a number"))
        if not least <= value <= most or (above is not None and value <= above) or (below is not None and value >= below):
            low = f"more than {above:g}" if above is not None else f"at least {least:g}"
            high = f"less than {below:g}" if below is not None else f"at most {most:g}"
            raise self.complaint(f"is {self.shown}, out of range; write a number of {low} and {high}")
        return value

    def whole(self, *, least: int = 0, most: int = LARGEST_COUNT, units: Mapping[str, Decimal] = NO_UNITS) -> int:
        exact = self._decimal(units, "a whole number")
        if exact != exact.to_integral_value():
            raise self.complaint(f"is {self.shown}, not a whole number; write one of at least {least}")
        value = int(exact)
        if not least <= value <= most:
            raise self.complaint(f"is {self.shown}, out of range; write a whole number from {least:,} to {most:,}")
        return value

    def milliseconds(self) -> float:
        return self.number(above=0.0, units=MILLISECONDS)

    def bytes(self) -> int:
        return self.whole(least=1, units=BYTES)

    def _decimal(self, units: Mapping[str, Decimal], what: str) -> Decimal:
        if not isinstance(self.content, str) or self.is_null:
            raise self.complaint(f"is {self.shown}, not {what}; write one")
        # In quotes it is a text, unless its unit says that a number is meant: "8 ms".
        if not self.plain and not self.content.strip()[-1:].isalpha():
            raise self.complaint(f"is {self.shown}, a text in quotes and not {what}; write it without quotes")
        try:
            return parse_number(self.content, units)
        except ValueError as error:
            message = f"not {what}; write one" if str(error) == "not a number" else str(error)
            raise self.complaint(f"is {self.shown}, {message}") from error

    def section(self, known: Iterable[str]) -> Section:
        """The mapping that stands here, in which only `known` keys are allowed."""
        known = tuple(known)
        for key, node in self.entries().items():
            if key not in known:
                name = key if len(key) <= _LONGEST_SHOWN else f"{key[:_LONGEST_SHOWN]}…"
                raise node.complaint(f"{name!r} is an unknown key{closest(key, known)}")
        return Section(node=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A mapping whose keys are known to be known; each method takes one key, or gives `default` where it is left out."""

    node: Node

    def get(self, key: str) -> Node | None:
        """The node at `key`; None when it is left out or null."""
        node = self.node.entries().get(key)
        return None if node is None or node.is_null else node

    def need(self, key: str, remedy: str) -> Node:
        node = self.node.entries().get(key)
        if node is None:
            raise self.node.complaint(f"lacks `{key}`; {remedy}")
        if node.is_null:
            raise node.complaint(f"is empty; {remedy}")
        return node

    def child(self, key: str, known: Iterable[str]) -> Section:
        """The section at `key`; an empty one when it is left out."""
        node = self.node.entries().get(key)
        if node is None:
            place = f"{self.node.place}.{key}" if self.node.place else key
            node = Node(content={}, place=place, source=self.node.source, line=self.node.line)
        if node.is_null:
            raise node.complaint("is empty; fill it, or leave it out")
        return node.section(known)

    def whole(self, key: str, default: int, *, least: int = 0, most: int = LARGEST_COUNT) -> int:
        node = self._given(key)
        return default if node is None else node.whole(least=least, most=most)

    def number(
        self,
        key: str,
        default: float,
        *,
        least: float = 0.0,
        most: float = float(LARGEST_COUNT),
        above: float | None = None,
        below: float | None = None,
    ) -> float:
        node = self._given(key)
        return default if node is None else node.number(least=least, most=most, above=above, below=below)

    def flag(self, key: str, default: bool) -> bool:
        node = self._given(key)
        return default if node is None else node.flag()

    def one_of(self, key: str, default: str, allowed: Collection[str]) -> str:
        node = self._given(key)
        return default if node is None else node.one_of(allowed, key)

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of texts; one text alone stands for a list of one."""
        node = self._given(key)
        if node is None:
            return default
        return tuple(item.text() for item in (node.items() if isinstance(node.content, tuple) else (node,)))

    def _given(self, key: str) -> Node | None:
        node = self.node.entries().get(key)
        if node is not None and node.is_null:
            raise node.complaint("is empty; write a value, or leave the line out")
        return node


def closest(value: object, known: Collection[str]) -> str:
    """The remedy for an unknown name: `; did you mean "heads"?` where one is close, and else the known ones."""
    near = difflib.get_close_matches(value[:100], known, n=1) if isinstance(value, str) else []
    return f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(map(str, known))}"


def from_values(values: Any, source: str, place: str = "") -> Node:
    """The node of plain JSON values, as if they had been read from a file; the way back from a resolved recipe."""
    if isinstance(values, Mapping):
        entries = {str(k): from_values(v, source, f"{place}.{k}" if place else str(k)) for k, v in values.items()}
        return Node(content=entries, place=place, source=source)
    if isinstance(values, list | tuple):
        items = tuple(from_values(value, source, f"{place}[{i}]") for i, value in enumerate(values))
        return Node(content=items, place=place, source=source)
    if isinstance(values, str):
        return Node(content=values, place=place, source=source)
    return Node(content=json.dumps(values), place=place, source=source, plain=True)
