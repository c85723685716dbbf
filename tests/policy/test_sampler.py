"""What every sampler promises, and what Optuna's Gaussian processes add, asked in their own process."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autonas import pareto
from autonas.errors import RecipeError
from autonas.policy import gaussian, sampler
from autonas.policy.problem import SpaceProblem
from autonas.policy.respondent import Respondent
from autonas.policy.settings import MOST_GP_OBJECTIVES, OPTUNA_SAMPLERS
from autonas.recipe import load_recipe
from autonas.space.domains import Choice, Domain, Int
from autonas.space.space import Space
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord
from tests.test_recipe import write

ROOT = Path(__file__).parent.parent.parent
DOMAINS: dict[str, Domain] = {
    "layers": Int(low=1, high=12),
    "width": Choice(options=(16, 24, 32, 48, 64, 96)),
    "heads": Choice(options=(2, 4, 8)),
    "kv_heads": Choice(options=(1, "heads")),
}
SPACE = Space(name="closed form", domains=DOMAINS, vocab_size=300, context_length=64)
OBJECTIVES = ("val_loss", "params")
PROBLEM = SpaceProblem(SPACE, OBJECTIVES)


def loss_of(params: Mapping[str, Any]) -> float:
    """Falls with size; some heads are better than others. With `params` a front of about as many trials as layers."""
    return float(6 - 0.3 * np.log(params["layers"]) - 0.5 * np.log(params["width"]) + 0.2 * (params["heads"] != 4))


def trained(number: int, params: Mapping[str, Any], **changes: Any) -> TrialRecord:
    scores = {"val_loss": Score.exact(loss_of(params), "nats/token")}
    outcome = Outcome(kind="train", trial=number, attempt=1, rung=0, seconds=1.0, scores=scores)
    size = {"params": Score.exact(float(params["layers"] * params["width"] ** 2), "parameters")}
    record = TrialRecord(number=number, state="complete", params=params, spec=None, scores=size, rungs=(outcome,))
    return dataclasses.replace(record, **changes)


def untrained(number: int, params: Mapping[str, Any], **changes: Any) -> TrialRecord:
    return trained(number, params, rungs=(), **changes)


def study_of(*trials: TrialRecord) -> StudyRecord:
    numbered = tuple(dataclasses.replace(trial, number=number) for number, trial in enumerate(trials))
    return StudyRecord(name="s", recipe={}, attributes={}, trials=numbered)


def draws(count: int, seed: int = 0, space: Space = SPACE) -> list[dict[str, Any]]:
    """Distinct params, drawn at random."""
    rng = np.random.default_rng(seed)
    found: list[dict[str, Any]] = []
    while len(found) < count:
        params = space.draw(rng)
        if params not in found:
            found.append(params)
    return found


def draw(name: str, study: StudyRecord, seed: int = 0, attempt: int = 0) -> dict[str, Any]:
    return sampler.draw(name, PROBLEM, study, num_rungs=1, seed=seed, attempt=attempt)[0]


def mixed_study() -> StudyRecord:
    """Every state that a trial can be in, with enough results to learn from."""
    params = draws(20)
    return study_of(
        *(trained(0, p) for p in params[:12]),
        *(untrained(0, p, state="infeasible") for p in params[12:15]),
        *(untrained(0, p, state="failed", failure="nan") for p in params[15:17]),
        *(untrained(0, p, state="live") for p in params[17:19]),
        untrained(0, params[19], state="stopped"),
        trained(0, params[3], repeat_of=3),
    )


@pytest.mark.parametrize("name", OPTUNA_SAMPLERS)
def test_a_draw_is_from_the_space_at_any_length_of_study(name: str) -> None:
    whole = mixed_study()
    for count in (0, 1, 9, 14, len(whole.trials)):
        params = draw(name, study_of(*whole.trials[:count]))
        assert set(params) == set(DOMAINS)
        assert all(DOMAINS[key].contains(value) for key, value in params.items())


@pytest.mark.parametrize("name", OPTUNA_SAMPLERS)
def test_a_draw_depends_on_seed_record_and_attempt_alone(name: str) -> None:
    study = mixed_study()
    first = draw(name, study)
    assert draw(name, study) == first
    assert len({json.dumps(draw(name, study, seed, attempt)) for seed in range(2) for attempt in range(2)}) > 1


FRESH = """
import sys
from tests.policy.test_sampler import OPTUNA_SAMPLERS, draw, json, mixed_study
print(json.dumps([draw(name, mixed_study(), 3) for name in OPTUNA_SAMPLERS]))
print("torch" in sys.modules)
"""


def test_a_fresh_process_draws_the_same_and_imports_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True, cwd=ROOT)
    fresh, torch_is_there = done.stdout.splitlines()
    assert json.loads(fresh) == [draw(name, mixed_study(), 3) for name in OPTUNA_SAMPLERS]
    assert torch_is_there == "False"
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["tpe", "gp"])
def test_what_was_infeasible_is_avoided(name: str) -> None:
    # Losses fall with size, and everything large was refused.
    params = draws(60, seed=1)
    large = [p for p in params if p["layers"] * p["width"] > 300]
    small = [p for p in params if p["layers"] * p["width"] <= 300]
    assert min(len(large), len(small)) > 20
    losses = [trained(0, p, scores={"params": Score.exact(1.0, "parameters")}) for p in small[:20]]
    ignorant = study_of(*losses)
    told = study_of(*losses, *(untrained(0, p, state="infeasible") for p in large))

    def refused(study: StudyRecord) -> int:
        return sum(p["layers"] * p["width"] > 300 for p in (draw(name, study, seed) for seed in range(12)))

    assert refused(told) <= 1
    assert refused(ignorant) >= (10 if name == "gp" else 3)


@pytest.mark.parametrize("left", [(1, 10, 4), (0, 1, 12), (8, 0, 5), (0, 0, 12), (1, 1, 10), (9, 1, 1)])
@pytest.mark.parametrize("seed", range(3))
def test_nsgaii_goes_on_whatever_halving_has_left_of_its_generations(left: tuple[int, ...], seed: int) -> None:
    """Of three generations so many trials each have reached the second rung."""
    key = "NSGAIISampler:generation"
    trials: list[TrialRecord] = []
    for params in draws(48):
        _, notes = sampler.draw("nsgaii", PROBLEM, study_of(*trials), num_rungs=2, seed=seed)
        trials.append(trained(0, params, sampler_state=notes, state="live"))
    assert [int(trial.sampler_state[key]) for trial in trials] == [0] * 16 + [1] * 16 + [2] * 16

    def promoted(trial: TrialRecord) -> TrialRecord:
        (first,) = trial.rungs
        return dataclasses.replace(trial, rungs=(first, dataclasses.replace(first, rung=1)))

    ends = [range(16 * generation, 16 * generation + count) for generation, count in enumerate(left)]
    shown = [promoted(trial) if any(place in end for end in ends) else trial for place, trial in enumerate(trials)]
    for _ in range(20):  # until a generation is full, and the next one begins
        assert sampler.learning_rung(study_of(*shown), 2) == 1
        params, notes = sampler.draw("nsgaii", PROBLEM, study_of(*shown), num_rungs=2, seed=seed)
        shown.append(promoted(trained(0, params, sampler_state=notes, state="live")))
    later = [int(trial.sampler_state[key]) for trial in shown[48:]]
    assert later == sorted(later) and later[0] == 2 and later[-1] in (3, 4)


def test_gp_does_not_propose_what_is_running() -> None:
    scored = [gaussian.Point(state="scored", params=p, values=(loss_of(p), 0.0)) for p in draws(20)]
    kinds = sampler.distributions(DOMAINS)
    wanted = gaussian.draw(kinds, 2, tuple(scored), seed=1)
    pending = gaussian.Point(state="pending", params=wanted)
    assert gaussian.draw(kinds, 2, (*scored, pending), seed=1) != wanted


def test_gp_is_told_scores_what_runs_and_what_is_infeasible_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[gaussian.Point] = []

    def listen(kinds: object, num_objectives: int, points: tuple[gaussian.Point, ...], seed: int) -> dict[str, Any]:
        told.extend(points)
        return dict(points[0].params)

    monkeypatch.setattr(gaussian, "draw", listen)
    study = mixed_study()
    draw("gp", study)
    states = [point.state for point in told]
    assert states == ["scored"] * 12 + ["infeasible"] * 3 + ["pending"] * 2
    assert [point.params for point in told] == [t.params for t in (*study.trials[:15], *study.trials[17:19])]
    assert told[0].values == (study.trials[0].rungs[0].scores["val_loss"].value, np.log(study.trials[0].scores["params"].value))


def test_gp_draws_at_random_until_it_has_results_and_when_it_names_what_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian, "draw", lambda *arguments: pytest.fail("asked"))
    nine = study_of(*(trained(0, p) for p in draws(9)))
    assert draw("gp", nine) == draw("random", nine)
    assert draw("gp", mixed_study(), attempt=3) == draw("random", mixed_study(), attempt=3)


@pytest.mark.parametrize("seed", [0, 1])
def test_gp_finds_a_larger_front_than_random_draws(seed: int) -> None:
    def volume(name: str) -> float:
        trials: list[TrialRecord] = []
        asks = 0
        while len(trials) < 26:
            params = draw(name, study_of(*trials), seed, asks)
            known = any(params == trial.params for trial in trials)
            asks = asks + 1 if known else 0
            if not known:
                trials.append(trained(0, params))
        scores = [[t.rungs[0].scores["val_loss"].value, np.log(t.scores["params"].value)] for t in trials]
        return pareto.hypervolume(scores, [6.2, 12.0])

    assert volume("gp") > 1.1 * volume("random")


@pytest.mark.parametrize("num_objectives", [1, 3, 4])
@pytest.mark.parametrize("also", [(), ("pending",), ("infeasible",), ("pending", "infeasible")])
def test_gp_answers_for_any_number_of_objectives(num_objectives: int, also: tuple[Any, ...]) -> None:
    params = draws(16, seed=2)
    values = np.random.default_rng(0).random((12, num_objectives))
    scored = [
        gaussian.Point(state="scored", params=p, values=tuple(map(float, v))) for p, v in zip(params[:12], values, strict=True)
    ]
    others = [gaussian.Point(state=state, params=p) for state, p in zip(also, params[12:], strict=False)]
    found = gaussian.draw(sampler.distributions(DOMAINS), num_objectives, (*scored, *others), seed=5)
    assert all(DOMAINS[key].contains(value) for key, value in found.items())


def test_gp_killed_between_and_during_asks_answers_as_if_it_had_not_been() -> None:
    study = mixed_study()
    expected = draw("gp", study)
    pid = gaussian.respondent().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert draw("gp", study) == expected
    second = gaussian.respondent().pid
    assert second not in (None, pid)

    def kill() -> None:
        time.sleep(0.05)
        os.kill(int(second or 0), signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    assert draw("gp", study) == expected
    killing.join()


def test_where_gp_fails_that_one_draw_is_random_and_its_note_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    study = mixed_study()
    broken = Respondent("tests.policy.broken", "fails", {})
    with monkeypatch.context() as patched, contextlib.closing(broken):
        patched.setattr(gaussian, "respondent", lambda: broken)
        params, notes = sampler.draw("gp", PROBLEM, study, num_rungs=1, seed=0)
        assert sampler.draw("gp", PROBLEM, study, num_rungs=1, seed=0) == (params, notes)
    assert params == draw("random", study)
    assert notes == {"gp_failed": "LinAlgError: linalg.cholesky: the input is not positive-definite"}
    later = study_of(*study.trials, trained(0, params, sampler_state=notes))
    assert sampler.draw("gp", PROBLEM, later, num_rungs=1, seed=0)[1] == {}


def test_gp_is_refused_more_objectives_than_it_can_compute(tmp_path: Path) -> None:
    names = ["val_loss", "params", "latency", "collapse_rate", "memory"]
    with pytest.raises(RecipeError, match=r"--sampler: is 'gp', which takes at most 4 objectives, and there are 5; leave"):
        load_recipe(write(tmp_path, {"objectives": names}), sampler="gp")
    assert load_recipe(write(tmp_path, {"objectives": names[:MOST_GP_OBJECTIVES]}), sampler="gp").search.sampler == "gp"


def test_a_sampler_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RecipeError, match="choose one of tpe, nsgaii, gp, random"):
        draw("grid", study_of())
