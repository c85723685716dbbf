"""The loop at the top: ask the policy what to do next, do it, remember it. Interrupted anywhere, it goes on from the ledger."""

from __future__ import annotations

import dataclasses
import datetime
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas import machine
from autonas.arch import ArchSpec
from autonas.checkpoints import clean_checkpoints
from autonas.data.dataset import Dataset
from autonas.engine.base import Engine
from autonas.errors import RETRIED, InfeasibleArch
from autonas.ledger import JOURNAL, Ledger
from autonas.objective import OBJECTIVES
from autonas.plan import remaining_seconds
from autonas.policy import sampler
from autonas.policy.policy import Complete, Finish, Policy, Propose, Stop, Train, Wait, beats_unigram, begun
from autonas.policy.prior import Prior
from autonas.recipe import Recipe
from autonas.run_folder import write_json
from autonas.study import files
from autonas.study.apart import calibrate, measure_latency
from autonas.study.clock import Clock
from autonas.trial import Budget, Failure, Job, JobSpan, Outcome, Score, StudyRecord, TrialRecord, from_json, to_json

CANCELLED = "cancelled"
WARM_START = "warm_start"  # an attribute of a study: what earlier trainings suggested to it
KEEP_TIME_S = 1.0  # how often a running study writes down how long it has run: each time is a flush to the disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who wants to know: `say` gets one line of text at a time, `changed` the study after every change."""

    say: Callable[[str], None] = lambda text: None
    changed: Callable[[StudyRecord], None] = lambda study: None


