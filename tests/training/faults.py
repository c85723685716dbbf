"""Planted faults: steps that go wrong at given tokens, for real."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autonas.kernels import find_kernels
from autonas.training.graphs import GraphStep, Way
from autonas.training.native import NativeStep
from autonas.training.state import Step, TrainState
from autonas.training.steps import EagerStep

PATHS = ("eager", "native", "program")
Plant = Callable[[TrainState], object]


def step_by(path: str) -> Step:
    """A way of taking steps on a processor, in float32."""
    if path == "native":
        kernels, reason = find_kernels(32)
        assert kernels is not None, reason
        return NativeStep(kernels)
    return EagerStep() if path == "eager" else GraphStep(way=Way(recorded=False))


class Faulty:
    """A step behind which something is planted where it ends at one of `at` tokens; at the first rate only, or always."""

    def __init__(self, step: Step, plant: Plant, *at: int, always: bool = False) -> None:
        self._step, self._plant, self._at, self._always = step, plant, at, always

    @property
    def path(self) -> str:
        return self._step.path

    def __call__(self, state: TrainState) -> Tensor:
        measured = self._step(state).clone()
        if state.tokens + state.step_tokens in self._at and (self._always or state.schedule.factor == 1.0):
            with torch.no_grad():
                self._plant(state)
        return measured


def kick(state: TrainState) -> None:
    """What a bad update does: every weight is off by far."""
    noise = torch.randn(state.optimizer.flat.weights.shape, generator=torch.Generator().manual_seed(3))
    state.optimizer.flat.weights.add_(noise, alpha=3.0)


def spoil(name: str, value: float = float("nan"), place: Any = 0) -> Plant:
    """One value of the weight `name` becomes `value`."""

    def plant(state: TrainState) -> None:
        dict(state.model.named_parameters())[name].view(-1)[place] = value

    return plant
