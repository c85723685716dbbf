"""One full training of one architecture, with a folder of its own: resumable, evaluated, loadable.

The folder holds `spec.json`, `run.json` (settings and data), `tokenizer.json`, `metrics.jsonl`, `checkpoints/last.safetensors`,
and when the run has ended `model.safetensors` and `evaluation.json`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autonas import cost, machine
from autonas.arch import ArchSpec
from autonas.data.batches import Windows
from autonas.data.dataset import Dataset
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CheckpointError, RequestError, StudyError, TrialFailure, resource_error
from autonas.evaluation.baselines import baselines
from autonas.evaluation.collapse import measure_collapse
from autonas.evaluation.latency import measured_latency, resolve_device
from autonas.evaluation.leak import leak_test
from autonas.evaluation.loss import evaluate_loss, loss_scores
from autonas.model.transformer import Transformer, build_model
from autonas.training.checkpoint import load, load_model, save, save_model
from autonas.training.guards import memory_guard
from autonas.training.loop import Progress, TrainState, fork_cooldown, new_state, train
from autonas.trial import EvaluationSettings, LatencySettings, Score, TrainingSettings, to_json

CHECKPOINT_EVERY_S = 20.0
METRICS_EVERY_S = 1.0
_BASELINE_WINDOWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Everything a run depends on but its architecture and data."""

    steps: int
    seed: int
    training: TrainingSettings
    evaluation: EvaluationSettings
    latency: LatencySettings
    cooldown_share: float  # of the stable phase; used by the schedule "wsd"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRun:
    """A trained model with its tokenizer, ready to use."""

    model: Transformer
    tokenizer: Tokenizer
    spec: ArchSpec


