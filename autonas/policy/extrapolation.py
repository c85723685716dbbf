"""Where a learning curve goes beyond what was trained: draws of its loss at more tokens. Pure.

Between rungs a loss falls by a drop; with L = a + b · t^-c the drops of successive rungs stand in ratios that c alone decides.
What is uncertain is drawn: c, from the study's mean drops and a prior; each curve's own c; its last drop, between what it
measured and the study's mean; and how much c grows on the way, as it does where the model and no longer the data is what is
short (in Kaplan et al., arXiv 2001.08361, (1.5), the local power goes from .1 to 1). No curve falls below `FLOOR`.

Shapes: B draws, N curves, K rungs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FLOOR = 0.3  # nats per token, of the entropy of code itself
_POWERS = np.linspace(0.02, 1.0, 99)
_PRIOR_POWER, _PRIOR_POWER_ERROR = 0.25, 0.12  # Hoffmann et al. (arXiv 2203.15556) have .28 for data
_OWN_POWER_ERROR = 0.11  # between architectures
_BY_SIZE_ERROR = 0.1  # of a drop, for each e-fold of parameters
_POWER_BY_SIZE_ERROR = 0.03
_DISCREPANCY = 0.1  # of a ratio of mean drops, by which power laws and early training differ; more for earlier rungs
_GROWTH = 0.06  # of the power with each e-fold of tokens: the size of a half-normal
_DROP_PER_DOUBLING, _DROP_ERROR = 0.06, 0.03  # of a loss, where a study has a single rung


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Losses of one training at rising token counts, each after its cooldown; `block_params` is its size."""

    tokens: tuple[int, ...]
    losses: tuple[float, ...]
    block_params: int

    def __post_init__(self) -> None:
        assert len(self.tokens) == len(self.losses) > 0 and list(self.tokens) == sorted(set(self.tokens)), self


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """What a study's curves say of how they go on: draws (B,) of the power and its growth, and the mean last drop."""

    tokens: tuple[float, float]  # of the rungs that a drop is measured between
    power: Array
    growth: Array
    drop: Array
    spread: float  # of drops between curves of one size, without their noise
    size: float  # the logarithm of the blocks' parameters that these are of
    drop_by_size: float  # how much more a curve falls, as a share of the drop, for each e-fold of parameters
    power_by_size: Array  # (B,) how much larger its power is

    def falls(self, power: Array, drop: Array, to: float) -> Array:
        """How much a curve falls (B,) from the last rung to `to` tokens; it rises before."""
        before, last = self.tokens
        return -drop * _span(power, self.growth, last, to) / _span(power, self.growth, last, before)


def fit_law(curves: Sequence[Curve], noise: float, rng: np.random.Generator, num_draws: int) -> Law:
    """The law of curves whose losses are noisy by `noise` nats. Their last rungs are the one that most of them reach last."""
    last = max({curve.tokens[-1] for curve in curves})
    reached = [curve for curve in curves if curve.tokens[-1] == last]
    growth = np.abs(rng.normal(0.0, _GROWTH, num_draws))
    ladder = reached[0].tokens
    full = [curve for curve in reached if curve.tokens == ladder]
    if len(ladder) == 1:
        mean = float(np.mean([curve.losses[-1] for curve in full]))
        drop = np.maximum(rng.normal(_DROP_PER_DOUBLING * mean, _DROP_ERROR * mean, num_draws), 0.0)
        power = np.clip(rng.normal(_PRIOR_POWER, _PRIOR_POWER_ERROR, num_draws), _POWERS[0], _POWERS[-1])
        return Law(
            tokens=(last / 2, float(last)),
            power=power,
            growth=growth,
            drop=drop,
            spread=_DROP_ERROR * mean,
            size=float(np.mean(np.log([curve.block_params for curve in full]))),
            drop_by_size=0.0,
            power_by_size=rng.normal(0.0, _POWER_BY_SIZE_ERROR, num_draws),
        )
    drops = -np.diff(np.array([curve.losses for curve in full]), axis=1)  # (N, K - 1)
    power = _draw_power(np.array(ladder, dtype=np.float64), drops, rng, num_draws)
    sizes = np.log([curve.block_params for curve in full])
    by_size, by_size_error = _by_size(sizes, drops)
    # Two losses of one training share part of its luck: their difference is noisy by about one of them.
    level = drops[:, -1].mean() * (1.0 + by_size[-1] * (sizes - sizes.mean()))
    scatter = float((drops[:, -1] - level).std(ddof=1)) if len(full) > 1 else _DROP_ERROR * float(full[0].losses[-1])
    error = np.hypot(scatter, noise) / np.sqrt(len(full))
    return Law(
        tokens=(float(ladder[-2]), float(last)),
        power=power,
        growth=growth,
        drop=rng.normal(float(drops[:, -1].mean()), error, num_draws),
        spread=float(np.sqrt(max(scatter**2 - noise**2, (0.25 * scatter) ** 2))),
        size=float(sizes.mean()),
        drop_by_size=float(by_size[-1]),
        power_by_size=_draw_power_by_size(np.array(ladder, dtype=np.float64), by_size, by_size_error, rng, num_draws),
    )


