"""Which number formats a device computes in."""

from __future__ import annotations

import torch
import torch.cpu


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` has instructions for bfloat16 products, not only an emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # torch says so in private functions only; one that is gone in a later version means "no" and costs speed, not truth.
        queries = (getattr(torch.cpu, name, bool) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
        return any(query() for query in queries)
    return False
