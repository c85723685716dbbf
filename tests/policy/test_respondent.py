"""A child process that is asked: it stays, is replaced when it dies, and never outlives who asks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autonas.errors import ResourceError
from autonas.policy.respondent import Respondent
from tests.waiting import eventually, is_gone

ECHO = "tests.policy.echo"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def respondent() -> Iterator[Respondent]:
    asked = Respondent(ECHO, "tests this", {"OMP_NUM_THREADS": "1"})
    yield asked
    asked.close()


def test_one_process_begins_with_the_first_question_and_answers_all(respondent: Respondent) -> None:
    assert respondent.pid is None
    first, second = respondent.ask({"n": 1}), respondent.ask({"n": "zwei — ü"})
    assert (first["n"], second["n"]) == (1, "zwei — ü")
    assert first["pid"] == second["pid"] == respondent.pid
    assert first["pid"] != os.getpid()
    assert first["threads"] == "1"


def test_killed_between_two_questions_it_is_replaced(respondent: Respondent) -> None:
    first = respondent.ask({})["pid"]
    os.kill(first, signal.SIGKILL)
    assert respondent.ask({"n": 2})["n"] == 2
    assert respondent.pid != first


def test_killed_while_it_thinks_its_successor_answers(respondent: Respondent, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.append(respondent.ask({"once": str(mark), "n": 3})["n"]))
    asking.start()
    assert eventually(lambda: mark.exists() and mark.read_text() != "")
    os.kill(int(mark.read_text()), signal.SIGKILL)
    asking.join(30)
    assert answers == [3]


def test_a_question_that_kills_two_processes_is_one_clear_error(respondent: Respondent) -> None:
    with pytest.raises(ResourceError, match=r"that tests this died twice \(exit code -9\).*--resume") as caught:
        respondent.ask({"die": True})
    assert "\n" not in str(caught.value)
    assert respondent.ask({"n": 4})["n"] == 4


def test_its_last_words_are_quoted() -> None:
    with pytest.raises(ResourceError, match=r"No module named 'tests\.policy\.nowhere'"):
        Respondent("tests.policy.nowhere", "is not there", {}).ask({})


def test_what_the_asked_function_raises_is_shown_and_ends_nothing(respondent: Respondent) -> None:
    first = respondent.ask({})["pid"]
    with pytest.raises(RuntimeError, match="ValueError: no such luck"):
        respondent.ask({"fail": "no such luck"})
    assert respondent.ask({})["pid"] == first


def test_the_answer_to_an_interrupted_question_is_not_given_to_the_next(respondent: Respondent) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    respondent.ask({})
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            respondent.ask({"n": 5, "sleep": 0.5})
    finally:
        signal.signal(signal.SIGALRM, before)
    assert respondent.ask({"n": 6})["n"] == 6


ASKER = f"""
import sys
from autonas.policy.respondent import Respondent
respondent = Respondent({ECHO!r}, "tests this", {{}})
respondent.ask({{}})
try:
    print(respondent.pid, flush=True)
    respondent.ask({{"sleep": 60}})
except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_who_asks_leaves_neither_child_nor_its_traceback(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ASKER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    ) as asker:
        assert asker.stdout is not None
        child = int(asker.stdout.readline())
        time.sleep(0.2)
        os.killpg(asker.pid, how)
        _, complaints = asker.communicate(timeout=30)
    assert complaints == ("interrupted\n" if how == signal.SIGINT else "")
    assert eventually(lambda: is_gone(child))


def test_the_child_ends_with_a_script_that_ends() -> None:
    script = ASKER[: ASKER.index("try:")] + "print(respondent.pid)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert eventually(lambda: is_gone(int(done.stdout)))
    assert done.stderr == ""
