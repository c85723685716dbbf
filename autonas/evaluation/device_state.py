"""What a device says of itself while something is timed on it: its clock, its driver, and whether others compute there."""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path

import psutil
import torch


def clock_mhz(device: torch.device) -> int | None:
    """The clock that the device says it runs at now; None where it says nothing."""
    if device.type == "cpu":
        with contextlib.suppress(OSError, NotImplementedError, AttributeError):  # psutil has it for some systems only
            told = psutil.cpu_freq()
            return round(told.current) if told and told.current else None
        return None
    uuid = torch.cuda.get_device_properties(device).uuid
    text = _nvidia_smi("--query-gpu=clocks.sm", "--format=csv,noheader,nounits", f"--id=GPU-{uuid}")
    return int(text) if text.isdecimal() else None


def driver() -> str:
    """The versions of CUDA and of its driver."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return f"cuda {torch.version.cuda}"
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return f"cuda {torch.version.cuda}, driver {found.group() if found else 'unknown'}"


def others_on_gpu() -> float:
    """1.0 when another process computes on a GPU of this machine, as far as nvidia-smi can tell."""
    # In a container the numbers are the host's: counted, not compared. One of them is this process.
    return 1.0 if len(_nvidia_smi("--query-compute-apps=pid", "--format=csv,noheader").split()) > 1 else 0.0


def _nvidia_smi(*arguments: str) -> str:
    """What it prints; nothing where it is not there or fails."""
    try:
        done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
