"""Copies of a training's weights and moments in memory, to go back to. When one goes back is in rollback.py.

A state counts as good when the loss was near its best there and was so still an interval later: the state right before a
blow-up is often sick already, and its loss does not show it yet. So two copies are held, the good one and the most recent,
which becomes the good one if all is well at the next. On the device of the weights: a copy there takes about 2 ns a weight on
a processor, in one step of dozens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autonas.training.flat_optimizer import FlatOptimizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A training after `tokens`. `notes` are the JSON states of what watches over it."""

    tokens: int
    notes: Mapping[str, Any]
    tensors: list[Tensor]  # as `memory` has them


def memory(optimizer: FlatOptimizer) -> list[Tensor]:
    """All that a step changes and a later one reads, as it is: the weights (n), and each role's moments."""
    values = (value for group in optimizer.param_groups for value in optimizer.state[group["params"][0]].values())
    return [optimizer.flat.weights, *values]


class Kept:
    """The good copy and the most recent one of a training."""

    def __init__(self, good: Snapshot, recent: Snapshot | None = None) -> None:
        self.good, self.recent = good, recent
        self._spare: list[Tensor] | None = None  # memory of a copy that was given up

    def keep(self, optimizer: FlatOptimizer, tokens: int, notes: Mapping[str, Any], *, well: bool) -> None:
        """Copy the training as it is now, if it is doing `well`; what is good is thereby decided anew."""
        if self.recent is not None:
            if well:
                self._spare, self.good = self.good.tensors, self.recent
            else:
                self._spare = self.recent.tensors
            self.recent = None
        if well:
            self.recent = take(optimizer, tokens, notes, self._spare)
            self._spare = None

    def by_name(self) -> dict[str, Snapshot]:
        """For a checkpoint."""
        return {"good": self.good} | ({} if self.recent is None else {"recent": self.recent})

    @torch.no_grad()
    def put_back(self, optimizer: FlatOptimizer) -> Snapshot:
        """Give weights and moments, in their place, the values of the good copy, which is returned. The other is given up."""
        copy_all(self.good.tensors, memory(optimizer))
        # A fused step that divided by a NaN norm leaves NaN between two weights' gradients, which would be in the next norm.
        optimizer.zero_grad()
        if self.recent is not None:
            self._spare, self.recent = self.recent.tensors, None
        return self.good


def take(optimizer: FlatOptimizer, tokens: int, notes: Mapping[str, Any], into: list[Tensor] | None = None) -> Snapshot:
    """A copy of the training as it is; in memory that is there already, where that is given."""
    now = memory(optimizer)
    there = into if into is not None else [torch.empty_like(tensor) for tensor in now]
    copy_all(now, there)
    return Snapshot(tokens=tokens, notes=notes, tensors=there)


@torch.no_grad()
def copy_all(values: Iterable[Tensor], there: Iterable[Tensor]) -> None:
    for value, place in zip(values, there, strict=True):
        place.copy_(value)
