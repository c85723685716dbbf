"""The engine of Ray workers, on one machine or a cluster.

Ray Tune underneath, one Tune trial per job: our `Searcher` hands out the jobs that the study has started, a reusing class
`Trainable` runs them on warm workers, our `TrialScheduler` ends them when the engine is closed. Tune decides nothing: what is
trained, how far and how often again is the study's business, and Tune's own experiment state is thrown away.

Tune runs in a thread of its own, since in the main thread it would swallow Ctrl-C. The driver never imports torch.
"""

from __future__ import annotations

import dataclasses
import json
import queue
import shutil
import tempfile
import threading
import time
import typing
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayTaskError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

import autonas
from autonas import machine
from autonas.engine.base import OnProgress
from autonas.engine.choice import EngineSettings
from autonas.engine.ray_cluster import (
    connect,
    count_workers,
    disconnect,
    free_workers,
    home_node,
    mark_folder,
    placed,
    worker_resources,
)
from autonas.engine.task import Report, Task, failed
from autonas.errors import ClusterError, RequestError, ResourceError
from autonas.trial import Failure, Job, Outcome, to_json

STEP_S = 1.0  # of a worker's answers; Ctrl-C waits no longer than this
_CLOSE_S = 10.0
_RECOUNT_S = 5.0
_ALL = 1_000_000  # workers that may idle; there are never more than jobs have been started


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
_FINISHED = typing.cast(dict[str, Any], Searcher.FINISHED)  # a text, which Ray's annotations of `suggest` leave out


