"""The parts of a block: norm, attention, feed-forward. Every choice of the space is made here, once, when the part is built.

Shapes: B rows, T new tokens, S keys, H query heads, K key-value heads, D width of a head, d width, f inner width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autonas.arch import ArchSpec
from autonas.model.cache import KVCache
from autonas.model.positions import rotate

NORM_EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What one pass needs to know of positions, made once for all layers.

    `cos`, `sin`: rotary tables, (T, 1, D/2) or (B, T, 1, D/2), else None. `bias`: added to the scores, (B or 1, H or 1,
    T, S), or None. `causal`: S == T and the kernel's own causal mask is wanted.
    """

    cos: Tensor | None
    sin: Tensor | None
    bias: Tensor | None
    causal: bool


class Linear(nn.Linear):
    """Without bias and without initial values: the transformer draws all of its matrices itself, from its own seed."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        pass


class RMSNorm(nn.Module):
    """Scale to unit root mean square (Zhang and Sennrich, arXiv 1910.07467); the mean is taken in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, NORM_EPSILON)


def make_norm(spec: ArchSpec) -> nn.Module:
    return RMSNorm(spec.width) if spec.norm == "rmsnorm" else nn.LayerNorm(spec.width, eps=NORM_EPSILON)


class Attention(nn.Module):
    """Causal attention; K key-value heads serve H query heads (K == H: multi-head, K == 1: multi-query)."""

    def __init__(self, spec: ArchSpec) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = spec.heads, spec.kv_heads, spec.head_width
        self.dropout = spec.attention_dropout
        self.qkv = Linear(spec.width, (spec.heads + 2 * spec.kv_heads) * spec.head_width)
        self.out = Linear(spec.width, spec.width)

    def forward(self, x: Tensor, frame: Frame, cache: KVCache | None, layer: int) -> Tensor:
        rows, length, width = x.shape
        qkv = self.qkv(x).view(rows, length, -1, self.head_width)  # (B, T, H + 2K, D)
        # Split, not sliced: its backward is one concatenation instead of three padded sums.
        if frame.cos is not None and frame.sin is not None:
            qk, v = torch.split(qkv, [self.heads + self.kv_heads, self.kv_heads], dim=2)
            q, k = torch.split(rotate(qk, frame.cos, frame.sin), [self.heads, self.kv_heads], dim=2)
        else:
            q, k, v = torch.split(qkv, [self.heads, self.kv_heads, self.kv_heads], dim=2)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H or K, T, D)
        if cache is not None:
            k, v = cache.append(layer, k, v)  # (B, K, S, D)
            k, v = k.to(q.dtype), v.to(q.dtype)
        y = self._attend(q, k, v, frame)  # (B, H, T, D)
        mixed: Tensor = self.out(y.transpose(1, 2).reshape(rows, length, width))
        return mixed

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, frame: Frame) -> Tensor:
        rows, _, length, _ = q.shape
        dropout = self.dropout if self.training else 0.0
        if length == 1 and self.kv_heads != self.heads:
            # The queries of a group become rows of one head: no copy of the cache is made.
            groups = self.heads // self.kv_heads
            bias = frame.bias
            if bias is not None and bias.shape[1] > 1:
                bias = bias.view(bias.shape[0], self.kv_heads, groups, bias.shape[3])
            folded = q.reshape(rows, self.kv_heads, groups, self.head_width)
            y = F.scaled_dot_product_attention(folded, k, v, attn_mask=bias, dropout_p=dropout)
            return y.reshape(rows, self.heads, 1, self.head_width)
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=frame.bias,
            dropout_p=dropout,
            is_causal=frame.causal,
            enable_gqa=self.kv_heads != self.heads,
        )


class FeedForward(nn.Module):
    """Two matrices with an activation between them; geglu and swiglu have a third that gates (Shazeer, arXiv 2002.05202)."""

    def __init__(self, spec: ArchSpec) -> None:
        super().__init__()
        self.gated = spec.gated
        self.activate = F.gelu if spec.activation in ("gelu", "geglu") else F.silu
        self.dropout = spec.residual_dropout
        self.up = Linear(spec.width, spec.ffn_width * (2 if spec.gated else 1))  # the gate's f rows first, then the values'
        self.down = Linear(spec.ffn_width, spec.width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.up(x)  # (B, T, f or 2f)
        if self.gated:
            gate, value = hidden.chunk(2, dim=-1)
            hidden = self.activate(gate) * value
        else:
            hidden = self.activate(hidden)
        written: Tensor = self.down(F.dropout(hidden, self.dropout, self.training))
        return written


class Block(nn.Module):
    """Attention, then feed-forward, each behind its norm and added to the stream."""

    def __init__(self, spec: ArchSpec) -> None:
        super().__init__()
        self.dropout = spec.residual_dropout
        self.attention_norm = make_norm(spec)
        self.attention = Attention(spec)
        self.feed_forward_norm = make_norm(spec)
        self.feed_forward = FeedForward(spec)

    def forward(self, x: Tensor, frame: Frame, cache: KVCache | None, layer: int) -> Tensor:
        mixed = self.attention(self.attention_norm(x), frame, cache, layer)
        x = x + F.dropout(mixed, self.dropout, self.training)
        return x + F.dropout(self.feed_forward(self.feed_forward_norm(x)), self.dropout, self.training)
