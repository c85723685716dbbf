"""What this machine is and what is installed on it, for provenance, without importing torch.

No host name, user or path is recorded: reports are shared. CUDA devices are named by evaluation/latency.py, which has torch.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

import autonas
from autonas import pinning
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
    if before := pinning.cores_before():
        return len(before)
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
