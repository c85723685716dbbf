"""What a full run will end with, said before it begins: its loss and its collapse rate, with intervals. Pure.

The loss is the picked trial's, carried on by its own and its study's learning curves (extrapolation.py) to the tokens that the
run sees. Tokens seen again count for less: D' = U (1 + 15.4 (1 - e^(-(epochs - 1) / 15.4))) for U unique ones (Muennighoff et
al., arXiv 2305.16264). What overfitting adds, no curve of short trials tells, so it is drawn, and widely. A replica tells it,
which ends by the full run's ratios: what is drawn counts by how well it says the replica's end. The noise of one training's
seed is in every interval; that of validation documents is not, for all are scored on the same ones.

The collapse rate is between the trial's and the replica's, as logits; it falls while training goes on, by an amount that is
drawn; and the samples that it will be measured with are as few as they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas.policy.extrapolation import FLOOR, Array, Curve, Law, extrapolate, fit_law
from autonas.trial import Score

LEVELS = (0.8, 0.95)
_NUM_DRAWS = 20_000
_FEWEST_DRAWS = 500  # that must speak for a replica's end
_SEED = 20_250_103  # any constant: the same history gives the same prediction
_REPEATS = 15.4  # epochs after which repeated tokens are worth little more
_REPEATS_SPREAD = 0.5  # of its logarithm
# The size of what overfitting adds, for each e-fold of epochs beyond some four, up to which they are nearly as good as new
# (Muennighoff et al.); with fewer unique tokens than 20 for each parameter, larger by the root of how many fewer. Measured:
# 13.6 epochs, one token for each: about .7 nats. 3.4 epochs, three tokens for each: nothing.
_OVERFITTING = 0.12
_HARMLESS_EPOCHS = 4.0
_AMPLE_TOKENS = 20.0
_CURVES_OFF = 0.03  # nats
_TRANSFER_ERROR, _TRANSFER_SHARE = 0.02, 0.3  # nats, and of what is added: between a replica and its full run
# A model s times smaller that sees s times fewer tokens, as often, has a loss that is higher by s to such a power, above a
# bound (Hoffmann et al., arXiv 2203.15556, have .34 for parameters, .28 for tokens, and 1.69 nats). Measured on replicas of
# three runs of 0.2 M parameters, 3.6 to 4.0 times smaller: .19 to .24.
_SCALE_POWER, _SCALE_POWER_ERROR = 0.25, 0.06
_BOUND, _BOUND_ERROR = 1.5, 0.4
# Of a collapse rate's logit, for each e-fold of tokens, and its spread for the root of one. Measured on twelve decoders trained
# ten times as long: -.18 and .34 (ten rates fell, two rose).
_DRIFT, _DRIFT_SPREAD = -0.15, 0.4
_SIZE_DRIFT = 0.6  # of the logit between a model and its replica
_LEAST_RATE = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run is planned: its fresh and its repeated tokens, and its size."""

    tokens: int
    unique_tokens: int
    params: int

    @property
    def epochs(self) -> float:
        return self.tokens / self.unique_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaEnd:
    """How a replica with the run's own values ended: its loss, the mean of so many seeds, and its collapse rate."""

    ending: Ending
    loss: float
    seeds: int
    collapse_rate: Score | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    level: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """One score of a run before it begins."""

    value: float  # the median
    intervals: tuple[Interval, ...]  # by rising level
    unit: str
    basis: str  # what it was made from, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A prediction beside what came."""

    predicted: Predicted
    measured: float
    within: float | None  # the level of the narrowest interval that holds it; None: outside of all

    @property
    def text(self) -> str:
        found = "outside of every interval" if self.within is None else f"inside the {self.within:.0%} interval"
        return f"{prediction_text(self.predicted)}; measured {_number(self.measured, self.predicted.unit)}: {found}"


