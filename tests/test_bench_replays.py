"""Searches replayed in virtual time: the policy as it is, peers beside it, and the clairvoyant."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autonas import pareto
from autonas.bench import Row
from autonas.bench.replays import contestants
from autonas.bench.replays.clairvoyant import clairvoyant
from autonas.bench.replays.contestants import Arena, contestant, policy_settings, spread_over_sizes
from autonas.bench.replays.loops import drive
from autonas.bench.replays.optuna_peers import OptunaPeer
from autonas.bench.replays.replay import Replay, replay
from autonas.bench.replays.screened import Proposed
from autonas.bench.replays.simulation import Limit, Simulation
from autonas.bench.search import measure
from autonas.bench.table_file import read_table
from autonas.bench.tables import CORNER, Table, TableProblem
from autonas.errors import RequestError
from autonas.policy.policy import Policy
from autonas.policy.settings import SearchSettings
from autonas.trial import StudyRecord
from tests.tables import SPEC, curves_of, finished, write_lines, write_table, write_table_with_curves

KEYS = {field.name for field in dataclasses.fields(Row)}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return read_table(*write_table(tmp_path_factory.mktemp("table")))


@pytest.fixture(scope="module")
def curved(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """With learning curves, and two trainings that fail."""
    folder = tmp_path_factory.mktemp("curved")
    files = write_table_with_curves(folder)
    lines = [line for line in curves_of(finished()) if line["name"] not in ("t3", "t8") or line["epoch"] <= 4]
    write_lines(folder / "curves.csv", lines)
    return read_table(*files)


def with_rungs(table: Table, sampler: Any = "random", seed: int = 0) -> SearchSettings:
    """Halving over the table's rungs, with a sampler that takes no time."""
    return SearchSettings(trials=len(table), rungs=table.rungs, repeats=0, sampler=sampler, scheduler="pareto", seed=seed)


def share_of(table: Table, rows: Sequence[int]) -> float:
    """Of the table's hypervolume, by the plain function."""
    return pareto.hypervolume(table.points[list(rows)], [CORNER] * len(table.objectives)) / table.volume


# The policy


def test_what_is_replayed_is_the_policy_that_searches(table: Table) -> None:
    replayed = Replay(TableProblem(table), policy_settings("random+full", table, 0), 1)
    assert type(replayed.policy) is Policy and Policy.__module__ == "autonas.policy.policy"
    settings = policy_settings("autonas", table, 3)
    # Its own defaults: what is set is how long the study may be, and that a table has no second seeds.
    assert settings == SearchSettings(trials=len(table), rungs=table.rungs, tokens=settings.tokens, repeats=0, seed=3)
    assert settings.tokens is not None and settings.tokens > len(table) * table.rungs[-1]


@pytest.mark.parametrize("workers", [1, 4])
def test_what_is_paid_is_what_the_table_says_of_what_was_trained(curved: Table, workers: int) -> None:
    replayed = Replay(TableProblem(curved), with_rungs(curved), workers)
    trace = replayed.run(Limit(trainings=10_000))
    assert trace.exhausted and sorted(trace.tried) == list(range(40))
    paid = 0.0
    for trial in replayed.study.trials:
        row = int(trial.params["(row)"])
        if trial.state == "failed":
            paid += curved.ruin[row]
        else:
            step = curved.steps.index(trial.rungs[-1].tokens)
            paid += curved.spent[row, step]
            seconds = sum(outcome.seconds for outcome in trial.rungs)  # a full training is said to take an hour or so
            assert seconds == pytest.approx(4096.0 * curved.spent[row, step] / curved.full_cost)
            assert sum(outcome.new_tokens for outcome in trial.rungs) == trial.rungs[-1].tokens
    assert trace.ended_spent == pytest.approx(paid)
    assert paid < curved.spent[curved.whole, -1].sum()  # some were stopped early
    assert trace.elapsed[-1] <= trace.spent[-1] + 1e-9 and (workers > 1) == (trace.elapsed[-1] < trace.spent[-1] - 1e-6)


