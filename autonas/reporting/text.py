"""The front as a table for terminals of 100 columns. Wider fronts (many objectives) are continued in further tables."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from autonas.objective import Objective
from autonas.reporting.front import build_report
from autonas.reporting.progress import control_text, hypervolume_text, near_text, prospect_text
from autonas.reporting.quantities import common_error, interval_text, probability_text, score_text, spec_text, tokens_text
from autonas.reporting.report import Report, Standing
from autonas.trial import StudyRecord

WIDTH = 100
_GAP = "  "


def text_front(study: StudyRecord) -> str:
    """The front with 95 % intervals and probabilities; a star marks the knee. Ends without a newline."""
    report = build_report(study)
    front = report.front
    if not front:
        why = [f"{entry.count} {entry.how} ({entry.reason})" for entry in report.dropped[:3]]
        ends = f" So far: {', '.join(why)}." if why else ""
        return f"{study.name}: no trial has completed the last rung, so there is no front.{ends}"
    columns = [
        _column("  trial", [f"{'*' if s.is_knee else ' '} {s.number:>5}" for s in front]),
        _column("P(front)", [probability_text(s.probability) for s in front]),
        _column("seeds", [str(s.trial.seeds) for s in front]),
    ]
    tables = _tables(columns, [_objective_column(objective, front) for objective in report.objectives])
    lines = [line for table in tables for line in (*table, "")]
    lines += [_shortened(f"{'*' if s.is_knee else ' '} {s.number:>5}  {spec_text(s.trial.spec)}") for s in front]
    return "\n".join([*lines, "", *_legend(report)])


def _legend(report: Report) -> list[str]:
    noise, front = report.seed_noise, report.front
    lines = [
        f"{report.study.name}: {len(front)} of {len(report.standings)} final trials are on the front.",
        "* knee. Parentheses: 95 % interval. P(front): probability of being on it, given all intervals.",
        f"Seed noise: {noise.deviation:.3f} nats, {noise.degrees_of_freedom} degrees of freedom ({noise.repeats} by repeats); "
        f"{noise.between_trials:.3f} between trials.",
    ]
    for text in (near_text(report.near), hypervolume_text(report), control_text(report), prospect_text(report)):
        lines += textwrap.wrap(text, WIDTH, subsequent_indent="  ")
    lines += _baseline_lines(front)
    for alarm in report.alarms:
        if alarm.severity == "alarm":
            where = f" (trial {', '.join(map(str, alarm.trials))})" if alarm.trials else ""
            lines += textwrap.wrap(f"ALARM {alarm.title}{where}: {alarm.text}", WIDTH, subsequent_indent="  ")
    return lines


def _baseline_lines(front: Sequence[Standing]) -> list[str]:
    """What n-gram models of the very tokens that the front's models were shown reach, and how many of those are better."""
    lines = []
    for name in front[0].trial.outcome.baselines:
        known = [s for s in front if name in s.trial.outcome.baselines and "val_loss" in s.trial.scores]
        losses = [s.trial.outcome.baselines[name] for s in known]
        beaten = sum(s.trial.scores["val_loss"].value < loss for s, loss in zip(known, losses, strict=True))
        if known:
            shown = f"{min(losses):.2f}" if max(losses) - min(losses) < 0.01 else f"{min(losses):.2f} to {max(losses):.2f}"
            tokens = tokens_text(known[0].trial.outcome.tokens)
            lines.append(
                f"A {name} model of the same {tokens} tokens: {shown} nats; {beaten} of {len(known)} on the front are below."
            )
    return lines


def _objective_column(objective: Objective, front: Sequence[Standing]) -> list[str]:
    unit = "" if objective.unit in ("share", "bytes", "parameters") else f" {objective.unit}"
    scores = [standing.trial.scores[objective.name] for standing in front]
    error = common_error(scores)
    values = [score_text(score, error) for score in scores]
    intervals = [f"({text})" if (text := interval_text(score, error)) else "" for score in scores]
    wide, wider = max(map(len, values)), max(map(len, intervals))
    cells = [
        f"{value:>{wide}} {interval:<{wider}}" if wider else value for value, interval in zip(values, intervals, strict=True)
    ]
    return _column(f"{objective.name}{unit}", cells)


def _column(title: str, cells: Sequence[str]) -> list[str]:
    width = max(len(title), *map(len, cells))
    return [f"{text:>{width}}" for text in (title, *cells)]


def _tables(fixed: Sequence[list[str]], objectives: Sequence[list[str]]) -> list[list[str]]:
    """Rows of as many tables as it takes; each begins with the star and the trial."""
    tables: list[list[list[str]]] = [list(fixed)]
    for column in objectives:
        if len(tables[-1]) > 1 and len(_GAP.join(c[0] for c in (*tables[-1], column))) > WIDTH:
            tables.append([*fixed[:1]])
        tables[-1].append(column)
    return [[_GAP.join(cells).rstrip() for cells in zip(*table, strict=True)] for table in tables]


def _shortened(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
