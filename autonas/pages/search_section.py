"""The section "The search" of a study's page: its texts and tables, and the figures that belong to it.

How it looks is in search.html; the figures' places are there, by the names that `search_figures` gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autonas.figures import cost, curves, hypervolume, importance, ranks, timeline
from autonas.reporting.expenses import Expense, expenses, expenses_text
from autonas.reporting.importance import DimensionShare, Importance, importance_text, importances
from autonas.reporting.learning import MOST_CURVES, learning
from autonas.reporting.progress import agreement_text, agreements, control_text, hypervolume_text, prospect_text
from autonas.reporting.quantities import duration_text, scaled_text, tokens_text
from autonas.reporting.report import HypervolumePoint, Report
from autonas.reporting.stopping import rule_text, stops, text_of
from autonas.reporting.timeline import Timeline, timeline_text
from autonas.reporting.timeline import timeline as timeline_of

# Tables of a study with thousands of trials: so many rows, and words for the rest.
MOST_ROWS = 500
_MOST_DIMENSIONS = 40


def search_section(report: Report, found: Sequence[Importance] | None = None) -> dict[str, Any]:
    """What search.html shows, by name. `found`: what `importances` gave, where it is known; it takes a second or two."""
    shares = importances(report) if found is None else found
    progress = [text for text in (hypervolume_text(report), control_text(report), prospect_text(report)) if text]
    pairs = [(pair, agreement_text(pair)) for pair in agreements(report)]
    lanes = timeline_of(report.study)
    return {
        "hypervolume": _hypervolume(report, progress),
        "curves": _curves(report),
        "rungs": report.rungs,
        "stops": _stops(report),
        "ranks": {
            "pairs": pairs,
            "label": "Losses at one rung against those at a later one. Kendall's τ: "
            + "; ".join(f"rung {pair.rung} to {pair.later}, {text}" for pair, text in pairs)
            + ".",
            "drawn": any(pair.pairs for pair, _ in pairs),
        },
        "importance": _importance(report, shares),
        "flow": flow(report),
        "dropped": report.dropped,
        "workers": _workers(lanes),
        "cost": _cost(report),
    }


def search_figures(report: Report, found: Sequence[Importance] | None = None) -> dict[str, Any]:
    """The section's Plotly figures by name; those for which there is nothing to draw yet are left out. `found` as above."""
    made = {
        "hypervolume": hypervolume.hypervolume(report),
        "hypervolume-time": hypervolume.hypervolume(report, "elapsed_s"),
        "hypervolume-tokens": hypervolume.hypervolume(report, "tokens"),
        "curves": curves.curves(report),
        "ranks": ranks.ranks(report),
        "importance": importance.importance(report, found),
        "timeline": timeline.timeline(report),
        "cost": cost.cost(report),
    }
    return {name: figure for name, figure in made.items() if figure is not None}


def flow(report: Report) -> list[dict[str, Any]]:
    """Where the sampled trials went: one row per stage, each a bar of parts (name, count, what became of them)."""
    trials = [trial for trial in report.study.trials if trial.repeat_of is None]
    turned_away = sum(trial.state == "infeasible" and not trial.rungs for trial in trials)
    sampled = [("trained", len(trials) - turned_away, "on"), ("infeasible", turned_away, "infeasible")]
    rows: list[tuple[str, str, list[tuple[str, int, str]]]] = [("Sampled", "", sampled)]
    for rung in report.rungs:
        is_last = rung.rung == len(report.rungs) - 1
        parts = [
            ("finished" if is_last else "went on", rung.advanced, "on"),
            ("stopped", rung.stopped, "stopped"),
            ("infeasible", rung.infeasible, "infeasible"),
            ("failed on the way", rung.failed, "failed"),
            ("waiting", rung.waiting, "waiting"),
        ]
        rows.append((f"Rung {rung.rung}", f"{tokens_text(rung.tokens)} tokens", parts))
    if report.standings:
        front = len(report.front)
        parts = [("on the front", front, "front"), ("dominated", len(report.standings) - front, "stopped")]
        rows.append(("Front", "", parts))
    unit = 100 / max(len(trials), 1)
    return [{"title": title, "detail": detail, "parts": _laid_out(parts, unit)} for title, detail, parts in rows]


def _laid_out(parts: Sequence[tuple[str, int, str]], unit: float) -> list[dict[str, Any]]:
    """Bars beside one another, in per cent of the widest row."""
    result, start = [], 0.0
    for name, count, kind in parts:
        if count:
            result.append(
                {"name": name, "count": count, "kind": kind, "start": round(start, 3), "width": round(count * unit, 3)}
            )
            start += count * unit
    return result


def _hypervolume(report: Report, progress: Sequence[str]) -> dict[str, Any]:
    points = report.hypervolume
    shown = hypervolume.thinned(points) if points else []
    thinning = "" if len(shown) == len(points) else f"Of {len(points):,} moments {len(shown):,} are drawn."
    return {
        "drawn": bool(points),
        "progress": progress,
        "label": " ".join(["Hypervolume as trials finished.", *progress]),
        "rule": report.hypervolume_rule,
        "by_time": hypervolume.is_told(report, "elapsed_s"),
        "by_tokens": hypervolume.is_told(report, "tokens"),
        "thinning": thinning,
        "random": report.control is not None and bool(report.control.curve),
        "random_by_tokens": report.control is not None and report.control.by_tokens is not None,
        "random_by_time": report.control is not None and report.control.by_elapsed is not None,
        "forecast": report.prospect is not None,
        "rows": [
            {
                "trial": point.trial,
                "elapsed": duration_text(point.elapsed_s),
                "train": duration_text(point.train_s),
                "tokens": tokens_text(point.tokens),
                "value": f"{point.value:.3f}",
                "interval": f"{point.low:.3f}–{point.high:.3f}",
            }
            for point in _evenly(shown)
        ],
    }