@pytest.mark.parametrize("workers", [1, 4])
def test_only_trials_that_were_trained_to_the_end_count(curved: Table, workers: int) -> None:
    trace = replay(TableProblem(curved), with_rungs(curved), workers=workers, limit=Limit(trainings=10_000))
    assert trace.finished and not {3, 8} & set(trace.finished) and trace.failed <= 2
    for index, share in enumerate(trace.shares):
        assert share == pytest.approx(share_of(curved, trace.finished[: index + 1]))
    assert list(trace.spent) == sorted(trace.spent) and list(trace.begun) == sorted(trace.begun)


class Watched(Replay):
    """A replay that keeps every record which the policy was shown."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.shown: list[tuple[float, StudyRecord]] = []

    @property
    def study(self) -> StudyRecord:
        record = super().study
        self.shown.append((self.simulation.now, record))
        return record


def test_where_zero_lies_changes_nothing_of_what_is_known_exactly(table: Table) -> None:
    """A linear score that is maximised is negative: gains must not end at zero there."""
    cheap = next(i for i, objective in enumerate(table.objectives) if objective.known == "arithmetic")
    objectives = list(table.objectives)
    objectives[cheap] = dataclasses.replace(objectives[cheap], log=False)
    tried = []
    for offset in (0.0, 3.0):
        scores = table.scores.copy()
        low, high = scores[..., cheap].min(), scores[..., cheap].max()
        scores[..., cheap] = (scores[..., cheap] - low) / (high - low) - offset
        moved = dataclasses.replace(table, objectives=tuple(objectives), scores=scores)
        tried.append(Arena(moved).run("autonas", 0, Limit(trainings=12)).tried)
    assert tried[0] == tried[1]


@pytest.mark.parametrize("hide_cheap", [False, True])
def test_the_policy_is_told_nothing_that_is_not_known_yet(curved: Table, hide_cheap: bool) -> None:
    shown = curved.with_cheap_hidden() if hide_cheap else curved
    replayed = Watched(TableProblem(shown), with_rungs(shown), 3)
    replayed.run(Limit(trainings=10_000))
    ends: dict[tuple[int, int], float] = {}
    for now, record in replayed.shown:
        assert record.recipe == {} and record.attributes == {}
        for trial in record.trials:
            row = int(trial.params["(row)"])
            assert {name: score.value for name, score in trial.scores.items()} == pytest.approx(
                {"params": curved.scores[row, -1, 1], "speed": curved.scores[row, -1, 2]}
            )
            for outcome in trial.rungs:
                step = curved.steps.index(outcome.tokens)
                assert set(outcome.scores) == {"val_loss"}
                assert outcome.scores["val_loss"].value == curved.scores[row, step, 0]
                ends.setdefault((trial.number, outcome.rung), now)
                # It has taken at least as long as the training to there costs.
                assert now >= curved.spent[row, step] - 1e-9
    assert len(set(ends.values())) > 10


def test_a_record_of_a_trial_stays_the_same_object_until_it_changes(curved: Table) -> None:
    replayed = Watched(TableProblem(curved), with_rungs(curved), 2)
    replayed.run(Limit(trainings=10_000))
    for (_, before), (_, after) in itertools.pairwise(replayed.shown):
        changed = [a for a, b in zip(after.trials, before.trials, strict=False) if a is not b]
        assert len(changed) <= 1 and all(a != before.trials[a.number] for a in changed)


@pytest.mark.parametrize("name", ["autonas", "random+rungs"])
def test_the_same_seed_gives_the_same_trace(curved: Table, name: str) -> None:
    traces = [Arena(curved).run(name, seed, Limit(trainings=5)) for seed in (1, 1, 2)]
    assert traces[0] == traces[1] and traces[0].tried != traces[2].tried


def test_a_preference_for_what_does_not_differ_prefers_nothing(tmp_path: Path) -> None:
    lines = [{**line, "flat": 5.0} for line in finished()]
    objectives = {**SPEC["objectives"], "flat": {"direction": "minimize", "scale": "linear", "costly": False}}
    table = read_table(*write_table(tmp_path, lines, objectives=objectives))
    traces = []
    for preference in ({}, {"flat": 1.0}, {"val_loss": 1.0}):
        arena = Arena(table)
        arena.policys.preference = preference
        traces.append(arena.run("autonas", 0, Limit(trainings=20)))
    assert traces[0] == traces[1] and traces[0].tried != traces[2].tried


def test_workers_do_not_wait_for_each_other(curved: Table) -> None:
    """A rung is no barrier: some trial is at the end before others have begun."""
    trace = replay(TableProblem(curved), with_rungs(curved), workers=3, limit=Limit(trainings=10_000))
    assert trace.begun[0] < 40
    few = replay(TableProblem(curved), with_rungs(curved), workers=3, limit=Limit(trainings=2))
    assert few.ended_spent >= 2 * curved.full_cost * (1 - 1e-9) and few.ended_begun < 40
    assert few.tried == trace.tried[: few.ended_begun]  # a limit cuts off, and changes nothing before


SCALE = """
import json, resource, sys
from pathlib import Path
from autonas.bench.replays.contestants import Arena
from autonas.bench.replays.simulation import Limit
from autonas.bench.table_file import read_table

