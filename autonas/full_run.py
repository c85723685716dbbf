"""One full training of one architecture, into a folder of its own: resumable, evaluated, loadable.

The worker's job of kind "run". Its folder, and what tells one run from another, are in run_folder.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autonas import cost, machine
from autonas.arch import ArchSpec
from autonas.data.batches import Windows, training_windows
from autonas.data.dataset import Dataset
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CheckpointError, InfeasibleArch, StudyError, TrialFailure, resource_error
from autonas.evaluation.collapse import measure_collapse, real_range
from autonas.evaluation.decoding import followed_decoding
from autonas.evaluation.generation_probe import num_generation_probes, probe_generation
from autonas.evaluation.held_out import Shown, held_out
from autonas.evaluation.latency import lease_name, measured_latency, resolve_device
from autonas.evaluation.latency_cache import load_table
from autonas.evaluation.leak import leak_test
from autonas.evaluation.lease import Turn, sharing
from autonas.evaluation.loss import evaluate_loss, loss_scores
from autonas.evaluation.plausibility.findings import run_findings
from autonas.model.transformer import Transformer, build_model
from autonas.run_folder import CURVE_LINES, TRIALS, RunLog, claim, probing, read_evaluation, read_job, write_json
from autonas.training.attempts import check_attempt, claim_attempt
from autonas.training.checkpoint import load, load_model, save, save_model
from autonas.training.early_stopping import is_stale, stale_text
from autonas.training.guards import memory_guard
from autonas.training.interruption import held_interrupts
from autonas.training.loop import Progress, finish_steps, train
from autonas.training.rollback import settle
from autonas.training.state import fork_cooldown, new_state
from autonas.trial import Finding, Job, Outcome, Score, to_json

SAVES_SHARE = 0.02  # at most so much of the time goes into checkpoints: a large one takes seconds
_CURVE_POINTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRun:
    """A trained model with its tokenizer, ready to use."""

    model: Transformer
    tokenizer: Tokenizer
    spec: ArchSpec
    tuned: bool = False  # on prompts and solutions: to be asked as `tuning.encoding.prompt_tokens` asks


def run_full(
    job: Job, started: float, on_progress: Callable[[Progress], None], stop: Callable[[], bool] | None = None
) -> Outcome:
    """Train the job's architecture into its folder, from the checkpoint there if there is one, and score it.

    `budget.tokens` are of the stable phase (or of the whole cosine), `budget.cooldown_tokens` follow. `started` is a value of
    `time.monotonic()`, from which the job's time limit counts.

    Raises:
        StudyError: the folder holds another run.
        TrialFailure: as `training.loop.train`, or a leak. The last checkpoint is kept; after "preempted" and "timeout", and
            after an interruption by the user, it holds the very last step.
    """
    dataset = Dataset.open(job.data.folder, job.data.fingerprint)
    claim(job)
    folder = Path(job.folder)
    try:
        dataset.tokenizer.save(folder / "tokenizer.json")
    except OSError as error:
        raise resource_error(error, error.filename or folder) from error
    # Found out now, and not after the last step.
    if "degeneration" in job.objectives:
        real_range(dataset, job.evaluation)
    resolve_device(job.latency.device) if job.latency.table is None else load_table(job.latency.table)
    windows = training_windows(dataset, job.spec.context_length, job.data_seed, job.unique_tokens)
    device = resolve_device(job.device)
    with sharing(lease_name(device), functools.partial(finish_steps, device)) as turn:
        outcome = _train_and_score(job, started, dataset, windows, turn, on_progress, stop)
    # Only now: who shares a device and asks to have it alone would wait for himself.
    latencies, notes = _latencies(job)
    outcome = dataclasses.replace(
        outcome,
        seconds=turn.clock() - started,
        scores={**outcome.scores, **latencies},
        checks={**outcome.checks, **notes},
    )
    check_attempt(folder / "checkpoints", job.attempt)
    _write_evaluation(job, outcome, windows)
    return outcome


def deadline_of(job: Job, started: float) -> float | None:
    """When a job's training must have ended, on the clock that `started` is a value of."""
    limits = [limit for limit in (job.time_limit_s, job.training.time_limit_s) if limit is not None]
    return started + min(limits) if limits else None


