"""The second look's trainings: the best few of a front once more at the study's last rung, with seeds that nobody has seen.

The seed of weights and dropout is each candidate's own; the order of the text is common to all candidates of a replicate, and
so are the validation documents, so that differences between candidates are paired. What they say is reckoned in evidence.py.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autonas.engine.base import Engine
from autonas.objective import OBJECTIVES
from autonas.policy.policy import Policy
from autonas.policy.sampler import derived_seed
from autonas.promotion.select import KNEE, Pick, Preference
from autonas.promotion.trainings import KeptTrainings
from autonas.recipe import Recipe
from autonas.reporting.quantities import duration_text, tokens_text
from autonas.reporting.report import Report
from autonas.reporting.uncertainty import difference
from autonas.trial import Finding, Job, Outcome

FOLDER = "retest"  # in a promotion's folder; and what stands where a trial's seeds have the number of its repeat
_Z95 = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Retest:
    """The candidates of a promotion, the best by the preference first, and what training them again would take and tell."""

    candidates: tuple[Pick, ...]
    seeds: int  # new trainings of each; 0: nothing that the preference asks for depends on training
    tokens: int  # of each, cooldown included
    seconds: float | None  # of all, one after the other, as the study's trainings took
    succession: bool  # the next candidate takes the place of one whose full run diverges or collapses
    reach: float | None  # nats: a smaller difference of val_loss between the first two stays within its 95 % error
    apart: float | None  # nats between them as measured

    @property
    def num_trainings(self) -> int:
        return self.seeds * len(self.candidates)

    def describe(self) -> str:
        """What would be done before the full run, in sentences."""
        numbers = [pick.trial for pick in self.candidates]
        then = "; should its run diverge or collapse, the next takes its place" if self.succession else ""
        if not self.num_trainings:
            return f"Candidates are trials {listed(numbers)}, without new trainings, in this order{then}."
        time = "" if self.seconds is None else f", about {duration_text(self.seconds)} one after the other"
        named = self.candidates[0].method == "trial"
        who = f"trial {numbers[0]} is trained in full, as asked" if named else "the likeliest best is trained in full"
        text = (
            f"Before it a second look: trials {listed(numbers)} are trained {_times(self.seeds)} more each with new seeds "
            f"({tokens_text(self.tokens)} tokens{time}); then {who}{then}."
        )
        if self.reach is not None and self.apart is not None:
            doubt = ": they may not be told apart" if self.apart < self.reach else ""
            text += (
                f" Differences of val_loss below {self.reach:.3f} nats will stay within their 95 % error; trials {numbers[0]} "
                f"and {numbers[1]} are {self.apart:.3f} apart as measured{doubt}."
            )
        return text


def plan_retest(
    report: Report, candidates: Sequence[Pick], preference: Preference, *, seeds: int, succession: bool
) -> Retest | None:
    """What a second look at these candidates would be; None where there is nobody but one."""
    if len(candidates) < 2:
        return None
    trials = {standing.number: standing.trial for standing in report.standings}
    first, second = (trials[pick.trial] for pick in candidates[:2])
    seeds = seeds if depends_on_training(report, preference) else 0
    between = difference(second, first, report.seed_noise)
    reach = None
    if between is not None and seeds:
        after = report.seed_noise.between_trials * math.sqrt(1 / (first.seeds + seeds) + 1 / (second.seeds + seeds))
        reach = _Z95 * math.hypot(between.evaluation_error, after)
    recipe = Recipe.from_resolved(report.study.recipe)
    budget = Policy(recipe.problem, recipe.search).budget(first.outcome.rung)
    spent = [sum(outcome.seconds for outcome in trials[pick.trial].runs[0].rungs) for pick in candidates]
    return Retest(
        candidates=tuple(candidates),
        seeds=seeds,
        tokens=budget.tokens + budget.cooldown_tokens,
        seconds=seeds * math.fsum(spent) if seeds else 0.0,
        succession=succession,
        reach=reach,
        apart=None if between is None or not seeds else abs(between.value),
    )


def depends_on_training(report: Report, preference: Preference) -> bool:
    """Whether new trainings can change who is best: not where only sizes and times count."""
    if preference.select != KNEE:
        return not OBJECTIVES[preference.select].before_training
    return any(not o.before_training and preference.weights.get(o.name, 1.0) for o in report.objectives)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retested:
    """What became of one candidate's new trainings, by seed; `failure` says why it is out."""

    trial: int
    outcomes: tuple[Outcome, ...]
    failure: str = ""


