"""What a device says of itself while something is timed on it: its clock, its driver, and whether others compute there."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from pathlib import Path

import psutil
import torch

_SAMPLE_S = 1.2  # nvidia-smi's figure is of a sixth of a second to one second


def clock_mhz(device: torch.device) -> int | None:
    """The clock that the device says it runs at now; None where it says nothing."""
    if device.type == "cpu":
        with contextlib.suppress(OSError, NotImplementedError, AttributeError):  # psutil has it for some systems only
            told = psutil.cpu_freq()
            return round(told.current) if told and told.current else None
        return None
    text = _nvidia_smi("--query-gpu=clocks.sm", "--format=csv,noheader,nounits", _of(device))
    return int(text) if text.isdecimal() else None


def driver() -> str:
    """The versions of CUDA and of its driver."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"cuda {torch.version.cuda}"
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return f"cuda {torch.version.cuda}, driver {found.group() if found else 'unknown'}"


def others_on_gpu(device: torch.device) -> float:
    """The share of the last second in which the device computed, if another process is on it: this one must be at rest.

    A process that only waits there, as workers do for the lease, does not count. 0.0 where nvidia-smi tells nothing.
    """
    # In a container the numbers are the host's: counted, not compared. One of them is this process.
    if len(_nvidia_smi("--query-compute-apps=pid", "--format=csv,noheader", _of(device)).split()) <= 1:
        return 0.0
    torch.cuda.synchronize(device)
    time.sleep(_SAMPLE_S)
    text = _nvidia_smi("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", _of(device))
    return int(text) / 100 if text.isdecimal() else 0.0


def _of(device: torch.device) -> str:
    """The option that asks for this device alone."""
    return f"--id=GPU-{torch.cuda.get_device_properties(device).uuid}"


def _nvidia_smi(*arguments: str) -> str:
    """What it prints; nothing where it is not there or fails."""
    try:
        done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
