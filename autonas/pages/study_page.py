"""A study as one HTML file that opens offline: which trial to take, how the search went, each architecture, why to believe it.

What is said is worked out in reporting/, what is drawn in figures/ and reporting/parallel.py; study.html, page.css and the
scripts beside it say how it looks. Tables are complete without scripts; figures, the choice and the drawer need them.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autonas.figures.scatter import pairs, scatter
from autonas.pages.html import page, write_page
from autonas.promotion.select import neighbours
from autonas.reporting import quantities, tables
from autonas.reporting.choice import choice_data
from autonas.reporting.columns import trial_columns
from autonas.reporting.curves import curves
from autonas.reporting.evaluation import Values, findings_of, summary_table, title_of
from autonas.reporting.front import build_report
from autonas.reporting.generations import generations, printable
from autonas.reporting.marks import KINDS, SHOWN_AT_FIRST, Mark, marks, thinned
from autonas.reporting.parallel import parallel
from autonas.reporting.progress import agreement_text, agreements, control_text, hypervolume_text, prospect_text
from autonas.reporting.report import Report
from autonas.reporting.steps import steps
from autonas.reporting.trust import checks_of, findings_by_trial, trust_rows
from autonas.trial import StudyRecord

SCRIPTS = ("figures.js", "format.js", "tables.js", "choice.js", "parallel.js", "drawer.js", "study.js")
# More would make a page that opens slowly; the rest is in its CSV and JSON, and can be opened from every drawing.
MOST_FRONT_ROWS, MOST_ROWS = 200, 500
MOST_NEIGHBOURS = 150  # final trials with words on their neighbours; the front is never left out
_KIND_NAMES = {
    "front": "on the front",
    "final": "dominated",
    "stopped": "stopped",
    "live": "running",
    "infeasible": "infeasible",
    "failed": "failed",
}


def write_report(study: StudyRecord, path: str | os.PathLike[str], runs: Mapping[str, Values] | None = None) -> Path:
    """Write the report of a study to `path`, whole or not at all; missing folders are made. Returns the path.

    `runs` are the evaluations of its full runs, by folder.

    Raises:
        ResourceError: no space or no permission there.
    """
    return write_page(render(build_report(study), runs), path)


def render(report: Report, runs: Mapping[str, Values] | None = None) -> str:
    """The HTML of a report. The same report gives the same bytes."""
    study = report.study
    calibration = study.attributes.get("calibration") or {}
    rates, calibrated = tables.calibration_rows(calibration.get("points") or [])
    found, cut = thinned(marks(report))
    rows = tables.front_rows(report)
    panels = [(f"scatter-{across.name}-{up.name}", across, up) for across, up in pairs(report)] if rows else []
    return page(
        "study.html",
        styles=("page.css",),
        scripts=SCRIPTS,
        figures={name: scatter(report, across, up, found) for name, across, up in panels},
        data={
            "study": printable(study.name),
            "file": re.sub(r"[^\w.-]+", "_", study.name) or "study",
            "promote": shlex.join(["autonas", "promote", printable(study.name)]),
            "objectives": [{"name": o.name, "title": o.title, "unit": o.unit, "log": o.logarithmic} for o in report.objectives],
            "trials": _printable(trial_columns(report)),
            "choice": choice_data(report),
            "extras": _printable(_extras(report)),
        },
        report=report,
        study=study,
        attributes=study.attributes,
        rows=rows[:MOST_FRONT_ROWS],
        num_rows=len(rows),
        bar_width=tables.BAR_WIDTH,
        best=_best(report),
        panels=panels,
        kinds=[(kind, _KIND_NAMES[kind], kind in SHOWN_AT_FIRST) for kind in _kinds_of(found)],
        cut=[(_KIND_NAMES[kind], count) for kind, count in cut.items()],
        parallel=parallel(report, found),
        curves=curves(report),
        steps=steps(report),
        progress=[text for text in (hypervolume_text(report), control_text(report), prospect_text(report)) if text],
        agreements=[(pair, agreement_text(pair)) for pair in agreements(report)],
        flow=_flow(report),
        stopped=tables.stopped_by_rung(report),
        generations=generations(report),
        promotions=tables.promotion_rows(study),
        runs=summary_table(runs) if runs else None,
        run_findings=[(name, f, title_of(f)) for name, values in (runs or {}).items() for f in findings_of(values)],
        calibration=calibration,
        rates=rates,
        calibrated=calibrated,
        corpus=(study.attributes.get("data") or {}).get("report") or {},
        trust=trust_rows(report),
        all_trials=study.trials[:MOST_ROWS],
        provenance=_provenance(report),
        recipe=json.dumps(study.recipe, indent=2, ensure_ascii=False, default=str),
    )


def _best(report: Report) -> list[tuple[str, int]]:
    """The knee, and the best of the front in each objective."""
    found = [("Knee", report.knee.number)] if report.knee else []
    for objective in report.objectives if report.front else ():
        best = min(report.front, key=lambda s: (s.trial.scores[objective.name].value, s.number))
        found.append((f"Best {objective.title.lower()}", best.number))
    return found


def _kinds_of(found: Sequence[Mark]) -> list[str]:
    there = {"front" if mark.kind == "knee" else mark.kind for mark in found}
    return [kind for kind in reversed(KINDS) if kind in there]


def _extras(report: Report) -> dict[str, Any]:
    """What the drawer says of a trial beyond its columns, by number."""
    near = [*report.front, *(standing for standing in report.standings if not standing.on_front)]
    near = near[: max(MOST_NEIGHBOURS, len(report.front))]
    return {
        "neighbours": {
            str(standing.number): [[other.trial, other.text] for other in neighbours(report, standing)] for standing in near
        },
        "findings": findings_by_trial(report),
        "checks": checks_of(report),
    }


def _printable(value: Any) -> Any:
    """The same with every text made fit to be shown."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(name)): _printable(inner) for name, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list | tuple) else value


