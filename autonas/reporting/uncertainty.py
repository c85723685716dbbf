"""How sure a front is: joint draws of all final trials' scores, and the share of draws in which each trial is on the front.

What is drawn: training seeds, counted shares and timings from the posterior of the true values (posterior.py), so that the
luckiest of many is not taken at its word; validation documents, resampled jointly for all trials (they are scored on the same
ones). Not modelled: what the training seed does to collapse rates, and that common random numbers correlate these.

Shapes: B draws, N trials, D documents, K objectives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from autonas import pareto
from autonas.objective import Objective
from autonas.reporting.finals import Z95, clustered_error, evaluation_error, mean_nats
from autonas.reporting.posterior import SHARES, Posterior, posterior
from autonas.reporting.quantities import half_width
from autonas.reporting.report import Difference, FinalTrial, SeedNoise
from autonas.trial import Score

Array = NDArray[np.float64]

NUM_DRAWS = 4000
_NUM_DRAWS_OF_MANY, _MANY = 2000, 200  # a standard error of 1 % at worst, in seconds
_NUM_DRAWS_OF_VERY_MANY, _VERY_MANY = 600, 800  # 2 %
_SEED = 20_240_501  # any constant: the same ledger gives the same report
_BLOCK = 250  # draws resampled at a time, to bound memory at B x D
_STRONG = 8


def document_nats(trials: Sequence[FinalTrial]) -> Array | None:
    """Nats (N, D) of all trials on the same documents; None when they were not scored on the same ones or on fewer than two."""
    documents = [trial.outcome.documents for trial in trials]
    nats = [mean_nats(trial) for trial in trials]
    if not trials or documents[0] is None or len(documents[0].tokens) < 2:
        return None
    for own in documents:
        if own is None or own.tokens != documents[0].tokens or own.bytes != documents[0].bytes:
            return None
    if any(row is None for row in nats):
        return None
    return np.array(nats, dtype=np.float64)


def num_draws_for(num_trials: int) -> int:
    """How many draws a study of so many final trials gets."""
    if num_trials > _VERY_MANY:
        return _NUM_DRAWS_OF_VERY_MANY
    return NUM_DRAWS if num_trials <= _MANY else _NUM_DRAWS_OF_MANY


def draw_scores(trials: Sequence[FinalTrial], objectives: Sequence[Objective], noise: SeedNoise, num_draws: int) -> Array:
    """Joint draws (B, N, K) of the objectives' true values in their units, the same for the same trials."""
    rng = np.random.default_rng(_SEED)
    seeds = rng.integers(2**32)  # one for all losses: bits per byte err with val_loss
    resampled = resampled_losses(trials, rng, num_draws)
    columns = []
    for objective in objectives:
        scores = [trial.scores[objective.name] for trial in trials]
        true = posterior(objective, trials, noise)
        if objective.known == "trained":
            drawn = true.draw(np.random.default_rng(seeds), num_draws)
            columns.append(drawn + of_documents(objective.name, trials, scores, resampled, rng, num_draws))
        elif objective.name in SHARES:
            columns.append(draw_shares(scores, true, rng, num_draws))
        else:
            drawn = true.draw(rng, num_draws)
            columns.append(np.exp(drawn) if objective.logarithmic else drawn)
    return np.stack(columns, axis=2)


def front_probabilities(draws: Array) -> Array:
    """The share (N,) of the draws (B, N, K) in which no other trial dominates this one; duplicates do not."""
    # A few strong trials dominate nearly all that is ever dominated: strike that out in all draws at once …
    mean = pareto.normalised(draws.mean(axis=0))
    alive = np.ones(draws.shape[:2], dtype=bool)
    for strong in np.argsort(mean.sum(axis=1), kind="stable")[:_STRONG]:
        rival = draws[:, strong, None, :]
        alive &= ~(np.all(rival <= draws, axis=2) & np.any(rival < draws, axis=2))
    # … and settle the rest draw by draw. Dominance is transitive, so what was struck out is not needed as a rival.
    for draw, left in zip(draws, alive, strict=True):
        left[left] = ~_dominated(draw[left])
    shares: Array = alive.mean(axis=0)
    return shares


