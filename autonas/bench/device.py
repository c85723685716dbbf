"""Where a bench runs: the device, its threads, and how both are called in what it prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from autonas.bench.turns import Contestant, Turns
from autonas.errors import DeviceError
from autonas.evaluation.latency import resolve_device
from autonas.machine import processor_name, resolve_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    device: str
    threads: int

    @property
    def device_type(self) -> str:
        return torch.device(self.device).type


def resolve(device: str, threads: int | None) -> Bench:
    """Raises DeviceError when there is no such device here."""
    return Bench(device=str(resolve_device(device)), threads=resolve_threads(threads))


def describe(here: Bench) -> dict[str, Any]:
    """The device by its own name, JSON-ready."""
    if here.device_type == "cpu":
        return {"device": processor_name(), "threads": here.threads}
    # Asked in a process that ends: one that lived on would count as another that uses the GPU.
    with Contestant(_serve_properties, here.device) as contestant:
        return {**contestant.answer(), "threads": here.threads}


def _serve_properties(turns: Turns, device: str) -> None:
    found = torch.cuda.get_device_properties(device)
    turns.reply({"device": found.name, "device_bytes": found.total_memory, "cuda": torch.version.cuda})


def require_cuda() -> None:
    """Raises DeviceError without a CUDA device."""
    if not torch.cuda.is_available():
        raise DeviceError("bench gpu needs a CUDA device, and torch finds none here. Run it on a machine that has one.")
