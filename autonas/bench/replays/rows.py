"""What replays say, as the rows of `autonas bench search`: shares at budgets, budgets to shares, and the first searcher beside
each of the others. Nothing is replayed here.
"""

from __future__ import annotations

import numpy as np

from autonas.bench import Row, not_measured
from autonas.bench.replays import seeds as over_seeds
from autonas.bench.replays.clairvoyant import clairvoyant
from autonas.bench.replays.contest import ORACLE, Contest, Runs
from autonas.bench.replays.contestants import OURS
from autonas.bench.replays.seeds import Estimate
from autonas.bench.replays.simulation import Regime, Trace
from autonas.bench.table_spec import Goal

SHARES = (0.90, 0.95, 0.99)
_SHARE = "share of the hypervolume"
# Goals that hold on every table: S2, S4 and S6.
_GAP_GOAL, _GAP_PEERS = 0.5, ("nsgaii", "nsgaii-16", "gp", "moasha")
_EQUAL_GOAL = 0.98


def rows(contest: Contest) -> list[Row]:
    """Every figure, the clairvoyant's beside it."""
    oracles = {regime: clairvoyant(contest.table, regime) for regime in contest.regimes}
    found: list[Row] = []
    for name in contest.samplers:
        if name in contest.missing:
            found.append(
                not_measured(f"{name}: replays", contest.missing[name], peer_name=None if name == contest.first else name)
            )
            continue
        for regime in contest.regimes:
            found += _own(contest, name, regime, oracles[regime])
        found.append(_duplicates(contest, name))
    if contest.first in contest.runs:
        for regime in contest.regimes:
            found += _ratios(contest, regime, oracles[regime])
        found += _gap(contest, oracles[contest.costly_regime])
        found += _equal_compute(contest, oracles[contest.costly_regime])
    return found + _goals_without_rows(contest)


def _own(contest: Contest, name: str, regime: Regime, oracle: Trace) -> list[Row]:
    """Of one searcher: shares at budgets, and budgets to shares."""
    runs = contest.runs[name]
    found = []
    for trainings in contest.budgets:
        budget = contest.budget(trainings, regime)
        shares = runs.shares(budget, regime)
        metric = f"{name}: share at {contest.named(trainings, regime)}"
        if shares is None:
            found.append(not_measured(metric, f"its replays end at {runs.limit} trainings' worth; see --trials", unit=_SHARE))
            continue
        value = over_seeds.estimate(shares)
        row = _estimated(metric, _SHARE, value, peer=oracle.share_at(budget, regime), note=_seeds(len(shares)))
        found.append(row)
    return found + [_budget_row(contest, name, share, regime, oracle) for share in SHARES]


def _budget_row(contest: Contest, name: str, share: float, regime: Regime, oracle: Trace) -> Row:
    runs, metric = contest.runs[name], f"{name}: {_to(share, regime)}"
    budgets, goal = runs.budgets(share, regime), _own_goal(contest, name, share, regime)
    short = int(np.isinf(budgets).sum())
    value, note = over_seeds.estimate(budgets), _seeds(len(budgets))
    if short:
        note += f"; {short} of {len(budgets)} had not got there when they ended"
    if np.isinf(value.value):
        least = float(over_seeds.median(np.array(runs.at_least(share, regime))))
        if np.isinf(least):
            return not_measured(metric, f"never: nothing was left to try; {note}", goal=goal, unit=contest.unit(regime))
        return not_measured(metric, f"more than {least:.4g}: {note}", goal=goal, unit=contest.unit(regime))
    met = None if goal is None else value.value <= goal
    return _estimated(metric, contest.unit(regime), value, peer=oracle.budget_to(share, regime), goal=goal, met=met, note=note)


def _duplicates(contest: Contest, name: str) -> Row:
    """S6. What is proposed again is counted, whether or not the peer was spared its training."""
    traces = contest.runs[name].traces
    count, asked = sum(t.duplicates for t in traces), sum(t.proposals for t in traces)
    goal = 0.0 if name == contest.first else None
    return Row(
        metric=f"{name}: exact duplicates proposed",
        unit="proposals",
        ours=float(count),
        goal=goal,
        met=None if goal is None else count == 0,
        note=f"of {asked:,} proposals",
    )


