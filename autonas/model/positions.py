"""Where a token stands: the rotary tables and the ALiBi bias. Learned positions are a plain table and live in transformer.py.

Shapes: T queries, S keys, H heads, D width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROPE_BASE = 10000.0


def rope_tables(length: int, head_width: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Cosines and sines of positions 0 … length-1, each (length, 1, D/2) in float32; the 1 stands for the heads.

    Source: Su et al., RoFormer, arXiv 2104.09864, with the halves of a head as the pairs (GPT-NeoX's "rotate half").
    """
    # float64 on the host first: float32 loses up to 1e-3 radians at position 10,000. Copied, since not every device has
    # float64.
    pairs = torch.arange(0, head_width, 2, dtype=torch.float64, device="cpu")
    positions = torch.arange(length, dtype=torch.float64, device="cpu")
    angles = torch.outer(positions, ROPE_BASE ** (-pairs / head_width))[:, None, :]
    return angles.cos().float().to(device), angles.sin().float().to(device)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate every pair (x[i], x[i + D/2]) of `x` (B, T, heads, D) by its position's angle."""
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def alibi_slopes(heads: int) -> tuple[float, ...]:
    """The slope of every head: 2^(-8 i / n) for n heads, a power of two; others fill up with every second slope of 2n.

    Source: Press et al., arXiv 2108.12409, and its reference code for head counts that are no power of two.
    """
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * i / power) for i in range(1, power + 1)]
    slopes += [2.0 ** (-4.0 * i / power) for i in range(1, 2 * (heads - power), 2)]
    return tuple(slopes)


def attention_bias(positions: Tensor, num_keys: int, slopes: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What is added to the attention scores of queries at `positions` (B or 1, T): -inf on later keys, ALiBi's slope before.

    Returns (B or 1, H or 1, T, S).
    """
    return bias_between(positions, torch.arange(num_keys, device=positions.device)[None], slopes, dtype)


def bias_between(queries: Tensor, keys: Tensor, slopes: Tensor | None, dtype: torch.dtype) -> Tensor:
    """As `attention_bias`, for keys that stand anywhere: positions of `queries` (B or 1, T) and `keys` (B or 1, S).

    Slopes are multiplied by j - i and not by j, which softmax would also allow: near keys then have small biases and stay
    exact in bfloat16.
    """
    distance = keys[:, None, :] - queries[:, :, None]  # (B|1, T, S), negative in the past
    if slopes is None:
        bias = torch.zeros(distance.shape, dtype=torch.float32, device=queries.device)[:, None]
    else:
        bias = distance[:, None].float() * slopes[:, None, None]
    return bias.masked_fill_(distance[:, None] > 0, float("-inf")).to(dtype)
