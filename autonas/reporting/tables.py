"""The report's tables as cells of text, ready for the template: no HTML, no arithmetic beyond layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autonas.arch import ArchSpec
from autonas.reporting.finals import Z95
from autonas.reporting.history import beats
from autonas.reporting.marks import kind_of
from autonas.reporting.quantities import (
    common_error,
    half_width,
    interval_text,
    probability_text,
    score_text,
    spec_text,
)
from autonas.reporting.report import Report, Standing
from autonas.reporting.scales import Scale
from autonas.trial import Score, StudyRecord, TrialRecord

BAR_WIDTH = 88
_BAR_MARGIN = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCell:
    """A score with its interval, in words and as a bar on the scale that its column shares."""

    text: str
    interval: str
    sort: float
    low: float
    at: float
    high: float
    exact: bool
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontRow:
    number: int
    kind: str
    within_noise: bool
    spec: str
    probability: float
    probability_text: str
    cells: tuple[ScoreCell, ...]
    difference: str
    difference_error: str
    difference_sort: float
    seeds: int
    gap: str
    gap_error: str  # half of its interval
    gap_note: str
    beats: str


def front_rows(report: Report) -> tuple[FrontRow, ...]:
    """One row for every final trial, the front first."""
    columns = []
    for objective in report.objectives:
        scores = [standing.trial.scores[objective.name] for standing in report.standings]
        columns.append(_cells(scores, log=objective.before_training))
    return tuple(
        _front_row(standing, cells) for standing, cells in zip(report.standings, zip(*columns, strict=True), strict=True)
    )


def facts(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as flat (name, value) pairs of text, for a definition list. Empty values are left out."""
    pairs: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping) and not any(isinstance(inner, Mapping) for inner in value.values()):
            pairs.append((name, ", ".join(f"{inner} {told}" for inner, told in value.items() if told is not None)))
        elif isinstance(value, Mapping):
            pairs += facts(value, f"{name}: ")
        elif isinstance(value, list | tuple):
            if value:
                pairs.append((name, ", ".join(map(str, value))))
        elif value is not None and value != "":
            pairs.append((name, f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)))
    return pairs


def calibration_rows(points: Iterable[Mapping[str, Any]]) -> tuple[list[float], list[tuple[str, list[tuple[str, bool]]]]]:
    """Learning rates, and for each shape its losses at them, each with whether it is the shape's best."""
    rates = sorted({float(point["rate"]) for point in points})
    by_shape: dict[str, dict[float, Any]] = {}
    for point in points:
        spec = ArchSpec.from_dict({name: value for name, value in point["shape"].items() if name != "learning_rate"})
        by_shape.setdefault(spec_text(spec), {})[float(point["rate"])] = point
    rows = []
    for shape, by_rate in by_shape.items():
        losses = {rate: point["val_loss"] for rate, point in by_rate.items() if point.get("val_loss") is not None}
        best = min(losses, key=lambda rate: losses[rate]) if losses else None
        cells = [(_calibration_text(by_rate.get(rate)), rate == best) for rate in rates]
        rows.append((shape, cells))
    return rates, rows


def reached(trial: TrialRecord) -> str:
    """How far a trial came, in words."""
    if not trial.rungs:
        return "not trained" if trial.state == "infeasible" else "no rung"
    return f"rung {trial.rungs[-1].rung}"


def message(trial: TrialRecord) -> str:
    """Why an infeasible trial is so, without the rule in front; why any other ended."""
    _, colon, rest = trial.reason.partition(": ")
    return rest if trial.state == "infeasible" and colon else trial.reason


def _front_row(standing: Standing, cells: tuple[ScoreCell, ...]) -> FrontRow:
    trial, difference = standing.trial, standing.difference
    gap = trial.scores.get("gap")
    beaten = [name for name in trial.outcome.baselines if beats(trial.outcome, name)]
    is_best = difference is not None and difference.error == 0.0
    return FrontRow(
        number=standing.number,
        kind=kind_of(standing),
        within_noise=standing.within_noise,
        spec=spec_text(trial.spec),
        probability=standing.probability,
        probability_text=probability_text(standing.probability),
        cells=cells,
        difference="–" if difference is None else "best" if is_best else f"+{difference.value:.3f}",
        difference_error="" if difference is None or is_best else f"± {Z95 * difference.error:.3f}",
        difference_sort=0.0 if difference is None else difference.value,
        seeds=trial.seeds,
        gap="–" if gap is None else f"{round(gap.value, 2) or 0.0:+.2f}".replace("-", "−"),
        gap_error="" if gap is None else f"± {half_width(gap):.2f}",
        gap_note="" if gap is None else gap.note,
        beats=", ".join(beaten) if beaten else "none" if trial.outcome.baselines else "–",
    )


def _cells(scores: Sequence[Score], *, log: bool) -> list[ScoreCell]:
    ends = [end for score in scores for end in (score.low, score.high)]
    scale = Scale.over(ends, _BAR_MARGIN, BAR_WIDTH - _BAR_MARGIN, log=log, margin=0.0)
    error = common_error(scores)
    return [
        ScoreCell(
            text=score_text(score, error),
            interval=interval_text(score, error),
            sort=score.value,
            low=scale.at(score.low),
            at=scale.at(score.value),
            high=scale.at(score.high),
            exact=score.low == score.high,
            note=score.note,
        )
        for score in scores
    ]


def _calibration_text(point: Mapping[str, Any] | None) -> str:
    if point is None:
        return "–"
    return str(point.get("failure") or "failed") if point.get("val_loss") is None else f"{point['val_loss']:.3f}"


def promotion_rows(study: StudyRecord) -> list[dict[str, str]]:
    """What the ledger remembers of the study's promotions, in words."""
    rows = []
    for each in study.attributes.get("promotions") or ():
        chance, failed = each.get("probability"), each.get("failed")
        end = f" Its run made way for the next: {failed}" if failed else ""
        rows.append(
            {
                "trial": str(each["trial"]),
                "steps": f"{each['steps']:,}",
                "probability": "–" if chance is None else probability_text(float(chance)),
                "text": f"{each.get('reason', '')}{end} ({each['folder']})".strip(),
            }
        )
    return rows
