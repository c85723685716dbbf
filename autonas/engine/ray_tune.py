"""The engine of Ray workers, on one machine or a cluster: the only file that imports ray.

Ray Tune underneath, one Tune trial per job: our `Searcher` hands out the jobs that the study has started, a reusing class
`Trainable` runs them on warm workers, our `TrialScheduler` ends them when the engine is closed. Tune decides nothing: what is
trained, how far and how often again is the study's business, and Tune's own experiment state is thrown away.

Tune runs in a thread of its own, since in the main thread it would swallow Ctrl-C. The driver never imports torch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import logging
import os
import queue
import shutil
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Read by ray when it is imported or started. Tune's loggers would import torch into the driver, write each outcome three
# times and change the workers' folder; its snapshots would grow with every job, and are never read.
for _name, _value in {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_MAX_PENDING_TRIALS_PG": "64",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "5",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}.items():
    os.environ.setdefault(_name, _value)

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import autonas
from autonas import machine
from autonas.data.cache import building, cache_folder
from autonas.engine.base import OnProgress
from autonas.engine.choice import EngineSettings
from autonas.engine.task import Report, Task, failed
from autonas.errors import ClusterError, DeviceError, RequestError, ResourceError
from autonas.trial import Failure, Job, Outcome, from_json, to_json

STEP_S = 1.0  # of a worker's answers; Ctrl-C waits no longer than this
_CLOSE_S = 10.0
_CHUNK_BYTES = 64 * 2**20
_RECOUNT_S = 5.0
_MARK = ".autonas-cluster"


@dataclasses.dataclass(frozen=True, slots=True)
class _Lost:
    """A job whose worker is gone."""

    job: Job
    failure: Failure


class _Exchange:
    """What the study's thread and Tune's hand to each other. Kept apart from the Searcher, which Tune pickles."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.orders: deque[Job] = deque()
        self.under_way: dict[str, Job] = {}  # by Tune's trial id
        self.events: queue.Queue[Report | _Lost | Exception] = queue.Queue()
        self.closed = False


_EXCHANGES: dict[str, _Exchange] = {}


