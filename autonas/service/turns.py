"""One thread that computes for many requests: a step of each in turn, so that a short one does not wait for a long one.

What it computes is an iterator; each item is told to the request's own event loop. There is one thread since two would have to
share the same cores. Nothing here knows what is computed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from autonas.errors import ServiceError

RETRY_AFTER_S = 1


class _End:
    """No more items."""


class Job:
    """One request's work, as the request sees it: `next` until None, `cancel` at the end in any case."""

    def __init__(self, work: Callable[[], Iterator[Any]], loop: asyncio.AbstractEventLoop) -> None:
        self._work, self._loop = work, loop
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self._iterator: Iterator[Any] | None = None
        self.cancelled = False

    async def next(self) -> Any:
        """The next item, None after the last. Raises what the work raised."""
        item = await self._items.get()
        if isinstance(item, BaseException):
            raise item
        return None if isinstance(item, _End) else item

    def cancel(self) -> None:
        """Let nothing more be computed. At any time, and more than once."""
        self.cancelled = True

    def step(self) -> bool:
        """Compute one item, in the thread; says whether there may be more."""
        try:
            if self._iterator is None:
                self._iterator = self._work()
            self.tell(next(self._iterator))
        except StopIteration:
            self.tell(_End())
            return False
        except Exception as error:  # noqa: BLE001 whatever it is, it is the request's and not the thread's
            self.tell(error)
            return False
        return not self.cancelled

    def tell(self, item: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)
        except RuntimeError:  # the loop has been closed: nobody listens
            self.cancelled = True


class Turns:
    """The thread, between `start` and `close`. At most `most_at_once` jobs take turns, and `most_waiting` wait for theirs."""

    def __init__(self, *, most_at_once: int = 8, most_waiting: int = 64, prepare: Callable[[], object] = lambda: None) -> None:
        self._most_at_once, self._most_waiting = most_at_once, most_waiting
        self._prepare = prepare
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._active: list[Job] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="turns", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Compute no more; those who still wait are told so."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def load(self) -> int:
        """Jobs that take turns or wait for theirs."""
        with self._changed:
            return len(self._active) + len(self._waiting)

    @property
    def is_ready(self) -> bool:
        """Whether a job would be taken."""
        return self._thread.is_alive() and not self._closing and self.load < self._most_at_once + self._most_waiting

    def enter(self, work: Callable[[], Iterator[Any]]) -> Job:
        """Take a job of the running event loop.

        Raises:
            ServiceError: too many wait already, or the service is ending.
        """
        job = Job(work, asyncio.get_running_loop())
        with self._changed:
            if self._closing:
                raise _ending()
            if len(self._active) + len(self._waiting) >= self._most_at_once + self._most_waiting:
                raise ServiceError(
                    429, f"{len(self._waiting)} requests are waiting already. Try again later.", code="rate_limit_exceeded"
                )
            self._waiting.append(job)
            self._changed.notify()
        return job

    def _run(self) -> None:
        self._prepare()
        while self._admit():
            for job in list(self._active):
                if job.cancelled or not job.step():
                    with self._changed:
                        self._active.remove(job)
        with self._changed:
            left = [*self._active, *self._waiting]
        for job in left:
            job.tell(_ending())

    def _admit(self) -> bool:
        """Wait until there is something to do; says whether to go on."""
        with self._changed:
            while not self._closing and not self._active and not self._waiting:
                self._changed.wait()
            while self._waiting and len(self._active) < self._most_at_once:
                self._active.append(self._waiting.popleft())
            return not self._closing


def _ending() -> ServiceError:
    return ServiceError(503, "The service is ending.", code="unavailable")
