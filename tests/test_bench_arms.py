"""`autonas bench arms`: full runs with every arm, beside what replicas and truncated runs chose."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from autonas.arch import ArchSpec
from autonas.bench.arms import REGIMES, Case, PairedTest, full_run, paired_tests, rows_of, truncated
from autonas.cli import main
from autonas.policy.arms import SMALLEST_EFFECT
from autonas.policy.prediction import Interval, Predicted
from autonas.policy.replica import FullRun, Replica, replica_of, training_flops
from autonas.policy.verdicts import Paired
from autonas.recipe import load_recipe
from tests.studies import SMALL, write_space

ROOT = Path(__file__).parents[1]


def the_run(unique: float = 1.0, epochs: float = 13.6) -> FullRun:
    recipe = load_recipe(str(ROOT / "benchmarks" / "arms.yaml"))
    spec = ArchSpec(layers=4, width=64, heads=2, kv_heads=2, vocab_size=1024, context_length=128)
    return full_run(recipe, spec, unique, epochs)


def the_replica() -> Replica:
    full = the_run()
    replica = replica_of(full, ArchSpec(layers=2, width=32, heads=2, kv_heads=2, vocab_size=1024, context_length=128))
    assert replica is not None
    return replica


@pytest.mark.parametrize(("unique", "epochs"), REGIMES)
def test_a_full_run_reads_its_own_corpus_as_often_as_asked(unique: float, epochs: float) -> None:
    from autonas import cost

    run = the_run(unique, epochs)
    assert run.epochs == pytest.approx(epochs, rel=0.01)
    assert run.corpus_tokens == pytest.approx(unique * cost.count_params(run.spec), rel=0.01)


def test_a_truncated_run_costs_what_it_may_and_keeps_the_shares() -> None:
    replica = the_replica()
    full = replica.full
    cut = truncated(replica, full.tokens * training_flops(replica.run) / training_flops(full))
    assert cut.run.spec == full.spec and cut.rate_factor == 1.0 and cut.unique_tokens == full.corpus_tokens
    assert training_flops(cut.run) == pytest.approx(training_flops(replica.run), rel=0.02)
    assert cut.ratios()["cooldown_share"][1] == pytest.approx(cut.ratios()["cooldown_share"][0], rel=0.02)
    assert cut.ratios()["warmup_share"][1] == pytest.approx(cut.ratios()["warmup_share"][0], rel=0.02)
    assert cut.run.epochs < 0.2 * full.epochs


def case(tests: list[tuple[float, bool, bool]], *, reach: float = 0.01, loss: float = 4.0) -> Case:
    """A case whose arms differ from the defaults by so much, with what each way chose."""
    replica = the_replica()
    return Case(
        full=replica.full,
        replica=replica,
        tests=tuple(
            PairedTest(dimension="d", value=i, difference=difference, reach=reach, by_replicas=ours, by_truncated=theirs)
            for i, (difference, ours, theirs) in enumerate(tests)
        ),
        values={},
        predicted=Predicted(
            value=4.0,
            intervals=(Interval(level=0.8, low=3.9, high=4.1), Interval(level=0.95, low=3.8, high=4.2)),
            unit="nats/token",
            basis="",
        ),
        loss=loss,
    )


def by_metric(cases: list[Case]) -> dict[str, float | None]:
    return {row.metric: row.ours for row in rows_of(cases)}


def test_who_chooses_the_better_is_right() -> None:
    arms = [(-0.1, True, False), (+0.1, False, True), (-0.05, False, False), (+0.001, True, False)]
    found = by_metric([case(arms)])
    told = "choose the better where full runs tell it"
    right = f"choose right, to {SMALLEST_EFFECT:g} nats"
    assert found[f"replicas {told}"] == pytest.approx(2 / 3)  # the last arm is not told from the default
    assert found[f"replicas {right}"] == pytest.approx(3 / 4)
    assert found[f"truncated runs of equal compute {told}"] == 0.0
    assert found[f"truncated runs of equal compute {right}"] == pytest.approx(1 / 4)
    assert found["what replicas give away"] == pytest.approx((0.05 + 0.001) / 4)
    assert found["what truncated runs of equal compute give away"] == pytest.approx((0.1 + 0.1 + 0.05) / 4)


def test_losses_outside_of_their_intervals_count() -> None:
    arms = [(-0.1, True, True)]
    found = by_metric([case(arms, loss=loss) for loss in (4.0, 4.05, 4.15, 5.0)])
    assert found["full runs' losses inside their 80% interval"] == pytest.approx(0.5)
    assert found["full runs' losses inside their 95% interval"] == pytest.approx(0.75)


def test_where_full_runs_tell_nothing_nothing_is_claimed() -> None:
    (row,) = [row for row in rows_of([case([(-0.1, True, True)], reach=0.2)]) if row.goal and "tell it" in row.metric]
    assert row.ours is None and row.met is False and row.note.startswith("not measured")


def test_arms_of_several_dimensions_are_no_tests() -> None:
    def paired(changes: dict[str, float]) -> Paired:
        return Paired(changes=changes, difference=-0.1, error=0.01, reach=0.03, error_over_documents=0.01, seeds=2)

    found = paired_tests([paired({"a": 1.0}), paired({"a": 2.0}), paired({"a": 1.0, "b": 2.0})], {"a": 2.0, "b": 2.0}, {})
    assert [(test.value, test.by_replicas, test.by_truncated) for test in found] == [(1.0, False, False), (2.0, True, False)]


@pytest.fixture
def space(tmp_path: Path, code_corpus: Path) -> Path:
    """One architecture that by its default rate learns its small corpus by heart: no run misses which rate is right."""
    rates = {"choice": [1e-5, 2e-3], "default": 2e-3}
    sections: dict[str, Any] = {
        "space": {**SMALL["space"], "layers": 1, "width": 16, "heads": 2, "kv_heads": 2, "learning_rate": rates},
        "rules": ["width % heads == 0"],
        "budget": {"trials": 1, "rungs": ["8K"], "repeats": 0},
        "horizon": {"share": 20, "seeds": 2},
        "objectives": ["val_loss", "params"],
        "evaluation": {"validation_tokens": "40K"},
    }
    return write_space(tmp_path / "arms.yaml", code_corpus, **sections)


@pytest.mark.slow
def test_real_runs_find_the_right_arm_and_are_not_repeated(
    space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "arms", "--space", str(space), "--trials", "1", "--engine", "inline", "--out", str(tmp_path), "--json"]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["metric"]: row["ours"] for row in found["rows"]}
    assert rows["replicas choose the better where full runs tell it"] == 1.0
    assert rows["what replicas give away"] == 0.0
    outcomes = sorted(tmp_path.glob("*-0-0/*/replicas/outcomes/*.json"))
    assert {path.parents[2].name for path in outcomes} == {"replicas", "truncated", "full", "rung"}
    before = {path: path.stat().st_mtime_ns for path in outcomes}
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in outcomes} == before
    assert json.loads(capsys.readouterr().out)["rows"] == found["rows"]
    assert all(math.isfinite(row["ours"]) for row in found["rows"])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"learning_rate": 1e-3}, [], "no horizon-bound dimension varies"),
        ({"layers": 8, "width": 1024, "heads": 8}, ["--trials", "1"], "give a larger corpus, or smaller architectures"),
        ({}, ["--samplers", "autonas,random"], "has no use for --samplers"),
    ],
)
def test_a_wrong_request_is_one_message(
    change: dict[str, Any], options: list[str], message: str, space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load(space.read_text())
    values["space"] |= change
    space.write_text(yaml.safe_dump(values))
    assert main(["bench", "arms", "--space", str(space), "--out", str(tmp_path), "--engine", "inline", *options]) == 2
    assert message in capsys.readouterr().err
