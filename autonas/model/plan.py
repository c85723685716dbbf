"""A model's weights as inference calls them: plain functions in a list, without modules, modes or gradients.

A step of a small model is mostly the overhead of its calls, so the plan has few of them, and holds nothing of a step.
Matrices are packed for oneDNN where that is faster: float32 products of 2 to 224 rows take a half to a fifth of the
time (AMD Zen 5, one thread, torch 2.13). A plan sees weights that change in place only where it has not packed them:
make one for each call. Training goes through blocks.py.

Shapes: M rows, one for each token; H query heads, K key-value heads, D width of a head, d width, V vocabulary.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autonas.model.blocks import NORM_EPSILON, Block, RMSNorm
from autonas.model.transformer import Transformer

# What one layer does with its queries (M, H, D), keys and values (M, K, D): it stores the latter and returns (M, H · D).
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]

# Rows times weights of a float32 product below which the packed call costs more in overhead (13 µs) than it saves.
_PACKED_FROM = 2**19
# Up to so many rows, an unpacked product is faster by a quarter with its inputs' weights side by side.
_FEW_ROWS = 2


class Projection:
    """x (M, inputs) → (M, outputs)."""

    def __init__(self, weight: Tensor, *, pack: bool) -> None:
        self._weight = weight
        self._packed: Tensor | None = None
        self._columns: Tensor | None = None
        self._rows = 1 if weight.dtype == torch.bfloat16 else math.ceil(_PACKED_FROM / weight.numel())
        if pack and can_pack(weight):
            # The second argument hints at the number of rows: without it, the layout suits any number.
            self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
            self._columns = weight.t().contiguous() if self._rows > 1 else None

    def __call__(self, x: Tensor) -> Tensor:
        if self._packed is not None and x.shape[0] >= self._rows:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._packed, None, "none", [], "")
            return product
        if self._columns is not None and x.shape[0] <= _FEW_ROWS:
            return torch.mm(x, self._columns)
        return F.linear(x, self._weight)


def can_pack(weight: Tensor) -> bool:
    """Whether this torch has oneDNN's packed products (inductor's own, and not public) for this device and number format."""
    return (
        weight.device.type == "cpu"
        and weight.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    attention_norm: Callable[[Tensor], Tensor]
    qkv: Projection
    out: Projection
    feed_forward_norm: Callable[[Tensor], Tensor]
    up: Projection
    down: Projection


class Plan:
    """The model as it is now. `pack` costs one copy of the matrices, in time about that of reading a token."""

    def __init__(self, model: Transformer, *, pack: bool = True) -> None:
        spec = model.spec
        self.spec = spec
        self.embedding = model.embedding.weight.detach()
        self.packed = pack and can_pack(self.embedding)
        self.learned = model.position_embedding.weight.detach() if spec.position == "learned" else None
        self.slopes = model.alibi_slopes.float() if spec.position == "alibi" else None
        self._rope = _rope_table(model) if spec.position == "rope" else None
        self._activate = F.gelu if spec.activation in ("gelu", "geglu") else F.silu
        self._layers = [_layer(block, pack) for block in model.blocks]
        self._final_norm = _norm(model.final_norm)
        unembedding = self.embedding if spec.tied_embeddings else model.unembedding.weight.detach()
        self.head = Projection(unembedding, pack=pack)  # (M, d) → logits (M, V)

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    def features(self, tokens: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """What the head reads (M, d) of `tokens` (M) at `positions` (M)."""
        spec = self.spec
        x = self.embedding.index_select(0, tokens)
        if self.learned is not None:
            x = x + self.learned.index_select(0, positions)
        cos = sin = None
        if self._rope is not None:
            cos, sin = self._rope.index_select(0, positions).chunk(2, dim=1)  # (M, 1, D) each
        num_rotated, rows, half = spec.heads + spec.kv_heads, x.shape[0], spec.head_width // 2
        for number, layer in enumerate(self._layers):
            qkv = layer.qkv(layer.attention_norm(x)).view(rows, -1, spec.head_width)  # (M, H + 2K, D)
            qk = qkv[:, :num_rotated]
            if cos is not None and sin is not None:
                qk = torch.addcmul(qk * cos, qk.roll(half, -1), sin)
            mixed = attend(number, qk[:, : spec.heads], qk[:, spec.heads :], qkv[:, num_rotated:])
            x = x + layer.out(mixed)
            hidden = layer.up(layer.feed_forward_norm(x))
            if spec.gated:
                gate, value = hidden.chunk(2, dim=-1)
                hidden = self._activate(gate) * value
            else:
                hidden = self._activate(hidden)
            x = x + layer.down(hidden)
        return self._final_norm(x)


def _layer(block: nn.Module, pack: bool) -> _Layer:
    assert isinstance(block, Block)
    project = functools.partial(Projection, pack=pack)
    return _Layer(
        attention_norm=_norm(block.attention_norm),
        qkv=project(block.attention.qkv.weight.detach()),
        out=project(block.attention.out.weight.detach()),
        feed_forward_norm=_norm(block.feed_forward_norm),
        up=project(block.feed_forward.up.weight.detach()),
        down=project(block.feed_forward.down.weight.detach()),
    )


def _norm(module: nn.Module) -> Callable[[Tensor], Tensor]:
    assert isinstance(module, nn.LayerNorm | RMSNorm)
    weight = module.weight.detach()
    named: dict[str, Any] = {"normalized_shape": weight.shape, "weight": weight, "eps": NORM_EPSILON}
    if isinstance(module, nn.LayerNorm):
        return functools.partial(F.layer_norm, bias=module.bias.detach(), **named)
    return functools.partial(F.rms_norm, **named)


def _rope_table(model: Transformer) -> Tensor:
    """(positions, 2, D): cosines, and sines signed so that x · cos + (x with its halves exchanged) · sin rotates x."""
    cos, sin = model.rope_cos[:, 0], model.rope_sin[:, 0]
    table = torch.stack((torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)), dim=1)
    return table.to(model.embedding.weight.dtype)
