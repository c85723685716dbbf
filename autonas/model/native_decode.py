"""One token for every row by a single call of our own kernels, products included (autonas/kernels/decode.c).

A step of a small model by torch's calls is mostly the calls. Before a batch is decoded this way, its prompts' last tokens are
read once more and their logits compared with those of the plain pass: what is wrong is not used, and steps.PATHS says why.

Shapes: B rows, N new tokens, L layers, K key-value heads, D width of a head, V vocabulary.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from autonas.kernels import Cache, Decoder, Kernels, find_kernels
from autonas.model.blocks import NORM_EPSILON
from autonas.model.cache import KVCache
from autonas.model.steps import PATHS, Choice
from autonas.model.transformer import Transformer

BITS: Final = {torch.float32: 32, torch.bfloat16: 16}
# In bfloat16, products of many rows are oneDNN's, whose instructions our kernels do not use.
MOST_BFLOAT16_ROWS: Final = 16
# Of logits, as a share of the largest of them and of 1.
TOLERANCES: Final = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
MOST_KEPT: Final = 256  # of top-k: they are kept sorted, one by one
LANES: Final = 16  # numbers of a vector: room and rows of values are filled up to it


class NativeDecoder:
    """A model's weights as the kernels want them: copies, made once."""

    def __init__(self, model: Transformer, kernels: Kernels) -> None:
        spec = model.spec
        self.spec, self.kernels = spec, kernels
        weights = {name: weight.detach() for name, weight in model.named_parameters()}
        self._kept: list[object] = []  # what the record below points to
        sites = [f"blocks.{layer}.{part}_norm" for layer in range(spec.layers) for part in ("attention", "feed_forward")]
        sites.append("final_norm")
        names = ("attention.qkv", "attention.out", "feed_forward.up", "feed_forward.down")
        matrices = [weights[f"blocks.{layer}.{name}.weight"] for layer in range(spec.layers) for name in names]
        head = weights["embedding.weight" if spec.tied_embeddings else "unembedding.weight"]
        cosine, sine = (model.rope_cos[:, 0], model.rope_sin[:, 0]) if spec.position == "rope" else (None, None)
        self.record = Decoder(
            layers=spec.layers,
            width=spec.width,
            heads=spec.heads,
            kv_heads=spec.kv_heads,
            head_width=spec.head_width,
            inner=spec.ffn_width,
            gated=int(spec.gated),
            kind=0 if spec.activation in ("gelu", "geglu") else 1,
            vocabulary=spec.vocab_size,
            epsilon=NORM_EPSILON,
            embedding=self._wide(weights["embedding.weight"]),
            position=self._wide(weights.get("position_embedding.weight")),
            cosine=self._wide(cosine),
            sine=self._wide(sine),
            slopes=self._wide(model.alibi_slopes if spec.position == "alibi" else None),
            head=self._pack(head),
            matrices=self._list([self._pack(matrix) for matrix in matrices]),
            norm_weights=self._list([self._wide(weights[f"{site}.weight"]) for site in sites]),
            norm_biases=self._list([self._wide(weights.get(f"{site}.bias")) for site in sites]),
        )

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()

    def _wide(self, weight: Tensor | None) -> int | None:
        """The address of a float32 copy."""
        return None if weight is None else self._keep(weight.to(torch.float32, copy=True).contiguous())

    def _pack(self, matrix: Tensor) -> int:
        outputs, inputs = matrix.shape
        panels = torch.empty(-(-outputs // (4 * LANES)) * 4 * LANES * inputs, dtype=matrix.dtype)
        self.kernels.pack(1, inputs, outputs, matrix.contiguous().data_ptr(), panels.data_ptr())
        return self._keep(panels)

    def _list(self, addresses: Sequence[int | None]) -> int:
        array = (ctypes.c_void_p * len(addresses))(*addresses)
        self._kept.append(array)
        return ctypes.addressof(array)


class NativeSteps:
    """As steps.PlainSteps: rows of the same prompt share its keys and values."""

    def __init__(
        self, decoder: NativeDecoder, prompts: KVCache, rows: Sequence[int], choice: Choice, first: Tensor, num_new: int
    ) -> None:
        """Row i continues prompt `rows[i]`; `first` (B, V) are the logits after the prompts."""
        self._decoder, self._choice = decoder, choice
        layers, batch, heads, _, width = prompts.keys.shape
        used = prompts.longest
        self._prompts = _Cache(layers, batch, heads, width, used, prompts.keys.dtype)
        self._prompts.keys[..., :used] = prompts.keys[:, :, :, :used].transpose(-1, -2)
        self._prompts.values[..., :used, :width] = prompts.values[:, :, :, :used]
        self._own = _Cache(layers, len(rows), heads, width, num_new, prompts.keys.dtype)
        self._origins = torch.tensor(rows)
        self._lengths = prompts.lengths[self._origins]  # of the prompts
        self.made = torch.empty(num_new, len(rows), dtype=torch.int64)
        self._allocate()
        self.logits.copy_(first)
        self.made[0] = self._choose(0)
        self.count = 1

    def _allocate(self) -> None:
        spec, rows = self._decoder.spec, self.made.shape[1]
        each = 3 * spec.width + (spec.heads + 2 * spec.kv_heads) * spec.head_width + 3 * spec.ffn_width
        self._scratch = torch.empty(rows * each)
        self.logits = torch.empty(rows, spec.vocab_size)  # of the tokens chosen last

    def _read(self, tokens: Tensor, lengths: Tensor, count: int) -> None:
        """Logits behind `tokens` (B), each behind `lengths` (B) tokens of its prompt and `count` of its own."""
        self._decoder.kernels.decode_step(
            torch.get_num_threads(),
            ctypes.addressof(self._decoder.record),
            len(tokens),
            tokens.data_ptr(),
            self._origins.data_ptr(),
            lengths.data_ptr(),
            count,
            self._prompts.address,
            self._own.address,
            self.logits.data_ptr(),
            self._scratch.data_ptr(),
        )

    def _choose(self, step: int) -> Tensor:
        sampling, uniforms = self._choice.sampling, self._choice.uniforms
        kept = sampling.top_k if sampling.draws else 1
        if sampling.penalises or sampling.top_p is not None or kept is None or kept > MOST_KEPT:
            return self._choice(self.logits, step)
        tokens = torch.empty(len(self.logits), dtype=torch.int64)
        drawn = uniforms[step].double().contiguous() if sampling.draws and uniforms is not None else None
        self._decoder.kernels.choose(
            torch.get_num_threads(),
            *self.logits.shape,
            self.logits.data_ptr(),
            sampling.temperature,
            min(kept, self.logits.shape[1]),
            None if drawn is None else drawn.data_ptr(),
            tokens.data_ptr(),
        )
        return tokens

    def doubt(self, last: Tensor, first: Tensor) -> str:
        """Why these steps must not be used: reads the prompts' `last` tokens (B) again, whose logits are `first`."""
        self._read(last, self._lengths - 1, 0)
        expected = first.float()
        allowed = TOLERANCES[first.dtype] * max(1.0, float(expected.abs().max()))
        off = float((self.logits - expected).abs().max())
        # Written so that a NaN fails.
        return "" if off <= allowed else f"native logits differ by {off:.2g}"

    def step(self) -> None:
        self._read(self.made[self.count - 1], self._lengths, self.count - 1)
        self.made[self.count] = self._choose(self.count)
        self.count += 1
        PATHS.steps["native"] += 1

    def worth_keeping(self, running: Sequence[int]) -> list[int]:
        """The rows to go on with when only `running` are wanted."""
        return list(running)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with `rows` only."""
        index = torch.tensor(rows)
        self._own = self._own.select(index)
        self._origins, self._lengths = self._origins[index], self._lengths[index]
        self._choice.select(index)
        self.made = self.made[:, index].contiguous()
        self._allocate()


class _Cache:
    """Keys (L, B, K, D, room) and values (L, B, K, room, D in whole vectors), and their record for the kernels."""

    def __init__(self, layers: int, rows: int, heads: int, width: int, tokens: int, dtype: torch.dtype) -> None:
        room = -(-tokens // LANES) * LANES
        # Zeros and not garbage: what fills a vector up meets a weight of 0.
        self.keys = torch.zeros(layers, rows, heads, width, room, dtype=dtype)
        self.values = torch.zeros(layers, rows, heads, room, -(-width // LANES) * LANES, dtype=dtype)
        self._describe()

    def _describe(self) -> None:
        rows, room = self.keys.shape[1], self.keys.shape[4]
        self._record = Cache(rows=rows, room=room, keys=self.keys.data_ptr(), values=self.values.data_ptr())
        self.address = ctypes.addressof(self._record)

    def select(self, index: Tensor) -> _Cache:
        """A copy of these rows."""
        chosen = _Cache.__new__(_Cache)
        chosen.keys, chosen.values = self.keys.index_select(1, index), self.values.index_select(1, index)
        chosen._describe()
        return chosen


def native_decoder(model: Transformer) -> NativeDecoder | None:
    """For float32 and bfloat16 models on a processor with kernels; None otherwise, and PATHS says why where there should be."""
    weight = model.embedding.weight
    if weight.device.type != "cpu" or weight.dtype not in BITS:
        return None
    kernels, reason = find_kernels(BITS[weight.dtype])
    if kernels is None:
        PATHS.reasons[reason] += 1
        return None
    return NativeDecoder(model, kernels)


def begin_native(
    decoder: NativeDecoder, prompts: KVCache, rows: Sequence[int], last: Tensor, choice: Choice, first: Tensor, num_new: int
) -> NativeSteps | None:
    """Steps that go on from `prompts`, if they agree with the plain pass on the prompts' `last` tokens (B)."""
    if first.dtype == torch.bfloat16 and len(rows) > MOST_BFLOAT16_ROWS:
        return None
    steps = NativeSteps(decoder, prompts, rows, choice, first, num_new)
    reason = steps.doubt(last, first)
    if reason:
        PATHS.reasons[reason] += 1
        return None
    return steps
