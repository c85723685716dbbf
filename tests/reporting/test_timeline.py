"""Who worked when: lanes without overlaps, idle time that adds up, pauses that do not count, and what leaves no trace."""

from __future__ import annotations

import dataclasses
import datetime
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.reporting.timeline import PAUSE_S, Timeline, timeline, timeline_text, working_s
from autonas.trial import Failure, JobSpan, Outcome, StudyRecord, TrialRecord
from tests.reporting.studies import make_study, without_spans

BEGIN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
Job = tuple[str, float, float]  # (worker, begin, seconds)


def span(worker: str, begin_s: float, seconds: float) -> JobSpan:
    began = (BEGIN + datetime.timedelta(seconds=begin_s)).isoformat(timespec="milliseconds")
    return JobSpan(worker=worker, began_at=began, seconds=seconds)


def study_of(jobs: list[Job]) -> StudyRecord:
    """A study of one trial for each of these jobs."""
    trials = tuple(
        TrialRecord(
            number=i,
            state="live",
            params={},
            spec=None,
            rungs=(Outcome(kind="train", trial=i, attempt=0, rung=0, seconds=job[2], span=span(*job)),),
        )
        for i, job in enumerate(jobs)
    )
    return StudyRecord(name="s", recipe={}, attributes={}, trials=trials)


def found_of(jobs: list[Job]) -> Timeline:
    found = timeline(study_of(jobs))
    assert found is not None
    return found


JOBS = st.lists(
    st.tuples(st.sampled_from(["a:1", "a:2", "b:1"]), st.integers(0, 5000).map(float), st.integers(1, 900).map(float)),
    min_size=1,
    max_size=30,
)


@given(JOBS)
def test_no_two_jobs_of_a_lane_overlap_and_none_is_lost(jobs: list[Job]) -> None:
    found = found_of(jobs)
    assert len(found.segments) == len(jobs)
    assert sorted((s.worker, s.seconds) for s in found.segments) == sorted((w, seconds) for w, _, seconds in jobs)
    for worker in found.workers:
        for lane in range(worker.lanes):
            own = [s for s in found.segments if (s.worker, s.lane) == (worker.name, lane)]
            assert own, "a lane is there because a job needs it"
            assert all(a.end_s <= b.begin_s + 0.05 for a, b in itertools.pairwise(own))


@given(JOBS)
def test_time_at_work_and_idle_time_add_up(jobs: list[Job]) -> None:
    found = found_of(jobs)
    assert found.busy_s == pytest.approx(sum(seconds for _, _, seconds in jobs))
    assert found.busy_s + found.idle_s == pytest.approx(found.available_s, rel=1e-6, abs=2.0)
    assert sum(worker.busy_s for worker in found.workers) == pytest.approx(found.busy_s)
    for worker in found.workers:
        assert worker.busy_s <= worker.present_s + 1.0
    for (_, end), (begin, _) in itertools.pairwise(found.sessions):
        assert begin - end > PAUSE_S


@given(JOBS, st.integers(-10_000, 10_000))
def test_when_the_study_began_does_not_matter(jobs: list[Job], later: int) -> None:
    one, other = found_of(jobs), found_of([(worker, begin + later, seconds) for worker, begin, seconds in jobs])
    assert (one.segments, one.sessions, one.workers) == (other.segments, other.sessions, other.workers)


def test_a_gap_is_idle_time_and_a_pause_is_not() -> None:
    found = found_of([("a:1", 0, 100), ("a:1", 160, 40), ("a:1", 200 + PAUSE_S + 1, 100)])
    assert found.sessions == ((0.0, 200.0), (200 + PAUSE_S + 1, 300 + PAUSE_S + 1))
    assert (found.busy_s, found.idle_s, found.workers[0].idle_s) == (240.0, 60.0, 60.0)
    text = timeline_text(found)
    assert "busy 80 % of 5 min, idle 1 min" in text and "paused once" in text


