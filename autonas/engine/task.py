"""One job in a thread of a worker process, watched from another: what an engine's workers have in common. Knows no Ray."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import autonas
from autonas import errors
from autonas.engine.base import JobProgress
from autonas.errors import InfeasibleArch, RequestError, TrialFailure, resource_error
from autonas.floor import Floor
from autonas.trial import Failure, Job, Outcome, from_json, to_json

if TYPE_CHECKING:
    from autonas.training.loop import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where a job stands, as it travels: the last `progress`, if any; at its end one of `outcome` and `refusal`."""

    progress: JobProgress | None = None
    outcome: Outcome | None = None
    refusal: tuple[str, str, str] | None = None  # of a RequestError: its class, its message, an InfeasibleArch's rule

    def dumps(self) -> str:
        return json.dumps(to_json(self))

    @classmethod
    def loads(cls, text: str) -> Report:
        return from_json(cls, json.loads(text))

    @property
    def ended(self) -> bool:
        return self.outcome is not None or self.refusal is not None

    def error(self) -> RequestError:
        """The refusal as the exception that it was."""
        assert self.refusal is not None
        name, message, rule = self.refusal
        if name == InfeasibleArch.__name__:
            return InfeasibleArch(rule, message)
        kind = getattr(errors, name, RequestError)
        return kind(message) if issubclass(kind, RequestError) else RequestError(message)


class Task:
    """Runs a job at once, given as JSON by a controller of `version`; `place` makes it one of this machine, in the thread.

    Tasks of one `floor` train side by side. `ended` is called in the thread when the job has ended.
    """

    def __init__(
        self,
        job: str,
        version: str,
        place: Callable[[Job], Job] = lambda job: job,
        *,
        floor: Floor | None = None,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._text, self._version, self._place, self._floor, self._tell = job, version, place, floor, ended
        self._changed = threading.Condition()
        self._latest: JobProgress | None = None
        self._end: Report | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="job", daemon=True)
        self._thread.start()

    def report(self, timeout_s: float) -> Report:
        """Where the job stands; returns early when it ends within `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._end is not None, timeout_s)
            end = self._end or Report()
            return Report(progress=self._latest, outcome=end.outcome, refusal=end.refusal)

    def stop(self, timeout_s: float) -> None:
        """Ask the job to end between two of its steps, and wait for it."""
        self._stopped = True
        self._thread.join(timeout_s)

    def _run(self) -> None:
        end = self._ended()
        with self._changed:
            self._end = end
            self._changed.notify_all()
        self._tell()

    def _ended(self) -> Report:
        """How the job ended. It comes back whatever happens: the study would wait for it for ever."""
        job: Job | None = None
        try:
            if self._version != autonas.__version__:
                found = f"autonas {autonas.__version__} where the controller has {self._version}"
                raise RequestError(f"a worker has {found}; install one version on all nodes")
            job = from_json(Job, json.loads(self._text))
            # Here, not above: the controller imports this module for its records, and must not import torch with the worker.
            from autonas.worker import run_job

            outcome = run_job(self._place(job), on_progress=self._note, stop=lambda: self._stopped, floor=self._floor)
            return Report(outcome=outcome)
        except RequestError as error:
            return _refused(error)
        except ImportError as error:
            return _refused(RequestError(f"a worker cannot run jobs ({error}); install autonas with torch on every node"))
        except OSError as error:
            return _refused(resource_error(error, error.filename or "a worker's files"))
        except TrialFailure as failure:
            assert job is not None
            return Report(outcome=failed(job, Failure(kind=failure.kind, message=str(failure))))
        except BaseException as error:  # noqa: BLE001 — panics of compiled libraries too
            message = f"{type(error).__name__}: {error}"
            if job is None:
                return _refused(RequestError(f"a worker cannot read its job ({message})"))
            return Report(outcome=failed(job, Failure(kind="error", message=message)))

    def _note(self, job: Job, progress: Progress) -> None:
        self._latest = job_progress(job, progress)


def job_progress(job: Job, progress: Progress) -> JobProgress:
    """A step of a job's training as an engine tells it."""
    return JobProgress(
        trial=job.trial,
        rung=job.budget.rung,
        tokens=progress.tokens,
        loss=progress.loss,
        tokens_per_s=progress.tokens_per_s,
    )


def _refused(error: RequestError) -> Report:
    rule = error.rule if isinstance(error, InfeasibleArch) else ""
    return Report(refusal=(type(error).__name__, str(error), rule))


def failed(job: Job, failure: Failure) -> Outcome:
    """The outcome of a job that has nothing to show."""
    return Outcome(kind=job.kind, trial=job.trial, attempt=job.attempt, rung=job.budget.rung, seconds=0.0, failure=failure)
