"""Statistics of a whole text, and the thresholds beyond which no text that goes on was found.

Short texts repeat less by chance, so each threshold depends on the number of things counted. They were set on passages of real
code, documents and data of 60 to 3,000 characters.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from autonas.evaluation.detectors.reading import Reading, data_share, numbered, stretches

_ZLIB_FRAME: Final = 8  # bytes of header and checksum
_BLANK_LINES: Final = re.compile(r"(?:[ \t\r]*\n){10}")
_SPACES: Final = re.compile(r"[ \t\xa0]{81,}\Z|\A\s{40,}\Z|[ \t]{250,}|\t{24,}|(?:\t +){12,}")

_ALGEBRA_ENTROPY: Final = 1.05
_NEAR: Final = 0.35

_RULER_MARKS: Final = frozenset("-=#*~_.+^/\\|:")

# (number of things counted, threshold), joined by straight lines.
_SEQ_REP_4: Final = ((8, 0.58), (40, 0.63), (80, 0.68), (150, 0.72), (300, 0.78), (1000, 0.82))
_BIGRAMS: Final = (
    (7, 0.5),
    (12, 0.44),
    (16, 0.46),
    (21, 0.44),
    (28, 0.4),
    (40, 0.36),
    (60, 0.32),
    (100, 0.23),
    (200, 0.16),
    (400, 0.1),
)
_ENTROPY: Final = ((7, 1.3), (10, 1.55), (14, 1.85), (20, 2.2), (28, 2.5), (40, 2.6), (60, 2.9), (100, 3.05), (300, 3.3))
# Of 27,000 passages of natural code, documents and data, one has less: a list of one word over and over.
_LEXEME_ENTROPY: Final = ((8, 1.2), (12, 1.6), (20, 1.75), (40, 2.1), (100, 2.2), (200, 2.6), (400, 2.9))
_MOSTLY_DATA: Final = 0.7
_A_DOZEN: Final = 12
_SOME_NUMBERS: Final = 4
_COMPRESSION_GLUED: Final = ((30, 0.42), (75, 0.38), (110, 0.36), (150, 0.32), (220, 0.29), (300, 0.25), (1500, 0.1))
_COMPRESSION: Final = (
    (30, 0.38),
    (75, 0.33),
    (110, 0.28),
    (150, 0.26),
    (220, 0.23),
    (300, 0.21),
    (600, 0.16),
    (1500, 0.1),
    (3000, 0.08),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Continuous statistics of one text. All are shares in [0, 1] but `compression` and `entropy`."""

    characters: int
    seq_rep_4: float  # 1 − distinct / all 4-grams of lexemes (Welleck et al. 2020, Neural Text Generation with Unlikelihood)
    distinct_1: float  # distinct / all words, names split into theirs (Li et al. 2016); 1 when there are none
    distinct_2: float  # distinct / all pairs of neighbouring words
    entropy: float  # bits per word, of the words' own frequencies
    symbol_share: float  # of the most frequent character that is not white space, among those
    compression: (
        float  # bytes after zlib level 9 without its frame / bytes before; white space and rulers shortened; 1 if empty
    )
    loop_share: float  # of lexemes, inside the longest exact loop of at least three copies
    space_share: float  # white space, of all characters


def measures(text: str) -> Measures:
    """The statistics of `text`: a continuation alone, without its prompt."""
    reading = Reading(text)
    solid = Counter(c for c in reading.text if not c.isspace())
    size = len(reading.text)
    return Measures(
        characters=size,
        seq_rep_4=repeated_share(reading.lexemes, 4),
        distinct_1=1 - repeated_share(reading.words, 1),
        distinct_2=1 - repeated_share(reading.words, 2),
        entropy=entropy(reading.words),
        symbol_share=max(solid.values()) / solid.total() if solid else 0.0,
        compression=compression(reading.reduced),
        loop_share=_loop_share(reading.lexemes),
        space_share=1 - solid.total() / size if size else 0.0,
    )


def repeated_share(items: Sequence[str], order: int) -> float:
    """1 − distinct n-grams / all n-grams: 0 when nothing is said twice, and when there are none."""
    grams = _grams(items, order)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _grams(items: Sequence[str], order: int) -> list[tuple[str, ...]]:
    return list(zip(*(items[i:] for i in range(order)), strict=False))


def entropy(items: Sequence[str]) -> float:
    """Bits per item of the items' own frequencies."""
    total = len(items)
    return -sum(count / total * math.log2(count / total) for count in Counter(items).values()) if total else 0.0


def compression(text: str) -> float:
    """Bytes after zlib / bytes before; 1 for an empty text."""
    raw = text.encode("utf-8", "surrogatepass")
    return (len(zlib.compress(raw, 9)) - _ZLIB_FRAME) / len(raw) if raw else 1.0


