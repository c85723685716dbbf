from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autonas.data.processes import apart, ordered_map
from autonas.errors import CorpusError, ResourceError
from tests.waiting import eventually, is_gone

ROOT = Path(__file__).parent.parent.parent


def slow_for_the_first(number: int) -> tuple[int, int]:
    import time

    time.sleep(0.2 if number == 0 else 0.0)
    return number, os.getpid()


def complain(number: int) -> int:
    if number == 3:
        raise CorpusError("of number 3")
    return number


def add_to_text(number: int) -> int:
    return number + "text"  # type: ignore[operator]


def die(number: int) -> int:
    os._exit(9)


def chatter(number: int) -> int:
    print("to standard output, where answers go")
    os.write(1, b"and past Python's own buffer")
    return number


def imported(name: str) -> tuple[bool, str]:
    __import__(name)
    return name in sys.modules, os.environ.get("ONLY_THERE", "")


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(processes: int) -> None:
    found = list(ordered_map(slow_for_the_first, range(7), processes))
    assert [number for number, _ in found] == list(range(7))
    used = {process for _, process in found}
    assert (used == {os.getpid()}) == (processes == 1)
    assert len(used) <= processes


@pytest.mark.parametrize("processes", [1, 2])
def test_an_exception_comes_through_as_itself(processes: int) -> None:
    results = ordered_map(complain, range(6), processes)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(CorpusError, match="of number 3"):
        next(results)


def test_a_bug_is_not_taken_for_a_request() -> None:
    with pytest.raises(RuntimeError, match="TypeError"):
        list(ordered_map(add_to_text, [3], 2))


def test_a_process_that_dies_is_one_message() -> None:
    with pytest.raises(ResourceError, match="without an answer"):
        list(ordered_map(die, [1], 2))


def test_what_is_printed_does_not_disturb_the_answers(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(ordered_map(chatter, [1, 2], 2)) == [1, 2]
    assert capfd.readouterr().out == ""


def test_giving_up_half_way_ends_the_processes() -> None:
    results = ordered_map(slow_for_the_first, range(100), 2)
    _, process = next(results)
    results.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_what_is_imported_apart_is_not_imported_here() -> None:
    sys.modules.pop("colorsys", None)
    assert apart(imported, "colorsys", {"ONLY_THERE": "yes"}) == (True, "yes")
    assert "ONLY_THERE" not in os.environ
    assert "colorsys" not in sys.modules


def leave_a_mark(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(120)


PARENT = """
import sys
from autonas.data.processes import apart
from tests.data.test_processes import leave_a_mark
apart(leave_a_mark, sys.argv[1], {})
"""


def test_a_child_at_work_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(mark)], stderr=subprocess.PIPE, cwd=ROOT, text=True) as parent:
        assert eventually(lambda: mark.exists() and mark.read_text() != "")
        parent.send_signal(signal.SIGKILL)
        _, complaints = parent.communicate(timeout=30)
    assert complaints == ""
    assert eventually(lambda: is_gone(int(mark.read_text())))


def test_files_in_the_working_directory_do_not_stand_in_for_the_librarys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "pickle", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    assert apart(complain, 1, {}) == 1


def test_a_request_that_the_child_cannot_read_is_one_message(capfd: pytest.CaptureFixture[str]) -> None:
    class Unreadable:
        def __reduce__(self) -> tuple[object, ...]:
            return int, ("no number",)

    with pytest.raises(ResourceError, match="without an answer"):
        apart(type, Unreadable(), {})
    assert "no number" in capfd.readouterr().err
