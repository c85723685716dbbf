"""Which attempt may write in a folder of checkpoints: the latest. A worker that outlived its controller stops, once superseded.

Attempts of a study are numbered in order. Writing is atomic and training is deterministic, so the moment between a check and
the write that follows can do no harm but lose time.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from autonas.errors import StudyError, resource_error

_NAME = "attempt"


def claim_attempt(folder: Path, attempt: int) -> None:
    """Make `folder` that of `attempt`; earlier ones will stop when they next look.

    Raises:
        StudyError: a later attempt has claimed it already.
        ResourceError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_attempt(folder, attempt)
        partial = folder / f"{_NAME}.{os.getpid()}.tmp"
        partial.write_text(f"{attempt}\n", encoding="ascii")
        partial.replace(folder / _NAME)
    except OSError as error:
        raise resource_error(error, folder) from error


def check_attempt(folder: Path, attempt: int) -> None:
    """See that no later attempt has claimed `folder`.

    Raises:
        StudyError: one has. Unlike a worker that was lost, this is never to be tried again: somebody else is at it.
    """
    latest = None
    with contextlib.suppress(OSError, ValueError):
        latest = int((folder / _NAME).read_text(encoding="ascii"))
    if latest is not None and latest > attempt:
        raise StudyError(
            f"{folder}: attempt {attempt} was superseded by attempt {latest}: another process has taken over. "
            "Leave it to that one, or stop it and go on here with --resume."
        )