def _loop_share(lexemes: Sequence[str]) -> float:
    longest = max((stretch.length for stretch in stretches(numbered(lexemes), 3)), default=0)
    return longest / len(lexemes) if lexemes else 0.0


def repeated_ngrams(reading: Reading) -> bool:
    """seq-rep-4 of lexemes beyond what texts of this length have, where words are a good part of them."""
    grams = [gram for gram in _grams(reading.lexemes, 4) if any(lexeme[0].isalpha() for lexeme in gram)]
    if len(grams) < _SEQ_REP_4[0][0] or not _is_wordy(reading) or _is_algebra(reading) or _brings_numbers(reading):
        return False
    return 1 - len(set(grams)) / len(grams) >= _at(_SEQ_REP_4, len(grams))


def few_lexemes(reading: Reading) -> bool:
    """Entropy of words and marks together under what any text but data and drawings has."""
    lexemes = reading.lexemes
    if len(lexemes) < _LEXEME_ENTROPY[0][0] or entropy(lexemes) > _at(_LEXEME_ENTROPY, len(lexemes)):
        return False
    drawn = reading.text.count("\n") >= 3 and not _is_wordy(reading, 0.51)
    return not drawn and data_share(reading.text) < _MOSTLY_DATA


def few_pairs(reading: Reading) -> bool:
    """Distinct-2 of words under what texts of this length have: the same few words, in no order."""
    count = len(reading.words)
    if count < _BIGRAMS[0][0] or not _is_wordy(reading, 0.4) or _is_algebra(reading) or _brings_numbers(reading):
        return False
    few = 1 - repeated_share(reading.words, 2) <= _at(_BIGRAMS, count)
    return few and entropy(reading.words) <= _at(_ENTROPY, count) + _NEAR


def few_words(reading: Reading) -> bool:
    """Entropy of words under what texts of this length have."""
    count = len(reading.words)
    if count < _ENTROPY[0][0] or not _is_wordy(reading, 0.4) or _brings_numbers(reading):
        return False
    if _is_algebra(reading):
        share = max((n for word, n in Counter(reading.words).items() if word.isalpha()), default=0) / count
        one_line = reading.text.count("\n") < 3  # a board has more
        return (count >= 12 and entropy(reading.words) <= _ALGEBRA_ENTROPY) or (count >= 9 and share >= 0.7 and one_line)
    names = [word for word in reading.words if not word.isdigit()]
    if len(names) < _ENTROPY[0][0] or entropy(names) > _at(_ENTROPY, len(names)):
        return False
    return entropy(reading.words) <= _at(_ENTROPY, count)


def compressible(reading: Reading) -> bool:
    """Compressed by zlib to less than texts of this length are: a higher threshold where words run together without spaces."""
    size = len(reading.reduced)
    if size < _COMPRESSION[0][0] or not _is_wordy(reading) or _is_algebra(reading) or _brings_numbers(reading):
        return False
    glued = " " not in reading.reduced and not reading.reduced.isupper()
    return compression(reading.reduced) <= _at(_COMPRESSION_GLUED if glued else _COMPRESSION, size)


def endless_space(reading: Reading) -> bool:
    """Ten blank lines on end, or more spaces than indent a line."""
    return _BLANK_LINES.search(reading.text) is not None or _SPACES.search(reading.text) is not None


def one_symbol(reading: Reading) -> bool:
    """One mark that no ruler is made of is most of a line or two."""
    solid = Counter(c for c in reading.reduced if not c.isspace())
    if solid.total() < 16 or reading.text.strip().count("\n") >= 3:
        return False
    symbol, count = solid.most_common(1)[0]
    return symbol not in _RULER_MARKS and symbol != "0" and ord(symbol) < 128 and count / solid.total() >= 0.75


def _is_algebra(reading: Reading) -> bool:
    """Most words are single letters: formulas and drawings need few of them."""
    return 2 * sum(len(word) == 1 and word.isascii() for word in reading.words) > len(reading.words)


def _brings_numbers(reading: Reading) -> bool:
    """Whether a number not seen before comes every dozen words, to the end: rows that count, calls with other data."""
    seen: set[str] = set()
    last = 0
    for place, word in enumerate(reading.words):
        if word.isdigit() and word not in seen:
            seen.add(word)
            last = place
        elif place - last > _A_DOZEN:
            return False
    return len(seen) >= _SOME_NUMBERS


def _is_wordy(reading: Reading, least: float = 0.25) -> bool:
    """Words are a good part of the text: tables, blobs and markup without text repeat for other reasons."""
    letters = sum(len(word) for word in reading.words if not word.isdigit())
    return letters >= least * sum(map(len, reading.lexemes))


def _at(curve: Sequence[tuple[float, float]], count: int) -> float:
    places, values = zip(*curve, strict=True)
    return float(np.interp(count, places, values))
