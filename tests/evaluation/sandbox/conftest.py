"""A sandbox for the folder, and a victim: what attacks look for, planted on this machine."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from autonas.evaluation.sandbox import Limits, Sandbox

if not sys.platform.startswith("linux"):
    collect_ignore_glob = ["test_*.py"]

_BE_SUBREAPER = 36


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """With time enough for a busy machine: what ends by itself is not to be stopped."""
    with Sandbox.open(limits=Limits(seconds=30.0)) as opened:
        yield opened


@pytest.fixture(scope="session")
def impatient(sandbox: Sandbox) -> Sandbox:
    """For programs that never end."""
    return sandbox.with_limits(Limits(seconds=1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Victim:
    """What is planted, and who listens."""

    words: dict[str, str]
    listeners: tuple[socket.socket, ...]
    folders: tuple[Path, ...]
    mark: Path

    def unharmed(self) -> bool:
        """Nobody has called, and nothing was written."""
        called = select.select(self.listeners, [], [], 0)[0]
        return not called and not self.mark.exists() and self.files() == {"autonas-secret", "unix"}

    def files(self) -> set[str]:
        """The names of all planted files, and of those that should not be there."""
        return {path.name for folder in self.folders for path in folder.iterdir()}


@pytest.fixture(scope="module")  # folder and home are the process's own meanwhile
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    home, here = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("here")
    for folder in (home, here):
        (folder / "autonas-secret").write_text("autonas-secret")
    name = f"autonas-{uuid.uuid4().hex}"
    tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    unix, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    listeners = (tcp, udp, unix, abstract)
    before, environment = Path.cwd(), dict(os.environ)
    try:
        for internet in (tcp, udp):
            internet.bind(("127.0.0.1", 0))
        os.chdir(home)  # a socket's path has to be short
        unix.bind("unix")
        abstract.bind(f"\0{name}")
        for listener in (tcp, unix, abstract):
            listener.listen()
        os.chdir(here)
        os.environ.update({"HOME": str(home), "AUTONAS_SECRET": "autonas-secret"})
        mark = Path("/tmp", name)
        words = {
            "HOME": str(home),
            "SECRET": str(home / "autonas-secret"),
            "SECRET_HERE": str(here / "autonas-secret"),
            "SOURCES": str(Path(__file__).parents[3]),
            "HOST_PID": str(os.getpid()),
            "PORT": str(tcp.getsockname()[1]),
            "UDP": str(udp.getsockname()[1]),
            "UNIX": str(home / "unix"),
            "ABSTRACT": name,
            "MARK": str(mark),
        }
        yield Victim(words=words, listeners=listeners, folders=(home, here), mark=mark)
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(environment)
        for listener in listeners:
            listener.close()


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No process and no descriptor more than before. Orphans come to this process, so that they are seen."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(_BE_SUBREAPER, 1, 0, 0, 0) == 0
    processes, descriptors = set(psutil.Process().children(recursive=True)), set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    try:
        yield
        assert set(psutil.Process().children(recursive=True)) <= processes
        assert set(os.listdir("/proc/self/fd")) <= descriptors  # noqa: PTH208
    finally:
        libc.prctl(_BE_SUBREAPER, 0, 0, 0, 0)
