"""One job from beginning to end: build, check, train, measure. `python -m autonas.worker job.json` replays one by hand.

Needs neither Ray nor Optuna. Everything a job leaves behind lies in its study's folder: `checkpoints/<trial>/trunk.safetensors`
(the stable trunk, replaced as it grows), `checkpoints/<trial>/cooled.safetensors` (the weights last scored) and
`metrics/<trial>.jsonl`.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from autonas.data.batches import Windows
from autonas.data.dataset import Dataset
from autonas.errors import AutonasError, CheckpointError, RequestError, TrialFailure, resource_error
from autonas.evaluation.baselines import baselines
from autonas.evaluation.collapse import measure_collapse
from autonas.evaluation.latency import lease_name, measured_latency, resolve_device
from autonas.evaluation.leak import leak_test
from autonas.evaluation.lease import sharing
from autonas.evaluation.loss import evaluate_loss, loss_scores
from autonas.full_run import run_full
from autonas.model.transformer import build_model
from autonas.training.attempts import check_attempt, claim_attempt
from autonas.training.checkpoint import load, save, save_model
from autonas.training.guards import memory_guard
from autonas.training.loop import Progress, TrainState, fork_cooldown, new_state, train
from autonas.trial import EvaluationSettings, Failure, Job, Outcome, Sample, Score, from_json, to_json

CURVE_POINTS = 32  # of the trunk up to a rung, and of each cooldown
_WINDOWS_AT_ONCE = 4096

OnProgress = Callable[[Job, Progress], None]


def run_job(job: Job, *, on_progress: OnProgress | None = None, stop: Callable[[], bool] | None = None) -> Outcome:
    """Do what `job` asks; how it fails is part of the outcome.

    Raises:
        RequestError: the job cannot be done as asked here, whatever the trial (no data, no device, a full disk, a corrupt
            checkpoint). The trial has not failed and can be tried again.
        TrialFailure: kind "preempted" only: `stop` said so; what the last checkpoint holds is kept.
    """
    started = time.monotonic()
    torch.set_num_threads(job.threads)
    try:
        if job.kind == "latency":
            return _run_latency(job, started)
        if job.kind == "run":
            return run_full(job, started, lambda step: None if on_progress is None else on_progress(job, step), stop)
        return _run_train(job, started, on_progress, stop)
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


def _run_train(job: Job, started: float, on_progress: OnProgress | None, stop: Callable[[], bool] | None) -> Outcome:
    dataset = Dataset.open(job.data.folder, job.data.fingerprint)
    windows = Windows(dataset.tokens("train"), job.spec.context_length, job.data_seed)
    with memory_guard(f"building {job.spec.fingerprint}"):
        model = build_model(job.spec, job.seed, resolve_device(job.device))
        found = leak_test(model)
        state = new_state(model, windows, job.training, seed=job.seed, data_fingerprint=job.data.fingerprint)
    folder = Path(job.folder) / "checkpoints" / f"{job.trial:05d}"
    claim_attempt(folder, job.attempt)
    trunk = folder / "trunk.safetensors"
    if trunk.exists():
        load(trunk, state)
        if state.tokens > state.whole_steps(job.budget.tokens):
            raise CheckpointError(
                f"{trunk}: is at {state.tokens:,} tokens, beyond the rung of {job.budget.tokens:,} that is to be scored. "
                "It belongs to a later rung or to another study; remove it to train this one from its first token."
            )
    begun_at = state.tokens
    deadline = None if job.time_limit_s is None else started + job.time_limit_s
    metrics = Metrics(Path(job.folder) / "metrics" / f"{job.trial:05d}.jsonl", job.budget.rung, state.tokens)

    def report(progress: Progress) -> None:
        if on_progress is not None:
            on_progress(job, progress)

    with sharing(lease_name(resolve_device(job.device))) as make_way:

        def interrupted() -> bool:
            make_way()
            return stop is not None and stop()

        _train_trunk(job, state, trunk, metrics, report, interrupted, deadline)
        fork = fork_cooldown(state, job.budget.cooldown_tokens)
        cooling = train(fork, stop=interrupted, deadline=deadline)
        _follow(cooling, fork, job.budget.cooldown_tokens, metrics, "cooldown", report)
        check_attempt(folder, job.attempt)
        save_model(folder / "cooled.safetensors", fork.model, {"rung": job.budget.rung, "tokens": fork.tokens})
        outcome = _measure(job, started, dataset, fork, metrics, found)
    return dataclasses.replace(outcome, new_tokens=fork.tokens - begun_at)


def _train_trunk(
    job: Job,
    state: TrainState,
    trunk: Path,
    metrics: Metrics,
    report: Callable[[Progress], None],
    stop: Callable[[], bool],
    deadline: float | None,
) -> None:
    """Train to the rung's tokens, saving now and then, and at the rung."""
    saved_at = time.monotonic()

    def keep() -> None:
        nonlocal saved_at
        if time.monotonic() - saved_at >= job.checkpoint_every_s:
            check_attempt(trunk.parent, job.attempt)
            save(trunk, state)
            saved_at = time.monotonic()

    progress = train(state, until_tokens=job.budget.tokens, stop=stop, deadline=deadline)
    _follow(progress, state, job.budget.tokens, metrics, "stable", report, keep)
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

    Stretches end at fixed token counts, and checkpoints are taken there only: a resumed training writes the same curve.
    """
    stretch = max(length_tokens // CURVE_POINTS, state.step_tokens)
    weighted, last = 0.0, state.tokens
    begun = state.tokens
    for step in progress:
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
    """A trial's training curve as a file of JSON lines. Those beyond `tokens`, where the trunk goes on, are dropped."""

    def __init__(self, path: Path, rung: int, tokens: int) -> None:
        self._path = path
        self._rung = rung
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        points = [json.loads(line) for line in lines if _whole(line)]
        earlier = [point for point in points if point["phase"] == "cooldown" and point["rung"] < rung]
        self._points = [point for point in points if point["tokens"] <= tokens or point in earlier]
        path.write_text("".join(json.dumps(point) + "\n" for point in self._points), encoding="utf-8")

    def write(self, phase: str, progress: Progress, mean_loss: float) -> None:
        point = {**to_json(progress), "loss": mean_loss, "phase": phase, "rung": self._rung}
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


