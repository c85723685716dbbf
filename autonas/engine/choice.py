"""Which engine runs a study's jobs, by the name that a user gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from autonas.engine.base import Engine, OnProgress
from autonas.errors import DeviceError, RequestError

ENGINES = ("ray", "inline")
CLUSTER_MARK = ".autonas-cluster"  # a file by which workers on other nodes know a study's folder; here, to be had without Ray


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Where jobs run: which engine, how many workers, and what each of them may use."""

    name: Literal["ray", "inline"] = "ray"
    ray_address: str | None = None  # of a running cluster; None: this machine alone
    workers: int | None = None  # None: as many as fit
    threads: int = 1  # CPU cores of each worker
    device: str = "auto"
    gpus_per_worker: float | None = None  # None: 1 where jobs run on CUDA, else 0


def check_device(name: str) -> None:
    """See that `name` is that of a device to train on. Raises DeviceError."""
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise DeviceError(f"--device {name!r} cannot train; choose auto, cpu, cuda or cuda:N")


def check_settings(settings: EngineSettings) -> None:
    """See that what is asked for goes together, before anything is begun.

    Raises:
        DeviceError: the device is none to train on.
        RequestError: there is no engine of this name, or it has no use for what is given.
    """
    check_device(settings.device)
    if settings.name not in ENGINES:
        raise RequestError(f"there is no engine {settings.name!r}; choose one of {', '.join(ENGINES)}")
    if settings.name == "inline" and (settings.workers not in (None, 1) or settings.ray_address is not None):
        raise RequestError("--engine inline has one worker, in this process; leave out --workers and --ray-address")


def fitting(has: float, each: float) -> int:
    """How many workers that take `each` of a resource fit into `has` of it; parts of a GPU do not add up across GPUs."""
    return int(has // each) if each >= 1 else int(has) * int(1 / each + 1e-9)


def make_engine(
    settings: EngineSettings, on_progress: OnProgress | None = None, stop: Callable[[], bool] | None = None
) -> Engine:
    """The engine that `settings` asks for. `stop` is asked now and then; when it says so, `wait` raises KeyboardInterrupt.

    Raises:
        DeviceError, RequestError: as `check_settings`, or what the engine needs is not there.
    """
    check_settings(settings)
    if settings.name == "inline":
        from autonas.engine.inline import InlineEngine

        return InlineEngine(on_progress, stop)
    from autonas.engine.ray_tune import RayEngine

    return RayEngine(settings, on_progress, stop)
