"""Do replicas choose right? Full runs with every arm, beside what replicas and truncated runs of equal compute had chosen.

A case is an architecture drawn from the space, with a corpus of its own that it reads several times: so many unique tokens for
each parameter, so many epochs. Replicas choose as before a promotion (promotion/replicas.py); so do, by the same rules,
trainings of the full architecture that are cut off where they have cost as much as the replicas. Then the full run is trained
with the defaults and with each arm, with as many seeds. A choice is right when its full run ends within what is worth a choice
(`arms.SMALLEST_EFFECT`) of the better one. How the run ends is predicted as well, and that is checked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autonas import cost
from autonas.arch import ArchSpec
from autonas.bench import Findings, Row, Say, not_measured
from autonas.bench.replays import seeds as over_seeds
from autonas.data.dataset import prepare
from autonas.engine.base import Engine
from autonas.engine.choice import EngineSettings, make_engine
from autonas.errors import RequestError, TrialFailure
from autonas.evaluation.rates import wilson_interval
from autonas.machine import resolve_threads
from autonas.policy.arms import SMALLEST_EFFECT, Arm
from autonas.policy.experiment import plan_experiment
from autonas.policy.extrapolation import Curve
from autonas.policy.prediction import LEVELS, Predicted, coverage, predict_loss, prediction_text
from autonas.policy.problem import SpaceProblem
from autonas.policy.replica import FullRun, Replica, block_params, replica_of, training_flops
from autonas.policy.sampler import derived_seed
from autonas.policy.verdicts import Paired, Trained, paired_differences
from autonas.promotion.prediction import ending, replica_end
from autonas.promotion.promote import full_job
from autonas.promotion.replicas import Choice, Trainings, run_replicas
from autonas.recipe import Recipe, load_recipe
from autonas.run_folder import run_budget, step_tokens
from autonas.trial import Job

SPACE = "arms.yaml"
GOAL, COVERAGE_GOAL = 0.8, LEVELS[0]
# Unique tokens for each parameter, and epochs: from what is learnt by heart to what is read a few times. Equally long for equal
# parameters, about. The reference's replica is the second.
REGIMES = ((0.5, 27.0), (1.0, 13.6), (2.0, 7.0), (4.0, 4.0))
_CASES = 8
_NOISE = 0.02  # nats: what the losses of two seeds differ by
_RUNGS = 3.0  # the truncated runs of the defaults have a rung before their last, so many times shorter


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """One arm of one case: what each way chose for its dimension, and what the full runs say."""

    dimension: str
    value: float
    difference: float  # of the full runs, the arm's minus the defaults', nats
    reach: float  # half its 95 % interval
    by_replicas: bool  # whether the arm was chosen
    by_truncated: bool

    def regret(self, chosen: bool) -> float:
        """What the choice gives away, in nats: of the arm, or of the default."""
        return max(self.difference, 0.0) if chosen else max(-self.difference, 0.0)

    @property
    def decided(self) -> bool:
        """Whether the full runs can tell the two apart."""
        return abs(self.difference) > self.reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An architecture with its corpus: the tests of its arms, and its run's loss predicted and measured."""

    full: FullRun
    replica: Replica
    tests: tuple[PairedTest, ...]
    values: Mapping[str, float]  # that the replicas chose
    predicted: Predicted  # the loss of the run with them, from the rungs and the replica
    loss: float  # that it had; the mean over seeds


def measure(
    *,
    space: str | None = None,
    cases: int = _CASES,
    seed: int = 0,
    out: str | Path = "trials",
    engine: EngineSettings | None = None,
    say: Say = lambda text: None,
) -> Findings:
    """Train the cases, one after the other. What has ended in `out` is not repeated.

    Raises:
        RequestError: what was asked cannot be done as asked.
        TrialFailure: workers were lost again and again.
    """
    recipe = load_recipe(space or SPACE)
    if not recipe.space.horizon_bound:
        raise RequestError(f"--space {space or SPACE}: no horizon-bound dimension varies, so there are no arms to compare")
    settings = engine or EngineSettings()
    threads = resolve_threads(settings.threads)
    dataset = prepare(recipe.corpus, recipe.tokenizer, say=say)
    problem = SpaceProblem(recipe.space, recipe.objectives)
    drawn = problem.draw(np.random.default_rng(derived_seed(seed, "arms")), cases)
    found: list[Case] = []
    with contextlib.closing(make_engine(settings)) as runner:
        for number, (params, regime) in enumerate(zip(drawn, itertools.cycle(REGIMES), strict=False)):
            full = full_run(recipe, recipe.space.decode(params), *regime)
            if full.corpus_tokens > len(dataset.tokens("train")):
                raise RequestError(
                    f"--space {space or SPACE}: the corpus has {len(dataset.tokens('train')):,} tokens, and a case needs "
                    f"{full.corpus_tokens:,}; give a larger corpus, or smaller architectures"
                )
            job = full_job(
                recipe,
                full.spec,
                dataset.ref,
                study=recipe.name,
                trial=number,
                steps=full.steps,
                training=recipe.training,
                seed=seed,
                data_seed=seed,
                folder=Path(out) / f"{recipe.name}-{seed}-{number}",
                device=settings.device,
                threads=threads,
            )
            case = _case(recipe, full, job, runner, derived_seed(seed, "arms", number), say)
            say(f"case {number}: {case_text(case)}")
            found.append(case)
    return Findings(
        rows=rows_of(found),
        conditions={
            "device": settings.device,
            "threads": threads,
            "space": recipe.name,
            "seeds": recipe.horizon.seeds,
            "cases": [case_text(case) for case in found],
        },
    )


