"""The learning-rate sweep that a study runs once: which points it needs, and what follows from their losses. Pure.

A rate off by a factor of two moves a short trial's loss by more than most architectures differ, so the base rate is measured
before anything is compared. Two shapes of different size say whether one base rate is fair to both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autonas import cost
from autonas.arch import ArchSpec
from autonas.errors import InfeasibleArch
from autonas.policy.settings import CalibrationSettings
from autonas.space.space import Space

_NUM_DRAWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One shape trained at one base rate."""

    spec: ArchSpec
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The base rate for the study, and what it costs each shape against that shape's own best rate, in nats."""

    rate: float
    regret: Mapping[str, float]
    at_edge: bool  # the best rate is the lowest or the highest tried: the sweep should be widened
    note: str


def calibration_shapes(space: Space, seed: int) -> tuple[ArchSpec, ...]:
    """A small and a large architecture of the space: the sixth and the five-sixths quantile by parameters of legal draws.

    Raises:
        InfeasibleArch: no draw was legal.
    """
    ordered = legal_draws(space, seed)
    small, large = ordered[len(ordered) // 6], ordered[(5 * len(ordered)) // 6]
    return (small,) if small == large else (small, large)


def legal_draws(space: Space, seed: int) -> tuple[ArchSpec, ...]:
    """Distinct legal architectures among 256 random draws of the space, by size.

    Raises:
        InfeasibleArch: no draw was legal.
    """
    rng = np.random.default_rng(seed)
    legal: dict[str, ArchSpec] = {}
    for _ in range(_NUM_DRAWS):
        params = space.draw(rng)
        if space.legal(params):
            spec = space.decode(params)
            legal[spec.fingerprint] = spec
    if not legal:
        raise InfeasibleArch("space", f"none of {_NUM_DRAWS} random draws of the space is legal; widen its limits or rules")
    return tuple(sorted(legal.values(), key=lambda spec: (cost.count_params(spec), spec.fingerprint)))


def points(shapes: Sequence[ArchSpec], settings: CalibrationSettings) -> tuple[Point, ...]:
    """Every shape at every rate, in order."""
    return tuple(Point(spec=spec, rate=rate) for spec in shapes for rate in sorted(settings.rates))


def choose(measured: Sequence[tuple[Point, float | None]]) -> Choice:
    """The rate with the least mean regret over the shapes; a rate at which a shape failed (None) is out.

    Raises:
        InfeasibleArch: every rate failed for some shape.
    """
    losses: dict[str, dict[float, float | None]] = {}
    for point, loss in measured:
        losses.setdefault(point.spec.fingerprint, {})[point.rate] = loss
    rates = sorted({point.rate for point, _ in measured})
    usable = [rate for rate in rates if all(by_rate.get(rate) is not None for by_rate in losses.values())]
    if not usable:
        raise InfeasibleArch(
            "calibration", "at every learning rate of the calibration a shape failed; give lower rates in calibration.rates"
        )
    regrets = {rate: {name: _regret(by_rate, rate) for name, by_rate in losses.items()} for rate in usable}
    best = min(usable, key=lambda rate: (sum(regrets[rate].values()), rate))
    own = {name: min((loss, rate) for rate, loss in by_rate.items() if loss is not None)[1] for name, by_rate in losses.items()}
    at_edge = len(rates) > 1 and best in (rates[0], rates[-1])
    worst = max(regrets[best].values())
    bests = ", ".join(f"{rate:g}" for rate in own.values())
    note = f"base rate {best:g}; each shape's own best: {bests}; costs at most {worst:.3f} nats"
    if at_edge:
        note += "; it is the edge of the sweep, so a rate beyond it may be better"
    return Choice(rate=best, regret=regrets[best], at_edge=at_edge, note=note)


def _regret(by_rate: Mapping[float, float | None], rate: float) -> float:
    loss = by_rate[rate]
    assert loss is not None
    return loss - min(value for value in by_rate.values() if value is not None and math.isfinite(value))
