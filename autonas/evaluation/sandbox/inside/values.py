"""Plain data as bytes, between two processes of which one lies. Never pickle: what is read can only be a value.

A tag of one byte, then the value; lengths are four bytes. Subclasses of plain types cross as the plain value. What is no plain
data is described in plain data by the sender (`export`) and made by the receiver (`adopt`).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 150

_LENGTH = struct.Struct("<I")
_FLOAT = struct.Struct("<d")
_COMPLEX = struct.Struct("<dd")

# Values of the standard library that are rebuilt from plain ones: (module, class) -> how to take them apart.
_REBUILT: dict[tuple[str, str], Callable[[Any], tuple[Any, ...]]] = {
    ("decimal", "Decimal"): lambda value: (str(value),),
    ("fractions", "Fraction"): lambda value: (value.numerator, value.denominator),
    ("collections", "deque"): lambda value: (list(value), value.maxlen),
    ("datetime", "date"): lambda value: (value.year, value.month, value.day),
    ("datetime", "datetime"): lambda value: (*value.timetuple()[:6], value.microsecond),
    ("datetime", "time"): lambda value: (value.hour, value.minute, value.second, value.microsecond),
    ("datetime", "timedelta"): lambda value: (value.days, value.seconds, value.microseconds),
}
_VIEWS = {
    type({}.keys()): b"K",
    type({}.values()): b"V",
    type({}.items()): b"I",
}


class TooLarge(Exception):
    """A value takes more bytes than may cross, or is nested too deeply."""


class Garbled(Exception):
    """These bytes are no value."""


class Encoder:
    """One value to bytes, at most `limit` of them."""

    def __init__(self, limit: int, export: Callable[[Any], Any]) -> None:
        self._limit, self._export = limit, export
        self._parts: list[bytes] = []
        self._size = 0

    def encode(self, value: Any) -> bytes:
        """Raises TooLarge, and what `export` raises."""
        self._value(value, 0)
        return b"".join(self._parts)

    def _put(self, *parts: bytes) -> None:
        for part in parts:
            self._size += len(part)
            self._parts.append(part)
        if self._size > self._limit:
            raise TooLarge(f"a value of more than {self._limit} bytes")

    def _text(self, tag: bytes, data: bytes) -> None:
        self._put(tag, _LENGTH.pack(min(len(data), 0xFFFFFFFF)), data)

    def _items(self, tag: bytes, items: Any, depth: int) -> None:
        items = list(items)
        self._put(tag, _LENGTH.pack(len(items)))
        for item in items:
            self._value(item, depth)

    def _value(self, value: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TooLarge(f"a value nested more than {MAX_DEPTH} deep")
        depth += 1
        # `type`, not `isinstance`, which believes `__class__`; and methods of the plain types, not the value's own.
        kinds = type(value).__mro__
        if value is None or value is True or value is False or value is Ellipsis:
            self._put(_TAGS[value])
        elif int in kinds:
            plain = int.__add__(value, 0)
            self._text(b"i", plain.to_bytes(plain.bit_length() // 8 + 1, "little", signed=True))
        elif float in kinds:
            self._put(b"f", _FLOAT.pack(value))
        elif str in kinds:
            self._text(b"s", str.encode(value, "utf-8", "surrogatepass"))
        elif list in kinds:
            self._items(b"l", list.__iter__(value), depth)
        elif tuple in kinds:
            self._items(b"t", tuple.__iter__(value), depth)
        elif dict in kinds:
            self._items(b"d", [part for pair in dict.items(value) for part in pair], depth)
        elif set in kinds:
            self._items(b"S", set.__iter__(value), depth)
        elif frozenset in kinds:
            self._items(b"Z", frozenset.__iter__(value), depth)
        elif complex in kinds:
            self._put(b"c", _COMPLEX.pack(*_parts_of(value)))
        elif bytes in kinds:
            self._text(b"b", bytes.__getitem__(value, slice(None)))
        elif bytearray in kinds:
            self._text(b"B", bytes(bytearray.__getitem__(value, slice(None))))
        elif type(value) is range or type(value) is slice:
            self._items(b"r" if type(value) is range else b":", (value.start, value.stop, value.step), depth)
        elif type(value) in _VIEWS:
            items: Any = [part for pair in dict(value).items() for part in pair] if _VIEWS[type(value)] == b"I" else value
            self._items(_VIEWS[type(value)], items, depth)
        else:
            self._other(value, depth)

    def _other(self, value: Any, depth: int) -> None:
        kind = type(value)
        name = (kind.__module__, kind.__qualname__)
        take_apart = _REBUILT.get(name) if isinstance(name[0], str) and isinstance(name[1], str) else None
        if take_apart is not None and kind is getattr(sys.modules.get(name[0]), name[1], None) and _whole(value):
            self._items(b"*", (*name, *take_apart(value)), depth)
        else:
            self._put(b"@")
            self._value(self._export(value), depth)


def _parts_of(value: complex) -> tuple[float, float]:
    plain = complex.__neg__(complex.__neg__(value))  # exact, signs of noughts too
    return plain.real, plain.imag


def _whole(value: Any) -> bool:
    """Whether the parts say everything: a time with a zone is an object like any other."""
    return getattr(value, "tzinfo", None) is None


class Decoder:
    """Bytes to one value."""

    def __init__(self, data: bytes, adopt: Callable[[Any], Any]) -> None:
        self._data, self._adopt, self._at = data, adopt, 0

    def decode(self) -> Any:
        """Raises Garbled, and what `adopt` raises."""
        try:
            value = self._value(0)
        except (struct.error, UnicodeError, TypeError, ValueError, OverflowError, ArithmeticError) as error:
            raise Garbled(str(error)) from None
        if self._at != len(self._data):
            raise Garbled("bytes left over")
        return value

    def _take(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise Garbled("cut off")
        self._at += count
        return self._data[self._at - count : self._at]

    def _text(self) -> bytes:
        return self._take(_LENGTH.unpack(self._take(4))[0])

    def _items(self, depth: int) -> list[Any]:
        count = _LENGTH.unpack(self._take(4))[0]
        if count > len(self._data) - self._at:  # an item takes a byte at least
            raise Garbled("cut off")
        return [self._value(depth) for _ in range(count)]

    def _value(self, depth: int) -> Any:
        if depth > 2 * MAX_DEPTH:
            raise Garbled("nested too deeply")
        tag, depth = self._take(1), depth + 1
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag == b"i":
            return int.from_bytes(self._text(), "little", signed=True)
        if tag == b"f":
            return _FLOAT.unpack(self._take(8))[0]
        if tag == b"c":
            return complex(*_COMPLEX.unpack(self._take(16)))
        if tag == b"s":
            return self._text().decode("utf-8", "surrogatepass")
        if tag == b"b":
            return self._text()
        if tag == b"B":
            return bytearray(self._text())
        if tag == b"@":
            return self._adopt(self._value(depth))
        make = _COLLECTIONS.get(tag)
        if make is None:
            raise Garbled("an unknown kind of value")
        return make(self._items(depth))


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _rebuild(items: list[Any]) -> Any:
    module, name, *parts = items
    if (module, name) not in _REBUILT:
        raise Garbled("an unknown kind of value")
    return getattr(__import__(module), name)(*parts)


_CONSTANTS: dict[bytes, Any] = {b"N": None, b"T": True, b"F": False, b".": Ellipsis}
_TAGS = {value: tag for tag, value in _CONSTANTS.items()}
_COLLECTIONS: dict[bytes, Callable[[list[Any]], Any]] = {
    b"l": lambda items: items,
    b"t": tuple,
    b"d": _pairs,
    b"S": set,
    b"Z": frozenset,
    b"r": lambda items: range(*items),
    b":": lambda items: slice(*items),
    b"K": lambda items: dict.fromkeys(items).keys(),
    b"V": lambda items: dict(enumerate(items)).values(),
    b"I": lambda items: _pairs(items).items(),
    b"*": _rebuild,
}


def encode_job(job: dict[str, Any]) -> bytes:
    """What a process within the walls is to do: plain data alone."""
    return Encoder(1 << 26, _nothing_else).encode(job)


def decode_job(data: bytes) -> Any:
    """The inverse of `encode_job`. Raises Garbled."""
    return Decoder(data, _nothing_else).decode()


def _nothing_else(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} is no plain data")
