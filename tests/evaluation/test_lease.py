"""Leases of a device, between real processes."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from autonas.errors import ResourceError
from autonas.evaluation.lease import alone, sharing

CONTEXT = multiprocessing.get_context("spawn")
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture
def processes() -> Iterator[list[BaseProcess]]:
    started: list[BaseProcess] = []
    yield started
    for process in started:
        process.kill()
        process.join()


def _stand_alone(folder: str, held: object) -> None:
    import tempfile

    tempfile.tempdir = folder
    with alone("cuda:0"):
        held.set()  # type: ignore[attr-defined]
        time.sleep(60)


def _step(folder: str, steps: object) -> None:
    import tempfile

    tempfile.tempdir = folder
    with sharing("cpu") as turn:
        while True:
            turn.make_way()
            steps.value += 1  # type: ignore[attr-defined]
            time.sleep(0.001)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_that_stands_alone_excludes_another_until_it_ends_however_it_ends(
    tmp_path: Path, processes: list[BaseProcess]
) -> None:
    held = CONTEXT.Event()
    process = CONTEXT.Process(target=_stand_alone, args=(str(tmp_path), held))
    processes.append(process)
    process.start()
    assert held.wait(PATIENCE_S)
    told: list[str] = []
    order: list[str] = []

    def enter() -> None:
        with alone("cpu"), alone("cuda:0", told.append):  # another device is free meanwhile
            order.append("entered")

    # In a thread that may be left behind: where the lock is broken, this test fails and does not wait for ever.
    thread = threading.Thread(target=enter, daemon=True)
    thread.start()
    eventually(lambda: bool(told))
    order.append("killed")
    process.kill()
    thread.join(PATIENCE_S)
    assert order == ["killed", "entered"]
    assert len(told) == 1 and "cuda:0" in told[0]


def test_those_that_share_a_device_go_on_beside_each_other_and_stand_still_while_one_is_alone(
    tmp_path: Path, processes: list[BaseProcess]
) -> None:
    counters = [CONTEXT.Value("i", 0, lock=False) for _ in range(2)]
    for counter in counters:
        processes.append(CONTEXT.Process(target=_step, args=(str(tmp_path), counter)))
        processes[-1].start()

    def advanced() -> None:
        """Wait until every process has taken steps beyond those seen now."""
        seen = [counter.value for counter in counters]
        eventually(lambda: all(counter.value >= before + 5 for counter, before in zip(counters, seen, strict=True)))

    advanced()
    for _ in range(3):
        with alone("cpu"):
            time.sleep(0.02)  # a step that had begun before may still be counted
            before = [counter.value for counter in counters]
            time.sleep(0.2)
            assert [counter.value for counter in counters] == before
        advanced()


def test_one_that_shares_and_is_killed_leaves_the_device_free(tmp_path: Path, processes: list[BaseProcess]) -> None:
    counter = CONTEXT.Value("i", 0, lock=False)
    processes.append(CONTEXT.Process(target=_step, args=(str(tmp_path), counter)))
    processes[-1].start()
    eventually(lambda: counter.value >= 3)
    processes[-1].kill()
    processes[-1].join()

    def enter() -> None:
        with alone("cpu"):
            entered.set()

    entered = threading.Event()
    threading.Thread(target=enter, daemon=True).start()
    assert entered.wait(PATIENCE_S)


def test_standing_still_is_told_is_not_on_the_clock_and_comes_after_what_was_begun() -> None:
    begun: list[str] = []
    asked, free = threading.Event(), threading.Event()

    def have_it_alone() -> None:
        with alone("cpu", lambda text: asked.set()):
            begun.append("alone")
            free.wait(0.3)

    neighbour = threading.Thread(target=have_it_alone, daemon=True)
    with sharing("cpu", lambda: begun.append("finished")) as turn:
        assert turn.make_way() == 0.0
        assert begun == []
        neighbour.start()
        assert asked.wait(PATIENCE_S)
        before, wall = turn.clock(), time.monotonic()
        waited = turn.make_way()
        passed, by_the_wall = turn.clock() - before, time.monotonic() - wall
    neighbour.join(PATIENCE_S)
    assert begun == ["finished", "alone"]
    assert waited >= 0.25
    assert passed == pytest.approx(by_the_wall - waited, abs=0.05)


def test_locks_that_cannot_be_written_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match="file"), alone("cpu"):
        pass
    with pytest.raises(ResourceError, match="file"), sharing("cpu"):
        pass
