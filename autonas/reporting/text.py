"""The front as a table for terminals of 80 columns. Wider fronts (many objectives) are continued in further tables."""

from __future__ import annotations

from collections.abc import Sequence

from autonas.objective import Objective
from autonas.reporting.columns import WIDTH, Column, command_lines, fitted, paragraph, tables
from autonas.reporting.front import build_report
from autonas.reporting.progress import control_text, hypervolume_text, near_text, prospect_text
from autonas.reporting.quantities import common_error, interval_text, probability_text, score_text, spec_text, tokens_text
from autonas.reporting.report import Report, Standing
from autonas.trial import StudyRecord

_SAID = ("share", "bytes", "parameters")  # units that a value's own text says: 14 %, 1.2 MB, 1.2 M of "params"


def text_front(study: StudyRecord, *, width: int = WIDTH, promote: str = "") -> str:
    """The front with 95 % intervals and probabilities; a star marks the knee. Ends without a newline.

    `promote` is the command that trains its winner in full, to be shown below it.
    """
    report = build_report(study)
    front = report.front
    if not front:
        why = [f"{entry.count} {entry.how} ({entry.reason})" for entry in report.dropped[:3]]
        ends = f" So far: {', '.join(why)}." if why else ""
        told = f"{study.name}: no trial has completed the last rung, so there is no front.{ends}"
        return "\n".join(paragraph(told, width))
    lines = [*front_lines(report, front, width), "", *_legend(report, width)]
    if promote:
        lines += ["", *paragraph("To train its winner in full (the knee, unless the space file says otherwise):", width)]
        lines += command_lines(promote, width)
    return "\n".join(lines)


def front_lines(report: Report, standings: Sequence[Standing], width: int = WIDTH) -> list[str]:
    """These trials, scores first, architectures below them: every line within `width` columns."""
    marks = Column(name="trial", cells=[f"{'*' if s.is_knee else ' '} {s.number:>5}" for s in standings])
    scores = [_objective_column(objective, standings) for objective in report.objectives]
    lines = [line for table in tables(marks, scores, width) for line in (*table, "")]
    sure = [
        Column(name="P(front)", cells=[probability_text(s.probability) for s in standings]),
        Column(name="seeds", cells=[str(s.trial.seeds) for s in standings]),
    ]
    ((head, *rows),) = tables(marks, sure, width)
    lines.append(f"{head}  architecture")
    for standing, row in zip(standings, rows, strict=True):
        lines += paragraph(spec_text(standing.trial.spec), width, len(head) + 2, f"{row}  ")
    return lines


def _legend(report: Report, width: int) -> list[str]:
    noise, front = report.seed_noise, report.front
    texts = [
        f"{fitted(report.study.name, width // 2)}: {len(front)} of {len(report.standings)} final trials are on the front.",
        "* knee. Parentheses: 95 % interval. P(front): probability of being on it, given all intervals.",
        f"Seed noise: {noise.deviation:.3f} nats, {noise.degrees_of_freedom} degrees of freedom ({noise.repeats} by repeats); "
        f"{noise.between_trials:.3f} between trials.",
        near_text(report.near),
        hypervolume_text(report),
        control_text(report),
        prospect_text(report),
        *_baseline_texts(front),
    ]
    for alarm in report.alarms:
        if alarm.severity == "alarm":
            where = f" (trial {', '.join(map(str, alarm.trials))})" if alarm.trials else ""
            texts.append(f"ALARM {alarm.title}{where}: {alarm.text}")
    return [line for text in texts for line in paragraph(text, width)]


def _baseline_texts(front: Sequence[Standing]) -> list[str]:
    """What n-gram models of the very tokens that the front's models were shown reach, and how many of those are better."""
    texts = []
    for name in front[0].trial.outcome.baselines:
        known = [s for s in front if name in s.trial.outcome.baselines and "val_loss" in s.trial.scores]
        losses = [s.trial.outcome.baselines[name] for s in known]
        beaten = sum(s.trial.scores["val_loss"].value < loss for s, loss in zip(known, losses, strict=True))
        if known:
            shown = f"{min(losses):.2f}" if max(losses) - min(losses) < 0.01 else f"{min(losses):.2f} to {max(losses):.2f}"
            tokens = tokens_text(known[0].trial.outcome.tokens)
            texts.append(
                f"A {name} model of the same {tokens} tokens: {shown} nats; {beaten} of {len(known)} on the front are below."
            )
    return texts


def _objective_column(objective: Objective, standings: Sequence[Standing]) -> Column:
    scores = [standing.trial.scores[objective.name] for standing in standings]
    error = common_error(scores)
    values = [score_text(score, error) for score in scores]
    intervals = [f"({text})" if (text := interval_text(score, error)) else "" for score in scores]
    wide, wider = max(map(len, values)), max(map(len, intervals))
    cells = [
        f"{value:>{wide}} {interval:<{wider}}" if wider else value for value, interval in zip(values, intervals, strict=True)
    ]
    return Column(name=objective.name, unit="" if objective.unit in _SAID else objective.unit, cells=cells)
