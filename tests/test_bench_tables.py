"""Tables of finished trials: what is read is what the files say, and a policy sees a problem as it sees a space."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas import pareto
from autonas.arch import ArchSpec
from autonas.bench.study_table import table_of_study
from autonas.bench.table_file import read_table
from autonas.bench.tables import CORNER, ROW, Table, TableProblem, default_rungs
from autonas.errors import RequestError, StudyError
from autonas.policy.problem import Problem
from autonas.recipe import load_recipe
from autonas.space.domains import Choice, Float
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord
from tests.studies import write_space
from tests.tables import CURVES, EPOCHS, SPEC, curves_of, finished, write_lines, write_table, write_table_with_curves

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data"
SHARED = {
    "hwgpt_s": ("hwgpt_s.csv", 10_000, 10_000),
    "hwgpt_s_latency": ("hwgpt_s.csv", 10_000, 10_000),
    "lts_gpt2_wt103": ("lts_gpt2.csv", 200, 200),
    "lts_gpt2_lm1b": ("lts_gpt2.csv", 200, 200),
    "nbnlp": ("nbnlp_wt2_archs.csv", 345, 341),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return read_table(*write_table(tmp_path_factory.mktemp("table")))


@pytest.fixture(scope="module")
def curved(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return read_table(*write_table_with_curves(tmp_path_factory.mktemp("curved")))


@pytest.fixture(scope="module")
def problem(table: Table) -> TableProblem:
    return TableProblem(table)


# Reading


def test_rows_have_the_values_of_their_lines(table: Table) -> None:
    lines = finished()
    assert len(table) == len(lines) and list(table.domains)[:3] == ["n_layer", "width", "norm"]
    for row, (params, line) in enumerate(zip(table.rows, lines, strict=True)):
        ratios = [params[f"ratios[{i}]"] for i in range(line["n_layer"])]
        assert params[ROW] == row and "-".join(map(str, ratios)) == line["ratios"]
        assert {name: params[name] for name in ("n_layer", "width", "norm")} == {
            n: line[n] for n in ("n_layer", "width", "norm")
        }
        assert len(params) == 4 + len(ratios)  # positions beyond the list are no params of the row
    assert table.lists == {"ratios": tuple(f"ratios[{i}]" for i in range(4))} and table.lengths == {"ratios": "n_layer"}


def test_scores_are_minimised_and_costs_are_those_of_the_table(table: Table) -> None:
    lines = finished()
    assert [o.known for o in table.objectives] == ["trained", "arithmetic", "arithmetic"]
    assert np.allclose(table.scores[:, -1, 0], [line["val_loss"] for line in lines])
    # Of a maximised objective on a logarithmic scale the reciprocal is minimised: the same scale, the other way round.
    assert np.allclose(np.log(table.scores[:, -1, 2]), [-math.log(line["speed"]) for line in lines])
    assert table.steps == table.rungs == (1,) and np.allclose(table.spent[:, -1], [line["seconds"] for line in lines])


def test_a_linear_objective_that_is_maximised_changes_its_sign(tmp_path: Path) -> None:
    objectives = {**SPEC["objectives"], "speed": {"direction": "maximize", "scale": "linear", "costly": False}}
    read = read_table(*write_table(tmp_path, objectives=objectives))
    assert np.allclose(read.scores[:, -1, 2], [-line["speed"] for line in finished()])


def test_points_are_normalised_over_whole_rows_and_the_volume_is_exact(table: Table) -> None:
    assert np.allclose(table.points.min(axis=0), 0) and np.allclose(table.points.max(axis=0), 1)
    assert table.volume == pytest.approx(pareto.hypervolume(table.points, [CORNER] * 3), rel=1e-12)
    assert set(table.front) == set(np.flatnonzero(pareto.non_dominated(table.points)).tolist())


def test_where_keeps_the_rows_that_it_names(tmp_path: Path) -> None:
    read = read_table(*write_table(tmp_path, where={"norm": "rmsnorm"}))
    assert 0 < len(read) < 40 and {row["norm"] for row in read.rows} == {"rmsnorm"}
    both = read_table(*write_table(tmp_path, where={"norm": ["rmsnorm", "layernorm"], "n_layer": ["2"]}))
    assert {row["n_layer"] for row in both.rows} == {2}


def test_costs_are_cut_at_their_quantile_and_divided(tmp_path: Path) -> None:
    cost = {"column": "seconds", "clip_quantile": 0.9, "unit": "min", "divide_by": 60}
    read = read_table(*write_table(tmp_path, cost=cost))
    seconds = np.array([line["seconds"] for line in finished()])
    assert np.allclose(read.spent[:, -1], np.minimum(seconds, np.quantile(seconds, 0.9)) / 60) and read.cost_unit == "min"
    assert not read_table(*write_table(tmp_path, cost=None)).has_costs


def test_a_parameter_may_be_how_often_a_text_stands_in_a_column(tmp_path: Path) -> None:
    parameters = {"width": {"choice": [8, 16, 32, 64]}, "fours": {"column": "ratios", "count": "4", "int": [0, 4]}}
    read = read_table(*write_table(tmp_path, parameters=parameters))
    assert [row["fours"] for row in read.rows] == [line["ratios"].count("4") for line in finished()]


def test_what_does_not_vary_is_no_dimension(tmp_path: Path) -> None:
    lines = [{**line, "bias": "true"} for line in finished()]
    read = read_table(*write_table(tmp_path, lines, parameters={**SPEC["parameters"], "bias": {"choice": [True]}}))
    assert "bias" not in read.domains


# Curves


def test_curves_give_scores_and_costs_at_every_step(curved: Table) -> None:
    lines = finished()
    assert curved.steps == tuple(range(1, EPOCHS + 1)) and curved.rungs == default_rungs(curved.steps)
    losses = [[line["loss"] for line in curves_of([each])] for each in lines]
    assert np.allclose(curved.scores[:, :, 0], losses)
    assert np.allclose(
        curved.spent, np.outer([line["seconds"] for line in lines], np.arange(1, EPOCHS + 1) / EPOCHS), atol=1e-4
    )
    assert np.allclose(curved.scores[:, 0, 1], curved.scores[:, -1, 1])  # what training does not change


def test_the_rungs_of_the_spec_are_taken(tmp_path: Path) -> None:
    read = read_table(*write_table_with_curves(tmp_path, curves={**CURVES, "rungs": [2, 4]}))
    assert read.rungs == (2, 4, EPOCHS)
    with pytest.raises(RequestError, match=r"no scores at step 20 .* choose rungs among 1, 2"):
        read_table(*write_table_with_curves(tmp_path, curves={**CURVES, "rungs": [20]}))


def test_a_training_that_broke_off_fails_there_at_what_it_had_cost(tmp_path: Path) -> None:
    files = write_table_with_curves(tmp_path)
    lines = [line for line in curves_of(finished()) if line["name"] != "t3" or line["epoch"] <= 5]
    lines = [{**line, "loss": "nan"} if (line["name"], line["epoch"]) == ("t3", 5) else line for line in lines]
    write_lines(tmp_path / "curves.csv", lines)
    read = read_table(*files)
    assert read.done[3] == 4 and read.whole.sum() == 39 and np.isnan(read.points[3]).all()
    assert read.ruin[3] == pytest.approx(finished()[3]["seconds"] * 5 / EPOCHS, rel=1e-4) and 3 not in read.front
    assert any("1 rows have no final scores" in note for note in read.notes)


def test_rows_whose_curve_is_missing_or_not_theirs_alone_are_left_out_and_counted(tmp_path: Path) -> None:
    lines = finished()
    lines[5]["name"] = lines[4]["name"]
    table, spec = write_table_with_curves(tmp_path, lines)
    write_lines(tmp_path / "curves.csv", [line for line in curves_of(finished()) if line["name"] not in ("t5", "t9")])
    read = read_table(table, spec)
    assert len(read) == 37
    assert any("1 rows are left out: they have no learning curve" in note for note in read.notes)
    assert any("2 rows are left out" in note and "name" in note for note in read.notes)


def test_a_key_of_two_columns_tells_more_rows_apart(tmp_path: Path) -> None:
    lines = [{**line, "part": number % 2, "name": f"t{number // 2}"} for number, line in enumerate(finished())]
    table, spec = write_table_with_curves(tmp_path, lines, curves={**CURVES, "key": ["name", "part"]})
    curves = [{**cell, "part": line["part"]} for line in lines for cell in curves_of([line])]
    write_lines(tmp_path / "curves.csv", curves)
    assert len(read_table(table, spec)) == 40


def test_an_objective_without_a_curve_is_judged_at_the_end_only(tmp_path: Path) -> None:
    lines = [{**line, "collapse": 0.01 * number} for number, line in enumerate(finished())]
    objectives = {**SPEC["objectives"], "collapse": {"costly": True}}
    read = read_table(*write_table_with_curves(tmp_path, lines, objectives=objectives))
    assert read.objectives[3].known == "final"
    assert np.isnan(read.scores[:, :-1, 3]).all() and np.allclose(read.scores[:, -1, 3], 0.01 * np.arange(40))


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=60, unique=True).map(sorted))
def test_rungs_are_steps_that_end_with_the_last_and_begin_early(steps: list[int]) -> None:
    rungs = default_rungs(steps)
    assert set(rungs) <= set(steps) and rungs[-1] == steps[-1] and list(rungs) == sorted(rungs)
    if 1 in steps and steps[-1] >= 50 and steps == list(range(1, steps[-1] + 1)):
        assert rungs[0] <= 0.03 * steps[-1] + 1


def test_the_rungs_of_fifty_epochs() -> None:
    assert default_rungs(range(1, 51)) == (1, 3, 7, 19, 50)


# Mistakes

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"objectivs": {}}, r"trials.yaml:\d+: objectivs: 'objectivs' is an unknown key; did you mean 'objectives'"),
    ({"parameters": None}, r"trials.yaml:\d+: lacks `parameters`"),
    ({"parameters": {"depth": {"int": [2, 4]}}}, r"trials.csv: has no column 'depth'"),
    ({"parameters": {"width": {"choice": [8, 16]}}}, r"trials.csv:\d+: width: is '\d+', which has '\d+', no value"),
    ({"parameters": {"width": {"int": [64, 8]}}}, r"trials.yaml:\d+: parameters.width.int: is no range"),
    ({"parameters": {"width": {}}}, r"parameters.width: needs exactly one of int, float, choice, list"),
    ({"parameters": {"ratios": {"list": {"choice": [2, 3, 4]}}}}, r"parameters.ratios.list: lacks `separator`"),
    (
        {"parameters": {"ratios": {"list": {"separator": "-", "choice": [2, 3, 4], "length": 3}}}},
        r"trials.csv:\d+: ratios: is '.*', which has \d values where the spec expects 3",
    ),
    (
        {"parameters": {"ratios": {"list": {"separator": "-", "choice": [2, 3, 4], "length": "depth"}}}},
        r"parameters.ratios: has the length 'depth', which is no parameter",
    ),
    ({"objectives": {"val_loss": {"costly": True}}}, r"objectives: has 1 entries; write two to five"),
    ({"objectives": {"params": {"costly": False}, "speed": {"costly": False}}}, r"objectives: has none that training improves"),
    ({"objectives": {"val_loss": {"costly": True}, "params": {}}}, r"objectives.params: lacks `costly`"),
    ({"objectives": {"val_loss": {"costly": True}, "norm": {"costly": False}}}, r"trials.csv:2: norm: is '\w+', which is no"),
    ({"cost": "norm"}, r"trials.csv:2: norm: is '\w+', which is no number"),
    ({"cost": "price"}, r"has no column 'price', the cost of the spec"),
    ({"sizes": ["n_heads"]}, r"has no column 'n_heads', the size of the spec"),
    ({"where": {"norm": "none"}}, r"trials.csv: has 0 rows to replay"),
    ({"budgets": [8, 4]}, r"trials.yaml:\d+: budgets: is not a list of rising"),
    ({"goals": [{"name": "S9", "least": 2}]}, r"goals\[0\]: needs `most:`"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_a_mistake_is_one_message_that_says_where(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        read_table(*write_table(tmp_path, **changes))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"params": 0}, r"trials.csv:4: params: is '0', which is not positive"),
        ({"params": "inf"}, r"trials.csv:4: params: is 'inf', which is not a finite number"),
        ({"seconds": -1}, r"trials.csv:4: seconds: is '-1', which is no positive number, as the cost is"),
        ({"ratios": "2-9"}, r"trials.csv:4: ratios: is '2-9', which has '9'"),
    ],
)
def test_a_line_that_is_wrong_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    lines = finished()
    lines[2] |= {"n_layer": 2, "ratios": "2-2", **change}
    with pytest.raises(RequestError, match=message):
        read_table(*write_table(tmp_path, lines))


def test_files_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    table, spec = write_table(tmp_path)
    with pytest.raises(RequestError, match="there is no such file"):
        read_table(tmp_path / "none.csv", spec)
    with pytest.raises(RequestError, match="there is no such file"):
        read_table(table, tmp_path / "none.yaml")
    with pytest.raises(RequestError, match="is empty"):
        read_table(table, write_text(tmp_path / "empty.yaml", ""))
    with pytest.raises(RequestError, match=r"ragged.csv:3: has 1 cells, and the header 2"):
        read_table(write_text(tmp_path / "ragged.csv", "a,b\n1,2\n3\n"), spec)
    with pytest.raises(RequestError, match=r"twice.csv:1: is no header"):
        read_table(write_text(tmp_path / "twice.csv", "a,a\n1,2\n"), spec)
    doubled = curves_of(finished())
    table, spec = write_table_with_curves(tmp_path)
    write_lines(tmp_path / "curves.csv", [*doubled, doubled[0]])
    with pytest.raises(RequestError, match=r"curves.csv:362: epoch: is '1', which stands there twice"):
        read_table(table, spec)


def write_text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


# The problem that a policy sees


def test_a_table_is_a_problem_with_rows_for_candidates(problem: TableProblem, table: Table) -> None:
    seen: Problem = problem  # the protocol, held by mypy
    rng = np.random.default_rng(0)
    drawn = seen.draw(rng, 12)
    assert len({seen.identity(params) for params in drawn}) == 12
    assert len(seen.draw(rng, 1000)) == len(table)
    assert np.allclose(seen.arithmetic(drawn), table.scores[[int(p[ROW]) for p in drawn], -1, 1:])
    assert (seen.efforts(drawn) == 1).all()


def test_features_are_whole_numbers_of_each_row_whatever_else_is_asked_for(problem: TableProblem, table: Table) -> None:
    features = problem.features(table.rows)
    assert features.shape[0] == len(table) and np.isfinite(features).all()
    assert problem.num_sizes == 1 and np.allclose(features[:, 0], np.log(table.scores[:, -1, 1]))
    for row in (0, 7, 31):
        assert np.array_equal(problem.features([table.rows[row]])[0], features[row])
    means = [np.mean([v for name, v in row.items() if name.startswith("ratios")]) for row in table.rows]
    assert any(np.allclose(features[:, column], means) for column in range(features.shape[1]))


def test_what_a_sampler_has_drawn_settles_on_the_nearest_row(problem: TableProblem, table: Table) -> None:
    for row in table.rows:
        told = {name: value for name, value in row.items() if name != ROW}
        # Positions beyond the list are drawn too by a sampler that knows only the domains; they count for nothing.
        drawn = {**dict.fromkeys(table.lists["ratios"], 4), **told}
        settled = problem.settle(drawn)
        assert {name: value for name, value in settled.items() if name != ROW} == told
        assert problem.settle(row) is row


def test_near_rows_are_the_nearest_others(problem: TableProblem, table: Table) -> None:
    near = problem.near(table.rows[3], np.random.default_rng(1), 5)
    assert len(near) == 5 and 3 not in {params[ROW] for params in near}
    worst = max(apart(table, table.rows[3], params) for params in near)
    others = [params for params in table.rows if params[ROW] not in {3, *(p[ROW] for p in near)}]
    assert worst <= min(apart(table, table.rows[3], params) for params in others) + 1e-9


def apart(table: Table, first: Any, second: Any) -> float:
    """The distance of two rows, computed by the domains' own: a list counts as one dimension."""
    total = 0.0
    for name, domain in table.domains.items():
        weight = 0.25 if name.startswith("ratios") else 1.0
        if (name in first) != (name in second):
            total += weight
        elif name in first:
            total += weight * domain.distance(first[name], second[name])
    return total


