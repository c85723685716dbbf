"""One job from beginning to end: build, check, train, measure. `python -m autonas.worker job.json` replays one by hand.

Needs neither Ray nor Optuna. Everything a job leaves behind lies in its study's folder: `checkpoints/<trial>/trunk.safetensors`
(the stable trunk, replaced as it grows), `checkpoints/<trial>/cooled.safetensors` (the weights last scored) and
`metrics/<trial>.jsonl`.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import functools
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from autonas.data.batches import training_windows
from autonas.data.dataset import Dataset
from autonas.errors import AutonasError, CheckpointError, RequestError, TrialFailure, resource_error
from autonas.evaluation.collapse import COUNTED, measure_collapse, real_range
from autonas.evaluation.decoding import followed_decoding
from autonas.evaluation.held_out import Shown, held_out
from autonas.evaluation.latency import lease_name, measured_latency, resolve_device
from autonas.evaluation.leak import leak_test
from autonas.evaluation.lease import Turn, sharing
from autonas.floor import Floor
from autonas.full_run import deadline_of, run_full
from autonas.model.transformer import build_model
from autonas.pinning import pin_threads
from autonas.run_folder import rewrite_lines
from autonas.training.attempts import check_attempt, claim_attempt
from autonas.training.checkpoint import load, save, save_model
from autonas.training.graphs import order_products
from autonas.training.guards import memory_guard
from autonas.training.loop import Progress, finish_steps, train
from autonas.training.rollback import settle
from autonas.training.state import Rollback, TrainState, fork_cooldown, new_state
from autonas.training.streams import own_stream
from autonas.trial import Failure, Job, JobSpan, Outcome, Sample, Score, from_json, to_json
from autonas.tuning.tune import run_tuning

CURVE_POINTS = 32  # of the trunk up to a rung, and of each cooldown

order_products()

OnProgress = Callable[[Job, Progress], None]


def run_job(
    job: Job,
    *,
    on_progress: OnProgress | None = None,
    stop: Callable[[], bool] | None = None,
    floor: Floor | None = None,
) -> Outcome:
    """Do what `job` asks; how it fails is part of the outcome.

    Trainings in other threads that share its `floor` go on beside it, between its steps; on CUDA each has a stream of its own.

    Raises:
        RequestError: the job cannot be done as asked here, whatever the trial (no data, no device, a full disk, a corrupt
            checkpoint). The trial has not failed and can be tried again.
        TrialFailure: kind "preempted" only: `stop` said so; what the last checkpoint holds is kept.
    """
    started, began_at = time.monotonic(), datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    cores = pin_threads(max(job.threads, job.latency.threads))
    torch.set_num_threads(job.threads)
    outcome = _outcome(job, started, on_progress, stop, floor)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    span = JobSpan(worker=worker, began_at=began_at, seconds=round(time.monotonic() - started, 3))
    checks = {**outcome.checks, "cores": cores} if cores else outcome.checks
    return dataclasses.replace(outcome, checks=checks, span=span)


def _outcome(
    job: Job, started: float, on_progress: OnProgress | None, stop: Callable[[], bool] | None, floor: Floor | None
) -> Outcome:
    try:
        if job.kind == "latency":
            return _run_latency(job, started)
        if job.kind == "run":
            return run_full(job, started, lambda step: None if on_progress is None else on_progress(job, step), stop)
        if job.kind == "tune":
            return run_tuning(job, started, lambda step: None if on_progress is None else on_progress(job, step), stop)
        return _run_train(job, started, on_progress, stop, floor)
    except TrialFailure as failure:
        if failure.kind == "preempted":
            raise
        return _failed(job, started, Failure(kind=failure.kind, message=str(failure)))
    except (AutonasError, KeyboardInterrupt):
        raise
    except OSError as error:
        raise resource_error(error, error.filename or job.folder) from error
    except Exception as error:  # noqa: BLE001 — a bug in one architecture's path must not end the study
        return _failed(job, started, Failure(kind="error", message=f"{type(error).__name__}: {error}"))


def _failed(job: Job, started: float, failure: Failure) -> Outcome:
    return Outcome(
        kind=job.kind,
        trial=job.trial,
        attempt=job.attempt,
        rung=job.budget.rung,
        seconds=time.monotonic() - started,
        failure=failure,
    )


def _run_latency(job: Job, started: float) -> Outcome:
    result = measured_latency(job.spec, job.latency)
    return Outcome(
        kind="latency",
        trial=job.trial,
        attempt=job.attempt,
        rung=job.budget.rung,
        seconds=time.monotonic() - started,
        scores={"latency": result.decode, "prefill_latency": result.prefill},
        checks={f"latency {key}": value for key, value in result.stamps.items()},
    )


def _run_train(
    job: Job,
    started: float,
    on_progress: OnProgress | None,
    stop: Callable[[], bool] | None,
    floor: Floor | None,
) -> Outcome:
    dataset = Dataset.open(job.data.folder, job.data.fingerprint)
    device = resolve_device(job.device)
    stream = nullcontext() if floor is None else own_stream(device)
    with sharing(lease_name(device), functools.partial(finish_steps, device), floor) as turn, stream:
        return _train_and_measure(job, started, dataset, turn, on_progress, stop)


def _train_and_measure(
    job: Job,
    started: float,
    dataset: Dataset,
    turn: Turn,
    on_progress: OnProgress | None,
    stop: Callable[[], bool] | None,
) -> Outcome:
    """All of a training job's work on the device; what it stood still meanwhile is not counted in its time."""
    state, found = _build(job, dataset)
    turn.make_way()
    folder = Path(job.folder) / "checkpoints" / f"{job.trial:05d}"
    claim_attempt(folder, job.attempt)
    trunk = folder / "trunk.safetensors"
    _load_trunk(trunk, state, job)
    begun_at = state.tokens
    state.planned_tokens = job.budget.tokens + job.budget.cooldown_tokens
    check = functools.partial(check_attempt, folder, job.attempt)
    metrics = Metrics(Path(job.folder) / "metrics" / f"{job.trial:05d}.jsonl", job.budget.rung, state.tokens, check)

    def report(progress: Progress) -> None:
        if on_progress is not None:
            on_progress(job, progress)

    def interrupted() -> bool:
        # Only here: what an evaluation begins on the device is not made to run beside another.
        turn.pass_on()
        turn.make_way()
        return stop is not None and stop()

    deadline = deadline_of(job, started)
    training = functools.partial(train, stop=interrupted, deadline=deadline, clock=turn.clock, aside=turn.aside)
    _train_trunk(job, state, trunk, metrics, training(state, until_tokens=job.budget.tokens), report)
    with memory_guard(f"forking {job.spec.fingerprint}"):
        state.step = state.kept = None  # the trunk is done here: its memory is the fork's
        fork = fork_cooldown(state, job.budget.cooldown_tokens)
    _follow(training(fork), fork, job.budget.cooldown_tokens, metrics, "cooldown", report)
    fork.step = fork.kept = None
    check()
    save_model(folder / "cooled.safetensors", fork.model, {"rung": job.budget.rung, "tokens": fork.tokens})
    # What runs beside this is finished too: generation captures graphs, and no other thread should wait for the device then.
    finish_steps(fork.device)
    outcome = _measure(job, dataset, fork, metrics, found, turn)
    return dataclasses.replace(
        outcome,
        new_tokens=fork.tokens - begun_at,
        seconds=turn.clock() - started,
        findings=(*fork.findings(), *outcome.findings),
    )


