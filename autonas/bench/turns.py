"""Contestants that take turns on one machine: each in a process of its own, asleep until it is asked.

So each has its own allocator, thread pool, compiler and settings of libraries, as its users would have them, and what one does
to them does no other one good or harm. Only one works at a time, but for getting ready. What they do is in trainers/ and in
generators.py.
"""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from autonas.errors import AutonasError, RequestError, TrialFailure

OURS = "autonas"  # the name of ours among contestants
_PATIENCE_S = 900.0  # a compiler may take minutes
# Imported once by the server that the processes are forked from. One that is not installed is left out. Beside a GPU it is
# torch alone: were the driver asked for anything while another is imported, no fork could use it.
_PRELOADED = ["torch", "transformers", "transformers.trainer", "accelerate", "autonas.training.loop"]
_PRELOADED_BESIDE_GPU = ["torch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A turn: the seconds it took, until the device had really finished, and the mean loss of its steps."""

    seconds: float
    loss: float = 0.0


class NotMeasured(AutonasError):
    """A contestant could not be measured; the message is the reason."""


class Turns:
    """A contestant's end: iterate over what is asked, and answer each. The first answer, unasked, says that it is ready."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __iter__(self) -> Iterator[Any]:
        while (request := self.next()) is not None:
            yield request

    def next(self) -> Any:
        """The next request, or None when there are no more."""
        try:
            return self._pipe.recv()
        except EOFError:
            return None

    def reply(self, value: Any) -> None:
        self._pipe.send(("done", value))

    def fail(self, reason: str) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send(("failed", reason))


Serve = Callable[..., None]  # serve(turns, *arguments), a function of a module


class Contestant:
    """The other end: a process that serves. Behind `deadline`, a value of `time.monotonic`, no answer is waited for."""

    def __init__(self, serve: Serve, *arguments: Any, deadline: float = math.inf) -> None:
        self._deadline = deadline
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED_BESIDE_GPU if torch.cuda.is_available() else _PRELOADED)
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, serve, arguments), daemon=True)
        self._process.start()
        child.close()

    def ask(self, request: Any, patience_s: float = _PATIENCE_S) -> Any:
        """Send a request and wait for its answer. Raises NotMeasured as `answer`."""
        self.send(request)
        return self.answer(patience_s)

    def send(self, request: Any) -> None:
        with contextlib.suppress(OSError):  # `answer` will tell what was wrong
            self._pipe.send(request)

    def answer(self, patience_s: float = _PATIENCE_S) -> Any:
        """The next answer; the first is that it is ready.

        Raises:
            NotMeasured: it failed or fell silent, or there is no time left; it is of no use afterwards.
        """
        try:
            left = self._deadline - time.monotonic()
            if not self._pipe.poll(max(min(patience_s, left), 0.0)):
                raise NotMeasured("no time left" if left < patience_s else f"no answer for {patience_s:.0f} s")
            state, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise NotMeasured("its process ended, perhaps for want of memory") from error
        if state == "failed":
            raise NotMeasured(value)
        return value

    def close(self, *, at_once: bool = False) -> None:
        """End its process; once more does nothing."""
        self._pipe.close()
        self._process.join(0 if at_once or self._deadline < time.monotonic() else 5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _serve(pipe: Connection, serve: Serve, arguments: Sequence[Any]) -> None:
    # What peers print belongs to them: stdout may be the one JSON document of our command.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    turns = Turns(pipe)
    try:
        serve(turns, *arguments)
    except (RequestError, TrialFailure, NotMeasured) as error:
        turns.fail(str(error))
    except KeyboardInterrupt:
        pass  # the command ends, and says so itself
    except Exception as error:  # noqa: BLE001, a peer may fail as it likes; it costs its row, and the reason is kept
        place = traceback.extract_tb(error.__traceback__)[-1]
        turns.fail(f"{type(error).__name__}: {str(error).strip()[:300]} ({Path(place.filename).name}:{place.lineno})")


def compile_patience_s(deadline: float) -> float:
    """How long to wait for a first call, which may compile: what follows needs time as well."""
    return min(_PATIENCE_S, max(0.5 * (deadline - time.monotonic()), 0.0))


class Contest:
    """Ours and its peers. A peer that fails is out, and `failed` has the reason; without ours there is nothing to compare."""

    def __init__(self, deadline: float = math.inf) -> None:
        self._deadline = deadline
        self._stack = contextlib.ExitStack()
        self.running: dict[str, Contestant] = {}
        self.failed: dict[str, str] = {}

    def enter(self, name: str, serve: Serve, *arguments: Any) -> None:
        """Start a contestant; `OURS` is the name of ours."""
        self.running[name] = self._stack.enter_context(Contestant(serve, *arguments, deadline=self._deadline))

    def leave(self, name: str) -> None:
        """End a contestant that is not asked any more."""
        self.running.pop(name).close()

    def together(self, request: Any = None, *, patience_s: float = _PATIENCE_S) -> dict[str, Any]:
        """Ask all at once, or await that all are ready when nothing is asked; answers by name. Raises AutonasError."""
        if request is not None:
            for contestant in self.running.values():
                contestant.send(request)
        until = time.monotonic() + patience_s

        def answer(contestant: Contestant) -> Any:
            return contestant.answer(max(until - time.monotonic(), 0.0))

        return self._answers((name, functools.partial(answer, one)) for name, one in tuple(self.running.items()))

    def in_turn(self, request: Any, *, backwards: bool = False, patience_s: float = _PATIENCE_S) -> dict[str, Any]:
        """Ask one after the other; answers by name. Raises AutonasError."""
        ordered = tuple(self.running.items())
        asked = reversed(ordered) if backwards else ordered
        return self._answers((name, functools.partial(one.ask, request, patience_s)) for name, one in asked)

    def interleave(self, request: Any, *, rounds: int, seconds: float, least: int = 5) -> dict[str, list[Any]]:
        """Ask all the same, `rounds` times over: A B C, C B A, …; answers by name of those that lasted. Raises AutonasError.

        Rounds end after `seconds` or at the deadline, though not before `least` of them.
        """
        answers: dict[str, list[Any]] = {name: [] for name in self.running}
        limit = min(self._deadline, time.monotonic() + seconds)
        for turn in range(rounds):
            if turn >= least and time.monotonic() >= limit:
                break
            for name, answer in self.in_turn(request, backwards=turn % 2 == 1).items():
                answers[name].append(answer)
        return {name: answers[name] for name in self.running}

    def _answers(self, asked: Iterable[tuple[str, Callable[[], Any]]]) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        for name, ask in asked:
            try:
                answers[name] = ask()
            except NotMeasured as error:
                self.failed[name] = str(error)
                self.running.pop(name).close(at_once=True)
        if OURS in self.failed:
            raise AutonasError(f"autonas itself could not be measured: {self.failed[OURS]}")
        return answers

    def __enter__(self) -> Contest:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()