def test_fresh_rows_are_unknown_until_there_are_none(problem: TableProblem) -> None:
    known: set[str] = set()
    rng = np.random.default_rng(0)
    while (params := problem.fresh(rng, known)) is not None:
        assert problem.identity(params) not in known
        known.add(problem.identity(params))
    assert len(known) == 40


def test_hidden_costs_are_known_of_nobody(table: Table) -> None:
    hidden = TableProblem(table.with_cheap_hidden())
    assert [o.known for o in hidden.objectives] == ["trained", "measured", "measured"]
    assert [o.logarithmic for o in hidden.objectives] == [o.logarithmic for o in table.objectives]
    assert hidden.num_sizes == 0 and hidden.arithmetic(table.rows).shape == (40, 0)
    assert hidden.features(table.rows).shape[1] == TableProblem(table).features(table.rows).shape[1] - 1


def test_lists_fold_into_their_means(table: Table) -> None:
    folded = table.with_lists_folded()
    assert list(folded.domains) == ["n_layer", "width", "norm", "ratios"] and not folded.lists
    assert isinstance(folded.domains["ratios"], Float)
    for row, line in zip(folded.rows, finished(), strict=True):
        assert row["ratios"] == pytest.approx(np.mean([int(text) for text in line["ratios"].split("-")]))
    assert folded.volume == table.volume


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_distances_are_those_of_the_domains(data: st.DataObject, table: Table, problem: TableProblem) -> None:
    drawn = {
        name: data.draw(st.sampled_from(domain.options if isinstance(domain, Choice) else domain.values(9)))
        for name, domain in table.domains.items()
        if not name.startswith("ratios")
    }
    drawn |= {f"ratios[{i}]": data.draw(st.sampled_from([2, 3, 4])) for i in range(int(drawn["n_layer"]))}
    nearest = problem.settle(drawn)
    assert apart(table, nearest, drawn) == pytest.approx(min(apart(table, row, drawn) for row in table.rows))


