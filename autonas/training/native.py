"""A step on a processor by matrix products and our own kernels: the way back of model/native.py, and the update.

In bfloat16 the weights are kept in that format beside the float32 ones and are cast once a step; products' gradients are made
in it and summed in float32. Shapes as in model/native.py.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.kernels import Kernels
from autonas.model.native import FORMATS, DropoutKeys, Layer, NativeForward, NativeWeights, address, part_windows
from autonas.model.transformer import Transformer, head_name
from autonas.training.flat import FlatWeights
from autonas.training.state import TrainState
from autonas.training.steps import update

# Roles whose gradients are matrix products; their slices of the flat arrays come first.
PRODUCTS = ("hidden", "tied", "head")


class NativeStep:
    """Forwards, backwards and update of one training; its memory is made for the parts of the batches it meets."""

    def __init__(self, kernels: Kernels) -> None:
        self.format = FORMATS[kernels.bits][0]  # of the products
        self.path = f"native {str(self.format).removeprefix('torch.')}"
        self._kernels = kernels
        self._weights: _Weights | None = None
        self._passes: dict[int, _Pass] = {}

    def __call__(self, state: TrainState) -> Tensor:
        model, flat = state.model, state.optimizer.flat
        if self._weights is None or self._weights.flat is not flat:
            self._weights = _Weights(model.spec, flat, self._kernels)
            self._passes.clear()
        self._weights.refresh()
        first = state.tokens // model.spec.context_length
        batch = torch.from_numpy(state.windows.take(first, state.step_windows))  # (B, T + 1)
        keys = DropoutKeys(f"dropout {state.seed} {state.tokens}")
        loss = torch.zeros((), dtype=flat.weights.dtype)
        done = 0
        with torch.no_grad():
            parts = torch.split(batch, part_windows(model.spec, state.micro_windows))
            # A whole part and the rest of a batch: two sizes at most. Others are given up before there are new ones, which may
            # be wanted because memory ran out.
            sizes = {len(part) for part in parts}
            self._passes = {windows: run for windows, run in self._passes.items() if windows in sizes}
            for part in parts:
                loss += self._pass(state, len(part)).gradients(part, len(batch), done, keys)
                done += len(part)
            return torch.stack((loss, update(state)))

    def _pass(self, state: TrainState, windows: int) -> _Pass:
        assert self._weights is not None
        if windows not in self._passes:
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
            run.gradients(window, 1, 0, DropoutKeys(""))
        return run.forward.losses


class _Weights:
    """The weights in the format of the products, and their gradients in it, as views of flat arrays laid out like `flat`'s."""

    def __init__(self, spec: ArchSpec, flat: FlatWeights, kernels: Kernels) -> None:
        self.flat = flat
        real, acc = FORMATS[kernels.bits]
        assert flat.weights.dtype == acc, (flat.weights.dtype, acc)
        self.num_products = max(flat.roles[role][1] for role in PRODUCTS if role in flat.roles)
        products = flat.weights[: self.num_products]
        self._cast = products if real == acc else torch.empty_like(products, dtype=real)
        # Zeros and not garbage: what lies between two weights counts in the gradients' norm.
        self.products = torch.zeros_like(products, dtype=real)
        inside = {name: place for name, place in flat.places.items() if place.end <= self.num_products}
        self.product = {name: place.of(self.products) for name, place in inside.items()}
        self.gradient = {name: place.of(flat.gradients) for name, place in flat.places.items()}
        self.forward = NativeWeights(
            matrix={name: place.of(self._cast) for name, place in inside.items()},
            own={name: place.of(flat.weights) for name, place in flat.places.items()},
            head=head_name(spec),
        )

    def refresh(self) -> None:
        """Cast the weights as they are now."""
        if self._cast.dtype != self.flat.weights.dtype:
            self._cast.copy_(self.flat.weights[: self.num_products])


