"""Examples of different lengths through a model at once, without padding that anybody sees.

All matrix products are of the real tokens, one after another. Attention is of each example by itself on a processor; elsewhere
they are laid out in rows: what is right of an example's end is later than all of it, so that a causal mask hides it, and what
comes out there is dropped. Behind the last attention only those tokens go on whose next one is a target. So padding cannot
enter the loss.

Sizes are rounded up with tokens that nobody sees: oneDNN compiles a bfloat16 product for each new shape, and without rounding
each batch is one. Then a step of two layers of width 128 takes 86 ms instead of 39.

Shapes: N tokens that are read, rounded up, M targets, rounded up, B examples, T the longest, rounded up, H query heads, K
key-value heads, D width of a head, d width, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from autonas.model.blocks import Frame
from autonas.model.positions import rotate
from autonas.model.transformer import Transformer
from autonas.tuning.encoding import Encoded

LONGEST_SQUARE: Final = 1024  # tokens whose attention weights are made in full, on a processor
_TOKENS: Final = 64  # that N and M are multiples of
_LENGTH: Final = 32  # that T and the examples on a processor are multiples of
Project = Callable[[nn.Module, Tensor], Tensor]  # a linear layer, perhaps with an adapter, applied to rows (N, d)


class Packed(NamedTuple):
    """A batch of examples, on the model's device."""

    tokens: Tensor  # (N,) that are read, example after example; then zeros
    positions: Tensor  # (N,) of each in its example
    places: Tensor  # (sum of lengths,) of each in the rows of attention, (B * T)
    scored: Tensor  # (M,) which of the N are followed by a target; then zeros
    targets: Tensor  # (M,)
    rows: int  # B
    length: int  # T
    lengths: tuple[int, ...]  # (B,) of the examples
    counted: int  # of the M those that are targets


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """As `Packed`, on the host; `owners` has the example of each target."""

    arrays: tuple[NDArray[np.int64], ...]
    owners: NDArray[np.int64]
    lengths: tuple[int, ...]
    length: int


