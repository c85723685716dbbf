"""What Ray runs on: connecting, how many workers fit, and the way of a job's files to a node. Jobs themselves are not here.

A prepared corpus travels through Ray's object store, once to every node, into the node's cache, where all workers map it. What
is written (checkpoints, metrics) goes to the study's folder, which every node has to mount.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from autonas import machine
from autonas.data.cache import building
from autonas.engine.choice import CLUSTER_MARK, EngineSettings, fitting
from autonas.errors import DeviceError, ResourceError, resource_error
from autonas.machine import cache_folder
from autonas.trial import Job

# Tune's loggers would import torch into the driver, write each outcome three times and change the workers' folder; its
# snapshots would grow with every job, and are never read. All of these are read when Ray is started, or Tune.
_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_MAX_PENDING_TRIALS_PG": "64",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # 15 otherwise, where latencies would be those of whatever else runs
}
_OBJECT_STORE_BYTES = 256 * 2**20  # of a Ray of our own: only outcomes pass through it
_KNOCK_S = 10.0
_CHUNK_BYTES = 64 * 2**20


def connect(settings: EngineSettings) -> bool:
    """Be connected to the cluster that is asked for, or to a Ray of our own; whether it is ours to shut down.

    Raises:
        DeviceError: no Ray answers there.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if ray.is_initialized():
        return False
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    quiet: dict[str, Any] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    try:
        if settings.ray_address is not None:
            _knock(settings.ray_address)
    except (OSError, ValueError) as error:
        raise _no_answer(settings.ray_address, error) from error
    try:
        with _own_sigterm():
            _start(settings, quiet)
    except Exception as error:
        raise _no_entry(settings, error) from error
    return True


def _start(settings: EngineSettings, quiet: dict[str, Any]) -> None:
    if settings.ray_address is not None:
        ray.init(address=settings.ray_address, **quiet)
        return
    cores = max(machine.num_cores(), (settings.workers or 1) * settings.threads)
    ray.init(address="local", num_cpus=cores, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES, **quiet)


def disconnect() -> None:
    """Shut down what `connect` has begun."""
    with _own_sigterm():
        ray.shutdown()


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the process's handler of SIGTERM: Ray puts one in place that aborts, and takes it away at its end."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _knock(address: str) -> None:
    """See that somebody listens at host:port: Ray itself would try for a minute. Raises OSError or ValueError."""
    if address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError("an address is written as HOST:PORT, or auto for a cluster that this machine is a node of")
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()


def _no_answer(address: str | None, error: Exception) -> DeviceError:
    return DeviceError(
        f"--ray-address {address}: no Ray answers there ({error}). Start one with `ray start --head`, check the address, or "
        "leave --ray-address out."
    )


def _no_entry(settings: EngineSettings, error: Exception) -> DeviceError:
    what = str(error).strip().partition("\n")[0] or type(error).__name__
    if settings.ray_address is None:
        return DeviceError(f"Ray cannot be started on this machine ({what}). `--engine inline` does without it.")
    return DeviceError(
        f"--ray-address {settings.ray_address}: somebody answers there, but Ray does not let us in ({what}). RAY_AUTH_MODE and "
        "the token have to be the cluster's: export RAY_AUTH_MODE=token, and copy ~/.ray/auth_token from its head."
    )


def worker_resources(settings: EngineSettings) -> dict[str, float]:
    """What one worker takes, by Ray's names.

    Raises:
        DeviceError: GPUs are asked for where there are none, or one by its number, which is for Ray to choose.
    """
    gpus = settings.gpus_per_worker
    if settings.device.startswith("cuda:"):
        raise DeviceError(f"--device {settings.device}: Ray chooses each worker's GPU. Write cuda, or use --engine inline.")
    if settings.device == "cpu" or (settings.device == "auto" and _cluster().get("GPU", 0.0) < 1.0):
        if gpus is not None:
            raise DeviceError(f"--gpus-per-worker {gpus:g}: there are no GPUs to be had with --device {settings.device} here")
        return {"CPU": float(settings.threads)}
    return {"CPU": float(settings.threads), "GPU": gpus or 1.0}


def count_workers(settings: EngineSettings, each: dict[str, float]) -> int:
    """Workers that fit on the nodes that are alive, each taking `each`; as many as the settings ask for, if they do.

    Raises:
        ResourceError: those asked for do not fit, or not even one does.
    """
    fits = 0
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["Alive"]:
            fits += min(fitting(node["Resources"].get(name, 0.0), amount) for name, amount in each.items())
    wanted = settings.workers or 1
    if fits < wanted:
        raise ResourceError(
            f"Ray has {_listed(_cluster())}, where {fits} workers of {_listed(each)} fit and {wanted} should. Choose fewer "
            "--workers, fewer --threads, a smaller --gpus-per-worker, another --device, or a larger cluster."
        )
    return settings.workers or fits


