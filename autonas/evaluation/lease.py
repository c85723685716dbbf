"""Who may use a device now: many processes that train on it, or one that times something on it. Without torch.

Training and scoring share the device and ask between steps whether to make way; timing has it alone, and those that share stand
still meanwhile. The locks are files of this machine and this user, which end with their process however that ends. So they hold
between workers of one study, between studies, and between engines.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

from autonas.errors import resource_error
from autonas.floor import Floor

_POLL_S = 0.05


class Turn:
    """A place on a device beside others: other processes, and other threads of this one, who share a floor."""

    def __init__(self, gate: IO[str], room: IO[str], finish: Callable[[], None], floor: Floor) -> None:
        self._gate, self._room, self._finish, self._floor = gate, room, finish, floor
        with self.aside():
            self._waited_s = self._enter()

    def make_way(self) -> float:
        """Wait while somebody times something on the device; the seconds waited. To be called often, between steps."""
        try:
            fcntl.flock(self._gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            self._finish()
            fcntl.flock(self._room, fcntl.LOCK_UN)
            with self.aside():  # whoever else shares the floor has to make way too
                waited_s = self._enter()
            self._waited_s += waited_s
            return waited_s
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        return 0.0

    def pass_on(self) -> None:
        """Let other threads that share the floor go first: where what was begun on the device may go on beside theirs."""
        self._floor.pass_on()

    def aside(self) -> AbstractContextManager[object]:
        """Without the floor, as for waiting."""
        return self._floor.aside()

    def clock(self) -> float:
        """`time.monotonic()` less all seconds waited for other processes: a clock that stood still with this one."""
        return time.monotonic() - self._waited_s

    def _enter(self) -> float:
        begun = time.monotonic()
        # Whoever wants the device alone holds the gate, so that nobody enters any more; those inside leave one by one.
        fcntl.flock(self._gate, fcntl.LOCK_SH)
        fcntl.flock(self._room, fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        return time.monotonic() - begun


@contextmanager
def sharing(device: str, finish: Callable[[], None] = lambda: None, floor: Floor | None = None) -> Iterator[Turn]:
    """Use `device` beside others, and call `make_way` of what this yields between steps.

    `finish` is called before way is made, to wait for work that was begun on the device and not awaited. Threads that share the
    device with one another share a `floor`, which one of them has at a time.

    Raises:
        ResourceError: the lock files cannot be written.
    """
    with _open(device, "gate") as gate, _open(device, "room") as room, floor or Floor() as taken:
        yield Turn(gate, room, finish, taken)


@contextmanager
def alone(device: str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Have `device` for oneself; wait until those that share it have made way. Not to be asked for by one that shares it.

    `waiting` is told once, in words, that one waits.

    Raises:
        ResourceError: the lock files cannot be written.
    """
    with _open(device, "gate") as gate, _open(device, "room") as room:
        told = False
        for lock in (gate, room):
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if waiting is not None and not told:
                        waiting(f"waiting for other autonas processes to make way on {device}")
                    told = True
                    time.sleep(_POLL_S)
        yield


def _open(device: str, lock: str) -> IO[str]:
    folder = Path(tempfile.gettempdir(), f"autonas-{os.getuid()}")
    path = folder / f"{device.replace(':', '-').replace('/', '-')}.{lock}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.open("w")
    except OSError as error:
        raise resource_error(error, path) from error