def predict_loss(
    curves: Sequence[Curve], own: Curve, run: Ending, *, noise: float, seeds: int = 1, replica: ReplicaEnd | None = None
) -> Predicted:
    """`val_loss` at the end of a run of the trial with the curve `own`, whose losses are means over `seeds` trainings.

    `curves` are the study's, `own` among them; `noise` is the deviation over training seeds, in nats.
    """
    rng = np.random.default_rng(_SEED)
    law = fit_law(curves, noise, rng, _NUM_DRAWS)
    worth = _REPEATS * np.exp(rng.normal(0.0, _REPEATS_SPREAD, _NUM_DRAWS))
    added = _added(run, rng)
    base = _at_end(law, own, run, noise / math.sqrt(seeds), worth, rng)
    drawn = base + added
    basis = f"{len(curves)} learning curves of up to {max(curve.tokens[-1] for curve in curves):,} tokens"
    if replica is not None:
        # What is drawn for the run ends the replica too; draws count by how near that comes to its real end.
        power = rng.normal(_SCALE_POWER, _SCALE_POWER_ERROR, _NUM_DRAWS)
        bound = np.maximum(rng.normal(_BOUND, _BOUND_ERROR, _NUM_DRAWS), FLOOR)
        factor = (run.params / replica.ending.params) ** power
        off = replica.loss - (bound + (base - bound) * factor) - added
        spread = np.hypot(noise / math.sqrt(replica.seeds), _TRANSFER_ERROR + _TRANSFER_SHARE * np.abs(added))
        drawn = drawn[_resampled(off / spread, rng)]
        basis += f", and a replica's end after {replica.ending.epochs:.1f} epochs"
    drawn = np.maximum(drawn, FLOOR) + rng.normal(0.0, noise, _NUM_DRAWS)
    return _summarised(drawn, "nats/token", basis)


