"""Who is best after a second look: what the study knew of the candidates, and what their new trainings add. Pure; numpy only.

The study's scores are those of trials that were chosen for them, so they flatter. Before they count they are drawn towards what
is usual (reporting/posterior.py), and of each it is left open, with a chance of LUCK, that it was no measure of its
architecture at all. With μ the candidates' true values (k,), fᵢ whether the study's score of i is void, and ȳ the means of the
new trainings over n seeds:

    μᵢ ~ N(mᵢ, vᵢ) where fᵢ = 0, N(m̄, w²) where fᵢ = 1;   ȳ = μ + c + e,   c ~ N(0, s²) common to all,   eᵢ ~ N(0, σ²/n)

which is a mixture of 2ᵏ normals in closed form. c is what another order of the text does to all alike. Training noise σ is
pooled over the study's repeats and the new seeds. What other validation documents would have said is drawn for all jointly.

Shapes: B draws, F trials of the front, K objectives, k candidates, M = 2ᵏ cases of f.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autonas import cost
from autonas.evaluation.intervals import t_quantile
from autonas.objective import Objective
from autonas.promotion.retest import Retest, Retested, listed
from autonas.promotion.select import KNEE, Preference, knee_distances
from autonas.reporting import history
from autonas.reporting.finals import evaluation_error, loss_at, merged_trial, pooled_noise
from autonas.reporting.posterior import SHARES, posterior
from autonas.reporting.quantities import interval_text, probability_text, score_text, tokens_text
from autonas.reporting.report import FinalTrial, Report, SeedNoise
from autonas.reporting.uncertainty import draw_shares, of_documents, resampled_losses
from autonas.trial import Score, TrialRecord

Array = NDArray[np.float64]
Basis = Literal["study", "again", "together"]

LUCK = 0.05  # a study's score that is no measure of its architecture: of twenty, one
NUM_DRAWS = 8000
_SEED = 20_261_123  # any constant: the same trainings give the same pick
_WIDE = 2.0  # times the spread of the study's scores: what is known of one that is void
_TIED = 0.01  # of probability, which the draws do not tell apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One objective of a candidate: as the study had it, in its new trainings, and both together."""

    study: Score
    again: Score | None
    together: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A candidate after the second look. Probabilities are of being the best by the preference."""

    trial: int
    probability: float
    by_study: float  # from the study's scores alone
    by_retest: float | None  # from the new trainings alone
    luck: float  # the chance that the study's loss was no measure of it
    scores: Mapping[str, Seen]
    out: str = ""  # why it is out of the question


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondLook:
    """What a second look found: candidates in the order in which they are trained in full, those that are out last."""

    candidates: tuple[Judged, ...]
    seeds: int
    training_deviation: float  # nats, of a trial's loss over training seeds
    reason: str

    @property
    def order(self) -> tuple[int, ...]:
        """The trials that may be trained in full, first to last."""
        return tuple(judged.trial for judged in self.candidates if not judged.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """True values of k candidates after new trainings: a mixture of M normals."""

    chances: Array  # (M,)
    void: Array  # (M, k) whether the study's score is void
    means: Array  # (M, k)
    covariances: Array  # (M, k, k)

    @property
    def luck(self) -> Array:
        """The chance (k,) that each study's score was no measure of its architecture."""
        return np.asarray(self.chances @ self.void)

    def draw(self, rng: np.random.Generator, num_draws: int) -> Array:
        """Joint draws (B, k)."""
        which = rng.choice(len(self.chances), size=num_draws, p=self.chances)
        roots = np.linalg.cholesky(self.covariances)
        own = rng.standard_normal((num_draws, self.means.shape[1]))
        return np.asarray(self.means[which] + np.einsum("bij,bj->bi", roots[which], own))


def updated(
    means: Array, variances: Array, seen: Array, errors: Array, *, common: float, centre: float, wide: float, luck: float = LUCK
) -> Update:
    """What (k,) new means with independent `errors`, and a `common` one, make of candidates with these means and variances.

    A score that is void leaves its candidate at `centre` with the deviation `wide`; each is with the chance `luck`.
    """
    count = len(means)
    cases = [[False, True] if luck > 0 else [False]] * count if luck < 1 else [[True]] * count
    void = np.array(list(itertools.product(*cases)), dtype=bool)  # (M, k)
    least = 1e-12 + 1e-9 * float(np.max(np.abs(seen)) ** 2)  # an exact value is all but exact: a covariance has to have a root
    prior = np.where(void, centre, means)
    spread = np.maximum(np.where(void, wide**2, variances), least)
    total = np.full((count, count), common**2) + np.diag(np.maximum(errors**2, least))
    total = total[None] + spread[:, :, None] * np.eye(count)  # (M, k, k)
    off = seen - prior
    solved = np.linalg.solve(total, off[:, :, None])[:, :, 0]
    log = -0.5 * ((off * solved).sum(axis=1) + np.linalg.slogdet(total)[1])
    if 0 < luck < 1:
        log += void.sum(axis=1) * math.log(luck) + (~void).sum(axis=1) * math.log(1 - luck)
    chances = np.exp(log - log.max())
    inverse = np.linalg.inv(total)
    covariances = spread[:, :, None] * (np.eye(count) - inverse * spread[:, None, :])
    return Update(
        chances=chances / chances.sum(),
        void=void.astype(np.float64),
        means=prior + spread * solved,
        covariances=(covariances + covariances.transpose(0, 2, 1)) / 2 + least * np.eye(count) * 1e-3,
    )


