"""What the controller costs: the share of the workers' time in which they wait for it, between trials of a stated length.

A real study on Ray workers: real training of equal shapes on the standard library's source, the default sampler, the embedded
ledger. Workers are warmed up before, and the trials' length is set by what they did then, side by side. Latency is no objective
here: measuring one is work, not overhead.

Two figures, with idle workers counted in both: until there was no more work to give out, and with the tail, in which some
workers have ended and others not yet.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from autonas.bench import Row
from autonas.data.dataset import prepare
from autonas.engine.base import Engine
from autonas.engine.choice import EngineSettings, make_engine
from autonas.errors import AutonasError
from autonas.recipe import load_recipe
from autonas.study import run_study
from autonas.trial import Job, Outcome

GOAL = 0.05
_WARMUP_TOKENS = 65_536
_BATCH_TOKENS = 1024
_SPACE = {
    "name": "overhead",
    "corpus": {"sources": ["python-stdlib"]},
    "tokenizer": {"algorithm": "bpe", "vocab_size": 2048},
    "context_length": 256,
    # Choices that change a fingerprint and hardly the work, so that the trials are equally long.
    "space": {
        "layers": 2,
        "width": 64,
        "heads": 2,
        "kv_heads": 2,
        "norm": {"choice": ["layernorm", "rmsnorm"]},
        "activation": {"choice": ["gelu", "silu"]},
        "position": {"choice": ["rope", "alibi", "learned"]},
        "ffn_multiplier": {"choice": [3, 3.25, 3.5]},
    },
    "objectives": ["val_loss", "params"],
    "calibration": False,
    "evaluation": {"validation_tokens": "16K"},
}


def measure(
    *,
    seconds: float = 30.0,
    trials_per_worker: int = 4,
    engine: EngineSettings | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """The overhead at trials of about `seconds`, with every worker given so many of them."""
    with tempfile.TemporaryDirectory(prefix="autonas-overhead-") as folder:
        watched = _Watched(make_engine(engine or EngineSettings(device="cpu")))
        try:
            return _measured(watched, Path(folder), seconds, trials_per_worker, say)
        finally:
            watched.close_for_good()


def _measured(watched: _Watched, folder: Path, seconds: float, trials_per_worker: int, say: Callable[[str], None]) -> list[Row]:
    """As `measure`, with the engine given and a folder to work in."""
    workers = watched.capacity
    trials = workers * trials_per_worker
    warm = _recipe_file(folder / "warm.yaml", tokens=_WARMUP_TOKENS, trials=workers)
    say(f"{watched.describe()}; warming up")
    rate = _warm_up(watched, warm, folder / "warm")
    tokens = max(round(seconds / rate / 1.2 / _BATCH_TOKENS), 2) * _BATCH_TOKENS
    say(f"{trials} trials of {tokens:,} tokens, about {seconds:.0f} s each")
    space = _recipe_file(folder / "space.yaml", tokens=tokens, trials=trials)
    watched.forget()
    study = run_study(load_recipe(str(space)), watched, name="overhead", folder=folder / "overhead")
    failed = [trial.number for trial in study.trials if trial.state == "failed"]
    if failed:
        raise AutonasError(f"trials {failed} failed: the measurement is of no use. Try again.")
    return _rows(watched, workers)


def _recipe_file(path: Path, *, tokens: int, trials: int) -> Path:
    budget = {"trials": trials, "rungs": [tokens], "batch_tokens": _BATCH_TOKENS, "cooldown": 0.2, "repeats": 0}
    training = {"warmup": min(16_384, tokens // 4), "learning_rate": 2e-3}
    path.write_text(yaml.safe_dump({**_SPACE, "budget": budget, "training": training}), encoding="utf-8")
    return path


def _warm_up(engine: _Watched, space: Path, folder: Path) -> float:
    """Train once on every worker at the same time; seconds per trained token while all are busy."""
    recipe = load_recipe(str(space))
    prepare(recipe.corpus, recipe.tokenizer)
    run_study(recipe, engine, name="warm", folder=folder)
    first = engine.spans[0].job
    engine.forget()
    jobs = [dataclasses.replace(first, trial=50_000 + i, attempt=9) for i in range(engine.capacity)]
    for job in jobs:
        engine.start(job)
    while len(engine.spans) < len(jobs):
        engine.wait()
    return max(span.outcome.seconds / max(span.outcome.new_tokens, 1) for span in engine.spans)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    job: Job
    outcome: Outcome
    begun: float
    ended: float


class _Watched:
    """An engine with a stopwatch. It stays open from study to study, as its workers stay warm; `close` is left to the end."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.name
        self._begun: dict[int, tuple[Job, float]] = {}
        self.spans: list[_Span] = []

    @property
    def capacity(self) -> int:
        return self._engine.capacity

    def describe(self) -> str:
        return self._engine.describe()

    def start(self, job: Job) -> None:
        self._begun[job.trial] = job, time.monotonic()
        self._engine.start(job)

    def wait(self) -> list[Outcome]:
        outcomes = self._engine.wait()
        now = time.monotonic()
        for outcome in outcomes:
            job, begun = self._begun.pop(outcome.trial)
            self.spans.append(_Span(job=job, outcome=outcome, begun=begun, ended=now))
        return outcomes

    def close(self) -> None:
        """Nothing: a study closes its engine, and the next one wants its workers warm."""

    def close_for_good(self) -> None:
        self._engine.close()

    def forget(self) -> None:
        self.spans = []


def _rows(watched: _Watched, workers: int) -> list[Row]:
    spans = sorted(watched.spans, key=lambda span: span.begun)
    begun = np.array([span.begun for span in spans])
    ended = np.sort([span.ended for span in spans])
    busy = np.array([span.outcome.seconds for span in spans])
    # A worker that becomes free is given the next job: the k-th end is followed by the k-th start after the first `workers`.
    freed = np.concatenate([np.full(workers, begun[0]), ended[: len(spans) - workers]])
    on_the_way = np.array([span.ended - span.begun for span in spans]) - busy
    lost = (begun - freed) + on_the_way
    share = lost.sum() / (lost.sum() + busy.sum())
    rng = np.random.default_rng(0)
    picks = rng.integers(len(spans), size=(2000, len(spans)))
    resampled = lost[picks].sum(1) / (lost[picks].sum(1) + busy[picks].sum(1))
    with_tail = 1.0 - busy.sum() / (workers * (ended[-1] - begun[0]))
    return [
        Row(
            metric="overhead until the work ran out",
            unit="share of the workers' time",
            ours=float(share),
            low=float(np.quantile(resampled, 0.025)),
            high=float(np.quantile(resampled, 0.975)),
            goal=GOAL,
            met=bool(share <= GOAL),
        ),
        Row(metric="overhead with the tail", unit="share of the workers' time", ours=float(with_tail)),
        Row(metric="lost per trial, median", unit="s", ours=float(np.median(lost))),
        Row(metric="lost per trial, 95th percentile", unit="s", ours=float(np.quantile(lost, 0.95))),
        Row(metric="trial, median", unit="s", ours=float(np.median(busy))),
        Row(metric="trials", unit="trials", ours=float(len(spans))),
        Row(metric="workers", unit="workers", ours=float(workers)),
    ]
