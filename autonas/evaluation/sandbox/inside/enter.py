"""A process shuts itself in, and becomes the interpreter: what bubblewrap does, for machines without it.

It runs with the interpreter outside, before the walls stand, and nothing foreign. Any step that fails ends it, with a line on
its standard error. Source: the manuals user_namespaces(7), mount_namespaces(7), pivot_root(2), capabilities(7), seccomp(2).
"""

# Paths by `os`: each program starts two such processes, and pathlib takes longer to import than all else here.
# ruff: noqa: PTH103, PTH106, PTH112, PTH120, PTH123
from __future__ import annotations

import ctypes
import json
import os
import signal
from typing import Any, NoReturn

_NEW = {"mount": 0x00020000, "uts": 0x04000000, "ipc": 0x08000000, "user": 0x10000000, "pid": 0x20000000, "net": 0x40000000}
_CGROUP = 0x02000000
_READ_ONLY, _NO_SUID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_DETACH = 2
_SET_DEATH_SIGNAL, _DROP_BOUND, _NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 1, 24, 38, 22, 2
_CAPABILITIES_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_Number = ctypes.c_ulong


def main(text: bytes, info: int = -1) -> NoReturn:
    """Do what the plan says; with `info`, in namespaces of one's own, whose first process is named through that descriptor."""
    try:
        plan = json.loads(text)
        if info >= 0:
            _enter_namespaces(info)
            _build_root(plan)
        os.setsid() if os.getsid(0) != os.getpid() else None
        os.closerange(_highest(plan["command"]) + 1, 4096)
        _prctl(_NO_NEW_PRIVILEGES, 1)
        if plan["filter"] is not None:
            _install(bytes.fromhex(plan["filter"]))
        os.execve(plan["command"][0], plan["command"], plan["environment"])
    except (OSError, ValueError) as error:
        os.write(2, f"the walls cannot be built: {error}\n".encode())
    os._exit(1)


def _enter_namespaces(info: int) -> None:
    """Returns in the first process of new namespaces; the one outside waits for it and ends as it ends."""
    user, group = os.getuid(), os.getgid()
    _check(_libc.unshare(sum(_NEW.values())), "unshare")
    _libc.unshare(_CGROUP)  # where the kernel has it
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)  # not before: a change of user namespace forgets it
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(line)
    child = os.fork()
    if child:
        os.write(info, json.dumps({"child-pid": child}).encode())
        os.closerange(3, 4096)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os._exit(status if status >= 0 else 128 - status)
    os.close(info)
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    os.setsid()
    _check(_libc.sethostname(b"sandbox", 7), "sethostname")


def _build_root(plan: dict[str, Any]) -> None:
    """A file system in memory that holds what the plan names, read-only; the old one is left."""
    _mount("none", "/", "", _RECURSIVE | _PRIVATE)
    new = "/tmp"  # hidden under the new root, and gone with the old one
    _mount("tmpfs", new, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=755,size=1m")
    for outside, inside in [*plan["binds"], ("/dev/null", "/dev/null")]:
        target = new + inside
        os.makedirs(target if os.path.isdir(outside) else os.path.dirname(target), exist_ok=True)
        if not os.path.isdir(outside):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        _mount(outside, target, "", _BIND)
        kept = _locked_flags(target) if inside == "/dev/null" else _locked_flags(target) | _NO_DEVICES
        _mount("none", target, "", _BIND | _REMOUNT | _READ_ONLY | _NO_SUID | kept)
    for inside in plan["masks"]:
        _mount("tmpfs", new + inside, "tmpfs", _READ_ONLY | _NO_SUID | _NO_DEVICES, "size=4k,nr_inodes=4")
    os.makedirs(f"{new}/tmp")
    os.makedirs(f"{new}/old")
    size = f"size={plan['temporary_bytes']},nr_inodes={plan['files'] + 2}"
    _mount("tmpfs", f"{new}/tmp", "tmpfs", _NO_SUID | _NO_DEVICES, f"mode=700,{size}")
    os.chdir(new)
    _check(_libc.pivot_root(b".", b"old"), "pivot_root")
    os.chdir("/")
    _check(_libc.umount2(b"/old", _DETACH), "umount")
    os.rmdir("/old")
    _mount("none", "/", "", _BIND | _REMOUNT | _READ_ONLY | _NO_SUID | _NO_DEVICES)
    os.chdir("/tmp")
    _drop_capabilities()


def _drop_capabilities() -> None:
    number = 0
    while _libc.prctl(_DROP_BOUND, _Number(number), _Number(0), _Number(0), _Number(0)) == 0:
        number += 1
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")


def _locked_flags(path: str) -> int:
    """What a mount from outside forbids already: it may not be allowed again by a remount."""
    found = os.statvfs(path).f_flag
    names = {"ST_NOSUID": 2, "ST_NODEV": 4, "ST_NOEXEC": 8, "ST_NOATIME": 1024, "ST_NODIRATIME": 2048, "ST_RELATIME": 1 << 21}
    return sum(flag for name, flag in names.items() if found & getattr(os, name))


def _highest(command: list[str]) -> int:
    """The highest descriptor that a command names: its last arguments are descriptors."""
    return max([2, *(int(word) for word in command if word.isdecimal())])


def _install(program: bytes) -> None:
    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("lines", ctypes.c_char_p)]

    given = Program(len(program) // 8, program)
    _prctl(_SET_SECCOMP, _FILTER, ctypes.addressof(given))


def _prctl(option: int, *arguments: int) -> None:
    numbers = [_Number(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(option, *numbers), f"prctl {option}")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    given = _libc.mount(source.encode(), target.encode(), kind.encode() or None, _Number(flags), options.encode() or None)
    _check(given, f"mount on {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