# Studies


def study_of(space: Path, count: int, stopped: int = 0) -> StudyRecord:
    """A finished study of a real recipe, with scores that were written by hand."""
    recipe = load_recipe(str(space))
    rng = np.random.default_rng(0)
    trials: list[TrialRecord] = []
    seen: set[str] = set()
    while len(trials) < count + stopped:
        params = recipe.space.draw(rng)
        if not recipe.space.legal(params) or recipe.space.decode(params).fingerprint in seen:
            continue
        spec = recipe.space.decode(params)
        seen.add(spec.fingerprint)
        trials.append(
            trial_of(recipe.search.rungs, params, spec, len(trials), whole=len(trials) < count, price=recipe.space.price(spec))
        )
    return StudyRecord(name="mine", recipe=recipe.resolved, attributes={}, trials=tuple(trials))


def trial_of(rungs: Any, params: Any, spec: ArchSpec, number: int, *, whole: bool, price: Any) -> TrialRecord:
    outcomes = tuple(
        Outcome(
            kind="train", trial=number, attempt=1, rung=rung, seconds=10.0 * (rung + 1), tokens=tokens, new_tokens=tokens,
            scores={"val_loss": Score.exact(5.0 - rung - 0.01 * number, "nats/token")}
            | ({"collapse_rate": Score.exact(0.1, "share")} if rung == len(rungs) - 1 else {}),
        )
        for rung, tokens in enumerate(rungs if whole else rungs[:1])
    )  # fmt: skip
    return TrialRecord(
        number=number,
        state="complete" if whole else "stopped",
        params=params,
        spec=spec,
        scores={name: Score.exact(float(value), "") for name, value in price.items()},
        rungs=outcomes,
    )


