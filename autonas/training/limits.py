"""The memory that a training may take, where somebody has set a limit: looked at now and then, between two steps.

Memory that runs out by itself is met in micro_batches.py; here it is met before that, in the same way.
"""

from __future__ import annotations

import time

import psutil
import torch

from autonas.errors import TrialFailure
from autonas.training.micro_batches import fewer_windows, give_way
from autonas.training.state import TrainState

LOOK_EVERY_S = 0.5


class MemoryLimit:
    """Of one process: all that it has in memory on a processor, the largest that torch had allocated on a CUDA device."""

    def __init__(self, most_bytes: int | None, device: torch.device) -> None:
        self._most = most_bytes
        self._looked_at = float("-inf")
        if most_bytes is not None and device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)  # what was there before this training is not its own

    def check(self, state: TrainState) -> None:
        """See that the limit is kept; where it is not, fewer windows go through the model at once from now on.

        Raises:
            TrialFailure: "out_of_memory": it is one window already.
        """
        if self._most is None or time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        taken = memory_taken(state.device)
        if taken <= self._most:
            return
        fewer = fewer_windows(state)
        if fewer is None and state.kept is None:
            raise TrialFailure(
                "out_of_memory",
                f"{taken:,} bytes are taken after {state.tokens:,} tokens with one window at once, more than the memory_limit "
                f"of {self._most:,}",
            )
        give_way(state, fewer)
        if state.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(state.device)


def memory_taken(device: torch.device) -> int:
    """Bytes."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process().memory_info().rss)
