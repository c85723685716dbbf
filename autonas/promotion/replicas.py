"""Choosing what only a long run can judge: the replicas of a promotion are trained, their verdicts go into the run's spec.

In the run's folder, `replicas/` holds the job of every training and its outcome, so that a promotion that was killed goes on
where it was; `replicas.json` holds every arm, difference, error and verdict. What is trained: policy/experiment.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas import cost
from autonas.arch import ArchSpec
from autonas.engine.base import Engine
from autonas.plan import about_replica
from autonas.policy.arms import Arm
from autonas.policy.experiment import Experiment
from autonas.policy.replica import Replica
from autonas.policy.sampler import derived_seed
from autonas.policy.verdicts import Confirmation, Trained, Verdict, choose_arms, confirm
from autonas.promotion.trainings import KeptTrainings
from autonas.reporting.quantities import duration_text, scaled_text, tokens_text
from autonas.run_folder import run_state, write_json
from autonas.trial import Job, Outcome, to_json

RECORD = "replicas.json"
FOLDER = "replicas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the replicas of a promotion have said."""

    values: Mapping[str, float]  # that the run's spec has instead of its defaults
    verdicts: tuple[Verdict, ...]
    confirmation: Confirmation | None  # None where the defaults were kept
    outcomes: tuple[tuple[Arm, Outcome], ...]  # of every training
    reason: str

    def spec(self, spec: ArchSpec) -> ArchSpec:
        """The architecture with the values chosen."""
        return ArchSpec.from_dict({**spec.to_dict(), **self.values})


def is_choosing(folder: Path) -> bool:
    """Whether a promotion into this folder has begun its replicas and not yet its run."""
    return run_state(folder) == "absent" and (folder / FOLDER).is_dir()


def describe(experiment: Experiment) -> str:
    """What would be trained, and what would not, in sentences; empty where nothing varies."""
    refused = [prospect.reason for prospect in experiment.prospects if not prospect.possible]
    parts = [f"Not to be identified, and held at its default: {reason}." for reason in refused]
    replica = experiment.replica
    if replica is not None:
        names = ", ".join(dimension.name for dimension in experiment.dimensions)
        time = "" if experiment.seconds is None else f", about {duration_text(experiment.seconds)} one after the other"
        parts.insert(
            0,
            f"Before it, at most {experiment.num_trainings} trainings of a replica ({shape_text(replica)}) "
            f"choose {names}{time}, {experiment.flops_share:.1%} of the run's FLOPs.",
        )
    elif experiment.dimensions:
        parts.append(f"No replicas: {experiment.reason}.")
    return " ".join(parts)


def shape_text(replica: Replica) -> str:
    """A replica in a few words, with the ratios that it has."""
    run = replica.run
    shape = f"{run.spec.layers} × {run.spec.width}, {scaled_text(cost.count_params(run.spec))} parameters"
    return (
        f"{shape}, 1/{replica.scale:.3g} of the run's; {tokens_text(run.tokens)} tokens, {run.epochs:.1f} epochs over "
        f"{tokens_text(replica.unique_tokens)}"
    )


def run_replicas(
    job: Job,
    experiment: Experiment,
    engine: Engine,
    *,
    seed: int,
    retries: int,
    say: Callable[[str], None] = lambda text: None,
) -> Choice | None:
    """Train the arms, choose, confirm with new seeds, and write `replicas.json`; None where there is nothing to train.

    `job` is the full run's. Trainings that ended in an earlier attempt are not repeated.

    Raises:
        RequestError: a training cannot be done as asked.
        TrialFailure: workers were lost again and again, whatever was trained.
        KeyboardInterrupt: the user, or the engine's `stop`; what has ended is kept.
    """
    if experiment.replica is None:
        return None
    trainings = Trainings(job, experiment.replica, seed=seed)
    pairs = [(arm, number) for number in range(experiment.seeds) for arm in experiment.arms]
    trained = trainings.run(engine, pairs, retries=retries, say=say)
    verdicts = choose_arms(experiment.dimensions, trained)
    values = {verdict.dimension: verdict.chosen for verdict in verdicts if verdict.chosen != verdict.default}
    confirmation = None
    if values:
        both = (Arm(changes={}), Arm(changes=values))
        new = range(experiment.seeds, 2 * experiment.seeds)
        confirmation = confirm(trainings.run(engine, [(arm, n) for n in new for arm in both], retries=retries, say=say))
    kept = values if confirmation is not None and confirmation.confirmed else {}
    reason = _reason(experiment.replica, verdicts, confirmation, kept)
    choice = Choice(
        values=kept, verdicts=verdicts, confirmation=confirmation, outcomes=tuple(trainings.outcomes), reason=reason
    )
    write_json(Path(job.folder) / RECORD, record(experiment, choice, trainings))
    say(reason)
    return choice