def second_look(report: Report, retest: Retest, retested: Sequence[Retested], preference: Preference) -> SecondLook:
    """The candidates after their new trainings, the likeliest best first; a trial that was named stays the first.

    Candidates equal to a percent go by the cost of training them. One with a failed training is out.
    """
    failures = {each.trial: each.failure for each in retested if each.failure}
    kept = [pick.trial for pick in retest.candidates if pick.trial not in failures]
    trials = {standing.number: standing.trial for standing in report.standings}
    again = {each.trial: _again(trials[each.trial], each) for each in retested if each.trial in kept and each.outcomes}
    noise = _pooled(report, list(again.values()))
    found = _Evidence(report, again, noise)
    names = [pick.trial for pick in retest.candidates]
    before = dict(zip(names, found.best("study", names, preference), strict=True))
    alone = dict(zip(kept, found.best("again", kept, preference), strict=True)) if again and kept else {}
    after = dict(zip(kept, found.best("together", kept, preference), strict=True)) if kept else {}
    judged = [
        Judged(
            trial=number,
            probability=after.get(number, 0.0),
            by_study=before[number],
            by_retest=alone.get(number),
            luck=found.luck.get(number, 0.0),
            scores=found.scores(number),
            out=failures.get(number, ""),
        )
        for number in names
    ]
    place = {number: index for index, number in enumerate(names)}
    flops = {pick.trial: cost.training_flops_per_token(pick.spec) for pick in retest.candidates}

    def rank(one: Judged) -> tuple[object, ...]:
        named = preference.trial is not None and one.trial != preference.trial
        if not retest.seeds and preference.trial is None:
            return bool(one.out), place[one.trial]  # nothing was trained: as measured
        return bool(one.out), named, -round(one.probability / _TIED), flops[one.trial], place[one.trial]

    ordered = tuple(sorted(judged, key=rank))
    return SecondLook(
        candidates=ordered,
        seeds=retest.seeds,
        training_deviation=noise.between_trials,
        reason=_reason(ordered, retest, preference),
    )