def train_run(
    spec: ArchSpec,
    dataset: Dataset,
    settings: RunSettings,
    *,
    out: Path,
    resume: bool = False,
    device: str = "auto",
    threads: int = 1,
    say: Callable[[str], None] = lambda text: None,
    on_progress: Callable[[Progress, int], None] = lambda progress, total: None,
) -> dict[str, Any]:
    """Train `spec` for `settings.steps` steps into the folder `out`; returns its evaluation, as in `evaluation.json`.

    Raises:
        StudyError: `out` holds a run already (without `resume`) or none (with it), or a run of something else.
        RequestError: the architecture cannot be trained here: a leak, no memory, a loss that diverges or is no number.
    """
    torch.set_num_threads(threads)
    _claim(out, spec, dataset, settings, resume)
    windows = Windows(dataset.tokens("train"), spec.context_length, settings.seed)
    try:
        with memory_guard(f"building {spec.fingerprint}"):
            model = build_model(spec, settings.seed, resolve_device(device))
            found = leak_test(model)
        state = _train(model, windows, dataset, settings, out, say, on_progress)
        say("evaluating")
        save_model(out / "model.safetensors", state.model, {"tokens": state.tokens})
        with memory_guard(f"evaluating {spec.fingerprint}"):
            evaluation = evaluate(state.model, dataset, settings)
    except TrialFailure as failure:
        raise RequestError(f"the run in {out} ended ({failure.kind}): {failure}. Its last checkpoint is kept.") from failure
    except OSError as error:
        raise resource_error(error, error.filename or out) from error
    shown = -(-state.tokens // spec.context_length)
    parts = (windows.take(i, min(_BASELINE_WINDOWS, shown - i)) for i in range(0, shown, _BASELINE_WINDOWS))
    evaluation |= {
        "tokens": state.tokens,
        "epochs": state.tokens / (windows.num_windows * spec.context_length),
        "baselines": baselines(parts, dataset, settings.evaluation),
        "checks": {"leak": found},
        "environment": {**machine.environment(), "device": device, "threads": threads},
    }
    _write(out / "evaluation.json", evaluation)
    return evaluation


def _claim(out: Path, spec: ArchSpec, dataset: Dataset, settings: RunSettings, resume: bool) -> None:
    """Make `out` the folder of this run, or see that it is already."""
    about = {"spec": spec.to_dict(), "data_fingerprint": dataset.fingerprint, "settings": to_json(settings)}
    record = out / "run.json"
    if record.exists():
        if not resume:
            raise StudyError(f"{out} holds a run already. Go on with it (--resume) or give another --out.")
        try:
            known = dict(json.loads(record.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise StudyError(f"{record}: cannot be read ({error}). Restore it, or give another --out.") from error
        changed = _differences(known, json.loads(json.dumps(about)))
        if changed:
            raise StudyError(f"{out} holds another run: {'; '.join(changed[:5])}. Give another --out.")
        return
    if resume:
        raise StudyError(f"{out} holds no run to go on with. Leave out --resume to start one.")
    try:
        (out / "checkpoints").mkdir(parents=True, exist_ok=True)
        dataset.tokenizer.save(out / "tokenizer.json")
    except OSError as error:
        raise resource_error(error, error.filename or out) from error
    _write(out / "spec.json", spec.to_dict())
    _write(record, about)


def _differences(before: Any, after: Any, place: str = "") -> list[str]:
    """Where two JSON values differ, with both values."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = dict.fromkeys([*before, *after])
        return [line for n in names for line in _differences(before.get(n), after.get(n), f"{place}.{n}".lstrip("."))]
    return [] if before == after else [f"{place} was {before}, is {after}"]


def _train(
    model: Transformer,
    windows: Windows,
    dataset: Dataset,
    settings: RunSettings,
    out: Path,
    say: Callable[[str], None],
    on_progress: Callable[[Progress, int], None],
) -> TrainState:
    """The whole schedule: stable phase and cooldown ("wsd"), or one cosine; from the last checkpoint if there is one."""
    probe = new_state(model, windows, settings.training, seed=settings.seed, total_tokens=1)
    total = settings.steps * probe.step_tokens
    state = new_state(
        model, windows, settings.training, seed=settings.seed, total_tokens=total, data_fingerprint=dataset.fingerprint
    )
    last = out / "checkpoints" / "last.safetensors"
    if last.exists():
        load(last, state)
        say(f"going on from the checkpoint at {state.tokens:,} of {total:,} tokens")
    log = _Log(out / "metrics.jsonl", state.tokens)
    wsd = settings.training.schedule == "wsd"
    cooldown_steps = max(1, round(settings.steps * settings.cooldown_share / (1 + settings.cooldown_share))) if wsd else 0
    trunk = total - cooldown_steps * state.step_tokens
    cooling = wsd and state.schedule.end_tokens is not None
    if not cooling:
        _follow(state, trunk, total, log, last, on_progress)
    if wsd:
        if not cooling:
            state = fork_cooldown(state, cooldown_steps * state.step_tokens)
            save(last, state)
        _follow(state, total, total, log, last, on_progress)
    return state


def _follow(
    state: TrainState, until: int, total: int, log: _Log, last: Path, on_progress: Callable[[Progress, int], None]
) -> None:
    saved_at = time.monotonic()
    for progress in train(state, until_tokens=until):
        log.add(progress)
        on_progress(progress, total)
        if time.monotonic() - saved_at >= CHECKPOINT_EVERY_S:
            log.flush()
            save(last, state)
            saved_at = time.monotonic()
    log.flush()
    save(last, state)


class _Log:
    """metrics.jsonl: about one line a second, each the mean since the line before; lines beyond `tokens` are dropped."""

    def __init__(self, path: Path, tokens: int) -> None:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if _is_of_the_past(line, tokens)]
        path.write_text("".join(kept), encoding="utf-8")
        self._path = path
        self._losses: list[float] = []
        self._latest: Progress | None = None
        self._since = time.monotonic()

    def add(self, progress: Progress) -> None:
        self._losses.append(progress.loss)
        self._latest = progress
        if time.monotonic() - self._since >= METRICS_EVERY_S:
            self.flush()

    def flush(self) -> None:
        if self._latest is not None:
            point = {**to_json(self._latest), "loss": sum(self._losses) / len(self._losses)}
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(point) + "\n")
        self._losses, self._latest, self._since = [], None, time.monotonic()


def _is_of_the_past(line: str, tokens: int) -> bool:
    """Whether a line of metrics is whole and no later than `tokens`."""
    try:
        return line.endswith("\n") and int(json.loads(line)["tokens"]) <= tokens
    except (ValueError, KeyError, TypeError):
        return False


def evaluate(model: Transformer, dataset: Dataset, settings: RunSettings) -> dict[str, Any]:
    """Every score of a model, with intervals and samples, JSON-ready."""
    documents = evaluate_loss(model, dataset, settings.evaluation)
    collapse, prior, samples = measure_collapse(model, dataset, settings.evaluation, settings.seed)
    latency = measured_latency(model.spec, settings.latency)
    scores: dict[str, Score] = {
        **loss_scores(documents),
        "params": Score.exact(cost.count_params(model.spec), "parameters"),
        "memory": Score.exact(cost.inference_bytes(model.spec), "bytes"),
        "latency": latency.decode,
        "prefill_latency": latency.prefill,
        "collapse_rate": collapse,
        "collapse_prior": prior,
    }
    return {"spec": model.spec.to_dict(), "scores": to_json(scores), "samples": to_json(samples)}


def load_run(run: Path, device: str = "cpu") -> LoadedRun:
    """The trained model in a run's folder.

    Raises:
        StudyError: there is no finished run.
        CheckpointError: its weights are damaged.
        TokenizerError: its tokenizer is damaged.
    """
    weights = run / "model.safetensors"
    if not weights.exists():
        state = "has not ended yet; go on with --resume" if (run / "run.json").exists() else "is no run"
        raise StudyError(f"{run}: {state}. `autonas train --spec FILE --out {run}` makes one.")
    model, _ = load_model(weights, resolve_device(device))
    tokenizer = Tokenizer.load(run / "tokenizer.json")
    if tokenizer.vocab_size != model.spec.vocab_size:
        raise CheckpointError(
            f"{run}: the tokenizer has {tokenizer.vocab_size} entries and the model {model.spec.vocab_size}. "
            "One of them is of another run; restore it."
        )
    return LoadedRun(model=model, tokenizer=tokenizer, spec=model.spec)


def _write(path: Path, value: Any) -> None:
    try:
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise resource_error(error, path) from error
