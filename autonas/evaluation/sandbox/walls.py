"""Which walls stand, measured: a process within looks around, and the kernel is asked about it from without."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas.evaluation.sandbox.enclosure import Enclosure
from autonas.evaluation.sandbox.inside.values import Garbled, decode_job
from autonas.evaluation.sandbox.interpreter import ENVIRONMENT, HOME
from autonas.evaluation.sandbox.verdict import one_line

_NAMESPACES = {"user": "user", "pid": "pid", "network": "net", "mount": "mnt", "ipc": "ipc", "uts": "uts"}
_SYSTEM_FOLDERS = {"lib", "lib32", "lib64", "usr", HOME.lstrip("/"), "dev", "tmp"}
_LONGEST = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Wall:
    """One wall: whether it stands, and how, or why not."""

    stands: bool
    how: str


class NoWalls(Exception):
    """Nothing could be started that way; the text says why."""


def measure(enclosure: Enclosure) -> Mapping[str, Wall]:
    """The walls of an enclosure, by name.

    Raises:
        NoWalls: no process starts there.
    """
    secret = Path(__file__)  # a file of autonas, which no program may see
    job = {"hidden": [str(secret), "/proc/self", "/etc", "/home", "/root"], "read_only": ["/", HOME, "/lib", "/dev"]}
    go_on, go_on_in = os.pipe()
    said, said_in = os.pipe()
    output, output_in = os.pipe()
    opened = [go_on, go_on_in, said, said_in, output, output_in]
    inmate = None
    try:
        try:
            inmate = enclosure.start("probe", job, (go_on, said_in), output_in)
        except OSError as error:
            raise NoWalls(str(error)) from error
        for descriptor in (said_in, output_in):
            os.close(descriptor)
            opened.remove(descriptor)
        seen = _read(said)
        if seen is None:
            raise NoWalls(one_line(os.read(output, 4096).decode(errors="replace")) or "no process starts there")
        first = inmate.first_process()
        if first is None:
            raise NoWalls("no first process is named")
        walls = _walls(enclosure, seen, first)
        try:
            inmate.files()
        except OSError as error:
            walls["temporary folder"] = Wall(stands=False, how=f"its files cannot be counted: {error.strerror}")
        return walls
    finally:
        if inmate is not None:
            inmate.end()
        for descriptor in opened:
            os.close(descriptor)


def _walls(enclosure: Enclosure, seen: dict[str, Any], first: int) -> dict[str, Wall]:
    by = {"bubblewrap": "bubblewrap", "namespaces": "made here, without bubblewrap", "none": "nothing"}[enclosure.builder]
    walls = {f"{name} namespace": _namespace(first, file, by) for name, file in _NAMESPACES.items()}
    if seen["pid"] != 1:
        walls["pid namespace"] = Wall(stands=False, how="the program sees the processes of this machine")
    strange = sorted({*seen["root"]} - _SYSTEM_FOLDERS)
    open_places = [*seen["hidden"], *(f"/{name}" for name in strange), *(f"{place} (writable)" for place in seen["writable"])]
    walls["empty file system"] = _wall(
        not open_places, "read-only, the interpreter alone, no /proc", f"the program reaches {', '.join(open_places[:4])}, …"
    )
    limited = seen["folder_bytes"] <= enclosure.limits.file_bytes + (1 << 16)
    walls["temporary folder"] = _wall(
        bool(seen["folder"]) and limited,
        f"in memory, {enclosure.limits.file_bytes} bytes, gone with the process",
        "no folder of its own with a limit",
    )
    status = _status(first)
    capabilities = [name for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status.get(name, "1"), 16) != 0]
    walls["no capabilities"] = _wall(not capabilities, "none, and none to be had", f"{', '.join(capabilities)} are not empty")
    walls["no new privileges"] = _wall(status.get("NoNewPrivs") == "1", "set", "not set")
    reached = [name for name in ("socket", "unix_socket", "fork") if seen[name]]
    filtered = status.get("Seccomp") == "2" and not reached
    walls["system call filter"] = _wall(
        filtered, "seccomp: no sockets, no second process", f"allowed: {', '.join(reached) or 'all'}; no seccomp filter stands"
    )
    wanted = enclosure.resource_limits()
    slack = [name for name, value in wanted.items() if not 0 <= seen["limits"].get(name, -1) <= value]
    walls["resource limits"] = _wall(not slack, ", ".join(f"{name} {value}" for name, value in wanted.items()), f"not: {slack}")
    # The environment is emptied before a program runs; what the interpreter is started with holds nothing of this machine.
    foreign = sorted({*seen["environment"]} - {*ENVIRONMENT, "PWD", "LC_CTYPE"})
    walls["empty environment"] = _wall(not foreign, "empty", f"holds {', '.join(foreign)}")
    walls["closed descriptors"] = _wall(not seen["descriptors"], "closed", f"open: {seen['descriptors']}")
    walls["own session"] = _wall(seen["session"] == seen["pid"], "a session of its own", "none")
    return walls


def _wall(stands: bool, how: str, why_not: str) -> Wall:
    return Wall(stands=stands, how=how if stands else why_not)


def _namespace(first: int, file: str, by: str) -> Wall:
    try:
        inside, outside = (Path(f"/proc/{process}/ns/{file}").readlink() for process in (first, "self"))
    except OSError as error:
        return Wall(stands=False, how=f"cannot be looked at: {error.strerror}")
    return _wall(inside != outside, by, "the same as outside")


def _status(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _read(descriptor: int) -> dict[str, Any] | None:
    """The one report on that pipe, or None where the process ended without."""
    data = b""
    while len(data) < _LONGEST:
        if len(data) >= 4 and len(data) >= 4 + struct.unpack_from("<I", data)[0]:
            break
        part = os.read(descriptor, _LONGEST)
        if not part:
            return None
        data += part
    try:
        found = decode_job(data[4:])
    except Garbled:
        return None
    return found if isinstance(found, dict) else None
