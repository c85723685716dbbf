"""Whether compiling a training's blocks is worth its time, and where compilers keep what they made.

A search trains a new shape every trial: 25 s of compiling against 5 s of training is the real cost of a start. One block is
compiled for all layers, and only where the time that it should save is longer than the time that it takes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from autonas import cost
from autonas.data.cache import key_of, write_file
from autonas.errors import RequestError
from autonas.machine import cache_folder
from autonas.training.state import TrainState


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileCosts:
    """What is assumed of compiled blocks beside a graph of torch's own kernels. Not measured on a GPU yet.

    `speed_up` is of fewer passes over activations; a compiler from nothing takes the 25 s that torch.compile took on two cores
    (docs/performance.md), one that finds its kernels in the cache still traces.
    """

    speed_up: float = 1.3
    fresh_s: float = 25.0
    cached_s: float = 4.0
    flops_per_s: float = 2e14  # of a training without: about a quarter of what an H200's products reach


def pays(training_s: float, speed_up: float, compile_s: float) -> bool:
    """Whether what a speed-up saves of `training_s` is more than `compile_s`."""
    return training_s * (1.0 - 1.0 / speed_up) > compile_s


def compiles(state: TrainState, *, cached: bool, costs: CompileCosts | None = None) -> bool:
    """Whether the blocks of a training should be compiled: as `$AUTONAS_COMPILE` says, else where it pays.

    That is not known where nobody has said how long the training is to be. Raises RequestError.
    """
    if (wish := compile_wish()) != "auto":
        return wish == "always"
    costs = costs or CompileCosts()
    if state.planned_tokens is None:
        return False
    left = max(state.planned_tokens - state.tokens, 0)
    training_s = left * cost.training_flops_per_token(state.model.spec) / costs.flops_per_s
    compile_s = costs.cached_s if cached else costs.fresh_s
    # With dropout they are compiled a second time without, to be compared with torch's own (graphs.py).
    drops = state.model.spec.attention_dropout or state.model.spec.residual_dropout
    return pays(training_s, costs.speed_up, 2.0 * compile_s if drops else compile_s)


def compile_wish() -> str:
    """`$AUTONAS_COMPILE`: always, never, or auto, which it is when nobody has set it. Raises RequestError."""
    wish = os.environ.get("AUTONAS_COMPILE") or "auto"
    if wish not in ("auto", "always", "never"):
        raise RequestError(f"AUTONAS_COMPILE is {wish!r}; set it to auto, always or never")
    return wish


def use_shared_caches() -> None:
    """Let Triton and inductor keep what they compile beside the prepared data: for all workers, and the next study.

    To be called before either is used. What the user has set stays.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "inductor"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(cache_folder() / "triton"))


def was_compiled(state: TrainState) -> bool:
    """Whether a block of this shape has been compiled here before, so that the caches should have it."""
    return _mark(state).exists()


def remember_compiled(state: TrainState) -> None:
    """Let `was_compiled` know. Raises ResourceError."""
    write_file(_mark(state), b"")


def _mark(state: TrainState) -> Path:
    spec = state.model.spec
    alike = {name: value for name, value in spec.to_dict().items() if name not in _SAME_BLOCKS}
    device = torch.cuda.get_device_name(state.device) if state.device.type == "cuda" else state.device.type
    windows = min(state.micro_windows or state.step_windows, state.step_windows)
    key = key_of(alike, windows, state.settings.precision, torch.__version__, device)
    return cache_folder() / "compiled" / key


# What a block is the same without.
_SAME_BLOCKS = frozenset(
    {"layers", "vocab_size", "tied_embeddings", "label_smoothing", "learning_rate", "weight_decay", "batch_tokens"}
)