def test_a_study_is_a_table_of_the_trials_that_were_trained_to_the_end(tmp_path: Path, code_corpus: Path) -> None:
    space = write_space(tmp_path / "small.yaml", code_corpus)
    found = table_of_study(study_of(space, 9, stopped=3))
    assert len(found) == 9 and found.steps == found.rungs == tuple(load_recipe(str(space)).search.rungs)
    assert found.notes == ("3 trials that were stopped or failed before the last rung are left out",)
    assert np.allclose(found.scores[:, 0, 0], 5.0 - 0.01 * np.arange(9)) and np.isnan(found.scores[:, 0, 2]).all()
    assert np.allclose(found.spent * 3600, [10.0, 30.0]) and found.cost_unit == "h"
    assert [o.name for o in found.objectives] == ["val_loss", "params", "collapse_rate"]
    assert TableProblem(found).features(found.rows).shape[0] == 9


def test_a_study_with_too_few_whole_trials_is_refused(tmp_path: Path, code_corpus: Path) -> None:
    study = study_of(write_space(tmp_path / "small.yaml", code_corpus), 3, stopped=3)
    with pytest.raises(StudyError, match=r"has 3 trials trained to the last rung.*scheduler: curves"):
        table_of_study(study)


# The shared tables


@pytest.mark.parametrize("name", SHARED)
def test_the_shared_tables_are_read_as_their_specs_say(name: str) -> None:
    file, rows, whole = SHARED[name]
    if not (DATA / file).exists():
        pytest.skip("the shared tables are not here")
    read = read_table(DATA / file, ROOT / "benchmarks" / f"{name}.yaml")
    assert (len(read), int(read.whole.sum())) == (rows, whole)
    assert read.sizes.shape[1] >= 1 and read.goals and len(read.budgets) == 5
    if name == "nbnlp":
        assert read.steps == tuple(range(1, 51)) and read.rungs == (1, 3, 7, 19, 50)
        assert read.full_cost == pytest.approx(5.83, abs=0.01)
    if name == "lts_gpt2_wt103":
        assert read.spent.max() == pytest.approx(2.895, abs=0.01)  # hours, cut at the 97th percentile


