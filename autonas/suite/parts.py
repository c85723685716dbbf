"""The parts of an evaluation: what each depends on, and what it measures, as JSON values.

`scores` of a result join the run's scores, and `findings` its findings.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autonas.data.overlap import find_overlap, overlap_finding
from autonas.errors import TrialFailure
from autonas.evaluation.baselines import count_bigrams
from autonas.evaluation.calibration import calibrate
from autonas.evaluation.class_loss import class_finding, class_losses
from autonas.evaluation.coding.contamination import contaminated, contamination_findings, training_texts
from autonas.evaluation.coding.loading import load_tasks
from autonas.evaluation.coding.records import CodingReport
from autonas.evaluation.coding.score import score_coding
from autonas.evaluation.compression import compression
from autonas.evaluation.degeneration import RANGE_VERSION
from autonas.evaluation.detectors import SUITE_VERSION as COLLAPSE_VERSION
from autonas.evaluation.latency import latency_stamps, measure_latency, measured_latency
from autonas.evaluation.leak import leak_test
from autonas.evaluation.loss import evaluate_loss, loss_scores, losses_by_source, score_tokens
from autonas.evaluation.plausibility.findings import run_findings
from autonas.evaluation.plausibility.gap import measure_gap
from autonas.evaluation.plausibility.losses import gap_finding, loss_floor
from autonas.evaluation.profile import collapse_profile
from autonas.evaluation.sandbox import Sandbox
from autonas.run_data import run_windows
from autonas.run_folder import read_curve, read_evaluation
from autonas.suite.subject import SUITE_VERSION, Subject, digest
from autonas.trial import Finding, LatencySettings, from_json, to_json

_AUTHORS: Final = 5  # of answers to coding tasks: the references, the model and three baselines


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part: what of the settings it depends on, and what makes its result, as JSON values."""

    asks: Callable[[Subject], Any]
    measure: Callable[[Subject], dict[str, Any]]
    alone: bool = False  # has the device for itself, and asks for it itself
    optional: bool = False  # may be left out where the machine lacks what it needs


def _loss(subject: Subject) -> dict[str, Any]:
    """Loss on validation and test documents, and on training documents as the other two are measured: without dropout."""
    found: dict[str, Any] = {}
    splits = [split for split in ("validation", "test", "train") if len(subject.dataset.documents(split))]
    for number, split in enumerate(splits):
        model, dataset, settings = subject.loaded.model, subject.dataset, subject.evaluation
        documents, nats, scored = score_tokens(model, dataset, settings, split, make_way=subject.make_way)
        sources = losses_by_source(dataset, settings, split, nats, scored)
        found[split] = {
            "scores": to_json(loss_scores(documents)),
            "documents": to_json(documents),
            "sources": {name: {**to_json(loss_scores(one)), "documents": len(one.nats)} for name, one in sources.items()},
        }
        subject.step(number + 1, len(splits))
    return {"splits": found, "scores": {**found["validation"]["scores"]}}


def _calibration(subject: Subject) -> dict[str, Any]:
    found = calibrate(subject.loaded.model, subject.dataset, subject.evaluation, make_way=subject.make_way)
    return {**to_json(found), "scores": {"calibrated_loss": to_json(found.calibrated)}}


def _collapse(subject: Subject) -> dict[str, Any]:
    rows = collapse_profile(
        subject.loaded.model,
        subject.dataset,
        subject.evaluation,
        subject.job.data_seed,
        subject.settings.profile,
        make_way=subject.make_way,
        done=subject.step,
    )
    return {"rows": to_json(rows)}


def _latency(subject: Subject) -> dict[str, Any]:
    """By the run's own settings, and with many sequences at once."""
    settings = subject.job.latency
    measure = measure_latency if subject.again and settings.table is None else measured_latency
    result = measure(subject.loaded.spec, settings)
    found: dict[str, Any] = {"measured": to_json(result), "scores": {"latency": to_json(result.decode)}}
    found["scores"]["prefill_latency"] = to_json(result.prefill)
    batch = subject.settings.latency_batch
    if batch > 1 and settings.table is None:
        subject.step(1, 2)
        found["batch"] = to_json(measure(subject.loaded.spec, dataclasses.replace(settings, batch=batch)))
    return found


