"""Plain data crosses unchanged, and bytes that nobody sent make no harm."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.evaluation.sandbox.inside.values import Decoder, Encoder, Garbled, TooLarge

LIMIT = 1 << 20

hashable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda items: st.lists(items, max_size=4).map(tuple) | st.frozensets(items, max_size=4),
    max_leaves=8,
)
surrogates = st.text(st.characters(exclude_categories=()))
plain = st.recursive(
    hashable | surrogates | st.integers(0, 9).map(range) | st.decimals(allow_nan=False) | st.dates(),
    lambda items: st.lists(items, max_size=4) | st.dictionaries(hashable, items, max_size=4) | st.sets(hashable, max_size=4),
    max_leaves=12,
)


def nothing_else(value: Any) -> NoReturn:
    raise LookupError(type(value).__name__)


def encode(value: Any, limit: int = LIMIT) -> bytes:
    return Encoder(limit, nothing_else).encode(value)


def decode(data: bytes) -> Any:
    return Decoder(data, nothing_else).decode()


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same types throughout."""
    if type(a) is not type(b) or a != b:
        return False
    if isinstance(a, list | tuple):
        return all(same(*pair) for pair in zip(a, b, strict=True))
    if isinstance(a, dict):
        return all(same(a[key], b[key]) for key in a)
    return repr(a) == repr(b) if isinstance(a, float | complex) else True


@given(plain)
def test_plain_data_crosses_unchanged(value: Any) -> None:
    assert same(decode(encode(value)), value)


@given(st.binary(max_size=64) | plain.map(encode).flatmap(lambda data: st.integers(0, len(data)).map(lambda cut: data[:cut])))
def test_any_bytes_are_a_value_or_garbled(data: bytes) -> None:
    with suppress(Garbled, LookupError):
        decode(data)


@given(plain, st.data())
def test_bytes_that_are_changed_are_a_value_or_garbled(value: Any, data: st.DataObject) -> None:
    changed = bytearray(encode(value))
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] ^= data.draw(st.integers(1, 255))
    with suppress(Garbled, LookupError):
        decode(bytes(changed))


def test_a_subclass_crosses_as_the_plain_value_whatever_it_says_of_itself() -> None:
    class Number(int):
        def __add__(self, other: object) -> int:
            return 99

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    class Text(str):
        def encode(self, *arguments: Any) -> bytes:
            return b"lie"

    class Items(list[int]):
        def __iter__(self) -> Any:
            return iter([99])

    found = decode(encode([Number(3), Text("truth"), Items([1, 2])]))
    assert same(found, [3, "truth", [1, 2]])


def test_what_is_too_large_or_too_deep_or_holds_itself_is_said() -> None:
    deep: list[Any] = []
    for _ in range(1000):
        deep = [deep]
    ring: list[Any] = []
    ring.append(ring)
    doubling: list[Any] = []
    for _ in range(64):
        doubling = [doubling, doubling]
    for value in (deep, ring, doubling, "x" * (LIMIT + 1), 1 << (8 * LIMIT + 8), [0] * LIMIT):
        with pytest.raises(TooLarge):
            encode(value)


def test_a_length_that_lies_takes_no_memory() -> None:
    for tag in b"lstSZdi*":
        with pytest.raises(Garbled):
            decode(bytes([tag]) + b"\xff\xff\xff\xff")


def test_nesting_that_nobody_could_send_is_garbled() -> None:
    with pytest.raises(Garbled):
        decode(b"l\1\0\0\0" * 100_000 + b"N")


def test_nothing_is_made_but_what_is_listed() -> None:
    for name in (("os", "system"), ("builtins", "eval"), ("datetime", "sys"), ("decimal", "getcontext")):
        with pytest.raises(Garbled):
            decode(encode((*name, "true")).replace(b"t", b"*", 1))