def _ratios(contest: Contest, regime: Regime, oracle: Trace) -> list[Row]:
    """How many times the first searcher's budget each other one needs; at least so, where one had not got there."""
    found = []
    for share in SHARES:
        for name in contest.others:
            ours, theirs = _paired(contest, name)
            goal = _goal_against(contest, name, share, regime)
            metric = _to(share, regime)
            mine = over_seeds.median(np.array(ours.budgets(share, regime)))
            if np.isinf(mine):
                reason = f"{contest.first} had not got there when more than half of its replays ended"
                found.append(not_measured(metric, reason, peer_name=name, goal=goal, unit=contest.unit(regime)))
                continue
            budgets = theirs.budgets(share, regime)
            # What was not enough stands for what would have been: the ratio is then a lower bound.
            least = theirs.at_least(share, regime)
            if np.isinf(over_seeds.median(np.array(least))):
                reason = f"{name} never got there: most of its replays had nothing left to try"
                found.append(not_measured(metric, reason, peer_name=name, unit=contest.unit(regime)))
                continue
            value = over_seeds.ratio(ours.budgets(share, regime), least)
            short = int(np.isinf(budgets).sum())
            note = f"{ORACLE}: {oracle.budget_to(share, regime):.4g}; {_seeds(len(budgets))}"
            note += f"; at least so, since {short} of its replays had not got there when they ended" if short else ""
            found.append(
                Row(
                    metric=metric,
                    unit=contest.unit(regime),
                    ours=float(mine),
                    peer=float(over_seeds.median(np.array(least))),
                    peer_name=name,
                    ratio=value.value,
                    low=value.low,
                    high=_finite(value.high),
                    goal=goal,
                    met=None if goal is None else value.value >= goal,
                    note=note,
                )
            )
    return found


def _gap(contest: Contest, oracle: Trace) -> list[Row]:
    """S2: of the way from the best of the strong peers to the clairvoyant, on a logarithmic scale."""
    regime, found = contest.costly_regime, []
    for share in SHARES:
        names = [name for name in contest.rivals if name in _GAP_PEERS]
        if not names:
            continue
        medians = {name: float(over_seeds.median(np.array(contest.runs[name].at_least(share, regime)))) for name in names}
        best = min(names, key=lambda name: medians[name])
        if np.isinf(medians[best]):
            reason = "no peer ever got there: most of their replays had nothing left to try"
            found.append(not_measured(f"gap to the clairvoyant closed, {_to(share, regime)}", reason))
            continue
        ours, theirs = _paired(contest, best)
        goal = _GAP_GOAL if share == 0.95 and contest.first == OURS else None
        value = over_seeds.gap_closed(
            ours.budgets(share, regime), theirs.at_least(share, regime), oracle.budget_to(share, regime)
        )
        metric = f"gap to the clairvoyant closed, {_to(share, regime)}"
        if not np.isfinite(value.value):
            reason = f"{contest.first} had not got there when more than half of its replays ended"
            found.append(not_measured(metric, reason, peer_name=best, goal=goal))
            continue
        note = f"{best}: {medians[best]:.4g} {contest.unit(regime)}, {ORACLE}: {oracle.budget_to(share, regime):.4g}"
        if np.isinf(over_seeds.median(np.array(theirs.budgets(share, regime)))):
            note += f"; at least so, since {best} had not got there when most of its replays ended"
        found.append(
            Row(
                metric=metric,
                unit="share of the way, logarithmic",
                ours=value.value,
                low=_finite(value.low),
                high=_finite(value.high),
                peer_name=best,
                goal=goal,
                met=None if goal is None else value.value >= goal,
                note=note,
            )
        )
    return found


