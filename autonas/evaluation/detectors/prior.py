"""The prior system's rules, exactly as they were, so that old figures stay comparable. They are not part of the suite.

Measured on text that people wrote they are wrong about banners of `#`, columns of equal numbers and rulers in tables.
"""

from __future__ import annotations

from typing import Final

_PATTERNS: Final = ("):", "::", "))))", "((((", "____", "def def", "self self", "return return", "########", " " * 24)
_COPIES: Final = 4
_WORD_COPIES: Final = 3


def detect_prior(text: str) -> tuple[str, ...]:
    """The prior system's rules: ten patterns that stand four times in a row, and three equal words of more than one letter.

    Copies of a pattern of two words are separated by white space, copies of any other stand side by side.
    """
    names = []
    for pattern in _PATTERNS:
        separator = " " if " " in pattern.strip() else ""
        if separator.join([pattern] * _COPIES) in text:
            names.append(f"prior:{pattern.strip() or 'spaces'}")
    words = text.split()
    runs = zip(*(words[i:] for i in range(_WORD_COPIES)), strict=False)
    if any(len(run[0]) > 1 and len(set(run)) == 1 for run in runs):
        names.append("prior:word")
    return tuple(names)


def is_collapsed_prior(text: str) -> bool:
    """Whether any of the prior system's rules fires: the figure it reported as 14.5 %."""
    return bool(detect_prior(text))
