"""Trainings beside a full run, each kept with its job and its outcome in a folder, so that what has ended is not repeated.

`jobs/` and `outcomes/` hold them by name, `checkpoints/` what is under way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from autonas.engine.base import Engine
from autonas.errors import RETRIED, FailureKind, TrialFailure, resource_error
from autonas.run_folder import write_json
from autonas.trial import Job, Outcome, from_json, to_json


class KeptTrainings:
    """Trainings that are kept in `folder`. `what` names one in a message; `others` are folders of which outcomes are taken too.

    A failure of a kind in `raising` is no verdict on what was trained: when it comes again and again, it is raised.
    """

    def __init__(
        self, folder: Path, what: str, *, raising: frozenset[FailureKind] = RETRIED, others: Sequence[Path] = ()
    ) -> None:
        self.folder = folder
        self._what, self._raising, self._others = what, raising, others

    def known(self, job: Job) -> Outcome | None:
        """How this very training has ended before; None where it has not, or may end better another time."""
        own = _outcome_in(self.folder, job)
        if own is None and _is_other(self.folder, job):
            # The recipe, the run or the corpus is another by now: neither its outcome nor its checkpoint is of this one.
            shutil.rmtree(self._checkpoints(job.trial), ignore_errors=True)
        found = own or next(filter(None, (_outcome_in(other, job) for other in self._others)), None)
        return found if found is None or found.failure is None or found.failure.kind not in RETRIED else None

    def carry_out(self, engine: Engine, jobs: Sequence[Job], retries: int) -> Iterator[tuple[Job, Outcome]]:
        """Train them, as many at once as there is room for; each as it ends.

        Raises:
            TrialFailure: a training failed in a way that is no verdict on it.
            KeyboardInterrupt: the user, or the engine's `stop`; what has ended is kept.
        """
        waiting, under_way, tries = deque(jobs), dict[int, Job](), dict[int, int]()
        while waiting or under_way:
            while waiting and len(under_way) < engine.capacity:
                job = waiting.popleft()
                # Of another training of this name, whose job is about to be replaced.
                (self.folder / "outcomes" / f"{job.name}.json").unlink(missing_ok=True)
                self._write("jobs", job, job)
                under_way[job.trial] = job
                engine.start(job)
            for outcome in engine.wait():
                job = under_way.pop(outcome.trial)
                failure = outcome.failure
                tries[job.trial] = tries.get(job.trial, 0) + 1
                if failure is not None and failure.kind in RETRIED and tries[job.trial] <= retries:
                    waiting.appendleft(dataclasses.replace(job, attempt=job.attempt + 1))
                    continue
                if failure is not None and failure.kind in self._raising:
                    how = "worker was lost" if failure.kind == "preempted" else f"training failed ({failure.kind})"
                    raise TrialFailure(failure.kind, f"a {self._what}'s {how}: {failure.message}")
                self._write("outcomes", job, outcome)
                shutil.rmtree(self._checkpoints(job.trial), ignore_errors=True)
                yield job, outcome

    def next_attempt(self, number: int) -> int:
        """The number of the next attempt at a training: workers of earlier ones stop when they find it."""
        with contextlib.suppress(OSError, ValueError):
            return int((self._checkpoints(number) / "attempt").read_text(encoding="ascii")) + 1
        return 1

    def _write(self, part: str, job: Job, record: Any) -> None:
        try:
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise resource_error(error, self.folder / part) from error
        write_json(self.folder / part / f"{job.name}.json", to_json(record))

    def _checkpoints(self, number: int) -> Path:
        return self.folder / "checkpoints" / f"{number:05d}"


def _outcome_in(folder: Path, job: Job) -> Outcome | None:
    """The outcome of this very training that a folder holds, whatever number it has there."""
    for path in (folder / "outcomes" / f"{job.name}.json", *sorted((folder / "outcomes").glob("*.json"))):
        before = _job_in(folder, path.name)
        if before is not None and _essence(before) == _essence(job):
            try:
                outcome = from_json(Outcome, json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                continue
            return dataclasses.replace(outcome, trial=job.trial)
    return None


def _is_other(folder: Path, job: Job) -> bool:
    before = _job_in(folder, f"{job.name}.json")
    return before is not None and _essence(before) != _essence(job)


def _job_in(folder: Path, name: str) -> Job | None:
    try:
        return from_json(Job, json.loads((folder / "jobs" / name).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _essence(job: Job) -> dict[str, Any]:
    """What a training depends on; where it is computed is not of it."""
    names = ("spec", "budget", "seed", "data_seed", "training", "evaluation", "objectives", "unique_tokens")
    values = to_json(job)
    return {"data": job.data.fingerprint, **{name: values[name] for name in names}}
