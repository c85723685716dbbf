"""Shares of samples that come in groups: their intervals, what they can tell apart, and paired tests of two models. No torch.

Samples of one prompt are alike, so a share of them is worth fewer independent ones, and two models are compared by prompts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.evaluation.intervals import t_quantile

_Z_95: Final = 1.959964  # two-sided 95 %
_Z_80: Final = 0.841621  # 80 % power
# Of samples of one prompt; measured 1 to 3. Taken where nothing, or everything, collapsed and it cannot be estimated.
_USUAL_DESIGN_EFFECT: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of samples, its 95 % interval, and the number of independent samples it is worth."""

    value: float
    low: float
    high: float
    effective: float
    design_effect: float
    per_kind: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """The share of one model minus another's on the same prompts, with its 95 % interval and the p-value of no difference.

    `only_first` and `only_second` count the samples of which one model's has what is counted and the other's has not.
    """

    value: float
    low: float
    high: float
    p_value: float
    only_first: int
    only_second: int
    prompts: int


def pooled_rate(hits: Sequence[Sequence[Sequence[bool]]]) -> Rate:
    """The rate over kinds of prompts pooled equally, whatever their numbers. `hits` is (kinds, prompts, samples).

    Kinds without prompts are left out.

    Samples of one prompt are alike. A kind with n samples is worth n / deff, where deff is the variance of the prompts'
    means over that of means of independent samples, p(1 − p) / m, held between 1 and m (Kish 1965). k kinds together are
    worth k² / Σ (1 / n_eff); the interval is Wilson's (1927) with that number for n (as Korn & Graubard 1998). Kinds that
    differ make it a little too wide, never too narrow.
    """
    kinds = [np.array(kind, dtype=float) for kind in hits if len(kind)]
    assert kinds, "no prompts"
    rates = [float(kind.mean()) for kind in kinds]
    effects = [design_effect(kind) for kind in kinds]
    effective = len(kinds) ** 2 / sum(effect / kind.size for effect, kind in zip(effects, kinds, strict=True))
    rate = float(np.mean(rates))
    low, high = wilson_interval(rate, effective)
    return Rate(
        value=rate,
        low=low,
        high=high,
        effective=effective,
        design_effect=sum(kind.size for kind in kinds) / effective,
        per_kind=tuple(rates),
    )


def design_effect(hits: NDArray[np.float64]) -> float:
    """How many times over (prompts, samples) overstate the number of independent samples: between 1 and samples per prompt."""
    prompts, each = hits.shape  # a rate of one kind: every prompt has as many samples
    rate = float(hits.mean())
    if each == 1:
        return 1.0
    if prompts < 2 or rate in (0.0, 1.0):
        return min(float(each), _USUAL_DESIGN_EFFECT)
    between = float(hits.mean(axis=1).var(ddof=1))
    return float(min(each, max(1.0, between * each / (rate * (1 - rate)))))


def wilson_interval(rate: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `n` samples, which need not be a whole number."""
    z2 = _Z_95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z_95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return max(0.0, min(rate, centre - reach)), min(1.0, max(rate, centre + reach))


def required_samples(base: float, other: float, design_effect: float = 1.0) -> int:
    """Samples of each of two models that tell rates `base` and `other` apart: two-sided 5 %, 80 % power (Fleiss 1981, 3.2).

    5 % and 8 % need 1,059; 5 % and 15 % need 141.
    """
    assert base != other
    middle = (base + other) / 2
    root = _Z_95 * math.sqrt(2 * middle * (1 - middle)) + _Z_80 * math.sqrt(base * (1 - base) + other * (1 - other))
    return math.ceil(design_effect * (root / (other - base)) ** 2)


def detectable_difference(n: int, design_effect: float = 1.0, base: float = 0.05) -> float:
    """The smallest rate that `n` samples of each model tell apart from `base`, by `required_samples`; 1 when none is."""
    low, high = base, 1.0
    if required_samples(base, high, design_effect) > n:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        if middle > base and required_samples(base, middle, design_effect) <= n:
            high = middle
        else:
            low = middle
    return high


def paired_difference(first: Sequence[Sequence[bool]], second: Sequence[Sequence[bool]]) -> PairedDifference:
    """Two models' samples of the same prompts, (prompts, samples) each, drawn with the same random numbers.

    The p-value is that of the exact sign-flip test over prompts: were the models equal, each prompt's difference would be as
    likely to have the other sign. With one sample a prompt that is McNemar's exact test (1947). The interval is from the
    prompts' differences, by Student's t, and never narrower than one prompt's worth.
    """
    a, b = np.array(first, dtype=np.int64), np.array(second, dtype=np.int64)
    assert a.shape == b.shape and a.ndim == 2 and a.size, (a.shape, b.shape)
    differences = (a - b).sum(axis=1)
    prompts, each = a.shape
    value = float(differences.mean()) / each
    error = float(differences.std(ddof=1)) / each / math.sqrt(prompts) if prompts > 1 else 1.0
    reach = max(t_quantile(prompts - 1) * error, 1 / prompts) if prompts > 1 else 1.0
    return PairedDifference(
        value=value,
        low=max(-1.0, value - reach),
        high=min(1.0, value + reach),
        p_value=sign_flip_p_value(differences.tolist()),
        only_first=int(((a == 1) & (b == 0)).sum()),
        only_second=int(((a == 0) & (b == 1)).sum()),
        prompts=prompts,
    )


def sign_flip_p_value(differences: Sequence[int]) -> float:
    """Two-sided: the share of all 2^n choices of signs whose sum is at least as far from 0. Exact, by adding one at a time."""
    sizes = [abs(difference) for difference in differences if difference]
    reach = sum(sizes)
    ways = np.zeros(2 * reach + 1)
    ways[reach] = 1.0  # of the sum 0
    for size in sizes:
        ways = (np.roll(ways, size) + np.roll(ways, -size)) / 2
    sums = np.abs(np.arange(-reach, reach + 1))
    return float(min(1.0, ways[sums >= abs(sum(differences))].sum()))
