"""Keys and values while rows write: what the prompts left behind, and the new tokens', all rows in step.

New tokens of all rows lie in the same slot, behind the longest prompt, so that writing one is a plain copy; prompts that are
shorter have masked slots before it. Where a key stands is known by its position, and not by its slot. How prompts are
read is in prompts.py, the step in steps.py.

Shapes: L layers, B rows, G prompts, R rows of each prompt (B = G · R, a prompt's rows side by side), P slots of prompts,
N new tokens, S keys, H query heads, K key-value heads, g = H / K, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from autonas.model.cache import KVCache
from autonas.model.positions import bias_between

# The position of a slot that holds nothing: later than all others, hence never seen.
_NEVER = 2**31


class Memory(Protocol):
    """What a step needs: `positions` (B) of the tokens that are read next, and to be told where a step begins and ends."""

    positions: Tensor

    def begin(self) -> None: ...
    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor: ...
    def end(self) -> None: ...


class RowMemory:
    """A row's prompt and its new tokens in one buffer."""

    def __init__(self, prompts: KVCache, rows: Sequence[int], num_new: int, slopes: Tensor | None) -> None:
        """Row i continues prompt `rows[i]`, with room for `num_new` tokens."""
        cache = prompts.select(rows, prompts.longest + num_new)
        self.keys, self.values = cache.keys, cache.values  # (L, B, K, P + N, D)
        self.positions = cache.lengths
        self.groups = prompts.spec.heads // prompts.spec.kv_heads
        self._slopes = slopes
        self._slot = prompts.longest
        slots = torch.arange(cache.max_tokens, device=self.keys.device)
        lengths = cache.lengths[:, None]
        behind = slots - prompts.longest + lengths
        self.key_positions = torch.where(slots >= prompts.longest, behind, slots.where(slots < lengths, _NEVER))  # (B, P + N)
        self._padding = None if prompts.uniform else self._bias(cache.max_tokens, torch.full_like(self.positions, _NEVER - 1))

    def select(self, rows: Sequence[int]) -> None:
        """Keep `rows` only, in their order."""
        index = torch.tensor(rows, device=self.keys.device)
        self.keys, self.values = self.keys.index_select(1, index), self.values.index_select(1, index)
        self.positions, self.key_positions = self.positions[index], self.key_positions[index]
        self._padding = None if self._padding is None else self._padding[index]

    def worth_keeping(self, running: Sequence[int]) -> list[int]:
        """The rows to go on with when only `running` are wanted."""
        return list(running)

    def begin(self) -> None:
        end = self._slot + 1
        self._new = self.keys[:, :, :, self._slot].unbind(0), self.values[:, :, :, self._slot].unbind(0)
        self._all = self.keys[:, :, :, :end].unbind(0), self.values[:, :, :, :end].unbind(0)
        self._now = self._step_bias(end)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        (new_keys, new_values), (keys, values) = self._new, self._all
        new_keys[layer].copy_(k)
        new_values[layer].copy_(v)
        return attend_rows(q, keys[layer], values[layer], self._now)

    def end(self) -> None:
        self._slot += 1
        self.positions += 1

    def _step_bias(self, end: int) -> Tensor | None:
        if self._slopes is not None:
            return self._bias(end, self.positions)
        return None if self._padding is None else self._padding[..., :end]

    def _bias(self, end: int, positions: Tensor) -> Tensor:
        keys = self.key_positions[:, :end]
        return grouped(bias_between(positions[:, None], keys, self._slopes, self.keys.dtype), self.groups)


class StaticMemory(RowMemory):
    """As RowMemory, but tensors tell where a step writes and what it sees: every step is the same calls on the same memory.

    `num_keys` slots are attended to, masked where they are in the future.
    """

    def __init__(self, prompts: KVCache, rows: Sequence[int], num_new: int, slopes: Tensor | None) -> None:
        super().__init__(prompts, rows, num_new, slopes)
        self.slot = torch.full((1,), prompts.longest, device=self.keys.device)
        self.num_keys = self.keys.shape[3]

    def begin(self) -> None:
        self._now = self._bias(self.num_keys, self.positions)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self.keys[layer], self.values[layer]
        keys.index_copy_(2, self.slot, k[:, :, None])
        values.index_copy_(2, self.slot, v[:, :, None])
        return attend_rows(q, keys[:, :, : self.num_keys], values[:, :, : self.num_keys], self._now)

    def end(self) -> None:
        self.slot += 1
        self.positions += 1