def _build(job: Job, dataset: Dataset) -> tuple[TrainState, str]:
    """The state of a training that has not begun, of a model that passed the leak test, and what that found."""
    if "degeneration" in job.objectives:
        real_range(dataset, job.evaluation)  # found out now, and not behind the last step
    windows = training_windows(dataset, job.spec.context_length, job.data_seed, job.unique_tokens)
    with memory_guard(f"building {job.spec.fingerprint}"):
        model = build_model(job.spec, job.seed, resolve_device(job.device))
        found = leak_test(model)
        # A rate that the space chose is judged as it is: going on at half of it would be the score of another.
        own_rate = job.spec.learning_rate is not None
        training = dataclasses.replace(job.training, rollbacks=0) if own_rate else job.training
        state = new_state(model, windows, training, seed=job.seed, data_fingerprint=job.data.fingerprint)
    return state, found


def _load_trunk(trunk: Path, state: TrainState, job: Job) -> None:
    if not trunk.exists():
        return
    load(trunk, state)
    if state.tokens > state.whole_steps(job.budget.tokens):
        raise CheckpointError(
            f"{trunk}: is at {state.tokens:,} tokens, beyond the rung of {job.budget.tokens:,} that is to be scored. "
            "It belongs to a later rung or to another study; remove it to train this one from its first token."
        )


def _train_trunk(
    job: Job,
    state: TrainState,
    trunk: Path,
    metrics: Metrics,
    progress: Iterator[Progress],
    report: Callable[[Progress], None],
) -> None:
    """Train to the rung's tokens, saving now and then, and at the rung."""
    saved_at = time.monotonic()

    def keep() -> None:
        nonlocal saved_at
        if time.monotonic() - saved_at >= job.checkpoint_every_s:
            check_attempt(trunk.parent, job.attempt)
            save(trunk, state)
            saved_at = time.monotonic()

    _follow(progress, state, job.budget.tokens, metrics, "stable", report, keep)
    settle(state)  # a rung's end that is scored is a good state; to keep the copies would make the file three times as large
    check_attempt(trunk.parent, job.attempt)
    save(trunk, state)