class RayEngine:
    """Runs as many jobs at once as there are workers. `stop` is asked while `wait` waits, as Ctrl-C would be.

    Connects when its capacity is first asked for or a job is started.

    Raises:
        RequestError: no cluster answers, or it has no room for a worker of this size. From `capacity` and `start`.
        ClusterError: the cluster has gone while jobs were under way. From `wait`.
    """

    def __init__(
        self,
        settings: EngineSettings | None = None,
        on_progress: OnProgress | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self._settings = settings or EngineSettings()
        self._on_progress, self._stop = on_progress, stop
        self._key = uuid.uuid4().hex
        self._exchange = _Exchange()
        self._thread: threading.Thread | None = None
        self._owns_ray = False
        self._folder: Path | None = None
        self._workers = 0
        self._counted_at = float("-inf")
        self._marked: set[str] = set()

    @property
    def capacity(self) -> int:
        """Workers that fit now; nodes that join or leave change it, unless the settings say how many."""
        self._connect()
        if time.monotonic() - self._counted_at >= _RECOUNT_S:
            self._counted_at = time.monotonic()
            self._workers = max(self._count_workers(), 1)
        return self._workers

    def start(self, job: Job) -> None:
        self._connect()
        placed = _absolute(job)
        self._mark(Path(placed.folder))
        with self._exchange.changed:
            self._exchange.orders.append(placed)
            self._exchange.changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run_tune, name="ray-tune", daemon=True)
            self._thread.start()

    def wait(self) -> list[Outcome]:
        while True:
            try:
                event = self._exchange.events.get(timeout=0.1)
            except queue.Empty:
                self._ask_to_stop()
                continue
            if isinstance(event, _Lost):
                return [failed(event.job, event.failure)]
            if isinstance(event, Exception):
                raise ClusterError(f"Ray has stopped working: {_first_line(event)}") from event
            if event.outcome is not None:
                return [event.outcome]
            if event.refusal is not None:
                raise event.error()
            if event.progress is not None and self._on_progress is not None:
                self._on_progress(event.progress)
            self._ask_to_stop()

    def close(self) -> None:
        with self._exchange.changed:
            self._exchange.closed = True
            self._exchange.orders.clear()
            self._exchange.changed.notify_all()
        if self._thread is not None:
            self._thread.join(_CLOSE_S)
            self._thread = None
        if self._owns_ray:
            self._owns_ray = False
            ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        _EXCHANGES.pop(self._key, None)

    def _ask_to_stop(self) -> None:
        if self._stop is not None and self._stop():
            raise KeyboardInterrupt

    # Connecting

    def _connect(self) -> None:
        assert not self._exchange.closed, "the engine is closed"
        if self._key in _EXCHANGES:
            return
        if not ray.is_initialized():
            _init(self._settings)
            self._owns_ray = True
        _EXCHANGES[self._key] = self._exchange
        try:
            if self._count_workers() < 1:
                raise DeviceError(self._too_small())
        except BaseException:
            self.close()
            raise

    def _uses_gpu(self) -> bool:
        device = self._settings.device
        return device.startswith("cuda") or (device == "auto" and ray.cluster_resources().get("GPU", 0.0) >= 1.0)

    def _resources(self) -> dict[str, float]:
        """What one worker takes."""
        gpus = self._settings.gpus_per_worker or 1.0
        return {"CPU": float(self._settings.threads), **({"GPU": gpus} if self._uses_gpu() else {})}

    def _count_workers(self) -> int:
        wanted = self._resources()
        fits = 0
        for node in ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                fits += min(_times(has.get(name, 0.0), each) for name, each in wanted.items())
        asked = self._settings.workers
        if asked is not None and asked > fits:
            raise ResourceError(
                f"--workers {asked}: {fits} workers of {_listed(wanted)} fit on what Ray has, {_listed(ray.cluster_resources())}. "
                "Ask for fewer or smaller ones."
            )
        return fits if asked is None else asked

    def _too_small(self) -> str:
        return (
            f"no worker of {_listed(self._resources())} fits on a node of what Ray has, {_listed(ray.cluster_resources())}. "
            "Choose fewer --threads, a smaller --gpus-per-worker, another --device, or a larger cluster."
        )

    def _mark(self, folder: Path) -> None:
        """Leave a mark in a job's folder, by which workers elsewhere see that they look at the same folder."""
        if str(folder) not in self._marked and len(ray.nodes()) > 1:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / _MARK).write_text(self._key, encoding="ascii")
            self._marked.add(str(folder))

    # Ray Tune, in its own thread

    def _run_tune(self) -> None:
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="autonas-tune-"))
            resources = {name.lower(): amount for name, amount in self._resources().items()}
            tuner = tune.Tuner(
                tune.with_resources(_Worker, resources),
                param_space={"home": ray.get_runtime_context().get_node_id(), "key": self._key, "version": autonas.__version__},
                tune_config=tune.TuneConfig(
                    search_alg=_Orders(self._key),
                    scheduler=_Closing(self._key, self._workers),
                    num_samples=-1,
                    reuse_actors=True,
                    trial_name_creator=lambda trial: trial.trial_id,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                ),
                run_config=tune.RunConfig(
                    name="tune",
                    storage_path=str(self._folder),
                    verbose=0,
                    callbacks=[_Inbox(self._key)],
                    failure_config=tune.FailureConfig(max_failures=0),
                    # Checkpoints are the worker's own business; Tune's would want a place that all nodes share.
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                ),
            )
            tuner.fit()
            if not self._exchange.closed:
                raise RuntimeError("Tune ended before the study")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 — whatever it is, the study's thread has to know
            if not self._exchange.closed:
                self._exchange.events.put(error)


