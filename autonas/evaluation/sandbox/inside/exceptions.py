"""Exceptions as plain data: a name, the built-in classes that it derives from, and plain arguments."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

_LONGEST = 500


def builtin_bases(kind: type) -> tuple[str, ...]:
    """The built-in exception classes that `kind` derives from, nearest first."""
    return tuple(
        base.__name__ for base in type.mro(kind) if getattr(builtins, base.__name__, None) is base and base is not object
    )


def describe(error: BaseException, key_of: Callable[[type], int] | None = None) -> tuple[Any, ...]:
    """(name, key of a class of one's own or None, built-in bases, arguments)."""
    kind = type(error)
    bases = builtin_bases(kind)
    own = bool(bases) and getattr(builtins, bases[0]) is kind
    key = None if own or key_of is None else key_of(kind)
    return (str(kind.__name__)[:_LONGEST], key, bases, tuple(_plain(part) for part in error.args[:8]))


def build(description: Any, class_of: Callable[[int, str, tuple[str, ...]], type[BaseException]]) -> BaseException:
    """The exception that was described. Raises ValueError where that is no description of one."""
    if type(description) is not tuple or len(description) != 4:
        raise ValueError("no exception")
    name, key, bases, arguments = description
    if type(name) is not str or type(bases) is not tuple or type(arguments) is not tuple:
        raise ValueError("no exception")
    kind = builtin_class(bases) if type(key) is not int else class_of(key, name, bases)
    # Without `__init__`: some take arguments of their own kind, and what they would compute from them is not needed.
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    return error


def builtin_class(bases: tuple[Any, ...]) -> type[BaseException]:
    """The nearest built-in exception class of the names. Raises ValueError where there is none."""
    for name in bases:
        kind = getattr(builtins, name, None) if type(name) is str else None
        if isinstance(kind, type) and issubclass(kind, BaseException) and not issubclass(kind, BaseExceptionGroup):
            return kind
    raise ValueError("no exception")


def _plain(part: Any) -> Any:
    if type(part) is str:
        return part[:_LONGEST]
    if part is None or type(part) in (bool, int, float):
        return part
    try:
        return str(part)[:_LONGEST]
    except BaseException:  # noqa: BLE001 — it is the program's own text
        return type(part).__name__
