"""What the next steps read, on their device: where their windows start, their rates, and places for what they measure.

Filled for many steps at once, in one copy that nobody waits for; a counter on the device tells a step its row. So a step that
is replayed as a whole needs nothing from the host.

Shapes: R rows, W windows of a step, G groups of weights.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autonas.training.state import TrainState

# Also how long a measured value stays where it is: longer than the loop waits before it reads one.
ROWS = 64


class StepTable:
    """The rows of one training's next steps. The step itself moves `row` on, and the host counts along."""

    def __init__(self, state: TrainState) -> None:
        device, groups = state.device, state.optimizer.param_groups
        self._windows = state.step_windows
        self._peaks = np.array([group["peak_rate"] for group in groups])
        self.row = torch.zeros(1, dtype=torch.int64, device=device)
        self.starts = torch.zeros(ROWS, self._windows, dtype=torch.int64, device=device)  # (R, W)
        self.rates = torch.zeros(ROWS, len(groups), dtype=torch.float32, device=device)  # (R, G)
        self.measured = torch.zeros(ROWS, 2, dtype=torch.float32, device=device)  # loss, norm
        self._numbers = torch.arange(ROWS, device=device)[:, None]
        self._known = 0  # the row that the device's counter has, as the host counts
        self._tokens: int | None = None  # which that row is for
        self._made_for: tuple[object, ...] = ()

    def keep(self, measured: Tensor) -> None:
        """Put what the step measured, (2), in its row. Part of the step, as what follows is not."""
        # Chosen and not indexed: torch has several ways to write at an index, some of which wait for the host.
        self.measured.copy_(torch.where(self._numbers == self.row, measured, self.measured))

    def prepare(self, state: TrainState) -> None:
        """See that the row to be read next is that of the state's next step."""
        made_for = (state.schedule, state.windows)
        if self._known == ROWS or self._tokens != state.tokens or self._made_for != made_for:
            self._fill(state)
            self._made_for = made_for

    def advance(self, state: TrainState) -> Tensor:
        """Say that the step at `state.tokens` was begun; returns what it measures, (2), which stays for R steps."""
        assert self._tokens == state.tokens
        measured = self.measured[self._known]
        self._known += 1
        self._tokens = state.tokens + state.step_tokens
        return measured

    def _fill(self, state: TrainState) -> None:
        assert state.step_windows == self._windows
        first = state.tokens // state.model.spec.context_length
        starts = state.windows.starts(first, ROWS * self._windows).reshape(ROWS, self._windows)
        middles = [
            state.schedule.over_step(state.tokens + number * state.step_tokens, state.step_tokens) for number in range(ROWS)
        ]
        _upload(starts, self.starts)
        _upload(np.outer(middles, self._peaks).astype(np.float32), self.rates)
        self.row.zero_()
        self._known, self._tokens = 0, state.tokens


def _upload(values: NDArray[np.int64] | NDArray[np.float32], there: Tensor) -> None:
    """Copy without waiting: torch keeps pinned memory until the copy out of it is over."""
    here = torch.from_numpy(values)
    there.copy_(here.pin_memory() if there.device.type == "cuda" else here, non_blocking=True)
