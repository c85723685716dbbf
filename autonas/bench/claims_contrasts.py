"""What trained models say of a claim: contrasts with the training seed as the random unit, and the rule of verdicts. Pure.

A contrast is a signed sum over models that share a seed, and so their data and, at one size, their first weights. Its interval
is Student's over seeds: the luck of a training and of its samples is in it, while the prompts are the same for all. Whether the
difference would be found on other prompts too is what the p-value is about.

Every claim is seen in two views: as the prior system would have measured it, and in fair comparison, where models that are less
sure than they are right are neither punished nor flattered.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from scipy import stats

from autonas.bench.claims_trainings import Result, Treatment
from autonas.bench.statistics import spearman
from autonas.evaluation.intervals import t_quantile
from autonas.evaluation.profile import ProfileRow
from autonas.evaluation.rates import sign_flip_p_value

View = Literal["as_theirs", "fair"]
Verdict = Literal["survives", "does not survive", "reversed", "not told apart"]
VIEWS: Final[tuple[View, ...]] = get_args(View)
BOTH_KINDS: Final = ("few_shot", "bare")
RATES: Final = ("degeneration", "collapse_rate", "collapse_prior")
# What each view is, of rates and of losses.
VIEW_NAMES: Final[Mapping[tuple[str, View], str]] = {
    ("rate", "as_theirs"): "equal temperature",
    ("rate", "fair"): "matched entropy",
    ("loss", "as_theirs"): "raw loss",
    ("loss", "fair"): "calibrated loss",
    ("rank", "as_theirs"): "smoothed loss, equal temperature",
    ("rank", "fair"): "calibrated loss, matched entropy",
}
_PRIOR_PROMPTS: Final = 11  # few-shot; they come first among the embedded ones
_POWER: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A finding of the prior system as something that can be tested.

    The contrast is claimed to be above `threshold` where `direction` is 1, below minus it where -1. An effect that is shown to
    be less than `least` that way is not what was claimed.
    """

    name: str
    statement: str
    contrast: str  # in CONTRASTS, or "rank" or "luck"
    direction: Literal[1, -1]
    metric: str = "degeneration"  # or "loss"
    kinds: tuple[str, ...] = BOTH_KINDS
    threshold: float = 0.0
    least: float = 0.05  # of a share of samples, or in nats
    has_opposite: bool = True  # the contrary is a finding too


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A contrast with its 95 % interval over seeds."""

    value: float
    low: float
    high: float
    smallest: float  # that would have been told from 0 in four of five such experiments
    by_seed: tuple[float, ...]
    comparisons: int  # behind it
    p_value: float | None = None  # of no difference, by the sign-flip test over prompts


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A claim with what was found in each view, and what that says. An estimate is None where nothing could be compared."""

    claim: Claim
    views: Mapping[View, Estimate | None]
    lost: Estimate | None  # the first view less twice the second, by seed: whether more than half of it is gone there
    verdict: Verdict
    reason: str


Cell = tuple[int, bool, bool]  # size, smoothing, dropout
Term = tuple[int, Cell, int]  # sign, model, and which prompts: +1 bare, -1 few-shot, 0 the claim's
Comparison = tuple[Term, ...]


def _smoothing(size: int) -> list[Comparison]:
    return [((1, (s, True, d), 0), (-1, (s, False, d), 0)) for s in range(size) for d in (False, True)]


def _dropout(size: int) -> list[Comparison]:
    return [((1, (s, e, True), 0), (-1, (s, e, False), 0)) for s in range(size) for e in (False, True)]


def _strong(size: int) -> list[Comparison]:
    return [((1, (s, True, True), 0), (-1, (s, False, False), 0)) for s in range(size)]


def _together(size: int) -> list[Comparison]:
    """Both, less what each does alone."""
    return [tuple((1 if e == d else -1, (s, e, d), 0) for e in (False, True) for d in (False, True)) for s in range(size)]


def _large(size: int) -> list[Comparison]:
    return [((1, (size - 1, e, d), 0), (-1, (0, e, d), 0)) for e in (False, True) for d in (False, True)]


def _strong_by_size(size: int) -> list[Comparison]:
    large, small = _strong(size)[-1], _strong(size)[0]
    return [(*large, *((-sign, cell, kind) for sign, cell, kind in small))]


def _bare(size: int) -> list[Comparison]:
    cells = itertools.product(range(size), (False, True), (False, True))
    return [((1, cell, 1), (-1, cell, -1)) for cell in cells]


def _bare_strong(size: int) -> list[Comparison]:
    return [((1, (s, True, True), 1), (-1, (s, True, True), -1)) for s in range(size)]


