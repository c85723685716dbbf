"""The process that runs a program and answers calls of it. Nothing that it says is believed: see `tester.py`."""

from __future__ import annotations

import builtins
import os
import sys
import types
from typing import Any

from . import exceptions, limiting, operations, values, wire

_BUILTIN_KINDS = (type, types.BuiltinFunctionType)


class _Callback:
    """A function of the tests, as the program sees it."""

    def __init__(self, key: int, host: _Host) -> None:
        self._key, self._host = key, host

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._host.call_back(self._key, arguments, named)


class _Host:
    """The program, and the objects of it that the tests hold."""

    def __init__(self, source: str, incoming: int, outgoing: int, limit: int) -> None:
        self._source = source
        self._module = types.ModuleType("program")
        self._objects: list[Any] = []
        self._keys: dict[int, int] = {}  # id -> place. The list keeps the object, so that no other gets its id.
        self._peer = wire.Peer(
            incoming,
            outgoing,
            limit=limit,
            export=self._export,
            adopt=self._adopt,
            serve=self._serve,
            describe=self._describe,
        )

    def run(self) -> None:
        self._peer.send(("value", 0, "ready"))  # before any of the program: who does not hear this knows whose fault it is
        self._peer.serve()

    def call_back(self, key: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        try:
            return self._peer.ask("call", key, arguments, named)
        except wire.Raised as raised:
            raise exceptions.build(raised.description, self._own_class) from None

    def _serve(self, operation: str, arguments: tuple[Any, ...]) -> Any:
        if operation == "load":
            return self._load()
        if operation == "names":
            found = vars(self._module)
            return {name: found[name] for name in arguments if name in found}
        return operations.OPERATIONS[operation](*arguments)

    def _load(self) -> str:
        """Run the program. What keeps it from compiling, or an empty text."""
        try:
            code = compile(self._source, "<program>", "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            return f"{type(error).__name__}: {error}"
        sys.modules["program"] = self._module
        exec(code, vars(self._module))
        return ""

    def _key(self, value: Any) -> int:
        key = self._keys.get(id(value))
        if key is None:
            key = self._keys[id(value)] = len(self._objects)
            self._objects.append(value)
        return key

    def _export(self, value: Any) -> tuple[Any, ...]:
        kind: type = type(value)
        if isinstance(value, _Callback):
            return ("yours", value._key)
        name = getattr(value, "__name__", None)
        if kind in _BUILTIN_KINDS and getattr(builtins, str(name), None) is value:
            return ("builtin", name)
        if issubclass(kind, BaseException):
            return ("exception", self._describe(value))
        if issubclass(kind, type) and issubclass(value, BaseException):
            return ("exception class", self._key(value), value.__name__, exceptions.builtin_bases(value))
        return ("object", self._key(value), kind.__name__)

    def _adopt(self, description: Any) -> Any:
        what, *rest = description
        if what == "yours":
            return self._objects[rest[0]]
        if what == "callback":
            return _Callback(rest[0], self)
        if what == "builtin":
            return getattr(builtins, rest[0])
        if what == "exception":
            return exceptions.build(rest[0], self._own_class)
        raise values.Garbled("an unknown kind of object")

    def _describe(self, error: BaseException) -> tuple[Any, ...]:
        return exceptions.describe(error, self._key)

    def _own_class(self, key: int, name: str, bases: tuple[str, ...]) -> type[BaseException]:
        kind = self._objects[key]
        assert issubclass(kind, BaseException)
        return kind  # type: ignore[no-any-return]


def main(text: bytes, incoming: int, outgoing: int) -> None:
    """Run the program of `job` and answer until the tests are through."""
    job = values.decode_job(text)
    limiting.limit_process(job["limits"])
    sys.argv = ["program"]
    _Host(job["program"], incoming, outgoing, job["value_bytes"]).run()
    os._exit(0)  # without what the program left behind: exit functions, threads
