"""A report as one HTML file that opens offline: nothing is loaded from anywhere, and no text of a study can run as a script.

What is drawn is worked out in charts.py, curves.py and tables.py; study.html, page.css and study.js say how it looks. The
page is complete without scripts; its script links the drawings.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from autonas.errors import resource_error
from autonas.pages.html import asset, content_digest, embedded_json, page_environment
from autonas.reporting import charts, quantities, tables
from autonas.reporting.curves import curves
from autonas.reporting.evaluation import Values, findings_of, summary_table, title_of
from autonas.reporting.front import build_report
from autonas.reporting.generations import generations
from autonas.reporting.progress import agreement_text, agreements, control_text, hypervolume_text, prospect_text
from autonas.reporting.report import Report
from autonas.reporting.steps import steps
from autonas.trial import StudyRecord


def write_report(study: StudyRecord, path: str | os.PathLike[str], runs: Mapping[str, Values] | None = None) -> Path:
    """Write the report of a study to `path`, whole or not at all; missing folders are made. Returns the path.

    `runs` are the evaluations of its full runs, by folder.

    Raises:
        ResourceError: no space or no permission there.
    """
    target = Path(path)
    text = render(build_report(study), runs).encode("utf-8")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            draft.write_bytes(text)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise resource_error(error, target) from error
    return target


def render(report: Report, runs: Mapping[str, Values] | None = None) -> str:
    """The HTML of a report. The same report gives the same bytes."""
    style, script = asset("page.css"), asset("study.js")
    assert "</" not in style and "</script" not in script
    study = report.study
    calibration = study.attributes.get("calibration") or {}
    rates, calibrated = tables.calibration_rows(calibration.get("points") or [])
    return (
        page_environment()
        .get_template("study.html")
        .render(
            report=report,
            study=study,
            attributes=study.attributes,
            rows=tables.front_rows(report),
            bar_width=tables.BAR_WIDTH,
            scatters=charts.scatters(report),
            parallel=charts.parallel(report),
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
            provenance=_provenance(report),
            recipe=json.dumps(study.recipe, indent=2, ensure_ascii=False, default=str),
            policy=f"default-src 'none'; style-src '{content_digest(style)}'; script-src '{content_digest(script)}'",
            style=Markup(style),
            script=Markup(script),
            data=embedded_json({"trials": tables.trial_details(report)}),
        )
    )


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
