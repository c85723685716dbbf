"""Quantiles that intervals need, without torch or SciPy: reports compute intervals too."""

from __future__ import annotations


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
