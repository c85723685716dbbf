"""Leases: one process at a time, whatever others ask meanwhile, and nothing left behind by who was refused."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from autonas import cli
from autonas.errors import ResourceError, StudyError
from autonas.ledger import is_running, run_is_at_work, run_lease, study_lease


def test_a_second_one_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    with study_lease("study", folder):
        assert is_running("study", folder)
        with pytest.raises(StudyError, match="the study 'study' is running in another process"), study_lease("study", folder):
            pass
        with pytest.raises(StudyError, match="is at work in another process"), run_lease(folder):
            pass
        assert is_running("study", folder), "the refused ones have taken nothing away"
    assert not is_running("study", folder)


def test_asking_whether_a_study_runs_leaves_nothing_and_disturbs_nobody(tmp_path: Path) -> None:
    assert not is_running("study", tmp_path / "none")
    assert not run_is_at_work(tmp_path / "none" / "run")
    assert list(tmp_path.iterdir()) == []
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "recipe.yaml").touch()
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            is_running("study", folder)

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    try:
        for _ in range(100):
            with study_lease("study", folder):
                pass
    finally:
        ended.set()
        for asker in askers:
            asker.join()


def test_two_who_ask_are_not_taken_for_writers(tmp_path: Path) -> None:
    (tmp_path / "lease").touch()
    answers: list[bool] = []
    askers = [threading.Thread(target=lambda: answers.extend(is_running("s", tmp_path) for _ in range(300))) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert not any(answers)


def test_whoever_holds_it_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    held = threading.Event()

    def hold() -> None:
        with study_lease("study", tmp_path):
            held.set()
            time.sleep(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    with study_lease("study", tmp_path):
        assert is_running("study", tmp_path)
    holder.join()


def test_a_lease_alone_goes_with_what_was_made_for_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), study_lease("study", tmp_path / "trials" / "study"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with run_lease(tmp_path / "mine"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine"], "a folder that was there stays"
    with run_lease(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
    assert (tmp_path / "run" / "file").exists()


def test_a_lease_that_comes_and_goes_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(30):
            with study_lease("study", tmp_path / "study"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(most) == 90
    assert max(most) == 1


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="file/run: cannot be written"), run_lease(tmp_path / "file" / "run"):
        pass
    assert not run_is_at_work(tmp_path / "file" / "run")


@pytest.mark.parametrize("command", ["status", "clean", "cancel", "front", "promote"])
def test_commands_on_no_study_leave_nothing(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    assert cli.main([command, "nope"]) == 2
    assert list(tmp_path.iterdir()) == []