def _evenly(rows: Sequence[HypervolumePoint]) -> list[HypervolumePoint]:
    """At most about `MOST_ROWS` of the rows, evenly, the last among them."""
    return [*rows[: -1 : max(-(-len(rows) // MOST_ROWS), 1)], *rows[-1:]]


def _curves(report: Report) -> dict[str, Any]:
    found = learning(report)
    if found is None:
        return {"drawn": False, "label": "", "thinning": ""}
    best = [
        f"rung {rung.rung}: best {rung.best:.3f}, median {rung.median:.3f}"
        for rung in report.rungs
        if rung.best is not None and rung.median is not None
    ]
    thinning = ""
    if len(found.curves) < found.trained:
        thinning = f"Of {found.trained:,} trials {MOST_CURVES} are drawn: the front first, the others evenly over the study."
    losses = f" Validation loss in nats per token: {'; '.join(best)}." if best else ""
    label = f"Learning curves of {found.trained} trial{'' if found.trained == 1 else 's'}.{losses}"
    return {"drawn": True, "label": label, "thinning": thinning}


def _stops(report: Report) -> dict[str, Any]:
    found = stops(report)
    rows = [
        {
            "trial": stop.trial,
            "rung": stop.rung,
            "loss": "–" if stop.loss is None else f"{stop.loss:.3f}",
            "rank": "–" if stop.rank is None else f"{stop.rank} of {stop.scored}",
            "text": text_of(stop),
        }
        for stop in found[:MOST_ROWS]
    ]
    more = "" if len(found) <= MOST_ROWS else f"The first {MOST_ROWS} of {len(found):,}, by rung and loss."
    return {"count": len(found), "rule": rule_text(report.study), "rows": rows, "more": more}


def _importance(report: Report, found: Sequence[Importance]) -> dict[str, Any]:
    told = [each for each in found if importance.tells(each)]
    by_name = [{share.name: share for share in each.shares} for each in told]
    greatest: dict[str, float] = {}
    for shares in by_name:
        for share in shares.values():
            greatest[share.name] = max(greatest.get(share.name, 0.0), share.value)
    names = sorted(greatest, key=lambda name: (-greatest[name], name))
    texts = [importance_text(each, report) for each in found]
    return {
        "drawn": bool(told),
        "texts": texts,
        "label": " ".join(["Importance of the dimensions for each objective.", *texts]),
        "columns": [each.objective.title for each in told],
        "rows": [
            {
                "name": name,
                "cells": [_share_text(shares.get(name)) for shares in by_name],
            }
            for name in names[:_MOST_DIMENSIONS]
        ],
        "drawn_dimensions": min(len(names), importance.MOST_DIMENSIONS),
        "dimensions": len(names),
    }


def _share_text(share: DimensionShare | None) -> str:
    return "–" if share is None else f"{100 * share.value:.0f} % ({100 * share.low:.0f}–{100 * share.high:.0f})"


def _workers(lanes: Timeline | None) -> dict[str, Any]:
    text = timeline_text(lanes)
    if lanes is None:
        return {"drawn": False, "text": text, "label": "", "thinning": "", "rows": [], "more": ""}
    rows = [
        {
            "place": place,
            "name": worker.name,
            "jobs": worker.jobs,
            "busy": duration_text(worker.busy_s),
            "idle": duration_text(worker.idle_s),
            "share": "–" if worker.present_s <= 0 else f"{100 * min(worker.busy_s / worker.present_s, 1.0):.0f} %",
        }
        for place, worker in enumerate(lanes.workers[:MOST_ROWS], 1)
    ]
    more = "" if len(lanes.workers) <= MOST_ROWS else f"The first {MOST_ROWS} of {len(lanes.workers):,}."
    label = f"Jobs of each worker over time. {text}"
    return {"drawn": True, "text": text, "label": label, "thinning": timeline.thinning_text(lanes), "rows": rows, "more": more}


def _cost(report: Report) -> dict[str, Any]:
    found = expenses(report)
    total = sum(expense.seconds for expense in found)
    rows = [
        {
            "purpose": expense.purpose,
            "jobs": expense.jobs or "–",
            "seconds": _time_of(expense),
            "share": "–" if total <= 0 or _is_untold(expense) else f"{100 * expense.seconds / total:.0f} %",
            "tokens": tokens_text(expense.tokens) if expense.tokens else "–",
            "flops": f"{scaled_text(expense.flops)}FLOP" if expense.flops else "–",
        }
        for expense in found
    ]
    largest = sorted((e for e in found if e.seconds > 0), key=lambda expense: -expense.seconds)[:3]
    named = ", ".join(f"{expense.purpose} {100 * expense.seconds / total:.0f} %" for expense in largest)
    return {
        "drawn": total > 0,
        "rows": rows,
        "total": duration_text(total),
        "text": expenses_text(report),
        "label": f"Time in jobs by purpose, {duration_text(total)} in all: {named}.",
    }


def _is_untold(expense: Expense) -> bool:
    return expense.jobs > 0 and expense.untold == expense.jobs


def _time_of(expense: Expense) -> str:
    if _is_untold(expense):
        return "not told"
    return duration_text(expense.seconds) + (f", {expense.untold} not told" if expense.untold else "")
