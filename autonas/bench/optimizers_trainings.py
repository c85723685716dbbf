"""The trainings behind `bench optimizers`: one training by one optimizer, cooled down at two lengths, with averages of weights.

A training that has ended is kept in a file of its own and not repeated; the folder's name has a digest of all it depends on.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.data.batches import training_windows
from autonas.data.dataset import Dataset
from autonas.errors import TrialFailure
from autonas.evaluation.latency import resolve_device
from autonas.evaluation.loss import evaluate_loss, loss_scores
from autonas.model.transformer import build_model
from autonas.recipe import Recipe
from autonas.run_folder import write_json
from autonas.training.loop import finish_steps, train
from autonas.training.state import TrainState, fork_cooldown, new_state
from autonas.trial import TrainingSettings, to_json

# The filter's lambda and alpha are those that its authors found for transformers (arXiv 2405.20233, section 3).
ARMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "adamw": {},
    "muon": {"optimizer": "muon"},
    "adamw + grokfast": {"grokfast": 2.0, "grokfast_alpha": 0.98},
    "muon + grokfast": {"optimizer": "muon", "grokfast": 2.0, "grokfast_alpha": 0.98},
}
# The mean age of the weights in a running mean, as shares of a training; and of LAWA (arXiv 2306.03241) how many weights.
EMA_SHARES: Final = (0.01, 0.05)
LAWA: Final = (6, 0.02)  # so many, so far apart
_BLOCK_STEPS, _BLOCKS = 4, 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What all trainings have in common."""

    recipe: Recipe
    spec: ArchSpec
    dataset: Dataset
    device: str
    folder: Path

    @property
    def tokens(self) -> int:
        return self.recipe.search.rungs[-1]

    @property
    def cooldown_tokens(self) -> int:
        return round(self.tokens * self.recipe.search.cooldown_share)

    @property
    def total_tokens(self) -> int:
        return self.tokens + self.cooldown_tokens

    def settings(self, arm: str, rate: float, schedule: str = "wsd") -> TrainingSettings:
        changes = {**ARMS[arm], "learning_rate": rate, "schedule": schedule}
        return dataclasses.replace(self.recipe.training, **changes)

    def begin(self, settings: TrainingSettings, seed: int) -> TrainState:
        """`seed` is of the weights and of the order of windows: trainings of one seed are paired."""
        model = build_model(self.spec, seed, resolve_device(self.device))
        windows = training_windows(self.dataset, self.spec.context_length, seed)
        return new_state(model, windows, settings, seed=seed, total_tokens=self.total_tokens)


def trained(
    task: Task, settings: TrainingSettings, seed: int, share: float = 1.0, *, averages: bool = False
) -> dict[str, float]:
    """Validation losses by name, in nats per token; empty where the training failed.

    "end": of the whole schedule. "equal time": of one that had `share` of its tokens, where that is below 1. With `averages`
    also "half way", "trunk" (before the cooldown) and "end", each with the suffixes of the averages.
    """
    asked = {"settings": to_json(settings), "seed": seed, "share": share, "averages": averages, "spec": task.spec.to_dict()}
    asked |= {"tokens": task.tokens, "cooldown": task.cooldown_tokens, "data": task.dataset.ref.fingerprint}
    asked |= {"ema": EMA_SHARES, "lawa": LAWA, "evaluation": to_json(task.recipe.evaluation)}

    def train_it() -> dict[str, float]:
        try:
            return _train(task, settings, seed, share, averages)
        except TrialFailure:
            return {}

    losses: dict[str, float] = _remembered(task.folder, asked, "losses", train_it)
    return losses


def _remembered(folder: Path, asked: Mapping[str, Any], name: str, find: Callable[[], Any]) -> Any:
    """What was found when the same was asked before; else it is found now and kept."""
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{digest}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))[name]
    found = find()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"asked": asked, name: found})
    return found


