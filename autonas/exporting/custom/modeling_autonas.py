"""A model trained by autonas, for `transformers`. It is exported with the weights; autonas is not needed.

Shapes: B rows, T new tokens, S keys, H query heads, K key-value heads, D width of a head, d width, f inner width.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_autonas import AutonasConfig


class RMSNorm(nn.Module):
    """Zhang and Sennrich, arXiv 1910.07467."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.epsilon)


def make_norm(config: AutonasConfig) -> nn.Module:
    if config.norm == "rmsnorm":
        return RMSNorm(config.width, config.norm_epsilon)
    return nn.LayerNorm(config.width, eps=config.norm_epsilon)


def alibi_slopes(heads: int) -> list[float]:
    """Press et al., arXiv 2108.12409, and its reference code for head counts that are no power of two."""
    power = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * i / power) for i in range(1, power + 1)]
    return slopes + [2.0 ** (-4.0 * i / power) for i in range(1, 2 * (heads - power), 2)]


def rope_tables(positions: Tensor, head_width: int, base: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (B, T, 1, D/2). In float64 on the host, which not every device has."""
    pairs = torch.arange(0, head_width, 2, dtype=torch.float64, device="cpu")
    angles = positions.to("cpu", torch.float64)[:, :, None, None] * base ** (-pairs / head_width)
    return angles.cos().float().to(positions.device, dtype), angles.sin().float().to(positions.device, dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate every pair (x[i], x[i + D/2]) of `x` (B, T, heads, D)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Attention(nn.Module):
    def __init__(self, config: AutonasConfig, layer: int) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.head_width = config.width // config.heads
        self.layer, self.dropout = layer, config.attention_dropout
        self.qkv = nn.Linear(config.width, (config.heads + 2 * config.kv_heads) * self.head_width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None, bias: Tensor, cache: Cache | None) -> Tensor:
        rows, length, width = x.shape
        heads = self.qkv(x).view(rows, length, -1, self.head_width)  # (B, T, H + 2K, D)
        q, k, v = torch.split(heads, [self.heads, self.kv_heads, self.kv_heads], dim=2)
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H or K, T, D)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        y = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=bias,
            dropout_p=self.dropout if self.training else 0.0,
            enable_gqa=self.kv_heads != self.heads,
        )
        mixed: Tensor = self.out(y.transpose(1, 2).reshape(rows, length, width))
        return mixed


class FeedForward(nn.Module):
    """The gate's f rows of `up` come first, then the values'."""

    def __init__(self, config: AutonasConfig) -> None:
        super().__init__()
        self.gated = config.activation in ("geglu", "swiglu")
        self.activate = F.gelu if config.activation in ("gelu", "geglu") else F.silu
        self.dropout = config.residual_dropout
        self.up = nn.Linear(config.width, config.ffn_width * (2 if self.gated else 1), bias=False)
        self.down = nn.Linear(config.ffn_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.up(x)
        if self.gated:
            gate, value = hidden.chunk(2, dim=-1)
            hidden = self.activate(gate) * value
        else:
            hidden = self.activate(hidden)
        written: Tensor = self.down(F.dropout(hidden, self.dropout, self.training))
        return written


class Block(nn.Module):
    def __init__(self, config: AutonasConfig, layer: int) -> None:
        super().__init__()
        self.dropout = config.residual_dropout
        self.attention_norm = make_norm(config)
        self.attention = Attention(config, layer)
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None, bias: Tensor, cache: Cache | None) -> Tensor:
        mixed = self.attention(self.attention_norm(x), rope, bias, cache)
        x = x + F.dropout(mixed, self.dropout, self.training)
        return x + F.dropout(self.feed_forward(self.feed_forward_norm(x)), self.dropout, self.training)


class AutonasForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = AutonasConfig
    base_model_prefix = ""
    _tied_weights_keys: ClassVar[dict[str, str]] = {"unembedding.weight": "embedding.weight"}
    _supports_sdpa = True
    _no_split_modules: ClassVar[list[str]] = ["Block"]

    def __init__(self, config: AutonasConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        if config.position == "learned":
            self.position_embedding = nn.Embedding(config.context_length, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.final_norm = make_norm(config)
        self.unembedding = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embedding = value

    def get_output_embeddings(self) -> nn.Module:
        return self.unembedding

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.unembedding = new_embeddings

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **others: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, T, V) of the token after each. `attention_mask` (B, S) is 0 where a row is padded."""
        x = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds  # (B, T, d)
        rows, length, _ = x.shape
        if past_key_values is None and (self.config.use_cache if use_cache is None else use_cache):
            past_key_values = DynamicCache()
        start = 0 if past_key_values is None else past_key_values.get_seq_length()
        if attention_mask is None:
            attention_mask = torch.ones(rows, start + length, dtype=torch.long, device=x.device)
        if attention_mask.ndim != 2 or attention_mask.shape[1] != start + length:
            raise ValueError(f"attention_mask must be (rows, {start + length}), and is {tuple(attention_mask.shape)}")
        places = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)  # (B, S): where each token stands in its row
        positions = places[:, start:] if position_ids is None else position_ids.expand(rows, length)
        if self.config.position == "learned":
            if int(positions.max()) >= self.config.context_length:
                raise ValueError(f"learned positions end at {self.config.context_length} tokens; give fewer")
            x = x + self.position_embedding(positions)
        rope = None
        if self.config.position == "rope":
            rope = rope_tables(positions, self.config.width // self.config.heads, self.config.rope_base, x.dtype)
        bias = self._bias(attention_mask, places, start, x.dtype)
        for block in self.blocks:
            x = block(x, rope, bias, past_key_values)
        logits = self.unembedding(self.final_norm(x[:, -logits_to_keep:]))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **others)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=past_key_values)

    def _bias(self, mask: Tensor, places: Tensor, start: int, dtype: torch.dtype) -> Tensor:
        """What is added to the scores, (B, 1 or H, T, S): ALiBi's slope before a token, the least number after it."""
        slots = torch.arange(mask.shape[1], device=mask.device)
        seen = (slots[None, :] <= slots[start:, None])[None] & mask.bool()[:, None, :]  # (B, T, S)
        distance = (places[:, None, :] - places[:, start:, None])[:, None].to(torch.float32)  # (B, 1, T, S)
        if self.config.position == "alibi":
            slopes = torch.tensor(alibi_slopes(self.config.heads), device=mask.device)
            bias = distance * slopes[:, None, None]
        else:
            bias = torch.zeros_like(distance)
        return bias.masked_fill(~seen[:, None], torch.finfo(dtype).min).to(dtype)


AutonasConfig.register_for_auto_class()
AutonasForCausalLM.register_for_auto_class("AutoModelForCausalLM")
