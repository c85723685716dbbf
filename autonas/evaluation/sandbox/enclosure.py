"""Processes within walls: how one is started, and how it is ended for certain, with everything that it started."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from autonas.evaluation.sandbox import bubblewrap, namespaces
from autonas.evaluation.sandbox.bundle import boot, bundle, shared
from autonas.evaluation.sandbox.inside.values import encode_job
from autonas.evaluation.sandbox.interpreter import HOME, Interpreter, outside_executable
from autonas.evaluation.sandbox.limits import Limits
from autonas.evaluation.sandbox.seccomp import build_filter, machine_has_filter

Builder = Literal["bubblewrap", "namespaces", "none"]
Role = Literal["candidate", "tester", "probe"]

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosure:
    """One way of building walls, and the limits within. `none`: limits and a filter alone."""

    builder: Builder
    interpreter: Interpreter
    limits: Limits
    bwrap: str | None = None

    def start(self, role: Role, job: dict[str, Any], descriptors: Iterable[int], output: int) -> Inmate:
        """A process of that role with these descriptors; both its streams go to `output`.

        Raises:
            OSError: no process can be started, or no descriptor is left.
        """
        given = (shared(bundle(role)), shared(encode_job(job | {"limits": self.resource_limits()})), *descriptors)
        info, info_in = os.pipe()
        own = [*given[:2], info_in]
        try:
            inner = self._inner(role, given)
            if self.builder == "bubblewrap":
                assert self.bwrap is not None
                own.append(shared(build_filter(kills=True)))
                passed = [*given, info_in, own[-1]]
                before = bubblewrap.command(
                    self.bwrap,
                    self.interpreter,
                    temporary_bytes=self.limits.file_bytes,
                    filter_descriptor=own[-1],
                    info_descriptor=info_in,
                )
                line = [*before, *inner]
            elif self.builder == "namespaces":
                line, more = namespaces.command(
                    self.interpreter,
                    inner,
                    temporary_bytes=self.limits.file_bytes,
                    files=self.limits.files,
                    filter_program=build_filter(kills=True),
                    info_descriptor=info_in,
                )
                own += more
                passed = [*given, info_in, *more]
            else:
                filter_program = build_filter(kills=False) if machine_has_filter() else None
                line, more = namespaces.weak_command(inner, filter_program=filter_program)
                own += more
                passed = [*given, *more]
            # A session of its own: Ctrl-C in a terminal stops autonas, and is no program's failure.
            process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=passed,
                env={},
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(info)
            raise
        finally:
            for descriptor in own:
                os.close(descriptor)
        return Inmate(process, info, direct=self.builder == "none")

    def resource_limits(self) -> dict[str, int]:
        """The limits that the kernel holds for each process, by the names of the module `resource`."""
        limits = {
            "CPU": math.ceil(self.limits.cpu_s),
            "AS": self.limits.memory_bytes,
            "FSIZE": self.limits.file_bytes,
            "NOFILE": self.limits.open_files,
            "CORE": 1,  # none; 0 would still feed a machine that pipes its dumps to a program
            "MEMLOCK": 0,
            "MSGQUEUE": 0,
        }
        # Without a user namespace it would count all processes of this user.
        return limits if self.builder == "none" else limits | {"NPROC": self.limits.processes}

    def _inner(self, role: Role, given: tuple[int, ...]) -> list[str]:
        line = self.interpreter.command(boot(), role, *map(str, given))
        return line if self.builder != "none" else [outside_executable(), *line[1:]]


class Inmate:
    """A process within walls. To be ended by `end`, whatever happens."""

    def __init__(self, process: subprocess.Popen[bytes], info: int, *, direct: bool) -> None:
        self._process, self._info, self._direct = process, info, direct
        self._first: int | None = None

    def first_process(self, patience_s: float = _PATIENCE_S) -> int | None:
        """The process id, out here, of the first process within; None where none was started."""
        if self._direct:
            return self._process.pid
        if self._first is None and select.select([self._info], [], [], patience_s)[0]:
            with suppress(ValueError, KeyError, TypeError):
                self._first = int(json.loads(os.read(self._info, 4096))["child-pid"])
        return self._first

    def files(self) -> int:
        """How many files its temporary folder holds. Empty ones take the kernel's memory, and none of the folder's size.

        Raises:
            OSError: that cannot be seen from here, or the process has just ended.
        """
        if self._direct or (first := self.first_process(patience_s=0.0)) is None:
            return 0
        root = Path(f"/proc/{first}/root")
        if not (root / HOME.lstrip("/")).is_dir():  # the walls are not built yet: that is still this machine's root
            return 0
        found = os.statvfs(root / "tmp")
        return found.f_files - found.f_ffree - 1

    def wait(self, timeout_s: float) -> int | None:
        """How the process ended, 128 + signal where one killed it; None where it goes on."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return code if code >= 0 else 128 - code

    def end(self) -> None:
        """Kill what lives, and return when all of it is gone."""
        try:
            if self._process.poll() is None:
                self._kill()
        finally:
            os.close(self._info)

    def _kill(self) -> None:
        first = self.first_process()
        if first is None or self._direct:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session
        else:
            # The kernel ends a process namespace with its first process, and that one is reported dead when all others are.
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(first)
                try:
                    if self._process.poll() is None:  # so that it is still its child, not a stranger with the number
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                finally:
                    os.close(handle)
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