def _measure(job: Job, started: float, dataset: Dataset, fork: TrainState, metrics: Metrics, leak: str) -> Outcome:
    """Score the cooled model by every objective that was asked for."""
    settings = job.evaluation
    with memory_guard(f"evaluating {job.spec.fingerprint}"):
        documents = evaluate_loss(fork.model, dataset, settings)
        scores: dict[str, Score] = loss_scores(documents)
        samples: tuple[Sample, ...] = ()
        if {"collapse_rate", "collapse_prior"} & set(job.objectives):
            scores["collapse_rate"], scores["collapse_prior"], samples = measure_collapse(
                fork.model, dataset, settings, job.data_seed
            )
    shown = -(-fork.tokens // job.spec.context_length)
    known = _baselines(job.data.folder, job.spec.context_length, job.data_seed, shown, settings)
    return Outcome(
        kind="train",
        trial=job.trial,
        attempt=job.attempt,
        rung=job.budget.rung,
        seconds=time.monotonic() - started,
        scores=scores,
        tokens=fork.tokens,
        documents=documents,
        baselines=known,
        curve=metrics.curve(),
        samples=samples,
        checks={"leak": leak, "device": str(next(fork.model.parameters()).device)},
    )


@functools.lru_cache(maxsize=64)
def _baselines(folder: str, context: int, data_seed: int, num_windows: int, settings: EvaluationSettings) -> dict[str, float]:
    """N-gram losses after the first `num_windows` windows: the same for every trial that was shown the same tokens."""
    dataset = Dataset.open(folder)
    windows = Windows(dataset.tokens("train"), context, data_seed)
    parts = (
        windows.take(first, min(_WINDOWS_AT_ONCE, num_windows - first)) for first in range(0, num_windows, _WINDOWS_AT_ONCE)
    )
    return baselines(parts, dataset, settings)


def measure_speed(job: Job, *, seconds: float = 2.0) -> float:
    """Seconds per training token of the job's architecture on this machine: the median of the steps that fit in `seconds`.

    The tokens are random: what they are does not change the work.
    """
    torch.set_num_threads(job.threads)
    model = build_model(job.spec, job.seed, resolve_device(job.device))
    generator = torch.Generator().manual_seed(0)
    num_tokens = max(job.training.batch_tokens * 2, job.spec.context_length + 1)
    tokens = torch.randint(job.spec.vocab_size, (num_tokens + 1,), generator=generator)
    dtype = "uint16" if job.spec.vocab_size <= 65_536 else "uint32"
    windows = Windows(tokens.numpy().astype(dtype), job.spec.context_length, 0)
    state = new_state(model, windows, job.training, seed=0)
    rates = []
    begun = time.monotonic()
    for progress in train(state, until_tokens=10**12):
        rates.append(1.0 / progress.tokens_per_s)
        if len(rates) >= 3 and time.monotonic() - begun >= seconds:
            break
    ordered = sorted(rates[1:])
    return ordered[len(ordered) // 2]


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
