"""The default policy in virtual time: what it finds, what it does not train, and what it promises to whoever waits."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from autonas import cost, pareto
from autonas.arch import ArchSpec
from autonas.policy.adaptive import CONTROL, Adaptive
from autonas.policy.policy import Policy, Stop
from autonas.policy.prior import Prior, joined, params_of, prior_of_study
from autonas.policy.problem import SpaceProblem
from autonas.policy.settings import SearchSettings
from autonas.space.domains import Choice, Domain, Int
from autonas.space.space import Space
from autonas.trial import Outcome, Score, StudyRecord
from tests.policy.test_policy import VirtualStudy

DOMAINS: dict[str, Domain] = {
    "layers": Int(low=1, high=8),
    "width": Choice(options=(16, 24, 32, 48, 64, 96)),
    "heads": Choice(options=(1, 2, 4)),
    "ffn_multiplier": Choice(options=(1, 2, 3, 4)),
    "norm": Choice(options=("layernorm", "rmsnorm")),
    "activation": Choice(options=("gelu", "silu", "geglu", "swiglu")),
    "tied_embeddings": Choice(options=(True, False)),
}
SPACE = Space(
    name="wide", domains=DOMAINS, vocab_size=300, context_length=64, price=lambda spec: {"params": cost.count_params(spec)}
)
PAIR = ("val_loss", "params")


def loss_of(spec: ArchSpec, rung: int, num_rungs: int) -> float:
    """Falls with size, depends on a few choices; deep models begin slowly."""
    best = 6.0 - 0.25 * math.log(cost.count_params(spec))
    taste = 0.12 * (spec.norm == "layernorm") + 0.08 * (spec.activation == "gelu") + 0.1 * abs(spec.ffn_multiplier - 3) / 2
    slow = (0.3 + 0.08 * spec.layers) * (num_rungs - 1 - rung)
    return best + taste + slow


class Study(VirtualStudy):
    """A virtual study of two objectives whose loss is `loss_of`, on a space that halving cannot exhaust."""

    seconds_per_tflop = 1e6

    def __init__(
        self,
        settings: SearchSettings,
        workers: int = 1,
        limits: dict[str, float] | None = None,
        preference: dict[str, float] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(settings, space=SPACE, workers=workers)
        self.policy = Policy(SpaceProblem(SPACE, PAIR, limits, preference), settings, **more)

    def finish_one(self) -> None:
        number = self.random.choice(sorted(self.running))
        rung = self.running.pop(number)
        trial = self.trials[number]
        assert trial.spec is not None
        loss = loss_of(trial.spec, rung, len(self.settings.rungs))
        tokens = self.settings.rungs[rung] - (self.settings.rungs[rung - 1] if rung else 0)
        seconds = self.seconds_per_tflop * 1e-12 * tokens * cost.training_flops_per_token(trial.spec)
        outcome = Outcome(
            kind="train",
            trial=number,
            attempt=1,
            rung=rung,
            seconds=seconds,
            new_tokens=tokens,
            scores={"val_loss": Score.exact(loss, "nats/token")},
            baselines={"unigram": 9.0},
        )
        self.amend(number, rungs=(*trial.rungs, outcome))

    @property
    def tokens(self) -> int:
        """Trained, as if of a middling architecture."""
        drawn = SpaceProblem(SPACE, PAIR).draw(np.random.default_rng(0), 600)
        usual = np.mean([cost.training_flops_per_token(SPACE.decode(params)) for params in drawn])
        flops = sum(
            outcome.new_tokens * cost.training_flops_per_token(trial.spec)
            for trial in self.trials
            if trial.spec is not None
            for outcome in trial.rungs
        )
        return round(flops / usual)

    @property
    def finished(self) -> list[ArchSpec]:
        return [t.spec for t in self.trials if t.state == "complete" and t.spec is not None]


def volume(specs: Sequence[ArchSpec]) -> float:
    """Of the box between the best and the worst that the space holds, as a share."""
    points = [(loss_of(spec, 0, 1), math.log(cost.count_params(spec))) for spec in specs]
    return pareto.hypervolume((np.array(points) - [2.6, 8.5]) / [1.8, 6.0], [1.0, 1.0])


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_it_finds_a_better_front_than_its_peers_with_as_many_trainings(sampler: Any) -> None:
    settings = SearchSettings(trials=24, rungs=(100,), repeats=0)
    ours, theirs = [], []
    for seed in range(2):
        study = Study(dataclasses.replace(settings, seed=seed))
        peer = Study(dataclasses.replace(settings, seed=seed, sampler=sampler))
        study.play()
        peer.play()
        ours.append(volume(study.finished))
        theirs.append(volume(peer.finished))
    assert min(ours) > max(theirs)


@pytest.mark.slow
def test_rungs_by_gain_come_near_halving_even_where_early_ranks_mislead() -> None:
    ours, theirs = [], []
    for seed in range(2):
        halving = SearchSettings(trials=27, rungs=(100, 300, 900), min_survivors=3, repeats=0, scheduler="pareto", seed=seed)
        peer = Study(halving)
        peer.play()
        study = Study(dataclasses.replace(halving, scheduler="gain", tokens=peer.tokens))
        study.play()
        assert study.tokens <= 1.02 * peer.tokens
        ours.append(volume(study.finished))
        theirs.append(volume(peer.finished))
    assert sum(ours) > 0.93 * sum(theirs)


def test_every_tenth_trial_is_a_random_control_and_says_so() -> None:
    study = Study(SearchSettings(trials=40, rungs=(100,), repeats=0))
    study.play()
    controls = [trial.number for trial in study.trials if trial.sampler_state.get(CONTROL)]
    assert controls == [9, 19, 29, 39]


def test_no_architecture_is_proposed_twice() -> None:
    study = Study(SearchSettings(trials=60, rungs=(100, 300), repeats=0), workers=4)
    study.play()
    names = [trial.spec.fingerprint for trial in study.trials if trial.spec is not None]
    assert len(names) == len(set(names)) == 60


def test_what_runs_is_counted_as_done() -> None:
    study = Study(SearchSettings(trials=24, rungs=(100,), repeats=0), workers=8)
    study.play()
    alone = Study(SearchSettings(trials=24, rungs=(100,), repeats=0))
    alone.play()
    assert volume(study.finished) > 0.95 * volume(alone.finished)


@pytest.mark.parametrize(("pace", "most_each"), [(1e6, 2), (0.0, 0.5)])
def test_jobs_that_are_over_before_the_next_is_decided_on_are_planned_together(
    pace: float, most_each: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = volume(_usual().finished)
    plans: list[int] = []
    threads: set[int] = set()
    planned = Adaptive._planned

    def counted(self: Adaptive, *arguments: Any) -> Any:
        plans.append(arguments[-1])
        threads.update(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
        return planned(self, *arguments)

    monkeypatch.setattr(Adaptive, "_planned", counted)
    monkeypatch.setattr(Study, "seconds_per_tflop", pace)
    study = Study(SearchSettings(trials=48, rungs=(100,), repeats=0))
    study.play()
    assert threads == {1}, "workers need the others"
    assert len(plans) <= most_each * 48
    assert max(plans) <= (48 // 4 if pace == 0.0 else 1), "no more than a part of what there is to plan by"
    assert volume(study.finished) > 0.9 * usual


@functools.cache
def _usual() -> Study:
    study = Study(SearchSettings(trials=48, rungs=(100,), repeats=0))
    study.play()
    return study


def test_limits_shrink_the_front_that_is_looked_for() -> None:
    most = 30_000.0
    free, bound = (
        Study(SearchSettings(trials=30, rungs=(100,), repeats=0), limits=limits) for limits in ({}, {"params": most})
    )
    free.play()
    bound.play()
    within = [[spec for spec in study.finished if cost.count_params(spec) <= most] for study in (free, bound)]
    assert len(within[1]) > 1.2 * len(within[0])
    assert min(loss_of(s, 0, 1) for s in within[1]) <= min(loss_of(s, 0, 1) for s in within[0]) + 0.10


@pytest.mark.slow
@pytest.mark.parametrize("preferred", ["val_loss", "params"])
def test_what_will_be_picked_is_looked_for_most(preferred: str) -> None:
    """More is trained near the best of one objective, and none is worse, than where the whole front is wanted."""

    def size(spec: ArchSpec) -> float:
        return float(np.log(cost.count_params(spec)))

    means, bests = [], []
    for preference in ({}, {preferred: 1.0}):
        studies = [
            Study(SearchSettings(trials=24, rungs=(100,), repeats=0, seed=seed), preference=preference) for seed in range(3)
        ]
        for study in studies:
            study.play()
        scored = [[loss_of(s, 0, 1) if preferred == "val_loss" else size(s) for s in study.finished] for study in studies]
        means.append(np.mean([np.mean(values) for values in scored]))
        bests.append(np.mean([min(values) for values in scored]))
    assert means[1] < means[0] - 0.05
    assert bests[1] <= bests[0] + 1e-9


def test_a_trial_is_stopped_early_only_when_a_finished_one_is_better_in_everything() -> None:
    study = Study(SearchSettings(trials=40, rungs=(100, 300, 900), repeats=0, tokens=20_000))
    stops: list[int] = []
    original = study.take

    def take(step: Any) -> None:
        if isinstance(step, Stop) and any(t.state == "live" and not t.rungs for t in study.trials):
            stops.append(step.trial)
        original(step)

    study.take = take  # type: ignore[method-assign]
    study.play()
    done = study.finished
    for number in stops:
        spec = study.trials[number].spec
        assert spec is not None
        assert any(loss_of(d, 0, 1) <= loss_of(spec, 0, 1) and cost.count_params(d) <= cost.count_params(spec) for d in done), (
            f"trial {number} was stopped, and belongs to the front"
        )


def test_a_prior_is_begun_with_and_learnt_from() -> None:
    earlier = Study(SearchSettings(trials=30, rungs=(100,), repeats=0, seed=5))
    earlier.play()
    record = dataclasses.replace(earlier.record, name="earlier", recipe={"objectives": list(PAIR)})
    prior = prior_of_study(record, SPACE)
    assert len(prior.params) == 30 and 1 <= len(prior.starts) <= 8
    settings = SearchSettings(trials=12, rungs=(100,), repeats=0)
    warm, cold = Study(settings, prior=joined([prior])), Study(settings)
    warm.play()
    cold.play()
    begun = [params_of(trial.spec, SPACE) for trial in warm.trials[: len(prior.starts)] if trial.spec is not None]
    assert begun == list(prior.starts)
    assert volume(warm.finished) > volume(cold.finished)


def test_params_of_an_architecture_describe_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        params = SPACE.draw(rng)
        if not SPACE.legal(params):
            continue
        found = params_of(SPACE.decode(params), SPACE)
        assert found is not None
        assert SPACE.decode(found) == SPACE.decode(params)
    assert params_of(ArchSpec(layers=40, width=16, heads=2, kv_heads=2, vocab_size=300, context_length=64), SPACE) is None


def test_a_study_without_a_finished_trial_suggests_nothing() -> None:
    empty = StudyRecord(name="empty", recipe={"objectives": list(PAIR)}, attributes={}, trials=())
    assert prior_of_study(empty, SPACE) == Prior(sources=("empty",))
