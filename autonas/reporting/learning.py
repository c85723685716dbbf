"""Learning curves as numbers: every trial's trunk, the cooldown fork of each rung and the score at its end, thinned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autonas.reporting.report import Report
from autonas.trial import TrialRecord

Point = tuple[int, float]  # (tokens, nats per token)

# Points per curve: enough for the eye, and for hundreds of trials still a file that opens at once.
_POINTS, _POINTS_OF_MANY, _MANY = 120, 24, 100
MOST_CURVES = 600
# What becomes of a trial; what matters most comes last, and is drawn on top.
ORDER = ("failed", "infeasible", "stopped", "live", "final", "front", "knee")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningCurve:
    """One trial's training loss, and its validation loss at each rung that it was scored at."""

    trial: int
    kind: str  # of ORDER
    trunk: tuple[Point, ...]
    forks: tuple[tuple[Point, ...], ...]  # from the trunk through a rung's cooldown to its validation loss
    scores: tuple[tuple[int, int, float], ...]  # (rung, tokens, validation loss)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What models of counts, fitted on the tokens that trials had been shown at a rung, achieve: least and greatest loss."""

    name: str
    rung: int
    tokens: int  # cooldown included
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """The curves of the trials that trained, repeats aside. Of more than `MOST_CURVES`, final trials and some others."""

    curves: tuple[LearningCurve, ...]  # in ORDER
    trained: int
    baselines: tuple[Baseline, ...]


def learning(report: Report) -> Learning | None:
    """All learning curves; None when no trial has been scored at a rung."""
    trained = [trial for trial in report.study.trials if trial.rungs and trial.repeat_of is None]
    if not trained:
        return None
    kinds = kinds_of(report)
    shown = _chosen(trained, kinds)
    most = _POINTS if len(shown) <= _MANY else _POINTS_OF_MANY
    ceiling = _ceiling(report)
    made = [_curve(trial, kinds[trial.number], report.rung_tokens, ceiling, most) for trial in shown]
    return Learning(
        curves=tuple(sorted(made, key=lambda curve: ORDER.index(curve.kind))),
        trained=len(trained),
        baselines=tuple(
            Baseline(name=name, rung=rung.rung, tokens=rung.tokens + (rung.cooldown_tokens or 0), low=low, high=high)
            for rung in report.rungs
            for name, (low, high) in rung.baselines.items()
        ),
    )


def kinds_of(report: Report) -> dict[int, str]:
    """By trial, what became of it, as `ORDER` has it; one at its end that lacks an objective's score is "final"."""
    kinds = {trial.number: "final" if trial.state == "complete" else str(trial.state) for trial in report.study.trials}
    placed = {s.number: "knee" if s.is_knee else "front" if s.on_front else "final" for s in report.standings}
    return kinds | placed


def _chosen(trained: Sequence[TrialRecord], kinds: dict[int, str]) -> Sequence[TrialRecord]:
    """At most `MOST_CURVES`: the front, then final trials, then others, each evenly over the study."""
    chosen: list[TrialRecord] = []
    groups = (("knee", "front"), ("final",), ("stopped", "live", "infeasible", "failed"))
    for group in groups:
        room = MOST_CURVES - len(chosen)
        own = [trial for trial in trained if kinds[trial.number] in group]
        chosen += own if len(own) <= room else [own[i * len(own) // room] for i in range(room)]
    return chosen


def _ceiling(report: Report) -> float:
    """The greatest training loss worth drawing: a little above what counting tokens achieves.

    The first steps, far above a unigram model, would press what matters into a corner.
    """
    unigrams = [summary.baselines["unigram"][1] for summary in report.rungs if "unigram" in summary.baselines]
    return max(unigrams) + 0.3 if unigrams else math.inf


def _curve(trial: TrialRecord, kind: str, rungs: Sequence[int], ceiling: float, most: int) -> LearningCurve:
    trunk: dict[int, float] = {}
    forks: list[tuple[Point, ...]] = []
    scores: list[tuple[int, int, float]] = []
    for outcome in trial.rungs:
        limit = rungs[outcome.rung] if outcome.rung < len(rungs) else outcome.tokens
        trunk |= {tokens: loss for tokens, loss in outcome.curve if tokens <= limit}
        fork = [(tokens, loss) for tokens, loss in outcome.curve if tokens > limit]
        start = [(max(trunk), trunk[max(trunk)])] if trunk else []
        score = outcome.scores.get("val_loss")
        end = []
        if score is not None:
            scores.append((outcome.rung, outcome.tokens, score.value))
            end = [(outcome.tokens, score.value)]
        places = [*_thinned([*start, *fork], most), *end]
        if len(places) > 1:
            forks.append(tuple(places))
    points = [(tokens, loss) for tokens, loss in sorted(trunk.items()) if loss <= ceiling]
    return LearningCurve(
        trial=trial.number, kind=kind, trunk=tuple(_thinned(points, most)), forks=tuple(forks), scores=tuple(scores)
    )


def _thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most about `most` of the points, the last always among them."""
    step = max(1, -(-len(points) // most))
    return [*points[:-1:step], *points[-1:]]