def lay_out(examples: Sequence[Encoded]) -> Layout:
    """Examples as one batch."""
    reads = [each.read for each in examples]
    length = -(-max(reads) // _LENGTH) * _LENGTH
    tokens = np.concatenate([np.array(each.tokens[:-1], dtype=np.int64) for each in examples])
    positions = np.concatenate([np.arange(count, dtype=np.int64) for count in reads])
    owners = np.repeat(np.arange(len(reads)), reads)
    prompts = np.array([each.prompt for each in examples])
    scored = np.flatnonzero(positions >= prompts[owners] - 1)
    targets = np.concatenate([np.array(each.tokens[each.prompt :], dtype=np.int64) for each in examples])
    return Layout(
        arrays=(_rounded(tokens), _rounded(positions), owners * length + positions, _rounded(scored), _rounded(targets)),
        owners=owners[scored],
        lengths=tuple(reads),
        length=length,
    )


def _rounded(array: NDArray[np.int64]) -> NDArray[np.int64]:
    """Filled up with zeros."""
    return np.pad(array, (0, -len(array) % _TOKENS))


def pack(layout: Layout, device: torch.device) -> Packed:
    """The batch on `device`; nothing waits for it."""
    tensors = [torch.from_numpy(array) for array in layout.arrays]
    if device.type == "cuda":
        tensors = [tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors]
    tokens, positions, places, scored, targets = tensors
    lengths = layout.lengths
    return Packed(tokens, positions, places, scored, targets, len(lengths), layout.length, lengths, len(layout.owners))


def apply(layer: nn.Module, x: Tensor) -> Tensor:
    """A linear layer as it is."""
    y: Tensor = layer(x)
    return y


def solution_nats(model: Transformer, batch: Packed, project: Project = apply) -> Tensor:
    """The loss of each target in nats, (counted,) float32, in the model's mode: with dropout where it is training."""
    x = F.embedding(batch.tokens, model.embedding.weight)  # (N, d)
    spec = model.spec
    if spec.position == "learned":
        x = x + F.embedding(batch.positions, model.position_embedding.weight)
    turns = None
    if spec.position == "rope":
        turns = model.rope_cos[batch.positions], model.rope_sin[batch.positions]  # (N, 1, D/2)
    bias = model._alibi_square(batch.length, x.dtype) if spec.position == "alibi" else None
    frame = Frame(cos=None, sin=None, bias=bias, causal=bias is None and batch.length > 1)
    last = len(model.blocks) - 1
    for number, block in enumerate(model.blocks):
        kept = batch.scored if number == last else None
        x = _block(block, x, batch, frame, turns, kept, project)
    logits = model.head(model.final_norm(x))  # (M, V)
    return F.cross_entropy(logits.float(), batch.targets, reduction="none")[: batch.counted]


def _block(
    block: Any,
    x: Tensor,
    batch: Packed,
    frame: Frame,
    turns: tuple[Tensor, Tensor] | None,
    kept: Tensor | None,
    project: Project,
) -> Tensor:
    """(N, d) of the stream; of the last block those of `kept` alone, (M, d)."""
    attention, feed_forward = block.attention, block.feed_forward
    qkv = project(attention.qkv, block.attention_norm(x)).view(len(x), -1, attention.head_width)  # (N, H + 2K, D)
    if turns is not None:
        qk, v = torch.split(qkv, [attention.heads + attention.kv_heads, attention.kv_heads], dim=1)
        qkv = torch.cat((rotate(qk, *turns), v), dim=1)
    mixed = project(attention.out, _attend(attention, qkv, batch, frame, kept))
    if kept is not None:
        x = x[kept]
    x = x + F.dropout(mixed, block.dropout, block.training)
    hidden = project(feed_forward.up, block.feed_forward_norm(x))
    if feed_forward.gated:
        gate, value = hidden.chunk(2, dim=-1)
        hidden = feed_forward.activate(gate) * value
    else:
        hidden = feed_forward.activate(hidden)
    written = project(feed_forward.down, F.dropout(hidden, feed_forward.dropout, block.training))
    return x + F.dropout(written, block.dropout, block.training)


def _attend(attention: Any, qkv: Tensor, batch: Packed, frame: Frame, last: Tensor | None) -> Tensor:
    """What each token reads, (N, d), or those of `last` alone, (M, d). `qkv` is (N, H + 2K, D), turned."""
    real = qkv[: len(batch.places)]
    if qkv.device.type == "cpu" and batch.length <= LONGEST_SQUARE:
        mixed = _by_example(attention, real, batch, frame)
    else:
        mixed = _by_rows(attention, real, batch, frame)
    return F.pad(mixed, (0, 0, 0, len(qkv) - len(real))) if last is None else mixed[last]


def _by_rows(attention: Any, qkv: Tensor, batch: Packed, frame: Frame) -> Tensor:
    """As rows of equal length: torch's attention."""
    parts = [attention.heads, attention.kv_heads, attention.kv_heads]
    padded = qkv.new_zeros(batch.rows * batch.length, *qkv.shape[1:]).index_copy(0, batch.places, qkv)
    q, k, v = torch.split(padded.view(batch.rows, batch.length, *qkv.shape[1:]), parts, dim=2)
    y: Tensor = attention._attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), frame)  # (B, H, T, D)
    found: Tensor = y.transpose(1, 2).reshape(batch.rows * batch.length, -1)[batch.places]
    return found


def _by_example(attention: Any, qkv: Tensor, batch: Packed, frame: Frame) -> Tensor:
    """One example after the other, as two products with the weights between them.

    On a processor, of eight examples of 40 to 250 tokens in bfloat16, forwards and backwards: 7 and 19 ms (4 heads of 32, 8 of
    64); torch's attention over padded rows takes 19 and 64, over each example 14 and 42.
    """
    parts = [attention.heads, attention.kv_heads, attention.kv_heads]
    groups = attention.heads // attention.kv_heads
    mask = _later(batch.length, qkv.dtype) if frame.bias is None else frame.bias[0].to(qkv.dtype)  # (1 or H, T, T)
    found = []
    with torch.autocast("cpu", enabled=False):
        for part in torch.split(qkv, list(batch.lengths)):
            length = len(part)
            whole = F.pad(part, (0, 0, 0, 0, 0, -length % _LENGTH)).transpose(0, 1)  # (H + 2K, t, D)
            q, k, v = torch.split(whole, parts)
            if groups > 1:
                k, v = k.repeat_interleave(groups, dim=0), v.repeat_interleave(groups, dim=0)
            own = mask[:, : whole.shape[1], : whole.shape[1]]
            weights = torch.softmax(torch.baddbmm(own, q, k.transpose(1, 2), alpha=attention.head_width**-0.5), dim=-1)
            weights = F.dropout(weights, attention.dropout, attention.training)
            found.append(torch.bmm(weights, v).transpose(0, 1)[:length].reshape(length, -1))
    return torch.cat(found)


@functools.lru_cache(maxsize=8)
def _later(length: int, dtype: torch.dtype) -> Tensor:
    """(1, T, T), which hides what comes later."""
    with torch.inference_mode(False):
        return torch.full((length, length), float("-inf"), dtype=dtype).triu_(1)[None]