def _dominated(rows: Array) -> NDArray[np.bool_]:
    """`~pareto.non_dominated(rows)`, all pairs at once: thousands of small sets are asked about."""
    no_worse = np.ones((len(rows), len(rows)), dtype=bool)
    for column in rows.T:
        no_worse &= column[:, None] <= column[None, :]
    return np.asarray((no_worse & ~no_worse.T).any(axis=0), dtype=np.bool_)


def difference(trial: FinalTrial, best: FinalTrial, noise: SeedNoise) -> Difference | None:
    """`val_loss` of `trial` minus that of `best`, paired on their validation documents where these are the same."""
    if "val_loss" not in trial.scores or "val_loss" not in best.scores:
        return None
    value = trial.scores["val_loss"].value - best.scores["val_loss"].value
    if trial.number == best.number:
        return Difference(value=0.0, error=0.0, evaluation_error=0.0, paired=True)
    nats = document_nats((trial, best))
    if nats is None:
        own = [evaluation_error("val_loss", one.scores["val_loss"], one) for one in (trial, best)]
        over_documents = math.hypot(*own)
    else:
        assert trial.outcome.documents is not None
        over_documents = clustered_error(nats[0] - nats[1], np.asarray(trial.outcome.documents.tokens, dtype=np.float64))
    over_seeds = noise.between_trials * math.sqrt(1 / trial.seeds + 1 / best.seeds)
    return Difference(
        value=value, error=math.hypot(over_documents, over_seeds), evaluation_error=over_documents, paired=nats is not None
    )


def resampled_losses(trials: Sequence[FinalTrial], rng: np.random.Generator, num_draws: int) -> dict[str, Array] | None:
    """Deviations (B, N) of each loss from its value when D documents are drawn with replacement, the same for all trials."""
    nats = document_nats(trials)
    if nats is None or trials[0].outcome.documents is None:
        return None
    documents = trials[0].outcome.documents
    sizes = {"val_loss": np.asarray(documents.tokens, dtype=np.float64)}
    sizes["bits_per_byte"] = np.asarray(documents.bytes, dtype=np.float64) * math.log(2)
    count = nats.shape[1]
    blocks: dict[str, list[Array]] = {name: [] for name in sizes}
    for first in range(0, num_draws, _BLOCK):
        times = rng.multinomial(count, np.full(count, 1 / count), size=min(_BLOCK, num_draws - first)).astype(
            np.float64
        )  # (b, D)
        sums = times @ nats.T  # (b, N)
        for name, size in sizes.items():
            blocks[name].append(sums / np.maximum(times @ size, 1.0)[:, None] - nats.sum(axis=1) / size.sum())
    return {name: np.concatenate(parts) for name, parts in blocks.items()}


def of_documents(
    name: str,
    trials: Sequence[FinalTrial],
    scores: Sequence[Score],
    resampled: dict[str, Array] | None,
    rng: np.random.Generator,
    num_draws: int,
) -> Array:
    """What other validation documents would have changed (B, N)."""
    if resampled is not None:
        return resampled[name]
    errors = np.array([evaluation_error(name, score, trial) for score, trial in zip(scores, trials, strict=True)])
    return errors * rng.standard_normal((num_draws, len(trials)))


def draw_shares(scores: Sequence[Score], true: Posterior, rng: np.random.Generator, num_draws: int) -> Array:
    """Joint draws (B, N) of counted shares."""
    if true.is_shrunk:
        return np.clip(true.draw(rng, num_draws), 0.0, 1.0)
    return np.stack([_draw_share(score, rng, num_draws) for score in scores], axis=1)


def _draw_share(score: Score, rng: np.random.Generator, num_draws: int) -> Array:
    """From the beta with the interval's centre as mean and its half width as 1.96 deviations.

    The centre and not the value: 0 collapsed of 200 does not say that the rate is 0, and a beta of mean 0 would.
    """
    mean, deviation = (score.low + score.high) / 2, half_width(score) / Z95
    if deviation == 0.0 or not 0.0 < mean < 1.0:
        return np.full(num_draws, score.value)
    # A beta's variance is below mean (1 - mean); an interval as wide as [0, 1] asks for more than there is.
    strength = max(mean * (1 - mean) / deviation**2 - 1, 0.5)
    drawn: Array = rng.beta(mean * strength, (1 - mean) * strength, size=num_draws)
    return drawn