class SharedMemory:
    """Prompts kept once for all of their rows, on a CPU: their keys are read once a step and not R times.

    Attention to the prompt and to the new tokens is merged by the sums of their exponentials (as Juravsky et al., Hydragen,
    arXiv 2402.05099).
    """

    def __init__(self, prompts: KVCache, repeats: int, num_new: int, slopes: Tensor | None) -> None:
        spec = prompts.spec
        self.groups = spec.heads // spec.kv_heads
        self.repeats = repeats
        end, batch = prompts.longest, prompts.batch * repeats
        self._prompt_keys, self._prompt_values = prompts.keys[:, :, :, :end], prompts.values[:, :, :, :end]  # (L, G, K, P, D)
        shape = (spec.layers, batch, spec.kv_heads, num_new, spec.head_width)
        self.keys, self.values = prompts.keys.new_zeros(shape), prompts.keys.new_zeros(shape)  # (L, B, K, N, D)
        self.positions = prompts.lengths.repeat_interleave(repeats)
        self._slopes = slopes
        self._uniform = prompts.uniform
        self._slot = 0
        slots = torch.arange(end)
        self._prompt_positions = slots.where(slots < prompts.lengths[:, None], _NEVER)  # (G, P)

    @property
    def batch(self) -> int:
        return self.keys.shape[1]

    def worth_keeping(self, running: Sequence[int]) -> list[int]:
        """The rows to go on with when only `running` are wanted: equally many of each prompt, filled up with ended ones."""
        of_prompt: dict[int, list[int]] = {}
        for row in running:
            of_prompt.setdefault(row // self.repeats, []).append(row)
        most = max(map(len, of_prompt.values()))
        kept = []
        for prompt, rows in of_prompt.items():
            ended = [row for row in range(prompt * self.repeats, (prompt + 1) * self.repeats) if row not in rows]
            kept += rows + ended[: most - len(rows)]
        return kept

    def select(self, rows: Sequence[int]) -> None:
        """Keep `rows` only, which `worth_keeping` found."""
        prompts = list(dict.fromkeys(row // self.repeats for row in rows))
        index, chosen = torch.tensor(rows), torch.tensor(prompts)
        self.keys, self.values = self.keys.index_select(1, index), self.values.index_select(1, index)
        self._prompt_keys = self._prompt_keys.index_select(1, chosen)
        self._prompt_values = self._prompt_values.index_select(1, chosen)
        self.positions, self._prompt_positions = self.positions[index], self._prompt_positions[chosen]
        self.repeats = len(rows) // len(prompts)

    def begin(self) -> None:
        end, positions = self._slot + 1, self.positions[:: self.repeats]
        self._new = self.keys[:, :, :, self._slot].unbind(0), self.values[:, :, :, self._slot].unbind(0)
        self._own = self.keys[:, :, :, :end].unbind(0), self.values[:, :, :, :end].unbind(0)
        self._prompt_bias = self._own_bias = None
        if self._slopes is not None or not self._uniform:
            bias = bias_between(positions[:, None], self._prompt_positions, self._slopes, self.keys.dtype)  # (G, H or 1, 1, P)
            self._prompt_bias = grouped(bias, self.groups)
            if bias.shape[1] > 1:
                heads = bias.view(bias.shape[0], -1, 1, self.groups, bias.shape[3])
                self._prompt_bias = heads.expand(-1, -1, self.repeats, -1, -1).flatten(2, 3)  # (G, K, R · g, P)
        if self._slopes is not None:
            own = torch.arange(end)[None]
            bias = bias_between(own[:, -1:], own, self._slopes, self.keys.dtype)
            self._own_bias = grouped(bias, self.groups).expand(self.batch, -1, -1, -1)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        (new_keys, new_values), (keys, values) = self._new, self._own
        new_keys[layer].copy_(k)
        new_values[layer].copy_(v)
        rows, heads, width = q.shape
        folded = q.to(keys[layer].dtype).reshape(-1, self.repeats, heads // self.groups, self.groups, width)  # (G, R, K, g, D)
        together = folded.transpose(1, 2).flatten(2, 3)  # (G, K, R · g, D)
        prompt, prompt_sums = _attend_with_sums(
            together, self._prompt_keys[layer], self._prompt_values[layer], self._prompt_bias
        )
        own, own_sums = _attend_with_sums(folded.flatten(0, 1), keys[layer], values[layer], self._own_bias)  # (B, K, g, ·)
        apart = (-1, heads // self.groups, self.repeats, self.groups)
        prompt = prompt.reshape(*apart, width).transpose(1, 2).reshape(rows, heads, width)
        prompt_sums = prompt_sums.reshape(apart).transpose(1, 2).reshape(rows, heads)
        share = torch.sigmoid(own_sums.reshape(rows, heads) - prompt_sums)[..., None].to(own.dtype)
        return torch.lerp(prompt, own.reshape(rows, heads, width), share).view(rows, heads * width).to(q.dtype)

    def end(self) -> None:
        self._slot += 1
        self.positions += 1


def can_share(device: torch.device) -> bool:
    """Whether this torch gives attention's sums on `device` (an operator of its own, and not public)."""
    return device.type == "cpu" and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")


def attend_rows(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """(B, H · D) of one query (B, H, D) a row; the queries of a group become rows of one head, and no key is copied."""
    rows, heads, width = q.shape
    kv_heads = keys.shape[1]
    folded = q.reshape(rows, kv_heads, heads // kv_heads, width).to(keys.dtype)
    y = F.scaled_dot_product_attention(folded, keys, values, attn_mask=bias)
    return y.reshape(rows, heads * width).to(q.dtype)


def grouped(bias: Tensor, groups: int) -> Tensor:
    """A bias (B, H or 1, 1, S) for queries of a group as rows of one head: (B, K or 1, g or 1, S)."""
    return bias if bias.shape[1] == 1 else bias.view(bias.shape[0], -1, groups, bias.shape[3])


def _attend_with_sums(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attention, and the logarithm of the sum of its exponentiated scores."""
    found: tuple[Tensor, Tensor] = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, keys, values, attn_mask=bias)
    return found
