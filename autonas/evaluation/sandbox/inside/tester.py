"""The process that decides. It runs the tests, in which the program's names stand for objects of another process.

Nothing of the program is run here: what comes over the pipe is plain data, or an object that is asked about over the pipe.
The verdict goes out through a pipe that the program's process does not have. Where that process ends or talks nonsense, this
one says so and ends at once, so that no `except` of the tests can hide it.
"""

from __future__ import annotations

import builtins
import marshal
import os
import struct
import types
from typing import Any, NoReturn

from . import exceptions, limiting, remote, values, wire

STARTED = b"+"  # the first thing said: the walls stand, and what follows is about the program
_TESTS_MODULE = "tests"
_CALLABLES = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodDescriptorType,
    types.MethodWrapperType,
)
# Built-in classes that a program may give as values: none by whose name tests could catch their own failed assert.
_VALUE_KINDS = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, object)
_ERROR_KINDS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    IndexError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_PLAIN_KINDS: dict[str, type] = {kind.__name__: kind for kind in (*_VALUE_KINDS, *_ERROR_KINDS)}


class _Judge:
    """The tests of one program, and the objects of the program that they hold."""

    def __init__(self, job: Any, incoming: int, outgoing: int, verdict: int) -> None:
        self._tests, self._verdict = job["tests"], verdict
        self._remotes: dict[int, remote.Remote] = {}
        self._classes: dict[int, type[BaseException]] = {}
        self._keys: dict[type, int] = {}  # of those classes
        self._given: list[Any] = []  # functions that the program was given
        self._held: set[int] = set()
        self._peer = wire.Peer(
            incoming,
            outgoing,
            limit=job["value_bytes"],
            export=self._export,
            adopt=self._adopt,
            serve=self._serve,
            describe=exceptions.describe,
        )

    def run(self) -> NoReturn:
        try:
            self._peer.receive()
        except (wire.Gone, values.Garbled):
            self._finish("unstarted", "the program's process did not start")
        namespace = self._namespace()
        try:
            exec(marshal.loads(self._tests["code"]), namespace)
        except BaseException as error:  # noqa: BLE001 — an exit too is a failure
            self._finish(*self._failure(error, loaded=True))
        missed = sorted({*self._tests["required"]} - self._held)
        if missed:
            self._finish("failed", f"an assert of the tests never ran: {self._line(missed[0])}")
        self._finish("passed", "")

    def _namespace(self) -> dict[str, Any]:
        no_syntax = self._ask_first("load")
        if type(no_syntax) is not str:
            self._finish("error", "the program's process answers nonsense")
        if no_syntax:
            self._finish("memory" if no_syntax.startswith("MemoryError") else "syntax", no_syntax)
        found = self._ask_first("names", *self._tests["names"])
        if type(found) is not dict or not found.keys() <= {*self._tests["names"]}:
            self._finish("error", "the program's process answers nonsense")
        entry_point = self._tests["entry_point"]
        if entry_point is not None and entry_point not in found:
            self._finish("error", f"the program does not define {entry_point!r}")
        if self._tests["random"]:  # the same draws each time, as far as the tests leave it so
            __import__("random").seed(0)
        module = types.ModuleType(_TESTS_MODULE)
        vars(module).update(found)
        vars(module).update({name: __import__(name) for name in self._tests["modules"]})
        vars(module)[self._tests["mark"]] = self._held.add
        return vars(module)

    def _ask_first(self, *question: Any) -> Any:
        try:
            return self._ask(*question)
        except BaseException as error:  # noqa: BLE001 — an exit too is a failure
            self._finish(*self._failure(error, loaded=False))

    def _failure(self, error: BaseException, *, loaded: bool) -> tuple[str, str]:
        """The status and the words for what ended the tests, or the program before them."""
        line, trace = 0, error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<tests>":
                line = trace.tb_lineno
            trace = trace.tb_next
        where = f" in `{self._line(line)}`" if line else " while the program was loaded" if not loaded else ""
        kind = type(error)
        name = kind.__name__
        if loaded and kind is AssertionError:
            return "failed", f"AssertionError{where}"
        if isinstance(error, MemoryError):
            return "memory", f"MemoryError{where}"
        if isinstance(error, SystemExit):
            return "exited", f"SystemExit{where}"
        return "error", f"{name}{where}: {error}"

    def _line(self, number: int) -> str:
        lines: list[str] = self._tests["lines"]
        return lines[number - 1] if 0 < number <= len(lines) else f"line {number}"

    def _ask(self, operation: str, *arguments: Any) -> Any:
        try:
            return self._peer.ask(operation, *arguments)
        except wire.Raised as raised:
            description = raised.description
        except wire.Gone:
            self._finish("exited", "the program's process ended before the tests did")
        except values.Garbled as error:
            self._finish("error", f"the program's process answers nonsense: {error}")
        except values.TooLarge as error:
            self._finish("refused", f"the tests give {error}")
        try:
            raised_there = exceptions.build(description, self._own_class)
        except (ValueError, TypeError):
            self._finish("error", "the program's process answers nonsense")
        if description[0] == values.TooLarge.__name__:
            self._finish("output", f"the program gives {raised_there}")
        if isinstance(raised_there, StopIteration | StopAsyncIteration) and operation != "next":
            raise RuntimeError("the program raised StopIteration") from None  # `all(map(f, …))` would take it for the end
        raise raised_there

    def _serve(self, operation: str, arguments: tuple[Any, ...]) -> Any:
        """What the program may ask: to call a function that it was given."""
        if operation != "call" or len(arguments) != 3:
            raise values.Garbled("an unknown question")
        key, given, named = arguments
        if type(key) is not int or not 0 <= key < len(self._given) or type(given) is not tuple or type(named) is not dict:
            raise values.Garbled("an unknown question")
        try:
            return self._given[key](*given, **named)
        except AssertionError as error:  # the program could swallow it
            self._finish(*self._failure(error, loaded=True))

    def _export(self, value: Any) -> tuple[Any, ...]:
        if type(value) is remote.Remote:
            return ("yours", value._remote_key)
        if isinstance(value, type) and value in self._keys:
            return ("yours", self._keys[value])
        name = getattr(value, "__name__", None)
        if isinstance(value, type | types.BuiltinFunctionType) and getattr(builtins, str(name), None) is value:
            return ("builtin", name)
        if isinstance(value, BaseException):
            return ("exception", exceptions.describe(value, lambda kind: self._keys.get(kind)))  # type: ignore[arg-type, return-value]
        if not isinstance(value, _CALLABLES):
            self._refuse(f"the tests give the program an object of class {type(value).__name__}, which cannot cross")
        self._given.append(value)
        return ("callback", len(self._given) - 1)

    def _adopt(self, description: Any) -> Any:
        if type(description) is not tuple or len(description) < 2:
            raise values.Garbled("an unknown kind of object")
        what, first, *rest = description
        if what == "object" and type(first) is int and len(rest) == 1 and type(rest[0]) is str:
            if first not in self._remotes:
                self._remotes[first] = remote.Remote(first, rest[0][:100], self._ask, self._refuse)
            return self._remotes[first]
        if what == "exception class" and type(first) is int and len(rest) == 2 and type(rest[1]) is tuple:
            return self._own_class(first, str(rest[0]), rest[1])
        if what == "exception":
            return exceptions.build(first, self._own_class)
        if what == "yours" and type(first) is int and 0 <= first < len(self._given):
            return self._given[first]
        if what == "builtin" and type(first) is str:
            return _PLAIN_KINDS.get(first) or _NotPlain(first)
        raise values.Garbled("an unknown kind of object")

    def _own_class(self, key: int, name: str, bases: tuple[str, ...]) -> type[BaseException]:
        """An exception class of the program, of which only the name and the built-in bases exist here."""
        if key not in self._classes:
            kind = type(name.replace("\0", "")[:100] or "Error", (exceptions.builtin_class(bases),), {})
            self._classes[key], self._keys[kind] = kind, key
        return self._classes[key]

    def _refuse(self, why: str) -> NoReturn:
        self._finish("refused", why)

    def _finish(self, status: str, message: str) -> NoReturn:
        data = values.encode_job({"status": status, "message": message[:2000]})
        data = struct.pack("<I", len(data)) + data
        while data:
            data = data[os.write(self._verdict, data) :]
        os._exit(0)


class _NotPlain:
    """A built-in function that a program gave where a value was expected. Equal to nothing."""

    def __init__(self, name: str) -> None:
        self.name = name


def main(text: bytes, incoming: int, outgoing: int, verdict: int) -> None:
    """Judge the program at the other end of the pipes by the tests of `job`."""
    job = values.decode_job(text)
    limiting.limit_process(job["limits"])
    os.write(verdict, STARTED)
    _Judge(job, incoming, outgoing, verdict).run()
