"""The engine without workers: each job runs in this process when it is waited for. For notebooks and small machines."""

from __future__ import annotations

from collections.abc import Callable

from autonas.engine.base import JobProgress, OnProgress
from autonas.errors import TrialFailure
from autonas.trial import Job, Outcome


class InlineEngine:
    """Runs one job at a time. `stop` is asked between training steps; when it says so, `wait` raises KeyboardInterrupt."""

    name = "inline"
    capacity = 1

    def __init__(self, on_progress: OnProgress | None = None, stop: Callable[[], bool] | None = None) -> None:
        self._on_progress = on_progress
        self._stop = stop
        self._job: Job | None = None

    def describe(self) -> str:
        return "1 worker, in this process"

    def start(self, job: Job) -> None:
        assert self._job is None, "the inline engine runs one job at a time"
        self._job = job

    def wait(self) -> list[Outcome]:
        # Here, not above: torch takes a second to import, and a study that has nothing left to run does not need it.
        from autonas.training.loop import Progress
        from autonas.worker import run_job

        assert self._job is not None, "no job was started"
        job, self._job = self._job, None

        def report(job: Job, progress: Progress) -> None:
            if self._on_progress is not None:
                self._on_progress(
                    JobProgress(
                        trial=job.trial,
                        rung=job.budget.rung,
                        tokens=progress.tokens,
                        loss=progress.loss,
                        tokens_per_s=progress.tokens_per_s,
                    )
                )

        try:
            return [run_job(job, on_progress=report, stop=self._stop)]
        except TrialFailure as failure:
            # The only kind that run_job lets through: `stop` said so.
            raise KeyboardInterrupt from failure

    def close(self) -> None:
        self._job = None