def _token_classes(subject: Subject) -> dict[str, Any]:
    """Beside counts of the very tokens that the run was shown."""
    counts = count_bigrams(subject.shown(), subject.dataset.vocab_size)
    found = class_losses(subject.loaded.model, subject.dataset, subject.evaluation, counts, make_way=subject.make_way)
    finding = class_finding(found)
    return {**to_json(found), "findings": to_json((finding,) if finding else ())}


def _coding(subject: Subject) -> dict[str, Any]:
    """Every source of tasks by itself. What a source of before was asked in the same way is not asked again."""
    before: Mapping[str, Any] = read_evaluation(subject.folder).get("suite", {}).get("coding", {}).get("result", {})
    known = {} if subject.again else dict(zip(before.get("asked", ()), before.get("reports", ()), strict=False))
    asked = [_asked_of_source(subject, source) for source in subject.settings.tasks]
    reports = []
    training = subject.text(subject.settings.coding.ngram_tokens)
    steps = _Steps(subject.step, len(subject.settings.tasks))
    with Sandbox.open() as sandbox:
        for source, question in zip(subject.settings.tasks, asked, strict=True):
            if question in known:
                reports.append(from_json(CodingReport, known[question]))
                steps.next()
                continue
            report = score_coding(
                subject.loaded.model,
                subject.dataset.tokenizer,
                load_tasks(source),
                subject.settings.coding,
                sandbox,
                seed=subject.job.data_seed,
                training_tokens=training,
                make_way=subject.make_way,
                progress=steps,
            )
            reports.append(report)
            steps.next()
    first = reports[0].model
    named = {f"pass_at_{k}": score for k, score in first.pass_at.items()} | {"syntax_valid": first.syntax}
    if first.nats_per_token is not None:
        named["reference_loss"] = first.nats_per_token
    source = reports[0].source
    scores = {name: to_json(dataclasses.replace(score, note=f"{source}: {score.note}")) for name, score in named.items()}
    findings = [finding for report in reports for finding in report.findings]
    found = {"reports": to_json(reports), "scores": scores, "findings": to_json(findings)}
    return {"asked": asked, **found}


def _asked_of_source(subject: Subject, source: str) -> str:
    """A digest of all that the answers to one source's tasks depend on."""
    tasks = repr(load_tasks(source))
    values = [SUITE_VERSION, subject.weights, subject.dataset.fingerprint, str(subject.device), subject.job.data_seed]
    return digest([*values, source, tasks, to_json(subject.settings.coding)])


class _Steps:
    """Progress over several sources of tasks, each of which has its authors, and each of these its programs."""

    def __init__(self, step: Callable[[int, int], object], sources: int) -> None:
        self._step, self._sources = step, sources
        self._source = 0
        self._authors: list[str] = []

    def __call__(self, author: str, done: int, total: int) -> None:
        if author not in self._authors:
            self._authors.append(author)
        share = min((len(self._authors) - 1 + done / max(total, 1)) / _AUTHORS, 1.0)
        self._step(round(100 * (self._source + share)), 100 * self._sources)

    def next(self) -> None:
        self._source, self._authors = self._source + 1, []


def _corpus(subject: Subject) -> dict[str, Any]:
    """Held-out text in the training text, and coding tasks in it."""
    overlaps = []
    for split in ("validation", "test"):
        if len(subject.dataset.documents(split)):
            overlaps.append(find_overlap(subject.dataset, split))
        subject.make_way()
    subject.step(1, 2)
    tasks = [task for source in subject.settings.tasks for task in load_tasks(source)]
    found = contaminated(tasks, training_texts(subject.dataset))
    findings = [*filter(None, map(overlap_finding, overlaps)), *contamination_findings(tasks, found)]
    return {
        "overlap": [
            {
                "split": overlap.split,
                "documents": len(overlap.documents),
                "copies": to_json(overlap.copies),
                "verbatim_share": overlap.verbatim_share,
            }
            for overlap in overlaps
        ],
        "contamination": to_json(found),
        "tasks": len(tasks),
        "findings": to_json(findings),
    }


