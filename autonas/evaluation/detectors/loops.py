"""Loops: the same unit in a row, exactly. How many copies make a loop depends on what is repeated.

Code repeats itself for good reasons: rulers, tables, closing brackets, rows of alike calls. A loop that runs to the end of the
text is believed sooner than one that something follows: a model that has collapsed goes on until it is cut off.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from autonas.evaluation.detectors.reading import Reading, is_data, is_primitive, is_row_of_data, numbered, stretches

_NEVER: Final = 10**9
_DATA_COPIES: Final = 16

_RULER: Final = frozenset("-=#*~_.+^/\\| \t")
_DRAWN: Final = frozenset(";%!@$&`\"'")  # ruled or drawn with as well, on lines of their own
_TYPES: Final = frozenset(
    [
        "int",
        "str",
        "float",
        "bool",
        "bytes",
        "object",
        "internal",
        "text",
        "double",
        "char",
        "long",
        "short",
        "void",
        "integer",
        "real",
        "date",
        "any",
        "auto",
    ]
)
_GLUED: Final = re.compile(r"[\w.(\[=]")
# What closes a block in some language, and what fills a place.
_CLOSERS: Final = frozenset(
    ["end", "End", "END", "endif", "fi", "done", "esac", "nop", "next", "wend", "loop", "endfor", "endforeach"]
)
_TAGS: Final = re.compile(r"(?:\s*</?[\w:-]+(?:\s[^<>]*)?/?>)+\s*")
_CLOSING_TAGS: Final = re.compile(r"(?:\s*</[\w:-]+>)+\s*")
# Adjacent in no program, and hardly ever in prose.
_DOUBLED_KEYWORD: Final = re.compile(
    r"\b(def|class|return|import|elif|lambda|raise|except|yield|while|self|async|await|function|const|static|struct|if|for|print)"
    r"[ \t]+\1\b(?![-/'’])"
)


def symbol_loop(reading: Reading) -> bool:
    """Marks without letters or digits, of any period, on one line: `):):):):`, `[[[[[[[[[[`, a ruler longer than any line."""
    return _character_loop(reading, symbols=True)


def character_loop(reading: Reading) -> bool:
    """Letters and digits with what stands between them, of any period, on one line: `_b_b_b_b_b_b`, `30101010101010`."""
    return _character_loop(reading, symbols=False)


def _character_loop(reading: Reading, *, symbols: bool) -> bool:
    text = reading.text
    end = len(text.rstrip())
    least = _symbol_length if symbols else _character_length
    for start, period, length in reading.character_stretches:
        unit = text[start : start + period]
        if "\n" in unit or any(map(str.isalnum, unit)) == symbols or not is_primitive(unit):
            continue
        if length >= least(text, unit, start, start + length, start + length >= end):
            return True
    return False


def _symbol_length(text: str, unit: str, start: int, stop: int, ends: bool) -> int:
    """The least length of a stretch of `unit`, which has no letter or digit, that is a loop."""
    kinds = frozenset(unit)
    if not kinds - frozenset(" \t"):
        return _NEVER  # white space has its own detector
    if len(unit) == 1:
        return _single_length(text, unit, start, stop, ends)
    if ends and len(unit) == 2 and " " in kinds and ord(unit.strip()) < 128:
        return 16  # no ruler: these end with their line, and something follows
    if kinds <= _RULER or any(_is_drawing(c) for c in unit):
        alone = not any(map(str.isalnum, _line_before(text, start)))
        return max(60, 16 * len(unit)) if alone else max(16, (8 if ends else 12) * len(unit))  # a ruler ends with its line
    if " " in kinds or kinds & frozenset("\"'%&") or {"?", ","} <= kinds or unit.strip(",") in ("[]", "{}", "()"):
        return max(20, (10 if ends and kinds & frozenset(")]};:=") else _DATA_COPIES) * len(unit))
    return max(8, 4 * len(unit))


def _single_length(text: str, mark: str, start: int, stop: int, ends: bool) -> int:
    if mark in ")]}([{":
        return 10
    if _is_drawing(mark):
        return 101
    if mark == "\\":
        return 24
    before, after = _line_before(text, start), text[stop : stop + 1]
    alone = not any(map(str.isalnum, before))
    if mark in _RULER:
        if alone:
            return 33 if mark in "_|" and ends else 101 if ends else 121
        if mark in "_." and (_GLUED.match(text[start - 1 : start]) or _GLUED.match(after)):
            return 18
        return 33 if ends and before and before[-1:] not in "\"'" else 121
    if (mark in _DRAWN or ord(mark) > 127) and alone and text[stop:].lstrip(" \t")[:1] == "\n":
        return 101
    if mark in "\"'" or ord(mark) > 127:
        return 12
    if mark == ",":
        return 10 if ends and stop == len(text) else 25  # empty cells of a table
    return 8


def _line_before(text: str, start: int) -> str:
    return text[text.rfind("\n", 0, start) + 1 : start].strip()


def _is_drawing(character: str) -> bool:
    """Whether boxes, bars and leaders are drawn with it; faces and ellipses are said."""
    code = ord(character)
    return character in "·•" or (127 < code < 0x2C00 and unicodedata.category(character) in ("So", "Sm", "Pd"))


def _character_length(text: str, unit: str, start: int, stop: int, ends: bool) -> int:
    """The least length of a stretch of `unit`, which has letters or digits, that is a loop."""
    size = len(unit)
    if unit.isalnum() and unit.isascii():
        first, last = start, stop
        while first and _in_blob(text[first - 1]):
            first -= 1
        while last < len(text) and _in_blob(text[last]):
            last += 1
        # Padding inside a blob, or a constant of up to 64 digits.
        if last - first >= 1.4 * (stop - start) and last - first >= 40:
            return 65
        constant = text[first : first + 2] in ("0x", "0X", "0b") or text[first - 1 : first] in ('"', "'", "#", "x")
        if constant and all(c in "0123456789abcdefABCDEF" for c in unit):
            return 41 if ends and size == 1 else 65  # a made-up hash has 40 or 64, and a quote behind it
    if not ends and unit.count(",") == 1 and not is_row_of_data(unit):
        return _cells(unit) * size
    if size == 2 and " " in unit:
        return 16 if ends else 17  # a row of a board has eight places
    if size == 1:
        if unit == "0":
            return 40
        return 24 if unit in "xXfFA" or unit.isdigit() else 14
    if is_row_of_data(unit):
        return (10 if ends and len(set(re.findall(r"\w+", unit))) > 1 else _DATA_COPIES) * size
    if _TAGS.fullmatch(_turned(unit)):
        return 12 * size
    if not ends and "[" in unit:  # Sequence[Sequence[Sequence[Sequence[int]]]]
        return max(5 * size, 12)
    return min(max(5 * size - 1, 12), max(4 * size, 32), max(3 * size, 75))  # get_get_get_get_get is one mark short


def _cells(unit: str) -> int:
    """How many equal cells a row may have that ends: types and literals more than names."""
    name = unit.replace(",", "").strip()
    return 6 if name.isidentifier() and name.islower() and name not in _TYPES and not name.startswith("c_") else 12


def _in_blob(character: str) -> bool:
    return character.isascii() and (character.isalnum() or character in "+/=")


def _turned(unit: str) -> str:
    """`unit` as it would begin with its first tag."""
    place = unit.find("<")
    return unit if place < 0 else unit[place:] + unit[:place]


def word_loop(reading: Reading) -> bool:
    """Lexemes of any period, whatever white space stands between them: `the name of the name of`, a whole function again."""
    lexemes = reading.lexemes
    for start, period, length in stretches(numbered(lexemes), 2):
        unit = lexemes[start : start + period]
        if length < 3 * period and length < 36:
            continue
        if not any(lexeme[0].isalpha() or lexeme[0] == "_" for lexeme in unit) or not is_primitive(unit):
            continue
        ends = _ends(lexemes, start + length, period)
        # One short: "x is None or x is None or x is None" ends without the "or" that makes it three.
        if length + (period > 2 or (ends and period > 1)) >= _word_length(reading, unit, ends):
            return True
    return False


def _ends(lexemes: Sequence[str], stop: int, period: int) -> bool:
    """Whether a stretch goes on until the text is cut, maybe in the middle of a lexeme."""
    return stop == len(lexemes) or (stop == len(lexemes) - 1 and lexemes[stop - period].startswith(lexemes[stop]))


def _word_length(reading: Reading, unit: Sequence[str], ends: bool) -> int:
    """The least number of lexemes of a stretch of `unit` that is a loop."""
    period = len(unit)
    joined = " ".join(unit)
    if is_data(joined):
        said = period == 1 and re.search(rf"(?:\b{re.escape(joined)} ){{4}}", reading.text) and joined.isalpha()
        return 5 if said else _DATA_COPIES * period  # a table has commas or columns
    if period == 1:
        return _stutter_length(reading.text, unit[0], ends)
    if _TAGS.fullmatch(_turned("".join(unit))):
        return 12 * period
    if not ends and unit.count(",") == 1:
        return _cells(" ".join(unit)) * period
    if period == 2 and "," in unit:
        return 10
    least = min(max(5 * period, 8), max(4 * period, 14), max(3 * period, 27))
    names = [lexeme for lexeme in unit if lexeme[0].isalpha() or lexeme[0] == "_"]
    if len(names) == period and max(map(len, names)) > 1:
        least = min(least, max(round(3.4 * period), 10))  # a phrase
    elif not ends and max(map(len, names)) == 1:
        least = max(least, 5 * period)  # regular expressions, formulas
    elif not ends and period > 6:
        least = max(least, round(3.5 * period))  # equal layers of a network, and then the last one
    if ends and max(map(len, names)) > 2:
        least = min(least, max(3 * period, 15), max(round(2.4 * period), 36))
    return least


def _stutter_length(text: str, word: str, ends: bool) -> int:
    if word in _CLOSERS:
        return 9
    if len(word) == 1:
        return 8 if ends else 9
    if re.search(rf"\b{re.escape(word)}(?:[ \t]+{re.escape(word)}\b){{2}}", text):
        return 3
    return 4 if ends else 5  # one to a line


def line_loop(reading: Reading) -> bool:
    """The same line, or the same few lines, over and over; indentation and blank lines aside."""
    lines = reading.lines
    codes = numbered(lines)
    for back in range(1, len(lines)):  # a last line that was cut short counts as the line it begins
        whole = lines[-1 - back]
        if not reading.text.endswith("\n") and whole.startswith(lines[-1]) and 2 * len(lines[-1]) >= len(whole):
            codes[-1] = codes[-1 - back]
            break
    for start, period, length in stretches(codes, 3):
        ends = _ends(lines, start + length, period)
        if length >= period * _line_copies(lines[start : start + period], ends):
            return True
    return False


def _line_copies(unit: Sequence[str], ends: bool) -> int:
    """How often a unit of lines must stand in a row to be a loop."""
    text = " ".join(unit)
    if not is_primitive(unit):
        return _NEVER
    if not any(map(str.isalnum, text)):
        if text in ('"""', "'''"):
            return 4
        if text in ("#", "//", "*", "--"):
            return 6
        if max(map(len, unit)) <= 4:
            return 8  # closing brackets, empty comments
        return 24 if " " in text else 12  # the sides of a box; rows of a drawing
    if is_data(text):
        return 12 if len(text) <= 4 else 17  # rows of a table
    if text in _CLOSERS or _CLOSING_TAGS.fullmatch(text):
        return 9
    if _TAGS.fullmatch(text):
        return 12
    if len(unit) == 1 and not ends:
        return 4 if len(text) >= 40 else 5  # counter.add(), three times, and then the check
    return 3 if len(text) >= 8 else 4


def keyword_twice(reading: Reading) -> bool:
    """A keyword that stands twice: `return return`, `def def`. No language says it."""
    return _DOUBLED_KEYWORD.search(reading.text) is not None