def free_workers(each: dict[str, float]) -> int:
    """Workers for which there is room now, roughly: what is free on different nodes is taken as one."""
    free = ray.available_resources()  # type: ignore[no-untyped-call]
    return min(int(free.get(name, 0.0) / amount + 1e-9) for name, amount in each.items())


def _cluster() -> dict[str, float]:
    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def _listed(resources: dict[str, float]) -> str:
    return " and ".join(f"{resources[name]:g} {name}" for name in ("CPU", "GPU") if name in resources)


def home_node() -> str:
    """The id of the node that this process is on."""
    return str(ray.get_runtime_context().get_node_id())


def mark_folder(folder: Path, key: str) -> None:
    """Leave a mark in a folder, by which workers elsewhere see that they look at the same folder. Raises ResourceError.

    Always: a node may join later.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CLUSTER_MARK).write_text(key, encoding="ascii")
    except OSError as error:
        raise resource_error(error, folder) from error


# On the workers


def placed(job: Job, home: str, key: str) -> Job:
    """The job as this node can do it: at home as it is, elsewhere with its data brought here once and mapped from there.

    Raises:
        ResourceError: the study's folder is not to be seen from here, or this node's cache cannot be written.
    """
    if home_node() == home:
        return job
    _check_shared(Path(job.folder), key)
    data = dataclasses.replace(job.data, folder=str(_bring(Path(job.data.folder), job.data.fingerprint, home)))
    evaluation, latency = job.evaluation, job.latency
    if evaluation.prompts_file is not None:
        evaluation = dataclasses.replace(evaluation, prompts_file=str(_bring_file(evaluation.prompts_file, home)))
    if latency.table is not None:
        latency = dataclasses.replace(latency, table=str(_bring_file(latency.table, home)))
    return dataclasses.replace(job, data=data, evaluation=evaluation, latency=latency)


def _address() -> str:
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def _check_shared(folder: Path, key: str) -> None:
    with contextlib.suppress(OSError):
        if (folder / CLUSTER_MARK).read_text(encoding="ascii") == key:
            return
    raise ResourceError(
        f"{folder}: the node {_address()} does not see the controller's folder of this name. Checkpoints go from node to node "
        "through it: put --out on a file system that every node mounts in the same place."
    )


def _bring(folder: Path, fingerprint: str, home: str) -> Path:
    """A prepared corpus of the home node, in this node's cache: copied by the first worker that needs it, for all others."""
    final = cache_folder() / "datasets" / fingerprint
    final.parent.mkdir(parents=True, exist_ok=True)
    with (final.parent / f".{fingerprint}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not final.exists():
            with building(final) as fresh:
                for name, size in _ask_home(_listing, home, str(folder)):
                    _copy(folder / name, fresh / name, size, home)
    return final


def _bring_file(path: str, home: str) -> Path:
    """A file of the home node, in this node's cache; small ones, so each job brings its own."""
    ((name, size),) = _ask_home(_listing, home, path)
    final: Path = cache_folder() / "brought" / hashlib.sha256(path.encode()).hexdigest()[:16] / name
    partial = final.with_name(f"{name}.{os.getpid()}.tmp")
    _copy(Path(path), partial, size, home)
    partial.replace(final)
    return final


def _copy(source: Path, target: Path, size: int, home: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for begin in range(0, size, _CHUNK_BYTES):
            file.write(_ask_home(_chunk, home, str(source), begin))


def _ask_home(function: Callable[..., Any], home: str, *arguments: Any) -> Any:
    """What `function` says on the home node; it travels through Ray's object store."""
    there = NodeAffinitySchedulingStrategy(home, soft=False)
    return ray.get(ray.remote(num_cpus=0)(function).options(scheduling_strategy=there).remote(*arguments))


def _listing(path: str) -> list[tuple[str, int]]:
    """The files of a folder by relative name, with their sizes; of a file, itself."""
    root = Path(path)
    if root.is_file():
        return [(root.name, root.stat().st_size)]
    return [(str(file.relative_to(root)), file.stat().st_size) for file in sorted(root.rglob("*")) if file.is_file()]


def _chunk(path: str, begin: int) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(begin)
        return file.read(_CHUNK_BYTES)
