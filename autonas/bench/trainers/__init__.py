"""Who trains in `autonas bench train`: ours and its peers, one file each. Each is a function that serves turns of steps."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autonas.arch import ArchSpec
from autonas.bench.shapes import Style
from autonas.bench.turns import NotMeasured, Turns
from autonas.data.batches import Windows
from autonas.trial import TrainingSettings

FLAGS = "flags"  # the request for how one runs, in words; every other request is a number of steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What all of them train: the same first weights, tokens, order, batch and optimiser."""

    spec: ArchSpec
    batch_tokens: int
    tokens_file: str
    device: str
    threads: int
    compile: bool = True  # peers that have a compiled way
    compile_mode: str | None = None
    peer_dir: str | None = None
    # Without warm-up and decay: their fine print (which step, which weights) differs between libraries, and costs no time.
    learning_rate: float = 5e-4
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0

    @property
    def batch_windows(self) -> int:
        return self.batch_tokens // self.spec.context_length

    def tokens(self) -> np.ndarray:
        tokens: np.ndarray = np.load(self.tokens_file)
        return tokens

    def windows(self) -> Windows:
        return Windows(self.tokens(), self.spec.context_length, 0)

    def settings(self) -> TrainingSettings:
        """The optimiser as `autonas` is told of it."""
        return TrainingSettings(
            learning_rate=self.learning_rate,
            weight_decay=0.0,
            batch_tokens=self.batch_tokens,
            warmup_tokens=0,
            beta1=self.beta1,
            beta2=self.beta2,
            clip_norm=self.clip_norm,
            rate_scaling="none",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainer:
    """One that trains: where its function is, what it trains, and what it needs to be installed."""

    title: str
    module: str
    style: Style
    way: str = ""  # handed to its function
    packages: tuple[str, ...] = ()
    smooths: bool = True
    drops: bool = True

    def missing(self, task_spec: ArchSpec, peer_dir: str | None) -> str | None:
        """Why it cannot take part, or None."""
        gone = [package for package in self.packages if importlib.util.find_spec(package) is None]
        if gone:
            return f"{' and '.join(gone)} not installed; pip install 'autonas[peers]'"
        if self.module == "nanogpt":
            if peer_dir is None:
                return "it needs a checkout; give its folder with --peer-dir"
            if not Path(peer_dir, "model.py").is_file():
                return f"there is no model.py in {peer_dir}; give a checkout of nanoGPT with --peer-dir"
        if task_spec.label_smoothing and not self.smooths:
            return "it does not smooth labels"
        if task_spec.residual_dropout and not self.drops:
            return "it has no such dropout"
        return None


_TRANSFORMERS = ("transformers", "accelerate")
OURS = Trainer(title="autonas", module="ours", style="own")
PEERS: dict[str, Trainer] = {
    "hf": Trainer(
        title="Hugging Face Trainer, default", module="hugging_face", style="own", way="default", packages=_TRANSFORMERS
    ),
    "hf-tuned": Trainer(
        title="Hugging Face Trainer, tuned", module="hugging_face", style="own", way="tuned", packages=_TRANSFORMERS
    ),
    "loop": Trainer(title="plain PyTorch loop", module="loop", style="own"),
    "llama": Trainer(
        title="Hugging Face Trainer, LlamaForCausalLM",
        module="hugging_face",
        style="llama",
        way="llama",
        packages=_TRANSFORMERS,
        smooths=False,
        drops=False,
    ),
    "nanogpt": Trainer(title="nanoGPT", module="nanogpt", style="gpt", smooths=False),
}


def serve(turns: Turns, task: Task, trainer: Trainer) -> None:
    """Run one of them, in its own process."""
    try:
        module: Any = importlib.import_module(f"autonas.bench.trainers.{trainer.module}")
    except ImportError as error:
        raise NotMeasured(f"{error}; pip install 'autonas[peers]'") from error
    module.serve(turns, task, trainer.way)
