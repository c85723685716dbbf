"""From logits to tokens: greedy, or by inverse CDF from uniform numbers that the caller drew.

One uniform number decides one token: the candidates stand in order of falling probability (equal ones in order of their
index), and the one whose share of the cumulated probability covers the number is taken. Small changes of the logits
then rarely change the token, which is what makes common random numbers reduce the noise of a comparison.
"""

from __future__ import annotations

import torch
from torch import Tensor


def choose_tokens(logits: Tensor, temperature: float, top_k: int | None, uniforms: Tensor | None) -> Tensor:
    """Tokens (B) int64 from `logits` (B, V); `uniforms` (B) in [0, 1) are not used at temperature 0."""
    if temperature == 0.0:
        return logits.argmax(dim=-1)  # the first of equal ones
    assert uniforms is not None
    num_kept = logits.shape[-1] if top_k is None else min(top_k, logits.shape[-1])
    values, tokens = _largest(logits.float(), num_kept)  # (B, k), falling
    # float64: with a small temperature the smallest shares still count, and u · total never rounds up to the total.
    shares = torch.softmax(values.double() / temperature, dim=-1).cumsum(dim=-1)
    rank = (shares <= uniforms.double()[:, None] * shares[:, -1:]).sum(dim=-1, keepdim=True)
    return tokens.gather(1, rank.clamp_(max=num_kept - 1))[:, 0]


def _largest(logits: Tensor, num_kept: int) -> tuple[Tensor, Tensor]:
    """The `num_kept` largest of each row and their indices, falling; equal ones in order of their index."""
    if num_kept == logits.shape[-1]:
        values, tokens = logits.sort(dim=-1, descending=True, stable=True)
        return values, tokens
    # topk may order and pick equal values as it likes. Made unique, they leave it no choice: the float's bits as an
    # integer that sorts like it, then the index.
    bits = (logits + 0.0).view(torch.int32)  # + 0.0 makes -0.0 the 0.0 that it equals
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(torch.int64)
    indices = torch.arange(logits.shape[-1] - 1, -1, -1, device=logits.device)
    keys = (ordered << 32) | indices
    tokens = logits.shape[-1] - 1 - (keys.topk(num_kept, dim=-1).values & 0xFFFFFFFF)
    return logits.gather(1, tokens), tokens