class RayEngine:
    """Runs as many jobs at once as there are workers. `stop` is asked while `wait` waits, as Ctrl-C would be.

    Connects when its capacity is first asked for or a job is started.

    Raises:
        RequestError: no cluster answers, or it has no room for workers of this size. From `capacity` and `start`.
        ClusterError: the cluster has gone while jobs were under way. From `wait`.
    """

    name = "ray"

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
        self._connected = False
        self._each: dict[str, float] = {}  # what one worker takes
        self._workers = 0
        self._counted_at = float("-inf")
        self._marked: set[str] = set()

    @property
    def capacity(self) -> int:
        """Workers that fit now; nodes that join or leave change it, unless the settings say how many."""
        self._connect()
        if time.monotonic() - self._counted_at >= _RECOUNT_S:
            try:
                self._workers = count_workers(self._settings, self._each)
            except ResourceError:
                # A node has gone. Jobs wait for one to come back; those that were on it come back as lost.
                self._workers = max(self._workers, 1)
            except Exception as error:
                raise ClusterError(f"Ray does not answer any more ({error}). What was finished is kept.") from error
            self._counted_at = time.monotonic()
        return self._workers

    def describe(self) -> str:
        workers = f"{self.capacity} {'worker' if self.capacity == 1 else 'workers'} on Ray"
        if self._owns_ray and self.capacity * self._settings.threads > machine.num_cores():
            return f"{workers}, with more threads than the {machine.num_cores()} cores here: they will be slower"
        free = free_workers(self._each)
        return workers if free >= self.capacity else f"{workers}, {self.capacity - free} of which wait for others to end"

    def start(self, job: Job) -> None:
        self._connect()
        order = _absolute(job)
        if order.folder not in self._marked:
            mark_folder(Path(order.folder), self._key)
            self._marked.add(order.folder)
        with self._exchange.changed:
            self._exchange.orders.append(order)
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
            if isinstance(event, RequestError):
                raise event
            if isinstance(event, Exception):
                what = str(event).strip().partition("\n")[0] or type(event).__name__
                raise ClusterError(f"Ray has stopped working ({what}). What was finished is kept.") from event
            if event.progress is not None and self._on_progress is not None:
                self._on_progress(event.progress)
            if event.outcome is not None:
                return [event.outcome]
            if event.refusal is not None:
                raise event.error()
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
            disconnect()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        _EXCHANGES.pop(self._key, None)

    def _ask_to_stop(self) -> None:
        if self._stop is not None and self._stop():
            raise KeyboardInterrupt

    def _connect(self) -> None:
        assert not self._exchange.closed, "the engine is closed"
        if self._connected:
            return
        self._owns_ray = connect(self._settings)
        _EXCHANGES[self._key] = self._exchange
        try:
            self._each = worker_resources(self._settings)
            self._workers = count_workers(self._settings, self._each)
        except BaseException:
            self.close()
            raise
        self._connected = True

    # Ray Tune, in its own thread

    def _run_tune(self) -> None:
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="autonas-tune-"))
            resources = {name.lower(): amount for name, amount in self._each.items()}
            tuner = tune.Tuner(
                tune.with_resources(_Worker, resources),
                param_space={"home": home_node(), "key": self._key, "version": autonas.__version__},
                tune_config=tune.TuneConfig(
                    search_alg=_Orders(self._key),
                    scheduler=_Closing(self._key),
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
                raise RuntimeError("Tune ended before the study")
        except Exception as error:  # noqa: BLE001 — whatever it is, the study's thread has to know
            if not self._exchange.closed:
                self._exchange.events.put(error)


class _Orders(Searcher):
    """Hands Tune the jobs that the study has started. Is pickled by Tune: holds a key and no locks."""

    def __init__(self, key: str) -> None:
        super().__init__(metric="done", mode="max")
        self._exchange_key = key

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        exchange = _EXCHANGES.get(self._exchange_key)
        if exchange is None:
            return _FINISHED
        with exchange.changed:
            # While jobs are under way Tune has to look after them. While none is, waiting here spares the second that it
            # would sleep before it asks again.
            if not exchange.under_way:
                exchange.changed.wait_for(lambda: exchange.orders or exchange.closed)
            if exchange.closed:
                return _FINISHED
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


class _Pool(TuneController):
    """Tune's controller, keeping workers: neither an idle one nor one that is just starting is thrown away.

    Tune itself keeps one idle actor: when two jobs end together, the second worker would be stopped. And it hands a warm
    worker to a job whose own worker is starting, and stops that one: where jobs are shorter than the start of a process, a
    node that has joined would never be used. Here the warm worker takes the next job. What is overridden is not public, but
    there is no other way; tests/engine/test_ray_tune.py and tests/test_ray_study.py see that it works.
    """

    @classmethod
    def take_over(cls, controller: TuneController, resources: Any) -> None:
        """Let an existing controller be one of this kind, whose workers take these resources."""
        controller.__class__ = cls
        controller._actor_manager.__class__ = _Actors
        controller._actor_cache.increase_max(resources, by=_ALL)

    def _maybe_reuse_cached_actor(self, trial: Trial) -> bool:
        own = self._trial_to_actor.get(trial)
        if own is not None and trial not in self._resetting_trials and self._actor_manager.is_actor_started(own):
            return False  # its own worker has its place on a node, and either comes up or fails
        return bool(super()._maybe_reuse_cached_actor(trial))


class _Actors(RayActorManager):
    """Tune's book of actors, for which a worker that Ray has killed for want of memory is lost like any other.

    Ray tells of it by an exception that Tune does not expect, and that would end the whole experiment.
    """

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        if not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        super()._actor_task_failed(tracked_actor_task, exception)


class _Closing(TrialScheduler):
    """Lets every job go on until the engine is closed."""

    def __init__(self, key: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._exchange_key = key
        self._took_over = False

    def _closed(self) -> bool:
        exchange = _EXCHANGES.get(self._exchange_key)
        return exchange is None or exchange.closed

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        if not self._took_over:
            self._took_over = True
            _Pool.take_over(tune_controller._tune_controller, trial.placement_group_factory)

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


class _Inbox(tune.Callback):
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
            exchange.events.put(_why_lost(trial, job))


# On the workers


class _Worker(tune.Trainable):
    """A process that serves one job after another."""

    def setup(self, config: dict[str, Any]) -> None:
        self._task: Task | None = None
        self._take(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._take(new_config)
        return True

    def _take(self, config: dict[str, Any]) -> None:
        self._give_up()
        self._task = Task(config["job"], config["version"], lambda job: placed(job, config["home"], config["key"]))

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


# Small things


def _absolute(job: Job) -> Job:
    """The job with paths that hold in a process with another working folder."""
    evaluation, latency = job.evaluation, job.latency
    if evaluation.prompts_file is not None:
        evaluation = dataclasses.replace(evaluation, prompts_file=str(Path(evaluation.prompts_file).resolve()))
    if latency.table is not None:
        latency = dataclasses.replace(latency, table=str(Path(latency.table).resolve()))
    data = dataclasses.replace(job.data, folder=str(Path(job.data.folder).resolve()))
    return dataclasses.replace(job, folder=str(Path(job.folder).resolve()), data=data, evaluation=evaluation, latency=latency)


def _why_lost(trial: Trial, job: Job) -> _Lost | RequestError:
    """What Tune wrote down of a trial whose worker is gone; a worker that could not even begin is nobody's job's fault."""
    try:
        text = Path(trial.error_file).read_text(encoding="utf-8", errors="replace")
    except (OSError, TypeError):
        text = ""
    told = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Failure #")]
    if "Traceback (most recent call last)" in text or "creation task" in text:
        return RequestError(f"a Ray worker cannot start ({told[-1][:300]}); is the same autonas installed on every node?")
    if "OutOfMemory" in text or "out of memory" in text.lower():
        return _Lost(job, Failure(kind="out_of_memory", message="its worker was killed for want of memory"))
    found = f" ({told[0][:200]})" if told else ""
    return _Lost(job, Failure(kind="preempted", message=f"its worker has gone: the process or its node was killed{found}"))