def test_a_worker_that_waits_for_another_is_idle_in_the_whole() -> None:
    found = found_of([("a:1", 0, 100), ("a:2", 0, 50)])
    assert (found.places, found.available_s, found.idle_s) == (2, 200.0, 50.0)
    assert [worker.idle_s for worker in found.workers] == [0.0, 0.0], "nobody knows whether the second was still there"


def test_a_worker_that_takes_a_lost_ones_place_does_not_make_two_of_them() -> None:
    found = found_of([("a:1", 0, 100), ("a:2", 101, 100), ("a:3", 202, 100)])
    assert (len(found.workers), found.places, found.idle_s) == (3, 1, 2.0)


def test_jobs_side_by_side_have_lanes_of_their_own() -> None:
    found = found_of([("a:1", 0, 100), ("a:1", 10, 20), ("a:1", 31, 20)])
    assert [(s.lane, s.begin_s) for s in found.segments] == [(0, 0.0), (1, 10.0), (1, 31.0)]
    assert (found.workers[0].lanes, found.places) == (2, 2)


@given(JOBS)
def test_working_time_leaves_the_pauses_out_and_keeps_the_order(jobs: list[Job]) -> None:
    found = found_of(jobs)
    length = sum(end - begin for begin, end in found.sessions)
    moments = sorted([s.begin_s for s in found.segments] + [s.end_s for s in found.segments])
    worked = [working_s(found, at) for at in moments]
    assert worked == sorted(worked) and worked[0] == 0.0 and worked[-1] == pytest.approx(length)
    assert all(working_s(found, s.end_s) - working_s(found, s.begin_s) == pytest.approx(s.seconds) for s in found.segments)


def test_every_kind_of_job_is_told_of() -> None:
    study = make_study()
    retried = Failure(kind="preempted", message="gone", span=span("node-2:9", 1e6, 3.0))
    first = next(trial for trial in study.trials if trial.rungs)
    trials = tuple(dataclasses.replace(t, retries=(retried,)) if t is first else t for t in study.trials)
    found = timeline(dataclasses.replace(study, trials=trials))
    assert found is not None and found.untold == 0
    counts = {kind: sum(s.kind == kind for s in found.segments) for kind in {s.kind for s in found.segments}}
    originals = [trial for trial in study.trials if trial.repeat_of is None]
    assert counts == {
        "calibration": 6,
        "latency": sum(trial.measured is not None for trial in study.trials),
        "training": sum(len(trial.rungs) for trial in originals),
        "repeat": sum(len(trial.rungs) for trial in study.trials if trial.repeat_of is not None),
        "failed": 2,
    }
    assert all((s.trial is None) == (s.kind == "calibration") for s in found.segments)


def test_a_job_without_a_span_is_counted_and_said() -> None:
    study = study_of([("a:1", 0, 10), ("a:1", 10, 10)])
    lost = Failure(kind="preempted", message="its worker went away")
    trials = (dataclasses.replace(study.trials[0], retries=(lost, lost)), study.trials[1])
    found = timeline(dataclasses.replace(study, trials=trials))
    assert found is not None and found.untold == 2
    assert "2 more jobs have left no span" in timeline_text(found)


def test_a_trial_that_there_was_no_time_for_had_no_job() -> None:
    study = study_of([("a:1", 0, 10)])
    late = TrialRecord(number=1, state="failed", params={}, spec=None, failure="timeout", reason="the study's time was up")
    slow = dataclasses.replace(late, number=2, failed=span("a:1", 10, 5))
    lost = dataclasses.replace(late, number=3, failure="preempted")
    found = timeline(dataclasses.replace(study, trials=(*study.trials, late, slow, lost)))
    assert found is not None
    assert ([s.trial for s in found.segments], found.untold) == ([0, 2], 1)


def test_a_study_of_an_earlier_version_says_that_it_cannot_be_told() -> None:
    found = timeline(without_spans(make_study()))
    assert found is None and "cannot be told" in timeline_text(found)
