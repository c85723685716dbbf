"""How fast an architecture trains here: it is trained for some seconds on random tokens. Which ones does not change the work.

A step of a large architecture takes too long to be timed whole. It is a straight line in its windows: fixed work (the
optimiser, the calls of each layer) and work for each window. So smaller steps are timed, and the line is followed to the full
batch.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
import torch

from autonas.arch import ArchSpec
from autonas.data.batches import Windows
from autonas.model.transformer import build_model
from autonas.training.loop import train
from autonas.training.state import TrainState, new_state
from autonas.trial import TrainingSettings

_LEAST_STEPS = 3  # timed at a batch size, after one that is not
_RATE = 1e-5  # nothing is learnt, and nothing may diverge
_ENDLESS = 10**15  # tokens of a cosine


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a training step of an architecture takes on a device."""

    seconds_per_step: float
    step_tokens: int
    timed_tokens: int  # of the largest step that was timed: fewer than `step_tokens` where the line was followed
    timed_steps: int

    @property
    def seconds_per_token(self) -> float:
        return self.seconds_per_step / self.step_tokens


def measure_speed(
    spec: ArchSpec,
    settings: TrainingSettings,
    *,
    device: torch.device,
    threads: int,
    seconds: float = 2.0,
    planned_tokens: int | None = None,
) -> Speed:
    """The mean over the steps that fit in about `seconds`. At least four steps of one window are taken, however long they take.

    `planned_tokens`: of the training that this is to say something of. One of another length may take its steps another way.

    Raises:
        DeviceError: a number format that the device does not have.
        TrialFailure: "out_of_memory".
    """
    torch.set_num_threads(threads)
    context = spec.context_length
    whole = max((spec.batch_tokens or settings.batch_tokens) // context, 1)  # windows of a step
    spec = dataclasses.replace(spec, learning_rate=_RATE, batch_tokens=None)
    model = build_model(spec, 0, device)
    tokens = np.random.default_rng(0).integers(spec.vocab_size, size=2 * whole * context + 1, dtype=np.uint32)
    state = new_state(model, Windows(tokens, context, 0), settings, seed=0, total_tokens=_ENDLESS)
    state.planned_tokens = planned_tokens
    one, steps_of_one = _seconds_per_step(state, 1, 0.2 * seconds)
    # What is left pays for one step that is not timed and the fewest that are; a larger step is at most in proportion.
    most = int(0.8 * seconds / ((_LEAST_STEPS + 1) * one))
    if whole == 1 or most < 2:
        return Speed(seconds_per_step=one * whole, step_tokens=whole * context, timed_tokens=context, timed_steps=steps_of_one)
    windows = min(most, whole)
    many, steps = _seconds_per_step(state, windows, 0.8 * seconds)
    each = min(max((many - one) / (windows - 1), 0.5 * many / windows), many / windows)
    return Speed(
        seconds_per_step=many + (whole - windows) * each,
        step_tokens=whole * context,
        timed_tokens=windows * context,
        timed_steps=steps,
    )


def num_gpus() -> int:
    """CUDA devices of this machine."""
    return torch.cuda.device_count()


def _seconds_per_step(state: TrainState, windows: int, seconds: float) -> tuple[float, int]:
    """The mean time of a step of so many windows, of those that fit in about `seconds`; and how many were timed."""
    state.settings = dataclasses.replace(state.settings, batch_tokens=windows * state.model.spec.context_length)
    _train_steps(state, 1)  # fills caches, and the allocator
    begun, steps, wanted = time.perf_counter(), 0, _LEAST_STEPS
    while steps < wanted:
        _train_steps(state, wanted - steps)
        steps = wanted
        each = (time.perf_counter() - begun) / steps
        wanted = max(wanted, min(int(seconds / each), 2 * wanted))
        if time.perf_counter() - begun + each > seconds:
            break
    return (time.perf_counter() - begun) / steps, steps


def _train_steps(state: TrainState, steps: int) -> None:
    state.tokens = state.whole_steps(state.tokens)
    for _ in train(state, until_tokens=state.tokens + steps * state.step_tokens):
        pass
