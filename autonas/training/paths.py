"""Which way a training takes its steps here."""

from __future__ import annotations

import contextlib

from autonas.errors import ResourceError
from autonas.kernels import find_kernels
from autonas.training.graphs import GraphStep
from autonas.training.native import NativeStep
from autonas.training.precision import autocast_dtype
from autonas.training.proof import doubt
from autonas.training.state import Step, TrainState
from autonas.training.steps import EagerStep
from autonas.training.tiers import compiles, remember_compiled, use_shared_caches, was_compiled


def choose_step(state: TrainState) -> Step:
    """The fastest way that there is for this model on this device, and that has proved itself on it.

    Where that is not the one that the device should have, `state.slower_because` says why.
    """
    if state.device.type == "cpu":
        return _on_processor(state)
    if state.device.type == "cuda":
        return _on_cuda(state)
    return EagerStep()


def _on_processor(state: TrainState) -> Step:
    kernels, reason = find_kernels(32 if autocast_dtype(state.settings.precision, state.device) is None else 16)
    if kernels is not None:
        step = NativeStep(kernels)
        # A training that goes on takes the way that it took, and that proved itself when it began.
        if step.path in state.paths:
            return step
        reason = doubt(state, step)
        if not reason:
            return step
    state.slower_because = reason
    return EagerStep()


def _on_cuda(state: TrainState) -> Step:
    """A graph, of compiled blocks where that pays. It says itself when it is given up."""
    use_shared_caches()

    def remember() -> None:
        # A cache that cannot be written costs the next training time, and this one nothing.
        with contextlib.suppress(ResourceError):
            remember_compiled(state)

    return GraphStep(compiled=compiles(state, cached=was_compiled(state)), on_compiled=remember)
