"""`autonas bench optimizers`: planted differences are told, averages are averages, the trainings real and not repeated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autonas.bench import optimizers_trainings as trainings
from autonas.bench.optimizers import SPACE, average_rows, comparison_rows, measure
from autonas.bench.optimizers_trainings import ARMS, Averages, best_rate
from autonas.bench.statistics import Ratio
from autonas.cli import main
from autonas.errors import RequestError
from autonas.recipe import load_recipe
from autonas.trial import TrainingSettings
from tests.studies import write_space
from tests.training.conftest import StateMaker, make_state, tokens

__all__ = ["make_state", "tokens"]  # fixtures

ALIKE = Ratio(value=1.0, low=1.0, high=1.0)


def found(**ends: list[float]) -> dict[str, dict[int, dict[str, float]]]:
    """By arm, losses of seeds 0, 1, …"""
    return {arm: {seed: {"end": loss} for seed, loss in enumerate(losses)} for arm, losses in ends.items()}


def rows_by_name(losses: Any, speeds: Any = None) -> dict[str, Any]:
    rates = dict.fromkeys(ARMS, 1e-3)
    return {row.metric: row for row in comparison_rows(losses, rates, speeds or dict.fromkeys(ARMS, ALIKE))}


def test_a_difference_that_all_seeds_share_is_told_however_unlike_they_are() -> None:
    row = rows_by_name(found(adamw=[4.0, 5.0, 6.0], muon=[3.9, 4.91, 5.89]))["muon - adamw, equal tokens"]
    assert row.ours == pytest.approx(-0.1)
    assert row.low < -0.1 < row.high < 0.0


def test_a_difference_of_one_seed_is_not(tmp_path: Path) -> None:
    row = rows_by_name(found(adamw=[4.0, 5.0, 6.0], muon=[3.7, 5.0, 6.0]))["muon - adamw, equal tokens"]
    assert row.low < 0.0 < row.high


def test_at_equal_time_a_slower_step_has_had_fewer_tokens() -> None:
    losses = found(adamw=[4.0, 5.0, 6.0], muon=[3.9, 4.9, 5.91])
    for each in losses["muon"].values():
        each["equal time"] = each["end"] + 0.2
    speeds = dict.fromkeys(ARMS, ALIKE) | {"muon": Ratio(value=0.8, low=0.75, high=0.85)}
    rows = rows_by_name(losses, speeds)
    assert rows["muon - adamw, equal time"].ours == pytest.approx(0.1, abs=0.01)
    assert rows["a step of muon"].ours == pytest.approx(1.25)
    assert rows["a step of muon"].low < 1.25 < rows["a step of muon"].high


def test_an_arm_that_failed_is_said_to_have_failed() -> None:
    row = rows_by_name(found(adamw=[4.0, 5.0]))["muon"]
    assert row.ours is None and "no training came to its end" in row.note
    losses = found(adamw=[4.0, 5.0], muon=[3.9, 4.9])
    losses["muon"][1] = {}
    assert "fewer than two pairs" in rows_by_name(losses)["muon - adamw, equal tokens"].note


def test_the_best_rate_is_the_lowest_that_ended() -> None:
    assert best_rate({1e-3: {"end": 4.0}, 2e-3: {"end": 3.9}, 4e-3: {}}) == 2e-3
    assert best_rate({1e-3: {}}) is None


def test_averages_are_averages(make_state: StateMaker) -> None:
    """Of weights that stand still themselves; LAWA is the plain mean of the last ones, the running mean lags behind a line."""
    state = make_state()
    weights, step = state.optimizer.flat.weights, state.step_tokens
    total = 100 * step
    still, moving = Averages(state, total), Averages(state, total)
    before = weights.clone()
    for _ in range(100):
        state.tokens += step
        still.see(state)
    assert [loss for _, loss in still.losses(state, lambda s: float((weights - before).abs().max()))] == pytest.approx(
        [0.0] * 3, abs=1e-6
    )
    state.tokens = 0
    for number in range(100):
        weights.fill_(float(number + 1))
        state.tokens += step
        moving.see(state)
    values = dict(moving.losses(state, lambda s: float(weights.mean())))
    assert values["lawa 6 x 2%"] == pytest.approx(sum(range(90, 101, 2)) / 6)
    assert values["ema 5%"] == pytest.approx(100 - 4, abs=0.1)  # a mean of age n steps lags n - 1
    assert values["ema 1%"] == pytest.approx(100.0)
    assert float(weights.mean()) == 100.0, "and the weights are what they were"


def test_averages_are_compared_where_both_were_looked_at() -> None:
    by_seed = {seed: {"trunk": 4.0 + seed, "trunk, ema 5%": 3.9 + seed + 0.01 * seed, "end": 3.5} for seed in range(3)}
    (row,) = average_rows({"wsd": by_seed, "cosine": {}})
    assert row.metric == "ema 5% - last weights, wsd, trunk"
    assert row.ours == pytest.approx(-0.09)


def test_the_shipped_space_has_one_decoder() -> None:
    recipe = load_recipe(str(SPACE))
    assert recipe.space.size() == 1
    assert recipe.training == TrainingSettings(batch_tokens=1024, warmup_tokens=16_000)


def test_a_small_one_is_measured_once(
    code_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trainings, "_BLOCKS", 2)
    space = write_space(
        tmp_path / "one.yaml",
        code_corpus,
        space={"layers": 1, "width": {"choice": [16]}, "heads": 2},
        rules=[],
        budget={"rungs": ["3K"], "batch_tokens": 256},
        training={"warmup": 256},
    )
    command = ["bench", "optimizers", "--space", str(space), "--seeds", "2", "--out", str(tmp_path / "trials"), "--json"]
    assert main([*command, "--threads", "1"]) == 0
    first = json.loads(capsys.readouterr().out)
    rows = {row["metric"]: row for row in first["rows"]}
    assert set(first["conditions"]["rates"]) == set(ARMS)
    assert 1.0 < rows["adamw: loss"]["ours"] < 7.0
    for arm in list(ARMS)[1:]:
        assert rows[f"{arm} - adamw, equal tokens"]["low"] <= rows[f"{arm} - adamw, equal tokens"]["ours"]
        assert rows[f"a step of {arm}"]["ours"] > 0.0
    assert {"ema 1% - last weights, wsd, end", "lawa 6 x 2% - last weights, cosine, end"} <= rows.keys()

    def again(*arguments: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(trainings, "_train", again)
    monkeypatch.setattr(trainings, "_step_seconds", again)
    assert main([*command, "--threads", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == first["rows"]


def test_one_seed_is_refused() -> None:
    with pytest.raises(RequestError, match="an interval over seeds takes two"):
        measure(seeds=1)
