"""Where studies stand, as text for terminals: all of them as one table, or one of them fact by fact. What is said is given.

A status is what `autonas status --json` prints; the order of lines does not depend on what has happened, so that a page that
is printed again and again stands still.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autonas.reporting.columns import WIDTH, Column, command_lines, facts, fitted, paragraph, tables
from autonas.reporting.quantities import duration_text

Status = Mapping[str, Any]


def text_statuses(statuses: Sequence[Status], commands: Mapping[str, Sequence[str]], width: int = WIDTH) -> str:
    """Several studies as one table, and below it the `commands`, by study, that go on with what is not finished."""
    states = [status["trials"] for status in statuses]
    columns = [
        Column(name="state", cells=[status["state"] for status in statuses], left=True),
        Column(name="trials", cells=[f"{trials['begun']}/{trials['wanted']}" for trials in states]),
        Column(name="failed", cells=[str(trials["failed"]) for trials in states]),
        Column(name="front", cells=[str(status["front"]) for status in statuses]),
        Column(name="hyper-", unit="volume", cells=[_number(status["hypervolume"]) for status in statuses]),
        Column(name="so far", cells=[_coarse(status["spent_s"] or 0.0) for status in statuses]),
        Column(name="left", cells=["" if s["left_s"] is None else _coarse(s["left_s"]) for s in statuses]),
    ]
    room = max(width - sum(column.width(width) + 2 for column in columns), 12)  # for the names
    first = Column(name="study", cells=[fitted(status["study"], room) for status in statuses], left=True)
    lines = [line for table in tables(first, columns, width) for line in (*table, "")]
    for name, wanted in commands.items():
        lines += [f"To go on with {fitted(name, width - 16)}:", *(line for c in wanted for line in command_lines(c, width)), ""]
    return "\n".join(lines[:-1])


def text_status(status: Status, commands: Sequence[tuple[str, str]] = (), width: int = WIDTH) -> str:
    """One study, fact by fact; `commands` are what may be done next, each with its reason."""
    closed = f" ({status['closed']})" if status["closed"] else ""
    lines = [fitted(f"{fitted(status['study'], width // 2)}: {status['state']}{closed}", width)]
    lines += facts([*_trial_facts(status), *_front_facts(status), *_time_facts(status), *_promotion_facts(status)], width)
    for reason, command in commands:
        lines += ["", *paragraph(f"{reason}:", width), *command_lines(command, width)]
    return "\n".join(lines)


def _trial_facts(status: Status) -> list[tuple[str, str]]:
    trials = status["trials"]
    states = ", ".join(f"{trials[s]} {s}" for s in ("live", "complete", "stopped", "infeasible", "failed") if trials[s])
    repeats = f" and {trials['repeats']} repeated" if trials["repeats"] else ""
    rows = [("trials", f"{trials['begun']} of {trials['wanted']} begun{repeats}; {states or 'none yet'}")]
    rows.append(("rungs", ", ".join(f"{count} at rung {rung}" for rung, count in enumerate(status["rungs"]))))
    if status["failures"]:
        rows.append(("failures", ", ".join(f"{count} {kind}" for kind, count in status["failures"].items())))
    if status["retries"]:
        rows.append(("retries", f"{status['retries']} jobs were tried again"))
    return rows


def _front_facts(status: Status) -> list[tuple[str, str]]:
    """How good the front is, how sure that is, and what more training would buy."""
    if (value := status["hypervolume"]) is None:
        return []
    near = f"; {len(status['near_front'])} more within a standard error" if status["near_front"] else ""
    interval = f"{status['hypervolume_low']:.3f}–{status['hypervolume_high']:.3f}"
    rows = [("front", f"{status['front']} trials, hypervolume {value:.3f} ({interval}){near}")]
    control, forecast = status["random_control"], status["forecast"]
    if control is not None and control["value"] is not None:
        span = f"{control['low']:.3f}–{control['high']:.3f}"
        rows.append(("random", f"search alone would have {control['value']:.3f} ({span}) for as much training"))
    if forecast is not None and value > 0.0:
        gain, low, high = (f"{100 * forecast[name] / value:.1f}" for name in ("gain", "low", "high"))
        rows.append(("forecast", f"{duration_text(forecast['ahead_s'])} more training would add {gain} % ({low}–{high} %)"))
    told = [pair for pair in status["rank_agreement"] if pair["kendall_tau"] is not None]
    if told:
        pair = max((pair for pair in told if pair["rung"] == told[0]["rung"]), key=lambda pair: int(pair["later"]))
        agreement = f"{pair['kendall_tau']:.2f} ({pair['low']:.2f} to {pair['high']:.2f})"
        rows.append(("ranks", f"Kendall's τ {agreement} between rungs {pair['rung']} and {pair['later']}"))
    return rows


def _time_facts(status: Status) -> list[tuple[str, str]]:
    left = f", about {duration_text(status['left_s'])} left" if status["left_s"] is not None else ""
    return [("time", f"{duration_text(status['spent_s'] or 0.0)} so far{left}")]


def _promotion_facts(status: Status) -> list[tuple[str, str]]:
    rows = []
    for each in status["promotions"]:
        rows.append(("promotion", f"trial {each['trial']}, {each['steps']:,} steps: {each['state']}, in {each['folder']}"))
        if (where := each.get("progress")) is not None:
            left = f", about {duration_text(where['left_s'])} left" if where["left_s"] and each["state"] == "running" else ""
            best = f", validation loss {where['val_loss']:.3f}" if where["val_loss"] is not None else ""
            rows.append(("trained", f"{where['tokens'] / where['total_tokens']:.0%}{best}{left}"))
    for each in status["second_looks"]:
        numbers = ", ".join(map(str, each["candidates"]))
        told = f"of trial {numbers}, {each['steps']:,} steps: second look {each['state']}, in {each['folder']}"
        rows.append(("promotion", told))
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _coarse(seconds: float) -> str:
    """A duration in one unit: 45 s, 12 min, 3.5 h, 12 d."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 9.95 else f"{hours:.0f} h" if hours < 99.5 else f"{hours / 24:.0f} d"
