"""When a row has said enough: at a token, at a sequence of tokens, or in decoded text. How many at most is no part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autonas.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    """A completion ends before `token` or one of `sequences`: the one that is complete first, and of two at once the longer.

    Raises:
        RequestError: an empty sequence, which would end everything at once.
    """

    token: int | None = None
    sequences: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if not all(self.sequences):
            raise RequestError("a stop sequence has no tokens; leave it out.")

    def __bool__(self) -> bool:
        return self.token is not None or bool(self.sequences)

    def kept(self, tokens: Sequence[int], start: int = 0) -> int | None:
        """How many of `tokens` a completion keeps, None where it goes on. Whatever ended before `start` was asked before."""
        endings = self.sequences if self.token is None else (*self.sequences, (self.token,))
        for end in range(start + 1, len(tokens) + 1):
            complete = [len(one) for one in endings if tuple(tokens[max(end - len(one), 0) : end]) == one]
            if complete:
                return end - max(complete)
        return None


NEVER = StopRule()


class Completions:
    """What each of `count` rows has said so far, and which still speak."""

    def __init__(self, count: int, rule: StopRule) -> None:
        self.tokens: list[list[int]] = [[] for _ in range(count)]
        self._rule = rule
        self._ended = [False] * count

    def add(self, rows: Sequence[int], tokens: Sequence[Sequence[int]]) -> None:
        """The next `tokens` of each of `rows`; those of rows that have ended are dropped."""
        for row, new in zip(rows, tokens, strict=True):
            if self._ended[row]:
                continue
            said = self.tokens[row]
            start = len(said)
            said.extend(new)
            kept = self._rule.kept(said, start) if self._rule else None
            if kept is not None:
                self._ended[row] = True
                del said[kept:]

    def ended(self, row: int) -> bool:
        return self._ended[row]


class TextStop:
    """Text as it comes, in pieces, up to the one of `stops` that is complete first: what may yet become one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        if not all(stops):
            raise RequestError("a text to stop at is empty; leave it out.")
        self._stops = tuple(stops)
        self._shown = 0
        self.found: str | None = None  # the text that ended it

    def feed(self, text: str, *, complete: bool = False) -> str:
        """What is new and certain in `text`, all of it so far. Sets `found` at a stop; if `complete`, nothing is held back."""
        found = [(place + len(stop), place, stop) for stop in self._stops if (place := text.find(stop)) >= 0]
        self.found = min(found)[2] if found else None
        held = 0 if complete else max((_begun(text, stop) for stop in self._stops), default=0)
        end = min(found)[1] if found else len(text) - held
        new = text[self._shown : end]
        self._shown = max(self._shown, end)
        return new

    @property
    def ended(self) -> bool:
        return self.found is not None


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` could be the beginning of `stop`."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
