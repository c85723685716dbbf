"""`autonas bench ledger`: what it times is the policy and the ledger of a real study, durable as there."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import time
from pathlib import Path

import numpy as np
import optuna
import pytest

from autonas.arch import ArchSpec
from autonas.bench import Row
from autonas.bench import ledger as ledger_bench
from autonas.bench.ledger import _ask_rows, _rate_row, _recipe, _Turn, measure
from autonas.bench.null_study import Ask, OurStudy, PeerStudy, null_loss, null_outcome
from autonas.cli import main
from autonas.ledger import Ledger
from autonas.policy.policy import Policy
from autonas.recipe import Recipe
from autonas.trial import StudyRecord, TrialRecord, from_json, to_json

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
SPEC = ArchSpec(layers=4, width=256, heads=4, kv_heads=4)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return _recipe(tmp_path / "space.yaml", 500, "random", 0)


def written(folder: Path) -> StudyRecord:
    with contextlib.closing(Ledger.open("null", folder, None)) as ledger:
        return ledger.read()


def test_the_study_that_is_timed_is_on_the_disk_and_as_its_policy_wants_it(recipe: Recipe, tmp_path: Path) -> None:
    ours = OurStudy(recipe, tmp_path / "ours")
    ours.search(40)
    study = written(tmp_path / "ours")
    assert study == ours.read()
    assert ours.begun == len(study.trials) == 40
    assert len({trial.spec for trial in study.trials}) == 40, "no architecture twice"
    assert len(ours.asks) == 40 and [ask.trials for ask in ours.asks] == list(range(40))
    for trial in study.trials[:-1]:
        assert trial.rungs and trial.spec is not None
        for rung, outcome in enumerate(trial.rungs):
            assert outcome == null_outcome(trial.number, trial.spec, rung, recipe.search.rungs[rung])
    assert all(0 < ask.deciding_s < ask.seconds for ask in ours.asks)
    assert sum(ours.spent.values()) >= sum(ask.seconds for ask in ours.asks)


def test_every_record_is_flushed_to_the_disk(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed, fsync = list[int](), os.fsync

    def counted(descriptor: int) -> None:
        flushed.append(descriptor)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    ours = OurStudy(recipe, tmp_path / "ours")
    before = len(flushed)
    ours.search(12)
    study = ours.read()
    records = sum(1 + len(trial.rungs) + (trial.state != "live") for trial in study.trials)
    assert len(flushed) - before >= records


def test_a_block_of_no_time_begins_nothing(recipe: Recipe, tmp_path: Path) -> None:
    ours, peer = OurStudy(recipe, tmp_path / "ours"), PeerStudy(recipe, tmp_path / "peer.log")
    ours.search(10, time.monotonic() - 1)
    peer.search(10, time.monotonic() - 1)
    assert (ours.begun, peer.begun, ours.asks, peer.asks) == (0, 0, [], [])


def test_filling_leaves_trials_that_have_ended_and_the_policy_goes_on_from_them(recipe: Recipe, tmp_path: Path) -> None:
    ours = OurStudy(recipe, tmp_path / "ours")
    ours.search(10)
    ours.fill(150)
    before = ours.read()
    assert ours.begun == len(before.trials) == 150
    filled = before.trials[10:]
    assert {trial.state for trial in filled} == {"stopped", "complete"}
    reached = [sum(len(trial.rungs) > rung for trial in filled) / len(filled) for rung in range(3)]
    assert reached[0] == 1.0 and 0.2 < reached[1] < 0.5 and 0.02 < reached[2] < 0.25
    assert all(trial.state == "complete" for trial in filled if len(trial.rungs) == 3)
    assert ours.go_on(trials=400) > 0
    assert ours.read() == before
    ours.search(5)
    assert len(ours.read().trials) == 155 and ours.read().trials[:10][0].params == before.trials[0].params


def test_the_peer_asks_and_tells_whole_trials_in_its_own_file(recipe: Recipe, tmp_path: Path) -> None:
    peer = PeerStudy(recipe, tmp_path / "peer.log")
    peer.search(12)
    peer.fill(40)
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "peer.log")))
    (study,) = optuna.get_all_study_names(storage)
    trials = optuna.load_study(study_name=study, storage=storage).trials
    assert len(trials) == peer.begun == 40 and len(peer.asks) == 12
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)
    for trial in trials:
        spec = recipe.space.decode(trial.params)
        assert trial.values[0] == null_loss(spec, recipe.search.rungs[-1])


def test_the_null_loss_falls_with_tokens_and_size_and_is_smooth() -> None:
    losses = [null_loss(SPEC, tokens) for tokens in (10**6, 10**7, 10**8)]
    assert losses == sorted(losses, reverse=True)
    wide = [null_loss(dataclasses.replace(SPEC, width=width), 10**7) for width in (128, 256, 512, 1024)]
    assert wide == sorted(wide, reverse=True)
    steps = np.diff([null_loss(dataclasses.replace(SPEC, layers=layers), 10**7) for layers in range(2, 17)])
    assert np.abs(steps).max() < 0.25


def test_an_outcome_has_as_much_in_it_as_a_workers() -> None:
    outcome = null_outcome(3, SPEC, 1, 12_000_000)
    assert outcome.documents is not None and len(outcome.documents.nats) >= 20 and len(outcome.curve) >= 20
    assert from_json(type(outcome), to_json(outcome)) == outcome


# What is made of the times


def test_the_rate_is_trials_over_seconds_and_met_at_the_goal() -> None:
    fast = [_Turn(trials=50, seconds=0.25 + 0.01 * (i % 3)) for i in range(20)]
    row = _rate_row(fast, 1000)
    assert row.ours == pytest.approx(1000 / sum(turn.seconds for turn in fast))
    assert row.low is not None and row.high is not None and row.low <= (row.ours or 0) <= row.high and row.met
    assert not _rate_row([_Turn(trials=50, seconds=0.6)] * 20, 1000).met
    assert not _rate_row(fast[:10], 1000).met, "time was up before there were a thousand"


def test_asks_are_met_by_their_95th_percentile() -> None:
    ours = [Ask(trials=1000 + i, deciding_s=0.01, seconds=0.02 + 0.001 * i) for i in range(100)]
    peers = [Ask(trials=1000, deciding_s=0.2, seconds=0.2)] * 20
    high, median = _ask_rows(ours, peers, 1000)
    assert high.ours == pytest.approx(np.percentile([20 + i for i in range(100)], 95)) and high.goal == 100.0
    assert high.met is False
    assert _ask_rows(ours[:70], peers, 1000)[0].met is True
    assert median.ratio == pytest.approx(200 / np.median([20 + i for i in range(100)]))
    assert median.low is not None and median.high is not None and median.low <= median.ratio <= median.high  # type: ignore[operator]
    (missing,) = _ask_rows([], peers, 10_000)
    assert missing.ours is None and missing.met is False


def test_the_whole_measurement_is_of_the_numbers_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_bench, "_BLOCK", 10)
    monkeypatch.setattr(ledger_bench, "_ASKS", 10)
    monkeypatch.setattr(ledger_bench, "_PEER_ASKS", 3)
    found = measure(trials=30, sampler="random", marks=(20, 80))
    rows = {(row.metric, row.peer_name): row for row in found.rows}
    assert rows["trials a second, over the first 30", None].ours
    assert rows["trials a second, over the first 30", "Optuna"].ratio
    for mark in (20, 80):
        assert "10 asks" in rows[f"ask around {mark} trials, 95th percentile", None].note or mark == 80
        assert "3 of the peer's" in rows[f"ask around {mark} trials, median", "Optuna"].note
    assert rows["first ask when going on at 75 trials", None].ours
    assert found.conditions["sampler"] == "random"
    assert all(isinstance(row, Row) and row.ours is not None for row in found.rows)


def test_the_command_takes_trials_and_sampler_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ledger_bench, "ASK_GOALS_MS", {})
    monkeypatch.setitem(measure.__kwdefaults__ or {}, "marks", ())
    assert main(["bench", "ledger", "--trials", "20", "--sampler", "random", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == "ledger" and told["rows"][0]["metric"] == "trials a second, over the first 20"
    assert main(["bench", "ledger", "--sampler", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err
    assert main(["bench", "ledger", "--archs", "3"]) == 2


def test_the_policy_is_asked_as_a_search_would(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, next_step = list[tuple[TrialRecord, ...]](), Policy.next_step

    def watched(policy: Policy, study: StudyRecord, **how: object) -> object:
        assert how == {"running": frozenset()}
        shown.append(study.trials)
        return next_step(policy, study, running=frozenset())

    monkeypatch.setattr(Policy, "next_step", watched)
    ours = OurStudy(recipe, tmp_path / "ours")
    ours.search(15)
    # It sees every change as soon as it was made: each step changes one trial or adds one.
    for before, after in itertools.pairwise(shown):
        changed = [number for number, trial in enumerate(before) if after[number] != trial]
        assert len(changed) + len(after) - len(before) == 1
