"""The hypervolume of a study as its trials ended: on likely true values, below a fixed reference, with an interval.

Which values: posterior means (posterior.py), so that it does not grow by trying noise often. Which reference: a box spanned
by the first final trials that does not move afterwards. Which interval: how far the same estimate goes astray when the likely
values are taken for the truth and measured again (a parametric bootstrap, turned about the value), and how far draws of the
true values spread, whichever reaches further. Both are for the validation documents at hand.

In simulated studies of 12 to 100 trials in two and four objectives, measured values were too high by up to .02 where trials
differed and by .04 to .09 where they differed by noise alone. Posterior means were off by -.02 to .01, and by .01. The mean
over draws was no better than measured values where trials lie behind a hard edge, and is not used. Intervals held 83 % or
more.

Shapes: B draws, N trials, K objectives, Q points of a lattice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autonas import pareto
from autonas.objective import Objective
from autonas.reporting.history import compared, moment, started_at
from autonas.reporting.posterior import posterior
from autonas.reporting.report import FinalTrial, HypervolumePoint, SeedNoise
from autonas.reporting.spending import spent_by
from autonas.trial import StudyRecord

Array = NDArray[np.float64]

# Beyond the worst trial of the box in every objective, so that the extremes of the front count.
REFERENCE = 1.1
# Final trials that span the box. Random ones cover seven eighths of what any of them will.
NUM_SPANNING = 16
NUM_LATTICE = 2048
_LEAST_DRAWS, _MOST_DRAWS, _WORK = 60, 120, 12_000  # fewer draws of many trials: a second at most
_ENDS = (0.025, 0.975)
_SEED = 20_240_504  # any constant: the same ledger gives the same report


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What hypervolumes are measured in: 0 is the best and 1 the worst value among the trials that span it, as compared."""

    objectives: tuple[Objective, ...]
    best: tuple[float, ...]  # as compared: sizes and times as logarithms
    worst: tuple[float, ...]
    spanned_by: int  # final trials
    is_fixed: bool  # no trial to come will move it

    def place(self, rows: Array) -> Array:
        """Values as compared (…, K) in the box's own measure. An objective in which nothing differed keeps its unit."""
        best, worst = np.array(self.best), np.array(self.worst)
        placed: Array = (rows - best) / np.where(worst > best, worst - best, 1.0)
        return placed

    @property
    def corner(self) -> Array:
        return np.full(len(self.objectives), REFERENCE)

    @property
    def volume(self) -> float:
        return float(REFERENCE ** len(self.objectives))

    def reference(self) -> Mapping[str, float]:
        """The reference point in the objectives' units."""
        ends = {}
        for objective, best, worst in zip(self.objectives, self.best, self.worst, strict=True):
            end = best + REFERENCE * (worst - best if worst > best else 1.0)
            ends[objective.name] = math.exp(end) if objective.logarithmic else end
        return ends


def likely(trials: Sequence[FinalTrial], objectives: Sequence[Objective], noise: SeedNoise) -> Array:
    """Posterior means (N, K) as compared."""
    return _columns(posterior(objective, trials, noise).of_trials for objective in objectives)


def spanned_box(study: StudyRecord, trials: Sequence[FinalTrial], objectives: Sequence[Objective]) -> Box:
    """The box of a study with final trials: spanned by the first of them to end, as first measured.

    Raises:
        ValueError: there are no trials.
    """
    if not trials:
        raise ValueError("a study without a final trial has no box")
    first = in_order_of_ending(study, trials)[:NUM_SPANNING]
    # The originals' scores alone: a repeat, which comes later, must not move the box.
    scores = [[trial.runs[0].score(objective.name, trial.outcome.rung) for objective in objectives] for trial in first]
    rows = compared(np.array([[score.value for score in row if score is not None] for row in scores]), objectives)
    return Box(
        objectives=tuple(objectives),
        best=tuple(map(float, rows.min(axis=0))),
        worst=tuple(map(float, rows.max(axis=0))),
        spanned_by=len(first),
        is_fixed=len(first) == NUM_SPANNING,
    )


def in_order_of_ending(study: StudyRecord, trials: Sequence[FinalTrial]) -> list[FinalTrial]:
    """The trials by the timeline; those it does not tell of come last, in their order."""
    place = {number: i for i, (number, _) in enumerate(study.timeline)}
    return sorted(trials, key=lambda trial: (place.get(trial.number, len(place)), trial.number))


def growth(rows: Array, box: Box) -> Array:
    """The dominated share of the box (N,) after each of the rows (N, K) as compared, in their order."""
    front = pareto.Front(box.corner)
    gains = [front.add(row) for row in box.place(rows)]
    return np.cumsum(gains) / box.volume if gains else np.empty(0)


def rule(box: Box) -> str:
    """How the hypervolume is measured, for the reader."""
    logs = [objective.title.lower() for objective in box.objectives if objective.logarithmic]
    scale = f"; {', '.join(logs)} on a log scale" if logs else ""
    spanned = f"the first {box.spanned_by} final trials" if box.spanned_by > 1 else "the first final trial"
    fixed = "and stays" if box.is_fixed else f"and moves until {NUM_SPANNING} have ended"
    return (
        f"Each objective is mapped to 0–1 between the best and the worst of {spanned}{scale}; the box is theirs {fixed}. "
        f"The reference point is {REFERENCE:g} in every objective; the value is the dominated share of the box up to it, "
        "by likely true scores, drawn towards what is usual by as much as noise explains. "
        "It belongs to this study and is not comparable with another's."
    )