def _by_size(sizes: Array, drops: Array) -> tuple[Array, Array]:
    """How much more curves fall for each e-fold of parameters, as shares of the mean drops; and the errors of that (K - 1,).

    Towards a prior, by which sizes do not matter.
    """
    centred = sizes - sizes.mean()
    total, means = float((centred**2).sum()), np.maximum(drops.mean(axis=0), 1e-9)
    if len(sizes) < 3 or total < 1e-9:
        return np.zeros(drops.shape[1]), np.full(drops.shape[1], _BY_SIZE_ERROR)
    slopes = (centred @ drops) / total
    left = drops - drops.mean(axis=0) - np.outer(centred, slopes)
    variance = (left**2).sum(axis=0) / max(len(sizes) - 2, 1) / total / means**2
    share = _BY_SIZE_ERROR**2 / (_BY_SIZE_ERROR**2 + variance)
    return share * slopes / means, np.sqrt(share * variance)


def _draw_power_by_size(ladder: Array, by_size: Array, error: Array, rng: np.random.Generator, num_draws: int) -> Array:
    """How much larger the power is for each e-fold of parameters (B,): what the drops of larger curves shrink less by.

    From drop to drop the share by which larger curves fall more changes by minus the power's times the logarithm of the tokens'
    ratio; the precisions of these and of the prior are added.
    """
    precision, total = _POWER_BY_SIZE_ERROR**-2, 0.0
    for place in range(len(by_size) - 1):
        scale = math.log(ladder[place + 2] / ladder[place + 1])
        own = (scale / float(np.hypot(*error[place : place + 2]))) ** 2
        precision, total = precision + own, total - own * (by_size[place + 1] - by_size[place]) / scale
    drawn: Array = rng.normal(total / precision, precision**-0.5, num_draws)
    return drawn


def extrapolate(law: Law, own: Curve, tokens: float, noise: float, rng: np.random.Generator) -> Array:
    """Draws (B,) of a curve's loss at `tokens` of fresh data, without the noise of the training that will be.

    `own` may end before the law's last rung or lack the one before: what it lacks is the study's mean.
    """
    num_draws = len(law.power)
    larger = math.log(own.block_params) - law.size
    power = law.power + larger * law.power_by_size + rng.normal(0.0, _OWN_POWER_ERROR, num_draws)
    power = np.clip(power, _POWERS[0], _POWERS[-1])
    usual = law.drop * max(1.0 + larger * law.drop_by_size, 0.1)
    drop = rng.normal(usual, law.spread)
    measured = _last_drop(own, law)
    if measured is not None:
        share = law.spread**2 / (law.spread**2 + noise**2)
        drop = usual + share * (measured - usual) + rng.normal(0.0, law.spread * np.sqrt(1 - share), num_draws)
    drop = np.maximum(drop, 0.1 * np.abs(law.drop))
    level = own.losses[-1] + rng.normal(0.0, noise, num_draws)
    if own.tokens[-1] != law.tokens[1]:
        level = level - law.falls(power, drop, float(law.tokens[1])) + law.falls(power, drop, float(own.tokens[-1]))
    found: Array = np.maximum(level - law.falls(power, drop, tokens), FLOOR)
    return found


def _last_drop(own: Curve, law: Law) -> float | None:
    known = dict(zip(own.tokens, own.losses, strict=True))
    before, last = (known.get(int(tokens)) for tokens in law.tokens)
    return None if before is None or last is None else before - last


def _draw_power(ladder: Array, drops: Array, rng: np.random.Generator, num_draws: int) -> Array:
    """Powers (B,) by their posterior on a grid: a normal prior, and the ratio of each two successive mean drops."""
    log_weight = -0.5 * ((_POWERS - _PRIOR_POWER) / _PRIOR_POWER_ERROR) ** 2
    count = len(drops)
    means = drops.mean(axis=0)
    for place in range(drops.shape[1] - 1):
        first, second = means[place], means[place + 1]
        if first <= 0 or second <= 0:
            continue
        before, middle, after = ladder[place : place + 3]
        still = np.zeros_like(_POWERS)
        expected = -_span(_POWERS, still, middle, after) / _span(_POWERS, still, middle, before)
        scatter = drops[:, place : place + 2].std(axis=0, ddof=1) / means[place : place + 2] if count > 1 else np.full(2, 0.3)
        error = np.hypot(float(np.sqrt((scatter**2).sum() / count)), _DISCREPANCY * (drops.shape[1] - 1 - place))
        log_weight = log_weight - 0.5 * (np.log(second / first / expected) / error) ** 2
    weight = np.exp(log_weight - log_weight.max())
    drawn = rng.choice(_POWERS, size=num_draws, p=weight / weight.sum()) + rng.uniform(-0.005, 0.005, num_draws)
    power: Array = np.maximum(drawn, _POWERS[0])
    return power


def _span(power: Array, growth: Array, begin: float, end: float) -> Array:
    """∫ e^(-c x - g x² / 2) dx from 0 to x = log(end / begin): a fall in units of its slope at `begin`; negative before it.

    Without growth, which counts beyond `begin` alone, this is (1 - (end / begin)^-c) / c.
    """
    scale = float(np.log(end / begin))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    x = 0.5 * scale * (nodes + 1.0)  # (24,)
    integrand = np.exp(-np.outer(power, x) - 0.5 * np.outer(growth, np.maximum(x, 0.0) ** 2))
    result: Array = 0.5 * scale * (integrand @ weights)
    return result
