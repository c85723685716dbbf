"""Why to believe a report: which checks ran on how many trainings, what each would catch, and what it found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from autonas.evaluation.plausibility import CHECKS, TITLES
from autonas.evaluation.plausibility.findings import outcome_findings, rung_findings
from autonas.reporting.report import Report
from autonas.trial import Finding, Outcome, StudyRecord

# Those that every scored training of a study goes through; the others are of full runs, tunings and coding tasks.
STUDY_CHECKS: Final = (
    "leak",
    "loss_floor",
    "gap",
    "smoothing_floor",
    "constant",
    "constant_loss",
    "rising_loss",
    "gradient_norm",
    "rollback",
    "loss_by_class",
    "collapse_while_falling",
    "held_out_in_training",
    "benchmark_in_corpus",
    "corpus_repetition",
    "corpus_balance",
)
_MOST_CHECKED = 200  # trials; of more, only final ones say what each of their checks found


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRow:
    """One check over all scored trainings of a study."""

    title: str
    catches: str
    found: str
    severity: str  # "alarm", "note" or "" where nothing was found
    trials: tuple[int, ...]


def trust_rows(report: Report) -> tuple[TrustRow, ...]:
    """The checks of a study's trainings, in the order of `STUDY_CHECKS`; after them others that found something."""
    outcomes = list(_outcomes(report.study))
    if not outcomes:
        return ()
    told: dict[str, list[tuple[int, Finding]]] = {}
    for number, outcome in outcomes:
        for finding in _findings(outcome):
            told.setdefault(finding.check, []).append((number, finding))
    for trial in report.study.trials:
        for finding in rung_findings(trial.rungs):
            told.setdefault(finding.check, []).append((trial.number, finding))
    names = [*STUDY_CHECKS, *(name for name in told if name not in STUDY_CHECKS)]
    return tuple(_row(name, told.get(name, []), outcomes, report.study) for name in names)


def findings_by_trial(report: Report) -> dict[str, list[list[str]]]:
    """What was found of each trial at its last rung: severity, title and text, by number."""
    result: dict[str, list[list[str]]] = {}
    for trial in report.study.trials:
        found = (*_findings(trial.rungs[-1]), *rung_findings(trial.rungs)) if trial.rungs else ()
        if found:
            result[str(trial.number)] = [[each.severity, title_of(each.check), each.text] for each in found]
    return result


def checks_of(report: Report) -> dict[str, list[list[str]]]:
    """The checks that ran on each trial at its last rung, with what they found, by number."""
    trained = [trial for trial in report.study.trials if trial.rungs]
    if len(trained) > _MOST_CHECKED:
        final = {standing.number for standing in report.standings}
        trained = [trial for trial in trained if trial.number in final]
    return {str(trial.number): [[name, text] for name, text in trial.rungs[-1].checks.items()] for trial in trained}


def title_of(check: str) -> str:
    """What a page calls a check."""
    return TITLES.get(check, check.replace("_", " ").capitalize())


def _row(name: str, told: list[tuple[int, Finding]], outcomes: list[tuple[int, Outcome]], study: StudyRecord) -> TrustRow:
    trials = tuple(dict.fromkeys(number for number, _ in told))
    trainings = f"{len(outcomes)} scored training{'' if len(outcomes) == 1 else 's'}"
    if name == "leak":
        passed = sum("leak" in outcome.checks for _, outcome in outcomes)
        refused = sum(trial.failure == "leak" for trial in study.trials)
        found = f"passed by the models of {passed} of {trainings}" + (f"; {refused} models were refused" if refused else "")
        severity = "alarm" if passed < len(outcomes) else ""
    elif told:
        severity = "alarm" if any(finding.severity == "alarm" for _, finding in told) else "note"
        found = f"{len(told)} of {trainings}"
    else:
        found, severity = f"nothing in {trainings}", ""
    return TrustRow(title=title_of(name), catches=CHECKS.get(name, ""), found=found, severity=severity, trials=trials)


def _outcomes(study: StudyRecord) -> Iterator[tuple[int, Outcome]]:
    for trial in study.trials:
        for outcome in trial.rungs:
            yield trial.number, outcome


def _findings(outcome: Outcome) -> tuple[Finding, ...]:
    """Those on record, and those that can be worked out again of an outcome of an earlier version."""
    recorded = {finding.check for finding in outcome.findings}
    return (*outcome.findings, *(each for each in outcome_findings(outcome) if each.check not in recorded))
