"""Trainings that are kept: what counts as the same one, what is taken over, and what is never taken for another's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from autonas.errors import TrialFailure
from autonas.promotion.trainings import KeptTrainings
from autonas.trial import DataRef, Failure, Job, Outcome
from tests.studies import small_job


class Answering:
    """An engine whose jobs end at once: with these kinds of failure, job by job, and then well."""

    name = "answering"
    capacity = 2

    def __init__(self, *kinds: Any) -> None:
        self.kinds, self.begun = list(kinds), list[tuple[int, int]]()
        self._waiting: list[Job] = []

    def describe(self) -> str:
        return "nothing"

    def start(self, job: Job) -> None:
        self.begun.append((job.trial, job.attempt))
        self._waiting.append(job)

    def wait(self) -> list[Outcome]:
        job = self._waiting.pop(0)
        kind = self.kinds.pop(0) if self.kinds else None
        failure = None if kind is None else Failure(kind=kind, message="planted")
        return [Outcome(kind="train", trial=job.trial, attempt=job.attempt, rung=0, seconds=float(job.seed), failure=failure)]

    def close(self) -> None:
        pass


def job(number: int = 0, **changes: Any) -> Job:
    return dataclasses.replace(small_job(DataRef(folder="/data", fingerprint="abc"), Path("/study"), trial=number), **changes)


def test_what_has_ended_is_known_by_what_it_is_and_not_by_where_or_how_often_it_was_tried(tmp_path: Path) -> None:
    kept = KeptTrainings(tmp_path, "training")
    assert kept.known(job()) is None
    list(kept.carry_out(Answering(), [job()], 0))
    for same in (job(attempt=9), job(device="cuda", threads=4), job(data=DataRef(folder="/elsewhere", fingerprint="abc"))):
        assert kept.known(same) is not None
    for other in (job(seed=9), job(data_seed=9), job(unique_tokens=5), job(data=DataRef(folder="/data", fingerprint="x"))):
        assert kept.known(other) is None


def test_a_training_of_another_folder_and_another_number_is_taken_over(tmp_path: Path) -> None:
    list(KeptTrainings(tmp_path / "one", "training").carry_out(Answering(), [job(3, seed=7)], 0))
    found = KeptTrainings(tmp_path / "two", "training", others=[tmp_path / "one", tmp_path / "none"]).known(job(0, seed=7))
    assert found is not None and (found.trial, found.seconds) == (0, 7.0)
    assert KeptTrainings(tmp_path / "two", "training").known(job(0, seed=7)) is None


def test_an_outcome_left_by_another_training_of_the_name_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    """Killed when its job was written and it had not ended: the file of the name still has the other's outcome."""

    class Killed(Answering):
        def wait(self) -> list[Outcome]:
            raise KeyboardInterrupt

    kept = KeptTrainings(tmp_path, "training")
    list(kept.carry_out(Answering(), [job(seed=1)], 0))
    with pytest.raises(KeyboardInterrupt):
        list(kept.carry_out(Killed(), [job(seed=2)], 0))
    assert kept.known(job(seed=2)) is None


def test_no_more_are_under_way_than_there_is_room_for_and_lost_ones_are_tried_again(tmp_path: Path) -> None:
    engine = Answering("preempted", None, "diverged")
    ended = KeptTrainings(tmp_path, "x").carry_out(engine, [job(n) for n in range(3)], 1)
    found = {each.trial: outcome.failure for each, outcome in ended}
    assert engine.begun == [(0, 1), (1, 1), (0, 2), (2, 1)]
    assert sorted(found) == [0, 1, 2]
    assert [failure.kind for failure in found.values() if failure is not None] == ["diverged"]


@pytest.mark.parametrize("kind", ["preempted", "out_of_memory", "error"])
def test_what_is_no_verdict_is_raised_and_tried_anew_another_time(tmp_path: Path, kind: Any) -> None:
    kept = KeptTrainings(tmp_path, "candidate")
    with pytest.raises(TrialFailure, match=r"a candidate's .*: planted") as caught:
        list(kept.carry_out(Answering(kind, kind), [job()], 1))
    assert caught.value.kind == kind
    assert kept.known(job()) is None
    assert [outcome.ok for _, outcome in kept.carry_out(Answering(), [dataclasses.replace(job(), attempt=3)], 0)] == [True]
