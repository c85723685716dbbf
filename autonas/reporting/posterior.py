"""What trials' true scores are likely to be, given that measured ones hold noise: measured values drawn towards what is usual.

The best of many noisy values is too good, the more so the more there are. Measured values y with known errors s are modelled as
y ~ N(μ, s²) and μ ~ N(x'β, τ²), where x are the sizes of the architecture: the small-area model of Fay & Herriot (1979). β has
a flat prior and τ one up to twice the spread of y (Gelman 2006), integrated on a grid. Where noise explains the spread, τ is
small and all but the trend goes; where it does not, a value stays nearly as measured.

Losses have the seed noise of finals.py, shares that of counts, timings that of their intervals. Architectures that infer alike
have one timing between them. All is in values as compared: sizes and times as logarithms.

Shapes: B draws, N trials, P columns of the design, G values of τ.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas import cost
from autonas.arch import ArchSpec
from autonas.objective import Objective
from autonas.reporting.finals import Z95
from autonas.reporting.quantities import half_width
from autonas.reporting.report import FinalTrial, SeedNoise
from autonas.trial import Score

Array = NDArray[np.float64]

SHARES = ("degeneration", "collapse_rate", "collapse_prior")
_NUM_TAUS = 40
_LEAST_VALUE = 1e-12  # of what is compared as a logarithm
# Below so many trials the trend with size is not asked for, below four nothing can be told from the spread.
_LEAST_FOR_TREND, _LEAST = 16, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """True values (N,), as a mixture over τ of normals around a shrunken trend."""

    means: Array  # (N,)
    errors: Array  # (N,) as measured
    values: Array  # (N,) as measured
    design: Array  # (N, P)
    chances: Array  # (G,) of each τ; empty where nothing was shrunk
    kept: Array  # (G, N) share of the distance from the trend that is real
    trends: Array  # (G, P)
    roots: Array  # (G, P, P) with R Rᵀ the covariance of the trend
    place: NDArray[np.intp] | None = None  # (M,) which of the N each of M trials is, where several are one

    @property
    def is_shrunk(self) -> bool:
        return len(self.chances) > 0

    @property
    def of_trials(self) -> Array:
        """The means of all trials."""
        return self.means if self.place is None else self.means[self.place]

    def draw(self, rng: np.random.Generator, num_draws: int) -> Array:
        """Joint draws (B, N) for all trials: what is unsure of the trend is common to all."""
        own = rng.standard_normal((num_draws, len(self.values)))
        drawn: Array = self.values + self.errors * own
        if self.is_shrunk:
            which = rng.choice(len(self.chances), size=num_draws, p=self.chances)
            kept = self.kept[which]
            shifts = rng.standard_normal((num_draws, self.design.shape[1]))
            trends = self.trends[which] + np.einsum("bpq,bq->bp", self.roots[which], shifts)
            drawn = kept * self.values + (1 - kept) * (trends @ self.design.T) + np.sqrt(kept) * self.errors * own
        return drawn if self.place is None else drawn[:, self.place]

    def measured_again(self, rng: np.random.Generator, num_times: int) -> Array:
        """The means (B, N) that come out when these means are taken for the truth and measured again."""
        seen = self.means + self.errors * rng.standard_normal((num_times, len(self.means)))
        means = np.array([shrunk(one, self.errors, self.design).means for one in seen]) if self.is_shrunk else seen
        return means if self.place is None else means[:, self.place]


def shrunk(values: Array, errors: Array, design: Array) -> Posterior:
    """The posterior of true values (N,) measured with independent normal `errors` (N,), given predictors (N, P).

    Measured values stand as they are where there are fewer than P + 3 of them or nothing is uncertain.
    """
    count, columns = design.shape
    spread = float(values.std()) if count else 0.0
    if count < max(columns + 3, _LEAST) or not errors.any():
        nothing = np.empty(0)
        return Posterior(
            means=values,
            errors=errors,
            values=values,
            design=design,
            chances=nothing,
            kept=nothing,
            trends=nothing,
            roots=nothing,
        )
    known = np.maximum(errors, 1e-3 * errors.max())  # an exact one among them is all but exact
    taus = np.linspace(0.0, 2 * spread, _NUM_TAUS) if spread else np.zeros(1)
    total = taus[:, None] ** 2 + known**2  # (G, N)
    information = np.einsum("gn,np,nq->gpq", 1 / total, design, design)
    trends = np.linalg.solve(information, ((values / total) @ design)[:, :, None])[:, :, 0]  # (G, P)
    fitted = trends @ design.T
    likelihood = -0.5 * (np.log(total) + (values - fitted) ** 2 / total).sum(axis=1) - 0.5 * np.linalg.slogdet(information)[1]
    chances = np.exp(likelihood - likelihood.max())
    chances /= chances.sum()
    kept = taus[:, None] ** 2 / total
    return Posterior(
        means=chances @ (kept * values + (1 - kept) * fitted),
        errors=known,
        values=values,
        design=design,
        chances=chances,
        kept=kept,
        trends=trends,
        roots=np.linalg.cholesky(np.linalg.inv(information)),
    )


def posterior(objective: Objective, trials: Sequence[FinalTrial], noise: SeedNoise) -> Posterior:
    """The posterior of one objective of final trials, as compared (in logarithms where the objective is)."""
    scores = [trial.scores[objective.name] for trial in trials]
    values = np.array([score.value for score in scores], dtype=np.float64)
    errors = _errors(objective, scores, trials, noise)
    if objective.logarithmic:
        values, errors = np.log(np.maximum(values, _LEAST_VALUE)), errors / np.maximum(values, _LEAST_VALUE)
    if objective.known != "measured":
        return shrunk(values, errors, trend_design([trial.spec for trial in trials]))
    _, first, place = np.unique([t.spec.inference_fingerprint for t in trials], return_index=True, return_inverse=True)
    found = shrunk(values[first], errors[first], trend_design([trials[i].spec for i in first]))
    return dataclasses.replace(found, place=place)


def _errors(objective: Objective, scores: Sequence[Score], trials: Sequence[FinalTrial], noise: SeedNoise) -> Array:
    """Standard errors (N,) of measured values in their unit, without those of the choice of documents."""
    if objective.known == "arithmetic":
        return np.zeros(len(scores))
    if objective.known == "trained":
        # Bits per byte is val_loss in another unit, so seed noise scales with it.
        values = np.array([score.value for score in scores])
        nats = np.array([trial.scores["val_loss"].value if "val_loss" in trial.scores else 1.0 for trial in trials])
        scaled: Array = (
            noise.between_trials * values / np.where(nats > 0, nats, 1.0) / np.sqrt([trial.seeds for trial in trials])
        )
        return scaled
    counts = np.array([score.n or 0 for score in scores], dtype=np.float64)
    if objective.name in SHARES and counts.all():
        # Of what is usual, not of the value itself: 0 of 64 would pass for the surest of all.
        usual = np.clip(np.mean([score.value for score in scores]), 1 / counts.sum(), 1 - 1 / counts.sum())
        of_counts: Array = np.sqrt(usual * (1 - usual) / counts)
        return of_counts
    return np.array([half_width(score) / Z95 for score in scores])


def trend_design(specs: Sequence[ArchSpec]) -> Array:
    """What scores follow, (N, P): a constant and, with enough trials, logarithms of sizes and depth, made uncorrelated."""
    ones = np.ones((len(specs), 1))
    if len(specs) < _LEAST_FOR_TREND:
        return ones
    rows = []
    for spec in specs:
        parts = cost.param_breakdown(spec)
        rows.append(
            [math.log(parts["attention"] + parts["feed_forward"]), math.log(sum(parts.values())), math.log(spec.layers)]
        )
    centred = np.array(rows) - np.mean(rows, axis=0)
    directions, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    return np.concatenate([ones, directions[:, lengths > 1e-6 * math.sqrt(len(specs))] * math.sqrt(len(specs))], axis=1)