# Each makes, for so many sizes, the comparisons of one seed whose mean is the contrast.
CONTRASTS: Final[Mapping[str, Callable[[int], list[Comparison]]]] = {
    "smoothing - none": _smoothing,
    "dropout - none": _dropout,
    "both - neither": _strong,
    "both beyond the sum": _together,
    "large - small": _large,
    "both - neither, large - small": _strong_by_size,
    "bare - few-shot": _bare,
    "bare - few-shot, both": _bare_strong,
}


def judge(claim: Claim, results: Sequence[Result]) -> Judged:
    """What the results say of a claim."""
    views: dict[View, Estimate | None] = {view: estimate(claim, results, view) for view in VIEWS}
    theirs, fair = views["as_theirs"], views["fair"]
    lost = None
    if theirs is not None and fair is not None and len(theirs.by_seed) == len(fair.by_seed) > 1:
        values = [first - 2 * second for first, second in zip(theirs.by_seed, fair.by_seed, strict=True)]
        lost = over_seeds(values, comparisons=fair.comparisons)
    verdict, reason = decide(claim, theirs, fair, lost)
    return Judged(claim=claim, views=views, lost=lost, verdict=verdict, reason=reason)


def decide(claim: Claim, theirs: Estimate | None, fair: Estimate | None, lost: Estimate | None) -> tuple[Verdict, str]:
    """The rule. Ends of 95 % intervals are read in the claimed direction, and the fair view decides.

    survives: in both views the interval lies beyond the threshold. reversed: in the fair view it lies beyond 0 the other way.
    does not survive: the fair interval leaves no room for an effect as large as was claimed; or the claim is told in their
    view and not in the fair one, and so is that more than half of it is lost there. Everything else is not told apart.
    """
    if theirs is None or fair is None:
        return "not told apart", "too few seeds came to their end"
    low, high = _turned(claim, fair)
    told_theirs, told_fair = _turned(claim, theirs)[0] > claim.threshold, low > claim.threshold
    if told_theirs and told_fair:
        return "survives", "told in both views"
    if high < 0 and claim.has_opposite:
        return "reversed", "the contrary is told in the fair view" + (
            ", though their view tells the claim" if told_theirs else ""
        )
    room = claim.threshold or claim.least
    if high < room or high < 0:
        return "does not survive", f"the fair view leaves no room for {f'an effect of {room:g}' if room else 'it'}"
    if told_theirs and lost is not None and _turned(claim, lost)[0] > 0:
        return "does not survive", "told in their view alone, and most of it is lost in the fair one"
    told = "in their view alone" if told_theirs else "in the fair view alone" if told_fair else "in neither view"
    return "not told apart", f"told {told}"


def _turned(claim: Claim, found: Estimate) -> tuple[float, float]:
    """The interval, so that larger is more of what is claimed."""
    return (found.low, found.high) if claim.direction == 1 else (-found.high, -found.low)


def estimate(claim: Claim, results: Sequence[Result], view: View, metric: str | None = None) -> Estimate | None:
    """The claim's contrast in one view; None with fewer than two seeds. Another `metric` stands instead of the claim's."""
    metric = metric or claim.metric
    models = {_key(result.treatment): result for result in results if not result.failure}
    seeds = sorted({treatment.seed for treatment in (result.treatment for result in results)})
    if claim.contrast == "rank":
        correlations = [_rank(claim, [m for (_, seed), m in models.items() if seed == each], view, metric) for each in seeds]
        known = [value for value in correlations if value is not None]
        return None if len(known) < 2 else _bounded(over_seeds(known, comparisons=len(known)), 1.0)
    if claim.contrast == "luck":
        return _luck(list(models.values()), view, metric)
    size = 1 + max((result.treatment.size for result in results), default=0)
    values, used = [], []
    for seed in seeds:
        whole = [
            [(sign, models[cell, seed], kind) for sign, cell, kind in comparison]
            for comparison in CONTRASTS[claim.contrast](size)
            if all((cell, seed) in models for _, cell, _ in comparison)
        ]
        if whole:
            values.append(float(np.mean([_sum(claim, terms, view, metric) for terms in whole])))
            used += whole
    if len(values) < 2:
        return None
    least_reach = 0.0 if metric == "loss" else 1 / _prompts(claim, used[0], view, metric)
    found = over_seeds(values, least_reach=least_reach, comparisons=len(used))
    if metric == "loss":
        return found
    paired = all(kind == 0 for terms in used for _, _, kind in terms)
    return _bounded(found, 2.0, None if not paired else _over_prompts(claim, used, view, metric))