def full_run(recipe: Recipe, spec: ArchSpec, unique_per_parameter: float, epochs: float) -> FullRun:
    """The full run of an architecture that reads so many unique tokens for each parameter so many times."""
    windows = max(round(unique_per_parameter * cost.count_params(spec) / spec.context_length), 1)
    steps = max(round(epochs * windows * spec.context_length / step_tokens(spec, recipe.training)), 1)
    return FullRun(
        spec=spec,
        training=recipe.training,
        budget=run_budget(spec, recipe.training, steps, recipe.search.cooldown_share),
        corpus_tokens=windows * spec.context_length + 1,
    )


def truncated(replica: Replica, tokens: float) -> Replica:
    """The full run itself, cut off after so many tokens, cooled down and warmed up by its shares: what a rung would judge."""
    full = replica.full
    each = step_tokens(full.spec, full.training)
    steps = max(round(tokens / each), 2)
    warmup = round(full.training.warmup_tokens * steps * each / full.tokens)
    share = full.budget.cooldown_tokens / max(full.budget.tokens, 1)
    training = dataclasses.replace(full.training, warmup_tokens=warmup)
    run = dataclasses.replace(full, training=training, budget=run_budget(full.spec, training, steps, share))
    return Replica(run=run, full=full, rate_factor=1.0)


def _case(recipe: Recipe, full: FullRun, job: Job, engine: Engine, seed: int, say: Say) -> Case:
    """One case: its replicas, its truncated trainings, its full runs."""
    horizon = recipe.horizon
    experiment = plan_experiment(full, recipe.space, share=horizon.share, seeds=horizon.seeds)
    replica, whole = experiment.replica, replica_of(full, full.spec)
    if replica is None or whole is None:
        raise RequestError(f"--space {recipe.name}: {experiment.reason or 'its full run is too short'}")
    retries, folder = recipe.search.retries, Path(job.folder)

    def in_folder(name: str) -> Job:
        say(f"{folder.name}: {name}")
        return dataclasses.replace(job, folder=str(folder / name))

    def chosen(name: str, model: Replica) -> Choice:
        own = dataclasses.replace(experiment, replica=model)
        choice = run_replicas(in_folder(name), own, engine, seed=seed, retries=retries, say=say)
        assert choice is not None
        return choice

    def trained(name: str, model: Replica, arms: Sequence[Arm]) -> list[Trained]:
        pairs = [(arm, number) for number in range(horizon.seeds) for arm in arms]
        return Trainings(in_folder(name), model, seed=seed).run(engine, pairs, retries=retries, say=say)

    # 1. What replicas choose, and what trainings of the architecture itself choose that cost as much.
    by_replicas = chosen("replicas", replica)
    cut = truncated(replica, full.tokens * training_flops(replica.run) / training_flops(full))
    by_truncated = chosen("truncated", cut)
    # 2. The full runs.
    arms = list(experiment.arms)
    if len(by_replicas.values) > 1:
        arms.append(Arm(changes=dict(by_replicas.values)))
    ended = trained("full", whole, arms)
    # 3. The prediction of the run with what was chosen, by the losses of the defaults at two rungs and the replica's end.
    lower = truncated(replica, cut.run.tokens / _RUNGS)
    first = _loss(trained("rung", lower, [Arm(changes={})]), {})
    second = replica_end(cut, dataclasses.replace(by_truncated, values={}))
    if second is None:
        raise TrialFailure("nan", f"{folder}: no truncated training came to its end")
    curve = Curve(tokens=(lower.run.tokens, cut.run.tokens), losses=(first, second.loss), block_params=block_params(full.spec))
    predicted = predict_loss(
        [curve], curve, ending(full), noise=_NOISE, seeds=horizon.seeds, replica=replica_end(replica, by_replicas)
    )
    return Case(
        full=full,
        replica=replica,
        tests=paired_tests(paired_differences(ended), by_replicas.values, by_truncated.values),
        values=by_replicas.values,
        predicted=predicted,
        loss=_loss(ended, by_replicas.values),
    )


