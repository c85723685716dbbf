"""Where prepared data lies and how it gets there: whole or not at all, whoever else builds the same. Knows nothing of tokens.

A cache holds `datasets/<fingerprint>/`, published by an atomic rename, and `index/<key>`, hints that say which data set a
request led to the last time.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from autonas.errors import resource_error

_BUILDING = ".building-"
_ABANDONED_S = 24 * 3600


def key_of(*parts: Any) -> str:
    """A name for JSON-ready values: the same values, the same name."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def write_file(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, flush it to the disk, and put it in place in one step. Makes the folder.

    Raises:
        ResourceError: no space or no permission.
    """
    write_stream(path, [data])


def write_stream(path: Path, blocks: Iterable[bytes]) -> None:
    """As `write_file`, of blocks that are made meanwhile. What making one raises is raised here, and nothing is put in place.

    Raises:
        ResourceError: no space or no permission.
    """
    temporary = _beside(path, ".writing-")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise resource_error(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def building(final: Path) -> Iterator[Path]:
    """A fresh folder to build in; it becomes `final` when the block ends well, unless another process was first.

    Renaming a folder onto one that has files fails: the first builder wins, the later one throws its equal work away.

    Raises:
        ResourceError: no space or no permission.
    """
    temporary = _beside(final, _BUILDING)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _sweep(final.parent)
        temporary.mkdir()
        yield temporary
        try:
            temporary.rename(final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    except OSError as error:
        raise resource_error(error, final) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recall(cache: Path, key: str) -> str | None:
    """The fingerprint remembered for `key`. A hint that cannot be read is no hint."""
    try:
        return (cache / "index" / key).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def remember(cache: Path, key: str, fingerprint: str) -> None:
    """Let `recall` find `fingerprint`. Raises ResourceError."""
    write_file(cache / "index" / key, fingerprint.encode("ascii"))


def _sweep(folder: Path) -> None:
    """Remove what builders left that were killed more than a day ago."""
    for path in folder.glob(f"{_BUILDING}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - _ABANDONED_S:
                shutil.rmtree(path, ignore_errors=True)


def _beside(path: Path, prefix: str) -> Path:
    """A name that no other process uses, on the same file system, so that a rename suffices."""
    return path.with_name(f"{prefix}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
