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

from autonas.data.cache import write_file
from autonas.evaluation.plausibility import title_of
from autonas.figures.scatter import MOST_LABELS, pairs, scatter
from autonas.pages.html import page
from autonas.pages.search_section import search_figures, search_section
from autonas.promotion.select import neighbours
from autonas.reporting import quantities, tables
from autonas.reporting.choice import choice_data
from autonas.reporting.evaluation import Values, findings_of, summary_table
from autonas.reporting.front import build_report
from autonas.reporting.generations import generations, left_out_text, printable
from autonas.reporting.importance import importances
from autonas.reporting.marks import KINDS, MOST_OF_A_KIND, SHOWN_AT_FIRST, Mark, marks, thinned
from autonas.reporting.parallel import parallel
from autonas.reporting.report import Report
from autonas.reporting.stopping import stops, text_of
from autonas.reporting.trial_columns import trial_columns
from autonas.reporting.trust import checks_of, findings_by_trial, trust_rows
from autonas.trial import StudyRecord

SCRIPTS = ("figures.js", "marks.js", "format.js", "tables.js", "choice.js", "parallel.js", "drawer.js", "study.js")
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


def write_report(
    study: StudyRecord, path: str | os.PathLike[str], runs: Mapping[str, Values] | None = None, promote: str | None = None
) -> Path:
    """Write the report of a study to `path`, whole or not at all; missing folders are made. Returns the path.

    `runs` are the evaluations of its full runs, by folder; `promote` the command that promotes it, where it is kept elsewhere
    than usual.

    Raises:
        ResourceError: no space or no permission there.
    """
    target = Path(path)
    write_file(target, render(build_report(study), runs, promote).encode("utf-8"))
    return target


def render(report: Report, runs: Mapping[str, Values] | None = None, promote: str | None = None) -> str:
    """The HTML of a report. The same report gives the same bytes."""
    study = report.study
    calibration = study.attributes.get("calibration") or {}
    rates, calibrated = tables.calibration_rows(calibration.get("points") or [])
    found, cut = thinned(marks(report))
    rows, shares = tables.front_rows(report), importances(report)
    panels = [(f"scatter-{across.name}-{up.name}", across, up) for across, up in pairs(report)] if rows else []
    few = len(report.front) <= MOST_LABELS
    numbered = [*(number for _, number in _best(report)), *(s.number for s in report.front if few)]
    num_scores = {sum(o.name in mark.scores for o in report.objectives) for mark in found}
    return page(
        "study.html",
        styles=("page.css",),
        scripts=SCRIPTS,
        figures={name: scatter(report, across, up, found, named=False) for name, across, up in panels}
        | search_figures(report, shares),
        data={
            "study": printable(study.name),
            "file": re.sub(r"[^\w.-]+", "_", study.name) or "study",
            "promote": printable(promote or shlex.join(["autonas", "promote", study.name])),
            "numbered": list(dict.fromkeys(numbered)),
            "promotions": _printable(_promotions(study)),
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
        all_numbered=few,
        at_edges=any(0 < count < len(report.objectives) for count in num_scores),
        kinds=[(kind, _KIND_NAMES[kind], kind in SHOWN_AT_FIRST) for kind in _kinds_of(found)],
        cut=[(_KIND_NAMES[kind], count) for kind, count in cut.items()],
        most_of_a_kind=MOST_OF_A_KIND,
        parallel=parallel(report, found),
        search=search_section(report, shares),
        generations=generations(report),
        not_generated=left_out_text(report),
        promotions=tables.promotion_rows(study),
        runs=summary_table(runs) if runs else None,
        run_findings=[(name, f, title_of(f.check)) for name, values in (runs or {}).items() for f in findings_of(values)],
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
        best_of = "Fewest" if objective.name == "params" else "Best"
        found.append((f"{best_of} {objective.title.lower()}", best.number))
    return found


def _promotions(study: StudyRecord) -> list[dict[str, Any]]:
    """What the ledger remembers of the study's promotions."""
    known = study.attributes.get("promotions") or ()
    return [
        {
            "trial": each["trial"],
            "steps": each["steps"],
            "folder": each["folder"],
            "probability": each.get("probability"),
            "failed": "failed" in each,
        }
        for each in known
    ]


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
        "why": {str(stop.trial): text_of(stop) for stop in stops(report)},
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
