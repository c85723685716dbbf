"""How much a program may take before it is stopped."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from autonas.errors import RequestError

_MiB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one program, and of the tests beside it.

    Raises:
        RequestError: a limit is not above nought, or no program could start under it.
    """

    seconds: float = 5.0  # by the wall's clock, from the start of the program to its verdict
    cpu_s: float = 10.0  # of one process; counted by the kernel in whole seconds. The wall's clock is the sharper one.
    memory_bytes: int = 512 * _MiB  # address space of one process
    processes: int = 32  # threads: no second process may be started at all
    output_bytes: int = 64 * 1024  # printed on both streams together
    file_bytes: int = _MiB  # one file, and all files of the temporary folder together
    files: int = 256  # in the temporary folder; seen within a tenth of a second
    value_bytes: int = _MiB  # one call's arguments or result, encoded
    source_bytes: int = _MiB  # the program's text
    open_files: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (value > 0 and math.isfinite(value)):
                raise RequestError(f"limits.{field.name} is {value!r}; give a number above 0")
        if self.memory_bytes < 64 * _MiB:
            raise RequestError(f"limits.memory_bytes is {self.memory_bytes}; the interpreter alone takes up to {64 * _MiB}")
        if self.open_files < 16:
            raise RequestError(f"limits.open_files is {self.open_files}; the interpreter alone takes up to 16")
