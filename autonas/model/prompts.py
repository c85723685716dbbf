"""How prompts are read: checked, cropped, grouped by length, equal ones and a beginning common to all of them only once.

Shapes: G prompts, T tokens, H query heads, K key-value heads, D width of a head, d width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.errors import RequestError
from autonas.model.cache import KVCache
from autonas.model.plan import Plan
from autonas.model.positions import attention_bias

Tokens = tuple[int, ...]

# Prompts are read together while the longest is at most this much longer than the shortest: another pass over the
# weights costs more than padding does.
LENGTH_RATIO, LENGTH_SLACK = 2.0, 16
# Rows times tokens of one batch: bounds the cache and the logits in flight.
MAX_BATCH_TOKENS = 131_072
_VECTOR = 16  # tokens by which the kernels' caches grow: float32 numbers of a vector
# A common beginning of fewer tokens is not worth a pass of its own.
MIN_SHARED = 16


def window(spec: ArchSpec, max_new_tokens: int) -> int:
    """How many tokens of a prompt fit beside `max_new_tokens`. Raises RequestError where none does."""
    context = spec.context_length
    if not 1 <= max_new_tokens < context:
        raise RequestError(
            f"{max_new_tokens} new tokens do not fit a context of {context} beside a prompt; ask for 1 to {context - 1}."
        )
    return context - max_new_tokens


def crop(spec: ArchSpec, prompt: Sequence[int], room: int, place: int) -> Tokens:
    """The last `room` tokens of prompt number `place`. Raises RequestError for one that is empty or of another vocabulary."""
    if len(prompt) == 0:
        raise RequestError(f"prompt {place} has no tokens; begin it with the end-of-text token.")
    wrong = next((token for token in prompt if not 0 <= token < spec.vocab_size), None)
    if wrong is not None:
        raise RequestError(
            f"prompt {place} has token {wrong}, outside the vocabulary of {spec.vocab_size}. "
            "Encode it with the tokenizer that the model was trained with."
        )
    return tuple(prompt[-room:])


def batches(prompts: Sequence[Tokens], max_new_tokens: int) -> Iterator[list[int]]:
    """Indices of `prompts` in groups of similar length and bounded size, shortest first; equal prompts stand side by side."""
    group: list[int] = []
    for row in sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), prompts[row], row)):
        length = len(prompts[row])
        if group:
            too_long = length > len(prompts[group[0]]) * LENGTH_RATIO + LENGTH_SLACK
            if too_long or (len(group) + 1) * (_room(length) + _room(max_new_tokens)) > MAX_BATCH_TOKENS:
                yield group
                group = []
        group.append(row)
    if group:
        yield group


def _room(tokens: int) -> int:
    """Tokens that a cache has room for, in whole vectors."""
    return -(-tokens // _VECTOR) * _VECTOR


def read_prompts(plan: Plan, prompts: Sequence[Tokens]) -> tuple[KVCache, Tensor]:
    """The keys and values of `prompts`, padded on the right, and the logits (G, V) of the token after each."""
    dtype, device = plan.embedding.dtype, plan.device
    lengths = [len(prompt) for prompt in prompts]
    shared = common_beginning(prompts)
    cache = KVCache(plan.spec, len(prompts), max(lengths), dtype, device)
    if shared:
        beginning = KVCache(plan.spec, 1, shared, dtype, device)
        _read(plan, np.array([prompts[0][:shared]]), beginning)
        cache = beginning.select([0] * len(prompts), max(lengths))
    padded = np.zeros((len(prompts), max(lengths) - shared), dtype=np.int64)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt) - shared] = prompt[shared:]
    features = _read(plan, padded, cache)  # (G, T, d)
    cache.trim(lengths)
    last = torch.tensor(lengths, device=device) - shared - 1
    return cache, plan.head(features[torch.arange(len(prompts), device=device), last])


def common_beginning(prompts: Sequence[Tokens]) -> int:
    """How many tokens all `prompts` begin with and that are worth reading first; each keeps a token of its own."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)  # in order of their tokens, what these two share all share
    most = min(map(len, prompts)) - 1
    count = next((i for i in range(most) if first[i] != last[i]), most)
    return count if count >= MIN_SHARED else 0


def _read(plan: Plan, tokens: np.ndarray, cache: KVCache) -> Tensor:
    """Features (G, T, d) of `tokens` (G, T) behind a cache of rows that are equally long."""
    spec, (rows, length), start = plan.spec, tokens.shape, cache.longest
    positions = cache.positions(length)  # (1, T)
    bias = None
    if plan.slopes is not None or start > 0:
        bias = attention_bias(positions, start + length, plan.slopes, cache.keys.dtype)

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.view(rows, length, -1, spec.head_width).transpose(1, 2) for x in (q, k, v))  # (G, H or K, T, D)
        k, v = cache.append(layer, k, v)
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, is_causal=bias is None and length > 1, enable_gqa=spec.kv_heads != spec.heads
        )
        return y.transpose(1, 2).reshape(rows * length, spec.width)

    flat = torch.from_numpy(tokens).to(cache.keys.device).view(-1)
    features = plan.features(flat, positions.expand(rows, -1).reshape(-1), attend)
    cache.advance(length)
    return features.view(rows, length, -1)
