"""A plan's arithmetic on speeds that are given, and the command on speeds that are measured."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autonas import cost
from autonas.arch import ArchSpec
from autonas.cli import main
from autonas.commands.plan import workers_of_plan
from autonas.data.estimate import CorpusSize
from autonas.engine.choice import EngineSettings
from autonas.plan import Timed, Workplace, plan_study, probes, remaining_seconds, run_plan
from autonas.plan.measuring import time_architecture, time_architectures
from autonas.plan.study import together
from autonas.policy.forecast import interpolate
from autonas.policy.policy import Policy
from autonas.policy.problem import SpaceProblem
from autonas.recipe import Recipe, load_recipe
from autonas.trial import StudyRecord
from tests.studies import write_space

CORPUS = CorpusSize(train_tokens=40_000_000, validation_tokens=2_000_000, disk_bytes=90_000_000, sampled_documents=600)
SECONDS_PER_FLOP = 1e-11


def timed(spec: ArchSpec, seconds_per_flop: float = SECONDS_PER_FLOP) -> Timed:
    return Timed(
        spec=spec,
        seconds_per_token=seconds_per_flop * cost.training_flops_per_token(spec),
        step_tokens=8192,
        timed_tokens=512,
        timed_steps=4,
    )


def workplace(recipe: Recipe, workers: int = 1, seconds_per_flop: float = SECONDS_PER_FLOP) -> Workplace:
    specs = probes(recipe)
    return Workplace(
        engine="ray", workers=workers, threads=1, device="cpu", timed=tuple(timed(s, seconds_per_flop) for s in specs)
    )


@pytest.fixture(scope="module")
def code_lm() -> Recipe:
    return load_recipe("code_lm")


def test_the_real_space_is_planned_and_its_troubles_are_named(code_lm: Recipe) -> None:
    plan = plan_study(code_lm, CORPUS, workplace(code_lm, workers=2))
    assert plan == json.loads(json.dumps(plan))
    assert plan["params"]["max"] <= 30_000_000
    assert plan["promotion"]["tokens"] == 50_000 * 8192
    assert plan["promotion"]["epochs"] == pytest.approx(409.6 / 40)
    notes = "\n".join(plan["warnings"])
    assert "estimates from 600 documents" in notes
    assert "the full run repeats the corpus 10.2 times" in notes
    assert "for the study this machine would need" in notes
    assert "for the full run this machine would need" in notes


def test_what_a_fast_machine_with_much_data_does_is_no_trouble(code_lm: Recipe) -> None:
    corpus = dataclasses.replace(CORPUS, train_tokens=400_000_000)
    notes = "\n".join(plan_study(code_lm, corpus, workplace(code_lm, seconds_per_flop=1e-14))["warnings"])
    assert "repeats" not in notes
    assert "this machine would need" not in notes
    assert "other programs" not in notes


def test_a_busy_machine_is_named(code_lm: Recipe) -> None:
    busy = dataclasses.replace(workplace(code_lm), others_share=0.5)
    assert any("50% of the cores" in note for note in plan_study(code_lm, CORPUS, busy)["warnings"])


def test_workers_share_the_training_and_not_the_measuring(code_lm: Recipe) -> None:
    one, four = (plan_study(code_lm, CORPUS, workplace(code_lm, workers=workers)) for workers in (1, 4))
    assert four["latency_seconds"] == one["latency_seconds"] > 0
    assert one["seconds"] - one["latency_seconds"] == pytest.approx(4 * (four["seconds"] - four["latency_seconds"]), rel=0.1)
    assert [rung["seconds_per_trial"] for rung in one["rungs"]] == [rung["seconds_per_trial"] for rung in four["rungs"]]
    looks = [found["promotion"].pop("second_look") for found in (one, four)]
    assert one["promotion"] == four["promotion"], "a full run takes one worker"
    assert looks[0]["trainings"] == 6
    assert looks[0]["seconds"] == pytest.approx(4 * looks[1]["seconds"]), "and the second look before it all of them"
    assert looks[0]["seconds_per_training"] == pytest.approx(one["rungs"][-1]["seconds_per_trial"], rel=2)


@pytest.mark.parametrize(
    ("changes", "times"),
    [
        ({}, False),
        ({"objectives": ["val_loss", "params", "prefill_latency"]}, True),
        ({"limits": {"latency": {"max": "8 ms"}}}, True),
        ({"limits": {"prefill_latency": {"max": "8 ms"}}}, True),
        ({"limits": {"params": {"max": "1M"}}}, False),
        ({"limits": {"latency": {"max": "8 ms"}}, "latency": {"table": "table.json"}}, False),
        ({"objectives": ["val_loss", "params", "latency"], "latency": {"table": "table.json"}}, False),
    ],
)
def test_latencies_cost_time_where_a_search_would_measure_them(
    tmp_path: Path, code_corpus: Path, changes: dict[str, Any], times: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.json").touch()
    monkeypatch.setattr("autonas.plan.notes.load_table", lambda path: {})
    recipe = load_recipe(str(write_space(tmp_path / "small.yaml", code_corpus, **changes)))
    plan = plan_study(recipe, CORPUS, workplace(recipe))
    assert plan["latency_seconds"] == (5 * 3.0 if times else 0.0)
    assert plan["seconds"] >= plan["latency_seconds"]


@given(st.lists(st.floats(0.1, 1e6), max_size=20), st.integers(1, 50))
def test_jobs_together_take_neither_less_than_their_share_nor_than_the_longest(seconds: list[float], workers: int) -> None:
    found = together(seconds, workers)
    assert found >= max(seconds, default=0.0)
    assert found * workers >= sum(seconds) * 0.999
    assert found <= sum(seconds) * 1.001


def with_scheduler(recipe: Recipe, scheduler: str) -> Recipe:
    return Recipe.from_resolved({**recipe.resolved, "budget": {**recipe.resolved["budget"], "scheduler": scheduler}})


def test_a_study_of_curves_trains_every_trial_for_every_rung(code_lm: Recipe) -> None:
    halving, curves = with_scheduler(code_lm, "pareto"), with_scheduler(code_lm, "curves")
    search, place = curves.search, workplace(code_lm)
    rungs = plan_study(curves, CORPUS, place)["rungs"]
    assert [rung["trials"] for rung in rungs] == [search.trials + search.repeats] * len(search.rungs)
    assert [rung["trials"] for rung in plan_study(halving, CORPUS, place)["rungs"]] == [66, 24, 10]
    assert sum(rung["seconds"] for rung in rungs) > sum(r["seconds"] for r in plan_study(halving, CORPUS, place)["rungs"])


def test_what_is_left_of_a_study_of_curves_are_all_its_rungs(code_lm: Recipe) -> None:
    shape = probes(code_lm)[1]
    point = {"shape": shape.to_dict(), "tokens": 1_000_000, "seconds": 10.0, "val_loss": 4.0, "rate": 1e-3}
    left: dict[str, float] = {}
    for scheduler in ("pareto", "curves"):
        recipe = with_scheduler(code_lm, scheduler)
        study = StudyRecord(name="x", recipe=recipe.resolved, attributes={"calibration": {"points": [point]}}, trials=())
        policy = Policy(SpaceProblem(recipe.space, recipe.objectives), recipe.search)
        found = remaining_seconds(study, recipe, policy, repeats=0)
        assert found is not None
        left[scheduler] = found
    # Rungs of 4, 12 and 36 M tokens, each with a fifth more: 64, 22 and 8 trials against 64 at each.
    tokens = [4 * 1.2, 8 + 12 * 0.2, 24 + 36 * 0.2]
    halved, whole = (sum(n * t for n, t in zip(counts, tokens, strict=True)) for counts in ((64, 22, 8), (64, 64, 64)))
    assert left["curves"] / left["pareto"] == pytest.approx(whole / halved)


def test_twice_the_speed_is_half_the_time(code_lm: Recipe) -> None:
    slow, fast = (plan_study(code_lm, CORPUS, workplace(code_lm, seconds_per_flop=s)) for s in (2e-11, 1e-11))
    for name in ("median", "largest"):
        assert slow["promotion"][name]["seconds"] == pytest.approx(2 * fast["promotion"][name]["seconds"])
    assert slow["rungs"][0]["seconds"] == pytest.approx(2 * fast["rungs"][0]["seconds"])


def test_a_forecast_is_exact_where_it_was_timed_and_between_its_neighbours_elsewhere(code_lm: Recipe) -> None:
    small, median, large = probes(code_lm)
    rates = {small.fingerprint: 3e-11, median.fingerprint: 1e-11, large.fingerprint: 2e-11}
    known = [(spec, rates[spec.fingerprint] * cost.training_flops_per_token(spec)) for spec in (small, median, large)]
    forecast = interpolate(known)
    for spec, seconds in known:
        assert forecast.seconds(spec, 7) == pytest.approx(7 * seconds)
    between = dataclasses.replace(small, layers=small.layers + 3)
    rate = forecast.seconds(between, 1) / cost.training_flops_per_token(between)
    assert 1e-11 < rate < 3e-11
    beyond = dataclasses.replace(large, layers=large.layers * 4)
    assert forecast.seconds(beyond, 1) == pytest.approx(2e-11 * cost.training_flops_per_token(beyond))


def test_a_run_is_its_steps_and_what_comes_before_and_after(code_lm: Recipe) -> None:
    spec = probes(code_lm)[0]
    short, long = (
        run_plan(code_lm, spec, steps, CORPUS, 1e-4, scoring_seconds=5.0, starting_seconds=3.0) for steps in (1000, 3000)
    )
    assert short["tokens"] == 1000 * 8192
    assert short["training_seconds"] == pytest.approx(819.2)
    assert long["training_seconds"] == pytest.approx(3 * short["training_seconds"])
    assert short["seconds"] == pytest.approx(short["training_seconds"] + short["scoring_seconds"] + 3.0)
    each = 2 * 3 * 12 + 2 * 4  # two checkpoints, each with two copies to go back to; the best weights, and the model's
    assert long["disk_bytes"] == short["disk_bytes"] == each * cost.count_params(spec)


def test_what_would_take_too_long_is_not_timed(code_lm: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[ArchSpec] = []

    def time_one(recipe: Recipe, spec: ArchSpec, **_: Any) -> Timed:
        tried.append(spec)
        return timed(spec, 1e-10)

    monkeypatch.setattr("autonas.plan.measuring.time_architecture", time_one)
    specs = probes(code_lm)
    found = time_in(code_lm, specs, 1e6)
    assert [entry.spec for entry in found] == tried == [specs[0]]
    huge = dataclasses.replace(specs[-1], layers=400, width=8192, heads=8, kv_heads=8)
    (only,) = time_in(code_lm, [huge], 1e6)
    assert (only.spec.layers, only.spec.width) == (1, 8192)


def time_in(recipe: Recipe, specs: Sequence[ArchSpec], seconds: float) -> tuple[Timed, ...]:
    deadline = time.monotonic() + seconds
    return time_architectures(recipe, specs, device="cpu", threads=1, say=lambda text: None, deadline=deadline)


@pytest.mark.parametrize(("seconds", "count"), [(-5.0, 1), (0.0, 1), (1e-3, 1), (1.0, 3), (1e6, 3)])
def test_timing_ends_with_its_deadline_but_the_smallest_is_always_timed(
    code_lm: Recipe, monkeypatch: pytest.MonkeyPatch, seconds: float, count: int
) -> None:
    given: list[float] = []

    def time_one(recipe: Recipe, spec: ArchSpec, *, seconds: float, **_: Any) -> Timed:
        given.append(seconds)
        return timed(spec, 1e-14)

    monkeypatch.setattr("autonas.plan.measuring.time_architecture", time_one)
    monkeypatch.setattr("autonas.plan.measuring._LEAST_SECONDS", 0.01)
    found = time_in(code_lm, probes(code_lm), seconds)
    assert [entry.spec for entry in found] == list(probes(code_lm)[:count])
    assert all(each <= 4.0 for each in given)
    assert sum(given) <= max(seconds, 0.02)


def test_architectures_that_were_not_timed_are_reckoned_by_flops_and_it_is_said(code_lm: Recipe) -> None:
    whole = workplace(code_lm)
    cut = dataclasses.replace(whole, timed=whole.timed[:1])
    found = plan_study(code_lm, CORPUS, cut)
    assert any("1 of 3 architectures were timed" in note for note in found["warnings"])
    complete = plan_study(code_lm, CORPUS, whole)
    assert found["seconds"] == pytest.approx(complete["seconds"]), "these times are in proportion to FLOPs"
    assert not any("were timed" in note for note in complete["warnings"])


def test_a_latency_is_not_timed_when_time_is_up(code_lm: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autonas.plan.measuring._latency_ms", lambda *_: pytest.fail("timed"))
    spec = dataclasses.replace(probes(code_lm)[0], layers=1, width=16, heads=2, kv_heads=2)
    found = time_architecture(code_lm, spec, device="cpu", threads=1, seconds=0.01, deadline=time.monotonic())
    assert found.latency_ms is None


@pytest.mark.parametrize(
    ("gpus", "share", "cores", "threads", "workers"),
    [(3, 0.4, 64, 1, 6), (3, None, 64, 1, 3), (3, 0.4, 8, 2, 4), (2, 2.0, 64, 1, 1), (1, 0.5, 1, 1, 1), (0, None, 5, 2, 2)],
)
def test_the_workers_of_a_plan_are_those_that_would_fit(
    monkeypatch: pytest.MonkeyPatch, gpus: int, share: float | None, cores: int, threads: int, workers: int
) -> None:
    monkeypatch.setattr("autonas.machine.num_cores", lambda: cores)
    monkeypatch.setattr("autonas.training.speed.num_gpus", lambda: gpus)
    device = torch.device("cuda" if gpus else "cpu")
    monkeypatch.setattr("autonas.evaluation.latency.resolve_device", lambda name: device)
    settings = EngineSettings(threads=threads, gpus_per_worker=share)
    assert workers_of_plan(settings) == workers


# The command


@pytest.fixture
def space(tmp_path: Path, code_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("autonas.plan.measuring._SECONDS", 0.1)
    monkeypatch.setattr("autonas.commands.plan._RUN_SECONDS", 0.1)
    (tmp_path / "arch.yaml").write_text("layers: 1\nwidth: 16\nheads: 2\nkv_heads: 1\n", encoding="utf-8")
    (tmp_path / "other.yaml").write_text("layers: 1\nwidth: 16\nheads: 2\nvocab_size: 999\n", encoding="utf-8")
    return str(write_space(tmp_path / "small.yaml", code_corpus, promote={"steps": 300}))


def plan(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["plan", *arguments])
    written = capsys.readouterr()
    return code, written.out, written.err


def test_a_study_is_planned_for_the_workers_asked_for(space: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = plan(capsys, "--space", space, "--workers", "3", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["engine"]["workers"] == 3
    assert len(found["timed"]) >= 1
    assert found["promotion"]["tokens"] == 300 * 512
    assert found["corpus"]["fingerprint"]
    assert found["disk_bytes"]["corpus"] > 0
    code, out, _ = plan(capsys, "--space", space, "--engine", "inline")
    assert code == 0
    assert "workers     1 (inline)" in out
    assert "promotion   300 steps" in out
    assert "second look 3 candidates, 2 new trainings each, " in out
    assert max(map(len, out.splitlines())) < 250


def test_a_full_run_is_planned_by_its_architecture_and_steps(space: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = plan(capsys, "--space", space, "--spec", "arch.yaml", "--steps", "40", "--threads", "1", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["tokens"] == 40 * 512
    assert found["seconds"] > found["training_seconds"] > 0
    code, out, _ = plan(capsys, "--space", space, "--spec", "arch.yaml", "--steps", "40", "--threads", "1")
    assert code == 0
    assert "in all      about" in out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--spec", "arch.yaml"], "--steps"),
        (["--steps", "5"], "--spec"),
        (["--spec", "other.yaml", "--steps", "5"], "vocab_size is 999"),
        (["--engine", "inline", "--workers", "2"], "one worker"),
        (["--engine", "inline", "--ray-address", "somewhere:6379"], "leave out --workers and --ray-address"),
        (["--engine", "inline", "--device", "tpu"], "cannot train"),
        (["--ray-address", "somewhere:6379"], "--workers"),
    ],
)
def test_a_wrong_plan_is_one_message(
    space: str, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autonas.data.estimate.size_corpus", lambda *_, **__: pytest.fail("the corpus was read first"))
    code, out, err = plan(capsys, "--space", space, *arguments)
    assert code == 2
    assert out == ""
    assert complaint in err.splitlines()[-1]
