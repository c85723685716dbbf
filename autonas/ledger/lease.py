"""The right to write a study: one process at a time on a machine."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from autonas.errors import StudyError, resource_error


def is_running(name: str, folder: Path) -> bool:
    """Whether a process on this machine is at work on the study."""
    try:
        with study_lease(name, folder):
            return False
    except StudyError:
        return True


@contextlib.contextmanager
def study_lease(name: str, folder: Path) -> Iterator[None]:
    """The right to write a study, held by one process at a time on a machine and freed by its death.

    Raises:
        StudyError: another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lease").open("ab")
    except OSError as error:
        raise resource_error(error, folder) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StudyError(f"the study {name!r} is running in another process. Wait for it, or stop it first.") from error
        yield