def paired_tests(
    differences: Sequence[Paired], by_replicas: Mapping[str, float], by_truncated: Mapping[str, float]
) -> tuple[PairedTest, ...]:
    """A test for each arm that changes one dimension."""
    tests = []
    for found in differences:
        if len(found.changes) == 1:
            ((name, value),) = found.changes.items()
            tests.append(
                PairedTest(
                    dimension=name,
                    value=value,
                    difference=found.difference,
                    reach=found.reach,
                    by_replicas=by_replicas.get(name) == value,
                    by_truncated=by_truncated.get(name) == value,
                )
            )
    return tuple(tests)


def _loss(trained: Sequence[Trained], values: Mapping[str, float]) -> float:
    """The mean over seeds of the arm with these values, in nats per token."""
    losses = [
        math.fsum(each.documents.nats) / sum(each.documents.tokens)
        for each in trained
        if each.documents is not None and dict(each.arm.changes) == dict(values)
    ]
    if not losses:
        raise TrialFailure("nan", f"no training with {Arm(changes=values).name} came to its end")
    return math.fsum(losses) / len(losses)


def case_text(case: Case) -> str:
    """A case in a paragraph."""
    spec, run = case.full.spec, case.full
    shape = f"{spec.layers} x {spec.width}, {cost.count_params(spec):,} parameters, {run.epochs:.3g} epochs over "
    tests = "; ".join(
        f"{test.dimension} {test.value:g}: {test.difference:+.3f} ± {test.reach:.3f} nats"
        f" ({'chosen' if test.by_replicas else 'not chosen'}, truncated: {'chosen' if test.by_truncated else 'not chosen'})"
        for test in case.tests
    )
    return f"{shape}{run.corpus_tokens:,} tokens: {tests}. Loss {case.loss:.3f}, predicted {prediction_text(case.predicted)}"


def rows_of(cases: Sequence[Case]) -> list[Row]:
    """How often each way chose right, what its choices give away, and how often a prediction's interval held."""
    tests = [test for case in cases for test in case.tests]
    decided = [test for test in tests if test.decided]
    rows: list[Row] = []
    for name, goal in (("replicas", GOAL), ("truncated", None)):
        chose = [test.by_replicas if name == "replicas" else test.by_truncated for test in tests]
        regrets = [test.regret(chosen) for test, chosen in zip(tests, chose, strict=True)]
        who = "replicas" if name == "replicas" else "truncated runs of equal compute"
        where = f"{len(tests)} arms of {len(cases)} architectures"
        rows.append(
            _share(f"{who} choose right, to {SMALLEST_EFFECT:g} nats", [r <= SMALLEST_EFFECT for r in regrets], where, goal)
        )
        told = [r == 0.0 for r, test in zip(regrets, tests, strict=True) if test.decided]
        note = f"{len(decided)} of {where}, whose full runs differ beyond chance"
        rows.append(_share(f"{who} choose the better where full runs tell it", told, note, goal))
        mean = over_seeds.estimate(regrets, over_seeds.mean)
        note = f"mean over {where}; at most {max(regrets):.3f}"
        rows.append(Row(metric=f"what {who} give away", unit="nats", ours=mean.value, low=mean.low, high=mean.high, note=note))
    shares = coverage([case.predicted for case in cases], [case.loss for case in cases])
    for level, share in shares.items():
        inside = [share * len(cases) > place for place in range(len(cases))]
        goal = COVERAGE_GOAL if level == LEVELS[0] else None
        rows.append(_share(f"full runs' losses inside their {level:.0%} interval", inside, f"{len(cases)} predictions", goal))
    return rows


def _share(metric: str, held: Sequence[bool], note: str, goal: float | None) -> Row:
    """A share with its interval (Wilson 1927)."""
    if not held:
        return not_measured(metric, "there is no such case", goal=goal, unit="share")
    share = sum(held) / len(held)
    low, high = wilson_interval(share, len(held))
    met = None if goal is None else share >= goal
    return Row(metric=metric, unit="of cases", ours=share, low=low, high=high, goal=goal, met=met, note=note)
