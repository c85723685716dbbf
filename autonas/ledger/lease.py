"""The right to write a study, or a full run: one process at a time on a machine, by a lock that is freed with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from autonas.errors import StudyError, resource_error

_NAME = "lease"
_PATIENCE_S = 1.0  # who asks whether a study runs holds its lock for a moment, and must not end a search that begins then


def is_running(name: str, folder: Path) -> bool:
    """Whether a process on this machine is at work on the study. Leaves nothing behind."""
    return _is_held(folder, f"the study {name!r}")


def run_is_at_work(folder: Path) -> bool:
    """Whether a process on this machine is at work on the full run in `folder`. Leaves nothing behind."""
    return _is_held(folder, "the run")


@contextlib.contextmanager
def study_lease(name: str, folder: Path) -> Iterator[None]:
    """The right to write a study, held by one process at a time on a machine and freed by its death.

    Raises:
        StudyError: another process holds it.
    """
    with _lease(folder, f"the study {name!r} is running in another process. Wait for it, or stop it first."):
        yield


@contextlib.contextmanager
def run_lease(folder: Path) -> Iterator[None]:
    """The right to carry out the full run in `folder`, as `study_lease`.

    Raises:
        StudyError: another process holds it.
    """
    with _lease(folder, f"the run in {folder} is at work in another process. Wait for it, or stop it first."):
        yield


@contextlib.contextmanager
def _lease(folder: Path, complaint: str) -> Iterator[None]:
    """The lock of `folder`, which is made for it and goes again if nothing else has come into it."""
    try:
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        file = _wait_for(folder)
    except OSError as error:
        raise resource_error(error, folder) from error
    if file is None:
        raise StudyError(complaint)
    with file:
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if [path.name for path in folder.iterdir()] == [_NAME]:
                    (folder / _NAME).unlink()
                    for path in made:
                        path.rmdir()


def _wait_for(folder: Path) -> BinaryIO | None:
    deadline = time.monotonic() + _PATIENCE_S
    while (file := _try(folder)) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return file


def _try(folder: Path) -> BinaryIO | None:
    """The locked file, or None while another process has it."""
    path = folder / _NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        if folder.is_file():
            raise
        return None  # whoever held it removed it just now
    with contextlib.ExitStack() as stack, contextlib.suppress(BlockingIOError, FileNotFoundError):
        file = stack.enter_context(path.open("ab"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have removed it with its folder: the lock of a file that is gone keeps nobody out.
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            stack.pop_all()
            return file
    return None


def _is_held(folder: Path, what: str) -> bool:
    try:
        with (folder / _NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who ask are no writers to each other
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        place = folder / _NAME
        raise StudyError(f"{place}: whether {what} is at work cannot be told ({error.strerror}). Make it readable.") from error
    return False
