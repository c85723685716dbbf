"""Text within the columns of a terminal: tables, facts, paragraphs, and commands that can be copied. Plain text, no colours.

Widths are counted in columns, of which a letter of Chinese takes two. Text from outside is made visible: an escape sequence in
a name must not act on the terminal.
"""

from __future__ import annotations

import os
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from autonas.reporting.generations import printable

WIDTH = 80
_GAP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table: its name, below it its unit, and a cell for every row."""

    name: str
    unit: str = ""
    cells: Sequence[str]
    left: bool = False  # words stand at the left, numbers at the right

    def width(self, most: int) -> int:
        """How wide it is, where it may be at most so wide."""
        return max(columns_of(fitted(text, most)) for text in (self.name, self.unit, *self.cells))

    def lines(self, units: bool, most: int) -> list[str]:
        """Its head, its cells, and the unit in between where the table has units."""
        texts = (self.name, *([self.unit] if units else []), *self.cells)
        return [padded(fitted(text, most), self.width(most), left=self.left) for text in texts]


def columns_of(text: str) -> int:
    """How many columns a text takes."""
    return sum(_columns(character) for character in text)


def fitted(text: str, width: int) -> str:
    """A text on one line of at most so many columns: visible, and cut with … where it is longer."""
    line = visible(text)
    return line if columns_of(line) <= width else _head(line, width - 1) + "…"


def visible(text: str) -> str:
    """A text on one line that does nothing on a terminal: what has no look of its own is shown as a sign."""
    line = printable(text).replace("\n", "␊").replace("\t", "␉")
    return "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in line)


def padded(text: str, width: int, *, left: bool = False) -> str:
    """A text with spaces to so many columns."""
    room = " " * (width - columns_of(text))
    return text + room if left else room + text


def tables(first: Column, others: Sequence[Column], width: int) -> list[list[str]]:
    """The lines of as many tables as it takes; each begins with the first column. Units stand below the heads."""
    half = width // 2
    room = width - first.width(half) - _GAP
    made: list[list[Column]] = []
    used = width
    for column in others:
        wide = _GAP + column.width(room)
        if not made or used + wide > width:
            made.append([])
            used = first.width(half)
        made[-1].append(column)
        used += wide
    return [_table(first.lines(_has_units(table), half), table, room) for table in made]


def _table(begin: Sequence[str], columns: Sequence[Column], room: int) -> list[str]:
    cells = [begin, *(column.lines(_has_units(columns), room) for column in columns)]
    return [(" " * _GAP).join(row).rstrip() for row in zip(*cells, strict=True)]


def _has_units(columns: Sequence[Column]) -> bool:
    return any(column.unit for column in columns)


def paragraph(text: str, width: int, indent: int = 2, first: str = "") -> list[str]:
    """A text on lines that break between words; all but the first are indented. `first` stands before the first."""
    lines, line = [], first
    for word in map(visible, text.split()):
        glue = " " if line.strip() and line != first else ""
        if glue and columns_of(line) + 1 + columns_of(word) > width:
            lines.append(line)
            line, glue = " " * indent, ""
        while columns_of(line) + columns_of(glue + word) > width:  # a word that is longer than a line
            head = _head(word, max(width - columns_of(line), 2))
            lines.append(line + head)
            line, word = " " * indent, word.removeprefix(head)
        line += glue + word
    return [*lines, line.rstrip()] if line.strip() else lines


def facts(rows: Sequence[tuple[str, str]], width: int) -> list[str]:
    """Names and what is said of them, which all begins in one column."""
    room = max((len(name) for name, _ in rows), default=0) + 4
    return [line for name, text in rows for line in paragraph(text, width, room, f"  {name}".ljust(room))]


def command_lines(command: str, width: int, indent: int = 2) -> list[str]:
    """A command as lines that a shell takes as that one command: it goes on after a backslash."""
    lines, line = [], " " * indent
    for word in shlex.split(command):
        if line.strip() and columns_of(line) + columns_of(_quoted(word)) + 3 > width:
            lines.append(f"{line} \\")
            line = " " * (indent + 2)
        elif line.strip():
            line += " "
        while columns_of(line) + columns_of(_quoted(word)) + 2 > width:
            # Longer than a line: parts of a word are one word where nothing stands between them.
            ends = range(len(word) - 1, 0, -1)
            end = next((end for end in ends if columns_of(line) + columns_of(_quoted(word[:end])) + 1 <= width), 1)
            lines.append(f"{line}{_quoted(word[:end])}\\")
            line, word = "", word[end:]
        line += _quoted(word)
    return [*lines, line]


def _quoted(word: str) -> str:
    """A word as a shell takes it; what cannot be seen as its bytes, so that it does nothing on the terminal."""
    if word.isprintable():
        return shlex.quote(word)
    bare = (c if c.isprintable() and c not in "\\'" else "".join(f"\\x{byte:02x}" for byte in os.fsencode(c)) for c in word)
    return f"$'{''.join(bare)}'"


def _head(text: str, width: int) -> str:
    """As much of the beginning of a text as fits into so many columns."""
    used = 0
    for place, character in enumerate(text):
        used += _columns(character)
        if used > width:
            return text[:place]
    return text


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
