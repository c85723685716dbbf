"""The policy in virtual time: whole studies played through without training, as functions of seed and record."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from autonas import cost
from autonas.errors import InfeasibleArch
from autonas.policy import sampler
from autonas.policy.policy import (
    Complete,
    Finish,
    Policy,
    Propose,
    Step,
    Stop,
    Train,
    Wait,
    beats_unigram,
    begun,
    trailing_infeasible,
)
from autonas.policy.problem import SpaceProblem
from autonas.policy.settings import SAMPLERS, SearchSettings
from autonas.space.domains import Choice, Domain, Int
from autonas.space.rules import parse_rule
from autonas.space.space import Space
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord

DOMAINS: dict[str, Domain] = {
    "layers": Int(low=1, high=6),
    "width": Choice(options=(16, 24, 32, 48, 64)),
    "heads": Choice(options=(2, 4)),
    "norm": Choice(options=("layernorm", "rmsnorm")),
}
SPACE = Space(
    name="virtual",
    domains=DOMAINS,
    rules=(parse_rule("layers * width <= 256"),),
    vocab_size=300,
    context_length=64,
    price=lambda spec: {"params": cost.count_params(spec)},
)
OBJECTIVES = ("val_loss", "params", "collapse_rate")
SETTINGS = SearchSettings(trials=14, rungs=(100, 300, 900), reduction_factor=2.5, min_survivors=3, repeats=2)


class VirtualStudy:
    """A study whose training takes no time: the loop of study.py with a formula for the loss, and nothing else changed."""

    def __init__(self, settings: SearchSettings, space: Space = SPACE, workers: int = 1, order: int = 0) -> None:
        self.policy = Policy(SpaceProblem(space, OBJECTIVES), settings)
        self.space = space
        self.settings = settings
        self.trials: list[TrialRecord] = []
        self.running: dict[int, int] = {}
        self.workers = workers
        self.random = random.Random(order)
        self.steps: list[Step] = []

    @property
    def record(self) -> StudyRecord:
        return StudyRecord(name="virtual", recipe={}, attributes={}, trials=tuple(self.trials))

    def amend(self, number: int, **changes: Any) -> None:
        self.trials[number] = dataclasses.replace(self.trials[number], **changes)

    def play(self, most_steps: int = 2_000) -> str:
        for _ in range(most_steps):
            step = self.policy.next_step(self.record, running=frozenset(self.running))
            if isinstance(step, Finish):
                assert not self.running
                return step.reason
            if isinstance(step, Wait) or len(self.running) >= self.workers:
                self.finish_one()
                continue
            self.steps.append(step)
            self.take(step)
        raise AssertionError("the study does not end")

    def take(self, step: Step) -> None:
        if isinstance(step, Propose):
            self.begin(step)
        elif isinstance(step, Train):
            assert len(self.trials[step.trial].rungs) == step.rung
            assert step.trial not in self.running
            self.running[step.trial] = step.rung
        elif isinstance(step, Stop):
            self.amend(step.trial, state="stopped")
        else:
            assert isinstance(step, Complete)
            assert len(self.trials[step.trial].rungs) == len(self.settings.rungs)
            self.amend(step.trial, state="complete")

    def begin(self, step: Propose) -> None:
        number = len(self.trials)
        try:
            spec = self.space.decode(step.params)
        except InfeasibleArch as broken:
            self.trials.append(
                TrialRecord(number=number, state="infeasible", params=step.params, spec=None, reason=f"{broken.rule}: {broken}")
            )
            return
        scores = {"params": Score.exact(cost.count_params(spec), "parameters")}
        self.trials.append(
            TrialRecord(
                number=number,
                state="live",
                params=step.params,
                spec=spec,
                repeat_of=step.repeat_of,
                scores=scores,
                sampler_state=step.sampler_state,
            )
        )

    def finish_one(self) -> None:
        number = self.random.choice(sorted(self.running))
        rung = self.running.pop(number)
        trial = self.trials[number]
        assert trial.spec is not None
        loss = 6.0 - 0.3 * math.log(trial.scores["params"].value) - 0.2 * rung + (0.05 if trial.spec.norm == "layernorm" else 0)
        scores = {"val_loss": Score.exact(loss, "nats/token")}
        if rung == len(self.settings.rungs) - 1:
            scores["collapse_rate"] = Score.exact(trial.spec.layers / 100, "share")
        outcome = Outcome(
            kind="train", trial=number, attempt=1, rung=rung, seconds=1.0, scores=scores, baselines={"unigram": 9.0}
        )
        self.amend(number, rungs=(*trial.rungs, outcome))


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_study_ends_with_every_trial_ended_once_and_its_budget_spent(name: Any, workers: int) -> None:
    study = VirtualStudy(dataclasses.replace(SETTINGS, sampler=name), workers=workers)
    assert study.play() == "all 14 trials have ended"
    assert begun(study.record) == 14
    assert all(trial.state != "live" for trial in study.trials)
    originals = [trial for trial in study.trials if trial.repeat_of is None and trial.rungs]
    reached = [sum(len(trial.rungs) > rung for trial in originals) for rung in range(3)]
    assert reached[0] == 14
    assert 3 <= reached[2] <= reached[1] <= 14
    if name != "autonas":
        assert 6 <= reached[1] <= 8, "a trial that advanced early may be overtaken, but not many are"
    repeats = [trial for trial in study.trials if trial.repeat_of is not None]
    assert len(repeats) == 2
    assert all(trial.state == "complete" for trial in repeats)
    assert len({trial.repeat_of for trial in repeats}) == 2


def test_a_retried_trial_is_one_of_the_budget_and_is_judged_like_any_other() -> None:
    study = VirtualStudy(SETTINGS)
    while not any(trial.state == "live" for trial in study.trials):
        study.take(study.policy.next_step(study.record, running=frozenset()))
    first = next(trial for trial in study.trials if trial.state == "live")
    study.amend(first.number, state="failed", failure="error")
    again = dataclasses.replace(first, number=len(study.trials), retry_of=first.number)
    study.trials.append(again)
    assert begun(study.record) == 1
    assert study.play() == "all 14 trials have ended"
    assert begun(study.record) == 14
    scored = [standing.trial for standing in study.policy.standings(study.record, 0)]
    assert again.number in scored and first.number not in scored and len(scored) == 14


def test_repeats_run_side_by_side_and_are_the_same_ones_on_any_number_of_workers() -> None:
    settings = dataclasses.replace(SETTINGS, repeats=3)
    repeated, most = [], 0
    for workers in (1, 4):
        study = VirtualStudy(settings, workers=workers, order=workers)

        def finish_one(study: VirtualStudy = study, original: Callable[[], None] = study.finish_one) -> None:
            nonlocal most
            most = max(most, sum(study.trials[number].repeat_of is not None for number in study.running))
            original()

        study.finish_one = finish_one  # type: ignore[method-assign]
        study.play()
        repeated.append(len({trial.repeat_of for trial in study.trials if trial.repeat_of is not None}))
    assert repeated == [3, 3]
    assert most == 3


def test_a_declared_repeat_that_failed_and_was_retried_is_one_repeat() -> None:
    study = VirtualStudy(SETTINGS)
    study.play()
    repeat = next(trial for trial in study.trials if trial.repeat_of is not None)
    study.amend(repeat.number, state="failed", failure="error", rungs=())
    study.trials.append(dataclasses.replace(repeat, number=len(study.trials), state="live", rungs=(), retry_of=repeat.number))
    before = len(study.trials)
    assert study.play() == "all 14 trials have ended"
    assert len(study.trials) == before and study.trials[-1].state == "complete"


def test_the_same_seed_plays_the_same_study_and_another_seed_another() -> None:
    first, second = VirtualStudy(SETTINGS), VirtualStudy(SETTINGS)
    other = VirtualStudy(dataclasses.replace(SETTINGS, seed=1))
    for study in (first, second, other):
        study.play()
    assert first.trials == second.trials
    assert first.trials != other.trials


@pytest.mark.parametrize("name", ["autonas", "tpe", "nsgaii"])
def test_a_policy_that_wakes_up_with_the_record_alone_decides_the_same(name: Any) -> None:
    settings = dataclasses.replace(SETTINGS, sampler=name, trials=12 if name == "autonas" else 24)
    whole = VirtualStudy(settings)
    whole.play()
    broken = VirtualStudy(settings)
    for _ in range(5_000):
        # A new policy for each step is a crash between any two steps; what was running is lost and asked for again.
        broken.policy = Policy(SpaceProblem(SPACE, OBJECTIVES), settings)
        step = broken.policy.next_step(broken.record, running=frozenset(broken.running))
        if isinstance(step, Finish):
            break
        if broken.running:
            broken.finish_one()
        else:
            broken.take(step)
    assert broken.trials == whole.trials


def test_no_architecture_is_proposed_twice_but_as_a_declared_repeat() -> None:
    domains: dict[str, Domain] = {
        "layers": Int(low=1, high=3),
        "width": Choice(options=(16, 32)),
        "heads": Choice(options=(2, 4)),
    }
    small = dataclasses.replace(SPACE, name="tiny", domains=domains, rules=())
    study = VirtualStudy(dataclasses.replace(SETTINGS, trials=50, repeats=0), space=small)
    assert study.play() == "the space holds no further architecture"
    names = [trial.spec.fingerprint for trial in study.trials if trial.spec is not None]
    assert len(names) == len(set(names)) == 12


def test_two_names_of_one_architecture_count_as_one() -> None:
    domains: dict[str, Domain] = {
        "layers": Int(low=1, high=1),
        "width": Choice(options=(16, 32)),
        "heads": Choice(options=(2, 4)),
        "kv_heads": Choice(options=(2, "heads")),
    }
    space = dataclasses.replace(SPACE, name="names", domains=domains, rules=())
    study = VirtualStudy(dataclasses.replace(SETTINGS, trials=50, repeats=0), space=space)
    study.play()
    # With two heads, `heads` and 2 are the same: 2 widths × (1 + 2) instead of 2 × 4.
    assert begun(study.record) == 6


def test_trials_that_break_a_rule_cost_no_budget_and_are_learnt_from() -> None:
    study = VirtualStudy(dataclasses.replace(SETTINGS, sampler="tpe"))
    study.play()
    broken = [trial for trial in study.trials if trial.state == "infeasible"]
    assert broken
    assert all(trial.reason.startswith("layers * width <= 256: ") for trial in broken)
    assert begun(study.record) == 14


def test_collapse_is_not_judged_before_the_last_rung() -> None:
    study = VirtualStudy(SETTINGS)
    study.play()
    assert all(len(standing.values) == 2 for rung in range(3) for standing in study.policy.standings(study.record, rung))


def test_every_trial_is_compared_within_its_rung() -> None:
    study = VirtualStudy(SETTINGS)
    study.play()
    for rung in range(3):
        for standing in study.policy.standings(study.record, rung):
            assert standing.values[0] == study.trials[standing.trial].rungs[rung].scores["val_loss"].value


def test_the_sampler_learns_from_the_highest_rung_with_enough_results() -> None:
    study = VirtualStudy(dataclasses.replace(SETTINGS, trials=40, sampler="tpe"))
    study.play()
    reached = [sum(len(trial.rungs) > rung for trial in study.trials) for rung in range(3)]
    expected = max(rung for rung in range(3) if reached[rung] >= sampler.NUM_STARTUP_TRIALS)
    assert sampler.learning_rung(study.record, 3) == expected
    assert sampler.learning_rung(StudyRecord(name="", recipe={}, attributes={}, trials=()), 3) == 0


def test_tpe_finds_more_than_random_draws() -> None:
    def best(name: Any, seed: int) -> float:
        space = dataclasses.replace(SPACE, rules=())
        settings = dataclasses.replace(SETTINGS, sampler=name, trials=40, rungs=(100,), repeats=0, seed=seed)
        study = VirtualStudy(settings, space=space)
        study.policy = Policy(SpaceProblem(space, ("val_loss", "params")), settings)
        study.play()
        losses = sorted(trial.rungs[0].scores["val_loss"].value for trial in study.trials)
        return sum(losses[:10]) / 10

    tpe, chance = (sum(best(name, seed) for seed in range(3)) for name in ("tpe", "random"))
    assert tpe < chance


def test_when_time_is_up_nothing_new_begins() -> None:
    settings = dataclasses.replace(SETTINGS, max_hours=1.0)
    study = VirtualStudy(settings)
    while begun(study.record) < 5 or study.running:
        step = study.policy.next_step(study.record, running=frozenset(study.running))
        if study.running:
            study.finish_one()
        else:
            study.take(step)
    while True:
        step = study.policy.next_step(study.record, running=frozenset(study.running), accepting=False)
        assert not isinstance(step, Propose)
        if isinstance(step, Finish):
            break
        if study.running:
            study.finish_one()
        else:
            study.take(step)
    assert step.reason == "time is up"
    assert all(trial.state in ("complete", "stopped", "infeasible") for trial in study.trials)
    assert any(trial.state == "complete" for trial in study.trials)


def test_an_empty_space_is_given_up() -> None:
    never = dataclasses.replace(SPACE, rules=(parse_rule("layers > 6"),))
    study = VirtualStudy(SETTINGS, space=never)
    reason = study.play()
    assert begun(study.record) == 0
    assert "no further architecture" in reason or "broke a rule" in reason
    assert trailing_infeasible(study.record) == len(study.trials)


def test_a_model_that_learnt_nothing_is_found_out() -> None:
    def outcome(loss: float) -> Outcome:
        scores = {"val_loss": Score.exact(loss, "nats/token")}
        return Outcome(kind="train", trial=0, attempt=1, rung=0, seconds=1.0, scores=scores, baselines={"unigram": 6.3})

    assert beats_unigram(outcome(6.2)) is None
    assert "6.300" in str(beats_unigram(outcome(6.3)))


def test_repeats_go_where_noise_decides_who_is_on_the_front() -> None:
    study = VirtualStudy(dataclasses.replace(SETTINGS, trials=10, repeats=2, rungs=(100,), sampler="random"), space=SPACE)
    study.play()
    originals = [trial for trial in study.trials if trial.repeat_of is None and trial.state == "complete"]

    def margin(trial: TrialRecord) -> float:
        loss, params = trial.rungs[0].scores["val_loss"].value, trial.scores["params"].value
        rivals = [t for t in originals if t is not trial and t.scores["params"].value <= params]
        return abs(min(t.rungs[0].scores["val_loss"].value for t in rivals) - loss) if rivals else math.inf

    closest = sorted(originals, key=margin)[:2]
    repeated = {trial.repeat_of for trial in study.trials if trial.repeat_of is not None}
    assert {margin(study.trials[number]) for number in repeated if number is not None} == {margin(t) for t in closest}