def hypervolume(
    study: StudyRecord, trials: Sequence[FinalTrial], objectives: Sequence[Objective], noise: SeedNoise
) -> tuple[HypervolumePoint, ...]:
    """The hypervolume after each final trial ended, in order of ending, against time and training spent."""
    if not trials:
        return ()
    box = spanned_box(study, trials, objectives)
    index = {trial.number: i for i, trial in enumerate(trials)}
    order = [index[trial.number] for trial in in_order_of_ending(study, trials)]
    posteriors = [posterior(objective, trials, noise) for objective in objectives]
    rows = _columns(each.of_trials for each in posteriors)[order]
    values = growth(rows, box)
    rng = np.random.default_rng(_SEED)
    count = max(_LEAST_DRAWS, min(_MOST_DRAWS, _WORK // len(rows)))
    draws = np.stack([each.draw(rng, count) for each in posteriors], axis=-1)[:, order]
    again = np.stack([each.measured_again(rng, count) for each in posteriors], axis=-1)[:, order]
    low, high = intervals(values, rows, draws, again, box)
    spent = spent_by(study)
    begun = started_at(study)
    ended = dict(study.timeline)
    points = []
    for place, i in enumerate(order):
        number = trials[i].number
        known = begun is not None and number in ended
        elapsed = (moment(ended[number]) - begun).total_seconds() if known and begun is not None else float(place)
        by_then = spent[number]
        points.append(
            HypervolumePoint(
                trial=number,
                elapsed_s=max(elapsed, 0.0),
                train_s=by_then.seconds,
                search_s=by_then.search_s,
                tokens=by_then.tokens,
                value=float(values[place]),
                low=float(low[place]),
                high=float(high[place]),
            )
        )
    return tuple(points)


def volume_of(rows: Array, box: Box) -> float:
    """The dominated share of the box, given rows (N, K) as compared."""
    return pareto.hypervolume(box.place(rows), box.corner) / box.volume


def lattice(columns: int, count: int) -> Array:
    """Points (Q, K) that fill the unit cube evenly: the R sequence (Roberts 2018), by the positive root of x^(K+1) = x + 1."""
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (columns + 1))
    steps = root ** -np.arange(1.0, columns + 1)
    return (0.5 + np.arange(1, count + 1)[:, None] * steps) % 1.0


def found_points(rows: Array, points: Array) -> NDArray[np.bool_]:
    """Which of the points (Q, K) each of the rows (N, K) dominates or equals (N, Q)."""
    found = np.ones((len(rows), len(points)), dtype=bool)
    for own, others in zip(rows.T, points.T, strict=True):
        found &= own[:, None] <= others
    return found


def region(placed: Array, count: int) -> tuple[Array, float]:
    """A lattice (Q, K) over all that the placed rows (…, K) can dominate up to the corner, and its volume in boxes."""
    lowest = np.minimum(placed.reshape(-1, placed.shape[-1]).min(axis=0), 0.0)
    share = float(np.prod((REFERENCE - lowest) / REFERENCE))
    return lowest + lattice(len(lowest), count) * (REFERENCE - lowest), share


def intervals(values: Array, rows: Array, draws: Array, again: Array, box: Box) -> tuple[Array, Array]:
    """95 % intervals (N,) around the dominated shares `values` (N,) after 1, 2, … of the trials with posterior means `rows`.

    `draws` (B, N, K) are of the true values, `again` (B, N, K) posterior means had the trials been measured again.
    """
    placed, drawn, repeated = (box.place(each) for each in (rows, draws, again))
    points, share = region(np.concatenate([drawn, repeated, placed[None]]), NUM_LATTICE)
    # One lattice for all, so that its own error leaves the differences.
    spread = np.array([grown_shares(one, points) for one in drawn]) * share
    astray = (np.array([grown_shares(one, points) for one in repeated]) - grown_shares(placed, points)) * share
    of_draws = np.quantile(spread - spread.mean(axis=0), _ENDS, axis=0)
    of_estimates = -np.quantile(astray, _ENDS[::-1], axis=0)
    low = np.minimum(np.minimum(of_draws[0], of_estimates[0]), 0.0)
    high = np.maximum(np.maximum(of_draws[1], of_estimates[1]), 0.0)
    return np.maximum(values + low, 0.0), values + high


def grown_shares(rows: Array, points: Array) -> Array:
    """The share (N,) of the points (Q, K) dominated by the first 1, 2, … of the rows (N, K)."""
    found = found_points(rows, points)
    first = np.where(found.any(axis=0), found.argmax(axis=0), len(rows))
    shares: Array = np.cumsum(np.bincount(first, minlength=len(rows) + 1)[:-1]) / len(points)
    return shares


def _columns(columns: Iterable[Array]) -> Array:
    """Columns (N,) side by side (N, K)."""
    return np.stack(list(columns), axis=1)
