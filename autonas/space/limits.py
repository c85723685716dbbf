"""Limits of a study: what an architecture may cost. They are screened before anything is trained.

Parameters, memory and FLOPs are arithmetic; latencies are measured on an untrained model. Losses cannot be limited: they are
known only when the training has been paid for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from autonas.errors import InfeasibleArch

ARITHMETIC = ("params", "memory", "flops")
MEASURED = ("latency", "prefill_latency")
LIMITED = ARITHMETIC + MEASURED


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds, both included; None is no bound. Parameters; inference bytes at context length; FLOP per token; milliseconds."""

    params_min: int | None = None
    params_max: int | None = None
    memory_min: int | None = None
    memory_max: int | None = None
    flops_min: int | None = None
    flops_max: int | None = None
    latency_max_ms: float | None = None
    prefill_latency_max_ms: float | None = None

    def bounds(self, name: str) -> tuple[float | None, float | None]:
        """The least and the most that the limited score `name` may be."""
        if name in MEASURED:
            return None, getattr(self, f"{name}_max_ms")
        return getattr(self, f"{name}_min"), getattr(self, f"{name}_max")

    @property
    def arithmetic(self) -> tuple[str, ...]:
        """The names of the arithmetic scores that are bounded."""
        return tuple(name for name in ARITHMETIC if self.bounds(name) != (None, None))

    def screen(self, scores: Mapping[str, float]) -> None:
        """Compare the scores that are known with the limits on them.

        Raises:
            InfeasibleArch: one is beyond its limit; `rule` is the limit's place in the space file, such as limits.params.max.
        """
        for name in LIMITED:
            if name not in scores:
                continue
            least, most = self.bounds(name)
            if most is not None and scores[name] > most:
                message = f"{name} is {_shown(scores[name])}, above limits.{name}.max = {_shown(most)}"
                raise InfeasibleArch(f"limits.{name}.max", message)
            if least is not None and scores[name] < least:
                message = f"{name} is {_shown(scores[name])}, below limits.{name}.min = {_shown(least)}"
                raise InfeasibleArch(f"limits.{name}.min", message)

    def excess(self, scores: Mapping[str, float]) -> float:
        """How far beyond the limits the scores are: the sum of the logarithms of the ratios; 0 within all of them."""
        total = 0.0
        for name in LIMITED:
            least, most = self.bounds(name)
            score = scores.get(name, 0.0)
            if score > 0 and most is not None:
                total += max(math.log(score / most), 0.0)
            if score > 0 and least is not None:
                total += max(math.log(least / score), 0.0)
        return total


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
