"""What people see of a trial in Optuna's dashboards: its user attributes. Written beside the records, and never read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autonas.arch import ArchSpec, spec_text
from autonas.trial import Failure, Outcome, Score

# A message may hold a whole traceback, which belongs in the note.
_MOST_CHARACTERS = 200


def of_beginning(
    spec: ArchSpec | None, scores: Mapping[str, Score], repeat_of: int | None = None, retry_of: int | None = None
) -> dict[str, Any]:
    """The architecture in one line, which trial it stands for, and what is known of it before training."""
    attributes: dict[str, Any] = {} if spec is None else {"architecture": spec_text(spec)}
    attributes |= {"repeat of": repeat_of} if repeat_of is not None else {}
    attributes |= {"retry of": retry_of} if retry_of is not None else {}
    return attributes | {_label(name, score): rounded(score.value) for name, score in scores.items()}


def of_infeasible(rule: str, reason: str) -> dict[str, str]:
    """Which rule or limit is broken, and why."""
    return {"rule": rule, "reason": _short(reason)}


def of_nearest(params: Mapping[str, Any], nearest: Mapping[str, Any]) -> dict[str, str]:
    """What to change for an architecture that is legal."""
    changes = (f"{name} {value}" for name, value in nearest.items() if params.get(name) != value)
    return {"nearest legal": ", ".join(changes)}


def of_rung(outcome: Outcome) -> dict[str, float]:
    """The loss at a rung and the tokens behind it, as numbers, so that they can be sorted and drawn."""
    place = f"rung {outcome.rung}"
    loss = outcome.scores.get("val_loss")
    known = {} if loss is None else {f"{place} · val_loss": rounded(loss.value)}
    return {**known, f"{place} · tokens": outcome.tokens}


def of_stop(rung: int, tokens: int) -> dict[str, str]:
    """Where a trial was stopped: at which rung, and after how many tokens."""
    return {"stopped at": f"rung {rung}, {tokens:,} tokens"}


def of_failure(failure: Failure) -> dict[str, str]:
    """How a trial failed."""
    return {"failure": _short(f"{failure.kind}: {failure.message}")}


def of_retries(count: int) -> dict[str, int]:
    """How many jobs of a trial failed and were tried again; its note says why."""
    return {"retries": count}


def _label(name: str, score: Score) -> str:
    return name if score.unit == "parameters" else f"{name} ({score.unit})"


def rounded(value: float) -> float:
    """A number with the digits that people read."""
    return int(value) if float(value).is_integer() else round(value, 4)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARACTERS else f"{line[:_MOST_CHARACTERS]}…"
