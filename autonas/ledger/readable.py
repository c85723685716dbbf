"""What people see of a trial in Optuna's dashboards: its user attributes. Written beside the records, and never read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autonas.arch import ArchSpec, spec_text
from autonas.trial import Failure, Outcome, Score

# A message may hold a whole traceback, which belongs in the note.
_MOST_CHARACTERS = 200


def of_beginning(
    spec: ArchSpec | None, scores: Mapping[str, Score], repeat_of: int | None, retry_of: int | None
) -> dict[str, Any]:
    """The architecture in one line, what is known of it before training, and which trial it stands for."""
    attributes: dict[str, Any] = {} if spec is None else {"architecture": spec_text(spec)}
    attributes |= {_label(name, score): _number(score.value) for name, score in scores.items()}
    attributes |= {"repeat of": repeat_of} if repeat_of is not None else {}
    return attributes | ({"retry of": retry_of} if retry_of is not None else {})


def of_infeasible(rule: str, reason: str, nearest: Mapping[str, Any] | None) -> dict[str, str]:
    """Which rule a candidate breaks, why, and what would be legal."""
    attributes = {"rule": rule, "reason": _short(reason)}
    if nearest is not None:
        attributes["nearest legal"] = ", ".join(f"{name} {value}" for name, value in nearest.items())
    return attributes


def of_rung(outcome: Outcome) -> dict[str, float]:
    """The loss at a rung and the tokens behind it, as numbers, so that they can be sorted and drawn."""
    place = f"rung {outcome.rung}"
    loss = outcome.scores.get("val_loss")
    known = {} if loss is None else {f"{place} · val_loss": _number(loss.value)}
    return {**known, f"{place} · tokens": outcome.tokens}


def of_stop(last: Outcome) -> dict[str, str]:
    """Where a trial was stopped."""
    return {"stopped at": f"rung {last.rung}, {last.tokens:,} tokens"}


def of_failure(failure: Failure) -> dict[str, str]:
    """How a trial failed."""
    return {"failure": _short(f"{failure.kind}: {failure.message}")}


def of_retries(count: int) -> dict[str, int]:
    """How many jobs of a trial failed and were tried again; its note says why."""
    return {"retries": count}


def _label(name: str, score: Score) -> str:
    return name if score.unit == "parameters" else f"{name} ({score.unit})"


def _number(value: float) -> float:
    return int(value) if float(value).is_integer() else round(value, 4)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"
