"""A forward pass on a processor by matrix products and our own kernels, in memory allocated once.

The way back is in training/native.py. The products are torch's (oneDNN); what lies between them is one pass each
(autonas/kernels/training.c). In bfloat16 the products' inputs are that; the residual stream, the norms' statistics, softmax and
losses are float32. Attention keeps its weights, (heads, T, T) of each layer: contexts of code models are short.

Shapes: B windows, T tokens of each, N = B * T rows, d width, f inner width, H heads, K key-value heads, G = H / K, D width of a
head, V vocabulary. Site s is the s-th norm: 2l and 2l + 1 of layer l, the last is the final one. What lies before it is x[s].
"""

from __future__ import annotations

import ctypes
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.kernels import Dropout, Kernels
from autonas.model.blocks import NORM_EPSILON
from autonas.model.transformer import Transformer, head_name, norm_names

# By bits: the format of the products, and that of everything else.
FORMATS = {16: (torch.bfloat16, torch.float32), 32: (torch.float32, torch.float32), 64: (torch.float64, torch.float64)}
# Windows go through the model in parts: what a part leaves behind should stay in the processor's caches, its logits in memory.
PART_TOKENS = 2048
PART_LOGITS = 1 << 25


def part_windows(spec: ArchSpec, most: int | None = None) -> int:
    """How many windows go through the model at once: at most `most`."""
    tokens = min(PART_TOKENS, PART_LOGITS // spec.vocab_size)
    return max(1, min(tokens // spec.context_length, most or tokens))


def attention_bytes(spec: ArchSpec, windows: int, bits: int) -> int:
    """Bytes of the attention weights of so many windows, which every layer keeps for the way back, and of their gradients."""
    kept = spec.layers + (2 if spec.attention_dropout else 1)
    return kept * windows * spec.heads * spec.context_length**2 * bits // 8


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeWeights:
    """A model's weights by name: `matrix` in the format of the products, `own` as the model has them."""

    matrix: Mapping[str, Tensor]
    own: Mapping[str, Tensor]
    head: str  # the name of the matrix that makes logits


def cast_weights(model: Transformer, kernels: Kernels) -> NativeWeights:
    """The weights of `model` as they are now."""
    own = {name: weight.detach() for name, weight in model.named_parameters()}
    head = head_name(model.spec)
    products = [name for name in own if name == head or (name.startswith("blocks.") and own[name].ndim == 2)]
    return NativeWeights(matrix={name: own[name].to(FORMATS[kernels.bits][0]) for name in products}, own=own, head=head)


def activation_kind(spec: ArchSpec) -> int:
    """As the kernels number them."""
    return 0 if spec.activation in ("gelu", "geglu") else 1


class DropoutKeys:
    """The random keys of a step's dropout: one pair for each place that drops, a function of `name` alone."""

    def __init__(self, name: str) -> None:
        self._name = name

    def dropout(self, place: str, rate: float, first: int) -> ctypes._Pointer[Dropout]:
        """For the kernel; `first` is the index of its first element in the whole batch, so that parts drop the same."""
        if not rate:
            return _NO_DROPOUT
        digest = hashlib.blake2b(f"{self._name} {place}".encode(), digest_size=8).digest()
        key0, key1 = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
        # At least one of them: none at all means to the kernels that there is no dropout.
        below = min(max(round(rate * 2**32), 1), 2**32 - 1)
        return ctypes.pointer(Dropout(below, key0, key1, first % 2**32, 1.0 / (1.0 - rate)))


_NO_DROPOUT = ctypes.pointer(Dropout(0, 0, 0, 0, 1.0))


class Layer:
    """What a layer leaves behind: q (B K, G T, D), k and v (B K, T, D), attention weights (B K, G T, T) and so on."""

    def __init__(self, spec: ArchSpec, windows: int, length: int, real: torch.dtype) -> None:
        rows, keys, grouped = windows * length, windows * spec.kv_heads, spec.heads // spec.kv_heads * length
        self.q = torch.empty(keys, grouped, spec.head_width, dtype=real)
        self.k, self.v = (torch.empty(keys, length, spec.head_width, dtype=real) for _ in range(2))
        self.weights = torch.empty(keys, grouped, length, dtype=real)
        self.mixed = torch.empty(rows, spec.width, dtype=real)
        self.up = torch.empty(rows, spec.ffn_width * (2 if spec.gated else 1), dtype=real)
        self.hidden = torch.empty(rows, spec.ffn_width, dtype=real)


class NativeForward:
    """`windows` windows of `length` tokens forwards. With `keep`, what a way back needs is left in `x`, `layers` and so on.

    `spec` is the model's, or the same with other dropout and smoothing.
    """

    def __init__(
        self,
        model: Transformer,
        spec: ArchSpec,
        weights: NativeWeights,
        kernels: Kernels,
        *,
        windows: int,
        length: int,
        keep: bool,
    ) -> None:
        real, acc = FORMATS[kernels.bits]
        self.spec, self.weights, self.windows, self.length = spec, weights, windows, length
        self._k = kernels
        self.rows = rows = windows * length
        sites = 2 * spec.layers + 1
        kept = sites if keep else 1
        self.x = torch.empty(kept, rows, spec.width, dtype=acc)
        self.stats = torch.empty(kept, rows, 2, dtype=acc)
        self.normed = torch.empty(kept, rows, spec.width, dtype=real)
        self.layers = [Layer(spec, windows, length, real) for _ in range(spec.layers if keep else 1)]
        self.qkv = torch.empty(rows, (spec.heads + 2 * spec.kv_heads) * spec.head_width, dtype=real)
        self.heads = torch.empty_like(self.layers[0].q)
        self.out = torch.empty(rows, spec.width, dtype=real)
        self.dropped = torch.empty_like(self.layers[0].weights) if spec.attention_dropout else None
        self.logits = torch.empty(rows, spec.vocab_size, dtype=real)
        self.losses = torch.empty(rows, dtype=acc)
        self._cos = self._sin = self._slopes = None
        if spec.position == "rope":
            self._cos, self._sin = (
                table[:length].reshape(length, -1).to(acc).contiguous() for table in (model.rope_cos, model.rope_sin)
            )
        if spec.position == "alibi":
            self._slopes = model.alibi_slopes.to(acc).contiguous()
        self.kind = activation_kind(spec)
        self.norms = norm_names(spec)

    def __call__(
        self, tokens: Tensor, targets: Tensor, share: float, threads: int, keys: DropoutKeys, before: int = 0
    ) -> Tensor:
        """Losses (N) of `targets` (N) behind `tokens` (N), both int64; `logits` then hold the gradient of `share` x their sum.

        `before`: windows of the same batch that came before, which dropout's masks depend on.

        Raises:
            IndexError: a token is outside the vocabulary.
        """
        # The kernels read and write where tokens say.
        largest = max(int(tokens.max()), int(targets.max()))
        if largest >= self.spec.vocab_size:
            raise IndexError(f"token {largest} is outside the vocabulary of {self.spec.vocab_size}")
        self.threads, self.keys, self.before = threads, keys, before
        spec, own, matrix = self.spec, self.weights.own, self.weights.matrix
        self._k.embed(
            threads,
            self.rows,
            self.length,
            spec.width,
            tokens.data_ptr(),
            own["embedding.weight"].data_ptr(),
            address(own.get("position_embedding.weight")),
            self.x[0].data_ptr(),
        )
        self._norm(0, None)
        for number in range(spec.layers):
            name = f"blocks.{number}."
            layer = self.layers[number % len(self.layers)]
            self._attend(number, layer)
            torch.mm(layer.mixed, matrix[name + "attention.out.weight"].t(), out=self.out)
            self._norm(2 * number + 1, self.out)
            torch.mm(self._of(self.normed, 2 * number + 1), matrix[name + "feed_forward.up.weight"].t(), out=layer.up)
            self._k.activation(
                threads,
                self.rows,
                spec.ffn_width,
                self.kind,
                int(spec.gated),
                layer.up.data_ptr(),
                layer.hidden.data_ptr(),
                self.inner_dropout(number),
            )
            torch.mm(layer.hidden, matrix[name + "feed_forward.down.weight"].t(), out=self.out)
            self._norm(2 * number + 2, self.out)
        torch.mm(self.normed[-1], matrix[self.weights.head].t(), out=self.logits)
        self._k.cross_entropy(
            threads,
            self.rows,
            spec.vocab_size,
            self.logits.data_ptr(),
            targets.data_ptr(),
            spec.label_smoothing,
            share,
            self.losses.data_ptr(),
        )
        return self.losses

    def _attend(self, number: int, layer: Layer) -> None:
        spec = self.spec
        name = f"blocks.{number}.attention.qkv.weight"
        torch.mm(self._of(self.normed, 2 * number), self.weights.matrix[name].t(), out=self.qkv)
        self._k.split_heads(
            self.threads,
            *self.head_shape(),
            self.qkv.data_ptr(),
            layer.q.data_ptr(),
            layer.k.data_ptr(),
            layer.v.data_ptr(),
            *self.turns(),
        )
        torch.bmm(layer.q, layer.k.transpose(1, 2), out=layer.weights)
        self._k.attention_weights(
            self.threads,
            self.windows * spec.heads,
            spec.heads,
            self.length,
            layer.weights.data_ptr(),
            address(self._slopes),
            address(self.dropped),
            self.attention_dropout(number),
        )
        torch.bmm(layer.weights if self.dropped is None else self.dropped, layer.v, out=self.heads)
        self._k.swap_heads(
            self.threads,
            self.windows,
            spec.heads,
            self.length,
            spec.head_width,
            self.heads.data_ptr(),
            layer.mixed.data_ptr(),
        )

    def _norm(self, site: int, added: Tensor | None) -> None:
        """x[site] = x[site - 1] + dropout(added), and its norm."""
        own, name = self.weights.own, self.norms[site]
        self._k.add_norm(
            self.threads,
            self.rows,
            self.spec.width,
            self._of(self.x, max(site - 1, 0)).data_ptr(),
            address(added),
            self._of(self.x, site).data_ptr(),
            own[f"{name}.weight"].data_ptr(),
            address(own.get(f"{name}.bias")),
            NORM_EPSILON,
            self._of(self.normed, site).data_ptr(),
            self._of(self.stats, site).data_ptr(),
            self.outer_dropout(site),
        )

    @staticmethod
    def _of(kept: Tensor, site: int) -> Tensor:
        """A site's own memory, or the one memory of all sites."""
        return kept[site % len(kept)]

    def head_shape(self) -> tuple[int, int, int, int, int]:
        return self.windows, self.length, self.spec.heads, self.spec.kv_heads, self.spec.head_width

    def turns(self) -> tuple[int | None, int | None, float]:
        """Addresses of the rotary tables, and the scale of the queries."""
        return address(self._cos), address(self._sin), 1.0 / math.sqrt(self.spec.head_width)

    def outer_dropout(self, site: int) -> ctypes._Pointer[Dropout]:
        """Of what is added to the stream before a norm."""
        first = self.before * self.length * self.spec.width
        return self.keys.dropout(f"outer {site}", self.spec.residual_dropout if site else 0.0, first)

    def inner_dropout(self, number: int) -> ctypes._Pointer[Dropout]:
        """Within a feed-forward."""
        first = self.before * self.length * self.spec.ffn_width
        return self.keys.dropout(f"inner {number}", self.spec.residual_dropout, first)

    def attention_dropout(self, number: int) -> ctypes._Pointer[Dropout]:
        first = self.before * self.spec.heads * self.length**2
        return self.keys.dropout(f"attention {number}", self.spec.attention_dropout, first)


def address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
