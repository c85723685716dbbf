"""Which way a training takes its steps here."""

from __future__ import annotations

import contextlib
from typing import Final

from autonas import cost
from autonas.errors import ResourceError
from autonas.kernels import find_kernels
from autonas.model.native import attention_bytes, part_windows
from autonas.training.graphs import GraphStep, Way, way_begun
from autonas.training.guards import is_out_of_memory
from autonas.training.native import NativeStep
from autonas.training.precision import autocast_dtype
from autonas.training.proof import doubt
from autonas.training.state import Step, TrainState
from autonas.training.steps import EagerStep
from autonas.training.tiers import compile_wish, compiles, remember_compiled, use_shared_caches, was_compiled

# Attention weights may take so much, or as much as all of a training is said to take: beyond that, where nobody counted on
# them, they could cost a worker its life.
_ATTENTION_BYTES: Final = 1 << 30


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
    begun = way_begun(state.paths)
    if begun is None and compile_wish() == "always" and not state.paths:
        begun = Way(recorded=False, compiled=True)
    if begun is not None and not begun.recorded:
        use_shared_caches()
        return GraphStep(way=begun)
    kernels, reason = find_kernels(32 if autocast_dtype(state.settings.precision, state.device) is None else 16)
    if kernels is not None:
        step = NativeStep(kernels)
        # A training that goes on takes the way that it took, and that proved itself when it began.
        if step.path in state.paths:
            return step
        reason = f"it began as {', '.join(sorted(state.paths))}" if state.paths else ""
        reason = reason or _too_long(state, kernels.bits) or _doubt(state, step)
        if not reason:
            return step
    state.slower_because = state.slower_because or reason
    return EagerStep()


def _too_long(state: TrainState, bits: int) -> str:
    spec = state.model.spec
    taken = attention_bytes(spec, min(part_windows(spec, state.micro_windows), state.step_windows), bits)
    if taken <= max(_ATTENTION_BYTES, cost.training_bytes(spec, state.step_tokens)):
        return ""
    return f"attention weights of a context of {spec.context_length:,} tokens would take {taken / 2**30:.1f} GiB"


def _doubt(state: TrainState, step: NativeStep) -> str:
    try:
        return doubt(state, step)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    # The plain path keeps no attention weights.
    return f"{step.path}: there is no memory for one window"


def _on_cuda(state: TrainState) -> Step:
    """A graph, of compiled blocks where that pays. It says itself what it gives up."""
    # A training that goes on takes the way that it took.
    begun = way_begun(path for path in state.paths if path.startswith("graph"))  # on a processor they have other names
    # Nobody gave a fused loss up where there is no Triton.
    if EagerStep.path in state.paths or (begun is not None and not begun.ordered):
        state.slower_because = state.slower_because or f"it began as {', '.join(sorted(state.paths))}"
    if EagerStep.path in state.paths:
        return EagerStep()
    use_shared_caches()

    def remember() -> None:
        # A cache that cannot be written costs the next training time, and this one nothing.
        with contextlib.suppress(ResourceError):
            remember_compiled(state)

    way = begun or Way(compiled=compiles(state, cached=was_compiled(state)))
    return GraphStep(way=way, on_compiled=remember)
