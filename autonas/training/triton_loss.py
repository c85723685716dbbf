"""Cross-entropy with label smoothing and its gradient as one Triton kernel. What it computes is said in cross_entropy.py.

One program for each row reads the row twice, the second time from the cache, and writes it once. That is the least there is:
the logits come from a matrix product and go into two.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_LARGEST_BLOCK = 4096  # columns at a time: 16 numbers for each of 256 threads


def triton_loss_(logits: Tensor, targets: Tensor, smoothing: float, share: float) -> Tensor:
    """As `cross_entropy.torch_loss_`, on a CUDA device (or under Triton's interpreter)."""
    assert logits.is_contiguous() and targets.is_contiguous()
    rows, width = logits.shape
    losses = torch.empty(rows, dtype=torch.float32, device=logits.device)
    block = min(triton.next_power_of_2(width), _LARGEST_BLOCK)
    _loss_and_gradient[(rows,)](
        logits, targets, losses, width, smoothing, share, BLOCK=block, num_warps=8 if block >= 2048 else 4
    )
    return losses


@triton.jit  # type: ignore[untyped-decorator]
def _loss_and_gradient(logits, targets, losses, width, smoothing, share, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: N803
    row = tl.program_id(0).to(tl.int64)  # rows times columns may exceed 31 bits
    logits += row * width
    target = tl.load(targets + row)
    columns = tl.arange(0, BLOCK)
    largest = float("-inf")
    total = 0.0  # Σ exp(x - largest)
    plain = 0.0  # Σ x
    hit = 0.0  # x[target]; from the tile, so that nobody reads it after somebody else has overwritten it
    for start in range(0, width, BLOCK):
        inside = start + columns < width
        x = tl.load(logits + start + columns, mask=inside, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(largest, tl.max(x, 0))
        total = total * tl.exp(largest - higher) + tl.sum(tl.exp(x - higher), 0)
        largest = higher
        plain += tl.sum(tl.where(inside, x, 0.0), 0)
        hit += tl.sum(tl.where(start + columns == target, x, 0.0), 0)
    log_sum = largest + tl.log(total)
    tl.store(losses + row, log_sum - (1.0 - smoothing) * hit - smoothing * plain / width)
    for start in range(0, width, BLOCK):
        inside = start + columns < width
        x = tl.load(logits + start + columns, mask=inside, other=float("-inf")).to(tl.float32)
        gradient = tl.exp(x - log_sum) - smoothing / width
        gradient = tl.where(start + columns == target, gradient - (1.0 - smoothing), gradient)
        tl.store(logits + start + columns, (gradient * share).to(logits.dtype.element_ty), mask=inside)