def _flow(report: Report) -> list[dict[str, Any]]:
    """Where the sampled trials went: one row per stage, each a bar of parts (name, count, what became of them)."""
    trials = [trial for trial in report.study.trials if trial.repeat_of is None]
    turned_away = sum(trial.state == "infeasible" and not trial.rungs for trial in trials)
    rows = [
        {
            "title": "Sampled",
            "detail": "",
            "parts": [("trained", len(trials) - turned_away, "on"), ("infeasible", turned_away, "infeasible")],
        }
    ]
    for rung in report.rungs:
        is_last = rung.rung == len(report.rungs) - 1
        going_on = "finished" if is_last else "went on"
        parts = [
            (going_on, rung.advanced, "on"),
            ("stopped", rung.stopped, "stopped"),
            ("infeasible", rung.infeasible, "infeasible"),
            ("failed on the way", rung.failed, "failed"),
            ("waiting", rung.waiting, "waiting"),
        ]
        rows.append({"title": f"Rung {rung.rung}", "detail": f"{quantities.tokens_text(rung.tokens)} tokens", "parts": parts})
    if report.standings:
        front = len(report.front)
        parts = [("on the front", front, "front"), ("dominated", len(report.standings) - front, "stopped")]
        rows.append({"title": "Front", "detail": "", "parts": parts})
    unit = 100 / max(len(trials), 1)
    return [{**row, "parts": _laid_out(row["parts"], unit)} for row in rows]  # type: ignore[arg-type]


def _laid_out(parts: list[tuple[str, int, str]], unit: float) -> list[dict[str, Any]]:
    """Bars beside one another, in per cent of the widest row."""
    result, start = [], 0.0
    for name, count, kind in parts:
        if count:
            result.append(
                {"name": name, "count": count, "kind": kind, "start": round(start, 3), "width": round(count * unit, 3)}
            )
            start += count * unit
    return result


def _provenance(report: Report) -> list[tuple[str, str]]:
    """Everything needed to know where the numbers come from, but for the recipe."""
    study = report.study
    attributes: Mapping[str, Any] = study.attributes
    budget: Mapping[str, Any] = study.recipe["budget"]
    told = {
        "study": study.name,
        "started": attributes.get("started_at"),
        "ended": attributes.get("ended_at"),
        "closed": attributes.get("closed"),
        "seed": budget.get("seed"),
        "sampler": budget.get("sampler"),
        "data fingerprint": (attributes.get("data") or {}).get("fingerprint"),
        "base learning rate": (attributes.get("calibration") or {}).get("chosen"),
        "time in training jobs": quantities.duration_text(report.train_seconds),
        **(attributes.get("environment") or {}),
    }
    return tables.facts(told)
