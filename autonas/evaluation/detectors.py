"""Does a generated text repeat itself instead of going on? A named, versioned suite of detectors over plain text.

The suite is the prior system's rules, kept exactly as they were so that old figures stay comparable (`prior:…`), and detectors
of loops of any period: of symbols, characters, words, lines, blank lines and doubled keywords (`loop:…`).

Code repeats itself for good reasons: rulers, tables, matrices, format strings, escape sequences, rows of similar calls. So
every loop has a least number of copies that depends on what is repeated. The thresholds were set on the standard library,
where the loop detectors fire on about 0.2 % of passages of 200 characters, and the whole suite on 0.5 %.

Not covered: text that is nonsense without repeating itself, and loops with something new in every turn (a counter).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

# Rates of different versions are not compared.
SUITE_VERSION: Final = "collapse-1"

_PRIOR_PATTERNS: Final = ("):", "::", "))))", "((((", "____", "def def", "self self", "return return", "########", " " * 24)
_PRIOR_COPIES: Final = 4
_PRIOR_WORD_COPIES: Final = 3

# Longer units are not looked for: 400 characters are more than 60 tokens can say three times.
_LONGEST_PERIOD: Final = 400
_NEVER: Final = 10**9

_RULER: Final = frozenset("-=#*~_.+^/\\ \t")
_BRACKETS: Final = frozenset("()[]{}")
_LEXEME: Final = re.compile(r"\\x[0-9a-fA-F]{2}|\\.|%[a-z]\b|\w+|[^\w\s]")  # escapes and placeholders are no words
# Rows of plain data: numbers, escapes, constants, placeholders, quotes and what stands between them.
_DATA: Final = re.compile(
    r"""(?: 0[xX][0-9a-fA-F_]+ | \\[xXuU]?[0-9a-zA-Z]+ | %\(?[-+\#0-9.]*[a-zA-Z] | \{\d*\} | \?
          | \b(?:None|True|False|null|true|false|nan|inf|NULL|nil)\b | \b\d[\d_]*(?:\.\d*)?(?:[eE][-+]?\d+)?[a-zA-Z]{0,2}\b
          | [\s,;:()\[\]{}'"|+\-*.] )+""",
    re.VERBOSE,
)
# Adjacent in no program, and hardly ever in prose.
_DOUBLED_KEYWORD: Final = re.compile(
    r"\b(def|class|return|import|elif|lambda|raise|except|yield|while|self|async|await|function|const|static|struct)[ \t]+\1\b"
)
_BLANK_LINES: Final = re.compile(r"(?:[ \t\r]*\n){10}")


def detect(text: str) -> tuple[str, ...]:
    """Names of all detectors that fire on `text`, which is the continuation alone, without its prompt."""
    names = list(detect_prior(text))
    if _symbol_or_character_loop(text, symbols=True):
        names.append("loop:symbols")
    if _symbol_or_character_loop(text, symbols=False):
        names.append("loop:characters")
    if _word_loop(text):
        names.append("loop:words")
    if _line_loop(text):
        names.append("loop:lines")
    if _BLANK_LINES.search(text):
        names.append("loop:blank_lines")
    if _DOUBLED_KEYWORD.search(text):
        names.append("loop:keyword")
    return tuple(names)


def is_collapsed(text: str) -> bool:
    """Whether any detector of the suite fires."""
    return bool(detect(text))


def is_collapsed_prior(text: str) -> bool:
    """Whether any of the prior system's rules fires: the figure it reported as 14.5 %."""
    return bool(detect_prior(text))


def detect_prior(text: str) -> tuple[str, ...]:
    """The prior system's rules: ten patterns that stand four times in a row, and three equal words of more than one letter.

    Copies of a pattern of two words are separated by white space, copies of any other stand side by side.
    """
    names = []
    for pattern in _PRIOR_PATTERNS:
        separator = " " if " " in pattern.strip() else ""
        if separator.join([pattern] * _PRIOR_COPIES) in text:
            names.append(f"prior:{pattern.strip() or 'spaces'}")
    words = text.split()
    runs = zip(*(words[i:] for i in range(_PRIOR_WORD_COPIES)), strict=False)
    if any(len(run[0]) > 1 and len(set(run)) == 1 for run in runs):
        names.append("prior:word")
    return tuple(names)


def _repetitions(codes: npt.NDArray[np.int64], least_copies: int) -> Iterator[tuple[int, int, int]]:
    """(start, period, length) of every maximal stretch that repeats with some period at least `least_copies` times over.

    A stretch of period 2 has period 4 as well: callers look at units that do not repeat within themselves.
    """
    for period in range(1, min(len(codes) // least_copies, _LONGEST_PERIOD) + 1):
        breaks = np.flatnonzero(codes[period:] != codes[:-period])
        edges = np.concatenate(([-1], breaks, [len(codes) - period]))
        equal = np.diff(edges) - 1  # matches between two breaks
        for index in np.flatnonzero(equal >= (least_copies - 1) * period):
            yield int(edges[index]) + 1, period, int(equal[index]) + period


def _is_primitive(unit: Sequence[object]) -> bool:
    """Whether `unit` is not itself some shorter unit repeated."""
    size = len(unit)
    return not any(size % part == 0 and list(unit[part:]) == list(unit[:-part]) for part in range(1, size // 2 + 1))


def _symbol_or_character_loop(text: str, *, symbols: bool) -> bool:
    codes = np.fromiter(map(ord, text), np.int64, len(text))
    for start, period, length in _repetitions(codes, least_copies=3):
        unit = text[start : start + period]
        if "\n" in unit or any(c.isalnum() for c in unit) == symbols or not _is_primitive(unit):
            continue
        if length >= (_symbol_length(unit) if symbols else _character_length(unit)):
            return True
    return False


def _symbol_length(unit: str) -> int:
    """The least length of a stretch of `unit`, which has no letter or digit, that is a loop."""
    kinds = frozenset(unit)
    if kinds <= frozenset(" \t"):
        return _NEVER  # indentation; the prior rules know 96 spaces
    if kinds <= _RULER or any(ord(c) > 127 and not unicodedata.category(c).startswith("L") for c in unit):
        return 101 if len(unit) == 1 else max(60, 16 * len(unit))  # a ruler ends with its line
    if len(unit) == 1:
        return 10 if kinds <= _BRACKETS or unit in "\"'" else 8
    if " " in kinds or kinds & frozenset("\"'%?") or unit.strip(",") in ("[]", "{}", "()"):
        return 16 * len(unit)
    return max(8, 4 * len(unit))


def _character_length(unit: str) -> int:
    """The least length of a stretch of `unit`, which has letters or digits, that is a loop."""
    if len(unit) == 1:
        return 24
    # Cut anywhere, a row of data may begin inside a number: two units hold one whole.
    if not unit.isdigit() and _DATA.fullmatch((unit * 3)[len(unit) - 1 :].lstrip("xX0123456789abcdefABCDEFuUr")):
        return 16 * len(unit)
    return min(max(5 * len(unit), 12), max(4 * len(unit), 32), max(3 * len(unit), 75))


def _word_loop(text: str) -> bool:
    """Loops of words and marks whatever white space stands between them."""
    lexemes = _LEXEME.findall(text)
    for start, period, length in _repetitions(_numbered(lexemes), least_copies=3):
        unit = lexemes[start : start + period]
        if not any(lexeme[0].isalpha() for lexeme in unit) or not _is_primitive(unit):
            continue
        if _DATA.fullmatch(" ".join(unit)):
            least = 16 * period
        else:
            least = min(max(5 * period, 8), max(4 * period, 14), max(3 * period, 27))
        # One short: "x is None or x is None or x is None" ends without the "or" that makes it three.
        if length + (period > 1) >= least:
            return True
    return False


def _line_loop(text: str) -> bool:
    """The same line, or the same few lines, over and over; indentation and blank lines aside."""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    lines = [line for line in lines if line]
    codes = _numbered(lines)
    for back in range(1, len(lines)):  # a last line that was cut short counts as the line it begins
        whole = lines[-1 - back]
        if not text.endswith("\n") and whole.startswith(lines[-1]) and 2 * len(lines[-1]) >= len(whole):
            codes[-1] = codes[-1 - back]
            break
    for start, period, length in _repetitions(codes, least_copies=3):
        if length >= period * _line_copies(lines[start : start + period]):
            return True
    return False


def _line_copies(unit: Sequence[str]) -> int:
    """How often a unit of lines must stand in a row to be a loop."""
    text = " ".join(unit)
    if not _is_primitive(unit):
        return _NEVER
    if not any(c.isalnum() for c in text):
        return 8  # closing brackets, empty comments, rulers
    if _DATA.fullmatch(text):
        return 12  # rows of a table
    return 3 if len(text) >= 8 else 4


def _numbered(items: Sequence[str]) -> npt.NDArray[np.int64]:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=np.int64)