table = read_table(Path(sys.argv[1]), Path(sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
trace = Arena(table, workers=1000).run("autonas", 0, Limit(trainings=10**6))
late = next(i for i, begun in enumerate(trace.begun) if begun >= 9000)  # later there is too little left for all of them
print(json.dumps({
    "kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
    "tried": len(trace.tried), "distinct": len(set(trace.tried)), "duplicates": trace.duplicates,
    "share": trace.shares[-1], "busy": trace.spent[late] / (1000 * trace.elapsed[late]),
    "to_99": trace.budget_to(0.99, "compute") / trace.ended_spent, "all": float(table.spent[:, -1].sum() / trace.ended_spent),
}))
"""


@pytest.mark.slow
def test_ten_thousand_trials_on_a_thousand_workers(tmp_path: Path) -> None:
    """In a process of its own, whose memory is its own too; minutes of it."""
    files = write_table_with_curves(tmp_path, finished(10_000))
    done = subprocess.run([sys.executable, "-c", SCALE, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tried"] == found["distinct"] == 10_000 and found["duplicates"] == 0
    assert found["kib"] < 1024**2, "the memory of a study grows with its trials alone"
    assert found["share"] > 0.999 and found["to_99"] < 0.6
    assert found["busy"] > 0.9, "workers have waited for one another"
    assert found["all"] > 1.2, "hopeless trials are not trained to their ends"


@pytest.mark.parametrize("workers", [1, 7])
def test_what_is_spent_counts_trainings_under_way(table: Table, workers: int) -> None:
    simulation = Simulation(table, workers)
    costs = table.spent[:, -1]
    for row in range(workers):
        simulation.begin(row)
        simulation.start(row, row, 0)
    first = simulation.wait()
    assert first.row == int(np.argmin(costs[:workers])) and simulation.now == pytest.approx(costs[first.row])
    assert simulation.spent == pytest.approx(workers * simulation.now)
    assert simulation.trace(duplicates=0, proposals=0, exhausted=False).begun == (workers,)


# Peers


class Script:
    """Proposes rows in an order that the test gives, over and over."""

    watches = False
    patience = 7

    def __init__(self, rows: Sequence[int]) -> None:
        self.rows = itertools.cycle(rows)
        self.told: list[tuple[int, bool]] = []
        self.drawn: list[int] = []

    def ask(self) -> tuple[Any, Mapping[str, Any]]:
        return None, {"(row)": next(self.rows)}

    def tell(self, token: Any, row: int, scores: Sequence[float] | None, *, drawn: bool = False) -> None:
        self.told.append((row, scores is not None))
        self.drawn += [row] if drawn else []

    def goes_on(self, token: Any, step: int, scores: Sequence[float]) -> bool:
        raise AssertionError


def test_duplicates_cost_nothing_and_after_many_a_new_row_is_drawn(table: Table) -> None:
    peer = Script([5, 6])
    trace = drive(TableProblem(table), peer, seed=0, workers=1, limit=Limit(trainings=4))
    assert trace.tried[:2] == (5, 6) and len(set(trace.tried)) == len(trace.tried)
    new = len(trace.tried) - 2
    assert trace.duplicates == new * (Script.patience + 1) and trace.proposals == 2 + trace.duplicates
    assert peer.drawn == list(trace.tried[2:])
    assert trace.ended_spent == pytest.approx(table.spent[list(trace.tried), -1].sum())
    assert peer.told[:4] == [(5, True), (6, True), (5, True), (6, True)]  # what is known is told again


def test_a_peer_goes_on_until_nothing_is_left(table: Table) -> None:
    trace = drive(TableProblem(table), Script(range(40)), seed=0, workers=3, limit=Limit(trainings=10_000))
    assert trace.exhausted and sorted(trace.finished) == list(range(40)) and trace.shares[-1] == pytest.approx(1.0)
    assert trace.share_at(1e9, "compute") == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["tpe", "nsgaii", "nsgaii-16", "random", "size"])
def test_peers_search_and_repeat_themselves_with_the_seed(table: Table, name: str) -> None:
    traces = [Arena(table).run(name, seed, Limit(trainings=18)) for seed in (0, 0, 1)]
    assert traces[0] == traces[1] and traces[0].tried != traces[2].tried
    assert len(traces[0].tried) >= 18 and len(set(traces[0].tried)) == len(traces[0].tried)


def test_failed_trainings_reach_a_peer_as_failures(curved: Table) -> None:
    peer = Script(range(40))
    drive(TableProblem(curved), peer, seed=0, workers=1, limit=Limit(trainings=10_000))
    assert [row for row, scored in peer.told if not scored] == [3, 8]


@pytest.mark.slow
def test_gaussian_processes_take_part(table: Table) -> None:
    trace = Arena(table).run("gp", 0, Limit(trainings=12))
    assert len(set(trace.tried)) >= 12 and trace.shares[-1] > 0.5


def test_moasha_stops_trials_and_leaves_the_global_generator_alone(curved: Table) -> None:
    pytest.importorskip("syne_tune")
    state = np.random.get_state()[1].tolist()  # type: ignore[index]
    traces = [Arena(curved).run("moasha", seed, Limit(trainings=12)) for seed in (0, 0, 1)]
    assert np.random.get_state()[1].tolist() == state  # type: ignore[index]
    assert traces[0] == traces[1] and traces[0].tried != traces[2].tried
    assert 0 < len(traces[0].finished) < len(traces[0].tried)
    assert traces[0].ended_spent < curved.spent[list(traces[0].tried), -1][curved.whole[list(traces[0].tried)]].sum()


def test_ray_tunes_searcher_takes_part(table: Table) -> None:
    traces = [Arena(table).run("ray", seed, Limit(trainings=14)) for seed in (0, 0)]
    assert traces[0] == traces[1] and len(set(traces[0].tried)) >= 14


def test_sizes_are_gone_through_from_the_most_promising(table: Table) -> None:
    order = list(spread_over_sizes(table, 0))
    assert sorted(order) == list(range(40))
    known = np.stack([-table.sizes[:, 0], table.points[:, 1], table.points[:, 2]], axis=1)
    count = int(pareto.non_dominated(known).sum())
    assert set(order[:count]) == set(np.flatnonzero(pareto.non_dominated(known)).tolist())


def test_who_cannot_take_part_is_said_and_the_others_go_on(table: Table, tmp_path: Path) -> None:
    nothing = dataclasses.replace(table, sizes=np.zeros((len(table), 0)))
    with pytest.raises(contestants.NotMeasured, match="names no size"):
        Arena(nothing).run("size", 0, Limit(trainings=4))
    objectives = {"val_loss": {"costly": True}, "speed": {"costly": False, "direction": "maximize"}}
    files = write_table(tmp_path, objectives=objectives, sizes=[], cost=None)
    found = measure(table=str(files[0]), table_spec=str(files[1]), samplers=["random", "size"], seeds=2, trainings=8)
    row = next(row for row in found.rows if row.metric == "size: replays")
    assert row.ours is None and "names no size" in row.note
    assert any(row.metric.startswith("random: share at") for row in found.rows)


def test_unknown_searchers_are_refused(table: Table) -> None:
    with pytest.raises(RequestError, match=r"--samplers: 'tpee' is no searcher .* did you mean 'tpe'"):
        contestant("tpee")
    assert contestant("tpe+rungs").policy and not contestant("tpe").policy
    assert policy_settings("tpe+rungs", table, 0).scheduler == "pareto"


@pytest.mark.parametrize("name", ["tpe+screening", "nsgaii+screening"])
def test_a_peer_that_is_screened_trains_what_it_has_proposed(curved: Table, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[int] = set()
    told: list[int] = []
    propose, fresh, add = Proposed.draw, Proposed.fresh, OptunaPeer.add

    def draw(self: Proposed, *args: Any) -> list[Any]:
        drawn = propose(self, *args)
        if told:
            asked.update(self.row(params) for params in drawn)
        return drawn

    def left(self: Proposed, *args: Any) -> Any:
        """Where all that is proposed has been tried."""
        found = fresh(self, *args)
        assert found is not None
        asked.add(self.row(found))
        return found

    def learn(self: OptunaPeer, row: int, *rest: Any) -> None:
        told.append(row)
        add(self, row, *rest)

    monkeypatch.setattr(Proposed, "draw", draw)
    monkeypatch.setattr(Proposed, "fresh", left)
    monkeypatch.setattr(OptunaPeer, "add", learn)
    trace = Arena(curved).run(name, 0, Limit(trainings=10))
    assert trace.duplicates == 0 and len(told) >= 8
    assert told == list(trace.finished)  # each once, and what failed is nothing that could be told
    assert len(trace.begun) == len(told), "every trial is trained to its end"
    assert set(trace.tried[3:]) <= asked and asked - set(trace.tried)


def test_a_peer_that_breaks_while_it_is_screened_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: OptunaPeer) -> Any:
        raise ValueError("not positive definite")

    monkeypatch.setattr(OptunaPeer, "propose", broken)
    files = write_table(tmp_path)
    found = measure(table=str(files[0]), table_spec=str(files[1]), samplers=["random", "tpe+screening"], seeds=1, trainings=8)
    row = next(row for row in found.rows if row.metric == "tpe+screening: replays")
    assert row.ours is None and "failed with ValueError: not positive definite" in row.note
    assert any(row.metric.startswith("random: share at") for row in found.rows)


# The clairvoyant


@pytest.mark.parametrize("regime", ["trainings", "compute"])
def test_the_clairvoyant_is_nearly_as_good_as_anybody_can_be(table: Table, regime: Any) -> None:
    oracle = clairvoyant(table, regime)
    assert oracle.shares[-1] == pytest.approx(1.0) and set(oracle.finished) == set(table.front)
    best = max(share_of(table, rows) for rows in itertools.combinations(table.front, 2))
    if regime == "trainings":
        assert oracle.shares[0] == pytest.approx(max(share_of(table, [row]) for row in range(40)))
        assert oracle.shares[1] >= 0.9 * best  # greedy: at least 1 - 1/e of it
    for name in ("random", "size", "nsgaii"):
        trace = Arena(table).run(name, 0, Limit(trainings=20))
        assert trace.budget_to(0.9, regime) >= 0.9 * oracle.budget_to(0.9, regime)
