"""Workers on cores of their own, where a machine's environment asks for it. Cores are told apart by locks of files.

The system gives a lock back when its process ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autonas.errors import RequestError


def pin_threads(count: int) -> str:
    """Keep this process on `count` cores of its own where `$AUTONAS_PIN` is 1: on which, or why not; "" where nobody asked.

    No two processes of a user that ask have a core in common. A core is given back when its process ends. A process that asks
    for more than it has gets more.

    Raises:
        RequestError: the variable is neither 0 nor 1.
    """
    wish = os.environ.get("AUTONAS_PIN") or "0"
    if wish not in ("0", "1"):
        raise RequestError(f"AUTONAS_PIN is {wish!r}; set it to 1 to keep workers on cores of their own, or to 0")
    if wish == "0":
        return ""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned: this system has no means"
    with _PINS.lock:
        try:
            return _pin(count)
        except OSError as error:
            return f"not pinned: {error}"


@dataclass(slots=True)
class _Pins:
    """Of this process: the cores that it might use at first, and the open locks of those that it keeps to."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    allowed: list[int] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)


_PINS = _Pins()


def cores_before() -> Sequence[int]:
    """The cores that this process might use before it was first pinned; none if it never was."""
    return _PINS.allowed


def _pin(count: int) -> str:
    import fcntl  # not everywhere

    folder = Path(tempfile.gettempdir()) / f"autonas-cores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    _PINS.allowed = _PINS.allowed or sorted(os.sched_getaffinity(0))
    found: dict[int, int] = {}
    for core in _PINS.allowed:
        if len(_PINS.held) + len(found) >= count:
            break
        if core in _PINS.held:
            continue
        lock = os.open(folder / str(core), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found[core] = lock
        except BlockingIOError:
            os.close(lock)
    _PINS.held |= found
    enough = len(_PINS.held) >= count
    kept = sorted(_PINS.held) if enough else _PINS.allowed
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), kept)
    if enough:
        return f"pinned to {', '.join(map(str, kept))}"
    free = len(_PINS.held)
    for lock in _PINS.held.values():
        os.close(lock)
    _PINS.held.clear()
    return f"not pinned: {free} of {len(_PINS.allowed)} cores were free for {count}"
