"""Which trial of a front is trained in full, and why, in words and numbers. Pure: no files, no clock, no torch.

The knee, the same as reports mark: each objective (sizes and times as logarithms) is scaled over the front, 0 at its best and
1 at its worst there, and the trial with the least

    distance = sqrt(Σ weight · scaled²)

is picked; weights are 1 where none is given. Limits leave out trials and do not change the scale. Ties go to the lower number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autonas.arch import ArchSpec
from autonas.errors import StudyError
from autonas.objective import OBJECTIVES, Objective
from autonas.reporting import history
from autonas.reporting.quantities import interval_text, probability_text, score_text, value_text
from autonas.reporting.report import Report, Standing
from autonas.reporting.uncertainty import difference

Array = NDArray[np.float64]

KNEE = "knee"
_Z95 = 1.96
_NOUNS = {
    "params": "the parameters",
    "memory": "the memory",
    "flops": "the FLOPs per token",
    "latency": "the latency",
    "prefill_latency": "the prefill latency",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What is wanted of the trial: the knee or the best in one objective, among those within the limits; or one by number."""

    select: str = KNEE
    trial: int | None = None
    limits: Mapping[str, float] = field(default_factory=dict)  # score -> the most it may be, in its unit
    weights: Mapping[str, float] = field(default_factory=dict)  # objective -> its weight in the distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another trial of the front, and what it would gain or cost against the pick, in words."""

    trial: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The chosen trial, how it was chosen, and why: sentences with its scores, its neighbours and its certainty."""

    trial: int
    spec: ArchSpec
    method: str
    reason: str
    probability: float  # of being on the front
    alternatives: tuple[Alternative, ...]
    num_front: int
    num_within: int  # of the front, within the limits


def choose(report: Report, preference: Preference) -> Pick:
    """The trial of the study's front that `preference` asks for.

    Raises:
        StudyError: the front is empty, the trial is not on it, a name is not known, or the limits leave nothing.
    """
    return choose_several(report, preference, 1)[0]


def choose_several(report: Report, preference: Preference, count: int) -> tuple[Pick, ...]:
    """The pick, and after it up to `count` - 1 others, the best by the preference first; beside a named trial, the knee first.

    Raises:
        StudyError: as `choose`.
    """
    front = report.front
    if not front:
        raise StudyError(
            f"the study {report.study.name!r} has no front yet: no trial has completed its last rung. "
            "Go on with its search (`autonas search … --resume`) first."
        )
    _check_names(preference, front, report.objectives)
    within = [standing for standing in front if not _beyond(standing, preference.limits)]
    distances = distances_on(front, report.objectives, preference.weights)
    ordered = _ordered(within, distances, preference)
    whys = {s.number: _why(ordered, place, distances, preference) for place, s in enumerate(ordered)}
    method = "weights" if preference.select == KNEE and preference.weights else preference.select
    if preference.trial is not None:
        picked = _by_number(report, preference.trial)
        ordered = [picked, *(standing for standing in ordered if standing.number != picked.number)]
        whys[picked.number] = f"trial {picked.number} was asked for"
    elif not within:
        raise StudyError(_nothing_left(front, preference.limits))
    found = []
    for standing in ordered[:count]:
        alternatives = _alternatives(report, standing)
        named = standing.number == preference.trial
        found.append(
            Pick(
                trial=standing.number,
                spec=standing.trial.spec,
                method="trial" if named else method,
                reason=_reason(report, standing, whys[standing.number], alternatives, len(within), preference),
                probability=standing.probability,
                alternatives=alternatives,
                num_front=len(front),
                num_within=len(within),
            )
        )
    return tuple(found)


def _check_names(preference: Preference, front: Sequence[Standing], objectives: Sequence[Objective]) -> None:
    names = [objective.name for objective in objectives]
    if preference.select != KNEE and preference.select not in names:
        raise StudyError(f"--select {preference.select!r}: choose {KNEE} or an objective of the study: {', '.join(names)}")
    for name, weight in preference.weights.items():
        if name not in names:
            raise StudyError(f"--weight {name}: is no objective of the study; known are {', '.join(names)}")
        if not (math.isfinite(weight) and weight >= 0):
            raise StudyError(f"--weight {name}={weight:g}: a weight is a number of at least 0")
    if preference.weights and not any(preference.weights.get(name, 1.0) for name in names):
        raise StudyError("--weight: every objective has weight 0, so that nothing tells the trials apart; leave one above 0")
    if preference.weights and preference.select != KNEE:
        raise StudyError(f"--weight belongs to the {KNEE}; leave out --select {preference.select}")
    scored = [name for name in OBJECTIVES if all(name in standing.trial.scores for standing in front)]
    for name in preference.limits:
        if name not in scored:
            raise StudyError(f"--limit {name}: no such score of the front's trials; known are {', '.join(scored)}")


def _by_number(report: Report, number: int) -> Standing:
    """The front's trial of this number; why there is none is said as precisely as the study allows."""
    found = next((standing for standing in report.front if standing.number == number), None)
    if found is not None:
        return found
    on_front = f"On the front are {', '.join(str(s.number) for s in sorted(report.front, key=lambda s: s.number))}."
    trials = report.study.trials
    if number >= len(trials):
        raise StudyError(f"--trial {number}: the study {report.study.name!r} has {len(trials)} trials. {on_front}")
    trial = trials[number]
    if trial.repeat_of is not None:
        raise StudyError(f"--trial {number}: repeats trial {trial.repeat_of} with other seeds; name that one. {on_front}")
    if trial.state != "complete":
        raise StudyError(f"--trial {number}: is {trial.state} and was not scored at the last rung. {on_front}")
    raise StudyError(f"--trial {number}: is not on the front: another trial is at least as good in everything. {on_front}")


