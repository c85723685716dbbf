"""What a run's folder says beside its curve: how it was foretold to end, what its exports compute, where it comes from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autonas.errors import StudyError
from autonas.policy.prediction import Predicted
from autonas.reporting import tables
from autonas.reporting.evaluation import Table, difference_cell
from autonas.run_folder import read_exports, read_job, run_steps
from autonas.trial import Score, from_json, to_json

_EXPORT_COLUMNS = (
    "format",
    "exported",
    "logits within",
    "allowed",
    "tokens alike",
    "near ties",
    "texts alike",
    "int8: loss over float32",
    "weights",
    "runtime",
    "note",
)


def predicted_score(run: Path, name: str = "val_loss") -> Predicted | None:
    """What a promotion said before the run that this score would be at its end; None where nothing was said."""
    try:
        values = json.loads((run / "prediction.json").read_text(encoding="utf-8"))
        return from_json(Predicted, values[name])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # no promotion's, or one of an earlier version


def final_score(values: Mapping[str, Any], name: str = "val_loss") -> Score | None:
    """A score of an evaluation.json; None where it has none that can be read."""
    try:
        return from_json(Score, values["scores"][name])
    except (KeyError, TypeError, ValueError, AssertionError):
        return None


def export_table(exports: Sequence[Mapping[str, Any]], weights: str | None = None) -> Table | None:
    """What each export was found to compute, the latest first; None where the run was not exported.

    `weights` is the digest of the run's weights as they are now: exports of others are told apart.
    """
    rows = tuple(_export_row(record, weights) for record in reversed(exports))
    if not rows:
        return None
    return Table(
        name="exports",
        title="Exports",
        about=(
            "each was opened in its own runtime and held to this run's model before it was put in place: logits of the same "
            "windows, greedy tokens after the same prompts, texts as token ids"
        ),
        columns=_EXPORT_COLUMNS,
        rows=rows,
    )


def exports_of(run: Path) -> Table | None:
    """The table of the exports of the run in `run`."""
    found = read_exports(run)
    return export_table(found, weights_digest(run)) if found else None


def weights_digest(run: Path) -> str | None:
    """The digest of the run's weights that exports and evaluations carry; None without a model."""
    try:
        with (run / "model.safetensors").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:
        return None


def provenance(run: Path) -> list[tuple[str, str]]:
    """Seeds, data, budget and settings of the run's job, for a list of facts; nothing where its record cannot be read."""
    try:
        job = read_job(run)
    except StudyError:
        return []
    told = {
        "kind": "tuning" if job.tuning is not None else "training",
        "study": job.study,
        "trial": None if job.trial < 0 else job.trial,
        "architecture": job.spec.fingerprint,
        "seed of the weights": job.seed,
        "seed of the order": job.data_seed,
        "data fingerprint": job.data.fingerprint,
        "steps": run_steps(job) if job.tuning is None else job.tuning.steps,
        "tokens": job.budget.tokens,
        "tokens of the cooldown": job.budget.cooldown_tokens,
        "unique tokens": job.unique_tokens,
        "device asked for": job.device,
        "threads": job.threads,
        "training": to_json(job.training),
        "evaluation": to_json(job.evaluation),
    }
    if job.teacher is not None:
        told["teacher"] = f"weight {job.teacher.weight:g}, temperature {job.teacher.temperature:g}"
    if job.tuning is not None:
        hidden = ("base", "data")  # folders of the machine that it ran on
        told["tuning"] = {name: value for name, value in to_json(job.tuning).items() if name not in hidden}
    return tables.facts(told)


def _export_row(record: Mapping[str, Any], weights: str | None) -> tuple[str, ...]:
    """A row; what a line of another version lacks is a dash."""
    found = record.get("parity")
    parity: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    runtime = parity.get("runtime")
    return (
        str(record.get("format", "–")),
        str(record.get("exported_at", "–")),
        _number(parity.get("largest_difference")),
        _number(parity.get("tolerance")),
        _count(parity.get("tokens_compared")),
        _count(len(ties) if isinstance(ties := parity.get("near_ties"), list) else None),
        _count(parity.get("texts")),
        _int8(record.get("int8")),
        _weights(record.get("weights"), weights),
        "–" if runtime is None else str(runtime),
        str(parity.get("note") or ""),
    )


def _number(value: Any) -> str:
    return f"{value:.1e}" if isinstance(value, int | float) else "–"


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _int8(small: Any) -> str:
    if not isinstance(small, Mapping):
        return "none was made"
    try:
        return difference_cell(small["difference"])
    except (KeyError, TypeError, ValueError, AssertionError):
        return "cannot be told: written by another version"


def _weights(exported: Any, now: str | None) -> str:
    if exported is None or now is None:
        return "cannot be told"
    return "these" if exported == now else "others: the run has changed since"
