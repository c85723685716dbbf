"""Ctrl-C between two steps instead of within one: weights half updated cannot be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_interrupts() -> Iterator[Callable[[], bool]]:
    """Hold back the first SIGINT or SIGTERM until the block ends; yields what says whether one has come.

    A second one is not held back. Only handlers that are Python functions are stood in for, and only in the main thread:
    elsewhere nothing is held, and the answer is always no.
    """
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: old for number in _SIGNALS if callable(old := signal.getsignal(number))}
    came: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if came:
            handlers[signal.Signals(number)](number, frame)
        came.append(number)

    for number in handlers:
        signal.signal(number, hold)
    try:
        yield lambda: bool(came)
    finally:
        for number, old in handlers.items():
            signal.signal(number, old)
        if came:
            signal.raise_signal(came[0])
