"""Objects of the program as the tests see them: everything that is done with one is asked of the program's process.

One rule keeps the program from judging itself: no operator shows it a value of the tests. `==`, `<`, `+` or `in` between an
object and plain data would let an object of the program answer "equal" to whatever was expected. So `==` with plain data is
False, `in` looks at the items one by one, and the others are refused. What only reads (a call, an item, `len`, `float`,
iteration) gives plain data, which is judged here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

Ask = Callable[..., Any]
Refuse = Callable[[str], NoReturn]

# A method of plain data that answers yes or no. Where tests call one, they expect plain data, and an object in its place would
# say yes to anything.
_PREDICATES = frozenset(
    name
    for kind in (str, bytes, int, float, set, dict)
    for name in dir(kind)
    if name in ("startswith", "endswith") or (name.startswith("is") and callable(getattr(kind, name)))
)


class Remote:
    """One object of the program."""

    __slots__ = ("__weakref__", "_remote_ask", "_remote_key", "_remote_kind", "_remote_refuse")

    def __init__(self, key: int, kind: str, ask: Ask, refuse: Refuse) -> None:
        for name, value in (("key", key), ("kind", kind), ("ask", ask), ("refuse", refuse)):
            object.__setattr__(self, f"_remote_{name}", value)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._remote_ask("call", self, arguments, named)

    def __getattr__(self, name: str) -> Any:
        if name in _PREDICATES:
            self._remote_refuse(f"the tests call .{name} of an object of class {self._remote_kind}, which only it could answer")
        return self._remote_ask("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._remote_ask("setattr", self, name, value)

    def __delattr__(self, name: str) -> None:
        self._remote_ask("delattr", self, name)

    def __getitem__(self, key: Any) -> Any:
        return self._remote_ask("getitem", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._remote_ask("setitem", self, key, value)

    def __delitem__(self, key: Any) -> None:
        self._remote_ask("delitem", self, key)

    def __iter__(self) -> Any:
        return iter(_Items(self._remote_ask("iter", self)))

    def __next__(self) -> Any:
        return self._remote_ask("next", self)

    def __contains__(self, value: Any) -> bool:
        return any(value is item or value == item for item in self)  # decided here, item by item

    def __enter__(self) -> Any:
        return self._remote_ask("enter", self)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        swallowed = self._remote_ask("exit", self, kind, error)
        return swallowed is True and not isinstance(error, AssertionError)  # a failed assert stays one

    def __instancecheck__(self, value: Any) -> bool:
        return isinstance(value, Remote) and self._remote_ask("isinstance", value, self) is True

    def __subclasscheck__(self, kind: Any) -> bool:
        return isinstance(kind, Remote) and self._remote_ask("issubclass", kind, self) is True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Remote):
            return False
        return self is other or self._remote_ask("eq", self, other) is True

    def __hash__(self) -> int:
        return object.__hash__(self)

    def __len__(self) -> int:
        return self._checked("len", int)  # type: ignore[no-any-return]

    def __bool__(self) -> bool:
        return self._checked("bool", bool)  # type: ignore[no-any-return]

    def __int__(self) -> int:
        return self._checked("int", int)  # type: ignore[no-any-return]

    def __index__(self) -> int:
        return self._checked("index", int)  # type: ignore[no-any-return]

    def __float__(self) -> float:
        return self._checked("float", float)  # type: ignore[no-any-return]

    def __complex__(self) -> complex:
        return self._checked("complex", complex)  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return self._checked("str", str)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return self._checked("repr", str)  # type: ignore[no-any-return]

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def __bytes__(self) -> bytes:
        return self._checked("bytes", bytes)  # type: ignore[no-any-return]

    def __reversed__(self) -> Any:
        return iter(_Items(self._remote_ask("reversed", self)))

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("an object of the program cannot be copied by the tests")

    def _checked(self, operation: str, kind: type) -> Any:
        value = self._remote_ask(operation, self)
        if type(value) is not kind:
            raise TypeError(f"{operation} of an object of the program is no {kind.__name__}")
        return value


class _Items:
    """The items that an iterator of the program gives."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def __iter__(self) -> _Items:
        return self

    def __next__(self) -> Any:
        return next(self._iterator)


def _between(operation: str) -> Callable[[Remote, Any], Any]:
    def method(self: Remote, other: Any) -> Any:
        if not isinstance(other, Remote):
            self._remote_refuse(
                f"the tests use `{operation}` between plain data and an object of class {self._remote_kind}, "
                "which would show it what is expected"
            )
        return self._remote_ask(operation, self, other)

    return method


_REFLECTED = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift")

for _operation in ("lt", "le", "gt", "ge", *_REFLECTED):
    setattr(Remote, f"__{_operation}__", _between(_operation))
for _operation in _REFLECTED:
    setattr(Remote, f"__r{_operation}__", _between(_operation))


def _alone(operation: str) -> Callable[[Remote], Any]:
    return lambda self: self._remote_ask(operation, self)


for _operation in ("abs", "neg", "pos", "invert"):
    setattr(Remote, f"__{_operation}__", _alone(_operation))
