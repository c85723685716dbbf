"""The engine without workers: jobs run in this process. For notebooks and small machines.

One at a time, when it is waited for; on CUDA several at a time, each in a thread, where training/together.py says that it pays.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import autonas
from autonas.engine.base import JobProgress, OnProgress
from autonas.engine.task import Task, job_progress
from autonas.errors import AutonasError, TrialFailure
from autonas.floor import Floor
from autonas.trial import Job, Outcome, to_json

if TYPE_CHECKING:
    from autonas.training.together import Table

MOST = 8  # jobs under way, whatever a table says
_POLL_S = 0.1
_CLOSE_S = 30.0


def together_on_cuda(jobs: Sequence[Job]) -> int:
    """How many of these trainings, from the first, to run at once; one on a processor."""
    if jobs[0].device == "cpu" or len({job.device for job in jobs}) > 1:
        return 1
    # Here, not above: torch takes a second to import, and a study that has nothing left to run does not need it.
    from autonas.training.together import member, together

    found = _found(jobs[0].device)
    return 1 if found is None else together([member(job.spec, job.training) for job in jobs], *found)


@functools.cache
def _found(name: str) -> tuple[int, Table] | None:
    """A CUDA device's memory for trainings, and its table. Asked once, while none runs: a capture may forbid it."""
    from autonas.evaluation.latency import resolve_device
    from autonas.training.together import known_table, usable_bytes

    try:
        device = resolve_device(name)
    except AutonasError:
        return None  # the job will say so itself
    return (usable_bytes(device), known_table(device)) if device.type == "cuda" else None


class InlineEngine:
    """Runs a job by itself in the thread that waits, several in threads that take turns; how many, `together` says.

    `stop` is asked between training steps, or now and then; when it says so, `wait` raises KeyboardInterrupt.
    """

    name = "inline"

    def __init__(
        self,
        on_progress: OnProgress | None = None,
        stop: Callable[[], bool] | None = None,
        together: Callable[[Sequence[Job]], int] = together_on_cuda,
    ) -> None:
        self._on_progress, self._stop, self._together = on_progress, stop, together
        self._floor = Floor()
        self._waiting: deque[tuple[Job, float]] = deque()  # and since when
        self._tasks: dict[int, tuple[Job, Task]] = {}
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._begun = 0
        self._told: dict[int, JobProgress] = {}

    @property
    def capacity(self) -> int:
        """One; with jobs under way, as many as they and others like the latest of them may be."""
        under_way = self._under_way()
        trainings = [job for job in under_way if job.kind == "train"]
        if not trainings or any(job.kind in ("run", "tune") for job in under_way):
            return 1
        most = self._together([*trainings, *[trainings[-1]] * (MOST - len(trainings))])
        return max(most, 1) + len(under_way) - len(trainings)

    def describe(self) -> str:
        return "1 worker, in this process"

    def start(self, job: Job) -> None:
        assert len(self._under_way()) < self.capacity, "no more jobs may be under way"
        self._waiting.append((job, time.monotonic()))

    def wait(self) -> list[Outcome]:
        assert self._waiting or self._tasks, "no job was started"
        if not self._tasks and len(self._waiting) == 1:
            return [self._run_here(self._waiting.popleft()[0])]
        while True:
            self._begin()
            try:
                number = self._ended.get(timeout=_POLL_S)
            except queue.Empty:
                self._tell()
                if self._stop is not None and self._stop():
                    raise KeyboardInterrupt from None
                continue
            self._tell()
            _, task = self._tasks.pop(number)
            self._told.pop(number, None)
            end = task.report(0.0)
            if end.outcome is None:
                raise end.error()
            return [end.outcome]

    def close(self) -> None:
        self._waiting.clear()
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.stop(0.0)  # all are asked before any is waited for
        for task in tasks:
            task.stop(_CLOSE_S)

    def _under_way(self) -> list[Job]:
        return [*(job for job, _ in self._tasks.values()), *(job for job, _ in self._waiting)]

    def _begin(self) -> None:
        """Begin those of the waiting jobs, in their order, for which there is room beside those that run."""
        while self._waiting and self._has_room(self._waiting[0][0]):
            job, since = self._waiting.popleft()
            limit = None if job.time_limit_s is None else max(job.time_limit_s - (time.monotonic() - since), 0.0)
            text = json.dumps(to_json(dataclasses.replace(job, time_limit_s=limit)))
            self._begun += 1
            number = self._begun
            task = Task(text, autonas.__version__, floor=self._floor, ended=functools.partial(self._ended.put, number))
            self._tasks[number] = (job, task)

    def _has_room(self, job: Job) -> bool:
        running = [running for running, _ in self._tasks.values()]
        if not running:
            return True
        if any(one.kind in ("run", "tune") for one in (job, *running)):
            return False
        if job.kind == "latency":
            return True  # it has the device to itself when those that train have made way
        trainings = [*(other for other in running if other.kind == "train"), job]
        return self._together(trainings) >= len(trainings)

    def _tell(self) -> None:
        """Pass on what has changed."""
        for number, (_, task) in self._tasks.items():
            progress = task.report(0.0).progress
            if progress is not None and progress != self._told.get(number):
                self._told[number] = progress
                if self._on_progress is not None:
                    self._on_progress(progress)

    def _run_here(self, job: Job) -> Outcome:
        from autonas.training.loop import Progress
        from autonas.worker import run_job

        def report(job: Job, progress: Progress) -> None:
            if self._on_progress is not None:
                self._on_progress(job_progress(job, progress))

        try:
            return run_job(job, on_progress=report, stop=self._stop)
        except TrialFailure as failure:
            # The only kind that run_job lets through: `stop` said so.
            raise KeyboardInterrupt from failure
