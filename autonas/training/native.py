"""A step on a processor by matrix products and our own kernels: forwards and backwards written out, in memory allocated once.

The products are torch's (oneDNN); what lies between them is one pass each (autonas/kernels/kernels.c). In bfloat16 the
weights are kept in that format beside the float32 ones and are cast once a step; the residual stream, the norms' statistics,
softmax, losses and sums of gradients are float32. Attention keeps its weights, (heads, T, T) of each layer: contexts of code
models are short.

Shapes: B windows, T context, N = B * T rows, d width, f inner width, H heads, K key-value heads, G = H / K, D width of a head,
V vocabulary. Site s is the s-th norm: 2l and 2l + 1 of layer l, the last is the final one. What lies before a norm is x[s].
"""

from __future__ import annotations

import ctypes
import dataclasses
import hashlib
import math

import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.kernels.build import Dropout, Kernels
from autonas.model.blocks import NORM_EPSILON
from autonas.model.transformer import Transformer
from autonas.training.flat import FlatWeights
from autonas.training.state import TrainState
from autonas.training.steps import update

FORMATS = {16: (torch.bfloat16, torch.float32), 32: (torch.float32, torch.float32), 64: (torch.float64, torch.float64)}
# Windows go through the model in parts: what a part leaves behind for the way back should stay in the processor's caches, and
# its logits in memory.
PART_TOKENS = 2048
PART_LOGITS = 1 << 25
# Roles whose gradients are matrix products; their slices of the flat arrays come first.
PRODUCTS = ("hidden", "tied", "head")


class NativeStep:
    """Forwards, backwards and update of one training; its memory is made for the parts of the batches it meets."""

    def __init__(self, kernels: Kernels) -> None:
        self.path = f"native {'bfloat16' if kernels.bits == 16 else f'float{kernels.bits}'}"
        self.format = FORMATS[kernels.bits][0]  # of the products
        self._kernels = kernels
        self._weights: _Weights | None = None
        self._passes: dict[int, _Pass] = {}

    def __call__(self, state: TrainState) -> Tensor:
        model, flat = state.model, state.optimizer.flat
        threads = torch.get_num_threads()
        if self._weights is None or self._weights.flat is not flat:
            self._weights = _Weights(model.spec, flat, self._kernels)
            self._passes.clear()
        self._weights.refresh()
        first = state.tokens // model.spec.context_length
        batch = torch.from_numpy(state.windows.take(first, state.step_windows))  # (B, T + 1)
        keys = _Keys(f"dropout {state.seed} {state.tokens}")
        most = part_windows(model.spec, state.micro_windows)
        loss = torch.zeros((), dtype=flat.weights.dtype)
        done = 0
        with torch.no_grad():
            for part in torch.split(batch, most):
                run = self._pass(state, len(part))
                loss += run.gradients(part, len(batch), done, keys, threads)
                done += len(part)
            return torch.stack((loss, update(state)))

    def _pass(self, state: TrainState, windows: int) -> _Pass:
        assert self._weights is not None
        if windows not in self._passes:
            # A whole part and the rest of a batch: two sizes at most, but for who changes the batch.
            if len(self._passes) > 1:
                self._passes.clear()
            self._passes[windows] = _Pass(state.model, state.model.spec, self._weights, windows, self._kernels)
        return self._passes[windows]

    def prove(self, state: TrainState, window: Tensor) -> Tensor:
        """The loss of each token (T) of `window` (1, T + 1), without dropout and smoothing.

        Its gradients replace the flat ones.
        """
        plain = dataclasses.replace(state.model.spec, attention_dropout=0.0, residual_dropout=0.0, label_smoothing=0.0)
        weights = _Weights(plain, state.optimizer.flat, self._kernels)
        weights.refresh()
        run = _Pass(state.model, plain, weights, 1, self._kernels)
        with torch.no_grad():
            run.gradients(window, 1, 0, _Keys(""), torch.get_num_threads())
        return run.losses


