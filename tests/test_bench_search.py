"""`autonas bench search`: what is replayed is the policy that searches, and what is paid is what was trained."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas import pareto
from autonas.bench import Row, run_bench
from autonas.bench.replays import contestants, seeds
from autonas.bench.replays.clairvoyant import clairvoyant
from autonas.bench.replays.contest import Runs
from autonas.bench.replays.contestants import Arena, contestant, policy_settings, spread_over_sizes
from autonas.bench.replays.loops import drive
from autonas.bench.replays.replay import Replay, replay
from autonas.bench.replays.simulation import Limit, Simulation, Trace
from autonas.bench.search import measure, settings_by_sampler
from autonas.bench.table_file import read_table
from autonas.bench.tables import CORNER, Table, TableProblem
from autonas.cli import main
from autonas.errors import RequestError
from autonas.policy.policy import Policy
from autonas.policy.settings import SearchSettings
from autonas.trial import StudyRecord
from tests.tables import curves_of, finished, write_lines, write_table, write_table_with_curves

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


def test_workers_do_not_wait_for_each_other(curved: Table) -> None:
    """A rung is no barrier: some trial is at the end before others have begun."""
    trace = replay(TableProblem(curved), with_rungs(curved), workers=3, limit=Limit(trainings=10_000))
    assert trace.begun[0] < 40
    few = replay(TableProblem(curved), with_rungs(curved), workers=3, limit=Limit(trainings=2))
    assert few.ended_spent >= 2 * curved.full_cost * (1 - 1e-9) and few.ended_begun < 40
    assert few.tried == trace.tried[: few.ended_begun]  # a limit cuts off, and changes nothing before


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


# What seeds say together


@given(st.lists(st.floats(0.1, 1e6) | st.just(math.inf), min_size=1, max_size=25))
def test_medians_by_rank_are_those_of_the_numbers(values: list[float]) -> None:
    found = float(seeds.median(np.array(values)))
    reached = [value for value in values if math.isfinite(value)]
    if len(reached) * 2 > len(values):
        assert found == pytest.approx(float(np.median(values))) or math.isinf(np.median(values))
    else:
        assert math.isinf(found)
    estimate = seeds.estimate(values)
    assert min(values) <= estimate.low <= estimate.high <= max(values)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=2, max_size=15))
def test_a_ratio_is_of_medians_and_its_interval_pairs_the_seeds(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    found = seeds.ratio(ours, theirs)
    assert found.value == pytest.approx(np.median(theirs) / np.median(ours))
    # Whoever needs twice as much with every seed needs twice as much, without a doubt.
    twice = seeds.ratio(ours, [2 * value for value in ours])
    assert (twice.value, twice.low, twice.high) == pytest.approx((2.0, 2.0, 2.0))


def test_who_does_not_get_there_gains_nothing() -> None:
    found = seeds.ratio([math.inf, math.inf, 5.0], [10.0, 10.0, 10.0])
    assert found.value == 0.0 and found.low == 0.0
    assert seeds.gap_closed([10.0] * 5, [40.0] * 5, oracle=10.0).value == pytest.approx(1.0)
    assert seeds.gap_closed([20.0] * 5, [40.0] * 5, oracle=10.0).value == pytest.approx(0.5)
    assert seeds.gap_closed([40.0] * 5, [40.0] * 5, oracle=10.0).value == pytest.approx(0.0)


def trace_of(**changes: Any) -> Trace:
    fields: dict[str, Any] = {
        "shares": (0.5, 0.8, 0.96),
        "begun": (1, 2, 3),
        "spent": (2.0, 3.0, 7.0),
        "elapsed": (2.0, 3.0, 7.0),
    }
    return Trace(**{**fields, "tried": (), "finished": (), "ended_begun": 4, "ended_spent": 9.0, **changes})


def test_a_trace_says_what_it_had_when_and_nothing_beyond_its_end() -> None:
    trace = trace_of()
    assert [trace.share_at(budget, "compute") for budget in (1.9, 2.0, 6.9, 7.0, 9.0)] == [0.0, 0.5, 0.8, 0.96, 0.96]
    assert math.isnan(trace.share_at(9.1, "compute")) and trace_of(exhausted=True).share_at(9.1, "compute") == 0.96
    assert [trace.budget_to(share, "trainings") for share in (0.5, 0.81, 0.97)] == [1, 3, math.inf]


# The bench


def bench(files: tuple[Path, Path], **options: Any) -> dict[str, Any]:
    options = {"samplers": ["random", "nsgaii", "size"], "seeds": 4, "trainings": 20, **options}
    return run_bench("search", table=str(files[0]), table_spec=str(files[1]), **options)


def figures(found: dict[str, Any]) -> dict[tuple[str, str | None], Any]:
    return {(row["metric"], row["peer_name"]): row for row in found["rows"]}


def test_rows_are_whole_and_the_clairvoyant_stands_beside_each(tmp_path: Path) -> None:
    found = bench(write_table(tmp_path))
    json.dumps(found, allow_nan=False)
    assert all(row.keys() == KEYS for row in found["rows"])
    rows = figures(found)
    for name in ("random", "nsgaii", "size"):
        for regime in ("trainings", "compute"):
            row = rows[f"{name}: {regime} to 90% of the hypervolume", "clairvoyant"]
            assert 0 < row["peer"] <= row["ours"] and row["low"] <= row["ours"]
        share = rows[f"{name}: share at 8 trainings", "clairvoyant"]
        assert 0 < share["low"] <= share["ours"] <= share["high"] <= share["peer"] <= 1
    ratio = rows["trainings to 90% of the hypervolume", "size"]
    assert ratio["ratio"] == pytest.approx(ratio["peer"] / ratio["ours"]) and ratio["low"] <= ratio["ratio"] <= ratio["high"]
    assert "clairvoyant: " in ratio["note"]
    curves = found["conditions"]["curves"]["compute"]
    assert len(curves["random"]["median"]) == len(curves["budgets"]) == len(curves["clairvoyant"])
    assert found["conditions"]["seeds"] == {"random": 4, "nsgaii": 4, "size": 4} and found["conditions"]["flags"]["nsgaii"]


def test_what_was_not_reached_is_said_and_counted(tmp_path: Path) -> None:
    rows = figures(bench(write_table(tmp_path), samplers=["random", "nsgaii"], trainings=5))
    row = rows["nsgaii: trainings to 99% of the hypervolume", None]
    assert row["ours"] is None and "more than " in row["note"] and "4 of 4 had not got there" in row["note"]
    ratio = rows["trainings to 99% of the hypervolume", "nsgaii"]
    assert "at least so, since 4 of its replays had not got there" in ratio["note"] and 5 <= ratio["peer"] <= 10


def test_who_has_nothing_left_to_try_never_gets_there(tmp_path: Path) -> None:
    trace = Trace(
        shares=(0.4,),
        begun=(5,),
        spent=(3.0,),
        elapsed=(3.0,),
        tried=(),
        finished=(),
        ended_begun=9,
        ended_spent=7.0,
        exhausted=True,
    )
    runs = Runs(contestant=contestant("random"), limit=9, traces=[trace, dataclasses.replace(trace, exhausted=False)])
    assert runs.at_least(0.95, "compute") == [math.inf, 7.0]


@pytest.mark.parametrize("name", ["curves.svg", "curves.png"])
def test_curves_are_drawn(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_table(tmp_path)
    bench(files, plot=str(tmp_path / name))
    drawn = (tmp_path / name).read_bytes()
    assert len(drawn) > 5_000
    if name.endswith(".svg"):
        assert all(f">{word}</text>".encode() in drawn for word in ("clairvoyant", "nsgaii", "size"))
        bench(files, plot=str(tmp_path / "again.svg"))
        assert (tmp_path / "again.svg").read_bytes() == drawn
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(RequestError, match=r"autonas\[plots\]"):
        bench(files, samplers=["size"], plot=str(tmp_path / name))
    with pytest.raises(RequestError, match="must end in"):
        bench(files, plot="curves.txt")


def test_goals_of_the_spec_are_held_against_our_policy_alone(tmp_path: Path) -> None:
    goals = [
        {"name": "S3", "share": 0.95, "most": 40},
        {"name": "S3", "share": 0.95, "against": "random", "least": 1.01},
        {"name": "S1", "regime": "compute", "share": 0.95, "against": "gp", "least": 10},
    ]
    files = write_table(tmp_path, goals=goals)
    rows = figures(bench(files, samplers=["autonas", "random", "nsgaii"]))
    assert rows["autonas: trainings to 95% of the hypervolume", "clairvoyant"]["met"] is True
    ratio = rows["trainings to 95% of the hypervolume", "random"]
    assert ratio["goal"] == 1.01 and ratio["met"] == (ratio["ratio"] >= 1.01)
    absent = rows["compute to 95% of the hypervolume", "gp"]
    assert absent["ours"] is None and absent["met"] is False
    assert rows["autonas: exact duplicates proposed", None]["met"] is True
    equal = [row for row in rows.values() if row["metric"].startswith("mean share at") and row["goal"] is not None]
    assert equal and all(row["met"] == (row["low"] >= 0.98) for row in equal)
    # Another searcher in the first place is compared, and has no goals of ours.
    assert all(row["goal"] in (None, 0.0) for row in bench(files)["rows"])


def test_equal_trainings_are_equal_compute_where_every_training_costs_the_same(tmp_path: Path) -> None:
    found = bench(write_table(tmp_path, cost=None))
    assert list(found["conditions"]["curves"]) == ["trainings"]
    assert not any("compute" in row["metric"] for row in found["rows"])


def test_replays_of_peers_are_kept_and_those_of_the_policy_are_not(tmp_path: Path) -> None:
    files = write_table(tmp_path)
    options: dict[str, Any] = {
        "samplers": ["random+full", "nsgaii"],
        "seeds": 2,
        "trainings": 6,
        "cache": str(tmp_path / "kept"),
    }
    first, second = bench(files, **options), bench(files, **options)
    kept = sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "kept").iterdir())
    assert kept == ["trials-nsgaii-0", "trials-nsgaii-1"]
    assert first["rows"] == second["rows"] and second["conditions"]["seconds_per_replay"]["nsgaii"] == 0.0
    next(iter((tmp_path / "kept").iterdir())).write_text("{}")
    with pytest.raises(RequestError, match="cannot be read as a trace"):
        bench(files, **options)


@pytest.mark.slow
def test_processes_side_by_side_change_nothing(tmp_path: Path) -> None:
    files = write_table(tmp_path)
    assert bench(files, jobs=2)["rows"] == bench(files)["rows"]


def test_some_samplers_may_have_fewer_seeds_and_trials() -> None:
    names = ["autonas", "gp", "tpe"]
    found = settings_by_sampler("tpe=3x50", names, 20, None, 10_000)
    assert {name: (count, limit.trainings) for name, (count, limit) in found.items()} == {
        "autonas": (20, 128), "gp": (20, 64), "tpe": (3, 50),
    }  # fmt: skip
    assert settings_by_sampler("gp=5", names, 20, 100, 60)["gp"] == (5, Limit(trainings=60))
    for text, message in [
        ("gp=0", "is not sampler=seeds"),
        ("gp", "is not sampler=seeds"),
        ("moasha=3", "none of the samplers"),
    ]:
        with pytest.raises(RequestError, match=message):
            settings_by_sampler(text, names, 20, None, 100)


# The command


def test_the_command_prints_one_document_or_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, spec = write_table_with_curves(tmp_path)
    command = ["bench", "search", "--table", str(table), "--table-spec", str(spec), "--samplers", "random,size"]
    command += ["--seeds", "2", "--trials", "8", "--workers", "2", "--hide-cheap"]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "search" and {row["metric"].partition(":")[0] for row in found["rows"]} >= {"random", "size"}
    assert found["conditions"]["workers"] == 2 and found["conditions"]["hide_cheap"] is True
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "median share of the hypervolume, by trainings" in text and "clairvoyant" in text and "rungs at 1, 3, 9 of 9" in text
    assert max(map(len, text.splitlines())) <= 90


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --table CSV and --table-spec YAML, or --study NAME"),
        (["--table", "none.csv", "--table-spec", "none.yaml"], "none.yaml: there is no such file"),
        (["--samplers", "tpe,tpe"], "name each searcher once"),
        (["--study", "nobodys"], "nobodys"),
        (["--seconds", "3"], "has no use for --seconds"),
        (["--out", "trials"], "name one with --study"),
    ],
)
def test_a_wrong_request_is_one_message(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["bench", "search", *options]) == 2
    errors = capsys.readouterr().err
    assert message in errors and "Traceback" not in errors