def _train_and_score(
    job: Job,
    started: float,
    dataset: Dataset,
    windows: Windows,
    turn: Turn,
    on_progress: Callable[[Progress], None],
    stop: Callable[[], bool] | None,
) -> Outcome:
    """All of a run's work on the device but the timing of its latency."""
    with memory_guard(f"building {job.spec.fingerprint}"):
        training = _Training(job, windows, dataset, turn)
    begun_at = training.state.tokens
    deadline = deadline_of(job, started)
    with held_interrupts() as interrupted:
        training.follow(on_progress, lambda: interrupted() or (stop is not None and stop()), deadline)
    share = training.probe_s / max(turn.clock() - started, 1e-9)
    state, stopped = training.state, training.stopped()
    state.step = state.kept = None  # whose memory the evaluation may need
    check_attempt(Path(job.folder) / "checkpoints", job.attempt)
    save_model(Path(job.folder) / "model.safetensors", state.model, {"tokens": state.tokens})
    with memory_guard(f"evaluating {job.spec.fingerprint}"), followed_decoding() as decoding:
        shown = Shown(tokens=state.tokens, data_seed=job.data_seed, unique_tokens=job.unique_tokens)
        found = held_out(state.model, dataset, job.evaluation, shown, make_way=turn.make_way)
        rates, samples = measure_collapse(
            state.model, dataset, job.evaluation, job.data_seed, wanted=job.objectives, make_way=turn.make_way
        )
    scores = {
        **found.scores,
        "params": Score.exact(cost.count_params(job.spec), "parameters"),
        "memory": Score.exact(cost.inference_bytes(job.spec), "bytes"),
        **rates,
    }
    ended = (Finding(check="early_stopping", severity="note", text=stopped),) if stopped else ()
    return Outcome(
        kind="run",
        trial=job.trial,
        attempt=job.attempt,
        rung=job.budget.rung,
        seconds=turn.clock() - started,
        scores=scores,
        tokens=state.tokens,
        new_tokens=state.tokens - begun_at,
        documents=found.documents,
        baselines=found.baselines,
        curve=training.log.curve(_CURVE_POINTS),
        samples=samples,
        checks={
            "leak": training.leak,
            "device": str(state.device),
            **state.checks(),
            **({"early stopping": stopped} if stopped else {}),
            **decoding,
            **found.checks,
            "evaluation on the way": f"{training.num_probes} times, {share:.1%} of the time; {_looks(training.log.points)}",
        },
        findings=(*state.findings(), *ended, *found.findings, *run_findings(training.log.points)),
    )


def _looks(points: Sequence[Mapping[str, Any]]) -> str:
    """How often a run wrote something on the way, and what that is too few for."""
    count = sum("generation" in point for point in points)
    times = "never" if not count else "once" if count == 1 else f"{count} times"
    return f"it wrote something {times}" + (", too seldom for a trend" if count < 2 else "")


