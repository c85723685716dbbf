"""All training tokens on the device, in as many bytes as they have on disk, and windows of them.

Shapes: N tokens, W windows, T context.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_BLOCK = 1 << 26  # tokens copied at once: a mapped file need not fit in memory
# Torch has few operations on unsigned numbers; the bits of these are read as signed ones, and masked.
_SIGNED: dict[int, tuple[torch.dtype, Any]] = {
    1: (torch.uint8, np.uint8),
    2: (torch.int16, np.int16),
    4: (torch.int32, np.int32),
}
_kept: dict[tuple[str, int, str], Tensor] = {}


def resident_tokens(tokens: NDArray[np.unsignedinteger[Any]], device: torch.device, fingerprint: str = "") -> Tensor:
    """The bits of `tokens` (N) on `device`; those of the latest `fingerprint` are kept for the next training."""
    key = (fingerprint, len(tokens), str(device))
    if fingerprint and key in _kept:
        return _kept[key]
    _kept.clear()
    dtype, signed = _SIGNED[tokens.dtype.itemsize]
    there = torch.empty(len(tokens), dtype=dtype, device=device)
    for first in range(0, len(tokens), _BLOCK):
        part = np.array(tokens[first : first + _BLOCK]).view(signed)
        there[first : first + len(part)].copy_(torch.from_numpy(part))
    if fingerprint:
        _kept[key] = there
    return there


def windows_at(resident: Tensor, starts: Tensor, context: int) -> Tensor:
    """The windows that start at `starts` (W), as (W, T + 1) int64."""
    places = starts[:, None] + torch.arange(context + 1, device=starts.device)
    bits = resident.index_select(0, places.flatten()).view(places.shape).long()
    return bits & ((1 << (8 * resident.element_size())) - 1)
