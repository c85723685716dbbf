from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autonas.errors import RequestError
from autonas.machine import num_cores
from autonas.pinning import pin_threads

PINNED = """
import os, sys
from autonas.pinning import pin_threads
import threading
stay = threading.Event()
before = threading.Thread(target=stay.wait, daemon=True)
before.start()
said = pin_threads(int(sys.argv[1]))
assert pin_threads(int(sys.argv[1])) == said
print(said, sorted(os.sched_getaffinity(before.native_id)), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins nothing")
def test_processes_are_pinned_to_cores_of_their_own_until_they_end(tmp_path: Path) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core")
    environment = {**os.environ, "AUTONAS_PIN": "1", "TMPDIR": str(tmp_path)}
    running: list[subprocess.Popen[str]] = []

    def begin(count: int) -> str:
        command = [sys.executable, "-c", PINNED, str(count)]
        running.append(subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        output = running[-1].stdout
        assert output is not None
        return output.readline().strip()

    try:
        most = len(cores) - 1
        assert begin(1) == f"pinned to {cores[0]} [{cores[0]}]"
        assert begin(most) == f"pinned to {', '.join(map(str, cores[1:]))} {cores[1:]}"
        assert begin(1) == f"not pinned: 0 of {len(cores)} cores were free for 1 {cores}"
        running[0].kill()
        running[0].wait()
        assert begin(1) == f"pinned to {cores[0]} [{cores[0]}]", "a core whose process was killed is free again"
    finally:
        for process in running:
            process.kill()
            process.communicate()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins nothing")
def test_who_asks_for_more_cores_gets_more_or_none_and_knows_all_of_them_still(tmp_path: Path) -> None:
    code = """
from autonas.machine import num_cores
from autonas.pinning import pin_threads
all_cores = num_cores()
print(pin_threads(1).startswith("pinned to"), pin_threads(1) == pin_threads(1), num_cores() == all_cores)
print(pin_threads(all_cores).count(",") == all_cores - 1, num_cores() == all_cores)
print(pin_threads(all_cores + 1).startswith("not pinned: "), num_cores() == all_cores)
import os
print(len(os.sched_getaffinity(0)) == all_cores)
"""
    environment = {**os.environ, "AUTONAS_PIN": "1", "TMPDIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) == {"True"}
    tmp_path.joinpath(f"autonas-cores-{os.getuid()}").rename(tmp_path / "away")
    tmp_path.joinpath(f"autonas-cores-{os.getuid()}").write_text("a file")
    code = "from autonas.pinning import pin_threads; print(pin_threads(1))"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("not pinned: ") and "File exists" in run.stdout


def test_what_pinning_does_not_know_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONAS_PIN", "true")
    with pytest.raises(RequestError, match="AUTONAS_PIN is 'true'; set it to 1"):
        pin_threads(1)


def test_nobody_is_pinned_who_did_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTONAS_PIN", raising=False)
    cores = num_cores()
    assert pin_threads(1) == "" and num_cores() == cores