class _Evidence:
    """Joint draws of the front's scores, from the study, from the new trainings of its candidates, and from both."""

    def __init__(self, report: Report, again: Mapping[int, FinalTrial], noise: SeedNoise) -> None:
        self._objectives, self._again, self._noise = report.objectives, again, noise
        self._placed = [standing.trial for standing in report.standings]
        self._front = [standing.number for standing in report.front]
        self._trials = {trial.number: trial for trial in self._placed}
        self.luck: dict[int, float] = {}
        self._of_documents: dict[str, dict[int, float]] = {}  # variances over the draws, by objective and trial
        self._draws = {basis: self._drawn(basis) for basis in ("study", "again", "together")}

    def best(self, basis: Basis, numbers: Sequence[int], preference: Preference) -> Array:
        """The share of draws (k,) in which each of the candidates is the best of them by the preference.

        In a draw in which one is beyond a limit it is not, unless all are.
        """
        draws = self._draws[basis]
        at = [self._front.index(number) for number in numbers]
        compared = history.compared(draws, self._objectives)
        names = [objective.name for objective in self._objectives]
        if preference.select == KNEE:
            values = knee_distances(compared, self._objectives, preference.weights)[:, at]
        else:
            values = compared[:, at, names.index(preference.select)]
        beyond = np.zeros(values.shape, dtype=bool)
        for name, most in preference.limits.items():
            if name in names and not self._objectives[names.index(name)].before_training:
                beyond |= draws[:, at, names.index(name)] > most
        beyond &= ~beyond.all(axis=1, keepdims=True)
        winners = np.argmin(np.where(beyond, np.inf, values), axis=1)
        return np.asarray(np.bincount(winners, minlength=len(at)) / len(winners))

    def scores(self, number: int) -> dict[str, Seen]:
        """What is known of a candidate in each objective that training decides."""
        found = {}
        for column, objective in enumerate(self._objectives):
            if objective.before_training:
                continue
            study = self._trials[number].scores[objective.name]
            again = self._again.get(number)
            together = study
            if again is not None:
                drawn = self._draws["together"][:, self._front.index(number), column]
                together = self._together(objective, number, study, float(np.median(drawn)), drawn)
            found[objective.name] = Seen(
                study=study, again=None if again is None else again.scores[objective.name], together=together
            )
        return found

    def _together(self, objective: Objective, number: int, study: Score, value: float, drawn: Array) -> Score:
        """The draws' median with an interval: of a loss, for the few documents as wide as the study's own are."""
        low, high = (float(end) for end in np.quantile(drawn, [0.025, 0.975]))
        if objective.known == "trained":
            trial = self._trials[number]
            of_documents = evaluation_error(objective.name, study, trial)
            documents = trial.outcome.documents
            freedom = math.inf if documents is None else max(len(documents.tokens) - 1, 1)
            of_training = math.sqrt(max(float(drawn.var()) - float(self._of_documents[objective.name][number]), 0.0))
            reach = math.hypot(t_quantile(self._noise.degrees_of_freedom) * of_training, t_quantile(freedom) * of_documents)
            low, high = value - reach, value + reach
        return dataclasses.replace(study, value=value, low=low, high=high, note="study and new trainings", n=None)

    def _drawn(self, basis: str) -> Array:
        """Draws (B, F, K) in the objectives' units, the same for the same trainings."""
        rng = np.random.default_rng(_SEED)
        seeds = rng.integers(2**32)  # one for all losses: bits per byte err with val_loss
        at = [next(i for i, trial in enumerate(self._placed) if trial.number == number) for number in self._front]
        front = [self._trials[number] for number in self._front]
        resampled = resampled_losses(front, rng, NUM_DRAWS)
        columns = []
        for objective in self._objectives:
            true = posterior(objective, self._placed, self._noise)
            scores = [trial.scores[objective.name] for trial in self._placed]
            if objective.known == "trained":
                own = np.random.default_rng(seeds)
                drawn = true.draw(own, NUM_DRAWS)[:, at]
                drawn = self._with_retest(objective, drawn, own, basis)
                own_scores = [trial.scores[objective.name] for trial in front]
                shifts = of_documents(objective.name, front, own_scores, resampled, rng, NUM_DRAWS)
                self._of_documents[objective.name] = dict(zip(self._front, shifts.var(axis=0), strict=True))
                drawn = drawn + shifts
            elif objective.name in SHARES:
                drawn = draw_shares(scores, true, rng, NUM_DRAWS)[:, at]
                drawn = np.clip(self._with_retest(objective, drawn, rng, basis), 0.0, 1.0)
            else:
                drawn = true.draw(rng, NUM_DRAWS)[:, at]
                drawn = np.exp(drawn) if objective.logarithmic else drawn
            columns.append(drawn)
        return np.stack(columns, axis=2)

    def _with_retest(self, objective: Objective, drawn: Array, rng: np.random.Generator, basis: str) -> Array:
        """The study's draws (B, F) with those of retested candidates renewed."""
        if basis == "study" or not self._again:
            return drawn
        numbers = list(self._again)
        at = [self._front.index(number) for number in numbers]
        seen = np.array([self._again[number].scores[objective.name].value for number in numbers])
        errors, common, own = self._errors(objective, seen)
        values = np.array([trial.scores[objective.name].value for trial in self._placed])
        means, variances = drawn[:, at].mean(axis=0), drawn[:, at].var(axis=0) + own**2
        wide = max(_WIDE * float(values.std()), 10 * float(errors.max()))
        luck = 1.0 if basis == "again" else LUCK
        update = updated(
            means,
            variances,
            seen,
            errors,
            common=common,
            centre=float(values.mean()),
            wide=wide if basis == "together" else 100 * wide,
            luck=luck,
        )
        if basis == "together" and objective.name in ("val_loss", "bits_per_byte"):
            self.luck |= dict(zip(numbers, map(float, update.luck), strict=True))
        renewed = drawn.copy()
        renewed[:, at] = update.draw(rng, len(drawn))
        return renewed

    def _errors(self, objective: Objective, seen: Array) -> tuple[Array, float, float]:
        """Standard errors (k,) of the new means, one that they have in common, and what the study's have besides their own."""
        again = list(self._again.values())
        seeds = min(trial.seeds for trial in again)
        if objective.known == "trained":
            # Bits per byte is val_loss in another unit, so seed noise scales with it.
            nats = np.array([trial.scores["val_loss"].value if "val_loss" in trial.scores else 1.0 for trial in again])
            order = math.sqrt(max(self._noise.deviation**2 - self._noise.between_trials**2, 0.0))
            scale = seen / np.where(nats > 0, nats, 1.0)
            common = order * float(scale.mean()) * math.sqrt(1 + 1 / seeds)
            return self._noise.between_trials * scale / math.sqrt(seeds), common, 0.0
        # Of what is usual, not of the value itself; and no less than the seeds differ.
        runs = [[run.rungs[0].scores[objective.name] for run in trial.runs] for trial in again]
        counts = sum(score.n or 0 for score in itertools.chain(*runs)) / max(sum(map(len, runs)), 1)
        usual = float(np.clip(seen.mean(), 1 / max(counts * len(runs), 2), 1 - 1 / max(counts * len(runs), 2)))
        counted = usual * (1 - usual) / max(counts, 1)
        within = float(np.mean([np.var([s.value for s in each], ddof=1) for each in runs])) if seeds > 1 else 0.0
        error = math.sqrt(max(counted, within) / seeds)
        return np.full(len(again), error), 0.0, math.sqrt(max(within - counted, 0.0))


