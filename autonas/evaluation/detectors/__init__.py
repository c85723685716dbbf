"""Does a generated text repeat itself instead of going on? A named, versioned suite of detectors over plain text.

A text has collapsed when any detector of the suite fires. There are loops (loops.py: the same unit in a row, exactly) and
statistics of the whole text (statistics.py: too few words, phrases or marks for its length). Each has its definition, threshold
and reason in `SUITE`. The prior system's rules stand beside the suite (prior.py) and are no part of it: they are wrong about
banners, rulers in tables and rows of equal numbers.

Not covered: text that is nonsense without repeating itself, and loops with something new in every turn (a counter, a name):
the same is what enumerations, tests and tables look like. Statistics are therefore silent where new numbers keep coming.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from autonas.evaluation.detectors import loops, statistics
from autonas.evaluation.detectors.prior import detect_prior, is_collapsed_prior
from autonas.evaluation.detectors.reading import Reading
from autonas.evaluation.detectors.statistics import Measures, measures

__all__ = [
    "SUITE",
    "SUITE_VERSION",
    "Detector",
    "Measures",
    "detect",
    "detect_prior",
    "is_collapsed",
    "is_collapsed_prior",
    "measures",
]

# Rates of different versions are not compared.
SUITE_VERSION: Final = "collapse-2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One detector: what it looks for, when it fires, and why then. Its code has the exact figures."""

    name: str
    fires: Callable[[Reading], bool]
    definition: str
    threshold: str
    reason: str


SUITE: Final = (
    Detector(
        name="loop:symbols",
        fires=loops.symbol_loop,
        definition="marks without letters or digits that repeat with any period up to 120, on one line",
        threshold="8 characters and 4 copies; 10 brackets; 16 copies with spaces or quotes, 8 at the end; 101 of a ruler",
        reason="rulers end with their line, closing brackets and empty cells come in handfuls",
    ),
    Detector(
        name="loop:characters",
        fires=loops.character_loop,
        definition="letters or digits, with what stands between them, that repeat with any period up to 120, on one line",
        threshold="12 characters and 5 copies, 32 and 4, 75 and 3; 10 or 16 copies of cells of data; 14 to 65 of one character",
        reason="constants, padding, rows of equal cells and nested types repeat as well",
    ),
    Detector(
        name="loop:words",
        fires=loops.word_loop,
        definition="lexemes that repeat with any period, whatever white space stands between them",
        threshold="3 of a word; 8 lexemes and 5, 14 and 4; 3.5 copies before other text; at the end 15 and 3, 36 and 2.4",
        reason="a loop goes on until the text is cut; a repetition that ends may have been meant",
    ),
    Detector(
        name="loop:lines",
        fires=loops.line_loop,
        definition="a line, or a group of lines, that repeats; indentation and blank lines aside, the last may be cut short",
        threshold="3 copies (4 of a short line, 4 or 5 of one that something follows); 6 to 24 without words; 12 or 17 of data",
        reason="tests call the same thing three times; blocks close in rows; tables have equal rows",
    ),
    Detector(
        name="loop:keyword",
        fires=loops.keyword_twice,
        definition="a keyword that stands twice: `return return`, `def def`",
        threshold="2",
        reason="no language says it, and hardly any prose",
    ),
    Detector(
        name="ngram:seq_rep_4",
        fires=statistics.repeated_ngrams,
        definition="seq-rep-4 (Welleck et al. 2020) of lexemes, of 4-grams with a word in them: 1 - distinct / all",
        threshold="0.58 at 8 4-grams, 0.63 at 40, 0.72 at 150, 0.82 at 1,000",
        reason="near-loops, whose copies differ; long files of alike declarations reach 0.8",
    ),
    Detector(
        name="ngram:distinct",
        fires=statistics.few_pairs,
        definition="distinct-2 (Li et al. 2016) of words, names split into theirs, and an entropy that is low as well",
        threshold="at most 0.5 at 7 words, 0.4 at 28, 0.32 at 60, 0.1 at 400, and entropy within 0.35 bit of word:entropy",
        reason="babble of the same few words in no order",
    ),
    Detector(
        name="word:entropy",
        fires=statistics.few_words,
        definition="entropy of the words' own frequencies, in bits",
        threshold="at most 1.3 at 7 words, 2.2 at 20, 2.9 at 60; of single letters 1.05 (formulas need few), or 70 % of one",
        reason="babble of hardly any words",
    ),
    Detector(
        name="lexeme:entropy",
        fires=statistics.few_lexemes,
        definition="entropy of the frequencies of words and marks together, in bits; tables of data and drawings left out",
        threshold="at most 1.2 at 8 lexemes, 1.6 at 12, 2.1 at 40, 2.6 at 200",
        reason="babble of marks; loops with slips",
    ),
    Detector(
        name="symbol:share",
        fires=statistics.one_symbol,
        definition="one mark is most of a line or two; rulers shortened",
        threshold="75 % of 16 characters",
        reason="drawings have more lines, rulers other marks",
    ),
    Detector(
        name="compression",
        fires=statistics.compressible,
        definition="bytes after zlib level 9 without its frame / bytes before, white space and runs of one character shortened",
        threshold="at most 0.38 at 30 characters, 0.26 at 150, 0.21 at 300, 0.1 at 1,500; a quarter more without spaces",
        reason="whatever repeats in a way that nothing else looks for",
    ),
    Detector(
        name="whitespace",
        fires=statistics.endless_space,
        definition="white space longer than any layout",
        threshold="10 blank lines, 81 spaces at the end or 250 anywhere, 24 tabs, or nothing else and 40 of it",
        reason="documents have few blank lines on end; columns are aligned with up to 80 spaces",
    ),
)


def detect(text: str) -> tuple[str, ...]:
    """Names of the suite's detectors that fire on `text`, which is the continuation alone, without its prompt."""
    reading = Reading(text)
    return tuple(detector.name for detector in SUITE if detector.fires(reading))


def is_collapsed(text: str) -> bool:
    """Whether any detector of the suite fires. The prior system's rules are apart: `is_collapsed_prior`."""
    reading = Reading(text)
    return any(detector.fires(reading) for detector in SUITE)
