"""Who may use a device now: many processes that train on it, or one that times something on it. Without torch.

Training shares the device and asks between steps whether to make way; timing has it alone, and those that train stand still
meanwhile. The locks are files of this machine and this user, which end with their process however that ends. So they hold
between workers of one study, between studies, and between engines.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from autonas.errors import resource_error

_POLL_S = 0.05


@contextmanager
def sharing(device: str) -> Iterator[Callable[[], None]]:
    """Use `device` beside others. Call what this yields between steps: it waits while somebody times something there.

    Raises:
        ResourceError: the lock files cannot be written.
    """
    with _open(device, "gate") as gate, _open(device, "room") as room:

        def enter() -> None:
            # Whoever wants the device alone holds the gate, so that nobody enters any more; those inside leave one by one.
            fcntl.flock(gate, fcntl.LOCK_SH)
            fcntl.flock(room, fcntl.LOCK_SH)
            fcntl.flock(gate, fcntl.LOCK_UN)

        def make_way() -> None:
            try:
                fcntl.flock(gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(room, fcntl.LOCK_UN)
                enter()
            else:
                fcntl.flock(gate, fcntl.LOCK_UN)

        enter()
        yield make_way


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
