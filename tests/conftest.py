"""What all tests share: a cache of their own, and a small corpus of real code."""

from __future__ import annotations

import os
import shutil
import signal
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = (
    "asyncio",
    "collections",
    "concurrent",
    "email",
    "html",
    "http",
    "importlib",
    "json",
    "logging",
    "multiprocessing",
    "sqlite3",
    "unittest",
    "urllib",
    "wsgiref",
    "xml",
    "zoneinfo",
)


# A shell starts what runs in its background with SIGINT ignored, which the commands under test would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One token for every Ray of the tests, whether an engine starts it or a test does: a process cannot change it later.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = "0123456789abcdef" * 4


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Data sets and latencies of the tests are kept for the session, and the user's are left alone."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("AUTONAS_CACHE")
    os.environ["AUTONAS_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["AUTONAS_CACHE"]
    else:
        os.environ["AUTONAS_CACHE"] = before


@pytest.fixture(scope="session")
def code_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with about a megabyte of real Python in some projects: packages of the standard library."""
    folder = tmp_path_factory.mktemp("corpus")
    library = Path(sysconfig.get_path("stdlib"))
    for package in PACKAGES:
        shutil.copytree(library / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "test*", "*.so"))
    return folder