class Trainings:
    """The trainings of one promotion's replica. Each has a number, by which its files are named."""

    def __init__(self, job: Job, replica: Replica, *, seed: int) -> None:
        self._job, self._replica, self._seed = job, replica, seed
        self.folder = Path(job.folder) / FOLDER
        # An arm is judged by what it does, and not for a worker that was lost.
        self._kept = KeptTrainings(self.folder, "replica", raising=frozenset({"preempted"}))
        self.outcomes: list[tuple[Arm, Outcome]] = []
        self.seeds: list[int] = []  # of the outcomes

    def run(
        self,
        engine: Engine,
        pairs: Sequence[tuple[Arm, int]],
        *,
        retries: int = 0,
        say: Callable[[str], None] = lambda text: None,
    ) -> list[Trained]:
        """Train these arms by these seeds, as many at once as there is room for; those that have ended are read."""
        first = len(self.outcomes)
        jobs = [self.job(arm, seed, first + place) for place, (arm, seed) in enumerate(pairs)]
        known = {job.trial: outcome for job in jobs if (outcome := self._kept.known(job)) is not None}
        waiting = [job for job in jobs if job.trial not in known]
        if known:
            say(f"replicas: {len(known)} of {len(jobs)} trainings have ended before")
        for job, outcome in self._kept.carry_out(engine, waiting, retries):
            known[job.trial] = outcome
            arm, seed = pairs[job.trial - first]
            say(f"replica {arm.name}, seed {seed}: {_result(outcome)} ({len(known)} of {len(jobs)})")
        found = []
        for place, (arm, seed) in enumerate(pairs):
            outcome = known[first + place]
            self.outcomes.append((arm, outcome))
            self.seeds.append(seed)
            found.append(_trained(arm, seed, outcome))
        return found

    def job(self, arm: Arm, seed: int, number: int) -> Job:
        """One training. Arms of a seed have the same weights at their beginning and the same windows in the same order."""
        run = self._replica.run
        wanted = ("val_loss", *(name for name in ("degeneration", "collapse_rate") if name in self._job.objectives))
        return dataclasses.replace(
            self._job,
            kind="train",
            trial=number,
            spec=self._replica.spec_with(arm.changes),
            budget=run.budget,
            seed=derived_seed(self._seed, "weights", run.spec.fingerprint, FOLDER, seed),
            data_seed=derived_seed(self._seed, "data", FOLDER, seed),
            training=run.training,
            objectives=wanted,
            folder=str(self.folder),
            attempt=self._kept.next_attempt(number),
            unique_tokens=self._replica.unique_tokens,
        )


def _trained(arm: Arm, seed: int, outcome: Outcome) -> Trained:
    collapse = outcome.scores.get("collapse_rate")
    return Trained(
        arm=arm,
        seed=seed,
        documents=outcome.documents if outcome.ok else None,
        collapse_rate=None if collapse is None else collapse.value,
        failure="" if outcome.failure is None else f"{outcome.failure.kind}: {outcome.failure.message}",
    )


def _result(outcome: Outcome) -> str:
    if outcome.failure is not None:
        return f"failed ({outcome.failure.kind})"
    return f"val_loss {outcome.scores['val_loss'].value:.4f} in {duration_text(outcome.seconds)}"


def _reason(replica: Replica, verdicts: Sequence[Verdict], confirmation: Confirmation | None, kept: Mapping[str, float]) -> str:
    parts = [f"Replicas ({shape_text(replica)}) say: {'; '.join(verdict.reason for verdict in verdicts)}."]
    if confirmation is not None:
        after = "the run has these values" if kept else "the run keeps the defaults"
        parts.append(f"Together they are {confirmation.reason}: {after}.")
    return " ".join(parts)


def record(experiment: Experiment, choice: Choice, trainings: Trainings) -> dict[str, Any]:
    """`replicas.json`: what was asked, trained, found and chosen."""
    replica = experiment.replica
    assert replica is not None
    return {
        "share": experiment.share,
        "seeds": experiment.seeds,
        "replica": about_replica(replica),
        "prospects": to_json(experiment.prospects),
        "trainings": [
            {
                "changes": dict(arm.changes),
                "seed": seed,
                "val_loss": to_json(outcome.scores.get("val_loss")),
                "collapse_rate": to_json(outcome.scores.get("collapse_rate")),
                "failure": to_json(outcome.failure),
                "seconds": outcome.seconds,
            }
            for (arm, outcome), seed in zip(choice.outcomes, trainings.seeds, strict=True)
        ],
        "verdicts": to_json(choice.verdicts),
        "confirmation": to_json(choice.confirmation),
        "chosen": dict(choice.values),
        "reason": choice.reason,
        "seconds": sum(outcome.seconds for _, outcome in choice.outcomes),
    }