class _Training:
    """The whole schedule, stable phase and cooldown ("wsd") or one cosine, with its checkpoint and its curve."""

    def __init__(self, job: Job, windows: Windows, dataset: Dataset, turn: Turn) -> None:
        self.job, self.dataset, self._turn = job, dataset, turn
        model = build_model(job.spec, job.seed, resolve_device(job.device))
        self.leak = leak_test(model)
        self.total = job.budget.tokens + job.budget.cooldown_tokens
        self.state = new_state(
            model,
            windows,
            job.training,
            seed=job.seed,
            total_tokens=self.total,
            data_fingerprint=job.data.fingerprint,
        )
        self.state.planned_tokens = self.total
        self._last = Path(job.folder) / "checkpoints" / "last.safetensors"
        claim_attempt(self._last.parent, job.attempt)
        if self._last.exists():
            load(self._last, self.state)
        stretch = max(self.total // CURVE_LINES, self.state.step_tokens)
        self.log = RunLog(Path(job.folder) / "metrics.jsonl", self.state.tokens, stretch, attempt=job.attempt)
        self._saved_at, self._save_s = time.monotonic(), 0.0
        self.num_probes, self.probe_s = 0, 0.0  # of this process

    def follow(self, on_progress: Callable[[Progress], None], stop: Callable[[], bool], deadline: float | None) -> None:
        """Train to the end. What ends it earlier between two steps leaves a checkpoint of the last one.

        `deadline` is a value of the turn's clock.
        """
        try:
            if self.state.schedule.cooldown_start is None:
                self._train(self.job.budget.tokens, on_progress, stop, deadline)
                if self.job.budget.cooldown_tokens:
                    self._cool()
            end = self.state.schedule.end_tokens
            self._train(self.total if end is None else end, on_progress, stop, deadline)
        except TrialFailure as failure:
            if failure.kind in ("preempted", "timeout"):
                self._save()
            raise

    def _cool(self) -> None:
        """Go over into the cooldown; that of a trunk which ended early is shorter in proportion."""
        budget, trained = self.job.budget, self.state.tokens
        tokens = budget.cooldown_tokens
        if self.is_stale:
            tokens = max(1, round(tokens * min(trained / budget.tokens, 1.0)))
        with memory_guard(f"forking {self.job.spec.fingerprint}"):
            self.state.step = self.state.kept = None  # the trunk is done: its memory is the fork's
            self.state = fork_cooldown(self.state, tokens)
        self._save()

    @property
    def is_stale(self) -> bool:
        """Whether the validation loss has gained nothing for so long that the training should end, or cool down."""
        settings = self.job.training
        return is_stale(self.state.probes, settings.patience, settings.min_delta)

    def stopped(self) -> str:
        """Why the run ended before its budget was spent; nothing if it did not."""
        settings, tokens = self.job.training, self.state.tokens
        if settings.patience is None or not self.is_stale or tokens >= self.total:
            return ""
        why = stale_text(self.state.probes, settings.patience, settings.min_delta)
        return f"{why}; {tokens:,} of {self.total:,} tokens were trained"

    def _train(
        self, until: int, on_progress: Callable[[Progress], None], stop: Callable[[], bool], deadline: float | None
    ) -> None:
        before = self.state.tokens
        num_rollbacks = len(self.state.rollbacks)
        num_probes, _ = probing(self.total)
        num_looks = num_generation_probes(self.total)
        cooling = self.state.schedule.cooldown_start is not None
        if self.is_stale and not cooling:
            return

        def interrupted() -> bool:
            self._turn.make_way()
            return stop()

        for progress in train(self.state, until_tokens=until, stop=interrupted, deadline=deadline, clock=self._turn.clock):
            went_back = len(self.state.rollbacks) > num_rollbacks
            for back in self.state.rollbacks[num_rollbacks:]:
                self.log.go_back(back.to_tokens, back.text)
                before, num_rollbacks = back.to_tokens, num_rollbacks + 1
            self.log.step(to_json(progress))
            on_progress(progress)
            if progress.tokens * num_probes // self.total > before * num_probes // self.total:
                number, last = (tokens * num_probes // self.total for tokens in (progress.tokens, before))
                looks = number * num_looks // num_probes > last * num_looks // num_probes
                loss = self._probe(looks=looks)
                if not cooling:
                    self.state.probes.append((progress.tokens, loss))
                if not cooling and self.is_stale:
                    break
            before = progress.tokens
            # At once after a rollback: an older checkpoint would go on to the same divergence, and tell of it twice.
            if went_back or time.monotonic() - self._saved_at >= max(self.job.checkpoint_every_s, self._save_s / SAVES_SHARE):
                self._save()
        settle(self.state)  # what is at an end is a good state: its file need not be three times as large
        self._save()

    def _probe(self, *, looks: bool) -> float:
        """The validation loss on a fixed subset, and now and then what the model writes, as a line of the curve."""
        begun = self._turn.clock()
        tokens = min(self.job.evaluation.validation_tokens, probing(self.total)[1])
        settings = dataclasses.replace(self.job.evaluation, validation_tokens=tokens)
        with memory_guard(f"evaluating {self.job.spec.fingerprint}"):
            documents = evaluate_loss(self.state.model, self.dataset, settings, make_way=self._turn.make_way)
            look = (
                probe_generation(self.state.model, self.dataset, settings, self.job.data_seed, self._turn.make_way)
                if looks
                else None
            )
        score = loss_scores(documents)["val_loss"]
        self.log.write(
            {
                "tokens": self.state.tokens,
                "val_loss": score.value,
                "val_low": score.low,
                "val_high": score.high,
                "val_tokens": sum(documents.tokens),
                **({} if look is None else {"generation": look}),
            }
        )
        self.num_probes += 1
        self.probe_s += self._turn.clock() - begun
        return score.value

    def _save(self) -> None:
        begun = time.monotonic()
        check_attempt(self._last.parent, self.job.attempt)
        save(self._last, self.state)
        self._saved_at = time.monotonic()
        self._save_s = self._saved_at - begun


def _latencies(job: Job) -> tuple[dict[str, Score], dict[str, str]]:
    """The latencies, and why there are none: a table of another device may lack the architecture."""
    try:
        latency = measured_latency(job.spec, job.latency)
    except InfeasibleArch as error:
        return {}, {"latency": str(error)}
    scores = {"latency": latency.decode, "prefill_latency": latency.prefill}
    return scores, {f"latency {key}": value for key, value in latency.stamps.items()}


def _write_evaluation(job: Job, outcome: Outcome, windows: Windows) -> None:
    """What `autonas evaluate` added to a run that had ended is kept: it knows which weights it was asked of."""
    before: dict[str, Any] = {}
    with contextlib.suppress(StudyError):  # a damaged file is written anew
        before = read_evaluation(Path(job.folder))
    values: dict[str, Any] = {
        **before,
        "spec": job.spec.to_dict(),
        "scores": {**before.get("scores", {}), **to_json(outcome.scores)},
        "samples": to_json(outcome.samples),
        "tokens": outcome.tokens,
        "epochs": outcome.tokens / (windows.num_windows * job.spec.context_length),
        "baselines": dict(outcome.baselines),
        "checks": dict(outcome.checks),
        "findings": to_json(outcome.findings),
        "environment": {**machine.environment(), "device": job.device, "threads": job.threads},
    }
    write_json(Path(job.folder) / "evaluation.json", values)


def load_run(run: Path, device: str = "cpu") -> LoadedRun:
    """The trained model in a run's folder.

    Raises:
        StudyError: there is no finished run.
        CheckpointError: its weights are damaged.
        TokenizerError: its tokenizer is damaged.
    """
    weights = run / "model.safetensors"
    if not weights.exists():
        state = "has not ended yet; go on with --resume" if (run / "run.json").exists() else "is no run"
        found = [
            path.parent
            for study in dict.fromkeys((run, TRIALS / run))
            for path in sorted(study.glob("runs/*/model.safetensors"))
        ]
        if found:
            raise StudyError(f"{run}: {state}, but a study with runs: {', '.join(map(str, found))}. Name one of these.")
        raise StudyError(f"{run}: {state}. `autonas promote STUDY` and `autonas train --spec FILE` make one.")
    model, _ = load_model(weights, resolve_device(device))
    tokenizer = Tokenizer.load(run / "tokenizer.json")
    if tokenizer.vocab_size != model.spec.vocab_size:
        raise CheckpointError(
            f"{run}: the tokenizer has {tokenizer.vocab_size} entries and the model {model.spec.vocab_size}. "
            "One of them is of another run; restore it."
        )
    tuned = (run / "run.json").exists() and read_job(run).kind == "tune"
    return LoadedRun(model=model, tokenizer=tokenizer, spec=model.spec, tuned=tuned)
