"""The loop at the top: prepare, calibrate, search, stop, resume. The only module that knows policy, engine and ledger."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from autonas import machine
from autonas.arch import ArchSpec
from autonas.checkpoints import clean_checkpoints
from autonas.data.dataset import Dataset, prepare
from autonas.engine.base import Engine
from autonas.errors import DeviceError, InfeasibleArch, RecipeError, StudyError, resource_error
from autonas.ledger import Ledger, study_lease
from autonas.objective import OBJECTIVES
from autonas.plan import data_notes, remaining_seconds
from autonas.policy import calibration, sampler
from autonas.policy.policy import Complete, Finish, Policy, Propose, Stop, Train, Wait, beats_unigram, begun
from autonas.recipe import Recipe, difference
from autonas.space.limits import MEASURED
from autonas.trial import Budget, Failure, Job, Outcome, Score, StudyRecord, TrainingSettings, TrialRecord, to_json

# A latency job and a calibration point have no trial in the ledger; their names and folders are told apart by these numbers.
_LATENCY_TRIAL = 90_000
CALIBRATION_TRIAL = 95_000
# What a job may take beyond the study's time before it is cut off.
_GRACE_S, _GRACE_SHARE = 60.0, 0.15


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who wants to know: `say` gets one line of text at a time, `changed` the study after every change."""

    say: Callable[[str], None] = lambda text: None
    changed: Callable[[StudyRecord], None] = lambda study: None


def run_study(
    recipe: Recipe,
    engine: Engine,
    *,
    name: str,
    folder: Path,
    storage: str | None = None,
    resume: bool = False,
    device: str = "cpu",
    threads: int = 1,
    watcher: Watcher | None = None,
) -> StudyRecord:
    """Search until the budget is spent, and return the study. Interrupted at any moment, `resume` goes on from there.

    Raises:
        StudyError: the study exists (and not `resume`), does not exist (and `resume`), is running elsewhere, or has another
            recipe or other data.
        RequestError: anything else that cannot be done as asked.
    """
    with study_lease(name, folder):
        watcher = watcher or Watcher()
        if recipe.training.schedule != "wsd":
            raise RecipeError(
                f"training.schedule is {recipe.training.schedule}, which has no stable trunk to go on from: "
                "a search needs wsd; cosine is for `autonas train`."
            )
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
            raise DeviceError(f"--device {device!r} cannot train; choose auto, cpu, cuda or cuda:N")
        with contextlib.closing(engine), contextlib.ExitStack() as stack:
            if resume:
                ledger = stack.enter_context(contextlib.closing(Ledger.open(name, folder, storage)))
                recipe = _resumed_recipe(ledger, recipe)
            # The corpus comes before the study: a corpus that cannot be read must not leave an empty study behind.
            watcher.say("preparing the corpus")
            dataset = prepare(recipe.corpus, recipe.tokenizer, say=watcher.say)
            for text in data_notes(recipe, dataset):
                watcher.say(f"note: {text}")
            if resume:
                _check_same_data(ledger, dataset)
                ledger.extend_budget(recipe.resolved)
            else:
                created = Ledger.create(name, folder, storage, recipe.resolved, recipe.objectives)
                ledger = stack.enter_context(contextlib.closing(created))
                _clear(folder)
            study = _Study(with_vocabulary(recipe, dataset), dataset, engine, ledger, folder, device, threads, watcher)
            try:
                study.search()
            except (DeviceError, RecipeError, InfeasibleArch):
                if not resume and study.is_blank():
                    ledger.discard()
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            return ledger.read()


