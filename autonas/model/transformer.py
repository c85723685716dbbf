"""One causal pre-norm transformer that can be every architecture of a space. Losses are in training/ and evaluation/.

Shapes: B rows, T new tokens, S keys, V vocabulary, d width, H heads, D width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autonas.arch import ArchSpec
from autonas.errors import RequestError
from autonas.model.blocks import Block, Frame, Linear, make_norm
from autonas.model.cache import KVCache
from autonas.model.positions import alibi_slopes, attention_bias, rope_tables

EMBEDDING_STD = 0.02
HIDDEN_STD = 0.32  # / sqrt(fan-in): 0.02 at width 256, and the same size of activations at every width


class Transformer(nn.Module):
    """The model of `spec`, with weights drawn from `seed`. The global random state is neither read nor moved.

    Weights have names that last: `embedding`, `position_embedding` (learned positions only),
    `blocks.N.attention.{qkv,out}`, `blocks.N.feed_forward.{up,down}`, `blocks.N.{attention,feed_forward}_norm`,
    `final_norm`, `unembedding` (untied only).
    """

    rope_cos: Tensor
    rope_sin: Tensor
    alibi_slopes: Tensor
    alibi_bias: Tensor

    def __init__(self, spec: ArchSpec, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec
        # nn.Embedding draws from the global generator unless it is handed its weights.
        self.embedding = nn.Embedding(spec.vocab_size, spec.width, _weight=torch.empty(spec.vocab_size, spec.width))
        if spec.position == "learned":
            table = torch.empty(spec.context_length, spec.width)
            self.position_embedding = nn.Embedding(spec.context_length, spec.width, _weight=table)
        self.blocks = nn.ModuleList(Block(spec) for _ in range(spec.layers))
        self.final_norm = make_norm(spec)
        if not spec.tied_embeddings:
            self.unembedding = Linear(spec.width, spec.vocab_size)
        if spec.position == "rope":
            cos, sin = rope_tables(spec.context_length, spec.head_width)
            self.register_buffer("rope_cos", cos, persistent=False)  # (length, 1, D/2)
            self.register_buffer("rope_sin", sin, persistent=False)
        if spec.position == "alibi":
            self.register_buffer("alibi_slopes", torch.tensor(alibi_slopes(spec.heads)), persistent=False)  # (H)
            self.register_buffer("alibi_bias", torch.empty(1, 0, 0, 0), persistent=False)  # of the length used last
        self._draw_weights(seed)

    @torch.no_grad()
    def _draw_weights(self, seed: int) -> None:
        """Embeddings and head N(0, 0.02²); hidden matrices N(0, 0.32²/fan-in), those that write to the stream / sqrt(2L)."""
        generator = torch.Generator().manual_seed(seed)
        for name, weight in self.named_parameters():
            if weight.ndim < 2 or weight.is_meta:
                continue  # norms begin as the identity; a model on the meta device has shapes only
            if name.startswith("blocks."):
                std = HIDDEN_STD / math.sqrt(weight.shape[1])
                if name.endswith(("attention.out.weight", "feed_forward.down.weight")):
                    std /= math.sqrt(2 * self.spec.layers)
            else:
                std = EMBEDDING_STD
            weight.normal_(0.0, std, generator=generator)

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Logits (B, T, V) of the token after each of `tokens` (B, T) int64.

        With a cache, `tokens` continue what it holds, and their keys and values are stored in it.

        Raises:
            RequestError: learned positions end at the context length.
        """
        return self.head(self.features(tokens, cache))

    def features(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """What the head reads, (B, T, d): for losses computed in blocks, or logits of a few positions only."""
        length = tokens.shape[1]
        x = self.embedding(tokens)  # (B, T, d)
        if self.spec.position == "learned":
            x = x + self._learned_positions(length, cache)
        frame = self._frame(length, cache, x.dtype)
        for layer, block in enumerate(self.blocks):
            x = block(x, frame, cache, layer)
        if cache is not None:
            cache.advance(length)
        features: Tensor = self.final_norm(x)
        return features

    def head(self, features: Tensor) -> Tensor:
        """Logits (…, V) of `features` (…, d)."""
        weight = self.embedding.weight if self.spec.tied_embeddings else self.unembedding.weight
        return F.linear(features, weight)

    def _learned_positions(self, length: int, cache: KVCache | None) -> Tensor:
        """(T, d), or (B or 1, T, d) behind a cache."""
        start = 0 if cache is None else cache.longest
        if start + length > self.spec.context_length:
            raise RequestError(
                f"{start + length} tokens do not fit a context of {self.spec.context_length} with learned positions. "
                "Give fewer tokens, or choose position: rope or alibi."
            )
        if cache is None or start == 0:
            return self.position_embedding.weight[:length]
        positions: Tensor = self.position_embedding(cache.positions(length))
        return positions

    def _frame(self, length: int, cache: KVCache | None, dtype: torch.dtype) -> Frame:
        """Rotary tables and bias of the next `length` tokens."""
        start = 0 if cache is None else cache.longest
        cos = sin = bias = None
        if self.spec.position == "rope":
            self._grow_rope(start + length)
            if cache is None or cache.uniform:
                cos, sin = self.rope_cos[start : start + length], self.rope_sin[start : start + length]
            else:
                positions = cache.positions(length)
                cos, sin = self.rope_cos[positions], self.rope_sin[positions]  # (B, T, 1, D/2)
        slopes = self.alibi_slopes if self.spec.position == "alibi" else None
        if cache is None or start == 0:
            if slopes is not None:
                bias = self._alibi_square(length, dtype)
            return Frame(cos=cos, sin=sin, bias=bias, causal=bias is None and length > 1)
        if slopes is not None or length > 1 or not cache.uniform:
            bias = attention_bias(cache.positions(length), start + length, slopes, dtype)
        return Frame(cos=cos, sin=sin, bias=bias, causal=False)

    def _grow_rope(self, length: int) -> None:
        if length > self.rope_cos.shape[0]:
            # Tensors made in inference mode could not be used by a later training step.
            with torch.inference_mode(False), torch.no_grad():
                cos, sin = rope_tables(length, self.spec.head_width, self.rope_cos.device)
                self.rope_cos, self.rope_sin = cos.to(self.rope_cos.dtype), sin.to(self.rope_sin.dtype)

    def _alibi_square(self, length: int, dtype: torch.dtype) -> Tensor:
        """The bias of `length` tokens among themselves, (1, H, T, T), kept for the next pass of that length."""
        if self.alibi_bias.shape[-1] != length or self.alibi_bias.dtype != dtype:
            with torch.inference_mode(False), torch.no_grad():
                positions = torch.arange(length, device=self.alibi_slopes.device)[None]
                self.alibi_bias = attention_bias(positions, length, self.alibi_slopes.float(), dtype)
        return self.alibi_bias


def head_name(spec: ArchSpec) -> str:
    """The matrix that makes logits."""
    return "embedding.weight" if spec.tied_embeddings else "unembedding.weight"


def norm_names(spec: ArchSpec) -> list[str]:
    """Norms in the order in which a token meets them: two of each layer, and the final one."""
    parts = ("attention", "feed_forward")
    return [*(f"blocks.{layer}.{part}_norm" for layer in range(spec.layers) for part in parts), "final_norm"]


def build_model(
    spec: ArchSpec, seed: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Transformer:
    """The model of `spec` on `device`. Weights are drawn on the host in float32: the same seed, the same model everywhere."""
    return Transformer(spec, seed).to(device=device, dtype=dtype)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Without dropout and gradients inside; back to the mode it was in afterwards."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
