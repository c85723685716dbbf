from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.space.numbers import BYTES, MILLISECONDS, parse_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30M", 30_000_000),
        ("409.6M", 409_600_000),
        ("1.5G", 1_500_000_000),
        ("256 K", 256_000),
        ("4k", 4_000),
        ("1e-3", "0.001"),
        ("1.5E3", 1_500),
        ("+7", 7),
        ("-.5", "-0.5"),
        ("1_000_000", 1_000_000),
        ("0", 0),
        ("0.5", "0.5"),
    ],
)
def test_numbers_are_read_as_people_write_them(text: str, value: int | str) -> None:
    assert parse_number(text) == Decimal(value)


@pytest.mark.parametrize(("text", "value"), [("8 ms", 8), ("0.5s", 500), ("250us", "0.25"), ("8", 8)])
def test_times_are_milliseconds(text: str, value: int | str) -> None:
    assert parse_number(text, MILLISECONDS) == Decimal(value)


@pytest.mark.parametrize(("text", "value"), [("60M", 60_000_000), ("60MB", 60_000_000), ("1 GB", 10**9), ("7B", 7)])
def test_bytes_may_have_their_unit(text: str, value: int) -> None:
    assert parse_number(text, BYTES) == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("012", "octal"),
        ("0x1F", "decimal"),
        ("0b11", "decimal"),
        ("1:30", "base 60"),
        (".inf", "finite"),
        ("-.Inf", "finite"),
        (".nan", "finite"),
        ("nan", "finite"),
        ("1,000", "comma"),
        ("30m", "write M"),
        ("30X", "suffix"),
        ("8 ms", "suffix"),
        ("1e999", "beyond"),
        ("1e19", "beyond"),
        ("9e17T", "beyond"),
        ("9" * 60, "not a number"),
        ("2024-01-01", "not a number"),
        ("", "not a number"),
        (".", "not a number"),
        ("e5", "not a number"),
        ("K", "not a number"),
        ("1__0", "not a number"),
        ("١٢", "not a number"),
        ("true", "not a number"),
    ],
)
def test_traps_are_refused_with_their_reason(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_number(text)


@given(st.floats(min_value=-1e17, max_value=1e17, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-290))
def test_every_float_survives_its_own_notation(value: float) -> None:
    assert float(parse_number(repr(value))) == value


@given(st.text(max_size=30))
def test_any_text_is_a_number_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_number(text).is_finite()