def test_the_table_of_our_own_decoders_is_read() -> None:
    folder = ROOT / "benchmarks"
    read = read_table(folder / "decoders.csv", folder / "decoders.yaml")
    assert len(read) >= 100 and read.whole.all() and len(read.rungs) > 1 and read.cost_unit == "s"
    assert [o.name for o in read.objectives] == ["val_loss", "params", "latency", "collapse_rate"]


def test_sentinels_are_of_our_own_table() -> None:
    with (ROOT / "benchmarks" / "sentinels.csv").open() as file:
        sentinels = list(csv.DictReader(file))
    with (ROOT / "benchmarks" / "decoders.csv").open() as file:
        rows = {row["trial"]: row for row in csv.DictReader(file) if row["seed"] == "0"}
    assert len(sentinels) >= 12
    for sentinel in sentinels:
        row = rows[sentinel["trial"]]
        assert float(sentinel["val_loss"]) == pytest.approx(float(row["val_loss"]), rel=1e-4)
        assert int(sentinel["long_tokens"]) == 10 * int(sentinel["tokens"])
        assert float(sentinel["long_val_loss"]) < float(sentinel["val_loss"])


def test_every_spec_that_ships_is_tested_here() -> None:
    spaces = ("studies", "arms", "claims", "optimizers")  # for benches that train
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.yaml")} == {*SHARED, "decoders", *spaces}
    studies, arms, claims, optimizers = (load_recipe(str(ROOT / "benchmarks" / f"{name}.yaml")) for name in spaces)
    assert studies.search.trials >= 32 and len(arms.space.horizon_bound) >= 3 and "width" in claims.space.searched
    assert len(optimizers.space.searched) == 0


def test_a_table_is_named_by_everything_that_a_replay_depends_on(table: Table) -> None:
    assert dataclasses.replace(table).fingerprint == table.fingerprint
    changed = table.scores.copy()
    changed[0, 0, 0] += 1e-9
    assert dataclasses.replace(table, scores=changed).fingerprint != table.fingerprint
