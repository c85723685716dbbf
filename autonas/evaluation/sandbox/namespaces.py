"""The walls as we build them where bubblewrap is missing: a process shuts itself in, and then becomes the interpreter."""

from __future__ import annotations

import json

from autonas.evaluation.sandbox.bundle import boot, bundle, shared
from autonas.evaluation.sandbox.interpreter import ENVIRONMENT, Interpreter, outside_executable


def command(
    interpreter: Interpreter, inner: list[str], *, temporary_bytes: int, files: int, filter_program: bytes, info_descriptor: int
) -> tuple[list[str], tuple[int, ...]]:
    """`inner` within the walls, and the descriptors that it needs beside its own, to be closed here after the start."""
    plan = {
        "binds": interpreter.binds,
        "masks": interpreter.masks,
        "temporary_bytes": temporary_bytes,
        "files": files,
        "environment": ENVIRONMENT,
        "filter": filter_program.hex(),
        "command": inner,
    }
    return _started("enter", json.dumps(plan).encode(), info_descriptor)


def weak_command(inner: list[str], *, filter_program: bytes | None) -> tuple[list[str], tuple[int, ...]]:
    """`inner` with a filter at most, in the file system, the network and among the processes of this machine."""
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "LD_LIBRARY_PATH"}
    plan = {"environment": environment, "filter": filter_program and filter_program.hex(), "command": inner}
    return _started("enter", json.dumps(plan).encode(), -1)


def _started(role: str, plan: bytes, *numbers: int) -> tuple[list[str], tuple[int, ...]]:
    descriptors = (shared(bundle(role)), shared(plan))
    line = [outside_executable(), "-I", "-S", "-B", "-X", "utf8", "-c", boot(), role]
    return [*line, *map(str, (*descriptors, *numbers))], descriptors
