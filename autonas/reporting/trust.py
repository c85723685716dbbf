"""Why to believe a report: which checks are known to have run on how many trainings, what each would catch, what it found.

A check is told as run only where a record says so: an entry of an outcome's `checks`, the baselines that a loss was held
against, or a finding of its own. Ledgers of earlier versions have fewer of these, and are said to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autonas.evaluation.plausibility import CHECKS, title_of
from autonas.evaluation.plausibility.findings import judged_pairs, outcome_findings, rung_findings
from autonas.reporting.report import Report
from autonas.trial import Finding, Outcome, StudyRecord, TrialRecord

# What every scored training of a study goes through; the others are of full runs, tunings and coding tasks.
TRAINING_CHECKS: Final = (
    "leak",
    "loss_floor",
    "gap",
    "loss_by_class",
    "constant_loss",
    "rising_loss",
    "gradient_norm",
    "smoothing_floor",
    "rollback",
)
RUNG_CHECKS: Final = ("constant", "collapse_while_falling")  # of two rungs of a trial, worked out again for each report
CORPUS_CHECKS: Final = ("held_out_in_training", "benchmark_in_corpus")  # once for a data set, told with each of its trainings
STUDY_CHECKS: Final = (*TRAINING_CHECKS, *RUNG_CHECKS, *CORPUS_CHECKS)
NOT_RECORDED: Final = "not recorded"
# Entries of `checks` that only what ran the check writes. A compressor came with the search for copies, and tells of it too.
_TRACES: Final = {
    "leak": ("leak",),
    "loss_by_class": ("content",),
    "rollback": ("watch", "rollbacks"),
    "held_out_in_training": ("copies", "compression"),
    "benchmark_in_corpus": ("coding tasks",),
}
_WATCHED: Final = ("constant_loss", "rising_loss", "gradient_norm", "smoothing_floor")  # by training/watch.py
_MOST_CHECKED = 200  # trials; of more, only final ones say what each of their checks found
Told = list[tuple[int, int, Finding]]  # trial, rung, and what was found


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustRow:
    """One check over a whole study."""

    title: str
    catches: str
    ran: str  # on how much of the study it is known to have run
    found: str
    severity: str  # "alarm", "note" or "" where nothing was found
    trials: tuple[int, ...]


def trust_rows(report: Report) -> tuple[TrustRow, ...]:
    """The checks of a study in the order of `STUDY_CHECKS`; after them others that found something."""
    study = report.study
    trained = [(trial, outcome) for trial in study.trials for outcome in trial.rungs]
    if not trained:
        return ()
    told: dict[str, Told] = {}
    for trial, outcome in trained:
        for finding in _findings(outcome):
            told.setdefault(finding.check, []).append((trial.number, outcome.rung, finding))
    for trial in study.trials:
        for finding in rung_findings(trial.rungs):
            told.setdefault(finding.check, []).append((trial.number, len(trial.rungs) - 1, finding))
    return (
        *(_training_row(name, told.get(name, []), trained, study) for name in TRAINING_CHECKS),
        *(_rung_row(name, told.get(name, []), study) for name in RUNG_CHECKS),
        *(_corpus_row(name, told.get(name, []), [outcome for _, outcome in trained]) for name in CORPUS_CHECKS),
        *(_other_row(name, found) for name, found in told.items() if name not in STUDY_CHECKS),
    )


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


def why_not(check: str, trial: TrialRecord, outcome: Outcome) -> str:
    """Why a check of trainings is not known to have run on this one, in words; "" where it is known to have."""
    if check == "smoothing_floor" and trial.spec is not None and not trial.spec.label_smoothing:
        return "without label smoothing"
    if check in _WATCHED:
        _, colon, judged = outcome.checks.get("watch", "").partition(": ")
        if not colon:
            return NOT_RECORDED
        return "" if check.replace("_", " ") in judged.split(", ") else "too short for it"
    if check == "loss_floor":
        known = "compression" in outcome.checks or outcome.baselines.get("bigram", 0.0) > 0.0
        return "" if known and "val_loss" in outcome.scores else NOT_RECORDED
    if check == "gap":
        text = outcome.checks.get("gap")
        unmeasured, _, why = (text or "").partition(": ")
        return NOT_RECORDED if text is None else why if unmeasured == "not measured" else ""
    return "" if any(trace in outcome.checks for trace in _TRACES[check]) else NOT_RECORDED


def _training_row(name: str, told: Told, trained: Sequence[tuple[TrialRecord, Outcome]], study: StudyRecord) -> TrustRow:
    found = {(number, rung) for number, rung, _ in told}
    others = [(trial, outcome) for trial, outcome in trained if (trial.number, outcome.rung) not in found]
    missing = Counter(filter(None, (why_not(name, trial, outcome) for trial, outcome in others)))
    total = len(trained)
    ran = total - missing.total()
    trainings = f"{total} scored training{'' if total == 1 else 's'}"
    reasons = ", ".join(f"{why} in {count}" for why, count in missing.items())
    if not missing:
        where = f"all {trainings}" if total > 1 else trainings
    else:
        where = f"{ran} of {trainings}; {reasons}" if ran else f"none of {trainings}: {', '.join(missing)}"
    severity = _severity(told)
    if name == "leak":
        refused = sum(trial.failure == "leak" for trial in study.trials)
        says = f"passed by {ran}" if ran else "cannot be told"
        says += f"; {refused} model{' was' if refused == 1 else 's were'} refused" if refused else ""
        severity = severity or ("alarm" if missing else "")
    elif not ran:
        says = "cannot be told" if NOT_RECORDED in missing else "does not apply"
    else:
        says = f"in {len(found)}" if found else "nothing"
    return _row(name, ran=where, found=says, severity=severity, told=told)


def _rung_row(name: str, told: Told, study: StudyRecord) -> TrustRow:
    pairs = {trial.number: count for trial in study.trials if (count := judged_pairs(name, trial.rungs))}
    total = sum(pairs.values())
    if not total:
        lacking = "its collapse" if name == "collapse_while_falling" else "its documents' losses"
        where = f"nothing: no trial has {lacking} at two rungs"
        return _row(name, ran=where, found="cannot be told", severity="", told=told)
    trials = f"{len(pairs)} trial{'' if len(pairs) == 1 else 's'}"
    where = f"{total} step{'' if total == 1 else 's'} from rung to rung of {trials}"
    return _row(name, ran=where, found=f"in {len(told)}" if told else "nothing", severity=_severity(told), told=told)


def _corpus_row(name: str, told: Told, outcomes: Sequence[Outcome]) -> TrustRow:
    """Of the one corpus of a study: what is told with each of its trainings is one thing."""
    texts = [outcome.checks.get(_TRACES[name][0], "") for outcome in outcomes]
    known = bool(told) or any(trace in outcome.checks for outcome in outcomes for trace in _TRACES[name])
    said = next(filter(None, texts), "")
    where = f"the corpus of all trainings{f': {said}' if said else ''}" if known else NOT_RECORDED
    distinct = dict.fromkeys(finding.text for _, _, finding in told)
    says = "; ".join(distinct) if told else "nothing" if known else "cannot be told"
    return TrustRow(
        title=title_of(name), catches=CHECKS.get(name, ""), ran=where, found=says, severity=_severity(told), trials=()
    )


def _other_row(name: str, told: Told) -> TrustRow:
    found = len({(number, rung) for number, rung, _ in told})
    return _row(name, ran="known only where it found something", found=f"in {found}", severity=_severity(told), told=told)


def _row(name: str, *, ran: str, found: str, severity: str, told: Told) -> TrustRow:
    trials = tuple(dict.fromkeys(number for number, _, _ in told))
    return TrustRow(title=title_of(name), catches=CHECKS.get(name, ""), ran=ran, found=found, severity=severity, trials=trials)


def _severity(told: Told) -> str:
    return "" if not told else "alarm" if any(finding.severity == "alarm" for _, _, finding in told) else "note"


def _findings(outcome: Outcome) -> tuple[Finding, ...]:
    """Those on record, and those that can be worked out again of an outcome of an earlier version."""
    recorded = {finding.check for finding in outcome.findings}
    return (*outcome.findings, *(each for each in outcome_findings(outcome) if each.check not in recorded))
