"""Who worked when: every job of a study as a segment in the lane of its worker, how busy the workers were, and idle time.

From the spans that workers leave (`JobSpan`), each by its own worker's clock: between machines whose clocks differ, so do the
begins. A job whose worker went away left none, nor did those of ledgers of earlier versions.
"""

from __future__ import annotations

import datetime
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from autonas.reporting.history import moment
from autonas.reporting.quantities import duration_text
from autonas.trial import JobSpan, StudyRecord, TrialRecord

Kind = Literal["calibration", "latency", "training", "repeat", "failed"]
KINDS: tuple[Kind, ...] = ("calibration", "latency", "training", "repeat", "failed")
# Nobody works for so long: the study was not running (it is between two sessions), and that is not idle time.
PAUSE_S = 600.0
# Times are kept to a millisecond, and a worker reads its clock twice: a job may seem to begin before the last has ended.
_SLACK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One job of a worker."""

    worker: str  # host:process
    lane: int  # 0, or more where jobs of one worker ran side by side
    kind: Kind
    trial: int | None  # None: calibration
    rung: int | None  # of training
    begin_s: float  # since the first job of the study began
    seconds: float

    @property
    def end_s(self) -> float:
        return self.begin_s + self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """How busy a worker was between its first job and its last, pauses of the whole study aside."""

    name: str
    lanes: int
    jobs: int
    busy_s: float  # jobs side by side count each
    present_s: float  # from its first job's begin to its last one's end, times its lanes

    @property
    def idle_s(self) -> float:
        return max(self.present_s - self.busy_s, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All jobs whose spans are known. Segments are in order of beginning, workers in order of their first job."""

    began_at: datetime.datetime
    segments: tuple[Segment, ...]
    workers: tuple[Worker, ...]
    sessions: tuple[tuple[float, float], ...]  # begin and end in seconds, with pauses between them
    places: int  # the greatest number of jobs at one time
    busy_s: float
    available_s: float  # over all sessions: its length, times the greatest number of jobs at one time in it
    untold: int  # jobs that left no span

    @property
    def idle_s(self) -> float:
        return max(self.available_s - self.busy_s, 0.0)


def timeline(study: StudyRecord) -> Timeline | None:
    """The study's jobs by worker; None where no job has left a span."""
    jobs = list(_jobs(study))
    told = [(moment(span.began_at), span, kind, trial, rung) for span, kind, trial, rung in jobs if span is not None]
    if not told:
        return None
    told.sort(key=lambda job: (job[0], job[1].worker, job[1].seconds))
    first = told[0][0]
    free: dict[str, list[float]] = {}  # of a worker's lanes: when each is free again
    segments = []
    for began, span, kind, trial, rung in told:
        begin = (began - first).total_seconds()
        lanes = free.setdefault(span.worker, [])
        lane = next((i for i, end in enumerate(lanes) if end <= begin + _SLACK_S), len(lanes))
        lanes[lane : lane + 1] = [begin + span.seconds]
        segments.append(
            Segment(worker=span.worker, lane=lane, kind=kind, trial=trial, rung=rung, begin_s=begin, seconds=span.seconds)
        )
    sessions = _sessions(segments)
    by_worker: dict[str, list[Segment]] = {}
    for segment in segments:
        by_worker.setdefault(segment.worker, []).append(segment)
    inside = [_most_at_once([s for s in segments if begin <= s.begin_s <= end]) for begin, end in sessions]
    return Timeline(
        began_at=first,
        segments=tuple(segments),
        workers=tuple(_worker(name, len(free[name]), own, sessions) for name, own in by_worker.items()),
        sessions=sessions,
        places=max(inside),
        busy_s=sum(segment.seconds for segment in segments),
        available_s=sum(places * (end - begin) for places, (begin, end) in zip(inside, sessions, strict=True)),
        untold=len(jobs) - len(told),
    )


def working_s(found: Timeline, at_s: float) -> float:
    """Seconds since the first job began, with the pauses between sessions cut out; within a pause those at its begin."""
    before = 0.0
    for begin, end in found.sessions:
        if at_s <= end:
            return before + max(at_s - begin, 0.0)
        before += end - begin
    return before