class Search:
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
        known = ledger.read().attributes
        prior = from_json(Prior, known[WARM_START]) if WARM_START in known else Prior()
        self.policy = Policy(recipe.problem, recipe.search, prior)
        self.distributions = sampler.distributions(recipe.space.searched_domains)
        self.training = recipe.training
        self.running: dict[int, Job] = {}
        self._given_up = 0  # trials that could have gone on, had there been time
        self.clock = Clock(spent_before_s=float(known.get("spent_s", 0.0)), max_hours=recipe.search.max_hours)
        self._kept_s = self.clock.spent_s
        self._attempt = int(known.get("attempts", 0)) + 1
        if ledger.repaired:
            watcher.say(ledger.repaired)

    # Preparing

    def _write_provenance(self) -> None:
        study = self.ledger.read()
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        workers = {"engine": self.engine.name, "workers": self.engine.capacity, "threads": self.threads}
        environment = {**machine.environment(), "device": self.device, **workers}
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
        ledger = files.EMBEDDED if (self.folder / JOURNAL).exists() else files.ELSEWHERE
        stamped = {**environment, "data_fingerprint": self.dataset.fingerprint, "ledger": ledger}
        files.write_provenance(self.folder, self.recipe.resolved, stamped)

    def is_blank(self) -> bool:
        """Whether nothing was trained yet: a mistake corrected should not need another name for the study."""
        study = self.ledger.read()
        points = (study.attributes.get("calibration") or {}).get("points", [])
        calibrated = any(point["val_loss"] is not None for point in points)
        trained = any(trial.rungs or trial.state == "failed" for trial in study.trials)
        return not (calibrated or trained or any(self.folder.glob("checkpoints/*/trunk.safetensors")))

    # Searching

    def search(self, *, retry_failed: bool = False) -> None:
        """Take step after step until the policy says that the study is at its end, or somebody cancels it."""
        self._write_provenance()
        self.watcher.changed(self.ledger.read())  # where it stands before anything is done
        try:
            self.training = calibrate(self)
            if retry_failed:
                self._begin_again()
            while True:
                if len(self.running) >= self.engine.capacity:
                    self._collect()
                    continue
                study = self.ledger.read()
                step = self.policy.next_step(study, running=frozenset(self.running), accepting=self._accepting(study))
                if isinstance(step, Finish):
                    clean_checkpoints(study, self.folder)
                    self._close(f"time is up; trials that could not go on: {self._given_up}" if self._given_up else step.reason)
                    return
                if isinstance(step, Wait):
                    self._collect()
                    continue
                self._take(study, step)
                self.watcher.changed(self.ledger.read())
        except KeyboardInterrupt:
            if not files.cancel_requested(self.folder):
                raise
            files.forget_cancel(self.folder)
            self._close(CANCELLED)
        finally:
            self.keep_time()

    def _begin_again(self) -> None:
        """A new trial in the place of each one that has failed and has no such successor yet."""
        trials = self.ledger.read().trials
        succeeded = {trial.retry_of for trial in trials}
        for trial in trials:
            if trial.state == "failed" and trial.number not in succeeded:
                assert trial.spec is not None
                number = self.ledger.begin(
                    trial.params, self.distributions, trial.spec, trial.scores, repeat_of=trial.repeat_of, retry_of=trial.number
                )
                self.watcher.say(f"trial {number} takes the place of trial {trial.number}, which failed ({trial.failure})")

    def _take(self, study: StudyRecord, step: Propose | Train | Stop | Complete) -> None:
        if isinstance(step, Propose):
            self._begin(study, step)
        elif isinstance(step, Train):
            if not self.clock.has(0.0):
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
        if sampler.GP_FAILED in step.sampler_state:
            self.watcher.say(f"this draw is random: gp could not answer ({step.sampler_state[sampler.GP_FAILED]})")
        space = self.recipe.space
        spec: ArchSpec | None = None
        scores: dict[str, Score] = {}
        measured: JobSpan | None = None
        try:
            spec = space.decode(step.params)
            scores = {name: Score.exact(value, OBJECTIVES[name].unit) for name, value in space.price(spec).items()}
            space.screen(spec)
            if self.recipe.needs_latency:
                timed, measured = measure_latency(self, spec, len(study.trials))
                scores |= timed
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
                measured=measured,
            )
            return
        self.ledger.begin(step.params, self.distributions, spec, scores, measured=measured, sampler_state=step.sampler_state)

    def _train(self, trial: TrialRecord, rung: int) -> None:
        assert trial.spec is not None
        last = rung == len(self.policy.rungs) - 1
        objectives = tuple(
            name
            for name in self.recipe.objectives
            if OBJECTIVES[name].known == "trained" or (last and OBJECTIVES[name].known == "final")
        )
        repeat = self._repeat_index(trial)
        job = self.job("train", trial.number, trial.spec, self.policy.budget(rung), objectives=objectives, repeat=repeat)
        self._start(job)

    def _start(self, job: Job) -> None:
        self.running[job.trial] = job
        write_json(self.folder / "jobs" / f"{job.name}.json", to_json(job))
        self.engine.start(job)

    def _repeat_index(self, trial: TrialRecord) -> int:
        """Which repeat of its original a trial is; 0 for an original. One that takes a failed one's place has its seeds."""
        if trial.repeat_of is None:
            return 0
        trials = self.ledger.read().trials
        first = trial
        while first.retry_of is not None:
            first = trials[first.retry_of]
        return sum(t.repeat_of == trial.repeat_of and t.retry_of is None and t.number <= first.number for t in trials)

    def _collect(self) -> None:
        for outcome in self.engine.wait():
            self.remember(outcome)
        if self.clock.spent_s - self._kept_s >= KEEP_TIME_S:
            self.keep_time()

    def remember(self, outcome: Outcome) -> None:
        """Write down how a trial's job ended; one that failed by no fault of its own is tried again from its checkpoint."""
        job = self.running.get(outcome.trial)
        if job is None or job.attempt != outcome.attempt:
            return  # of an attempt that was given up
        del self.running[outcome.trial]
        write_json(self.folder / "outcomes" / f"{job.name}.json", to_json(outcome))
        failure = None if outcome.failure is None else dataclasses.replace(outcome.failure, span=outcome.span)
        if failure is None:
            self.ledger.finish_rung(outcome)
        elif self.is_worth_retrying(outcome, len(self.ledger.read().trials[outcome.trial].retries)):
            self.ledger.retry(outcome.trial, failure)
            self.watcher.say(f"trial {outcome.trial} is tried again after {failure.kind}: {failure.message}")
            self._start(dataclasses.replace(job, attempt=self.next_attempt(), time_limit_s=self.clock.job_limit_s()))
        else:
            self.ledger.fail(outcome.trial, failure)
            self._free(outcome.trial)
            self.watcher.say(f"trial {outcome.trial} failed ({failure.kind}): {failure.message}")
        self.watcher.changed(self.ledger.read())

    def is_worth_retrying(self, outcome: Outcome, retries: int) -> bool:
        """Whether a failed job may end better another time, `retries` of which it has had."""
        return outcome.failure is not None and outcome.failure.kind in RETRIED and retries < self.recipe.search.retries

    def next_attempt(self) -> int:
        """A number above those of all attempts so far, of this controller and of earlier ones."""
        self._attempt += 1
        self.ledger.set_attribute("attempts", self._attempt)
        return self._attempt

    def _complete(self, trial: TrialRecord) -> None:
        last = trial.rungs[-1]
        found = beats_unigram(last)
        if found is not None:
            self.ledger.reject(trial.number, "beats a unigram model", found)
            self._free(trial.number)
            return
        scores = [trial.score(name, last.rung) for name in self.recipe.objectives]
        self.ledger.complete(trial.number, [score.value for score in scores if score is not None])
        (files.trial_folder(self.folder, trial.number) / "trunk.safetensors").unlink(missing_ok=True)

    def _free(self, number: int) -> None:
        shutil.rmtree(files.trial_folder(self.folder, number), ignore_errors=True)

    def job(
        self, kind: Any, number: int, spec: ArchSpec, budget: Budget, *, objectives: tuple[str, ...], repeat: int = 0
    ) -> Job:
        """A job of this study, for its trial `number`."""
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
            time_limit_s=self.clock.job_limit_s(),
        )

    # Time

    def _accepting(self, study: StudyRecord) -> bool:
        """Whether there is time for one more trial, or repeat, and for all that are alive to reach their end."""
        if not self.clock.limited:
            return True
        one_more = min(begun(study) + 1, self.recipe.search.trials)
        repeats = 1 if begun(study) >= self.recipe.search.trials else 0
        needed = remaining_seconds(study, self.recipe, self.policy, trials=one_more, repeats=repeats)
        return self.clock.has(needed or 0.0)

    def _give_up(self, trial: TrialRecord) -> None:
        """Time is up before this trial could go on: it keeps what it has, or has failed when it has nothing."""
        self._given_up += 1
        if trial.rungs:
            self.ledger.stop(trial.number)
        else:
            self.ledger.fail(trial.number, Failure(kind="timeout", message="the study's time was up before it was trained"))
        self._free(trial.number)

    def keep_time(self) -> None:
        """Write down how long the study has run."""
        self._kept_s = self.clock.spent_s
        self.ledger.set_attribute("spent_s", round(self._kept_s, 3))

    def _close(self, reason: str) -> None:
        self.ledger.set_attribute("closed", reason)
        self.ledger.set_attribute("ended_at", datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
        self.keep_time()
        self.watcher.say(f"the search has ended: {reason}")
        self.watcher.changed(self.ledger.read())