class _Pass:
    """So many windows forwards and backwards."""

    def __init__(self, model: Transformer, spec: ArchSpec, weights: _Weights, windows: int, kernels: Kernels) -> None:
        forward = NativeForward(model, spec, weights.forward, kernels, windows=windows, length=spec.context_length, keep=True)
        self.forward, self._spec, self._w, self._k = forward, spec, weights, kernels
        first = forward.layers[0]
        self._dq, self._dk, self._dv = (torch.empty_like(t) for t in (first.q, first.k, first.v))
        self._scores = torch.empty_like(first.weights)
        self._dn = torch.empty_like(forward.out)
        self._dhidden, self._dup = torch.empty_like(first.hidden), torch.empty_like(first.up)
        self._g = torch.empty_like(forward.x[0])  # of the stream
        self._scratch = torch.empty(0, dtype=self._g.dtype)

    def gradients(self, part: Tensor, batch_windows: int, done: int, keys: DropoutKeys) -> Tensor:
        """Add the gradients of this part's share of the mean loss to the flat ones; returns that share of the loss.

        `done` windows of the batch came before; the first part overwrites what was there.
        """
        threads = torch.get_num_threads()
        if self._scratch.numel() < 2 * threads * self._spec.width:
            self._scratch = torch.empty(threads, 2, self._spec.width, dtype=self._g.dtype)
        tokens, targets = part[:, :-1].flatten(), part[:, 1:].flatten()
        flat, w = self._w.flat, self._w
        if not done:
            flat.gradients[w.num_products :].zero_()
        share = 1.0 / (batch_windows * self._spec.context_length)
        loss = self.forward(tokens, targets, share, threads, keys, before=done).sum() * share
        self._backward()
        self._k.accumulate(threads, w.num_products, w.products.data_ptr(), flat.gradients.data_ptr(), int(not done))
        self._k.embed_backward(
            threads,
            self.forward.rows,
            self.forward.length,
            self._spec.width,
            tokens.data_ptr(),
            self._g.data_ptr(),
            w.gradient["embedding.weight"].data_ptr(),
            address(w.gradient.get("position_embedding.weight")),
        )
        return loss

    def _backward(self) -> None:
        f, w, spec = self.forward, self._w, self._spec
        matrix, product = w.forward.matrix, w.product
        head = w.forward.head
        torch.mm(f.logits.t(), f.normed[-1], out=product[head])
        torch.mm(f.logits, matrix[head], out=self._dn)
        self._norm(2 * spec.layers)
        for number in reversed(range(spec.layers)):
            layer, name = f.layers[number], f"blocks.{number}."
            torch.mm(f.out.t(), layer.hidden, out=product[name + "feed_forward.down.weight"])
            torch.mm(f.out, matrix[name + "feed_forward.down.weight"], out=self._dhidden)
            self._k.activation_backward(
                f.threads,
                f.rows,
                spec.ffn_width,
                f.kind,
                int(spec.gated),
                layer.up.data_ptr(),
                self._dhidden.data_ptr(),
                self._dup.data_ptr(),
                f.inner_dropout(number),
            )
            torch.mm(self._dup.t(), f.normed[2 * number + 1], out=product[name + "feed_forward.up.weight"])
            torch.mm(self._dup, matrix[name + "feed_forward.up.weight"], out=self._dn)
            self._norm(2 * number + 1)
            torch.mm(f.out.t(), layer.mixed, out=product[name + "attention.out.weight"])
            torch.mm(f.out, matrix[name + "attention.out.weight"], out=self._dn)
            self._attend(number, layer)
            torch.mm(f.qkv.t(), f.normed[2 * number], out=product[name + "attention.qkv.weight"])
            torch.mm(f.qkv, matrix[name + "attention.qkv.weight"], out=self._dn)
            self._norm(2 * number)

    def _attend(self, number: int, layer: Layer) -> None:
        """From the gradient of the mixed heads in `_dn` to that of qkv."""
        f, spec = self.forward, self._spec
        dheads = f.heads
        self._k.swap_heads(f.threads, f.windows, f.length, spec.heads, spec.head_width, self._dn.data_ptr(), dheads.data_ptr())
        torch.bmm(dheads, layer.v.transpose(1, 2), out=self._scores)
        self._k.attention_weights_backward(
            f.threads,
            f.windows * spec.heads,
            f.length,
            layer.weights.data_ptr(),
            self._scores.data_ptr(),
            address(f.dropped),
            f.attention_dropout(number),
        )
        used = layer.weights if f.dropped is None else f.dropped
        torch.bmm(used.transpose(1, 2), dheads, out=self._dv)
        torch.bmm(self._scores, layer.k, out=self._dq)
        torch.bmm(self._scores.transpose(1, 2), layer.q, out=self._dk)
        self._k.split_heads_backward(
            f.threads,
            *f.head_shape(),
            self._dq.data_ptr(),
            self._dk.data_ptr(),
            self._dv.data_ptr(),
            f.qkv.data_ptr(),
            *f.turns(),
        )

    def _norm(self, site: int) -> None:
        """From `_dn` into the stream's gradient; `out` becomes the gradient of what was added to the stream at this site."""
        f, w = self.forward, self._w
        name = f.norms[site]
        self._k.norm_backward(
            f.threads,
            f.rows,
            self._spec.width,
            self._dn.data_ptr(),
            f.x[site].data_ptr(),
            f.stats[site].data_ptr(),
            w.forward.own[f"{name}.weight"].data_ptr(),
            w.gradient[f"{name}.weight"].data_ptr(),
            address(w.gradient.get(f"{name}.bias")),
            self._g.data_ptr(),
            int(site == 2 * self._spec.layers),
            f.out.data_ptr() if site else None,
            f.outer_dropout(site),
            self._scratch.data_ptr(),
        )