def _resampled(deviations: Array, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of draws (B,), each as often as its deviation from what was seen makes it likely.

    Where hardly any comes near, what was seen is taken as so much less certain that enough do.
    """
    temper = 1.0
    while True:
        log_weight = -0.5 * temper * deviations**2
        weight = np.exp(log_weight - log_weight.max())
        if weight.sum() ** 2 / (weight**2).sum() >= _FEWEST_DRAWS:
            chosen: NDArray[np.int64] = rng.choice(len(deviations), size=len(deviations), p=weight / weight.sum())
            return chosen
        temper *= 0.8


def _at_end(law: Law, own: Curve, run: Ending, noise: float, worth: Array, rng: np.random.Generator) -> Array:
    """Draws of the loss were there no overfitting: at as many fresh tokens as the run's repeated ones are worth.

    The fall is close to linear in the logarithm over the spread of what they are worth, which is added as its slope.
    """
    fresh = _fresh(run, worth)
    middle = float(np.exp(np.median(np.log(fresh))))
    state = rng.bit_generator.state
    found = extrapolate(law, own, middle, noise, rng)
    rng.bit_generator.state = state
    further = extrapolate(law, own, middle * 1.2, noise, rng)
    slope = (further - found) / math.log(1.2)
    drawn: Array = found + slope * (np.log(fresh) - math.log(middle))
    return drawn


def _fresh(run: Ending, worth: Array) -> Array:
    repeated = max(run.epochs - 1.0, 0.0)
    seen: Array = min(run.tokens, run.unique_tokens) * (1.0 + worth * (1.0 - np.exp(-repeated / worth)))
    return seen


def _added(run: Ending, rng: np.random.Generator) -> Array:
    """Draws of what the end has beyond the curves: overfitting, which repeated tokens alone bring, and what they are off by."""
    scarcity = max(math.sqrt(_AMPLE_TOKENS * run.params / run.unique_tokens), 1.0)
    size = _OVERFITTING * 0.5 * math.log1p((run.epochs / _HARMLESS_EPOCHS) ** 2) * scarcity if run.epochs > 1.0 else 0.0
    # Heavy tails: half a Student's t.
    return size * np.abs(rng.standard_t(3, _NUM_DRAWS)) + rng.normal(0.0, _CURVES_OFF, _NUM_DRAWS)


def predict_collapse(own: Score, tokens: int, run: Ending, replica: ReplicaEnd | None = None) -> Predicted:
    """`collapse_rate` at the end of a run, from the trial's at `tokens` and the replica's."""
    rng = np.random.default_rng(_SEED + 1)
    folds = max(math.log(run.tokens / tokens), 0.0)
    logit, error = _logit(own)
    mean, variance = logit + _DRIFT * folds, error**2 + _DRIFT_SPREAD**2 * folds
    basis = f"the trial's at {tokens:,} tokens"
    if replica is not None and replica.collapse_rate is not None:
        other, sampling = _logit(replica.collapse_rate)
        second = sampling**2 / max(replica.seeds, 1) + _SIZE_DRIFT**2
        mean = (mean / variance + other / second) / (1 / variance + 1 / second)
        variance = 1 / (1 / variance + 1 / second)
        basis += " and a replica's at its end"
    rates = 1 / (1 + np.exp(-rng.normal(mean, math.sqrt(variance), _NUM_DRAWS)))
    samples = max(own.n or 1, 1)
    return _summarised(rng.binomial(samples, rates) / samples, "share", f"{basis}, as {samples} samples would show it")


def _logit(rate: Score) -> tuple[float, float]:
    """Of the interval's centre, since none of 200 does not say never; and its error."""
    centre = min(max((rate.low + rate.high) / 2 if rate.value in (0.0, 1.0) else rate.value, _LEAST_RATE), 1 - _LEAST_RATE)
    low, high = (min(max(end, _LEAST_RATE / 2), 1 - _LEAST_RATE / 2) for end in (rate.low, rate.high))
    width = math.log(high / (1 - high)) - math.log(low / (1 - low))
    return math.log(centre / (1 - centre)), width / (2 * 1.96)


def _summarised(drawn: Array, unit: str, basis: str) -> Predicted:
    ends = [np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]) for level in LEVELS]
    return Predicted(
        value=float(np.median(drawn)),
        intervals=tuple(
            Interval(level=level, low=float(low), high=float(high)) for level, (low, high) in zip(LEVELS, ends, strict=True)
        ),
        unit=unit,
        basis=basis,
    )


def check(predicted: Mapping[str, Predicted], scores: Mapping[str, Score]) -> dict[str, Checked]:
    """Each prediction beside the score that came, where one has."""
    found = {}
    for name, each in predicted.items():
        if name in scores:
            value = scores[name].value
            inside = [interval.level for interval in each.intervals if interval.low <= value <= interval.high]
            found[name] = Checked(predicted=each, measured=value, within=min(inside, default=None))
    return found


def coverage(predictions: Sequence[Predicted], truths: Sequence[float]) -> dict[float, float]:
    """The share of truths inside their interval, by level: what a level should be, over many predictions."""
    assert len(predictions) == len(truths) > 0, "a truth for each prediction, and at least one"
    shares = {}
    for place, level in enumerate(LEVELS):
        ends = [prediction.intervals[place] for prediction in predictions]
        shares[level] = sum(end.low <= truth <= end.high for end, truth in zip(ends, truths, strict=True)) / len(truths)
    return shares


def prediction_text(predicted: Predicted) -> str:
    """A prediction in a few words: 3.87 (80 %: 3.75–3.98; 95 %: 3.61–4.10)."""
    unit = predicted.unit
    ends = "; ".join(f"{i.level:.0%}: {_number(i.low, unit)}–{_number(i.high, unit)}" for i in predicted.intervals)
    return f"{_number(predicted.value, unit)} ({ends})"


def _number(value: float, unit: str) -> str:
    return f"{100 * value:.1f} %" if unit == "share" else f"{value:.3f}"
