"""Small real trainings: tokens with something to learn in them, and models of a few thousand weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from autonas.arch import ArchSpec
from autonas.data.batches import Windows
from autonas.model.transformer import build_model
from autonas.training.state import TrainState, new_state
from autonas.trial import TrainingSettings

StateMaker = Callable[..., TrainState]
CONTEXT = 16
STEP_TOKENS = 4 * CONTEXT


def tiny_spec(**changes: Any) -> ArchSpec:
    values: dict[str, Any] = {"layers": 2, "width": 16, "heads": 2, "kv_heads": 1, "ffn_multiplier": 2.0}
    values |= {"vocab_size": 64, "context_length": CONTEXT}
    return ArchSpec(**(values | changes))


def tiny_settings(**changes: Any) -> TrainingSettings:
    values: dict[str, Any] = {"learning_rate": 2e-3, "batch_tokens": STEP_TOKENS, "warmup_tokens": 4 * STEP_TOKENS}
    return TrainingSettings(**(values | {"precision": "float32"} | changes))


@pytest.fixture(scope="session")
def tokens() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """A noisy walk: the next token is mostly the last one plus three."""
    rng = np.random.default_rng(0)
    steps = np.where(rng.random(5_000) < 0.9, 3, rng.integers(0, 64, 5_000))
    return (np.cumsum(steps) % 64).astype(np.uint16)


@pytest.fixture
def make_state(tokens: np.ndarray[Any, np.dtype[np.uint16]]) -> StateMaker:
    """A training that has not begun; keywords of a spec, of settings, and `seed`, `data_seed`, `total_tokens`."""

    def make(
        *,
        spec: ArchSpec | None = None,
        settings: TrainingSettings | None = None,
        seed: int = 1,
        data_seed: int = 0,
        **rest: Any,
    ) -> TrainState:
        model = build_model(spec or tiny_spec(), seed)
        windows = Windows(tokens, CONTEXT, data_seed)
        return new_state(model, windows, settings or tiny_settings(), seed=seed, data_fingerprint="walk", **rest)

    return make
