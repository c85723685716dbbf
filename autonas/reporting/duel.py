"""How studies measure up to one another: volumes in one box, when as much was spent, and what a front covers of another.

Draws are joint: of each side's true scores from its posterior (posterior.py), of its scores had they been measured again, and
of what its order of the text moved all its losses by, which two studies share only with one seed and the same data. The chance
that one volume is the larger is taken from draws around the volumes of likely scores, and from the same bootstrap that gives
intervals; whichever is less sure is told, since either alone has been found too sure (volume.py).

Shapes: B draws, N trials, K objectives, Q points of a lattice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas.objective import Objective
from autonas.reporting.comparison import same_order
from autonas.reporting.history import compared
from autonas.reporting.posterior import posterior
from autonas.reporting.report import FinalTrial, SeedNoise
from autonas.reporting.spending import spent_by
from autonas.reporting.volume import NUM_LATTICE, Box, grown_shares, growth, in_order_of_ending, region
from autonas.trial import StudyRecord

Array = NDArray[np.float64]

_LEAST_DRAWS, _MOST_DRAWS, _WORK = 100, 400, 24_000  # fewer draws of many trials: a second or two at most
_ENDS = (0.025, 0.975)
_SEED = 20_261_123  # any constant: the same ledgers give the same page
_BLOCK = 4_000_000  # comparisons of coverage at a time, to bound memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """A side's scores as compared, (B, N, K): true ones, and posterior means had they been measured again."""

    true: Array
    again: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePoint:
    """The share of the common box that a study's front dominates after `trial` ended, with its 95 % interval.

    `trial` is None where none had ended: the share is 0, for certain.
    """

    trial: int | None
    train_s: float  # in training jobs by then, all workers together
    flops: float  # of training by then
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """A side's volume as its trials ended; `at_flops` and `at_s` where the common budgets were spent, if they are known."""

    points: tuple[VolumePoint, ...]
    end: VolumePoint
    at_flops: VolumePoint | None
    at_s: VolumePoint | None
    spread: Array  # (B,) how far draws of the volume at the common compute lie from their mean
    astray: Array  # (B,) how far the volume measured again lies from the one of likely scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Duel:
    """Two sides at equal compute: by how much the first's volume is larger, and how likely it is that it is."""

    first: int
    second: int
    gain: float
    low: float
    high: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The share of `covered`'s front that `by`'s front dominates (Zitzler & Thiele 1999), and its 95 % interval over draws."""

    by: int
    covered: int
    value: float  # of the measured scores
    mean: float  # over draws
    low: float
    high: float
    members: tuple[float, ...]  # the chance of each of the covered front's members that it is dominated


def union_box(sides: Sequence[Sequence[FinalTrial]], objectives: Sequence[Objective]) -> Box:
    """The box that all final trials together span, as first measured: repeats, which come later, do not move it."""
    trials = [trial for side in sides for trial in side]
    scores = [[_first_measured(trial, objective.name) for objective in objectives] for trial in trials]
    rows = compared(np.array(scores, dtype=np.float64), objectives)
    return Box(
        objectives=tuple(objectives),
        best=tuple(map(float, rows.min(axis=0))),
        worst=tuple(map(float, rows.max(axis=0))),
        spanned_by=len(trials),
        is_fixed=True,
    )


def orders(studies: Sequence[StudyRecord]) -> tuple[int, ...]:
    """For each study the place of the first one that shows its trials the same text in the same order."""
    return tuple(
        next(i for i, other in enumerate(studies) if i == place or same_order(other, study))
        for place, study in enumerate(studies)
    )


def joint_draws(
    trials: Sequence[FinalTrial], objectives: Sequence[Objective], noise: SeedNoise, *, side: int, order: int
) -> Draws:
    """Draws for one side; those of others are independent, but for what an `order` that they share moves all losses by."""
    rng = np.random.default_rng([_SEED, side])
    count = max(_LEAST_DRAWS, min(_MOST_DRAWS, _WORK // max(len(trials), 1)))
    deviation = math.sqrt(max(noise.deviation**2 - noise.between_trials**2, 0.0))  # nats
    moved = deviation * np.random.default_rng([_SEED, order, 1]).standard_normal((count, 2))
    true, again = [], []
    for objective in objectives:
        found = posterior(objective, trials, noise)
        scale = _nats_scale(objective, trials) if objective.known == "trained" else np.zeros(len(trials))
        true.append(found.draw(rng, count) + moved[:, :1] * scale)
        again.append(found.measured_again(rng, count) + moved[:, 1:] * scale)
    return Draws(true=np.stack(true, axis=-1), again=np.stack(again, axis=-1))


def volumes(
    sides: Sequence[tuple[StudyRecord, Sequence[FinalTrial]]],
    rows: Sequence[Array],
    draws: Sequence[Draws],
    box: Box,
    budget_flops: float | None,
    budget_s: float | None,
) -> tuple[Volumes, ...]:
    """The volume of each side in the box as its trials ended. `rows` (N, K) are posterior means as compared."""
    count = min(len(each.true) for each in draws)
    everything = [box.place(each[:count].reshape(-1, each.shape[-1])) for one in draws for each in (one.true, one.again)]
    # One lattice for all sides, so that its own error leaves their differences.
    points, share = region(np.concatenate([*everything, *(box.place(each) for each in rows)]), NUM_LATTICE)
    found = []
    for (study, trials), own, drawn in zip(sides, rows, draws, strict=True):
        order = [{trial.number: i for i, trial in enumerate(trials)}[t.number] for t in in_order_of_ending(study, trials)]
        ordered, true, again = own[order], drawn.true[:count, order], drawn.again[:count, order]
        values = growth(ordered, box)
        grown = np.array([grown_shares(box.place(one), points) for one in true]) * share
        likely = grown_shares(box.place(ordered), points) * share
        astray = np.array([grown_shares(box.place(one), points) for one in again]) * share - likely
        spread = grown - grown.mean(axis=0)
        low, high = _ends(spread, astray)
        spent = spent_by(study)
        curve = tuple(
            VolumePoint(
                trial=trials[i].number,
                train_s=spent[trials[i].number].seconds,
                flops=spent[trials[i].number].flops,
                value=float(values[place]),
                low=max(float(values[place] + low[place]), 0.0),
                high=float(values[place] + high[place]),
            )
            for place, i in enumerate(order)
        )
        at = _last(curve, [point.flops for point in curve], budget_flops)
        nothing = np.zeros(count)
        found.append(
            Volumes(
                points=curve,
                end=curve[-1],
                at_flops=None if budget_flops is None else _point(curve, at),
                at_s=None if budget_s is None else _point(curve, _last(curve, [point.train_s for point in curve], budget_s)),
                spread=nothing if at is None else spread[:, at],
                astray=nothing if at is None else astray[:, at],
            )
        )
    return tuple(found)


def duels(found: Sequence[Volumes]) -> tuple[Duel, ...]:
    """Each pair of sides at the common compute; none where that is not known."""
    pairs = itertools.combinations(range(len(found)), 2)
    return tuple(duel for first, second in pairs if (duel := _duel(found, first, second)) is not None)


def coverages(rows: Sequence[Array], fronts: Sequence[Sequence[int]], draws: Sequence[Draws]) -> tuple[Coverage, ...]:
    """Each side's front against each other's. `rows` (N, K) are measured values as compared, `fronts` places in them."""
    count = min(len(each.true) for each in draws)
    found = []
    for by, covered in itertools.permutations(range(len(rows)), 2):
        ours, theirs = list(fronts[by]), list(fronts[covered])
        beaten = _beaten(draws[by].true[:count, ours], draws[covered].true[:count, theirs])  # (B, members)
        shares = beaten.mean(axis=1)
        low, high = np.quantile(shares, _ENDS)
        measured = _beaten(rows[by][None, ours], rows[covered][None, theirs])
        found.append(
            Coverage(
                by=by,
                covered=covered,
                value=float(measured.mean()),
                mean=float(shares.mean()),
                low=float(low),
                high=float(high),
                members=tuple(map(float, beaten.mean(axis=0))),
            )
        )
    return tuple(found)


def _duel(found: Sequence[Volumes], first: int, second: int) -> Duel | None:
    ours, theirs = found[first], found[second]
    if ours.at_flops is None or theirs.at_flops is None:
        return None
    gain = ours.at_flops.value - theirs.at_flops.value
    spread, astray = ours.spread - theirs.spread, ours.astray - theirs.astray
    low, high = _ends(spread[:, None], astray[:, None])
    chances = [_above(gain + spread), _above(gain - astray)]
    return Duel(
        first=first,
        second=second,
        gain=gain,
        low=gain + float(low[0]),
        high=gain + float(high[0]),
        probability=min(chances, key=lambda chance: abs(chance - 0.5)),
    )


def _above(differences: Array) -> float:
    """The share of differences above zero; one that is exactly zero is half."""
    return float((differences > 0).mean() + 0.5 * (differences == 0).mean())


def _ends(spread: Array, astray: Array) -> tuple[Array, Array]:
    """How far the 95 % interval reaches down and up (n,), given both kinds of deviations (B, n), whichever reaches further."""
    of_draws = np.quantile(spread, _ENDS, axis=0)
    of_estimates = -np.quantile(astray, _ENDS[::-1], axis=0)
    low: Array = np.minimum(np.minimum(of_draws[0], of_estimates[0]), 0.0)
    high: Array = np.maximum(np.maximum(of_draws[1], of_estimates[1]), 0.0)
    return low, high


def _beaten(ours: Array, theirs: Array) -> NDArray[np.bool_]:
    """Which of theirs (B, M, K) one of ours (B, L, K) dominates in the same draw: (B, M)."""
    block = max(1, _BLOCK // max(ours.shape[1] * theirs.shape[1] * ours.shape[2], 1))
    found = np.zeros(theirs.shape[:2], dtype=bool)
    for first in range(0, len(theirs), block):
        mine, other = ours[first : first + block, :, None], theirs[first : first + block, None]
        found[first : first + block] = (np.all(mine <= other, axis=3) & np.any(mine < other, axis=3)).any(axis=1)
    return found


def _last(curve: Sequence[VolumePoint], spent: Sequence[float], budget: float | None) -> int | None:
    """The place of the last trial that had ended when the budget was spent; None where none had."""
    if budget is None:
        return None
    within = [place for place in range(len(curve)) if spent[place] <= budget * (1 + 1e-9)]
    return within[-1] if within else None


def _point(curve: Sequence[VolumePoint], place: int | None) -> VolumePoint:
    if place is not None:
        return curve[place]
    return VolumePoint(trial=None, train_s=0.0, flops=0.0, value=0.0, low=0.0, high=0.0)


def _first_measured(trial: FinalTrial, name: str) -> float:
    score = trial.runs[0].score(name, trial.outcome.rung)
    assert score is not None  # who has it merged has it first
    return score.value


def _nats_scale(objective: Objective, trials: Sequence[FinalTrial]) -> Array:
    """What a nat per token is in an objective that training tells, (N,): bits per byte are the loss in another unit."""
    if objective.name == "val_loss":
        return np.ones(len(trials))
    nats = [trial.scores["val_loss"].value if "val_loss" in trial.scores else 0.0 for trial in trials]
    return np.array([t.scores[objective.name].value / n if n else 0.0 for t, n in zip(trials, nats, strict=True)])