def part_windows(spec: ArchSpec, most: int | None) -> int:
    """How many windows go through the model at once: at most `most`."""
    tokens = min(PART_TOKENS, PART_LOGITS // spec.vocab_size)
    return max(1, min(tokens // spec.context_length, most or tokens))


class _Weights:
    """The weights in the format of the products, and their gradients in it, as views of flat arrays laid out like `flat`'s."""

    def __init__(self, spec: ArchSpec, flat: FlatWeights, kernels: Kernels) -> None:
        self.flat = flat
        real, acc = FORMATS[kernels.bits]
        assert flat.weights.dtype == acc, (flat.weights.dtype, acc)
        self.num_products = max(flat.roles[role][1] for role in PRODUCTS if role in flat.roles)
        products = flat.weights[: self.num_products]
        self._cast = products if real == acc else torch.empty_like(products, dtype=real)
        self.products = torch.empty_like(products, dtype=real)
        inside = {name: place for name, place in flat.places.items() if place.end <= self.num_products}
        self.matrix = {name: place.of(self._cast) for name, place in inside.items()}
        self.product = {name: place.of(self.products) for name, place in inside.items()}
        self.own = {name: place.of(flat.weights) for name, place in flat.places.items()}
        self.gradient = {name: place.of(flat.gradients) for name, place in flat.places.items()}
        self.head = "embedding.weight" if spec.tied_embeddings else "unembedding.weight"

    def refresh(self) -> None:
        """Cast the weights as they are now."""
        if self._cast.dtype != self.flat.weights.dtype:
            self._cast.copy_(self.flat.weights[: self.num_products])


class _Keys:
    """The random keys of a step's dropout: one pair for each place that drops, a function of seed and tokens alone."""

    def __init__(self, name: str) -> None:
        self._name = name

    def dropout(self, place: str, rate: float, first: int) -> ctypes._Pointer[Dropout]:
        """For the kernel; `first` is the index of its first element in the whole batch, so that parts drop the same."""
        if not rate:
            return ctypes.pointer(Dropout(0, 0, 0, 0, 1.0))
        digest = hashlib.blake2b(f"{self._name} {place}".encode(), digest_size=8).digest()
        key0, key1 = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")
        return ctypes.pointer(Dropout(min(round(rate * 2**32), 2**32 - 1), key0, key1, first % 2**32, 1.0 / (1.0 - rate)))


class _Layer:
    """What a layer leaves behind on the way forwards for the way back."""

    def __init__(self, spec: ArchSpec, windows: int, real: torch.dtype) -> None:
        rows, heads, keys = windows * spec.context_length, windows * spec.heads, windows * spec.kv_heads
        length, wide = spec.context_length, spec.head_width
        grouped = spec.heads // spec.kv_heads * length
        self.q = torch.empty(keys, grouped, wide, dtype=real)
        self.k, self.v = (torch.empty(keys, length, wide, dtype=real) for _ in range(2))
        self.weights = torch.empty(keys, grouped, length, dtype=real)
        self.mixed = torch.empty(rows, spec.width, dtype=real)
        self.up = torch.empty(rows, spec.ffn_width * (2 if spec.gated else 1), dtype=real)
        self.hidden = torch.empty(rows, spec.ffn_width, dtype=real)
        assert heads * length == keys * grouped


class _Pass:
    """So many windows forwards and backwards."""

    def __init__(self, model: Transformer, spec: ArchSpec, weights: _Weights, windows: int, kernels: Kernels) -> None:
        real, acc = FORMATS[kernels.bits]
        self._spec, self._w, self._k, self._windows = spec, weights, kernels, windows
        length, rows, width = spec.context_length, windows * spec.context_length, spec.width
        sites = 2 * spec.layers + 1
        self._rows = rows
        self._x = torch.empty(sites, rows, width, dtype=acc)
        self._stats = torch.empty(sites, rows, 2, dtype=acc)
        self._normed = torch.empty(sites, rows, width, dtype=real)
        self._layers = [_Layer(spec, windows, real) for _ in range(spec.layers)]
        self._qkv = torch.empty(rows, (spec.heads + 2 * spec.kv_heads) * spec.head_width, dtype=real)
        first = self._layers[0]
        self._dq, self._dk, self._dv = (torch.empty_like(t) for t in (first.q, first.k, first.v))
        self._scores = torch.empty_like(first.weights)
        self._dropped = torch.empty_like(first.weights) if spec.attention_dropout else None
        self._heads = torch.empty_like(first.q)
        self._out, self._dn = (torch.empty(rows, width, dtype=real) for _ in range(2))
        self._dhidden, self._dup = torch.empty_like(first.hidden), torch.empty_like(first.up)
        self._logits = torch.empty(rows, spec.vocab_size, dtype=real)
        self.losses = torch.empty(rows, dtype=acc)
        self._g = torch.empty(rows, width, dtype=acc)
        self._scratch = torch.empty(max(torch.get_num_threads(), 1), 2, width, dtype=acc)
        self._cos = self._sin = self._slopes = None
        if spec.position == "rope":
            self._cos, self._sin = (
                table[:length].reshape(length, -1).to(acc).contiguous() for table in (model.rope_cos, model.rope_sin)
            )
        if spec.position == "alibi":
            self._slopes = model.alibi_slopes.to(acc).contiguous()
        self._kind = 0 if spec.activation in ("gelu", "geglu") else 1
        self._scale = 1.0 / math.sqrt(spec.head_width)
        names = [f"blocks.{n // 2}.{'feed_forward' if n % 2 else 'attention'}_norm" for n in range(sites - 1)]
        self._norms = [*names, "final_norm"]

    def gradients(self, part: Tensor, batch_windows: int, done: int, keys: _Keys, threads: int) -> Tensor:
        """Add the gradients of this part's share of the mean loss to the flat ones; returns that share of the loss.

        `done` windows of the batch came before; the first part overwrites what was there.
        """
        if self._scratch.shape[0] < threads:
            self._scratch = torch.empty(threads, *self._scratch.shape[1:], dtype=self._scratch.dtype)
        tokens, targets = part[:, :-1].flatten(), part[:, 1:].flatten()
        self._keys, self._done, self._threads = keys, done, threads
        flat, w, k = self._w.flat, self._w, self._k
        if not done:
            flat.gradients[w.num_products :].zero_()
        share = 1.0 / (batch_windows * self._spec.context_length)
        loss = self._forward(tokens, targets, share)
        self._backward()
        k.accumulate(threads, w.num_products, w.products.data_ptr(), flat.gradients.data_ptr(), int(not done))
        k.embed_backward(
            threads,
            self._rows,
            self._spec.context_length,
            self._spec.width,
            tokens.data_ptr(),
            self._g.data_ptr(),
            w.gradient["embedding.weight"].data_ptr(),
            _address(w.gradient.get("position_embedding.weight")),
        )
        return loss * share

    def _forward(self, tokens: Tensor, targets: Tensor, share: float) -> Tensor:
        spec, w, k, threads = self._spec, self._w, self._k, self._threads
        k.embed(
            threads,
            self._rows,
            spec.context_length,
            spec.width,
            tokens.data_ptr(),
            w.own["embedding.weight"].data_ptr(),
            _address(w.own.get("position_embedding.weight")),
            self._x[0].data_ptr(),
        )
        self._norm(0, None)
        for number, layer in enumerate(self._layers):
            name = f"blocks.{number}."
            self._attend(number, layer)
            torch.mm(layer.mixed, w.matrix[name + "attention.out.weight"].t(), out=self._out)
            self._norm(2 * number + 1, self._out)
            torch.mm(self._normed[2 * number + 1], w.matrix[name + "feed_forward.up.weight"].t(), out=layer.up)
            k.activation(
                threads,
                self._rows,
                spec.ffn_width,
                self._kind,
                int(spec.gated),
                layer.up.data_ptr(),
                layer.hidden.data_ptr(),
                self._inner_dropout(number),
            )
            torch.mm(layer.hidden, w.matrix[name + "feed_forward.down.weight"].t(), out=self._out)
            self._norm(2 * number + 2, self._out)
        torch.mm(self._normed[-1], w.matrix[w.head].t(), out=self._logits)
        k.cross_entropy(
            threads,
            self._rows,
            spec.vocab_size,
            self._logits.data_ptr(),
            targets.data_ptr(),
            spec.label_smoothing,
            share,
            self.losses.data_ptr(),
        )
        return self.losses.sum()

    def _attend(self, number: int, layer: _Layer) -> None:
        spec, k, threads = self._spec, self._k, self._threads
        torch.mm(self._normed[2 * number], self._w.matrix[f"blocks.{number}.attention.qkv.weight"].t(), out=self._qkv)
        k.split_heads(
            threads, *self._head_shape(), self._qkv.data_ptr(), *_addresses(layer.q, layer.k, layer.v), *self._turns()
        )
        torch.bmm(layer.q, layer.k.transpose(1, 2), out=layer.weights)
        k.attention_weights(
            threads,
            self._windows * spec.heads,
            spec.heads,
            spec.context_length,
            layer.weights.data_ptr(),
            _address(self._slopes),
            _address(self._dropped),
            self._attention_dropout(number),
        )
        torch.bmm(layer.weights if self._dropped is None else self._dropped, layer.v, out=self._heads)
        k.swap_heads(
            threads,
            self._windows,
            spec.heads,
            spec.context_length,
            spec.head_width,
            self._heads.data_ptr(),
            layer.mixed.data_ptr(),
        )

    def _backward(self) -> None:
        spec, w, k, threads = self._spec, self._w, self._k, self._threads
        torch.mm(self._logits.t(), self._normed[-1], out=w.product[w.head])
        torch.mm(self._logits, w.matrix[w.head], out=self._dn)
        self._norm_backward(2 * spec.layers)
        for number in reversed(range(spec.layers)):
            layer, name = self._layers[number], f"blocks.{number}."
            torch.mm(self._out.t(), layer.hidden, out=w.product[name + "feed_forward.down.weight"])
            torch.mm(self._out, w.matrix[name + "feed_forward.down.weight"], out=self._dhidden)
            k.activation_backward(
                threads,
                self._rows,
                spec.ffn_width,
                self._kind,
                int(spec.gated),
                layer.up.data_ptr(),
                self._dhidden.data_ptr(),
                self._dup.data_ptr(),
                self._inner_dropout(number),
            )
            torch.mm(self._dup.t(), self._normed[2 * number + 1], out=w.product[name + "feed_forward.up.weight"])
            torch.mm(self._dup, w.matrix[name + "feed_forward.up.weight"], out=self._dn)
            self._norm_backward(2 * number + 1)
            torch.mm(self._out.t(), layer.mixed, out=w.product[name + "attention.out.weight"])
            torch.mm(self._out, w.matrix[name + "attention.out.weight"], out=self._dn)
            self._attend_backward(number, layer)
            torch.mm(self._qkv.t(), self._normed[2 * number], out=w.product[name + "attention.qkv.weight"])
            torch.mm(self._qkv, w.matrix[name + "attention.qkv.weight"], out=self._dn)
            self._norm_backward(2 * number)

    def _attend_backward(self, number: int, layer: _Layer) -> None:
        """From the gradient of the mixed heads in `_dn` to that of qkv."""
        spec, k, threads = self._spec, self._k, self._threads
        k.swap_heads(
            threads,
            self._windows,
            spec.context_length,
            spec.heads,
            spec.head_width,
            self._dn.data_ptr(),
            self._heads.data_ptr(),
        )
        torch.bmm(self._heads, layer.v.transpose(1, 2), out=self._scores)
        k.attention_weights_backward(
            threads,
            self._windows * spec.heads,
            spec.context_length,
            layer.weights.data_ptr(),
            self._scores.data_ptr(),
            _address(self._dropped),
            self._attention_dropout(number),
        )
        used = layer.weights if self._dropped is None else self._dropped
        torch.bmm(used.transpose(1, 2), self._heads, out=self._dv)
        torch.bmm(self._scores, layer.k, out=self._dq)
        torch.bmm(self._scores.transpose(1, 2), layer.q, out=self._dk)
        k.split_heads_backward(
            threads, *self._head_shape(), *_addresses(self._dq, self._dk, self._dv), self._qkv.data_ptr(), *self._turns()
        )

    def _norm(self, site: int, added: Tensor | None) -> None:
        """x[site] = x[site - 1] + dropout(added), and its norm."""
        name = self._norms[site]
        self._k.add_norm(
            self._threads,
            self._rows,
            self._spec.width,
            self._x[max(site - 1, 0)].data_ptr(),
            _address(added),
            self._x[site].data_ptr(),
            self._w.own[f"{name}.weight"].data_ptr(),
            _address(self._w.own.get(f"{name}.bias")),
            NORM_EPSILON,
            self._normed[site].data_ptr(),
            self._stats[site].data_ptr(),
            self._outer_dropout(site),
        )

    def _norm_backward(self, site: int) -> None:
        """From `_dn` into the stream's gradient; `_out` becomes the gradient of what was added to the stream at this site."""
        name = self._norms[site]
        self._k.norm_backward(
            self._threads,
            self._rows,
            self._spec.width,
            self._dn.data_ptr(),
            self._x[site].data_ptr(),
            self._stats[site].data_ptr(),
            self._w.own[f"{name}.weight"].data_ptr(),
            self._w.gradient[f"{name}.weight"].data_ptr(),
            _address(self._w.gradient.get(f"{name}.bias")),
            self._g.data_ptr(),
            int(site == 2 * self._spec.layers),
            self._out.data_ptr() if site else None,
            self._outer_dropout(site),
            self._scratch.data_ptr(),
        )

    def _head_shape(self) -> tuple[int, int, int, int, int]:
        spec = self._spec
        return self._windows, spec.context_length, spec.heads, spec.kv_heads, spec.head_width

    def _turns(self) -> tuple[int | None, int | None, float]:
        return _address(self._cos), _address(self._sin), self._scale

    def _outer_dropout(self, site: int) -> ctypes._Pointer[Dropout]:
        first = self._done * self._spec.context_length * self._spec.width
        return self._keys.dropout(f"outer {site}", self._spec.residual_dropout if site else 0.0, first)

    def _inner_dropout(self, number: int) -> ctypes._Pointer[Dropout]:
        first = self._done * self._spec.context_length * self._spec.ffn_width
        return self._keys.dropout(f"inner {number}", self._spec.residual_dropout, first)

    def _attention_dropout(self, number: int) -> ctypes._Pointer[Dropout]:
        first = self._done * self._spec.heads * self._spec.context_length**2
        return self._keys.dropout(f"attention {number}", self._spec.attention_dropout, first)


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _addresses(*tensors: Tensor) -> tuple[int, ...]:
    return tuple(tensor.data_ptr() for tensor in tensors)
