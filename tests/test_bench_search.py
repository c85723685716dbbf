"""`autonas bench search`: what seeds say together, the rows, and the command."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.bench import Row, run_bench
from autonas.bench.replays import seeds
from autonas.bench.replays.contest import Runs
from autonas.bench.replays.contestants import contestant
from autonas.bench.replays.simulation import Limit, Trace
from autonas.bench.search import settings_by_sampler
from autonas.cli import main
from autonas.errors import RequestError
from tests.tables import write_table, write_table_with_curves

KEYS = {field.name for field in dataclasses.fields(Row)}


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
