"""A Gaussian process for scores of architectures: a few additive parts, each with a variance of its own, found by MAP.

With some dozens of trials nothing finer can be learnt. The covariance of two architectures is

    c + a·⟨s, s'⟩ + b·⟨z, z'⟩ + e·M(|s - s'| / p) + f·M(|z - z'| / q),      M the Matérn kernel of smoothness 5/2

of their sizes s (logarithms: losses are nearly linear in them, Kaplan et al. 2020, arXiv 2001.08361) and all their features z,
both standardised. Targets are in the caller's unit, in which a difference of 1 is a large one. Rasmussen & Williams 2006 have
the formulas; several hundred points are the most (O(n³)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

# Logarithms of: a, b, e, p, f, q, noise variance. Prior means and deviations; the targets' unit is their spread.
_PRIOR_MEAN = np.log(np.array([0.5, 0.2, 0.1, 1.0, 0.4, 1.0, 0.01]))
_PRIOR_DEVIATION = np.array([1.5, 1.5, 1.5, 0.5, 1.5, 0.5, 1.5])
_VARIANCES = [0, 1, 2, 4]
_CONSTANT = 4.0  # variance of the unknown mean
_JITTER = 1e-8
_ROOT5 = math.sqrt(5.0)
_STEPS = 40
_MOST_SEARCHED = 128  # targets that hyperparameters are found from: what more of them would change is small


@dataclass(frozen=True, slots=True)
class Inputs:
    """Standardised sizes (n, k) and features (n, d) of n architectures, both divided by the root of their number of columns."""

    sizes: Array
    features: Array

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: NDArray[np.int64] | slice) -> Inputs:
        return Inputs(self.sizes[rows], self.features[rows])


@dataclass(frozen=True, slots=True)
class Surrogate:
    """A fitted process: what it was shown, and the factors that predictions need."""

    inputs: Inputs
    hyper: Array  # logarithms, as above
    factor: Array  # lower Cholesky factor of the covariance of the targets
    weights: Array  # its inverse times the targets
    offset: float
    slope: float

    @property
    def noise_deviation(self) -> float:
        """Of a target about the process, beyond the noise that was given."""
        return math.exp(0.5 * float(self.hyper[6]))

    def predict(self, at: Inputs) -> tuple[Array, Array]:
        """Mean and standard deviation (noise not included) at n architectures, each (n,)."""
        across = _covariance(self.hyper, _parts(at, self.inputs))
        mean = self.offset + across @ self.weights - self.slope * _first_size(at)
        solved = solve_triangular(self.factor, across.T, lower=True, check_finite=False)
        variance = _prior_variance(self.hyper, at) - (solved**2).sum(axis=0)
        return mean, np.sqrt(np.maximum(variance, 1e-12))


def fit(
    inputs: Inputs,
    targets: Array,
    noise: Array | float = 0.0,
    *,
    search: bool = True,
    least: float = 0.0,
    slope: float = 0.0,
) -> Surrogate:
    """The process for n ≥ 1 targets (n,) with known noise variances, in a unit in which they spread by about 1.

    A priori targets fall by `slope` with each deviation of the first size.
    Without `search` the hyperparameters are the prior's. The variance of each part is at least `least` times the prior's mean:
    targets that are alike where they are known say little of where none is.
    """
    targets = targets + slope * _first_size(inputs)
    offset = float(np.mean(targets))
    centred = targets - offset
    known = np.broadcast_to(np.asarray(noise, dtype=np.float64), centred.shape)
    parts = _parts(inputs, inputs)
    hyper = _PRIOR_MEAN
    if search:
        some = np.linspace(0, len(targets) - 1, min(len(targets), _MOST_SEARCHED)).astype(np.int64)
        hyper = _search(parts.among(some), centred[some], known[some], least)
    factor = _factor(hyper, parts, known)
    return Surrogate(inputs, hyper, factor, cho_solve((factor, True), centred, check_finite=False), offset, slope)


def _first_size(inputs: Inputs) -> Array | float:
    """In deviations (n,); 0 where there are no sizes."""
    columns = inputs.sizes.shape[1]
    return inputs.sizes[:, 0] * math.sqrt(columns) if columns else 0.0


def _search(parts: _Parts, targets: Array, known: Array, least: float) -> Array:
    """The hyperparameters of the highest posterior density, from the prior's mean on."""

    def loss(hyper: Array) -> tuple[float, Array]:
        deviations = (hyper - _PRIOR_MEAN) / _PRIOR_DEVIATION
        try:
            factor = _factor(hyper, parts, known)
        except LinAlgError:
            return 1e10, np.zeros_like(hyper)
        inverse = cho_solve((factor, True), np.eye(len(targets)), check_finite=False)
        weights = inverse @ targets
        value = 0.5 * targets @ weights + np.log(np.diag(factor)).sum() + 0.5 * (deviations**2).sum()
        pull = inverse - np.outer(weights, weights)
        gradient = np.array([0.5 * (pull * slope).sum() for slope in _slopes(hyper, parts)])
        noise = 0.5 * math.exp(hyper[6]) * np.trace(pull)
        return float(value), np.append(gradient, noise) + deviations / _PRIOR_DEVIATION

    low = _PRIOR_MEAN - 3 * _PRIOR_DEVIATION
    if least > 0:
        low[_VARIANCES] = np.maximum(low, _PRIOR_MEAN + math.log(least))[_VARIANCES]
    bounds = list(zip(low, _PRIOR_MEAN + 3 * _PRIOR_DEVIATION, strict=True))
    best = minimize(loss, _PRIOR_MEAN, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _STEPS})
    return np.asarray(best.x, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What every covariance of two sets is made of: inner products and distances of sizes and of features, (n, m) each."""

    size_products: Array
    products: Array
    size_distances: Array
    distances: Array

    def among(self, rows: NDArray[np.int64]) -> _Parts:
        """Of some of the architectures (k,) with each other."""
        at = np.ix_(rows, rows)
        return _Parts(self.size_products[at], self.products[at], self.size_distances[at], self.distances[at])


def _parts(first: Inputs, second: Inputs) -> _Parts:
    return _Parts(
        first.sizes @ second.sizes.T,
        first.features @ second.features.T,
        _distances(first.sizes, second.sizes),
        _distances(first.features, second.features),
    )


def _distances(first: Array, second: Array) -> Array:
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)[None] - 2 * first @ second.T
    result: Array = np.sqrt(np.maximum(squares, 0.0))
    return result


def _covariance(hyper: Array, parts: _Parts) -> Array:
    a, b, e, p, f, q, _ = np.exp(hyper)
    total: Array = _CONSTANT + a * parts.size_products + b * parts.products
    total += e * _matern(parts.size_distances / p) + f * _matern(parts.distances / q)
    return total


def _factor(hyper: Array, parts: _Parts, known: Array) -> Array:
    covariance = _covariance(hyper, parts)
    covariance[np.diag_indices(len(covariance))] += math.exp(hyper[6]) + known + _JITTER
    factor: Array = cholesky(covariance, lower=True, overwrite_a=True, check_finite=False)
    return factor


def _slopes(hyper: Array, parts: _Parts) -> list[Array]:
    """Derivatives of the covariance by each hyperparameter but the noise."""
    a, b, e, p, f, q, _ = np.exp(hyper)
    return [
        a * parts.size_products,
        b * parts.products,
        e * _matern(parts.size_distances / p),
        e * _matern_slope(parts.size_distances / p),
        f * _matern(parts.distances / q),
        f * _matern_slope(parts.distances / q),
    ]


def _matern(r: Array) -> Array:
    scaled = _ROOT5 * r
    result: Array = (1.0 + scaled + scaled**2 / 3.0) * np.exp(-scaled)
    return result


def _matern_slope(r: Array) -> Array:
    """Of the Matérn kernel by the logarithm of its length."""
    scaled = _ROOT5 * r
    result: Array = scaled**2 / 3.0 * (1.0 + scaled) * np.exp(-scaled)
    return result


def _prior_variance(hyper: Array, at: Inputs) -> Array:
    a, b, e, _, f, _, _ = np.exp(hyper)
    result: Array = _CONSTANT + a * (at.sizes**2).sum(axis=1) + b * (at.features**2).sum(axis=1) + e + f
    return result
