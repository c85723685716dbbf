"""A model's weights and gradients as two arrays: one pass for the norm, one call of the optimizer for each role.

The weights of a role lie side by side, so that a role is one slice. What each role's rate is, is in optimizers.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autonas.model.transformer import Transformer

# Every weight begins at a multiple of so many numbers: a cache line of the narrowest format.
ALIGNMENT = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a weight lies: numbers `start` to `end` of the array, in the weight's shape."""

    start: int
    end: int
    shape: torch.Size

    def of(self, array: Tensor) -> Tensor:
        """The weight's part of `array`, as a view."""
        return array[self.start : self.end].view(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatWeights:
    """`weights` and `gradients` are (n), with zeros in the gaps; the model's own are views of them."""

    weights: Tensor
    gradients: Tensor
    places: Mapping[str, Place]  # by the weight's name, in the model's order
    roles: Mapping[str, tuple[int, int]]  # first and last + 1 of the numbers of a role

    def segments(self, array: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Each role with its slice of `array`."""
        for role, (start, end) in self.roles.items():
            yield role, array[start:end]


def flatten(model: Transformer, role_of: Mapping[str, str], order: tuple[str, ...]) -> FlatWeights:
    """Move the weights of `model` into one array, and give each a gradient that is a view of another.

    `role_of` names each weight's role; roles come in `order`.
    """
    named = dict(model.named_parameters())
    starts: dict[str, int] = {}
    roles: dict[str, tuple[int, int]] = {}
    end = 0
    for role in order:
        start = end
        for name in (name for name, kind in role_of.items() if kind == role):
            starts[name] = end
            end += math.ceil(named[name].numel() / ALIGNMENT) * ALIGNMENT
        if end > start:
            roles[role] = (start, end)
    places = {n: Place(start=starts[n], end=starts[n] + w.numel(), shape=w.shape) for n, w in named.items()}
    some = next(iter(named.values()))
    weights, gradients = (torch.zeros(end, dtype=some.dtype, device=some.device) for _ in range(2))
    with torch.no_grad():
        for name, weight in named.items():
            place = places[name].of(weights)
            place.copy_(weight)
            weight.data = place
            weight.grad = places[name].of(gradients)
    return FlatWeights(weights=weights, gradients=gradients, places=places, roles=roles)
