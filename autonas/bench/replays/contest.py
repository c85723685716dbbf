"""What was replayed on a table, by searcher and seed; the conditions and the curves that `autonas bench search` gives of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autonas.bench.replays import seeds as over_seeds
from autonas.bench.replays.clairvoyant import clairvoyant
from autonas.bench.replays.contestants import Contestant
from autonas.bench.replays.seeds import Estimate
from autonas.bench.replays.simulation import Regime, Trace
from autonas.bench.tables import Table

ORACLE, BASELINE = "clairvoyant", "size"
_GRID = 40  # budgets at which the curves for plots are given


@dataclass(slots=True, kw_only=True)
class Runs:
    """The replays of one searcher, by seed."""

    contestant: Contestant
    limit: int  # full trainings' worth
    traces: list[Trace] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, trace: Trace, seconds: float) -> None:
        self.traces.append(trace)
        self.seconds += seconds

    def shares(self, budget: float, regime: Regime) -> list[float] | None:
        """By seed; None where a replay had ended before."""
        found = [trace.share_at(budget, regime) for trace in self.traces]
        return None if np.isnan(found).any() else found

    def budgets(self, share: float, regime: Regime) -> list[float]:
        return [trace.budget_to(share, regime) for trace in self.traces]

    def at_least(self, share: float, regime: Regime) -> list[float]:
        """Budgets in which one that was not enough is as large as it was; infinite where nothing was left to try."""
        return [
            trace.ended(regime) if np.isinf(b) and not trace.exhausted else b
            for trace, b in zip(self.traces, self.budgets(share, regime), strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """Everything that was replayed on a table. The first of `samplers` is compared with the others."""

    table: Table
    samplers: tuple[str, ...]
    runs: Mapping[str, Runs]
    missing: Mapping[str, str]  # sampler -> why it was not measured
    budgets: tuple[int, ...]  # full trainings' worth

    @property
    def first(self) -> str:
        return self.samplers[0]

    @property
    def others(self) -> list[str]:
        return [name for name in self.samplers[1:] if name in self.runs]

    @property
    def rivals(self) -> list[str]:
        """Searchers that somebody could use instead: neither the policy with other settings, nor a baseline of the bench."""
        return [name for name in self.others if not self.runs[name].contestant.policy and name != BASELINE]

    @property
    def regimes(self) -> tuple[Regime, ...]:
        """Where every training costs the same and none is stopped, the two are one."""
        return ("trainings", "compute") if self.table.has_costs or self.table.has_curves else ("trainings",)

    @property
    def costly_regime(self) -> Regime:
        """The one in which equal compute is compared."""
        return self.regimes[-1]

    def unit(self, regime: Regime) -> str:
        return "trainings" if regime == "trainings" else self.table.cost_unit

    def budget(self, trainings: float, regime: Regime) -> float:
        return trainings if regime == "trainings" else trainings * self.table.full_cost

    def named(self, trainings: int, regime: Regime) -> str:
        if regime == "trainings":
            return f"{trainings} trainings"
        return f"the compute of {trainings} full trainings ({self.budget(trainings, regime):.4g} {self.table.cost_unit})"


def conditions(contest: Contest, **settings: Any) -> dict[str, Any]:
    """Under which the rows were measured, and the curves for plots."""
    table = contest.table
    return {
        "table": {
            "name": table.name,
            "fingerprint": table.fingerprint,
            "rows": len(table),
            "whole_rows": int(table.whole.sum()),
            "front": len(table.front),
            "objectives": [f"{o.name} ({o.known}{', logarithmic' if o.logarithmic else ''})" for o in table.objectives],
            "steps": table.steps[-1],
            "rungs": list(table.rungs),
            "full_training": table.full_cost,
            "cost_unit": table.cost_unit,
            "notes": list(table.notes),
        },
        **settings,
        "seeds": {name: len(runs.traces) for name, runs in contest.runs.items()},
        "trials": {name: runs.limit for name, runs in contest.runs.items()},
        "seconds_per_replay": {name: runs.seconds / len(runs.traces) for name, runs in contest.runs.items()},
        "flags": {name: _flags(runs.contestant) for name, runs in contest.runs.items()},
        "failed": {name: sum(t.failed for t in runs.traces) for name, runs in contest.runs.items()},
        "curves": {regime: _curves(contest, regime) for regime in contest.regimes},
    }


def _flags(found: Contestant) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in found.versions.items())
    return f"{found.flags} ({versions})" if versions else found.flags


def _curves(contest: Contest, regime: Regime) -> dict[str, Any]:
    """By searcher the median share and its interval over a range of budgets; None where the replays had ended."""
    longest = max((runs.limit for runs in contest.runs.values()), default=1)
    grid = np.geomspace(1.0, longest, _GRID)
    budgets = sorted(
        {float(round(b)) for b in grid} if regime == "trainings" else {contest.budget(float(b), regime) for b in grid}
    )
    oracle = clairvoyant(contest.table, regime)
    return {
        "budgets": budgets,
        ORACLE: [oracle.share_at(budget, regime) for budget in budgets],
        **{name: _curve([runs.shares(budget, regime) for budget in budgets]) for name, runs in contest.runs.items()},
    }


def _curve(shares: Sequence[list[float] | None]) -> dict[str, list[float | None]]:
    estimates = [None if found is None else over_seeds.estimate(found) for found in shares]
    read: Mapping[str, Callable[[Estimate], float]] = {
        "median": lambda e: e.value,
        "low": lambda e: e.low,
        "high": lambda e: e.high,
    }
    return {key: [None if e is None else get(e) for e in estimates] for key, get in read.items()}
