"""What kind every token is of, so that frequency and loss can be told apart by kind: arrays over the vocabulary, no torch.

An entry of the vocabulary has one class, a token in a text may have a narrower one: "self" behind "my" goes on with a word,
and "for" before "mat" is no keyword. Both are looked up, tokens by the million at once. Strings and comments are not parsed:
the words in them are words, and an "in" in them counts as a keyword.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.tokenizer import Tokenizer

CLASSES: Final = (
    "special",  # end-of-text, and what else stands for no text
    "newline",  # a line break, with the indentation of the next line where they are one token
    "whitespace",  # blanks and tabs alone
    "punctuation",  # brackets, operators, commas, dots
    "quote",  # a quotation mark, alone or with punctuation
    "comment",  # comment marks alone, such as "#" and "########"
    "number",  # digits and no letters
    "keyword",  # of Python
    "word",  # the beginning of a name or a word, or all of it
    "subword",  # what goes on with a word that has begun
    "other",  # part of a character that takes several tokens
)
# What holds the text together, and is learnt first.
STRUCTURAL: Final = ("newline", "whitespace", "punctuation")
# What is blank to a reader: padding, mostly, where there is much of it.
BLANK: Final = ("special", "newline", "whitespace")
# What the text is about.
CONTENT: Final = ("number", "keyword", "word", "subword")

_QUOTES = frozenset("\"'`")
_COMMENTS: Final = {"python": ("#",), "other": ("//", "/*", "*/", "#", "--")}
_UNKNOWN = "\ufffd"  # what bytes decode to that are no whole character
_CHUNK = 1 << 22  # tokens looked up at once

Tokens = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClasses:
    """Of each entry of a vocabulary: its class alone, as a place in `CLASSES`, and whether words run on over its edges."""

    alone: NDArray[np.uint8]  # (V,)
    joins_left: NDArray[np.bool_]  # (V,): begins with a letter, a digit or "_"
    joins_right: NDArray[np.bool_]  # (V,): ends with one
    texts: tuple[str, ...]  # as decoded behind a letter; "" for special ones

    def of(self, tokens: Tokens) -> NDArray[np.uint8]:
        """The class of each token, (n,), in a row of whole documents; end-of-text between them joins no words."""
        classes = self.alone[tokens]
        if len(tokens) == 0:
            return classes
        left, right = self.joins_left[tokens], self.joins_right[tokens]
        after = np.append(False, right[:-1])  # behind a word's letter
        before = np.append(left[1:], False)
        is_keyword, is_word = classes == _KEYWORD, classes == _WORD
        goes_on = (is_keyword | is_word) & left & after
        classes[is_keyword & before & right] = _WORD
        classes[goes_on] = _SUBWORD
        return classes

    def count(self, tokens: Tokens) -> NDArray[np.int64]:
        """Tokens of each class, (classes,), of a row of whole documents, however long."""
        counts = np.zeros(len(CLASSES), dtype=np.int64)
        for found in self.parts(tokens):
            counts += np.bincount(found, minlength=len(CLASSES))
        return counts

    def parts(self, tokens: Tokens, size: int = _CHUNK) -> Iterator[NDArray[np.uint8]]:
        """`of(tokens)` in parts of `size`, so that memory stays bounded."""
        for first in range(0, len(tokens), size):
            begin, end = max(first - 1, 0), min(first + size + 1, len(tokens))  # with a neighbour on either side
            yield self.of(np.asarray(tokens[begin:end]))[first - begin : first - begin + size]


def token_classes(tokenizer: Tokenizer, language: str = "python") -> TokenClasses:
    """The classes of a tokenizer's vocabulary. Keywords are Python's, and there are none when `language` is another.

    A mixed token is of the first class that fits, so that form is never counted for content: a word or number where there is a
    letter, digit or "_"; else newline, comment, quote, punctuation, whitespace.
    """
    texts = vocabulary_texts(tokenizer)
    comments = _COMMENTS["python" if language == "python" else "other"]
    keywords = frozenset(keyword.kwlist) if language == "python" else frozenset()
    return TokenClasses(
        alone=np.array([CLASSES.index(_class_of(text, comments, keywords)) for text in texts], dtype=np.uint8),
        joins_left=np.array([is_word_character(text[:1]) for text in texts]),
        joins_right=np.array([is_word_character(text[-1:]) for text in texts]),
        texts=texts,
    )


def vocabulary_texts(tokenizer: Tokenizer) -> tuple[str, ...]:
    """What each id stands for within a text; "" for special ones, U+FFFD where it is part of a character."""
    # Behind a letter, since some decoders leave out a blank at the very beginning.
    anchor = tokenizer.encode("a")
    texts = (tokenizer.decode([*anchor, number]) for number in range(tokenizer.vocab_size))
    return tuple(text.removeprefix("a") for text in texts)


def is_word_character(character: str) -> bool:
    """Whether it is part of names: a letter, a digit, "_"."""
    return character == "_" or character.isalnum()


def _class_of(text: str, comments: tuple[str, ...], keywords: frozenset[str]) -> str:
    if not text:
        return "special"
    if _UNKNOWN in text:
        return "other"
    if any(map(is_word_character, text)):
        if text.strip() in keywords:
            return "keyword"
        return "word" if any(character == "_" or character.isalpha() for character in text) else "number"
    bare = "".join(text.split())
    if "\n" in text or "\r" in text:
        return "newline"
    if not bare:
        return "whitespace"
    if any(not bare.replace(mark, "") for mark in comments):
        return "comment"
    return "quote" if _QUOTES.intersection(bare) else "punctuation"


_KEYWORD, _WORD, _SUBWORD = (CLASSES.index(name) for name in ("keyword", "word", "subword"))
