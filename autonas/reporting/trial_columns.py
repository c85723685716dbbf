"""Every trial of a study as columns: what a page's views share, what its CSV holds, and what a data frame is made of.

A column that is the same for all trials is that one value. Scores are those of the last rung that a trial reached; only trials
whose `kind` is knee, front or final were scored at the study's last rung, and may be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autonas import cost
from autonas.objective import OBJECTIVES
from autonas.reporting.marks import kind_of
from autonas.reporting.quantities import spec_text
from autonas.reporting.report import Report, Standing
from autonas.trial import Score, TrialRecord

_DIGITS = 6
_MOST_TOLD = 200  # trials; of more, only final ones say how each score was measured


def trial_columns(report: Report) -> dict[str, Any]:
    """Columns by name, JSON-ready: number, kind, rung, tokens, probability, seeds, reason, repeat_of,
    spec, fingerprint; `dimensions` by name;
    `scores` by name with title, unit, value, low, high and note (an index into `notes`); `parts` of parameters and of FLOPs."""
    trials = report.study.trials
    standings = {standing.number: standing for standing in report.standings}
    rows = [(trial, standings.get(trial.number)) for trial in trials]
    notes: dict[str, int] = {"": 0}
    known = [_scores(trial, standing) for trial, standing in rows]
    told = [standing is not None or len(trials) <= _MOST_TOLD for _, standing in rows]
    names = list(dict.fromkeys([objective.name for objective in report.objectives] + [name for row in known for name in row]))
    return {
        "number": [trial.number for trial in trials],
        "kind": [_kind(trial, standing) for trial, standing in rows],
        "rung": _column([trial.rungs[-1].rung if trial.rungs else None for trial in trials]),
        "tokens": _column([trial.rungs[-1].tokens if trial.rungs else None for trial in trials]),
        "probability": _column([None if standing is None else standing.probability for _, standing in rows]),
        "seeds": _column([None if standing is None else standing.trial.seeds for _, standing in rows]),
        "reason": _column([trial.reason for trial in trials]),
        "repeat_of": _column([trial.repeat_of for trial in trials]),
        "spec": _column([None if trial.spec is None else spec_text(trial.spec) for trial in trials]),
        "fingerprint": _column([None if trial.spec is None else trial.spec.fingerprint for trial in trials]),
        "dimensions": _dimensions(trials),
        "scores": {name: _score_columns(name, [row.get(name) for row in known], told, notes) for name in names},
        "notes": list(notes),
        "parts": {
            "params": _parts(trials, cost.param_breakdown),
            "flops": _parts(trials, cost.flops_breakdown),
        },
    }


def _kind(trial: TrialRecord, standing: Standing | None) -> str:
    """Its mark: as a final trial's, or what became of it."""
    if standing is not None:
        return kind_of(standing)
    return "repeat" if trial.repeat_of is not None else trial.state


def _scores(trial: TrialRecord, standing: Standing | None) -> Mapping[str, Score]:
    if standing is not None:
        return standing.trial.scores
    return {**trial.scores, **(trial.rungs[-1].scores if trial.rungs else {})}


def _dimensions(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """The architecture's names; of params that describe none, those of them that are names of architectures."""
    rows = [trial.params if trial.spec is None else trial.spec.to_dict() for trial in trials]
    names = list(dict.fromkeys(name for trial, row in zip(trials, rows, strict=True) if trial.spec is not None for name in row))
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _score_columns(name: str, scores: Sequence[Score | None], told: Sequence[bool], notes: dict[str, int]) -> dict[str, Any]:
    found = next((score for score in scores if score is not None), None)
    return {
        "title": OBJECTIVES[name].title if name in OBJECTIVES else name.replace("_", " ").capitalize(),
        "unit": OBJECTIVES[name].unit if name in OBJECTIVES else "" if found is None else found.unit,
        "value": _column([None if score is None else score.value for score in scores]),
        "low": _column([None if score is None else score.low for score in scores]),
        "high": _column([None if score is None else score.high for score in scores]),
        "n": _column([None if score is None else score.n for score in scores]),
        "note": _column([_note(score, notes) if tell else 0 for score, tell in zip(scores, told, strict=True)]),
    }


def _note(score: Score | None, notes: dict[str, int]) -> int:
    """The place of its note among all, which are kept once."""
    return 0 if score is None else notes.setdefault(score.note, len(notes))


def _parts(trials: Sequence[TrialRecord], breakdown: Callable[[Any], Mapping[str, int]]) -> dict[str, Any]:
    rows = [{} if trial.spec is None else breakdown(trial.spec) for trial in trials]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values: list[Any]) -> Any:
    """The values, fractions with six digits and whole numbers whole; or the one that all of them are."""
    short = [_short(value) if isinstance(value, float) else value for value in values]
    first = short[0] if short else None
    return (
        first
        if not isinstance(first, list) and all(value == first and type(value) is type(first) for value in short)
        else short
    )


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(f"{value:.{_DIGITS}g}")
