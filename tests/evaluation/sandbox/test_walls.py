"""All walls stand, or nothing is opened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from autonas.errors import ResourceError
from autonas.evaluation.sandbox import Limits, Sandbox, bubblewrap, describe
from autonas.evaluation.sandbox.enclosure import Enclosure
from autonas.evaluation.sandbox.interpreter import this_interpreter
from autonas.evaluation.sandbox.walls import NoWalls, measure

ROOT = Path(__file__).parents[3]
ADD, TESTS = "def add(a, b):\n    return a + b\n", "assert add(1, 2) == 3\n"
NAMES = {
    *(f"{name} namespace" for name in ("user", "pid", "network", "mount", "ipc", "uts")),
    *("empty file system", "temporary folder", "no capabilities", "no new privileges", "system call filter", "resource limits"),
    *("empty environment", "closed descriptors", "own session"),
}
SCRIPT = f"""
from autonas.evaluation.sandbox import Sandbox
with Sandbox.open() as sandbox:
    print(all(wall.stands for wall in sandbox.walls.values()), sandbox.check({ADD!r}, {TESTS!r}).status)
    print(sandbox.check("open('/etc/passwd')", {TESTS!r}).status)
"""


def test_all_walls_stand_and_are_told(sandbox: Sandbox) -> None:
    assert set(sandbox.walls) == NAMES
    assert all(wall.stands for wall in sandbox.walls.values())
    assert not sandbox.weak
    lines = describe(sandbox.walls)
    assert len(lines) == len(NAMES)
    assert all(line.startswith("stands") for line in lines)


def test_without_bubblewrap_the_walls_are_made_here(monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> None:
    monkeypatch.setenv("PATH", "")
    with Sandbox.open(limits=Limits(seconds=30.0)) as sandbox:
        assert set(sandbox.walls) == NAMES
        assert "without bubblewrap" in sandbox.walls["network namespace"].how
        assert sandbox.check(ADD, TESTS).passed
        assert not sandbox.check("open('/etc/passwd')\n" + ADD, TESTS).passed


def test_a_bubblewrap_that_builds_nothing_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It runs the command as it is: in the file system, the network and among the processes of this machine.
    fake = tmp_path / "bwrap"
    fake.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "info = int(sys.argv[sys.argv.index('--info-fd') + 1])\n"
        "os.write(info, json.dumps({'child-pid': os.getpid()}).encode())\n"
        "command = sys.argv[sys.argv.index('--') + 2 :]\n"
        "os.execv(sys.executable, [sys.executable, *command])\n"
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    interpreter = this_interpreter()
    walls = measure(Enclosure(builder="bubblewrap", interpreter=interpreter, limits=Limits(), bwrap=str(fake)))
    standing = {name for name, wall in walls.items() if wall.stands}
    assert standing <= {"resource limits", "own session", "empty environment"}
    with Sandbox.open() as sandbox:
        assert "without bubblewrap" in sandbox.walls["user namespace"].how
    fake.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(NoWalls):
        measure(Enclosure(builder="bubblewrap", interpreter=interpreter, limits=Limits(), bwrap=str(fake)))


@pytest.mark.parametrize(
    ("missing", "wall"),
    [
        ("--unshare-net", "network namespace"),
        ("--unshare-ipc", "ipc namespace"),
        ("--as-pid-1", "own session"),
        ("--new-session", "own session"),
        ("--cap-drop", "no capabilities"),
        ("--remount-ro", "empty file system"),
        ("--size", "temporary folder"),
        ("--seccomp", "system call filter"),
    ],
)
def test_each_wall_that_is_left_out_is_missed(missing: str, wall: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("bubblewrap is not installed")
    if missing == "--cap-drop" and os.getuid() != 0:
        pytest.skip("for an ordinary user bubblewrap drops them by itself")
    build = bubblewrap.command

    def careless(*arguments: Any, **named: Any) -> list[str]:
        line = build(*arguments, **named)
        place = len(line) - 1 - line[::-1].index(missing)
        return line[:place] + line[place + (1 if line[place + 1].startswith("--") else 2) :]

    monkeypatch.setattr(bubblewrap, "command", careless)
    walls = measure(Enclosure(builder="bubblewrap", interpreter=this_interpreter(), limits=Limits(), bwrap=bwrap))
    assert not walls[wall].stands


def test_where_no_namespace_can_be_had_it_is_closed(tmp_path: Path) -> None:
    # Within a namespace whose kernel allows no further one, and without a bubblewrap to find.
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("bubblewrap is not installed")
    script = (
        "from autonas.errors import ResourceError\nfrom autonas.evaluation.sandbox import Sandbox, describe\n"
        "try:\n    Sandbox.open()\n    print('opened')\nexcept ResourceError as error:\n    print('closed:', error)\n"
        f"with Sandbox.open(allow_weak=True) as sandbox:\n    print(sandbox.weak, sandbox.check({ADD!r}, {TESTS!r}).status)\n"
        f"    print(sandbox.check('import os\\nos.fork()\\n' + {ADD!r}, {TESTS!r}).status)\n"
        f"    print(sandbox.check('import os\\nos.kill(os.getppid(), 9)\\n' + {ADD!r}, {TESTS!r}).status)\n"
        "    print(*describe(sandbox.walls), sep='\\n')\n"
    )
    line = [bwrap, "--unshare-user", "--disable-userns", "--dev-bind", "/", "/", "--proc", "/proc", "--unshare-pid", "--"]
    for path in ("", os.environ["PATH"]):
        done = subprocess.run(
            [*line, sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env={"PATH": path}, timeout=120
        )
        assert done.returncode == 0, done.stderr
        first, *others = done.stdout.splitlines()
        assert first.startswith("closed: no sandbox for generated code can be built here")
        assert "Install bubblewrap" in first
        assert others[:3] == ["True passed", "error", "error"]
        missing = [line for line in others[3:] if line.startswith("MISSING")]
        assert {"MISSING  empty file system", "MISSING  pid namespace"} <= {line.partition(":")[0] for line in missing}
        assert others[3:][: len(missing)] == missing  # the missing ones first


def test_another_kind_of_processor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(ResourceError, match="x86-64 and aarch64"):
        Sandbox.open()


def test_another_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ResourceError, match="Linux"):
        Sandbox.open(allow_weak=True)


@pytest.mark.parametrize("path", ["/usr/bin:/bin", "/nowhere"])
def test_an_ordinary_user_has_the_same_walls(path: str) -> None:
    """As nobody where the tests run as root; else this user is one."""
    python, user = sys.executable, None
    if os.getuid() == 0:
        # Root's interpreter may lie where nobody else may look.
        found = next((name for name in ("python3.13", "python3.12", "python3.11") if shutil.which(name, path="/usr/bin")), None)
        if found is None:
            pytest.skip("no interpreter that everybody may run")
        python, user = f"/usr/bin/{found}", 65534
    done = subprocess.run(
        [python, "-c", SCRIPT],
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        user=user,
        group=user,
        extra_groups=None if user is None else (),
        timeout=120,
    )
    assert done.stdout.splitlines() == ["True passed", "error"], done.stderr


def test_the_door_tells_the_walls() -> None:
    line = [sys.executable, "-m", "autonas.evaluation.sandbox"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == len(NAMES)


@pytest.mark.parametrize("path", [os.environ["PATH"], "/nowhere"])
def test_all_of_it_dies_with_autonas(path: str) -> None:
    script = (
        "from autonas.evaluation.sandbox import Limits, Sandbox\n"
        f"Sandbox.open(limits=Limits(seconds=300.0, cpu_s=300.0)).check('while True:\\n    pass', {TESTS!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env={"PATH": path})
    try:
        deadline = time.monotonic() + 60
        inside: list[psutil.Process] = []
        while len(inside) < 4:  # two processes, each behind the one that built its walls
            assert time.monotonic() < deadline
            time.sleep(0.05)
            found = psutil.Process(process.pid).children(recursive=True)
            inside = found if any("candidate" in command(each) and busy(each) for each in found) else []
    finally:
        process.kill()
        process.wait()
    assert psutil.wait_procs(inside, timeout=30)[1] == []


def command(process: psutil.Process) -> list[str]:
    """The words of its command line; none where it has just ended."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def busy(process: psutil.Process) -> bool:
    """Whether it computes: so the program has been reached."""
    try:
        return process.cpu_times().user > 0.3
    except psutil.Error:
        return False
