"""The files that run within the walls, compiled once, and bytes that processes share without a file."""

from __future__ import annotations

import fcntl
import functools
import marshal
import os
from pathlib import Path

_INSIDE = Path(__file__).parent / "inside"
# What each role needs, in the order in which they import each other.
_ROLES = {
    "candidate": ("values", "wire", "limiting", "exceptions", "operations", "candidate"),
    "tester": ("values", "wire", "limiting", "exceptions", "remote", "tester"),
    "probe": ("values", "limiting", "probe"),
    "enter": ("values", "enter"),
}


@functools.cache
def boot() -> str:
    """The text that the interpreter within the walls is started with."""
    return (_INSIDE / "boot.py").read_text()


@functools.cache
def bundle(role: str) -> bytes:
    """The modules that `role` needs, compiled for this interpreter."""
    codes = {"inside": compile("", "inside", "exec")}
    for name in _ROLES[role]:
        codes[f"inside.{name}"] = compile((_INSIDE / f"{name}.py").read_text(), f"inside/{name}.py", "exec", dont_inherit=True)
    return marshal.dumps(codes)


def shared(data: bytes) -> int:
    """A descriptor of `data` in memory that nobody can change any more."""
    descriptor = os.memfd_create("autonas", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    return descriptor
