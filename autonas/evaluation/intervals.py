"""What intervals need, without torch or SciPy: reports and policies compute intervals too."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def t_quantile(freedom: float) -> float:
    """The 97.5 % point of Student's t, to 1 % from 3 degrees of freedom on (Abramowitz & Stegun 26.7.5).

    `freedom` may be fractional, as Welch and Satterthwaite's is; below 4 the tabled points are joined by their logarithms.
    """
    tabled = (12.706, 4.303, 3.182)
    if freedom <= 1:
        return tabled[0]
    if freedom < 3:
        low = int(freedom)
        share = freedom - low
        return float(tabled[low - 1] ** (1 - share) * tabled[low] ** share)
    if freedom == 3:
        return tabled[2]
    z = 1.959964
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return float(z + first / freedom + second / freedom**2 + third / freedom**3)


def ratio_estimate(sums: NDArray[np.float64], sizes: NDArray[np.int64]) -> tuple[float, float]:
    """R = Σ yᵢ / Σ xᵢ over n clusters, and its linearised standard error.

    se² = n / (n − 1) · Σ (yᵢ − R xᵢ)² / (Σ xᵢ)²   (Cochran, Sampling Techniques, 1977, 6.4; infinite population)

    The error is NaN-free: 0 for a single cluster, about which nothing is known.
    """
    count, total = len(sums), float(sizes.sum())
    ratio = float(sums.sum()) / total if total else 0.0
    if count < 2 or not total:
        return ratio, 0.0
    residuals = sums - ratio * sizes
    return ratio, math.sqrt(count / (count - 1) * float(residuals @ residuals)) / total
