"""The filter, run step by step as the kernel does, and its numbers against the kernel's own header where that is here."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from autonas.evaluation.sandbox.seccomp import build_filter
from autonas.evaluation.sandbox.syscalls import ALLOWED, CLONE, CLONE3, KILLS, PRLIMIT64, SOCKETPAIR, YOUNGEST

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
COLUMN = {"x86_64": 0, "aarch64": 1}
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
THREAD = 0x3D0F00  # what a C library starts a thread with
FORK = 0x1200011
HEADERS = {
    "x86_64": [*Path("/usr/include").glob("x86_64-linux-gnu/asm/unistd_64.h"), *Path("/usr/include").glob("asm/unistd_64.h")],
    "aarch64": [*Path("/usr/include").glob("asm-generic/unistd.h")],
}


def run(program: bytes, number: int, *arguments: int, architecture: int) -> int:
    """What the filter answers: a small machine for the few instructions that it uses."""
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *(list(arguments) + [0] * 6)[:6])
    lines = list(struct.iter_unpack("<HBBI", program))
    at, word = 0, 0
    for _ in range(len(lines)):
        code, yes, no, constant = lines[at]
        at += 1
        if code == 0x20:
            word = struct.unpack_from("<I", data, constant)[0]
        elif code == 0x54:
            word &= constant
        elif code == 0x06:
            return int(constant)
        else:
            holds = {0x15: word == constant, 0x25: word > constant, 0x45: bool(word & constant)}[code]
            at += yes if holds else no
    raise AssertionError("the filter does not end")


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_is_listed_is_allowed_and_nothing_else(machine: str) -> None:
    column, architecture = COLUMN[machine], ARCHITECTURES[machine]
    program = build_filter(kills=True, machine=machine)
    assert len(program) // 8 <= 4096  # as many as the kernel takes
    guarded = {CLONE[column], SOCKETPAIR[column], PRLIMIT64[column]}
    allowed = {numbers[column] for numbers in (*ALLOWED.values(), *KILLS)} - {None}
    for number in range(YOUNGEST + 1):
        if number not in guarded:
            expected = ALLOW if number in allowed else ENOSYS if number == CLONE3[column] else EPERM
            assert run(program, number, 1, 2, 3, architecture=architecture) == expected
    for number in (YOUNGEST + 1, 0x40000000 + 39, 0xFFFFFFFF):
        assert run(program, number, architecture=architecture) == ENOSYS
    for other in {*ARCHITECTURES.values(), 0x40000003} - {architecture}:
        assert run(program, 0, architecture=other) == KILL


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_threads_but_no_processes_and_a_pair_but_no_sockets(machine: str) -> None:
    column, architecture = COLUMN[machine], ARCHITECTURES[machine]
    program = build_filter(kills=True, machine=machine)

    def answer(call: tuple[int, int], *arguments: int) -> int:
        return run(program, call[column], *arguments, architecture=architecture)

    assert answer(CLONE, THREAD) == ALLOW
    assert answer(CLONE, FORK) == EPERM
    for new in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert answer(CLONE, THREAD | new) == EPERM
    assert answer(SOCKETPAIR, 1, 1 | 0x80800, 0) == ALLOW
    assert answer(SOCKETPAIR, 1, 2, 0) == EPERM
    assert answer(SOCKETPAIR, 2, 1, 0) == EPERM
    assert answer(PRLIMIT64, 0, 7) == ALLOW
    assert answer(PRLIMIT64, 1, 7) == EPERM


def test_without_a_namespace_of_processes_no_signal_is_sent() -> None:
    for machine, column in COLUMN.items():
        program = build_filter(kills=False, machine=machine)
        assert {run(program, numbers[column], architecture=ARCHITECTURES[machine]) for numbers in KILLS} == {EPERM}


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_the_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine]:
        pytest.skip("the kernel's header is not here")
    text = HEADERS[machine][0].read_text()
    found = {name: int(number) for name, number in re.findall(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", text, re.MULTILINE)}
    if "newfstatat" not in found:
        found["newfstatat"] = found["fstatat"]
    named = {
        **ALLOWED,
        "clone": CLONE,
        "clone3": CLONE3,
        "socketpair": SOCKETPAIR,
        "prlimit64": PRLIMIT64,
        **dict(zip(("kill", "tkill", "tgkill"), KILLS, strict=True)),
    }
    ours = {name: numbers[COLUMN[machine]] for name, numbers in named.items()}
    assert {name: found.get(name) for name in ours} == ours


def test_what_reaches_beyond_a_process_is_not_listed() -> None:
    beyond = {"socket", "connect", "bind", "listen", "accept", "fork", "vfork", "clone", "clone3", "ptrace", "mount", "umount2"}
    beyond |= {"unshare", "setns", "chroot", "pivot_root", "bpf", "perf_event_open", "keyctl", "add_key", "userfaultfd"}
    beyond |= {"process_vm_readv", "process_vm_writev", "init_module", "kexec_load", "reboot", "io_uring_setup", "shmget"}
    beyond |= {
        "memfd_create",
        "open_by_handle_at",
        "pidfd_getfd",
        "seccomp",
        "setuid",
        "mknod",
        "mknodat",
        "settimeofday",
        "personality",
    }
    assert not beyond & set(ALLOWED)