def _again(trial: FinalTrial, retested: Retested) -> FinalTrial:
    """A candidate's new trainings as a trial of their own, scored at its rung 0."""
    runs = [
        TrialRecord(
            number=trial.number,
            state="complete",
            params={},
            spec=trial.spec,
            scores=trial.runs[0].scores,
            rungs=(dataclasses.replace(outcome, rung=0),),
        )
        for outcome in retested.outcomes
    ]
    still = pooled_noise([[loss_at(run, 0) for run in runs]])
    return merged_trial(runs, 0, dataclasses.replace(still, shifts=(0.0,) * (len(runs) - 1)))


def _pooled(report: Report, again: Sequence[FinalTrial]) -> SeedNoise:
    """Seed noise from the study's repeats and from the new trainings, each in columns of its own: their orders differ."""
    study = [[loss_at(run, s.trial.outcome.rung) for run in s.trial.runs] for s in report.standings]
    most = max(map(len, study))
    new = []
    for trial in again:
        first, *others = (loss_at(run, 0) for run in trial.runs)
        new.append([first, *[None] * (most - 1), *others])
    return pooled_noise([*study, *new])


def _reason(candidates: Sequence[Judged], retest: Retest, preference: Preference) -> str:
    kept = [each for each in candidates if not each.out]
    out = [f"Trial {each.trial} is out: {each.out}." for each in candidates if each.out]
    if not kept:
        return " ".join(["No candidate is left after the second look.", *out])
    first, *others = kept
    by = f"by {'the knee' if preference.select == KNEE else preference.select}"
    rest = ", ".join(f"trial {each.trial}: {probability_text(each.probability)}" for each in others)
    chance = f"{probability_text(first.probability)}{f' ({rest})' if rest else ''}"
    if not retest.seeds:
        return " ".join([f"Trial {first.trial} is the best {by} with a probability of {chance}.", *out])
    times = "1 new training" if retest.seeds == 1 else f"{retest.seeds} new trainings"
    alone = "" if first.by_retest is None else f" and is {probability_text(first.by_retest)} by the new trainings alone"
    parts = [
        f"After {times} ({tokens_text(retest.tokens)} tokens) of each of {len(candidates)} candidates trial {first.trial} is "
        f"the best {by} with a probability of {chance}; it was {probability_text(first.by_study)} by the study's scores "
        f"alone{alone}."
    ]
    name = next((name for name in ("val_loss", "bits_per_byte") if name in first.scores), "")
    parts += [text for each in kept if (text := _losses(each, name, each is first))]
    better = [each.trial for each in others if each.probability > first.probability]
    if better:
        who = f"trials {listed(better)} are" if len(better) > 1 else f"trial {better[0]} is"
        parts.append(f"Warning: trial {first.trial} was asked for and stays, but {who} likelier the best.")
    return " ".join([*parts, *out])


def _losses(judged: Judged, name: str, is_first: bool) -> str:
    """What its new trainings say of a candidate's loss: of the first always, of another where they contradict the study."""
    seen = judged.scores.get(name)
    if seen is None or seen.again is None:
        return ""
    if judged.luck > 0.5:
        return (
            f"The study's {name} of trial {judged.trial}, {score_text(seen.study)}, was no measure of it (probability "
            f"{probability_text(judged.luck)}): its new trainings have {_text(seen.again)}."
        )
    if not is_first:
        return ""
    return f"Its {name}: {_text(seen.study)} in the study, {_text(seen.again)} again, {_text(seen.together)} together."


def _text(score: Score) -> str:
    interval = interval_text(score)
    return f"{score_text(score)} ({interval})" if interval else score_text(score)
