"""Numbers as people write them in a space file: `30M`, `1.5G`, `1e-3`, `8 ms`, `60 MB`. Suffixes are decimal (K = 1,000).

YAML 1.1 reads `012` as ten, `1:30` as ninety and `1e-3` as text. Here the first two are refused and the third is a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal

SUFFIXES: Mapping[str, int] = {"": 1, "K": 10**3, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
MILLISECONDS: Mapping[str, Decimal] = {"ms": Decimal(1), "s": Decimal(1000), "us": Decimal("0.001"), "µs": Decimal("0.001")}
BYTES: Mapping[str, Decimal] = {"B": Decimal(1)}
NO_UNITS: Mapping[str, Decimal] = {}

_LONGEST_TEXT = 40
_LARGEST_EXPONENT = 18  # counts stay below 2**63, and nobody means more
_SMALLEST_EXPONENT = -330  # denormal numbers and their notation
_NUMBER = re.compile(r"([-+]?(?:[0-9]+(?:_[0-9]+)*)?(?:\.[0-9]*)?(?:[eE][-+]?[0-9]{1,4})?)\s*([A-Za-zµ]*)")
_TRAPS = (
    (re.compile(r"[-+]?0[0-9_]+"), "which YAML reads as octal; write it without leading zeros"),
    (re.compile(r"[-+]?0[xXoObB][0-9A-Fa-f_]+"), "which is not decimal; write it in decimal"),
    (re.compile(r"[-+]?[0-9]+(:[0-9.]+)+"), "which YAML reads in base 60; write one plain number"),
    (re.compile(r"[-+]?\.?(inf|nan|infinity)", re.IGNORECASE), "which is not a finite number; write a finite one"),
    (re.compile(r"[-+]?[0-9]+(,[0-9]+)+"), "which has a comma; write it without, or with a point for the decimals"),
)


def parse_number(text: str, units: Mapping[str, Decimal] = NO_UNITS) -> Decimal:
    """The number that `text` means, exactly; in the first unit of `units` where it names one.

    Raises:
        ValueError: it is none; the message continues "… is '30 MX', …" with what is wrong and how to mend it.
    """
    text = text.strip()
    for trap, remedy in _TRAPS:
        if trap.fullmatch(text):
            raise ValueError(remedy)
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None or not any(c.isdigit() for c in match[1]) or match[1].lower().startswith(("e", "+e", "-e")):
        raise ValueError("not a number")
    value = Decimal(match[1].replace("_", ""))
    if value and not _SMALLEST_EXPONENT <= value.adjusted() <= _LARGEST_EXPONENT:
        raise ValueError(f"which is beyond 1e{_SMALLEST_EXPONENT} to 1e{_LARGEST_EXPONENT}; write a smaller exponent")
    value *= _factor(match[2], units)
    if value.adjusted() > _LARGEST_EXPONENT:
        raise ValueError(f"which is beyond 1e{_LARGEST_EXPONENT}; write a smaller number")
    return value


def _factor(suffix: str, units: Mapping[str, Decimal]) -> Decimal:
    if suffix in SUFFIXES:
        return Decimal(SUFFIXES[suffix])
    if suffix in units:
        return units[suffix]
    if "B" in units and suffix.endswith("B") and suffix[:-1] in SUFFIXES:
        return SUFFIXES[suffix[:-1]] * units["B"]
    known = [*(name for name in SUFFIXES if name.isupper()), *units]
    hint = f"write {suffix.upper()}" if suffix.upper() in SUFFIXES else f"known are {', '.join(known)}"
    raise ValueError(f"whose suffix {suffix!r} is unknown; {hint}")
