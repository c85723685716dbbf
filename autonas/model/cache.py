"""Keys and values of the tokens seen so far, in buffers allocated once.

Rows may hold different numbers of tokens: token i of a row always lies in slot i, so positions and slots are the same
thing, and what lies behind a row's length is never attended to. Sampling is in decode.py.

Shapes: B rows, T new tokens, S slots in use, H key-value heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autonas.arch import ArchSpec


class KVCache:
    """Room for `max_tokens` tokens in each of `batch` rows; `keys` and `values` are (layers, B, H, max_tokens, D)."""

    def __init__(
        self,
        spec: ArchSpec,
        batch: int,
        max_tokens: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        shape = (spec.layers, batch, spec.kv_heads, max_tokens, spec.head_width)
        self.spec = spec
        # Zeros and not garbage: a masked slot still meets a weight of 0, and 0 · NaN would be NaN.
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = torch.zeros(batch, dtype=torch.int64, device=device)
        # Known to the host, so that no step waits for the device.
        self.longest = 0
        self.uniform = True
        self._rows = torch.arange(batch, device=device)[:, None]

    @property
    def batch(self) -> int:
        return self.keys.shape[1]

    @property
    def max_tokens(self) -> int:
        return self.keys.shape[3]

    @property
    def num_bytes(self) -> int:
        return self.keys.nbytes + self.values.nbytes

    def positions(self, num_new: int) -> Tensor:
        """Positions of the next `num_new` tokens: (1, T) when all rows are equally long, (B, T) otherwise."""
        steps = torch.arange(num_new, device=self.keys.device)
        return (steps + self.longest)[None] if self.uniform else self.lengths[:, None] + steps

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store one layer's new `keys` and `values` (B, H, T, D) and return all of that layer's, (B, H, S, D) as views.

        `advance` counts the tokens once every layer has stored its own.
        """
        num_new = keys.shape[2]
        end = self.longest + num_new
        assert end <= self.max_tokens, f"{end} tokens do not fit a cache of {self.max_tokens}"
        stored_keys, stored_values = self.keys[layer], self.values[layer]
        if self.uniform:
            stored_keys[:, :, self.longest : end] = keys
            stored_values[:, :, self.longest : end] = values
        else:
            slots = self.positions(num_new)  # (B, T); indexing puts the indexed dimensions first: (B, T, H, D)
            stored_keys[self._rows, :, slots] = keys.transpose(1, 2).to(stored_keys.dtype)
            stored_values[self._rows, :, slots] = values.transpose(1, 2).to(stored_values.dtype)
        return stored_keys[:, :, :end], stored_values[:, :, :end]

    def advance(self, num_new: int) -> None:
        self.lengths += num_new
        self.longest += num_new

    def trim(self, lengths: Sequence[int]) -> None:
        """Forget what lies behind `lengths`, one for each row: how right-padded prompts lose their padding."""
        assert len(lengths) == self.batch and max(lengths) <= self.longest
        self.lengths = torch.tensor(lengths, dtype=torch.int64, device=self.keys.device)
        self.longest = max(lengths)
        self.uniform = min(lengths) == self.longest

    def select(self, rows: Sequence[int], max_tokens: int) -> KVCache:
        """A new cache with copies of `rows` (each as often as it is named) and room for `max_tokens`."""
        assert max_tokens >= self.longest
        chosen = KVCache(self.spec, len(rows), max_tokens, self.keys.dtype, self.keys.device)
        index = torch.tensor(rows, dtype=torch.int64, device=self.keys.device)
        filled = self.longest
        chosen.keys[:, :, :, :filled] = self.keys[:, :, :, :filled].index_select(1, index)
        chosen.values[:, :, :, :filled] = self.values[:, :, :, :filled].index_select(1, index)
        chosen.lengths = self.lengths[index]
        chosen.longest, chosen.uniform = self.longest, self.uniform
        return chosen

    def to(self, dtype: torch.dtype) -> KVCache:
        """This cache in another number format; itself if it is in that one."""
        if self.keys.dtype == dtype:
            return self
        copy = self.select(range(self.batch), self.max_tokens)
        copy.keys, copy.values = copy.keys.to(dtype), copy.values.to(dtype)
        return copy