class _Orders(Searcher):  # type: ignore[misc]
    """Hands Tune the jobs that the study has started. Is pickled by Tune: holds a key and no locks."""

    def __init__(self, key: str) -> None:
        super().__init__(metric="done", mode="max")
        self._exchange_key = key

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        exchange = _EXCHANGES.get(self._exchange_key)
        if exchange is None:
            return str(Searcher.FINISHED)
        with exchange.changed:
            # While jobs are under way Tune has to look after them. While none is, waiting here spares the second that it
            # would sleep before it asks again.
            if not exchange.under_way:
                exchange.changed.wait_for(lambda: exchange.orders or exchange.closed)
            if exchange.closed:
                return str(Searcher.FINISHED)
            if not exchange.orders:
                return None
            job = exchange.under_way[trial_id] = exchange.orders.popleft()
        return {"job": json.dumps(to_json(job))}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: `_Inbox` is told more."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what there is to remember stands in the ledger."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class _Closing(TrialScheduler):  # type: ignore[misc]
    """Lets every job go on until the engine is closed, and keeps as many idle workers warm as there are.

    Tune itself keeps one idle actor; when two jobs end together, the second worker would be stopped and the next job pay
    for another process and another import of torch.
    """

    def __init__(self, key: str, workers: int) -> None:
        super().__init__()
        self._exchange_key = key
        self._workers = workers
        self._warm: set[Any] = set()

    def _closed(self) -> bool:
        exchange = _EXCHANGES.get(self._exchange_key)
        return exchange is None or exchange.closed

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        resources = trial.placement_group_factory
        if resources not in self._warm:
            self._warm.add(resources)
            # Not public, but the only way; tests/engine/test_ray_tune.py sees that warm workers stay.
            for _ in range(self._workers):
                tune_controller._actor_cache.increase_max(resources)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        pass

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        return str(TrialScheduler.STOP if self._closed() else TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        pass

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        pass

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        # Tune starts whatever is pending by itself, in order; there is never anything paused.
        return None

    def debug_string(self) -> str:
        return "jobs in the study's order"


class _Inbox(tune.Callback):  # type: ignore[misc]
    """Takes workers' reports out of Tune's results, which Tune would keep to the end, and notices workers that are gone."""

    def __init__(self, key: str) -> None:
        self._exchange_key = key

    def on_trial_result(self, iteration: int, trials: Any, trial: Trial, result: dict[str, Any], **info: Any) -> None:
        text = result.pop("report", None)
        exchange = _EXCHANGES.get(self._exchange_key)
        if exchange is None or text is None:
            return
        report = Report.loads(text)
        if report.ended:
            with exchange.changed:
                exchange.under_way.pop(trial.trial_id, None)
        exchange.events.put(report)

    def on_trial_error(self, iteration: int, trials: Any, trial: Trial, **info: Any) -> None:
        exchange = _EXCHANGES.get(self._exchange_key)
        if exchange is None:
            return
        with exchange.changed:
            job = exchange.under_way.pop(trial.trial_id, None)
        if job is not None:
            exchange.events.put(_Lost(job, _why_lost(trial)))


# On the workers


class _Worker(tune.Trainable):  # type: ignore[misc]
    """A process that serves one job after another."""

    def setup(self, config: dict[str, Any]) -> None:
        self._task: Task | None = None
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._take(new_config)
        return True

    def _take(self, config: dict[str, Any]) -> None:
        self._give_up()
        job = from_json(Job, json.loads(config["job"]))
        self._task = Task(job, lambda job: _placed(job, config["home"], config["key"], config["version"]))

    def step(self) -> dict[str, Any]:
        assert self._task is not None
        report = self._task.report(STEP_S)
        return {"done": report.ended, "report": report.dumps()}

    def cleanup(self) -> None:
        self._give_up()

    def _give_up(self) -> None:
        if self._task is not None:
            self._task.stop(STEP_S)
            self._task = None


def _placed(job: Job, home: str, key: str, version: str) -> Job:
    """The job as this node can do it: at home as it is, elsewhere with its data brought here once and mapped from there."""
    if version != autonas.__version__:
        raise RequestError(f"a Ray node has autonas {autonas.__version__}, the controller {version}; install one version on all")
    context = ray.get_runtime_context()
    if context.get_node_id() == home:
        return job
    _check_shared(Path(job.folder), key)
    data = dataclasses.replace(job.data, folder=str(_bring(Path(job.data.folder), job.data.fingerprint, home)))
    evaluation, latency = job.evaluation, job.latency
    if evaluation.prompts_file is not None:
        evaluation = dataclasses.replace(evaluation, prompts_file=str(_bring_file(Path(evaluation.prompts_file), home)))
    if latency.table is not None:
        latency = dataclasses.replace(latency, table=str(_bring_file(Path(latency.table), home)))
    return dataclasses.replace(job, data=data, evaluation=evaluation, latency=latency)


def _check_shared(folder: Path, key: str) -> None:
    with contextlib.suppress(OSError):
        if (folder / _MARK).read_text(encoding="ascii") == key:
            return
    raise ResourceError(
        f"{folder}: the node {ray.util.get_node_ip_address()} does not see the controller's folder of this name. "
        "Checkpoints go from node to node through it: put --out on a file system that every node mounts in the same place."
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


def _bring_file(path: Path, home: str) -> Path:
    """A file of the home node, in this node's cache."""
    ((_, size),) = _ask_home(_listing, home, str(path))
    final = cache_folder() / "brought" / uuid.uuid4().hex / path.name
    final.parent.mkdir(parents=True)
    _copy(path, final, size, home)
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


# Small things


def _init(settings: EngineSettings) -> None:
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        if settings.ray_address is not None:
            ray.init(address=settings.ray_address, logging_level=logging.CRITICAL, log_to_driver=False)
            return
        cores = machine.num_cores()
        if settings.workers is not None:
            cores = max(cores, settings.workers * settings.threads)
        ray.init(
            address="local",
            num_cpus=cores,
            include_dashboard=False,
            object_store_memory=256 * 2**20,
            logging_level=logging.CRITICAL,
            log_to_driver=False,
        )
    except Exception as error:
        where = f"--ray-address {settings.ray_address}" if settings.ray_address else "this machine"
        raise DeviceError(
            f"{where}: Ray does not answer ({_first_line(error)}). "
            + (
                "Start it with `ray start --head`, check address and RAY_AUTH_MODE, or leave --ray-address out."
                if settings.ray_address
                else "`--engine inline` does without it."
            )
        ) from error


def _absolute(job: Job) -> Job:
    """The job with paths that hold in a process with another working folder."""
    evaluation, latency = job.evaluation, job.latency
    if evaluation.prompts_file is not None:
        evaluation = dataclasses.replace(evaluation, prompts_file=str(Path(evaluation.prompts_file).resolve()))
    if latency.table is not None:
        latency = dataclasses.replace(latency, table=str(Path(latency.table).resolve()))
    data = dataclasses.replace(job.data, folder=str(Path(job.data.folder).resolve()))
    return dataclasses.replace(job, folder=str(Path(job.folder).resolve()), data=data, evaluation=evaluation, latency=latency)


def _times(has: float, each: float) -> int:
    """How many workers that take `each` fit into `has`; parts of a GPU do not add up across GPUs."""
    return int(has // each) if each >= 1 else int(has) * int(1 / each + 1e-9)


def _listed(resources: dict[str, float]) -> str:
    return " and ".join(f"{resources.get(name, 0.0):g} {name}" for name in ("CPU", "GPU") if name in resources)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _why_lost(trial: Trial) -> Failure:
    error = trial.get_error()
    text = "" if error is None else f"{type(error).__name__}: {error}"
    if "OutOfMemory" in text or "out of memory" in text.lower():
        return Failure(kind="out_of_memory", message="its worker was killed for want of memory")
    return Failure(kind="preempted", message="its worker has gone: the process or its node was killed")
