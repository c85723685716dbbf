"""Threads of which one works at a time, and which hand over where they choose: no lock is needed for anything in between.

Trainings that share a device in one process take turns by it. What they begin on the device runs side by side; all that is
global to the process (captures, random states, switches of libraries) belongs to who has the floor. Knows no device.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

Found = TypeVar("Found")


class Floor:
    """Is had by one thread at a time, in the order in which they asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> Floor:
        with self._lock:
            if not self._taken:
                self._taken = True
                return self
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        turn.acquire()  # released by who hands over
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        with self._lock:
            assert self._taken
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False

    def pass_on(self) -> None:
        """Let all others who wait go first. To be called by who has the floor."""
        if self._waiting:
            with self.aside():
                pass

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leave the floor to others for a while, as for waiting. To be called by who has it."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


def at_once(works: Sequence[Callable[[Floor], Found]]) -> list[Found | BaseException]:
    """Do all of `works`, each in a thread of its own that has the floor it is given; one that fails ends alone.

    What each returned or raised, in their order.
    """
    floor = Floor()
    found: list[Found | BaseException] = [RuntimeError("not begun")] * len(works)

    def work(number: int) -> None:
        try:
            with floor:
                found[number] = works[number](floor)
        except BaseException as error:  # noqa: BLE001 — it is the caller's to judge
            found[number] = error

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
