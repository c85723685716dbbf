"""One tuning of a run's model into a run folder of its own: resumable, validated, evaluated, loadable.

The worker's job of kind "tune". What is trained and how is in state.py; what it was asked to do, in planning.py.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from autonas import cost, machine
from autonas.data.dataset import Dataset
from autonas.errors import CorpusError, InfeasibleArch, StudyError, TrialFailure, resource_error
from autonas.evaluation.collapse import COUNTED, measure_collapse, real_range
from autonas.evaluation.decoding import followed_decoding
from autonas.evaluation.generation_probe import probe_generation
from autonas.evaluation.intervals import t_quantile
from autonas.evaluation.latency import lease_name, measured_latency, resolve_device
from autonas.evaluation.lease import Turn, sharing
from autonas.evaluation.loss import evaluate_loss, loss_scores, paired_difference
from autonas.evaluation.plausibility.findings import run_findings
from autonas.full_run import deadline_of
from autonas.loaded_run import LoadedRun, load_run
from autonas.model.transformer import Transformer
from autonas.run_data import keep_difficulty
from autonas.run_folder import CURVE_LINES, RunLog, claim, read_evaluation, write_json
from autonas.training.allocator import keep_freed_memory
from autonas.training.attempts import check_attempt, claim_attempt
from autonas.training.checkpoint import save_model
from autonas.training.early_stopping import stale_text
from autonas.training.guards import memory_guard
from autonas.training.interruption import held_interrupts
from autonas.training.loop import ACCELERATOR_STEPS_PER_READ, STEPS_PER_READ, Progress, finish_steps
from autonas.trial import Finding, Job, Outcome, Score, to_json
from autonas.tuning.contamination import given_tasks, refuse_contamination, tuning_findings
from autonas.tuning.examples import digest_of, read_examples
from autonas.tuning.planning import Plan, plan_examples, weights_digest
from autonas.tuning.scoring import (
    SolutionLosses,
    answer_scores,
    evenly,
    on_host,
    quick_look,
    solution_losses,
    write_solutions,
)
from autonas.tuning.state import Tuning

_PROBE_EXAMPLES: Final = 512  # of validation, whose loss is looked at on the way
_LOOK_EXAMPLES: Final = 32  # that are answered on the way
_ASKED_EXAMPLES: Final = 256  # that are answered at the end
_GENERATION_PROBES: Final = 5  # looks at what it writes to the recipe's prompts, which loops show in
_CURVE_POINTS: Final = 64
_GAIN: Final = 0.01  # nats a token of validation solutions, without which nothing was learnt
_FORGOTTEN: Final = 0.1  # nats a token of the corpus, from which on a reader is told


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """All that a tuning begins with."""

    job: Job
    loaded: LoadedRun
    dataset: Dataset
    plan: Plan
    findings: tuple[Finding, ...]


def run_tuning(
    job: Job, started: float, on_progress: Callable[[Progress], None], stop: Callable[[], bool] | None = None
) -> Outcome:
    """Tune the model of the run `job.tuning.base` into the job's folder, from the checkpoint there if there is one.

    Raises:
        StudyError: the folder holds another run, or the base is not what it was.
        CorpusError: the examples are not what they were, none can be used, or they give away tasks.
        TrialFailure: as `training.loop.train`. After "preempted" and "timeout", and after an interruption by the user, the
            checkpoint holds the very last step.
    """
    assert job.tuning is not None
    given = _open(job)
    claim(job)
    folder = Path(job.folder)
    try:
        given.loaded.tokenizer.save(folder / "tokenizer.json")
        keep_difficulty(Path(job.tuning.base), folder)
    except OSError as error:
        raise resource_error(error, error.filename or folder) from error
    device = resolve_device(job.device)
    with sharing(lease_name(device), functools.partial(finish_steps, device)) as turn:
        outcome, about = _tune_and_score(given, started, turn, on_progress, stop)
        seconds = turn.clock() - started
    latencies, notes = _latencies(job)
    outcome = dataclasses.replace(
        outcome, seconds=seconds, scores={**outcome.scores, **latencies}, checks={**outcome.checks, **notes}
    )
    check_attempt(folder / "checkpoints", job.attempt)
    _write_evaluation(job, outcome, about)
    return outcome


def _open(job: Job) -> _Given:
    assert job.tuning is not None
    settings = job.tuning
    base = Path(settings.base)
    if weights_digest(base) != settings.base_weights:
        raise StudyError(f"{base}: its weights are not those that the tuning began with. Restore them, or begin another.")
    examples = read_examples(settings.data)
    if digest_of(examples) != settings.data_digest:
        raise CorpusError(f"{settings.data}: holds other examples than the tuning began with. Restore it, or begin another.")
    found = given_tasks(examples, settings.tasks)
    if not settings.allow_contamination:
        refuse_contamination(found, settings.data)
    loaded = load_run(base, job.device)
    dataset = Dataset.open(job.data.folder, job.data.fingerprint)
    if COUNTED.keys() & set(job.objectives):
        real_range(dataset, job.evaluation)
    plan = plan_examples(examples, loaded.tokenizer, job.spec.context_length, settings.validation_share)
    return _Given(job=job, loaded=loaded, dataset=dataset, plan=plan, findings=tuning_findings(found))


def _tune_and_score(
    given: _Given, started: float, turn: Turn, on_progress: Callable[[Progress], None], stop: Callable[[], bool] | None
) -> tuple[Outcome, dict[str, Any]]:
    job = given.job
    with memory_guard(f"tuning {job.spec.fingerprint}"):
        run = _Run(given, turn)
    begun_at = run.state.tokens
    with held_interrupts() as interrupted:
        run.follow(on_progress, lambda: interrupted() or (stop is not None and stop()), deadline_of(job, started))
    folder = Path(job.folder)
    check_attempt(folder / "checkpoints", job.attempt)
    run.state.use_best()
    if run.state.adapters is not None:
        run.state.adapters.save(folder / "adapter")
    with memory_guard(f"evaluating {job.spec.fingerprint}"), followed_decoding() as decoding:
        tuned = run.state.plain()
        save_model(folder / "model.safetensors", tuned, {"steps": run.state.best_step})
        compared = _compare(given, run, tuned, turn)
        rates, samples = measure_collapse(
            tuned, given.dataset, job.evaluation, job.data_seed, wanted=job.objectives, make_way=turn.make_way
        )
    base = read_evaluation(Path(run.settings.base))
    outcome = Outcome(
        kind="tune",
        trial=job.trial,
        attempt=job.attempt,
        rung=job.budget.rung,
        seconds=0.0,
        scores={
            **compared.scores,
            "params": Score.exact(cost.count_params(job.spec), "parameters"),
            "memory": Score.exact(cost.inference_bytes(job.spec), "bytes"),
            **rates,
        },
        tokens=int(base.get("tokens", 0)),
        new_tokens=run.state.tokens - begun_at,
        documents=compared.documents,
        baselines=base.get("baselines", {}),
        curve=run.log.curve(_CURVE_POINTS),
        samples=samples,
        checks={"device": str(run.state.device), **run.checks(), **decoding},
        findings=(*given.findings, *run.findings(compared)),
    )
    return outcome, {**run.about(), **compared.about}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """The tuned model beside its base."""

    scores: dict[str, Score]
    documents: Any
    about: dict[str, Any]
    solution_change: tuple[float, float] | None
    corpus_change: tuple[float, float]


def _compare(given: _Given, run: _Run, tuned: Transformer, turn: Turn) -> _Compared:
    """Losses of solutions and of the corpus, and answers to validation prompts, of both models."""
    base, plan, dataset, settings = given.loaded.model, given.plan, given.dataset, given.job.evaluation
    documents, before = (evaluate_loss(each, dataset, settings, make_way=turn.make_way) for each in (tuned, base))
    change, error = paired_difference(documents, before)
    scores = dict(loss_scores(documents))
    about: dict[str, Any] = {
        "base": {"val_loss": to_json(loss_scores(before)["val_loss"])},
        "corpus_loss_change": _interval(change, error, len(documents.nats)),
    }
    solution_change = None
    if plan.validation:
        asked = [plan.validation[number] for number in evenly(len(plan.validation), _ASKED_EXAMPLES)]
        examples = [plan.examples[number] for number in asked]
        encoded = [plan.encoded[number] for number in asked]
        losses: dict[str, SolutionLosses] = {}
        for name, model in (("base", base), ("tuned", tuned)):
            losses[name] = solution_losses(model, run.validation, make_way=turn.make_way)
            written = write_solutions(model, given.loaded.tokenizer, examples, encoded, turn.make_way)
            answers, missing = answer_scores(examples, written)
            found = {"solution_loss": losses[name].score, **answers}
            if name == "base":
                about["base"] |= to_json(found)
            else:
                scores |= found
                about["answers"] = [
                    {"id": example.id, "prompt": example.prompt, "answer": answer.text, "ended": answer.ended}
                    for example, answer in list(zip(examples, written, strict=True))[:16]
                ]
            if missing:
                about["missing"] = {"passes": missing}
        solution_change = losses["tuned"].less(losses["base"])
        about["solution_loss_change"] = _interval(*solution_change, len(run.validation))
    return _Compared(
        scores=scores,
        documents=documents,
        about=about,
        solution_change=solution_change,
        corpus_change=(change, error),
    )


def _interval(value: float, error: float, count: int) -> dict[str, float]:
    reach = t_quantile(max(count - 1, 1)) * error
    return {"value": value, "low": value - reach, "high": value + reach}


class _Run:
    """The tuning with its checkpoint, its curve and its looks at itself."""

    def __init__(self, given: _Given, turn: Turn) -> None:
        job, plan = given.job, given.plan
        assert job.tuning is not None
        self.job, self.settings, self.given, self._turn = job, job.tuning, given, turn
        self.validation = [plan.encoded[number] for number in plan.validation]
        training = [plan.encoded[number] for number in plan.training]
        self.state = Tuning(given.loaded.model, self.settings, job.training, training, job.seed)
        self._last = Path(job.folder) / "checkpoints" / "last.safetensors"
        claim_attempt(self._last.parent, job.attempt)
        if self._last.exists():
            self.state.load(self._last)
        if self.state.device.type == "cpu":
            keep_freed_memory()
        stretch = max(plan.tokens_of(job) // CURVE_LINES, 1)
        self.log = RunLog(Path(job.folder) / "metrics.jsonl", self.state.tokens, stretch, attempt=job.attempt)
        self._told_tokens = self.state.tokens
        self._saved_at, self._save_s = time.monotonic(), 0.0

    def follow(self, on_progress: Callable[[Progress], None], stop: Callable[[], bool], deadline: float | None) -> None:
        """Tune to the end, or until validation gains nothing more."""
        state, settings = self.state, self.settings
        every = STEPS_PER_READ.get(state.device.type, ACCELERATOR_STEPS_PER_READ)
        pending: list[tuple[int, torch.Tensor]] = []
        since = self._turn.clock()
        if not state.probes:
            self._probe()
        while state.steps < settings.steps and not state.is_stale:
            self._turn.make_way()
            failure = self._interruption(stop, deadline)
            if failure is None:
                with memory_guard(f"tuning {self.job.spec.fingerprint}"):
                    measured = state.step()
                pending.append((state.tokens, measured))
            due = state.steps % settings.probe_steps == 0 or state.steps == settings.steps
            if pending and (failure is not None or due or state.steps % every == 0):
                self._tell(pending, self._turn.clock() - since, on_progress)
                pending = []
                if due and failure is None:
                    self._probe()
                since = self._turn.clock()
            if failure is not None:
                self._save()
                raise failure
            if not pending and self._is_save_due():
                self._save()
        self._save()

    def _interruption(self, stop: Callable[[], bool], deadline: float | None) -> TrialFailure | None:
        if stop():
            return TrialFailure("preempted", "asked to stop")
        if deadline is not None and self._turn.clock() >= deadline:
            return TrialFailure("timeout", "the time limit was reached")
        return None

    def _tell(
        self, pending: Sequence[tuple[int, torch.Tensor]], seconds: float, on_progress: Callable[[Progress], None]
    ) -> None:
        values = on_host(torch.stack([measured for _, measured in pending]).flatten())
        for place, (tokens, _) in enumerate(pending):
            self.state.guard.check(tokens, values[2 * place], values[2 * place + 1])
        losses = values[::2]
        progress = Progress(
            tokens=pending[-1][0],
            loss=sum(losses) / len(losses),
            gradient_norm=values[-1],
            learning_rate=float(self.state.optimizer.param_groups[0]["lr"]),
            tokens_per_s=(pending[-1][0] - self._told_tokens) / max(seconds, 1e-9),
        )
        self._told_tokens = progress.tokens
        self.log.step({**to_json(progress), "step": self.state.steps})
        on_progress(progress)

    def _probe(self) -> None:
        """Look at validation examples, and now and then at what is written to the recipe's prompts; both are a line."""
        state, plan = self.state, self.given.plan
        line: dict[str, Any] = {"tokens": state.tokens, "step": state.steps}
        model = state.plain()
        if self.validation:
            asked = [self.validation[number] for number in evenly(len(self.validation), _PROBE_EXAMPLES)]
            score = solution_losses(model, asked, make_way=self._turn.make_way).score
            state.judge(score.value)
            numbers = [plan.validation[number] for number in evenly(len(plan.validation), _LOOK_EXAMPLES)]
            examples = [plan.examples[number] for number in numbers]
            encoded = [plan.encoded[number] for number in numbers]
            written = write_solutions(model, self.given.loaded.tokenizer, examples, encoded, self._turn.make_way)
            line |= {"solution_loss": score.value, "solution_low": score.low, "solution_high": score.high}
            line |= quick_look(examples, written)
        number, planned = state.steps // self.settings.probe_steps, self.settings.steps // self.settings.probe_steps
        if number % max(planned // _GENERATION_PROBES, 1) == 0:
            line["generation"] = probe_generation(
                model, self.given.dataset, self.job.evaluation, self.job.data_seed, self._turn.make_way
            )
        self.log.write(line)

    def _is_save_due(self) -> bool:
        waited = time.monotonic() - self._saved_at
        return waited >= self.job.checkpoint_every_s and self._save_s <= 0.02 * max(waited, 1e-9)

    def _save(self) -> None:
        begun = time.monotonic()
        check_attempt(self._last.parent, self.job.attempt)
        self.state.save(self._last)
        self._saved_at = time.monotonic()
        self._save_s = self._saved_at - begun

    def checks(self) -> dict[str, str]:
        """How it went, in words."""
        state, settings = self.state, self.settings
        taken = f"{state.steps:,} of {settings.steps:,} steps of {settings.batch_examples} examples"
        kept = f"the weights of step {state.best_step:,}, lowest in validation" if state.probes else "the last weights"
        found = {"tuning": f"{settings.method}, {taken}; kept: {kept}"}
        if self.stopped:
            found["early stopping"] = self.stopped
        return found

    @property
    def stopped(self) -> str:
        """Why it ended before its steps were taken; nothing if it did not."""
        settings = self.settings
        if settings.patience is None or not self.state.is_stale or self.state.steps >= settings.steps:
            return ""
        text = stale_text(self.state.probes, settings.patience, settings.min_delta).replace(" tokens", " steps")
        return f"{text}; {self.state.steps:,} of {settings.steps:,} steps were taken"

    def about(self) -> dict[str, Any]:
        """What evaluation.json says of the tuning."""
        plan, state = self.given.plan, self.state
        return {
            "settings": to_json(self.settings),
            "examples": {
                "read": len(plan.examples),
                "training": len(plan.training),
                "validation": len(plan.validation),
                "validation_groups": plan.validation_groups,
                "too_long": [plan.examples[number].id for number in plan.too_long],
            },
            "steps": state.steps,
            "best_step": state.best_step,
            "tokens": state.tokens,
            "passes_over_examples": state.steps * self.settings.batch_examples / len(plan.training),
        }

    def findings(self, compared: _Compared) -> tuple[Finding, ...]:
        """What a reader of the scores must know."""
        plan = self.given.plan
        # As of a full run: whether what it writes collapsed while the loss fell.
        looks = [{**point, "val_loss": point["solution_loss"]} for point in self.log.points if "solution_loss" in point]
        told = (*_early(self.stopped), *_no_gain(compared), *_forgetting(compared))
        return (*plan.findings(), *told, *run_findings(looks))


def _early(stopped: str) -> tuple[Finding, ...]:
    return (Finding(check="early_stopping", severity="note", text=stopped),) if stopped else ()


def _no_gain(compared: _Compared) -> tuple[Finding, ...]:
    if compared.solution_change is None:
        return ()
    value, error = compared.solution_change
    if value + 2 * error < -_GAIN:
        return ()
    text = (
        f"validation solutions are not surely likelier than before: {value:+.3f} ± {2 * error:.3f} nats a token. Give more "
        "examples, or another rate"
    )
    return (Finding(check="tuning_gain", severity="alarm", text=text),)


def _forgetting(compared: _Compared) -> tuple[Finding, ...]:
    value, error = compared.corpus_change
    if value - 2 * error <= _FORGOTTEN:
        return ()
    text = f"the corpus's own validation loss rose by {value:.2f} ± {2 * error:.2f} nats a token: it has forgotten"
    return (Finding(check="forgetting", severity="note", text=text),)


def _latencies(job: Job) -> tuple[Mapping[str, Score], dict[str, str]]:
    try:
        latency = measured_latency(job.spec, job.latency)
    except InfeasibleArch as error:
        return {}, {"latency": str(error)}
    stamps = {f"latency {key}": value for key, value in latency.stamps.items()}
    return {"latency": latency.decode, "prefill_latency": latency.prefill}, stamps


def _write_evaluation(job: Job, outcome: Outcome, about: Mapping[str, Any]) -> None:
    assert job.tuning is not None
    base = read_evaluation(Path(job.tuning.base))
    before = read_evaluation(Path(job.folder))
    values = {
        **before,
        "spec": job.spec.to_dict(),
        "scores": {**before.get("scores", {}), **to_json(outcome.scores)},
        "samples": to_json(outcome.samples),
        "tokens": outcome.tokens,
        "epochs": base.get("epochs", 0.0),
        "baselines": dict(outcome.baselines),
        "checks": dict(outcome.checks),
        "findings": to_json(outcome.findings),
        "tuning": dict(about),
        "environment": {**machine.environment(), "device": job.device, "threads": job.threads},
    }
    write_json(Path(job.folder) / "evaluation.json", values)