def over_seeds(values: Sequence[float], *, least_reach: float = 0.0, comparisons: int) -> Estimate:
    """The mean over n seeds, and Student's interval with n - 1 degrees of freedom, at least so wide to both sides.

    The smallest effect told in four of five experiments is (t.975 + t.80) standard errors (as Fleiss 1981, with t for z).
    """
    count = len(values)
    assert count > 1, "one seed tells nothing of others"
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    value, reach = float(np.mean(values)), max(t_quantile(count - 1) * error, least_reach)
    smallest = max((t_quantile(count - 1) + float(stats.t.ppf(_POWER, count - 1))) * error, least_reach)
    return Estimate(
        value=value, low=value - reach, high=value + reach, smallest=smallest, by_seed=tuple(values), comparisons=comparisons
    )


def _bounded(found: Estimate, most: float, p_value: float | None = None) -> Estimate:
    return Estimate(
        value=found.value,
        low=max(found.low, -most),
        high=min(found.high, most),
        smallest=found.smallest,
        by_seed=found.by_seed,
        comparisons=found.comparisons,
        p_value=p_value,
    )


def _key(treatment: Treatment) -> tuple[Cell, int]:
    return (treatment.size, treatment.smoothing, treatment.dropout), treatment.seed


Terms = Sequence[tuple[int, Result, int]]


def _sum(claim: Claim, terms: Terms, view: View, metric: str) -> float:
    return math.fsum(sign * value_of(result, metric, _kinds(claim, kind), view) for sign, result, kind in terms)


def _kinds(claim: Claim, kind: int) -> tuple[str, ...]:
    return claim.kinds if kind == 0 else ("bare",) if kind == 1 else ("few_shot",)


def value_of(result: Result, metric: str, kinds: Iterable[str], view: View) -> float:
    """A model's rate, its kinds of prompts pooled equally; or for "loss" its validation loss in nats per token."""
    if metric == "loss":
        assert result.calibration is not None
        return (result.calibration.raw if view == "as_theirs" else result.calibration.calibrated).value
    return float(np.mean([row.rates[metric].value for row in _rows(result, kinds, view)]))


def _rows(result: Result, kinds: Iterable[str], view: View) -> list[ProfileRow]:
    matched = view == "fair"
    return [
        row for kind in kinds for row in result.rows if row.prompts == kind and (row.matched_entropy is not None) == matched
    ]


def _hits(result: Result, kinds: Iterable[str], view: View, metric: str) -> list[str]:
    return [hits for row in _rows(result, kinds, view) for hits in row.hits[metric]]


def _prompts(claim: Claim, terms: Terms, view: View, metric: str) -> int:
    _, result, kind = terms[0]
    return len(_hits(result, _kinds(claim, kind), view, metric))


def _over_prompts(claim: Claim, used: Sequence[Terms], view: View, metric: str) -> float:
    """Were treatments alike, each prompt's difference over all models would be as likely to have the other sign."""
    sums = [
        sign * np.array([hits.count("1") for hits in _hits(result, claim.kinds, view, metric)])
        for terms in used
        for sign, result, _ in terms
    ]
    return sign_flip_p_value(np.sum(sums, axis=0).tolist())


def _rank(claim: Claim, models: Sequence[Result], view: View, metric: str) -> float | None:
    """Spearman's correlation over one seed's models of their losses and their rates; None where one of the two never varies."""
    rates = [value_of(model, metric, claim.kinds, view) for model in models]
    losses = [_reported(model) if view == "as_theirs" else value_of(model, "loss", (), view) for model in models]
    return spearman(losses, rates) if len(set(rates)) > 1 and len(set(losses)) > 1 else None


def _reported(model: Result) -> float:
    assert model.smoothed_loss is not None
    return model.smoothed_loss


def _luck(models: Sequence[Result], view: View, metric: str) -> Estimate | None:
    """What is left of a difference of 5 points by the prior protocol beside what two trainings alike differ by.

    That is 1.96 √2 standard deviations over seeds of the rate on the prior system's eleven few-shot prompts, pooled over
    treatments; its interval is that of χ². Of fewer samples of a prompt than its five the rate is a little noisier.
    """
    groups: dict[Cell, list[float]] = {}
    for model in models:
        hits = "".join(_hits(model, ("few_shot",), view, metric)[:_PRIOR_PROMPTS])
        groups.setdefault(_key(model.treatment)[0], []).append(hits.count("1") / len(hits))
    several = [np.array(rates) for rates in groups.values() if len(rates) > 1]
    freedom = sum(len(rates) - 1 for rates in several)
    if not freedom:
        return None
    squares = sum(float(((rates - rates.mean()) ** 2).sum()) for rates in several)
    reach, five = 1.96 * math.sqrt(2), 0.05
    value = five - reach * math.sqrt(squares / freedom)
    low = five - reach * math.sqrt(squares / float(stats.chi2.ppf(0.025, freedom)))
    high = five - reach * math.sqrt(squares / float(stats.chi2.ppf(0.975, freedom)))
    return Estimate(value=value, low=low, high=high, smallest=value - low, by_seed=(), comparisons=freedom)