class _Study:
    """One study while it runs."""

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        engine: Engine,
        ledger: Ledger,
        folder: Path,
        device: str,
        threads: int,
        watcher: Watcher,
    ) -> None:
        self.recipe, self.dataset, self.engine, self.ledger = recipe, dataset, engine, ledger
        self.folder, self.device, self.threads, self.watcher = folder, device, threads, watcher
        self.policy = Policy(recipe.space, recipe.search, recipe.objectives)
        self.distributions = sampler.distributions(recipe.space)
        self.training = recipe.training
        self.running: dict[int, Job] = {}
        known = ledger.read().attributes
        self._started = time.monotonic()
        self._spent_before = float(known.get("spent_s", 0.0))
        self._attempt = int(known.get("attempts", 0)) + 1
        if ledger.repaired:
            watcher.say(ledger.repaired)

    # Preparing

    def _write_provenance(self) -> None:
        study = self.ledger.read()
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        environment = {**machine.environment(), "device": self.device, "threads": self.threads}
        facts = {
            "attempts": self._attempt,
            "environment": environment,
            "data": {"fingerprint": self.dataset.fingerprint, "report": self.dataset.report},
            "started_at": study.attributes.get("started_at", now),
            "ended_at": None,
            "closed": None,
        }
        for key, value in facts.items():
            self.ledger.set_attribute(key, value)
        try:
            for sub in ("jobs", "outcomes", "checkpoints", "metrics"):
                (self.folder / sub).mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(dict(self.recipe.resolved), sort_keys=False, allow_unicode=True)
            (self.folder / "recipe.yaml").write_text(text, encoding="utf-8")
            stamped = {**environment, "data_fingerprint": self.dataset.fingerprint}
            (self.folder / "environment.json").write_text(json.dumps(stamped, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise resource_error(error, error.filename or self.folder) from error

    def _calibrate(self) -> TrainingSettings:
        """The study's base learning rate: as the recipe says, or measured once and then read from the ledger."""
        sweep, training = self.recipe.calibration, self.recipe.training
        if not sweep.enabled:
            return training
        shapes = calibration.calibration_shapes(self.recipe.space, self.recipe.search.seed)
        points = calibration.points(shapes, sweep)
        known = dict(self.ledger.read().attributes.get("calibration") or {"points": []})
        done: list[dict[str, Any]] = list(known["points"])
        for number, point in enumerate(points[len(done) :], len(done)):
            self.watcher.say(
                f"calibrating the learning rate: {number + 1} of {len(points)} "
                f"(layers {point.spec.layers}, width {point.spec.width}, rate {point.rate:g})"
            )
            tokens = sweep.tokens
            budget = Budget(rung=0, tokens=tokens, cooldown_tokens=max(1, round(tokens * self.recipe.search.cooldown_share)))
            # The rate is a setting here and not part of the spec, whose fingerprint draws the weights: all rates begin alike.
            job = self._job("train", CALIBRATION_TRIAL + number, point.spec, budget, objectives=("val_loss",))
            settings = dataclasses.replace(training, learning_rate=point.rate)
            outcome = self._run_alone(dataclasses.replace(job, training=settings))
            shutil.rmtree(self.folder / "checkpoints" / f"{CALIBRATION_TRIAL + number:05d}", ignore_errors=True)
            loss = outcome.scores["val_loss"].value if outcome.ok else None
            done.append(
                {
                    "shape": to_json(point.spec),
                    "rate": point.rate,
                    "val_loss": loss,
                    "failure": None if outcome.failure is None else outcome.failure.kind,
                    "tokens": outcome.tokens,
                    "seconds": outcome.seconds,
                }
            )
            self.ledger.set_attribute("calibration", {"points": done})
            self._keep_time()
        choice = calibration.choose(list(zip(points, [point["val_loss"] for point in done], strict=True)))
        self.ledger.set_attribute(
            "calibration",
            {
                "points": done,
                "chosen": choice.rate,
                "regret": dict(choice.regret),
                "note": choice.note,
                "at_edge": choice.at_edge,
            },
        )
        self.watcher.say(f"learning rate: {choice.note}")
        return dataclasses.replace(training, learning_rate=choice.rate)

    def is_blank(self) -> bool:
        """Whether nothing was trained yet: a mistake corrected should not need another name for the study."""
        study = self.ledger.read()
        points = (study.attributes.get("calibration") or {}).get("points", [])
        calibrated = any(point["val_loss"] is not None for point in points)
        trained = any(trial.rungs or trial.state == "failed" for trial in study.trials)
        return not (calibrated or trained or any(self.folder.glob("checkpoints/*/trunk.safetensors")))

    # Searching

    def search(self) -> None:
        """Take step after step until the policy says that the study is at its end."""
        self._write_provenance()
        try:
            self.training = self._calibrate()
            while True:
                study = self.ledger.read()
                step = self.policy.next_step(study, running=frozenset(self.running), accepting=self._accepting(study))
                if isinstance(step, Finish):
                    self._finish(study, step.reason)
                    return
                if isinstance(step, Wait) or len(self.running) >= self.engine.capacity:
                    self._collect()
                    continue
                self._take(study, step)
                self.watcher.changed(self.ledger.read())
        finally:
            self._keep_time()

    def _take(self, study: StudyRecord, step: Propose | Train | Stop | Complete) -> None:
        if isinstance(step, Propose):
            self._begin(study, step)
        elif isinstance(step, Train):
            if self._out_of_time():
                self._give_up(study.trials[step.trial])
            else:
                self._train(study.trials[step.trial], step.rung)
        elif isinstance(step, Stop):
            self.ledger.stop(step.trial)
            self._free(step.trial)
        else:
            self._complete(study.trials[step.trial])

    def _begin(self, study: StudyRecord, step: Propose) -> None:
        """Screen a candidate by what is cheap to know, cheapest first; what passes begins its training.

        A declared repeat passed when its original did, and has the original's exact scores and latency.
        """
        if step.repeat_of is not None:
            original = study.trials[step.repeat_of]
            assert original.spec is not None
            self.ledger.begin(original.params, self.distributions, original.spec, original.scores, repeat_of=original.number)
            return
        space = self.recipe.space
        spec: ArchSpec | None = None
        scores: dict[str, Score] = {}
        try:
            spec = space.decode(step.params)
            scores = {name: Score.exact(value, OBJECTIVES[name].unit) for name, value in space.price(spec).items()}
            space.screen(spec)
            if self._needs_latency():
                scores |= self._latency(spec, len(study.trials))
                space.limits.screen({name: score.value for name, score in scores.items()})
        except InfeasibleArch as broken:
            self.ledger.add_infeasible(
                step.params,
                self.distributions,
                rule=broken.rule,
                reason=str(broken),
                nearest=space.nearest_legal(step.params),
                spec=spec,
                scores=scores,
            )
            return
        self.ledger.begin(step.params, self.distributions, spec, scores, sampler_state=step.sampler_state)

    def _needs_latency(self) -> bool:
        measured = any(OBJECTIVES[name].known == "measured" for name in self.recipe.objectives)
        limits = self.recipe.space.limits
        return measured or any(limits.bounds(name) != (None, None) for name in MEASURED)

    def _latency(self, spec: ArchSpec, number: int) -> dict[str, Score]:
        budget = Budget(rung=0, tokens=0, cooldown_tokens=0)
        outcome = self._run_alone(self._job("latency", _LATENCY_TRIAL + number, spec, budget, objectives=("latency",)))
        if outcome.failure is not None:
            raise InfeasibleArch("latency", f"its latency could not be measured: {outcome.failure.message}")
        return dict(outcome.scores)

    def _train(self, trial: TrialRecord, rung: int) -> None:
        assert trial.spec is not None
        last = rung == len(self.policy.rungs) - 1
        objectives = tuple(
            name
            for name in self.recipe.objectives
            if OBJECTIVES[name].known == "trained" or (last and OBJECTIVES[name].known == "final")
        )
        repeat = self._repeat_index(trial)
        job = self._job("train", trial.number, trial.spec, self.policy.budget(rung), objectives=objectives, repeat=repeat)
        self.running[trial.number] = job
        self._write(f"jobs/{job.name}.json", to_json(job))
        self.engine.start(job)

    def _repeat_index(self, trial: TrialRecord) -> int:
        if trial.repeat_of is None:
            return 0
        earlier = (t for t in self.ledger.read().trials if t.repeat_of == trial.repeat_of and t.number <= trial.number)
        return sum(1 for _ in earlier)

    def _collect(self) -> None:
        for outcome in self.engine.wait():
            self._remember(outcome)
        self._keep_time()

    def _remember(self, outcome: Outcome) -> None:
        job = self.running.pop(outcome.trial)
        self._write(f"outcomes/{job.name}.json", to_json(outcome))
        if outcome.failure is not None:
            self.ledger.fail(outcome.trial, outcome.failure)
            self._free(outcome.trial)
            self.watcher.say(f"trial {outcome.trial} failed ({outcome.failure.kind}): {outcome.failure.message}")
        else:
            self.ledger.finish_rung(outcome)
        self.watcher.changed(self.ledger.read())

    def _complete(self, trial: TrialRecord) -> None:
        last = trial.rungs[-1]
        found = beats_unigram(last)
        if found is not None:
            self.ledger.reject(trial.number, "beats a unigram model", found)
            self._free(trial.number)
            return
        scores = [trial.score(name, last.rung) for name in self.recipe.objectives]
        self.ledger.complete(trial.number, [score.value for score in scores if score is not None])
        (self.folder / "checkpoints" / f"{trial.number:05d}" / "trunk.safetensors").unlink(missing_ok=True)

    def _run_alone(self, job: Job) -> Outcome:
        """Run a job that is no trial's, and wait for it; trials that end meanwhile are remembered."""
        self.engine.start(job)
        while True:
            for outcome in self.engine.wait():
                if outcome.trial == job.trial:
                    return outcome
                self._remember(outcome)

    def _job(
        self, kind: Any, number: int, spec: ArchSpec, budget: Budget, *, objectives: tuple[str, ...], repeat: int = 0
    ) -> Job:
        seed = self.recipe.search.seed
        return Job(
            kind=kind,
            study=self.ledger.name,
            trial=number,
            attempt=self._attempt,
            spec=spec,
            budget=budget,
            seed=sampler.derived_seed(seed, "weights", spec.fingerprint, repeat),
            data_seed=sampler.derived_seed(seed, "data", repeat),
            data=self.dataset.ref,
            training=self.training,
            evaluation=self.recipe.evaluation,
            latency=self.recipe.latency,
            objectives=objectives,
            folder=str(self.folder),
            device=self.device,
            threads=self.threads,
            time_limit_s=self._time_limit_s(),
        )

    # Time

    @property
    def spent_s(self) -> float:
        """Seconds that this study has run, over all its attempts."""
        return self._spent_before + time.monotonic() - self._started

    def _limit_s(self) -> float | None:
        hours = self.recipe.search.max_hours
        return None if hours is None else hours * 3600.0

    def _time_limit_s(self) -> float | None:
        """A job begun in time may end a little late; one that stalls must not keep the study for ever."""
        limit = self._limit_s()
        return None if limit is None else max(limit - self.spent_s, 0.0) + max(_GRACE_S, _GRACE_SHARE * limit)

    def _out_of_time(self) -> bool:
        limit = self._limit_s()
        return limit is not None and self.spent_s >= limit

    def _accepting(self, study: StudyRecord) -> bool:
        """Whether there is time for one more trial, or repeat, and for all that are alive to reach their end."""
        limit = self._limit_s()
        if limit is None:
            return True
        one_more = min(begun(study) + 1, self.recipe.search.trials)
        repeats = 1 if begun(study) >= self.recipe.search.trials else 0
        needed = remaining_seconds(study, self.recipe, self.policy, trials=one_more, repeats=repeats)
        return self.spent_s + (needed or 0.0) < limit

    def _give_up(self, trial: TrialRecord) -> None:
        """Time is up before this trial could go on: it keeps what it has, or has failed when it has nothing."""
        if trial.rungs:
            self.ledger.stop(trial.number)
        else:
            self.ledger.fail(trial.number, Failure(kind="timeout", message="the study's time was up before it was trained"))
        self._free(trial.number)

    def _keep_time(self) -> None:
        self.ledger.set_attribute("spent_s", round(self.spent_s, 3))

    # Files

    def _write(self, name: str, value: Any) -> None:
        path = self.folder / name
        try:
            partial = path.with_suffix(".tmp")
            partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
            partial.replace(path)
        except OSError as error:
            raise resource_error(error, path) from error

    def _free(self, number: int) -> None:
        shutil.rmtree(self.folder / "checkpoints" / f"{number:05d}", ignore_errors=True)

    def _finish(self, study: StudyRecord, reason: str) -> None:
        clean_checkpoints(study, self.folder)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.ledger.set_attribute("closed", reason)
        self.ledger.set_attribute("ended_at", now)
        self._keep_time()
        self.watcher.say(f"the search has ended: {reason}")
        self.watcher.changed(self.ledger.read())


def with_vocabulary(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe with the vocabulary that its tokenizer really has: a user's own tokenizer brings its own size."""
    if recipe.space.vocab_size == dataset.vocab_size:
        return recipe
    return dataclasses.replace(recipe, space=dataclasses.replace(recipe.space, vocab_size=dataset.vocab_size))


def _resumed_recipe(ledger: Ledger, recipe: Recipe) -> Recipe:
    """The recipe to go on with: a resumed study may be given more trials and other hours; nothing else may differ."""
    stored = Recipe.from_resolved(ledger.read().recipe)
    if stored.fingerprint != recipe.fingerprint:
        changed = difference(stored, recipe)
        raise StudyError(
            f"the study {ledger.name!r} has another recipe: {'; '.join(changed[:5])}. Only trials and hours may change on "
            "--resume; give another --study name for another recipe."
        )
    if recipe.search.trials >= stored.search.trials:
        return recipe
    # Begun with more trials than the file says, by --trials: leaving that out on --resume takes nothing back.
    budget = {**recipe.resolved["budget"], "trials": stored.search.trials}
    return Recipe.from_resolved({**recipe.resolved, "budget": budget})


def _check_same_data(ledger: Ledger, dataset: Dataset) -> None:
    known = ledger.read().attributes.get("data")
    if known is not None and known["fingerprint"] != dataset.fingerprint:
        raise StudyError(
            f"the corpus of the study {ledger.name!r} has changed: it was {known['fingerprint']} and is now "
            f"{dataset.fingerprint}. Scores on different data cannot be compared; start another study."
        )


def _clear(folder: Path) -> None:
    """Remove what another study of this name left in the folder: its checkpoints are not this one's."""
    for sub in ("jobs", "outcomes", "checkpoints", "metrics"):
        shutil.rmtree(folder / sub, ignore_errors=True)


def study_status(study: StudyRecord) -> Mapping[str, int]:
    """How many trials are in each state, declared repeats included."""
    counts = dict.fromkeys(("live", "complete", "stopped", "infeasible", "failed"), 0)
    for trial in study.trials:
        counts[trial.state] += 1
    return counts
