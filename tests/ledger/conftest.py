"""The storages that a ledger is tested on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ledger.examples import Made


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A real server of its own, in a temporary folder, on the loopback address."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = found[-1] if found else Path(shutil.which("initdb") or "")
    if not initdb.is_file():
        pytest.skip("no PostgreSQL server is installed")
    with tempfile.TemporaryDirectory(prefix="autonas-postgresql-") as folder:
        # The server refuses to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
        data, port = f"{folder}/data", 20_000 + os.getpid() % 20_000
        make = [str(initdb), "-D", data, "-A", "trust", "-U", "autonas", "--no-sync"]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, user=user)
        serve = [str(initdb.with_name("postgres")), "-D", data, "-k", folder, "-p", str(port), "-h", "127.0.0.1"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(serve, stdout=quiet, stderr=quiet, cwd=folder, user=user) as server:
            try:
                ready = [str(initdb.with_name("pg_isready")), "-h", "127.0.0.1", "-p", str(port)]
                for _ in range(200):
                    if subprocess.run(ready, capture_output=True, check=False).returncode == 0:
                        break
                    time.sleep(0.1)
                yield f"postgresql://autonas@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql"))
    return f"sqlite:///{tmp_path}/study.db" if request.param == "sqlite" else None


@pytest.fixture
def made() -> Iterator[Made]:
    """Closes, at the end of the test, every ledger that went through it."""
    with contextlib.ExitStack() as stack:
        yield lambda ledger: stack.enter_context(contextlib.closing(ledger))
