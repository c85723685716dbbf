"""From a pick on a study's front to its full run: the job, and what it would take.

Which trial is picked is decided in select.py, how the job is carried out in execution.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autonas.arch import ArchSpec
from autonas.data.dataset import Dataset, prepare
from autonas.errors import StudyError
from autonas.policy import forecast
from autonas.policy.experiment import Experiment, paced, plan_experiment
from autonas.policy.prediction import Predicted
from autonas.policy.replica import FullRun
from autonas.policy.sampler import derived_seed
from autonas.promotion.book import books
from autonas.promotion.prediction import Overtaking, overtaking, predict_run, predictions_text
from autonas.promotion.replicas import describe as describe_replicas
from autonas.promotion.replicas import is_choosing
from autonas.promotion.retest import Retest, plan_retest
from autonas.promotion.select import KNEE, Pick, Preference, choose_several
from autonas.recipe import PromoteSettings, Recipe
from autonas.recipe.search_sections import MOST_RETESTED, MOST_SEEDS
from autonas.reporting.front import build_report
from autonas.reporting.quantities import duration_text, tokens_text
from autonas.run_data import check_shown
from autonas.run_folder import next_attempt, read_job, run_budget, run_state, run_steps, run_tokens
from autonas.trial import DataRef, Job, Score, StudyRecord, TrainingSettings

_RUN = "run"  # stands where a trial's seeds have the number of its repeat, so that a run has seeds of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A pick with the job of its full run, and what that will take."""

    study: str
    pick: Pick
    job: Job
    epochs: float  # over the training split
    seconds: float | None  # on this machine, as the study's own trainings tell; None where they tell nothing
    experiment: Experiment | None = None  # replicas before it; None where none are wanted
    predicted: Mapping[str, Predicted] = field(default_factory=dict)  # of the run's scores, from the study alone
    overtaking: Overtaking | None = None  # a trial that would end lower and cost no more, as far as can be told
    retest: Retest | None = None  # the second look before it; None where there is one candidate
    looked: Mapping[str, Any] = field(default_factory=dict)  # what a second look said, for the run's record
    revised: Mapping[str, Score] = field(default_factory=dict)  # the pick's scores at the last rung after it

    @property
    def folder(self) -> Path:
        return Path(self.job.folder)

    @property
    def steps(self) -> int:
        return run_steps(self.job)

    @property
    def tokens(self) -> int:
        """Tokens that the model will be shown."""
        return run_tokens(self.job)

    def describe(self) -> str:
        """What would be done, in a paragraph."""
        time = "" if self.seconds is None else f", about {duration_text(self.seconds)} on this machine"
        text = (
            f"{self.pick.reason} Its full run: {self.steps:,} steps, {tokens_text(self.tokens)} tokens "
            f"({self.epochs:.1f} epochs over the corpus){time}; into {self.folder}."
        )
        more = [self.retest.describe()] if self.retest is not None else []
        more += [predictions_text(self.predicted)] if self.predicted else []
        more += [self.overtaking.text] if self.overtaking is not None else []
        more += [describe_replicas(self.experiment)] if self.experiment is not None else []
        return " ".join(filter(None, (text, *more)))