def _beyond(standing: Standing, limits: Mapping[str, float]) -> list[str]:
    return [name for name, most in limits.items() if standing.trial.scores[name].value > most]


def _nothing_left(front: Sequence[Standing], limits: Mapping[str, float]) -> str:
    """What the limits ask for, and the trial that misses them by least (by the ratios of score to limit, multiplied)."""

    def excess(standing: Standing) -> float:
        values = [(standing.trial.scores[name].value, most) for name, most in limits.items()]
        return math.fsum(math.log(v / m) if v > 0 and m > 0 else math.inf for v, m in values if v > m)

    nearest = min(front, key=lambda standing: (excess(standing), standing.number))
    missed = [
        f"{name} {score_text(nearest.trial.scores[name])} (at most {_limit_text(name, limits[name])})"
        for name in _beyond(nearest, limits)
    ]
    return (
        f"--limit: none of the {len(front)} trials of the front is within the limits; the nearest is trial {nearest.number} "
        f"with {', '.join(missed)}. Raise a limit, or search with it in the space file."
    )


def _limit_text(name: str, most: float) -> str:
    return value_text(most, OBJECTIVES[name].unit)


def distances_on(front: Sequence[Standing], objectives: Sequence[Objective], weights: Mapping[str, float]) -> dict[int, float]:
    """Each trial's distance from the best of everything, by number."""
    values = knee_distances(history.values([standing.trial for standing in front], objectives), objectives, weights)
    return {standing.number: float(value) for standing, value in zip(front, values, strict=True)}


def knee_distances(values: Array, objectives: Sequence[Objective], weights: Mapping[str, float]) -> Array:
    """The distances (…, N) of a front's values (…, N, K), as compared, from the best of everything there."""
    low, high = values.min(axis=-2, keepdims=True), values.max(axis=-2, keepdims=True)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    factors = np.array([weights.get(objective.name, 1.0) for objective in objectives])
    found: Array = np.sqrt((scaled**2 * factors).sum(axis=-1))
    return found


def _ordered(within: Sequence[Standing], distances: Mapping[int, float], preference: Preference) -> list[Standing]:
    """The trials within the limits, the best by the preference first."""
    name = preference.select
    if name != KNEE:
        return sorted(within, key=lambda s: (s.trial.scores[name].value, distances[s.number], s.number))
    return sorted(within, key=lambda s: (distances[s.number], s.number))


def _why(ordered: Sequence[Standing], place: int, distances: Mapping[int, float], preference: Preference) -> str:
    """What the preference says of the trial at this place of the order."""
    picked, first, name = ordered[place], ordered[0], preference.select
    nth = f"number {place + 1}"
    if name != KNEE:
        if place == 0:
            return f"trial {picked.number} is the best in {name}"
        return f"trial {picked.number} is {nth} in {name}, after trial {first.number}"
    weights = ", ".join(f"{key} × {value:g}" for key, value in preference.weights.items())
    weighted = f" and weighted ({weights})" if weights else ""
    knee = f"{'weighted ' if weights else ''}knee{' within the limits' if len(ordered) < len(distances) else ''}"
    what = f"the {knee}" if place == 0 else f"{nth} by the {knee}"
    closeness = "nearest" if place == 0 else "near"
    why = (
        f"trial {picked.number} is {what}: {closeness} to the best of every objective when each is scaled over the "
        f"front{weighted}, at a distance of {distances[picked.number]:.2f}"
    )
    if place > 0:
        return f"{why} (the {knee}, trial {first.number}: {distances[first.number]:.2f})"
    if len(ordered) > 1:
        why += f" (next, trial {ordered[1].number}: {distances[ordered[1].number]:.2f})"
    return why


