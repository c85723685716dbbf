from __future__ import annotations

import getpass
import json
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
