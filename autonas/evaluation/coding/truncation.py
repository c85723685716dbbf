"""Where the answer to a coding task ends: at end-of-text or where the function is over, known while a model generates.

A function is over at the first statement at column 0 of a line that belongs to no string, bracket or continued line: another
`def`, `class`, `if __name__`, `print`, decorator, or anything else; comments at column 0 before it go with it, as they do for
Python. It is what "\\ndef", "\\nclass", "\\nif", "\\nprint" and "\\n#" are for in Chen et al. (2021, arXiv 2107.03374), without
cutting texts that hold these in a string. A helper function that a model writes after the one it was asked for is cut off
too: every model is judged alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autonas.data.tokenizer import Tokenizer
from autonas.model.stopping import StopRule

# What matters for where a line begins: quotes, comments, brackets, continued lines and breaks. The rest is passed over.
_LANDMARK: Final = re.compile(r"\"\"\"|'''|[\"'#()\[\]{}\n]|\\\r?\n|\\.")
_STRING_ENDS: Final = {
    '"""': re.compile(r'(?:[^\\"]|\\.|"(?!""))*"""', re.DOTALL),
    "'''": re.compile(r"(?:[^\\']|\\.|'(?!''))*'''", re.DOTALL),
    # A string of one line that is not closed ends with the line: the program is wrong, but it is over all the same.
    '"': re.compile(r'(?:[^\\"\n]|\\\r?\n|\\.)*(?:"|(?=\n))'),
    "'": re.compile(r"(?:[^\\'\n]|\\\r?\n|\\.)*(?:'|(?=\n))"),
}
_COMMENT: Final = re.compile(r"[^\n]*")
_INDENT: Final = re.compile(r"[ \t\r\f]*")
# What stands in no bracket: one that a model forgot to close is over there, or the rest of the text would be in it.
_STATEMENT: Final = re.compile(r"(?:async[ \t]+)?(?:def|class|import|assert|return|raise|with|while|try)\b")


def function_end(text: str) -> int | None:
    """Where in `text`, which goes on after a prompt's last word, the function is over; None where it may still go on.

    More text after `text` does not change a place once found.
    """
    place, depth, comment = 0, 0, None  # where the last block of comments at column 0 begins
    while (landmark := _LANDMARK.search(text, place)) is not None:
        mark, place = landmark.group(), landmark.end()
        if mark in _STRING_ENDS:
            string = _STRING_ENDS[mark].match(text, place)
            if string is None:
                return None
            place = string.end()
        elif mark == "#":
            place = _end(_COMMENT, text, place)
        elif mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth = max(0, depth - 1)
        elif mark == "\n":
            first = _end(_INDENT, text, place)
            if depth > 0 and (statement := _STATEMENT.match(text, first)) is not None:
                depth = 0 if statement.end() < len(text) else depth  # else it may become a longer name
            if depth > 0:
                continue
            if first == len(text) or text[first] == "\n":
                continue
            if text[first] == "#":
                comment = place if first == place and comment is None else comment
            elif first == place:
                return place if comment is None else comment
            else:
                comment = None
    return None


def _end(pattern: re.Pattern[str], text: str, place: int) -> int:
    """Where a pattern ends that matches everywhere, if only nothing."""
    found = pattern.match(text, place)
    assert found is not None
    return found.end()


def truncate(text: str) -> str:
    """`text` up to where the function is over, without blank lines at its end."""
    end = function_end(text)
    return text if end is None else text[:end].rstrip() + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionEnd(StopRule):
    """A completion ends before end-of-text, or with the token that shows that the function is over. For `decode.generate`."""

    tokenizer: Tokenizer

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> FunctionEnd:
        return cls(token=tokenizer.end_of_text, tokenizer=tokenizer)

    def kept(self, tokens: Sequence[int], start: int = 0) -> int | None:
        """See `StopRule.kept`."""
        ended = StopRule.kept(self, tokens, start)
        said = tokens if ended is None else tokens[:ended]
        if function_end(self.tokenizer.decode(said)) is None:
            return ended
        # Found with all that is new; which token it was must not depend on how many came at once.
        return next(
            (end for end in range(start + 1, len(said)) if function_end(self.tokenizer.decode(said[:end])) is not None),
            len(said),
        )
