"""What this machine is and what is installed on it, for provenance, without importing torch.

No host name, user or path is recorded: reports are shared. CUDA devices are named by evaluation/latency.py, which has torch.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

import autonas
from autonas.errors import RequestError, ResourceError

_PACKAGES = ("torch", "optuna", "ray", "numpy", "tokenizers", "datasketch", "safetensors")


def environment() -> dict[str, Any]:
    """Commit, versions and machine, JSON-ready. `commit` is None outside a checkout and ends in `+changes` in a changed one."""
    return {
        "autonas": autonas.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": processor_name(),
        "cores": num_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "packages": {name: package_version(name) for name in _PACKAGES},
    }


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the checkout this package runs from, or None: no git, no checkout, or installed elsewhere."""
    folder = Path(__file__).resolve().parent
    # Installed into an environment inside somebody's repository, the package is not tracked by it.
    if not _git(folder, "ls-files", "--", "__init__.py"):
        return None
    head = _git(folder, "rev-parse", "--verify", "HEAD")
    if not head:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{head}+changes" if changed else head


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@functools.cache
def processor_name() -> str:
    """The processor's model as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    if platform.system() == "Darwin":
        try:
            done = subprocess.run(
                ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            done = None
        if done is not None and done.stdout.strip():
            return done.stdout.strip()
    return platform.processor() or platform.machine()


@functools.cache
def processor_flags() -> str:
    """The instructions that the processor has, as the system tells them; its name where it tells none."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return processor_name()


def cache_folder() -> Path:
    """`$AUTONAS_CACHE`, else `$XDG_CACHE_HOME/autonas`, else `~/.cache/autonas`. It need not exist.

    Raises:
        ResourceError: there is no home folder.
    """
    if own := os.environ.get("AUTONAS_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "autonas"
    try:
        return Path("~/.cache/autonas").expanduser()
    except RuntimeError as error:
        raise ResourceError("no home folder for the cache; set AUTONAS_CACHE to a folder") from error


def num_cores() -> int:
    """Cores that this process may use: fewer than the machine's under `taskset` or in a container with a core set.

    Those that it pinned itself to are no limit to what it may ask for next.
    """
    if _PINS.allowed:
        return len(_PINS.allowed)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve_threads(asked: int | None = None, workers: int = 1) -> int:
    """Threads for each of `workers` processes: as asked, or an equal share of the cores, at least one.

    Raises:
        RequestError: `asked` is less than one.
    """
    if asked is None:
        return max(1, num_cores() // max(1, workers))
    if asked < 1:
        raise RequestError(f"threads: {asked} cannot compute anything; give at least 1, or leave it out for all cores")
    return asked


def pin_threads(count: int) -> str:
    """Keep this process on `count` cores of its own where `$AUTONAS_PIN` is 1: on which, or why not; "" where nobody asked.

    No two processes of a user that ask have a core in common. A core is given back when its process ends. A process that asks
    for more than it has gets more.

    Raises:
        RequestError: the variable is neither 0 nor 1.
    """
    wish = os.environ.get("AUTONAS_PIN") or "0"
    if wish not in ("0", "1"):
        raise RequestError(f"AUTONAS_PIN is {wish!r}; set it to 1 to keep workers on cores of their own, or to 0")
    if wish == "0":
        return ""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned: this system has no means"
    with _PINS.lock:
        try:
            return _pin(count)
        except OSError as error:
            return f"not pinned: {error}"


@dataclass(slots=True)
class _Pins:
    """Of this process: the cores that it might use at first, and the open locks of those that it keeps to."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    allowed: list[int] = field(default_factory=list)
    held: dict[int, int] = field(default_factory=dict)


_PINS = _Pins()


def _pin(count: int) -> str:
    import fcntl  # not everywhere

    folder = Path(tempfile.gettempdir()) / f"autonas-cores-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    _PINS.allowed = _PINS.allowed or sorted(os.sched_getaffinity(0))
    found: dict[int, int] = {}
    for core in _PINS.allowed:
        if len(_PINS.held) + len(found) >= count:
            break
        if core in _PINS.held:
            continue
        lock = os.open(folder / str(core), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found[core] = lock
        except BlockingIOError:
            os.close(lock)
    _PINS.held |= found
    enough = len(_PINS.held) >= count
    kept = sorted(_PINS.held) if enough else _PINS.allowed
    for thread in Path("/proc/self/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), kept)
    if enough:
        return f"pinned to {', '.join(map(str, kept))}"
    free = len(_PINS.held)
    for lock in _PINS.held.values():
        os.close(lock)
    _PINS.held.clear()
    return f"not pinned: {free} of {len(_PINS.allowed)} cores were free for {count}"
