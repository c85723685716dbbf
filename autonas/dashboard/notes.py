"""What a trial came to, in Markdown, for the people who look at it in Optuna Dashboard. Made of its record, and never stored.

Text from outside (rules, messages, how something was measured) is quoted: the dashboard draws Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from autonas.arch import spec_text
from autonas.objective import OBJECTIVES
from autonas.reporting.generations import degenerate, printable
from autonas.reporting.quantities import duration_text, interval_text, score_text, tokens_text
from autonas.trial import Outcome, Score, TrialRecord

_STATES: Mapping[str, str] = {
    "live": "In training",
    "complete": "Scored at the last rung",
    "stopped": "Stopped early: its peers at this rung went on, so it has no place on the front",
    "infeasible": "Infeasible: it breaks a rule or a limit, and is on no front",
    "failed": "Failed",
}


def full_note(trial: TrialRecord, kept: str, made: str) -> str:
    """A trial's note: what became of it, what the ledger keeps in words (how it failed, what was tried again), and the rest."""
    told = kept and trial.state in ("failed", "infeasible")  # of these it says what became of them
    head = "" if told else f"**{_STATES[trial.state]}.**" + (f" {plain(trial.reason)}." if trial.state == "infeasible" else "")
    return "\n\n".join(part for part in (head, kept, made) if part)


def trial_note(trial: TrialRecord, objectives: Sequence[str]) -> str:
    """A trial in Markdown: its architecture, its scores with intervals, its rungs, what plausibility checks found."""
    lines = [] if trial.spec is None else [f"- **Architecture:** {plain(spec_text(trial.spec))} (`{trial.spec.fingerprint}`)"]
    if trial.repeat_of is not None:
        lines.append(f"- **Repeat** of trial {trial.repeat_of} with other seeds: it says how noisy a score is")
    lines += _score_lines(trial, objectives) + _rung_lines(trial.rungs) + _finding_lines(trial.rungs)
    return "\n".join(lines).strip("\n")


def plain(text: str) -> str:
    """Text as Markdown that means nothing but it: on one line, with what could be markup escaped."""
    line = " ".join(printable(text).split())
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~&$:/@-])", r"\\\1", line)


def _score_lines(trial: TrialRecord, objectives: Sequence[str]) -> list[str]:
    """Every score at the last rung that was reached: objectives first, and which numbers are theirs."""
    last = len(trial.rungs) - 1
    names = dict.fromkeys([*objectives, *trial.scores, *(trial.rungs[last].scores if trial.rungs else ())])
    known = [(name, score) for name in names if (score := trial.score(name, last)) is not None]
    if not known:
        return []
    head = ["", "| score | value | 95 % interval | unit | how |", "|:--|--:|--:|:--|:--|"]
    return [*head, *(_score_line(name, score, name in objectives) for name, score in known)]


def _score_line(name: str, score: Score, is_objective: bool) -> str:
    shown = f"**{plain(name)}**" if is_objective else plain(name)
    how = plain(score.note) or ("" if score.n is None else f"{score.n:,} observations")
    if name in OBJECTIVES and OBJECTIVES[name].known == "arithmetic":
        how = how or "computed"
    unit = "" if score.unit == "share" else plain(score.unit)
    return f"| {shown} | {score_text(score)} | {interval_text(score) or 'exact'} | {unit} | {how} |"


def _rung_lines(rungs: Sequence[Outcome]) -> list[str]:
    if not rungs:
        return []
    lines = [
        "",
        "At each rung:",
        "",
        "| rung | tokens | validation loss | training | degenerate samples |",
        "|--:|--:|--:|--:|--:|",
    ]
    for outcome in rungs:
        loss = outcome.scores.get("val_loss")
        shown = "" if loss is None else f"{score_text(loss)} ({interval_text(loss) or 'exact'})"
        bad = sum(degenerate(sample.detectors) for sample in outcome.samples)
        samples = f"{bad} of {len(outcome.samples)}" if outcome.samples else ""
        lines.append(
            f"| {outcome.rung} | {tokens_text(outcome.tokens)} | {shown} | {duration_text(outcome.seconds)} | {samples} |"
        )
    return lines


def _finding_lines(rungs: Sequence[Outcome]) -> list[str]:
    found = [(outcome.rung, finding) for outcome in rungs for finding in outcome.findings]
    if not found:
        return []
    words = {"alarm": "**Alarm**", "note": "Note"}
    return ["", *(f"- {words[f.severity]} at rung {rung}, {plain(f.check)}: {plain(f.text)}" for rung, f in found)]
