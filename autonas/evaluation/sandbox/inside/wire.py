"""Two processes that call each other over two pipes. The same code on both sides; each trusts only what it computes itself.

A message is a length of four bytes and one encoded value: ("ask", number, operation, arguments) or ("value" | "raise", number,
what). While one waits for an answer it serves what the other asks meanwhile, so that a function given as an argument can be
called back.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

from . import values

_LENGTH = struct.Struct("<I")
MAX_NESTED = 40


class Gone(Exception):
    """The other process has ended, or has closed its pipe."""


class Raised(Exception):
    """The other side's answer is an exception, described in plain data."""

    def __init__(self, description: Any) -> None:
        super().__init__()
        self.description = description


class Peer:
    """The other process.

    `export` and `adopt` say how what is no plain data is described and made; `serve(operation, arguments)` answers what is
    asked, and `describe` turns what it raises into plain data.
    """

    def __init__(
        self,
        incoming: int,
        outgoing: int,
        *,
        limit: int,
        export: Callable[[Any], Any],
        adopt: Callable[[Any], Any],
        serve: Callable[[str, tuple[Any, ...]], Any],
        describe: Callable[[BaseException], Any],
    ) -> None:
        self._incoming, self._outgoing, self._limit = incoming, outgoing, limit
        self._export, self._adopt, self._serve, self._describe = export, adopt, serve, describe
        self._asked = self._nested = 0

    def ask(self, operation: str, *arguments: Any) -> Any:
        """The other side's answer. Raises Gone, values.Garbled, values.TooLarge, Raised."""
        self._asked += 1
        number = self._asked
        self.send(("ask", number, operation, arguments))
        while True:
            kind, of, *rest = self.receive()
            if kind == "ask":
                self._answer(of, rest)
            elif of == number and len(rest) == 1:
                if kind == "raise":
                    raise Raised(rest[0])
                return rest[0]
            else:
                raise values.Garbled("an answer to no question")

    def serve(self) -> None:
        """Answer until the other side is gone."""
        while True:
            try:
                kind, number, *rest = self.receive()
            except Gone:
                return
            if kind != "ask":
                raise values.Garbled("an answer to no question")
            self._answer(number, rest)

    def send(self, message: tuple[Any, ...]) -> None:
        """Raises Gone, values.TooLarge, and what `export` raises."""
        data = values.Encoder(self._limit, self._export).encode(message)
        view = memoryview(_LENGTH.pack(len(data)) + data)
        try:
            while view:
                view = view[os.write(self._outgoing, view) :]
        except OSError:
            raise Gone from None

    def receive(self) -> tuple[Any, ...]:
        """The next message: at least two parts, the first one of the three kinds. Raises Gone and values.Garbled."""
        length = _LENGTH.unpack(self._read(4))[0]
        if length > self._limit:  # whoever sends keeps to the same limit
            raise values.Garbled("a message longer than any may be")
        message = values.Decoder(self._read(length), self._adopt).decode()
        if type(message) is not tuple or len(message) < 3 or message[0] not in ("ask", "value", "raise"):
            raise values.Garbled("no message")
        if type(message[1]) is not int:
            raise values.Garbled("no message")
        return message

    def _read(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            try:
                part = os.read(self._incoming, min(count, 1 << 16))
            except OSError:
                raise Gone from None
            if not part:
                raise Gone
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _answer(self, number: int, rest: list[Any]) -> None:
        if len(rest) != 2 or type(rest[0]) is not str or type(rest[1]) is not tuple or self._nested >= MAX_NESTED:
            raise values.Garbled("no question")
        self._nested += 1
        try:
            reply: tuple[Any, ...] = ("value", number, self._serve(rest[0], rest[1]))
        except (Gone, values.Garbled):
            raise
        except BaseException as error:  # noqa: BLE001 — an exit is an answer like any other
            reply = ("raise", number, self._describe(error))
        finally:
            self._nested -= 1
        try:
            self.send(reply)
        except Gone:
            raise
        except BaseException as error:  # noqa: BLE001 — that it cannot be sent is an answer too
            self.send(("raise", number, self._describe(error)))