def _equal_compute(contest: Contest, oracle: Trace) -> list[Row]:
    """S4: mean hypervolume at equal compute over that of the best peer, and of each."""
    regime, found = contest.costly_regime, []
    for trainings in contest.budgets:
        budget = contest.budget(trainings, regime)
        at = {name: contest.runs[name].shares(budget, regime) for name in [contest.first, *contest.others]}
        mine = at[contest.first]
        rivals = {name: float(np.mean(shares)) for name in contest.rivals if (shares := at[name]) is not None}
        best = max(rivals, key=lambda name: rivals[name], default=None)
        for name in contest.others:
            theirs, metric = at[name], f"mean share at {contest.named(trainings, regime)}"
            if mine is None or theirs is None:
                short = contest.first if mine is None else name
                found.append(not_measured(metric, f"the replays of {short} end before", peer_name=name, unit=_SHARE))
                continue
            count = min(len(mine), len(theirs))
            value = over_seeds.ratio(theirs[:count], mine[:count], over_seeds.mean)
            if np.isinf(value.value):
                found.append(not_measured(metric, f"{name} has found nothing by then", peer_name=name, unit=_SHARE))
                continue
            goal = _EQUAL_GOAL if name == best and contest.first == OURS else None
            found.append(
                Row(
                    metric=metric,
                    unit=_SHARE,
                    ours=float(np.mean(mine[:count])),
                    peer=float(np.mean(theirs[:count])),
                    peer_name=name,
                    ratio=value.value,
                    low=_finite(value.low),
                    high=_finite(value.high),
                    goal=goal,
                    met=None if goal is None else value.low >= goal,
                    note=f"{ORACLE}: {oracle.share_at(budget, regime):.3f}; {_seeds(count)}"
                    + ("; the goal is of the lower bound" if goal else ""),
                )
            )
    return found


def _paired(contest: Contest, name: str) -> tuple[Runs, Runs]:
    """The first searcher's and another one's replays with the seeds that both have."""
    ours, theirs = contest.runs[contest.first], contest.runs[name]
    count = min(len(ours.traces), len(theirs.traces))
    return (
        Runs(contestant=ours.contestant, limit=ours.limit, traces=ours.traces[:count]),
        Runs(contestant=theirs.contestant, limit=theirs.limit, traces=theirs.traces[:count]),
    )


def _own_goal(contest: Contest, name: str, share: float, regime: Regime) -> float | None:
    if name != contest.first or contest.first != OURS:
        return None
    return next((goal.most for goal in contest.table.goals if _is(goal, share, regime) and goal.against is None), None)


def _goal_against(contest: Contest, name: str, share: float, regime: Regime) -> float | None:
    if contest.first != OURS:
        return None
    return next((goal.least for goal in contest.table.goals if _is(goal, share, regime) and goal.against == name), None)


def _is(goal: Goal, share: float, regime: Regime) -> bool:
    return abs(goal.share - share) < 1e-9 and goal.regime == regime


def _goals_without_rows(contest: Contest) -> list[Row]:
    """Goals of the table's spec against searchers that were not asked for."""
    return [
        not_measured(_to(goal.share, goal.regime), "it was not among --samplers", peer_name=goal.against, goal=goal.least)
        for goal in contest.table.goals
        if goal.against is not None and goal.against not in contest.runs and contest.first == OURS
    ]


def _estimated(
    metric: str,
    unit: str,
    value: Estimate,
    *,
    peer: float,
    goal: float | None = None,
    met: bool | None = None,
    note: str = "",
) -> Row:
    return Row(
        metric=metric,
        unit=unit,
        ours=value.value,
        low=_finite(value.low),
        high=_finite(value.high),
        peer=_finite(peer),
        peer_name=ORACLE,
        goal=goal,
        met=met,
        note=note,
    )


def _finite(value: float) -> float | None:
    """JSON knows no infinity: an interval without an end has none."""
    return value if np.isfinite(value) else None


def _to(share: float, regime: Regime) -> str:
    return f"{regime} to {share:.0%} of the hypervolume"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' if count > 1 else ''}"
