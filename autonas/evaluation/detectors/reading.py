"""A text as the detectors read it, each reading made once: lexemes, lines, words, and the stretches that repeat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

# Escapes and placeholders are no words.
_LEXEME: Final = re.compile(r"\\x[0-9a-fA-F]{2}|\\.|%[-+#0-9.]*[a-z]\b|&\w{2,8};|\w+|([^\w\s])\1{3,}|[^\w\s]")
# Words and the words inside names: two of get_name, two of getName.
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+")
# Cells of data: numbers, escapes, constants, placeholders, empty literals, markup without text, and what stands between them.
_CELL: Final = r"""0[xX][0-9a-fA-F_]+[uUlL]* | \\[xXuU]?[0-9a-zA-Z]+ | %\(?[-+\#0-9.]*[a-zA-Z] | \{:?[<>^]?\d*\} | \?
  | &\#?\w{2,8};
  | \b(?:None|True|False|null|true|false|TRUE|FALSE|nan|NaN|NA|inf|NULL|nil|nullptr|undefined)\b
  | \b\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?[a-zA-Z]{0,3}\b"""
_DATA: Final = re.compile(rf"(?: {_CELL} | [\s,;:()\[\]{{}}'\"|+\-*.] )+", re.VERBOSE)
# Chains of indices and sums: of a row of data the cells stand apart.
_NO_ROW: Final = re.compile(r"\]\[|\w [-+*] \w")
_NO_WORDS: Final = re.compile(
    r"0[xX][0-9a-fA-F_]*[uUlL]*|\\[xXuU]?[0-9a-zA-Z]+|%[-+#0-9.]*[a-z]\b|&#?\w{2,8};|</?\w+>|\b(?:None|True|False|null|true|false|nan)\b"
)
_SPACES: Final = re.compile(r"\s+")
_RUNS: Final = re.compile(r"(.)\1{3,}")


# Longer units are found as lexemes or lines, or have no white space and no marks for so long.
_LONGEST_CHARACTERS: Final = 120


class Stretch(NamedTuple):
    """A part of a sequence that repeats with some period: sequence[i] == sequence[i + period] all through it."""

    start: int
    period: int
    length: int


class Reading:
    """One text and its readings."""

    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n") if "\r" in text else text

    @cached_property
    def character_stretches(self) -> list[Stretch]:
        """Where the same characters follow each other at least three times."""
        codes = np.frombuffer(self.text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.int64)
        return list(stretches(codes, 3, _LONGEST_CHARACTERS))

    @cached_property
    def lexemes(self) -> list[str]:
        """Words, numbers, escapes, marks and rulers; white space left out."""
        return [match[0] for match in _LEXEME.finditer(self.text)]

    @cached_property
    def lines(self) -> list[str]:
        """Lines that are not blank, without their indentation."""
        lines = (" ".join(line.split()) for line in self.text.split("\n"))
        return [line for line in lines if line]

    @cached_property
    def words(self) -> list[str]:
        """Words and numbers in lower case, names split into theirs; escapes, constants and tags left out."""
        return [word.lower() for word in _WORD.findall(_NO_WORDS.sub(" ", self.text))]

    @cached_property
    def reduced(self) -> str:
        """The text with white space and rulers shortened: layout is repetition that says nothing about a model."""
        return _RUNS.sub(r"\1\1\1", _SPACES.sub(" ", self.text)).strip()


def is_data(text: str) -> bool:
    """Whether `text` is nothing but cells of data."""
    return _DATA.fullmatch(text) is not None and _NO_ROW.search(text * 2) is None


def data_share(text: str) -> float:
    """How much of `text` is its longest passage of nothing but cells of data."""
    passages = [match[0] for match in _DATA.finditer(text)]
    cells = (passage for passage in passages if any(c.isalnum() or c in "\"'" for c in passage) and not _NO_ROW.search(passage))
    return max(map(len, cells), default=0) / len(text) if text else 0.0


def is_row_of_data(unit: str) -> bool:
    """Whether `unit`, cut anywhere out of a row, repeats cells of data.

    It may begin inside a number: two units hold one whole.
    """
    return not unit.isdigit() and is_data((unit * 3)[len(unit) - 1 :].lstrip("xX0123456789abcdefABCDEFuUr"))


def numbered(items: Sequence[str]) -> npt.NDArray[np.int64]:
    """Equal items as equal numbers."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=np.int64)


def stretches(codes: npt.NDArray[np.int64], least_copies: float, longest_period: int = 10**9) -> Iterator[Stretch]:
    """Every maximal stretch that repeats with some period at least `least_copies` times over.

    A stretch of period 2 has period 4 as well: callers look at units that do not repeat within themselves.
    """
    for period in range(1, min(int(len(codes) / least_copies), longest_period) + 1):
        equal = codes[period:] == codes[:-period]
        least = int((least_copies - 1) * period)
        if np.count_nonzero(equal) < least:
            continue
        breaks = np.flatnonzero(~equal)
        edges = np.concatenate(([-1], breaks, [len(equal)]))
        matches = np.diff(edges) - 1  # between two breaks
        for index in np.flatnonzero(matches >= max(1, least)):
            yield Stretch(int(edges[index]) + 1, period, int(matches[index]) + period)


def is_primitive(unit: Sequence[object]) -> bool:
    """Whether `unit` is not itself some shorter unit repeated."""
    size = len(unit)
    return not any(size % part == 0 and unit[part:] == unit[:-part] for part in range(1, size // 2 + 1))
