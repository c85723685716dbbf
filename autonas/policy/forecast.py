"""How long training takes on this machine, from what has been trained so far. Arithmetic on records; reads no clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autonas import cost
from autonas.arch import ArchSpec
from autonas.trial import StudyRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """`tokens` of training of an architecture took `seconds`, scoring included."""

    spec: ArchSpec
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Seconds = tokens · (per_token + per_flop · FLOPs of a token's training): fixed work per step, and arithmetic."""

    per_token: float
    per_flop: float

    def seconds(self, spec: ArchSpec, tokens: int) -> float:
        """How long `tokens` of training of `spec` will take."""
        return tokens * (self.per_token + self.per_flop * cost.training_flops_per_token(spec))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpolated:
    """Seconds per FLOP between shapes that were timed, along the logarithm of a token's FLOPs; beyond them the nearest's."""

    log_flops: tuple[float, ...]  # rising
    per_flop: tuple[float, ...]

    def seconds(self, spec: ArchSpec, tokens: int) -> float:
        """How long `tokens` of training of `spec` will take."""
        flops = cost.training_flops_per_token(spec)
        return tokens * flops * float(np.interp(math.log(flops), self.log_flops, self.per_flop))


def interpolate(seconds_per_token: Sequence[tuple[ArchSpec, float]]) -> Interpolated:
    """The forecast that is exact at every shape given; of shapes with the same FLOPs, at their mean. At least one is given."""
    rates: dict[int, list[float]] = {}
    for spec, seconds in seconds_per_token:
        flops = cost.training_flops_per_token(spec)
        rates.setdefault(flops, []).append(seconds / flops)
    ordered = sorted(rates)
    return Interpolated(
        log_flops=tuple(math.log(flops) for flops in ordered),
        per_flop=tuple(sum(rates[flops]) / len(rates[flops]) for flops in ordered),
    )


def fit(observations: Iterable[Observation]) -> Forecast | None:
    """The least-squares forecast with no negative part; None without observations."""
    seen = [o for o in observations if o.tokens > 0]
    if not seen:
        return None
    flops = np.array([cost.training_flops_per_token(o.spec) for o in seen], dtype=float)
    tokens = np.array([o.tokens for o in seen], dtype=float)
    seconds = np.array([o.seconds for o in seen])
    if len(seen) > 1:
        columns = np.stack([tokens, tokens * flops], axis=1)
        scale = columns.max(axis=0)
        solution = np.linalg.lstsq(columns / scale, seconds, rcond=None)[0] / scale
        if (solution >= 0).all():
            return Forecast(per_token=float(solution[0]), per_flop=float(solution[1]))
    return Forecast(per_token=0.0, per_flop=float(seconds.sum() / (tokens * flops).sum()))


def observations(study: StudyRecord) -> list[Observation]:
    """What a study's finished rungs tell: the tokens that each job trained (trunk and cooldown) and the time it took."""
    return [
        Observation(spec=trial.spec, tokens=outcome.new_tokens, seconds=outcome.seconds)
        for trial in study.trials
        for outcome in trial.rungs
        if trial.spec is not None
    ]
