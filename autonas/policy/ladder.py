"""How a trained score goes on from rung to rung: predictions of the last rung, for candidates and for trials on their way.

The score at the first rung is a Gaussian process of the architecture. From each rung to the next it changes by another process,
of the score so far and of the architecture: deep and large models begin slowly and gain more later, so the same score at an
early rung promises more of them. (An autoregressive co-kriging, Kennedy & O'Hagan 2000; trials that went on were chosen by the
score so far, which is among the inputs, so their selection does not bias the change.)
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas.policy.surrogate import Array, Inputs, Surrogate, fit

_MOST_TRIALS = 256  # that a process is fitted to: its cost grows with their cube
_FEW = 4  # below so many, hyperparameters are the prior's
# Of a change that has not been seen yet, in spreads of the first rung: its size is the same for all, its spread is not known.
_UNSEEN_DEVIATION = 0.4
# Of the prior's variances, for changes: the trials that go on first are alike, and their changes too.
_LEAST = 0.25
# By so much of their spread scores fall with a deviation of size before anything is known: larger models learn better.
_SLOPE = 0.7
_BAD = 4.0  # robust deviations above the median, beyond which a score is simply bad


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Scores expected at the last rung: means (n,), and the deviation (n, stages) that each stage still to come resolves."""

    mean: Array
    stages: Array

    @property
    def deviation(self) -> Array:
        """Of the last score itself (n,)."""
        result: Array = np.sqrt((self.stages**2).sum(axis=1))
        return result


@dataclass(frozen=True, slots=True)
class Ladder:
    """Fitted to the trials of a study, for one objective."""

    first: Surrogate
    changes: tuple[Surrogate | None, ...]  # from each rung to the next; None where no trial has made the step
    centre: float
    unit: float

    def forecasts(self, inputs: Inputs, reached: int, scores: Array | None = None) -> Forecasts:
        """Of n architectures that have `reached` rungs, the last of them with these `scores` (n,); 0 of candidates."""
        columns: list[Array] = []
        if reached == 0:
            mean, deviation = self.first.predict(inputs)
            columns.append(np.hypot(deviation, self.first.noise_deviation))
        else:
            assert scores is not None
            mean = (scores - self.centre) / self.unit
        for change in self.changes[max(reached - 1, 0) :]:
            if change is None:
                columns.append(np.full(len(mean), _UNSEEN_DEVIATION))
                continue
            spread = np.sqrt(sum((c**2 for c in columns), np.full(len(mean), 1e-6)))
            step, deviation = change.predict(with_size(inputs, mean))
            above, below = (change.predict(with_size(inputs, mean + side * spread))[0] for side in (1, -1))
            slope = 1.0 + (above - below) / (2 * spread)
            columns = [c * slope for c in columns]
            columns.append(np.hypot(deviation, change.noise_deviation))
            mean = mean + step
        stages = np.stack(columns, axis=1) if columns else np.zeros((len(mean), 0))
        return Forecasts(self.centre + self.unit * mean, self.unit * np.abs(stages))


def fit_ladder(inputs: Inputs, values: Array) -> Ladder | None:
    """The ladder for scores (n, rungs), NaN where there is none; None without a score at the first rung."""
    known = np.flatnonzero(~np.isnan(values[:, 0]))
    if not len(known):
        return None
    values = _tamed(values)
    centre = float(np.median(values[known, 0]))
    unit = max(float(np.std(values[known, 0])), 1e-3 * max(1.0, abs(centre)))
    scaled = (values - centre) / unit
    rows = thinned(known, scaled[known, 0])
    first = fit(inputs.take(rows), scaled[rows, 0], search=len(rows) >= _FEW, slope=_SLOPE)
    changes: list[Surrogate | None] = []
    for rung in range(values.shape[1] - 1):
        both = np.flatnonzero(~np.isnan(scaled[:, rung]) & ~np.isnan(scaled[:, rung + 1]))
        if not len(both):
            changes.append(None)
            continue
        rows = thinned(both, scaled[both, rung + 1])
        target = scaled[rows, rung + 1] - scaled[rows, rung]
        changes.append(fit(with_size(inputs.take(rows), scaled[rows, rung]), target, search=len(rows) >= _FEW, least=_LEAST))
    return Ladder(first, tuple(changes), centre, unit)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A process in the unit of its scores."""

    process: Surrogate
    centre: float
    unit: float

    def predict(self, inputs: Inputs) -> tuple[Array, Array]:
        """Mean and deviation of a new measurement (n,), but for the sampling noise of each."""
        mean, deviation = self.process.predict(inputs)
        return self.centre + self.unit * mean, self.unit * np.hypot(deviation, self.process.noise_deviation)


def fit_scores(inputs: Inputs, values: Array, variances: Array | None = None) -> Fitted | None:
    """A process for plain scores (n,), NaN where there is none; None without any."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return None
    centre, unit = float(np.mean(values[known])), max(float(np.std(values[known])), 1e-6)
    rows = thinned(known, values[known])
    noise = 0.0 if variances is None else variances[rows] / unit**2
    return Fitted(_fitted(inputs.take(rows), (values[rows] - centre) / unit, noise), centre, unit)


def thinned(rows: NDArray[np.int64], values: Array) -> NDArray[np.int64]:
    """At most 256 of the rows: the best half by value, and the others at even steps through the rest."""
    if len(rows) <= _MOST_TRIALS:
        return rows
    order = rows[np.argsort(values, kind="stable")]
    half = _MOST_TRIALS // 2
    rest = np.sort(order[half:])
    return np.sort(np.concatenate([order[:half], rest[np.linspace(0, len(rest) - 1, half).astype(np.int64)]]))


def _tamed(values: Array) -> Array:
    """Scores (n, rungs) without the far end of the bad ones: how far a training has diverged tells nothing of the others."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rungs that nobody has reached
        middle = np.nanmedian(values, axis=0)
        spread = 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
    worst = middle + np.where(spread > 0, _BAD * spread, np.inf)
    result: Array = np.fmin(values, worst)
    return np.where(np.isnan(values), np.nan, result)


def _fitted(inputs: Inputs, targets: Array, noise: Array | float = 0.0) -> Surrogate:
    return fit(inputs, targets, noise, search=len(targets) >= _FEW)


def with_size(inputs: Inputs, scores: Array) -> Inputs:
    """A score (n,) of the order of 1 as one more size, in which what is to be predicted is nearly linear."""
    columns = inputs.sizes.shape[1]
    shrunk = inputs.sizes * math.sqrt(columns / (columns + 1)) if columns else inputs.sizes
    return Inputs(np.concatenate([shrunk, scores[:, None] / math.sqrt(columns + 1)], axis=1), inputs.features)