def timeline_text(found: Timeline | None) -> str:
    """Who worked, how busy, and by which rule idle time is counted."""
    if found is None:
        return (
            "When and where jobs ran cannot be told: none of them has left its span, as in studies of earlier versions and "
            "before the first job has ended."
        )
    count = len(found.workers)
    busy = 100 * found.busy_s / found.available_s if found.available_s > 0 else 100.0
    pauses = len(found.sessions) - 1
    times = "once" if pauses == 1 else f"{pauses} times"
    paused = f" The study paused {times} for longer than {duration_text(PAUSE_S)}, which does not count." if pauses else ""
    untold = "" if not found.untold else f" {found.untold} more job{' has' if found.untold == 1 else 's have'} left no span."
    return (
        f"{count} worker{'' if count == 1 else 's'} (processes), at most {found.places} job{'' if found.places == 1 else 's'} "
        f"at a time: busy {busy:.0f} % of {duration_text(found.available_s)}, idle {duration_text(found.idle_s)}. Counted from "
        f"the first job's begin to the last one's end, for as many workers as were at work at once.{paused}{untold}"
    )


def _jobs(study: StudyRecord) -> Iterator[tuple[JobSpan | None, Kind, int | None, int | None]]:
    """(span, kind, trial, rung) of every job that the ledger knows to have ended."""
    for point in (study.attributes.get("calibration") or {}).get("points") or ():
        yield calibration_span(point), "calibration", None, None
    for trial in study.trials:
        if trial.measured is not None:
            yield trial.measured, "latency", trial.number, None
        kind: Kind = "training" if trial.repeat_of is None else "repeat"
        for outcome in trial.rungs:
            yield outcome.span, kind, trial.number, outcome.rung
        for failure in trial.retries:
            yield failure.span, "failed", trial.number, None
        if failed_in_a_job(trial):
            yield trial.failed, "failed", trial.number, len(trial.rungs)


def failed_in_a_job(trial: TrialRecord) -> bool:
    """Whether a trial's last job failed. One that the study's time was up for before it was trained had none: workers that
    reach a time limit leave a span."""
    never_began = trial.failure == "timeout" and trial.failed is None and not trial.rungs
    return trial.state == "failed" and not never_began


def calibration_span(point: Any) -> JobSpan | None:
    """When and where a point of the calibration ran; None in ledgers of earlier versions, and where its worker went away."""
    span = point.get("span")
    return None if not span else JobSpan(worker=span["worker"], began_at=span["began_at"], seconds=float(span["seconds"]))


def _sessions(segments: Sequence[Segment]) -> tuple[tuple[float, float], ...]:
    """Stretches of time with a job at least every `PAUSE_S`; the segments are in order of beginning."""
    sessions: list[list[float]] = []
    for segment in segments:
        if sessions and segment.begin_s - sessions[-1][1] <= PAUSE_S:
            sessions[-1][1] = max(sessions[-1][1], segment.end_s)
        else:
            sessions.append([segment.begin_s, segment.end_s])
    return tuple((begin, end) for begin, end in sessions)


def _most_at_once(segments: Sequence[Segment]) -> int:
    """The greatest number of jobs at one time; the segments are in order of beginning."""
    ends: list[float] = []
    most = 0
    for segment in segments:
        while ends and ends[0] <= segment.begin_s + _SLACK_S:
            heapq.heappop(ends)
        heapq.heappush(ends, segment.end_s)
        most = max(most, len(ends))
    return most


def _worker(name: str, lanes: int, own: Sequence[Segment], sessions: Sequence[tuple[float, float]]) -> Worker:
    present = 0.0
    for begin, end in sessions:
        inside = [segment for segment in own if begin <= segment.begin_s <= end]
        if inside:
            present += max(segment.end_s for segment in inside) - inside[0].begin_s
    return Worker(
        name=name, lanes=lanes, jobs=len(own), busy_s=sum(segment.seconds for segment in own), present_s=present * lanes
    )
