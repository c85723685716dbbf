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

from autonas.kernels import Decoder, Kernels, find_kernels
from autonas.model.blocks import NORM_EPSILON
from autonas.model.cache import KVCache
from autonas.model.steps import PATHS, Choice
from autonas.model.transformer import Transformer

BITS: Final = {torch.float32: 32, torch.bfloat16: 16}
# In bfloat16, products of many rows are oneDNN's, whose instructions our kernels do not use.
MOST_BFLOAT16_ROWS: Final = 16
# Of logits, as a share of the largest of them and of 1.
TOLERANCES: Final = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
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
    """As steps.PlainSteps: each row has its own copy of its prompt's keys and values."""

    def __init__(
        self, decoder: NativeDecoder, prompts: KVCache, rows: Sequence[int], choice: Choice, first: Tensor, num_new: int
    ) -> None:
        """Row i continues prompt `rows[i]`; `first` (B, V) are the logits after the prompts."""
        self._decoder, self._choice = decoder, choice
        index = torch.tensor(rows)
        used = prompts.longest
        self._room = -(-(used + num_new) // LANES) * LANES
        layers, _, heads, _, width = prompts.keys.shape
        dtype = prompts.keys.dtype
        self._keys = torch.zeros(layers, len(rows), heads, width, self._room, dtype=dtype)
        self._keys[..., :used] = prompts.keys[:, index, :, :used].transpose(-1, -2)
        self._values = torch.zeros(layers, len(rows), heads, self._room, -(-width // LANES) * LANES, dtype=dtype)
        self._values[..., :used, :width] = prompts.values[:, index, :, :used]
        self._lengths = prompts.lengths[index]
        self.made = torch.empty(num_new, len(rows), dtype=torch.int64)
        self.made[0] = choice(first, 0)
        self.count = 1
        self._allocate()

    def _allocate(self) -> None:
        spec, rows = self._decoder.spec, self.made.shape[1]
        each = 3 * spec.width + (spec.heads + 2 * spec.kv_heads) * spec.head_width + 3 * spec.ffn_width
        self._scratch = torch.empty(rows * each)
        self._logits = torch.empty(rows, spec.vocab_size)

    def logits_of(self, tokens: Tensor) -> Tensor:
        """Logits (B, V) behind `tokens` (B), which go to each row's next slot; the rows are not yet longer by them."""
        self._decoder.kernels.decode_step(
            torch.get_num_threads(),
            ctypes.addressof(self._decoder.record),
            tokens.shape[0],
            self._room,
            tokens.data_ptr(),
            self._lengths.data_ptr(),
            self._keys.data_ptr(),
            self._values.data_ptr(),
            self._logits.data_ptr(),
            self._scratch.data_ptr(),
        )
        return self._logits

    def doubt(self, last: Tensor, first: Tensor) -> str:
        """Why these steps must not be used: reads the prompts' `last` tokens (B) again, whose logits are `first`."""
        self._lengths -= 1
        found = self.logits_of(last)
        self._lengths += 1
        expected = first.float()
        allowed = TOLERANCES[first.dtype] * max(1.0, float(expected.abs().max()))
        off = float((found - expected).abs().max())
        # Written so that a NaN fails.
        return "" if off <= allowed else f"native logits differ by {off:.2g}"

    def step(self) -> None:
        logits = self.logits_of(self.made[self.count - 1])
        self._lengths += 1
        self.made[self.count] = self._choice(logits, self.count)
        self.count += 1
        PATHS.steps["native"] += 1

    def worth_keeping(self, running: Sequence[int]) -> list[int]:
        """The rows to go on with when only `running` are wanted."""
        return list(running)

    def select(self, rows: Sequence[int]) -> None:
        """Go on with `rows` only."""
        index = torch.tensor(rows)
        self._keys, self._values = self._keys.index_select(1, index), self._values.index_select(1, index)
        self._lengths = self._lengths[index]
        self._choice.select(index)
        self.made = self.made[:, index].contiguous()
        self._allocate()


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
