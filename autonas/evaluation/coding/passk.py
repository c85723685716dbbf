"""pass@k and best-of-n, which are different things, with intervals over tasks. No torch.

pass@k asks whether *any* of k samples passes: it takes the tests to choose, and pass@n is the most that a chooser could reach.
Best-of-n asks whether the *one* sample passes that a stated rule picks without the tests. Tasks are the clusters of every
interval: samples of one task are alike, and it is for other tasks of the kind that the figure should hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.evaluation.intervals import t_quantile
from autonas.evaluation.rates import wilson_interval
from autonas.trial import Score

_RESAMPLES: Final = 4000
_SEED: Final = 20250103
_Z_95: Final = 1.959964


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """The chance that k of the samples, drawn without replacement, hold one that passed: 1 − C(n − c, k) / C(n, k).

    Unbiased for the model's pass@k (Chen et al. 2021, arXiv 2107.03374, formula 1), where 1 − (1 − c/n)^k is not. Computed as
    1 − Π (1 − k / i) for i = n − c + 1 … n, since the binomials overflow.
    """
    assert 0 <= num_passed <= num_samples and 1 <= k <= num_samples, (num_samples, num_passed, k)
    if num_samples - num_passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(num_samples - num_passed + 1, num_samples + 1))


def pass_rate(passed: Sequence[Sequence[bool]], k: int) -> Score:
    """pass@k over tasks; `passed` is (tasks, samples)."""
    each = np.array([pass_at_k(len(row), sum(row), k) for row in passed])
    return mean_over_tasks(each, f"pass@{k} of {_samples(passed)}, unbiased")


def best_of_n(passed: Sequence[Sequence[bool]], chosen: Sequence[int], rule: str) -> Score:
    """The share of tasks whose `chosen` sample passed. `rule` says how it was chosen, without looking at the tests."""
    each = np.array([float(row[place]) for row, place in zip(passed, chosen, strict=True)])
    return mean_over_tasks(each, f"best of {_samples(passed)} by {rule}")


def mean_over_tasks(each: NDArray[np.float64], what: str, unit: str = "share") -> Score:
    """The mean of a share of each task, (tasks,), and its 95 % interval.

    The interval holds both the bootstrap's over tasks (percentiles of 4,000 resamples, fixed seed) and Wilson's with as many
    trials as the spread between tasks says, at least one a task. The first alone is empty for 0 of 20, and of few tasks covers
    70 to 90 % where most of them are never solved; both together cover 90 % and more (a test simulates it).
    """
    count, mean = len(each), float(each.mean())
    low, high = wilson_interval(min(1.0, max(0.0, mean)), _worth(each))
    # By raw bits: NumPy promises these to stay the same in later versions.
    draws = (np.random.Philox(_SEED).random_raw(_RESAMPLES * count) % np.uint64(count)).reshape(_RESAMPLES, count)
    means = np.sort(each[draws.astype(np.int64)].mean(axis=1))
    low = min(low, mean, float(means[int(0.025 * _RESAMPLES)]))
    high = max(high, mean, float(means[int(0.975 * _RESAMPLES)]))
    note = f"{what}; {count} tasks, by task: bootstrap, widened to Wilson's interval"
    return Score(value=mean, low=max(0.0, low), high=min(1.0, high), unit=unit, n=count, note=note)


def _worth(each: NDArray[np.float64]) -> float:
    """How many independent yes-or-no trials have the error of this mean, which Student's t makes larger; at least the tasks."""
    count, mean = len(each), float(each.mean())
    variance = float(each.var(ddof=1)) / count if count > 1 else 0.0
    if variance == 0.0 or mean in (0.0, 1.0):
        return float(count)
    return max(float(count), mean * (1 - mean) / variance * (_Z_95 / t_quantile(count - 1)) ** 2)


def _samples(passed: Sequence[Sequence[bool]]) -> str:
    sizes = sorted({len(row) for row in passed})
    return f"{sizes[0]} samples" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} samples"
