"""A filter of system calls for the kernel (seccomp-BPF), built without a library.

It lists what is allowed. Everything else is refused with EPERM: sockets, new processes, mounts, namespaces, ptrace, keys,
bpf, perf, shared memory. A call that is younger than the list gets ENOSYS, which C libraries expect. Threads are allowed and
processes are not: there is one process, whose limits bound everything.

Source: Linux `Documentation/userspace-api/seccomp_filter.rst`; `struct sock_filter` of `linux/filter.h`.
"""

from __future__ import annotations

import errno
import platform
import struct

from autonas.evaluation.sandbox.syscalls import ALLOWED, CLONE, CLONE3, KILLS, PRLIMIT64, SOCKETPAIR, YOUNGEST

# machine -> (column of the table, AUDIT_ARCH_*)
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in `struct seccomp_data`

_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020080  # every namespace, time's too
_AF_UNIX, _SOCK_STREAM, _SOCK_TYPE = 1, 1, 0xF


def machine_has_filter() -> bool:
    """Whether this machine's kernel calls are in the table."""
    return platform.machine() in _MACHINES


def build_filter(*, kills: bool, machine: str | None = None) -> bytes:
    """The filter as an array of `struct sock_filter`, little-endian.

    `kills`: let the process send signals. To be false without a pid namespace, where it sees the processes of others.
    """
    column, architecture = _MACHINES[machine or platform.machine()]
    program = [_load(_ARCHITECTURE), *_unless_equal(architecture, _KILL), _load(_NUMBER)]
    # The 32-bit numbers of x86-64's second table lie above too.
    program += [(_ABOVE, 0, 1, YOUNGEST), (_RETURN, 0, 0, _REFUSE | errno.ENOSYS)]
    program += _if_equal(CLONE3[column], _REFUSE | errno.ENOSYS)  # its flags lie in memory that a filter cannot read
    allowed = [numbers[column] for numbers in ALLOWED.values()] + [numbers[column] for numbers in KILLS if kills]
    for number in sorted({number for number in allowed if number is not None}):
        program += _if_equal(number, _ALLOW)
    refuse = _RETURN, 0, 0, _REFUSE | errno.EPERM
    allow = _RETURN, 0, 0, _ALLOW
    thread = [_load(_ARGUMENTS), (_ANY_BIT, 0, 1, _CLONE_NEW), refuse, (_ANY_BIT, 0, 1, _CLONE_THREAD), allow, refuse]
    program += _guarded(CLONE[column], thread)
    # An event loop wakes itself through such a pair. A stream's partner is fixed, so that nobody else is reached.
    unix = [_load(_ARGUMENTS), *_unless_equal(_AF_UNIX, _REFUSE | errno.EPERM)]
    stream = [_load(_ARGUMENTS + 8), (_AND, 0, 0, _SOCK_TYPE), *_unless_equal(_SOCK_STREAM, _REFUSE | errno.EPERM)]
    program += _guarded(SOCKETPAIR[column], [*unix, *stream, allow])
    # Limits of oneself, not of another process.
    program += _guarded(PRLIMIT64[column], [_load(_ARGUMENTS), *_unless_equal(0, _REFUSE | errno.EPERM), allow])
    program.append(refuse)
    return b"".join(struct.pack("<HBBI", *line) for line in program)


_Line = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def _load(offset: int) -> _Line:
    return (_LOAD, 0, 0, offset)


def _if_equal(value: int, verdict: int) -> list[_Line]:
    return [(_EQUAL, 0, 1, value), (_RETURN, 0, 0, verdict)]


def _unless_equal(value: int, verdict: int) -> list[_Line]:
    return [(_EQUAL, 1, 0, value), (_RETURN, 0, 0, verdict)]


def _guarded(number: int, body: list[_Line]) -> list[_Line]:
    """`body`, which ends in a return, for call `number` alone."""
    return [(_EQUAL, 0, len(body), number), *body]
