"""A study's progress in words: its hypervolume, random search beside it, what more training would buy, ranks between rungs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autonas.reporting.control import LEAST_CONTROLS
from autonas.reporting.quantities import duration_text, probability_text, tokens_text
from autonas.reporting.report import Control, RankAgreement, Report, Standing


def hypervolume_text(report: Report) -> str:
    """The hypervolume with its interval, what it cost, and what noise would have added; empty without a final trial."""
    if not report.hypervolume or report.hypervolume_measured is None:
        return ""
    last = report.hypervolume[-1]
    rate = "" if (per_hour := hypervolume_per_hour(report)) is None else f", {per_hour:.2f} per hour"
    spent = f"{duration_text(report.train_seconds)} of training on {tokens_text(report.train_tokens)} tokens"
    return (
        f"Hypervolume {last.value:.3f} ({last.low:.3f}–{last.high:.3f}) after {spent}{rate}; "
        f"the measured values as they stand give {report.hypervolume_measured:.3f}."
    )


def control_text(report: Report) -> str:
    """What random search alone would have reached, and how its trials were treated; empty where nothing was drawn at random."""
    control = report.control
    if control is None:
        return ""
    dropped = _dropped_text(control)
    if control.value is None or control.own is None:
        if control.trials >= LEAST_CONTROLS:
            why = f"of {control.trials} trials drawn at random, {_finished(control) or 'none'} was scored at the last rung"
            return f"What random search alone would have reached cannot be told: {why}.{dropped}"
        drawn = "one trial was" if control.trials == 1 else f"{control.trials} trials were"
        return f"Only {drawn} drawn at random, too few to tell what random search alone would have reached."
    tokens = control.by_tokens
    others = "" if tokens is None else f"; with as many tokens {tokens.value:.3f} ({tokens.low:.3f}–{tokens.high:.3f})"
    if (soonest := control.by_elapsed) is not None:
        span = f"{soonest.value:.3f} ({soonest.low:.3f}–{soonest.high:.3f})"
        others += f"; in the time until the last trial finished, never idle, {span}"
    return (
        f"Random search alone would have reached {control.value:.3f} (95 % interval {control.low:.3f}–{control.high:.3f}) with "
        f"as many seconds of training{others}, scaled up from {control.trials} random trials that reached "
        f"{control.own:.3f} in {duration_text(control.train_s)}.{dropped}"
    )


def prospect_text(report: Report) -> str:
    """What more training would buy, and how that forecast would have done so far; empty without a final trial."""
    if not report.hypervolume:
        return ""
    prospect = report.prospect
    if prospect is None or prospect.value <= 0.0:
        return "Too little has happened to tell what more training would buy."
    more = "hour" if prospect.ahead_s == 3600 else duration_text(prospect.ahead_s)
    span = _span(prospect.low / prospect.value, prospect.high / prospect.value)
    text = (
        f"Another {more} of training would raise it by {_percent(prospect.gain / prospect.value)} ({span}, nine times in ten)."
    )
    if prospect.foretold_low is None or prospect.foretold_high is None or prospect.came is None:
        return text
    before = prospect.value - prospect.came
    if before <= 0.0:
        return text
    held = "held" if prospect.foretold_low <= prospect.came <= prospect.foretold_high else "did not hold"
    foretold = _span(prospect.foretold_low / before, prospect.foretold_high / before)
    return (
        f"{text} Made after two thirds of the training, the forecast for the last third would have been {foretold}; "
        f"{_percent(prospect.came / before)} came, so it {held}."
    )


def near_text(near: Sequence[Standing], most: int = 8) -> str:
    """The trials that are off the front by no more than noise; empty when there are none."""
    if not near:
        return ""
    listed = ", ".join(f"{standing.number} ({probability_text(standing.probability)})" for standing in near[:most])
    more = f" and {len(near) - most} more" if len(near) > most else ""
    return f"Off the front by less than a standard error: {listed}{more}."


def agreements(report: Report) -> list[RankAgreement]:
    """Every pair of rungs whose ranks are compared: with the next, then with the last."""
    pairs = [rung.with_next for rung in report.rungs] + [rung.with_last for rung in report.rungs]
    return sorted((pair for pair in pairs if pair is not None), key=lambda pair: (pair.rung, pair.later))


def agreement_text(pair: RankAgreement) -> str:
    """Kendall's τ with its interval, or that it cannot be told."""
    if pair.value is None or pair.low is None or pair.high is None:
        return f"cannot be told from {pair.pairs} trial{'' if pair.pairs == 1 else 's'}"
    return f"{pair.value:.2f} ({pair.low:.2f} to {pair.high:.2f})"


def hypervolume_per_hour(report: Report) -> float | None:
    """The hypervolume over the hours of training spent; None where there is neither."""
    if not report.hypervolume or report.train_seconds <= 0.0:
        return None
    return report.hypervolume[-1].value / (report.train_seconds / 3600)


def progress_json(report: Report) -> dict[str, Any]:
    """All of this as JSON, for `autonas status --json`; what cannot be told is null."""
    last = report.hypervolume[-1] if report.hypervolume else None
    control, prospect = report.control, report.prospect
    return {
        "hypervolume": None if last is None else last.value,
        "hypervolume_low": None if last is None else last.low,
        "hypervolume_high": None if last is None else last.high,
        "hypervolume_measured": report.hypervolume_measured,
        "hypervolume_per_hour": hypervolume_per_hour(report),
        "reference": dict(report.reference),
        "reference_fixed": report.reference_is_fixed,
        "train_s": report.train_seconds,
        "train_tokens": report.train_tokens,
        "near_front": [{"trial": s.number, "probability": s.probability, "within_noise": s.within_noise} for s in report.near],
        "random_control": None
        if control is None
        else {
            "trials": control.trials,
            "stopped": control.stopped,
            "train_s": control.train_s,
            "own": control.own,
            "value": control.value,
            "low": control.low,
            "high": control.high,
        },
        "forecast": None
        if prospect is None
        else {
            "ahead_s": prospect.ahead_s,
            "gain": prospect.gain,
            "low": prospect.low,
            "high": prospect.high,
            "foretold": None if prospect.came is None else {"low": prospect.foretold_low, "high": prospect.foretold_high},
            "came": prospect.came,
        },
        "rank_agreement": [
            {
                "rung": pair.rung,
                "later": pair.later,
                "pairs": pair.pairs,
                "scored": pair.scored,
                "controls": pair.controls,
                "kendall_tau": pair.value,
                "low": pair.low,
                "high": pair.high,
                "unselected": pair.unselected,
            }
            for pair in agreements(report)
        ],
    }


def _percent(share: float) -> str:
    """A growth in per cent, with the digits it deserves."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def _span(low: float, high: float) -> str:
    return f"{_percent(low).removesuffix(' %')} to {_percent(high)}"


def _finished(control: Control) -> int:
    return control.trials - control.stopped - control.unfinished


def _dropped_text(control: Control) -> str:
    """What became of random trials that did not reach the last rung, and what that does to random search."""
    parts = []
    if control.stopped:
        parts.append(f"{control.stopped} {_were(control.stopped)} stopped by this search's own scheduler")
    if control.unfinished:
        parts.append(f"{control.unfinished} failed, {_were(control.unfinished)} infeasible or left unscored")
    if not parts:
        return ""
    text = f" Of the random trials {' and '.join(parts)}: they count with their cost and as finding nothing."
    if control.stopped:
        text += " They were compared with what the search had chosen, so random search may be set too low by this."
    return text


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