def preference(
    settings: PromoteSettings | None,
    *,
    trial: int | None = None,
    select: str | None = None,
    limits: Mapping[str, float] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Preference:
    """What the recipe prefers, with what is given (and not None or empty) in its place. Weights alone are those of the knee.

    Raises:
        StudyError: a trial is given, and how to select one too.
    """
    base = settings or PromoteSettings()
    limits = limits or base.limits
    if trial is not None:
        if select is not None or weights:
            raise StudyError(
                f"--trial {trial}: --select and --weight have no say where the trial is named; leave out --trial, or those"
            )
        return Preference(trial=trial, limits=limits)
    if select is not None or weights:
        # The recipe's own selection and weights belong together: neither goes with what is given.
        return Preference(select=KNEE if select is None else select, limits=limits, weights=weights or {})
    return Preference(select=base.select, limits=limits, weights=base.weights)


def second_look_of(
    settings: PromoteSettings | None,
    wanted: Preference,
    *,
    retest: int | None = None,
    seeds: int | None = None,
    succession: bool | None = None,
) -> dict[str, Any]:
    """How many candidates a promotion has, their new seeds and whether they follow one another, as `plan_promotion` takes it.

    What is None is as the recipe says. A trial that is named is the user's word: it is trained again only if that is asked.

    Raises:
        StudyError: a number is out of range.
    """
    base = settings or PromoteSettings()
    if retest is not None and not 0 <= retest <= MOST_RETESTED:
        raise StudyError(f"--retest {retest}: is not a number of candidates; give 2 to {MOST_RETESTED}, or --no-retest")
    if seeds is not None and not 0 <= seeds <= MOST_SEEDS:
        raise StudyError(f"--retest-seeds {seeds}: give a number from 0 to {MOST_SEEDS}")
    usual = 1 if wanted.trial is not None else base.retest
    return {
        "candidates": usual if retest is None else retest,
        "seeds": base.seeds if seeds is None else seeds,
        "succession": base.succession if succession is None else succession,
    }


def plan_promotion(
    study: StudyRecord,
    wanted: Preference,
    *,
    study_folder: Path,
    steps: int | None = None,
    run: Path | None = None,
    device: str = "cpu",
    threads: int = 1,
    say: Callable[[str], None] = lambda text: None,
    pick: Pick | None = None,
    candidates: int = 1,
    seeds: int = 0,
    succession: bool = False,
    looked: Mapping[str, Any] | None = None,
    revised: Mapping[str, Score] | None = None,
) -> Promotion:
    """Pick a trial of the study and make the job of its full run, in `run` or a folder of the study named after both.

    `pick` stands for what is `wanted` where it was picked before. Else the best `candidates` of the front are to be trained
    again with so many new `seeds` each; with `succession` the next takes the place of one whose full run ends badly. `looked`
    is what such a second look said of a `pick`, and `revised` its scores then.

    Raises:
        StudyError: nothing can be picked, or the study's corpus is not what it was.
    """
    recipe = Recipe.from_resolved(study.recipe)
    report = build_report(study)
    retest = None
    if pick is None:
        picks = choose_several(report, wanted, max(candidates, 1))
        pick = picks[0]
        retest = plan_retest(report, picks, wanted, seeds=seeds, succession=succession and wanted.trial is None)
    dataset = _same_data(study, recipe, say)
    check_shown(dataset, recipe.curriculum, recipe.teacher)
    number = steps or (recipe.promote or PromoteSettings()).steps
    seed = recipe.search.seed
    job = full_job(
        recipe,
        pick.spec,
        dataset.ref,
        study=study.name,
        trial=pick.trial,
        steps=number,
        training=calibrated(study, recipe.training),
        seed=derived_seed(seed, "weights", pick.spec.fingerprint, _RUN),
        data_seed=derived_seed(seed, "data", _RUN),
        folder=run or study_folder / "runs" / f"{pick.trial}-{pick.spec.fingerprint[:8]}-{number}",
        device=device,
        threads=threads,
    )
    shown, corpus_tokens = run_tokens(job), max(int(dataset.tokens("train").shape[0]), 1)
    full = FullRun(spec=job.spec, training=job.training, budget=job.budget, corpus_tokens=corpus_tokens)
    looked = looked or {}
    predicted = predict_run(study, pick.trial, full, revised=revised, new_seeds=looked.get("seeds", 0))
    return Promotion(
        study=study.name,
        pick=pick,
        job=job,
        epochs=shown / corpus_tokens,
        seconds=_seconds(study, pick, shown, study_folder),
        experiment=_experiment(study, recipe, full),
        predicted=predicted,
        overtaking=overtaking(report, pick.trial, full, predicted, wanted.limits),
        retest=retest,
        looked=looked,
        revised=revised or {},
    )


def _experiment(study: StudyRecord, recipe: Recipe, full: FullRun) -> Experiment | None:
    """The replicas before the full run; None where none are wanted, or nothing horizon-bound varies."""
    if recipe.horizon.replicas is False or not recipe.space.horizon_bound:
        return None
    fitted = forecast.fit(forecast.observations(study))
    return plan_experiment(
        full,
        recipe.space,
        share=recipe.horizon.share,
        seeds=recipe.horizon.seeds,
        seconds=None if fitted is None else paced(fitted, recipe.training.batch_tokens),
    )


def full_job(
    recipe: Recipe,
    spec: ArchSpec,
    data: DataRef,
    *,
    study: str,
    trial: int,
    steps: int,
    training: TrainingSettings,
    seed: int,
    data_seed: int,
    folder: Path,
    device: str,
    threads: int,
) -> Job:
    """The job of a full run of `spec` by the recipe's training, evaluation and latency."""
    return Job(
        kind="run",
        study=study,
        trial=trial,
        attempt=next_attempt(folder),
        spec=spec,
        budget=run_budget(spec, training, steps, recipe.search.cooldown_share),
        seed=seed,
        data_seed=data_seed,
        data=data,
        training=training,
        evaluation=recipe.evaluation,
        latency=recipe.latency,
        objectives=recipe.objectives,
        folder=str(folder),
        device=device,
        threads=threads,
        curriculum=recipe.curriculum,
        teacher=recipe.teacher,
    )


def resumed_job(
    study: StudyRecord,
    folder: Path,
    *,
    steps: int | None = None,
    trial: int | None = None,
    device: str = "cpu",
    threads: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> Job:
    """The job of the study's run in `folder`, to be gone on with as it was begun, here and now.

    Raises:
        StudyError: there is none, it is another study's, its steps or its trial are not those given, or the corpus has changed.
    """
    if run_state(folder) == "absent":
        raise StudyError(f"{folder} holds no run to go on with. Leave out --resume to start one.")
    job = read_job(folder)
    check_resumed(folder, study, job.study, (("--steps", steps, run_steps(job)), ("--trial", trial, job.trial)))
    dataset = _same_data(study, Recipe.from_resolved(study.recipe), say)
    # Where it was begun is not where it goes on: folders and devices are those of today.
    return dataclasses.replace(
        job, folder=str(folder), data=dataset.ref, attempt=next_attempt(folder), device=device, threads=threads
    )


def check_resumed(folder: Path, study: StudyRecord, begun_by: str, options: Sequence[tuple[str, int | None, int]]) -> None:
    """See that what lies in `folder` is of the study, and was begun with the options that are given.

    Raises:
        StudyError: otherwise.
    """
    if begun_by != study.name:
        raise StudyError(f"{folder} holds a run of {begun_by!r}, not of {study.name!r}. Name the right one with --out RUN.")
    for name, asked, known in options:
        if asked is not None and asked != known:
            raise StudyError(
                f"{folder} was begun with {name} {known} and cannot go on with {asked}. "
                f"Leave out {name}, or start another run without --resume."
            )


def calibrated(study: StudyRecord, training: TrainingSettings) -> TrainingSettings:
    """The settings that the study's trials were trained with: its calibration may have chosen the rate."""
    chosen = (study.attributes.get("calibration") or {}).get("chosen")
    return training if chosen is None else dataclasses.replace(training, learning_rate=float(chosen))


def _same_data(study: StudyRecord, recipe: Recipe, say: Callable[[str], None]) -> Dataset:
    """The study's corpus, prepared again where it is not there any more."""
    dataset = prepare(recipe.corpus, recipe.tokenizer, say=say)
    known = (study.attributes.get("data") or {}).get("fingerprint")
    if known is not None and known != dataset.fingerprint:
        raise StudyError(
            f"the corpus of the study {study.name!r} has changed: it was {known} and is now {dataset.fingerprint}. "
            "Its winner was chosen on other data; bring the corpus back, or search again under another --study name."
        )
    return dataset


def _seconds(study: StudyRecord, pick: Pick, tokens: int, study_folder: Path) -> float | None:
    """How long the run takes here: by the speed at which the picked trial was trained, else by the whole study's forecast."""
    trial = study.trials[pick.trial]
    speeds = _speeds(study_folder / "metrics" / f"{pick.trial:05d}.jsonl")
    if speeds:
        last = trial.rungs[-1]
        rate = statistics.median(speeds)
        return tokens / rate + max(last.seconds - last.new_tokens / rate, 0.0)
    fitted = forecast.fit(forecast.observations(study))
    return None if fitted is None else fitted.seconds(pick.spec, tokens)


def _speeds(path: Path) -> list[float]:
    """Tokens a second of each stretch of a trial's training."""
    speeds = []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        speeds = [float(json.loads(line)["tokens_per_s"]) for line in path.read_text(encoding="utf-8").splitlines()]
    return [speed for speed in speeds if speed > 0]


def unfinished_run(study_folder: Path) -> Path:
    """The study's run that was begun and has not ended; or the folder of the promotion that it is of, or is to be.

    Raises:
        StudyError: there is none, or several.
    """
    folder, known = study_folder / "runs", books(study_folder)
    # Runs of a promotion with several candidates are its own to go on with, and some have ended badly.
    theirs = {Path(each.folder).resolve() for book in known for each in book.runs}
    runs = [path for path in sorted(folder.glob("*")) if path.resolve() not in theirs]
    found = [path for path in runs if run_state(path) == "begun" or is_choosing(path)]
    found += [book.folder for book in known if not book.closed]
    if not found:
        raise StudyError(f"{folder} holds no run to go on with. Leave out --resume to start one, or name one with --out RUN.")
    if len(found) > 1:
        raise StudyError(f"several runs have not ended: {', '.join(map(str, found))}. Name one with --out RUN.")
    return found[0]