def _reason(
    report: Report,
    picked: Standing,
    why: str,
    alternatives: Sequence[Alternative],
    num_within: int,
    preference: Preference,
) -> str:
    scores = []
    for objective in report.objectives:
        score = picked.trial.scores[objective.name]
        interval = interval_text(score)
        scores.append(f"{objective.name} {score_text(score)}{f' ({interval})' if interval else ''}")
    parts = [why + ".", f"Its scores: {', '.join(scores)}."]
    if preference.limits:
        asked = ", ".join(f"{name} at most {_limit_text(name, most)}" for name, most in preference.limits.items())
        parts.append(f"The limits ({asked}) leave {num_within} of {len(report.front)} on the front.")
        beyond = _beyond(picked, preference.limits)
        if beyond:
            parts.append(f"It is itself beyond the limit on {', '.join(beyond)}.")
    parts.append(f"It is on the front with a probability of {probability_text(picked.probability)}.")
    parts += [f"Trial {other.trial} {other.text}." for other in alternatives]
    if len(report.front) == 1:
        parts.append("It is alone on the front.")
    text = " ".join(parts)
    return text[0].upper() + text[1:]


def _alternatives(report: Report, picked: Standing) -> tuple[Alternative, ...]:
    """The front's next trials to both sides in its first objective."""
    first = report.objectives[0].name
    ordered = sorted(report.front, key=lambda s: (s.trial.scores[first].value, s.number))
    place = next(i for i, standing in enumerate(ordered) if standing.number == picked.number)
    neighbours = [ordered[i] for i in (place - 1, place + 1) if 0 <= i < len(ordered)]
    return tuple(Alternative(trial=other.number, text=_against(report, picked, other)) for other in neighbours)


def neighbours(report: Report, standing: Standing, count: int = 3) -> tuple[Alternative, ...]:
    """The front's nearest other trials, each objective scaled over the front; what one would gain or pay by moving there."""
    front = report.front
    if not front:
        return ()
    rows = history.values([one.trial for one in (*front, standing)], report.objectives)
    low, high = rows[:-1].min(axis=0), rows[:-1].max(axis=0)
    away = np.sqrt(((rows - rows[-1]) ** 2 / np.where(high > low, high - low, 1.0) ** 2).sum(axis=1))
    others = sorted(
        (pair for pair in zip(away.tolist(), front, strict=False) if pair[1].number != standing.number),
        key=lambda pair: (pair[0], pair[1].number),
    )
    return tuple(Alternative(trial=other.number, text=_against(report, standing, other)) for _, other in others[:count])


def _against(report: Report, picked: Standing, other: Standing) -> str:
    """What `other` gains, and what it costs, against the pick."""
    gains: list[str] = []
    costs: list[str] = []
    for objective in report.objectives:
        own, its = (standing.trial.scores[objective.name].value for standing in (picked, other))
        if own != its:
            (gains if its < own else costs).append(_amount(report, objective, picked, other))
    # Of two trials on one front each is better somewhere, or they are equal.
    if not costs or not gains:
        return f"has {' and '.join(gains)}, and nothing worse" if gains else "has the same scores"
    return f"has {' and '.join(gains)} at {' and '.join(costs)}"


def _amount(report: Report, objective: Objective, picked: Standing, other: Standing) -> str:
    own, its = (standing.trial.scores[objective.name].value for standing in (picked, other))
    gap = its - own
    direction = "less" if gap < 0 else "more"
    if objective.name in _NOUNS:
        if own <= 0:
            return value_text(its, objective.unit)
        if f"{its / own:.2g}" == "1":
            return f"{100 * abs(gap) / own:.1g} % {direction} {objective.name}"
        return f"{its / own:.2g} times {_NOUNS[objective.name]}"
    if objective.unit == "share":
        points = abs(100 * gap)
        amount = f"{points:.0f}" if round(points) else f"{points:.1g}"
        return f"{amount} {'point' if round(points) == 1 else 'points'} {direction} {objective.name}"
    error = _error(report, objective, picked, other)
    return f"{abs(gap):.2f}{f' ± {error:.2f}' if error else ''} {objective.unit.partition('/')[0]} {direction} {objective.name}"


def _error(report: Report, objective: Objective, picked: Standing, other: Standing) -> float | None:
    """Half the 95 % interval of a difference in loss, paired on the validation documents; None for other objectives."""
    if objective.name != "val_loss":
        return None
    found = difference(other.trial, picked.trial, report.seed_noise)
    return None if found is None else _Z95 * found.error