def _train(task: Task, settings: TrainingSettings, seed: int, share: float, averages: bool) -> dict[str, float]:
    state = task.begin(settings, seed)
    score = functools.partial(_loss, task)
    kept = Averages(state, task.total_tokens) if averages else None
    losses: dict[str, float] = {}

    def look(name: str) -> None:
        losses[name] = score(state)
        if kept is not None:
            losses.update({f"{name}, {average}": loss for average, loss in kept.losses(state, score)})

    if settings.schedule == "cosine":
        _follow(state, task.total_tokens // 2, kept)
        look("half way")
        _follow(state, task.total_tokens, kept)
        look("end")
        return losses
    if averages:
        _follow(state, task.total_tokens // 2, kept)
        look("half way")
    if share < 1.0:
        _follow(state, round(share * task.tokens), kept)
        fork = fork_cooldown(state, round(share * task.cooldown_tokens))
        _follow(fork, None, None)
        losses["equal time"] = score(fork)
    _follow(state, task.tokens, kept)
    if averages:
        look("trunk")
    state = fork_cooldown(state, task.cooldown_tokens)
    _follow(state, None, kept)
    look("end")
    return losses


def _follow(state: TrainState, until: int | None, kept: Averages | None) -> None:
    for _ in train(state, until_tokens=until):
        if kept is not None:
            kept.see(state)


def _loss(task: Task, state: TrainState) -> float:
    documents = evaluate_loss(state.model, task.dataset, task.recipe.evaluation)
    return loss_scores(documents)["val_loss"].value


class Averages:
    """Running means of a training's weights, and the mean of some of the latest. `see` is told of every step."""

    def __init__(self, state: TrainState, total_tokens: int) -> None:
        self._total = total_tokens
        self._means = {share: state.optimizer.flat.weights.clone() for share in EMA_SHARES}
        self._latest: deque[Tensor] = deque(maxlen=LAWA[0])
        self._tokens = state.tokens

    @torch.no_grad()
    def see(self, state: TrainState) -> None:
        weights, passed = state.optimizer.flat.weights, state.tokens - self._tokens
        for share, mean in self._means.items():
            # Young at the beginning: never older than a tenth of what there is to average over.
            age = max(min(share * self._total, 0.1 * state.tokens), passed)
            mean.lerp_(weights, passed / age)
        every = LAWA[1] * self._total
        if state.tokens // every > self._tokens // every:
            self._latest.append(weights.clone())
        self._tokens = state.tokens

    def losses(self, state: TrainState, score: Callable[[TrainState], float]) -> Iterator[tuple[str, float]]:
        """The loss of each average."""
        found = {f"ema {share:.0%}": mean for share, mean in self._means.items()}
        found[f"lawa {LAWA[0]} x {LAWA[1]:.0%}"] = torch.stack([*self._latest]).mean(dim=0)
        for name, weights in found.items():
            with _instead(state, weights):
                yield name, score(state)


@contextmanager
def _instead(state: TrainState, weights: Tensor) -> Iterator[None]:
    """The model has `weights` meanwhile."""
    own = state.optimizer.flat.weights
    before = own.clone()
    with torch.no_grad():
        own.copy_(weights)
    try:
        yield
    finally:
        with torch.no_grad():
            own.copy_(before)


def step_seconds(task: Task, rate: float, seed: int) -> dict[str, list[float]]:
    """Seconds of a step by each arm, in blocks that take turns: of the processor's time, or of an accelerator's clock."""
    asked = {"settings": [to_json(task.settings(arm, rate)) for arm in ARMS], "spec": task.spec.to_dict(), "seed": seed}
    asked |= {"device": str(resolve_device(task.device)), "threads": torch.get_num_threads()}
    seconds: dict[str, list[float]] = _remembered(task.folder, asked, "seconds", lambda: _step_seconds(task, rate, seed))
    return seconds


def _step_seconds(task: Task, rate: float, seed: int) -> dict[str, list[float]]:
    device = resolve_device(task.device)
    states = {arm: task.begin(task.settings(arm, rate), seed) for arm in ARMS}
    found: dict[str, list[float]] = {arm: [] for arm in ARMS}
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    for block in range(_BLOCKS + 1):
        for arm, state in states.items():
            finish_steps(device)
            begun = clock()
            for _ in train(state, until_tokens=state.tokens + _BLOCK_STEPS * state.step_tokens):
                pass
            finish_steps(device)
            if block:  # the first makes ready
                found[arm].append((clock() - begun) / _BLOCK_STEPS)
    return found


def best_rate(losses: Mapping[float, Mapping[str, float]]) -> float | None:
    """The rate with the lowest loss at the end; None where every training failed."""
    ended: Sequence[float] = [rate for rate, found in losses.items() if "end" in found]
    return min(ended, key=lambda rate: losses[rate]["end"], default=None)
