"""Learning curves as coordinates: every trial's trunk, the cooldown fork of each rung and the score at its end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autonas.reporting.charts import Frame
from autonas.reporting.labels import spread
from autonas.reporting.marks import kind_of
from autonas.reporting.report import Report
from autonas.reporting.scales import Scale
from autonas.trial import Outcome, TrialRecord

# Points per curve: enough for the eye, and for a thousand trials still a file that opens at once.
_POINTS, _POINTS_OF_MANY, _MANY = 120, 24, 100
_MAX_LABELS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    trial: int
    kind: str  # "knee", "front", "final", "stopped", "infeasible", "failed" or "live"
    path: str  # training loss of the trunk
    forks: str  # from the trunk through a rung's cooldown to its validation loss
    scores: tuple[tuple[float, float], ...]  # validation loss at each rung
    label_y: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    name: str
    x1: float
    x2: float
    y: float
    rung: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    frame: Frame
    curves: tuple[Curve, ...]  # what matters most comes last, and is drawn on top
    baselines: tuple[Baseline, ...]


def curves(report: Report, width: int = 560, height: int = 360) -> Curves | None:
    """Loss over tokens (logarithmic) of all trials that trained; None when none did. Repeats are left out."""
    trials = [trial for trial in report.study.trials if trial.rungs and trial.repeat_of is None]
    if not trials:
        return None
    left, right, top, bottom = 44.0, width - 46.0, 26.0, height - 36.0
    ceiling = _ceiling(report)
    drawn = [place for trial in trials for outcome in trial.rungs for place in outcome.curve if place[1] <= ceiling]
    tokens = [float(place[0]) for place in drawn] + [float(o.tokens) for trial in trials for o in trial.rungs]
    losses = [loss for _, loss in drawn]
    losses += [score.value for trial in trials for o in trial.rungs if (score := o.scores.get("val_loss")) is not None]
    losses += [value for summary in report.rungs for span in summary.baselines.values() for value in span]
    across = Scale.over(tokens, left, right, log=True, margin=0.0)
    up = Scale.over(losses, bottom, top, margin=0.04)
    kinds = {standing.number: kind_of(standing) for standing in report.standings}
    order = ["failed", "infeasible", "stopped", "live", "complete", "final", "front", "knee"]
    stacked = sorted(trials, key=lambda trial: order.index(kinds.get(trial.number, trial.state)))
    most = _POINTS if len(trials) <= _MANY else _POINTS_OF_MANY
    made = [_curve(trial, kinds.get(trial.number, trial.state), report.rung_tokens, across, up, most) for trial in stacked]
    frame = Frame(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_title="tokens shown",
        y_title="Loss, nats per token",
        x_ticks=across.ticks("tokens", 6),
        y_ticks=up.ticks("", 6),
    )
    return Curves(frame=frame, curves=_labelled(made, top, bottom), baselines=_baselines(report, across, up))


def _curve(trial: TrialRecord, kind: str, rungs: Sequence[int], across: Scale, up: Scale, most: int) -> Curve:
    trunk: dict[int, float] = {}
    forks: list[str] = []
    scores: list[tuple[float, float]] = []
    for outcome in trial.rungs:
        limit = rungs[outcome.rung] if outcome.rung < len(rungs) else outcome.tokens
        trunk |= {tokens: loss for tokens, loss in outcome.curve if tokens <= limit}
        fork = [(tokens, loss) for tokens, loss in outcome.curve if tokens > limit]
        end = _score_place(outcome, across, up)
        if end is not None:
            scores.append(end)
        start = [(max(trunk), trunk[max(trunk)])] if trunk else []
        places = [(across.at(tokens), up.at(loss)) for tokens, loss in _thinned([*start, *fork], most)]
        if len(places) + (end is not None) > 1:
            forks.append(_path([*places, end] if end is not None else places))
    # The first steps, far above a unigram model, would press what matters into a corner: curves enter at the top.
    points = _thinned([(tokens, loss) for tokens, loss in sorted(trunk.items()) if loss <= up.high], most)
    path = _path([(across.at(tokens), up.at(loss)) for tokens, loss in points])
    return Curve(trial=trial.number, kind=kind, path=path, forks="".join(forks), scores=tuple(scores), label_y=None)


def _ceiling(report: Report) -> float:
    """The greatest training loss worth drawing: a little above what counting tokens achieves."""
    unigrams = [summary.baselines["unigram"][1] for summary in report.rungs if "unigram" in summary.baselines]
    return max(unigrams) + 0.3 if unigrams else math.inf


def _score_place(outcome: Outcome, across: Scale, up: Scale) -> tuple[float, float] | None:
    score = outcome.scores.get("val_loss")
    return None if score is None else (across.at(outcome.tokens), up.at(score.value))


def _labelled(made: Sequence[Curve], top: float, bottom: float) -> tuple[Curve, ...]:
    """The front's curves named at their ends, apart from each other."""
    named = [i for i, curve in enumerate(made) if curve.kind in ("front", "knee") and curve.scores]
    if len(named) > _MAX_LABELS:
        return tuple(made)
    heights = spread([made[i].scores[-1][1] + 4 for i in named], 13, top, bottom)
    labels = dict(zip(named, heights, strict=True))
    return tuple(
        Curve(
            trial=curve.trial,
            kind=curve.kind,
            path=curve.path,
            forks=curve.forks,
            scores=curve.scores,
            label_y=labels.get(i),
        )
        for i, curve in enumerate(made)
    )


def _baselines(report: Report, across: Scale, up: Scale) -> tuple[Baseline, ...]:
    """A short level line around each rung's end: models of counts fitted on the tokens that trials had been shown there."""
    result = []
    for summary in report.rungs:
        end = across.at(summary.tokens + (summary.cooldown_tokens or 0))
        for name, (low, high) in summary.baselines.items():
            y = up.at((low + high) / 2)
            result.append(Baseline(name=name, x1=round(end - 46, 1), x2=round(end + 6, 1), y=y, rung=summary.rung))
    return tuple(result)


def _thinned(points: Sequence[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """At most about `most` of the points, the last always among them."""
    step = max(1, -(-len(points) // most))
    return [*points[:-1:step], *points[-1:]]


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in places) if places else ""