def _follow(
    progress: Iterator[Progress],
    state: TrainState,
    length_tokens: int,
    metrics: Metrics,
    phase: str,
    report: Callable[[Progress], None],
    at_boundary: Callable[[], None] | None = None,
) -> None:
    """Exhaust a training, writing the mean loss of every stretch of tokens; `at_boundary` is called between stretches.

    Stretches end at fixed token counts, and checkpoints are taken there only: a resumed training writes the same curve. Where
    the training goes back into a stretch, its line is of what comes behind.
    """
    stretch = max(length_tokens // CURVE_POINTS, state.step_tokens)
    weighted, last = 0.0, state.tokens
    begun = state.tokens
    num_rollbacks = len(state.rollbacks)
    for step in progress:
        if len(state.rollbacks) > num_rollbacks:
            last = begun = metrics.go_back(phase, state.rollbacks[num_rollbacks:])
            weighted, num_rollbacks = 0.0, len(state.rollbacks)
        weighted += step.loss * (step.tokens - last)
        last = step.tokens
        report(step)
        if step.tokens // stretch > begun // stretch:
            metrics.write(phase, step, weighted / (step.tokens - begun))
            weighted, begun = 0.0, step.tokens
            if at_boundary is not None:
                at_boundary()
    if last > begun:
        assert step is not None
        metrics.write(phase, step, weighted / (last - begun))


class Metrics:
    """A trial's training curve as a file of JSON lines. Those beyond `tokens`, where the trunk goes on, are dropped.

    `check` is called before each line: it raises when the file is another attempt's by now.
    """

    def __init__(self, path: Path, rung: int, tokens: int, check: Callable[[], None]) -> None:
        self._path = path
        self._rung = rung
        self._check = check
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        points = [json.loads(line) for line in lines if _whole(line)]
        earlier = [point for point in points if point["phase"] == "cooldown" and point["rung"] < rung]
        self._points = [point for point in points if point["tokens"] <= tokens or point in earlier]
        self._why = ""  # the training went back before the next line
        rewrite_lines(path, (json.dumps(point) + "\n" for point in self._points))

    def go_back(self, phase: str, rollbacks: Sequence[Rollback]) -> int:
        """Drop the lines of `phase` that the last of `rollbacks` undid; returns where the training went back to.

        The next line says why.
        """
        self._check()
        tokens = rollbacks[-1].to_tokens

        def is_undone(point: dict[str, Any]) -> bool:
            own = phase == "stable" or point["rung"] == self._rung  # the trunk is one, and each rung has its cooldown
            return bool(own and point["phase"] == phase and point["tokens"] > tokens)

        self._points = [point for point in self._points if not is_undone(point)]
        self._why = "; ".join(one.text for one in rollbacks)
        rewrite_lines(self._path, (json.dumps(point) + "\n" for point in self._points))
        return tokens

    def write(self, phase: str, progress: Progress, mean_loss: float) -> None:
        self._check()
        point = {**to_json(progress), "loss": mean_loss, "phase": phase, "rung": self._rung}
        if self._why:
            point["rollback"], self._why = self._why, ""
        self._points.append(point)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(point) + "\n")

    def curve(self) -> tuple[tuple[int, float], ...]:
        """(tokens, mean training loss) of the trunk."""
        return tuple((point["tokens"], point["loss"]) for point in self._points if point["phase"] == "stable")


def _whole(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _measure(job: Job, dataset: Dataset, fork: TrainState, metrics: Metrics, leak: str, turn: Turn) -> Outcome:
    """Score the cooled model by every objective that was asked for. The outcome's time is the caller's to say."""
    settings = job.evaluation
    shown = Shown(tokens=fork.tokens, windows=fork.windows)
    with memory_guard(f"evaluating {job.spec.fingerprint}"), followed_decoding() as decoding:
        found = held_out(fork.model, dataset, settings, shown, make_way=turn.make_way)
        scores: dict[str, Score] = dict(found.scores)
        samples: tuple[Sample, ...] = ()
        if COUNTED.keys() & set(job.objectives):
            rates, samples = measure_collapse(
                fork.model, dataset, settings, job.data_seed, wanted=job.objectives, make_way=turn.make_way
            )
            scores.update(rates)
    turn.make_way()
    return Outcome(
        kind="train",
        trial=job.trial,
        attempt=job.attempt,
        rung=job.budget.rung,
        seconds=0.0,
        scores=scores,
        tokens=fork.tokens,
        documents=found.documents,
        baselines=found.baselines,
        curve=metrics.curve(),
        samples=samples,
        checks={"leak": leak, "device": str(fork.device), **fork.checks(), "watch": fork.watched(), **decoding, **found.checks},
        findings=found.findings,
    )


def main(arguments: list[str] | None = None) -> int:
    """Replay a job from its file; prints the outcome as JSON. In a fresh folder unless --in-place, so from its first token."""
    parser = argparse.ArgumentParser(prog="python -m autonas.worker", description=main.__doc__)
    parser.add_argument("job", type=Path, help="a file of trials/<study>/jobs/")
    parser.add_argument("--in-place", action="store_true", help="use and replace the checkpoints of the job's own folder")
    options = parser.parse_args(arguments)
    try:
        values = json.loads(options.job.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it is not a JSON object")
        with tempfile.TemporaryDirectory() as fresh:
            job = from_json(Job, values if options.in_place else {**values, "folder": fresh})
            outcome = run_job(job)
    except (OSError, ValueError) as error:
        print(f"autonas: {options.job}: not a job: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except RequestError as error:
        print(f"autonas: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print(json.dumps(to_json(outcome), indent=1))  # noqa: T201
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