def _plausibility(subject: Subject) -> dict[str, Any]:
    """What the run's curve says, its loss against baselines, and its gap to training loss measured alike."""
    documents = evaluate_loss(subject.loaded.model, subject.dataset, subject.evaluation, make_way=subject.make_way)
    subject.step(1, 3)
    gap = measure_gap(
        subject.loaded.model,
        subject.dataset,
        subject.evaluation,
        documents,
        windows=run_windows(subject.dataset, subject.job),
        tokens=subject.tokens,
        make_way=subject.make_way,
    )
    subject.step(2, 3)
    found = compression(subject.dataset, subject.evaluation.validation_tokens)
    recorded = read_evaluation(subject.folder)
    baselines = {**recorded.get("baselines", {}), "compression": found.nats}
    loss = loss_scores(documents)["val_loss"].value
    leak, ahead = _leak(subject)
    curve = run_findings(read_curve(subject.folder))
    own = [*curve, *(from_json(Finding, value) for value in recorded.get("findings", ()))]
    findings = [ahead, loss_floor(loss, baselines), None if gap is None else gap_finding(gap), *curve]
    return {
        "leak": leak,
        "leaks": ahead is not None,
        "curve_alarms": len({finding.check for finding in own if finding.severity == "alarm"}),
        "loss": loss,
        "baselines": baselines,
        "compression": to_json(found),
        "gap": None if gap is None else to_json(gap),
        "findings": to_json([finding for finding in findings if finding is not None]),
    }


def _leak(subject: Subject) -> tuple[str, Finding | None]:
    """What the leak test found, and an alarm where the model did not pass."""
    try:
        return leak_test(subject.loaded.model), None
    except TrialFailure as failure:
        return str(failure), Finding(check="leak", severity="alarm", text=str(failure))


def _content(path: str | None) -> str:
    """A digest of what the file holds."""
    return "" if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]


def _tasks(subject: Subject) -> Any:
    """The sources of coding tasks, each with a digest of its tasks."""
    return [[source, hashlib.sha256(repr(load_tasks(source)).encode()).hexdigest()[:16]] for source in subject.settings.tasks]


def _latency_asks(subject: Subject) -> Any:
    settings: LatencySettings = subject.job.latency
    where = latency_stamps(subject.loaded.spec, settings) if settings.table is None else _content(settings.table)
    return [to_json(settings), subject.settings.latency_batch, where]


PARTS: Final[Mapping[str, Part]] = {
    "loss": Part(asks=lambda subject: subject.evaluation.validation_tokens, measure=_loss),
    "calibration": Part(asks=lambda subject: subject.evaluation.validation_tokens, measure=_calibration),
    "token_classes": Part(
        asks=lambda subject: [subject.evaluation.validation_tokens, subject.evaluation.language], measure=_token_classes
    ),
    "collapse": Part(
        asks=lambda subject: [
            to_json(subject.evaluation),
            _content(subject.evaluation.prompts_file),
            to_json(subject.settings.profile),
            subject.job.data_seed,
            COLLAPSE_VERSION,
            RANGE_VERSION,
        ],
        measure=_collapse,
    ),
    "latency": Part(asks=_latency_asks, measure=_latency, alone=True),
    "corpus": Part(asks=_tasks, measure=_corpus),
    "plausibility": Part(asks=lambda subject: subject.evaluation.validation_tokens, measure=_plausibility),
    "coding": Part(
        asks=lambda subject: [_tasks(subject), to_json(subject.settings.coding), subject.job.data_seed],
        measure=_coding,
        optional=True,
    ),
}
