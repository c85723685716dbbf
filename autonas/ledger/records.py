"""Trials between Optuna and `TrialRecord`: the format in which a ledger keeps them, and the one before.

Format 2 keeps records as system attributes `autonas:<key>`. Format 1 kept them as user attributes `<key>`; a trial of it that
goes on in this version has some of each.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from autonas.arch import ArchSpec
from autonas.trial import Failure, JobSpan, Outcome, Score, TrialRecord, from_json

FORMAT, FORMATS = 2, (1, 2)
OURS = "autonas:"
_STATES = {TrialState.RUNNING: "live", TrialState.COMPLETE: "complete", TrialState.FAIL: "failed", TrialState.PRUNED: "stopped"}


def ours(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values, JSON already, as the system attributes that keep them."""
    return {f"{OURS}{key}": value for key, value in values.items()}


def constraint(value: float) -> dict[str, Any]:
    """The one constraint, `legal`, feasible at 0 or below: as Optuna keeps it, and as the list that its dashboard reads."""
    return {"constraints": [value], "constraints:legal": value}


def num_rungs(trial: FrozenTrial) -> int:
    """How many rungs the trial has finished."""
    in_format_1 = sum(bool(re.fullmatch(r"rung:\d+", key)) for key in trial.user_attrs)
    return in_format_1 + sum(key.startswith(f"{OURS}rung:") for key in trial.system_attrs)


def retries_of(trial: FrozenTrial) -> tuple[Failure, ...]:
    """The failed jobs of the trial that were tried again, oldest first."""
    count = sum(key.startswith(f"{OURS}retry:") for key in trial.system_attrs)
    return tuple(from_json(Failure, trial.system_attrs[f"{OURS}retry:{index}"]) for index in range(count))


def failure_of(trial: FrozenTrial) -> Failure:
    """How a failed trial failed."""
    return from_json(Failure, _kept(trial)["failure"])


def last_rung(trial: FrozenTrial) -> tuple[int, int] | None:
    """The last rung that the trial has finished and its tokens; None when it has finished none."""
    rung = num_rungs(trial) - 1
    return None if rung < 0 else (rung, int(_kept(trial)[f"rung:{rung}"]["tokens"]))


def _kept(trial: FrozenTrial) -> dict[str, Any]:
    kept = {key.removeprefix(OURS): value for key, value in trial.system_attrs.items() if key.startswith(OURS)}
    return kept if "params" in kept else {**trial.user_attrs, **kept}


def read_trial(trial: FrozenTrial, before: TrialRecord | None = None) -> TrialRecord:
    """A trial as the ledger remembers it. `before`: the same, read earlier and alive; what is written once is taken from it."""
    kept = _kept(trial)
    # Written before the state: a crash between the two leaves one that did not come to count.
    failure = failure_of(trial) if trial.state == TrialState.FAIL else None
    state = _STATES[trial.state]
    if trial.state == TrialState.PRUNED and "rule" in kept:
        state = "infeasible"
    rungs = () if before is None else before.rungs
    rungs += tuple(from_json(Outcome, kept[f"rung:{rung}"]) for rung in range(len(rungs), num_rungs(trial)))
    reason = ""
    if state == "infeasible":
        reason = f"{kept['rule']}: {kept['reason']}"
    elif state == "stopped":
        reason = f"stopped at rung {len(rungs) - 1}"
    elif failure is not None:
        reason = failure.message
    return dataclasses.replace(
        before or _beginning(trial, kept),
        state=state,  # type: ignore[arg-type]
        rungs=rungs,
        retries=retries_of(trial),
        reason=reason,
        failure=None if failure is None else failure.kind,
        failed=None if failure is None else failure.span,
    )


def _beginning(trial: FrozenTrial, kept: Mapping[str, Any]) -> TrialRecord:
    """What a trial's first record says."""
    return TrialRecord(
        number=trial.number,
        state="live",
        params=kept.get("params", trial.params),
        spec=None if kept.get("spec") is None else ArchSpec.from_dict(kept["spec"]),
        repeat_of=kept.get("repeat_of"),
        retry_of=kept.get("retry_of"),
        scores={name: from_json(Score, score) for name, score in kept.get("scores", {}).items()},
        measured=None if kept.get("measured") is None else from_json(JobSpan, kept["measured"]),
        nearest=kept.get("nearest"),
        sampler_state={key: v for key, v in trial.system_attrs.items() if not key.startswith((OURS, "constraints"))},
    )
