"""A process that looks around within the walls, says what it sees, and waits until it is looked at from without."""

# Paths by `os`: within the walls as little is imported as can be.
# ruff: noqa: PTH108, PTH109, PTH110, PTH118, PTH208
from __future__ import annotations

import os
import resource
import socket
import struct
from collections.abc import Callable
from typing import Any

from . import limiting, values


def main(text: bytes, incoming: int, outgoing: int) -> None:
    """Report what is seen; then wait for the end of `incoming`."""
    job = values.decode_job(text)
    seen: dict[str, Any] = {
        "pid": os.getpid(),
        "session": os.getsid(0),
        "environment": sorted(os.environ),
        "descriptors": sorted(set(_open_descriptors()) - {0, 1, 2, incoming, outgoing}),
        "root": sorted(os.listdir("/")),
        "hidden": [path for path in job["hidden"] if os.path.exists(path)],
        "writable": [path for path in job["read_only"] if _succeeds(_write, path)],
        "folder": _succeeds(_write, os.getcwd()) and os.getcwd(),
        "folder_bytes": _size(os.getcwd()),
        "socket": _succeeds(_socket, socket.AF_INET),
        "unix_socket": _succeeds(_socket, socket.AF_UNIX),
        "fork": _succeeds(_fork),
    }
    limiting.limit_process(job["limits"])
    seen["limits"] = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1] for name in job["limits"]}
    data = values.encode_job(seen)
    os.write(outgoing, struct.pack("<I", len(data)) + data)
    os.read(incoming, 1)


def _succeeds(attempt: Callable[..., object], *arguments: object) -> bool:
    try:
        attempt(*arguments)
    except OSError:
        return False
    return True


def _write(folder: str) -> None:
    path = os.path.join(folder, "probe")
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.unlink(path)


def _socket(family: int) -> None:
    socket.socket(family).close()


def _size(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_blocks * found.f_frsize


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _open_descriptors() -> list[int]:
    found = []
    for number in range(min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 4096)):
        try:
            os.fstat(number)
        except OSError:
            continue
        found.append(number)
    return found