def run_retest(
    retest: Retest,
    like: Job,
    engine: Engine,
    *,
    recipe: Recipe,
    folder: Path,
    others: Sequence[Path] = (),
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Retested, ...]:
    """Train every candidate again, as many at once as the engine has room for; trainings that have ended are not repeated.

    `like` is the job of a candidate's full run, whose data and settings are the study's; `folder` is the promotion's, `others`
    those of other promotions, whose trainings of the same kind count as well.

    Raises:
        RequestError: a training cannot be done as asked.
        TrialFailure: workers were lost, or memory was short, again and again: no fault of a candidate.
        KeyboardInterrupt: the user, or the engine's `stop`; what has ended is kept.
    """
    kept = KeptTrainings(folder / FOLDER, "candidate", others=[other / FOLDER for other in others])
    jobs = retest_jobs(retest, like, recipe, folder, kept)
    known = {number: found for number, job in jobs.items() if (found := kept.known(job)) is not None}
    if known:
        say(f"second look: {len(known)} of {len(jobs)} trainings have ended before")
    waiting = [job for number, job in jobs.items() if number not in known]
    for job, outcome in kept.carry_out(engine, waiting, recipe.search.retries):
        known[job.trial] = outcome
        seed, place = divmod(job.trial, len(retest.candidates))
        say(
            f"second look, trial {retest.candidates[place].trial}, new seed {seed + 1}: {result_text(outcome)} "
            f"({len(known)} of {len(jobs)})"
        )
    return tuple(_retested(pick, place, len(retest.candidates), known) for place, pick in enumerate(retest.candidates))


def retest_jobs(retest: Retest, like: Job, recipe: Recipe, folder: Path, kept: KeptTrainings) -> dict[int, Job]:
    """The trainings by number: all candidates with the first seed, then all with the second, …"""
    policy = Policy(recipe.problem, recipe.search)
    seed, jobs = recipe.search.seed, {}
    for replicate in range(retest.seeds):
        for place, pick in enumerate(retest.candidates):
            number = replicate * len(retest.candidates) + place
            jobs[number] = dataclasses.replace(
                like,
                kind="train",
                trial=number,
                spec=pick.spec,
                budget=policy.budget(len(policy.rungs) - 1),
                seed=derived_seed(seed, "weights", pick.spec.fingerprint, FOLDER, replicate),
                data_seed=derived_seed(seed, "data", FOLDER, replicate),
                objectives=tuple(name for name in recipe.objectives if not OBJECTIVES[name].before_training),
                folder=str(folder / FOLDER),
                attempt=kept.next_attempt(number),
            )
    return jobs


def _retested(pick: Pick, place: int, count: int, known: Mapping[int, Outcome]) -> Retested:
    outcomes = [known[number] for number in sorted(known) if number % count == place]
    failed = next((f"{o.failure.kind}: {o.failure.message}" for o in outcomes if o.failure is not None), "")
    doubt = next((text for o in outcomes if (text := unbelievable_findings(o.findings))), "")
    return Retested(trial=pick.trial, outcomes=tuple(o for o in outcomes if o.ok), failure=failed or doubt)


# Checks whose alarm says that the model was shown what it was to predict, or was not measured at all.
_UNBELIEVABLE = ("leak", "loss_floor", "constant")


def unbelievable_findings(findings: Sequence[Finding]) -> str:
    """What says of scores that they cannot be believed; nothing where nothing does."""
    found = (finding for finding in findings if finding.severity == "alarm" and finding.check in _UNBELIEVABLE)
    return next((f"{finding.check}: {finding.text}" for finding in found), "")


def result_text(outcome: Outcome) -> str:
    """How a training ended, in a few words."""
    if outcome.failure is not None:
        return f"failed ({outcome.failure.kind})"
    loss = outcome.scores.get("val_loss")
    told = "" if loss is None else f"val_loss {loss.value:.4f} in "
    return f"{told}{duration_text(outcome.seconds)}"


def listed(numbers: Sequence[int]) -> str:
    """3, 9 and 4."""
    *others, last = map(str, numbers)
    return f"{', '.join(others)} and {last}" if others else last


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"
