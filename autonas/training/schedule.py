"""The learning rate over tokens, as a share of its peak: a pure function. What the peak is, is in optimizers.py."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Linear warm-up, then either a stable phase that may be forked into a cooldown (wsd), or a cosine over `total_tokens`.

    A cooldown starts at the rate that the trunk has at `cooldown_start` and falls linearly to `final_share` of the peak, over
    `cooldown_tokens`. The fork of a stable trunk is Hägele et al., arXiv 2405.18392; linear to zero is Bergsma et al., arXiv
    2502.15938. The former's 1 - sqrt was 0.005 nats better with one seed and worse with the other (2 layers of width 64, 256 K
    tokens).
    """

    warmup_tokens: int
    final_share: float = 0.0
    kind: Literal["wsd", "cosine"] = "wsd"
    total_tokens: int | None = None  # of a cosine
    cooldown_start: int | None = None
    cooldown_tokens: int = 0
    factor: float = 1.0  # of every rate: below 1 after a rollback

    def __post_init__(self) -> None:
        assert self.warmup_tokens >= 0, self
        assert 0.0 <= self.final_share <= 1.0, self
        assert 0.0 < self.factor <= 1.0, self
        if self.kind == "cosine":
            assert self.total_tokens is not None and self.total_tokens > 0 and self.cooldown_start is None, self
        if self.cooldown_start is not None:
            assert self.cooldown_start >= 0 and self.cooldown_tokens > 0, self

    @property
    def end_tokens(self) -> int | None:
        """Where the rate reaches its final share; None for a stable phase, which has no end of its own."""
        if self.kind == "cosine":
            return self.total_tokens
        return None if self.cooldown_start is None else self.cooldown_start + self.cooldown_tokens

    def multiplier(self, tokens: float) -> float:
        """The rate after `tokens`, as a share of the peak, in [0, 1]; continuous, and constant behind the end."""
        return self.factor * self._shape(tokens)

    def _shape(self, tokens: float) -> float:
        if self.kind == "cosine":
            return self._cosine(tokens)
        if self.cooldown_start is None or tokens <= self.cooldown_start:
            return self._warm(tokens)
        start = self._warm(self.cooldown_start)
        end = min(start, self.final_share)
        done = min(1.0, (tokens - self.cooldown_start) / self.cooldown_tokens)
        return start + (end - start) * done

    def over_step(self, tokens: int, step_tokens: int) -> float:
        """The multiplier of the step that leads from `tokens` to `tokens + step_tokens`: the value at its middle.

        The sum over steps is then the same for every batch size, and neither the first step of a warm-up nor the last of a
        cooldown is wasted on a rate of zero.
        """
        return self.multiplier(tokens + 0.5 * step_tokens)

    def cool(self, start: int, tokens: int) -> Schedule:
        """This schedule forked into a cooldown at `start`."""
        assert self.kind == "wsd", "a cosine is cooled by its own end"
        return dataclasses.replace(self, cooldown_start=start, cooldown_tokens=tokens)

    def lower(self, factor: float) -> Schedule:
        """This schedule with every rate times `factor`."""
        return dataclasses.replace(self, factor=self.factor * factor)

    def _warm(self, tokens: float) -> float:
        return min(1.0, max(0.0, tokens) / self.warmup_tokens) if self.warmup_tokens else 1.0

    def _cosine(self, tokens: float) -> float:
        """Warm-up, then half a cosine from 1 to the final share at `total_tokens`."""
        assert self.total_tokens is not None
        # A warm-up as long as the run would leave nothing to decay over.
        warmup = min(self.warmup_tokens, self.total_tokens // 2)
        if tokens < warmup:
            return max(0.0, tokens) / warmup
        done = min(1.0, (tokens - warmup) / (self.total_tokens - warmup))
        return self.final_share + (1.0 - self.final_share) * 0.5 * (1.0 + math.cos(math.pi * done))
