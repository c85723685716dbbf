"""A step that goes on with fewer windows at once when memory runs out. The tokens of a step stay what they are."""

from __future__ import annotations

import ctypes
import gc
import math

import torch
from torch import Tensor

from autonas.model.native import part_windows
from autonas.training.guards import is_out_of_memory
from autonas.training.native import NativeStep
from autonas.training.state import TrainState


def take_step(state: TrainState) -> Tensor:
    """Take the state's step; when memory runs out, again with half the windows at once, and so on down to one; then without
    the copies that a rollback would go back to.

    The gradients are the same but for rounding and for the masks of dropout. A step that fails has changed neither weights
    nor moments, so the one that is taken instead begins where it began. `state.micro_windows` and `state.shortages` say what
    happened.

    Raises:
        MemoryError, RuntimeError: as the step, when one window alone does not fit.
    """
    assert state.step is not None
    while True:
        try:
            return state.step(state)
        except (MemoryError, RuntimeError) as error:
            fewer = fewer_windows(state)
            if not is_out_of_memory(error) or (fewer is None and state.kept is None):
                raise
        # Only here: the error held on to what the step had allocated.
        give_way(state, fewer)


def give_way(state: TrainState, fewer: int | None) -> None:
    """Take less memory from now on: `fewer` windows at once, or where one is left no copies to go back to."""
    if fewer is None:
        state.kept = None
        state.no_rollback = "there is no memory for a copy of the weights and moments"
    else:
        state.micro_windows = fewer
        state.shortages += 1
    release_memory(state.device)


def fewer_windows(state: TrainState) -> int | None:
    """About half as many windows at once as now, in parts as even as can be; None when it is one already."""
    whole = state.step_windows
    now = min(state.micro_windows or whole, whole)
    if isinstance(state.step, NativeStep):
        now = min(now, part_windows(state.model.spec, now))  # as many as it takes whatever is allowed
    if now == 1:
        return None
    num_parts = 2 * math.ceil(whole / now)
    return math.ceil(whole / num_parts)


def release_memory(device: torch.device) -> None:
    """Give what is not in use back to the device, or to the system where the C library can (glibc)."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
