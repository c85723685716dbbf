"""The seam between the study loop and whatever runs its jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from autonas.trial import Job, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """Where a running job stands."""

    trial: int
    rung: int
    tokens: int
    loss: float
    tokens_per_s: float


OnProgress = Callable[[JobProgress], None]


class Engine(Protocol):
    """Runs jobs. Every started job comes back from `wait` exactly once, unless the engine is closed before.

    A trial's bad end is an outcome with a failure. A job that cannot be done as asked (no data, a full disk) raises the
    `RequestError` from `wait`; an interruption by the user raises KeyboardInterrupt there.
    """

    name: str

    @property
    def capacity(self) -> int:
        """How many jobs run at once."""
        ...

    def describe(self) -> str:
        """What jobs run on, in a few words."""
        ...

    def start(self, job: Job) -> None:
        """Take a job; returns at once. At most `capacity` jobs may be under way."""
        ...

    def wait(self) -> list[Outcome]:
        """Block until at least one job has ended; returns those that have, in order of ending."""
        ...

    def close(self) -> None:
        """Give up what still runs and free everything; may be called twice."""
        ...
