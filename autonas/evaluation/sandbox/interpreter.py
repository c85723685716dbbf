"""The Python that runs within the walls: this one, with its standard library and the shared libraries that it loads."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from autonas.errors import ResourceError

HOME = "/sandbox-python"  # no folder of that name lies outside
LIBRARIES = "/lib"

# Every extension module of the standard library is loaded, but for those that need a terminal, a display or a test.
_LIST_LIBRARIES = """
import ctypes, os, sys, sysconfig
folder = os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload")
for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
    name = name.partition(".")[0]
    if not name.startswith(("_test", "_xx", "xx", "_tkinter", "_curses", "readline", "nis", "ossaudio", "_dbm", "_gdbm")):
        try:
            __import__(name)
        except Exception:
            pass
class Info(ctypes.Structure):
    _fields_ = [("address", ctypes.c_size_t), ("name", ctypes.c_char_p)]
def visit(info, size, data):
    found = os.fsdecode(info.contents.name)
    if found.startswith("/"):
        print(found)
    return 0
kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Info), ctypes.c_size_t, ctypes.c_void_p)
ctypes.CDLL(None).dl_iterate_phdr(kind(visit), None)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """Where things lie outside and inside. `binds`: (outside, inside), read-only; `masks`: folders inside, to be empty."""

    executable: str  # inside
    binds: tuple[tuple[str, str], ...]
    masks: tuple[str, ...]

    def command(self, *arguments: str) -> list[str]:
        """Start it without site, user files, bytecode to write, or a path of the script's own."""
        return [self.executable, "-S", "-s", "-P", "-B", "-X", "utf8", "-c", *arguments]


# With equal hashes a program ends the same way each time. Each thread would reserve 64 MiB of addresses for its own arena. The
# library path is where the libraries lie within the walls. No program sees any of it: it is emptied before one runs.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "MALLOC_ARENA_MAX": "1", "LD_LIBRARY_PATH": LIBRARIES}


@functools.cache
def this_interpreter() -> Interpreter:
    """The interpreter that runs autonas, without its environment's packages.

    Raises:
        ResourceError: its files cannot be found.
    """
    outside = outside_executable()
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = os.path.realpath(sysconfig.get_path("stdlib"))
    inside_library = f"{HOME}/{sys.platlibdir}/{version}"
    try:
        listed = subprocess.run(
            [outside, "-I", "-S", "-c", _LIST_LIBRARIES], capture_output=True, text=True, timeout=60, check=True, env={}
        ).stdout.split("\n")
    except (OSError, subprocess.SubprocessError) as error:
        raise ResourceError(f"{outside}: cannot list its shared libraries ({error}); the sandbox needs them") from error
    binds = [(outside, f"{HOME}/bin/{version}"), (library, inside_library)]
    for path in sorted(set(filter(None, listed))):
        if Path(path).is_relative_to(library):
            continue
        # The loader is looked for where the executable names it; libraries by their names alone.
        loader = Path(path).name.startswith(("ld-", "ld.", "ld64"))
        binds.append((os.path.realpath(path), path if loader else f"{LIBRARIES}/{Path(path).name}"))
    masks = tuple(f"{inside_library}/{name}" for name in ("site-packages", "dist-packages") if Path(library, name).is_dir())
    return Interpreter(executable=f"{HOME}/bin/{version}", binds=tuple(binds), masks=masks)


def outside_executable() -> str:
    """The interpreter's file, behind the links of a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
