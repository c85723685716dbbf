from __future__ import annotations

import getpass
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from autonas import machine
from autonas.errors import RequestError
from autonas.machine import commit, environment, num_cores, package_version, resolve_threads


def test_the_environment_is_json_and_names_no_person_and_no_place() -> None:
    found = environment()
    text = json.dumps(found)
    assert json.loads(text) == found
    assert found["packages"]["numpy"] and found["cores"] >= 1 and found["memory_bytes"] > 2**28 and found["processor"]
    words = set(text.replace('"', " ").replace(",", " ").split())
    assert platform.node() not in words and getpass.getuser() not in words
    assert str(Path(__file__).parents[1]) not in text


def test_needs_no_torch() -> None:
    code = "import sys; from autonas.machine import environment; environment(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_the_commit_is_of_a_checkout_that_tracks_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "autonas"
    package.mkdir()
    for name in ("__init__.py", "machine.py"):
        (package / name).write_text("")
    monkeypatch.setattr(machine, "__file__", str(package / "machine.py"))
    assert commit() is None  # no repository
    git(tmp_path, "init")
    assert commit() is None  # somebody's repository, which does not track the package
    git(tmp_path, "add", ".")
    assert commit() is None  # nothing committed yet
    git(tmp_path, "commit", "-m", "first")
    head = commit()
    assert head is not None and len(head) == 40
    (package / "machine.py").write_text("changed = 1\n")
    assert commit() == f"{head}+changes"


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert package_version("no-such-distribution-anywhere") is None and package_version("numpy")


def test_threads_are_shared_by_workers_and_never_fewer_than_one() -> None:
    assert resolve_threads() == num_cores()
    assert resolve_threads(workers=10_000) == 1
    assert resolve_threads(3, workers=10) == 3
    with pytest.raises(RequestError, match="threads: 0"):
        resolve_threads(0)


PINNED = """
import os, sys
from autonas.machine import pin_threads
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
from autonas.machine import num_cores, pin_threads
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
    code = "from autonas.machine import pin_threads; print(pin_threads(1))"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("not pinned: ") and "File exists" in run.stdout


def test_what_pinning_does_not_know_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONAS_PIN", "true")
    with pytest.raises(RequestError, match="AUTONAS_PIN is 'true'; set it to 1"):
        machine.pin_threads(1)


def test_nobody_is_pinned_who_did_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUTONAS_PIN", raising=False)
    cores = num_cores()
    assert machine.pin_threads(1) == "" and num_cores() == cores
