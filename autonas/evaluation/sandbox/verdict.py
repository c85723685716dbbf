"""What became of a program under its tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Status = Literal["passed", "failed", "error", "syntax", "timeout", "memory", "output", "exited", "refused"]
STATUSES: tuple[Status, ...] = get_args(Status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One program's end.

    passed: every assert of the tests ran and held. failed: one did not. error: the program or a call of it raised. syntax: the
    program does not compile. timeout, memory, output: a limit was met. exited: the program's process ended, or wanted to.
    refused: nothing can be said, by a fault of the tests or since only the program itself could decide; it counts as a failure.
    """

    status: Status
    message: str  # one line of at most 200 printable characters; may hold words of the program
    seconds: float

    def __post_init__(self) -> None:
        assert self.status in STATUSES, self.status

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def one_line(text: str, longest: int = 200) -> str:
    """`text` in one line of printable characters: what a program says may end in a terminal."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text[: 4 * longest]).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
