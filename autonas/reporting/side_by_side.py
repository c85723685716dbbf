"""Studies side by side, as records: their fronts, what each covers of the other, their volumes in one box, and what differs.

Everything is in the objectives that comparison.py lets through; which those are is said beside it. A study's trials are those
of its last rung, as in its own report.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autonas import pareto
from autonas.arch import ArchSpec
from autonas.errors import StudyError
from autonas.objective import Objective
from autonas.reporting.comparison import comparable, leaves, objectives_text, pace_reasons
from autonas.reporting.duel import Coverage, Duel, Volumes, coverages, duels, joint_draws, orders, union_box, volumes
from autonas.reporting.finals import finals, rung_tokens, seed_noise
from autonas.reporting.history import elapsed_s, values
from autonas.reporting.quantities import duration_text, scaled_text, tokens_text
from autonas.reporting.report import Alarm, FinalTrial, SeedNoise
from autonas.reporting.reproduction import Common, common_architectures
from autonas.reporting.spending import is_dated, spending_rule, total_flops
from autonas.reporting.tables import facts
from autonas.reporting.volume import REFERENCE, Box, likely
from autonas.trial import StudyRecord

_ABSENT = "not there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the studies that are compared."""

    name: str
    study: StudyRecord
    trials: tuple[FinalTrial, ...]  # final ones with a score for every objective that is compared
    front: tuple[int, ...]  # places among them of those that no other of the study dominates, by the first objective
    noise: SeedNoise

    @property
    def members(self) -> tuple[FinalTrial, ...]:
        return tuple(self.trials[place] for place in self.front)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A place in which studies differ, with its value in each, as text."""

    place: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        return len(set(self.values)) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Everything that a comparison says."""

    sides: tuple[Side, ...]
    objectives: tuple[Objective, ...]  # that may be compared, those of all studies
    alarms: tuple[Alarm, ...]
    box: Box | None  # of all final trials together; None where there is nothing to compare
    box_rule: str
    volumes: tuple[Volumes, ...]  # of each side
    budget_flops: float | None  # that every study has spent
    budget_s: float | None  # seconds in training jobs that every study has spent; None where machines differ
    no_seconds: str  # why seconds are not compared
    duels: tuple[Duel, ...]  # each pair of sides at equal compute
    coverages: tuple[Coverage, ...]  # each side's front against each other's
    common: tuple[Common, ...]  # architectures that two sides both trained to the end
    overview: tuple[Difference, ...]
    recipe: tuple[Difference, ...]  # what differs alone
    data: tuple[Difference, ...]
    environment: tuple[Difference, ...]


def compare(studies: Sequence[StudyRecord], names: Sequence[str] | None = None) -> SideBySide:
    """Lay studies side by side, a pure function of their records. `names` are shown in the place of the studies' own.

    Raises:
        StudyError: fewer than two studies, or two of one name.
    """
    names = tuple(study.name for study in studies) if names is None else tuple(names)
    if len(studies) < 2:
        raise StudyError("a comparison needs two studies at least")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise StudyError(f"{twice[0]!r} is named twice: a study is not compared with itself")
    found = comparable(studies, names)
    sides = tuple(_side(study, name, found.objectives) for study, name in zip(studies, names, strict=True))
    alarms = [*found.alarms, *_empty(sides), *_undated(sides)]
    apart = [
        f"of {names[0]} and {name} {', '.join(why)}"
        for study, name in zip(studies[1:], names[1:], strict=True)
        if (why := pace_reasons(studies[0], study))
    ]
    measured = found.objectives and all(side.trials for side in sides)
    box = union_box([side.trials for side in sides], found.objectives) if measured else None
    spent: tuple[Volumes, ...] = ()
    fought: tuple[Duel, ...] = ()
    covered: tuple[Coverage, ...] = ()
    budget_flops = budget_s = None
    if box is not None:
        draws = [
            joint_draws(side.trials, found.objectives, side.noise, side=place, order=order)
            for place, (side, order) in enumerate(zip(sides, orders(studies), strict=True))
        ]
        least = min(total_flops(study) for study in studies)
        budget_flops = least or None  # ledgers that do not say what their jobs trained
        if not apart:
            budget_s = min(sum(outcome.seconds for trial in study.trials for outcome in trial.rungs) for study in studies)
        rows = [likely(side.trials, found.objectives, side.noise) for side in sides]
        spent = volumes([(side.study, side.trials) for side in sides], rows, draws, box, budget_flops, budget_s)
        fought = duels(spent)
        covered = coverages([values(side.trials, found.objectives) for side in sides], [side.front for side in sides], draws)
    return SideBySide(
        sides=sides,
        objectives=found.objectives,
        alarms=tuple(sorted(alarms, key=lambda alarm: alarm.severity != "alarm")),
        box=box,
        box_rule="" if box is None else _box_rule(box),
        volumes=spent,
        budget_flops=budget_flops,
        budget_s=budget_s,
        no_seconds="; ".join(apart),
        duels=fought,
        coverages=covered,
        common=common_architectures([(side.study, side.trials, side.noise) for side in sides], found.objectives),
        overview=_overview(sides),
        recipe=tuple(each for each in differences([study.recipe for study in studies]) if each.differs),
        data=differences([_data(study) for study in studies]),
        environment=differences([_environment(study) for study in studies]),
    )


def differences(values_of: Sequence[Mapping[str, Any]]) -> tuple[Difference, ...]:
    """Every place of nested mappings with its value in each of them, as JSON; what one lacks is said to be absent."""
    flat = [leaves(values) for values in values_of]
    return tuple(
        Difference(place=place, values=tuple(_shown(each, place) for each in flat))
        for place in dict.fromkeys(place for each in flat for place in each)
    )


def specs_on_front(side: Side) -> list[ArchSpec]:
    """The architectures on a side's front."""
    return [trial.spec for trial in side.members]


def _side(study: StudyRecord, name: str, objectives: Sequence[Objective]) -> Side:
    reached = finals(study)
    placed = tuple(trial for trial in reached if all(objective.name in trial.scores for objective in objectives))
    front: tuple[int, ...] = ()
    if placed and objectives:
        on_front = pareto.non_dominated(values(placed, objectives))
        first = objectives[0].name
        front = tuple(sorted((i for i in range(len(placed)) if on_front[i]), key=lambda i: placed[i].scores[first].value))
    return Side(name=name, study=study, trials=placed, front=front, noise=seed_noise(reached))


def _empty(sides: Sequence[Side]) -> list[Alarm]:
    return [
        Alarm(
            severity="alarm",
            title=f"{side.name} has no final trial",
            text="No trial of it has been scored at its last rung, so that there is no front to lay beside the others.",
        )
        for side in sides
        if not side.trials
    ]


def _undated(sides: Sequence[Side]) -> list[Alarm]:
    return [
        Alarm(severity="note", title=f"What {side.name} had spent by when is told too late", text=spending_rule(side.study))
        for side in sides
        if side.trials and not is_dated(side.study)
    ]


def _box_rule(box: Box) -> str:
    logs = [objective.title.lower() for objective in box.objectives if objective.logarithmic]
    scale = f"; {', '.join(logs)} on a log scale" if logs else ""
    names = objectives_text(box.objectives)
    return (
        f"One box for all, in {names}: each objective is mapped to 0–1 between the best and the worst of the "
        f"{box.spanned_by} final trials of the studies together, as first measured{scale}. The reference point is "
        f"{REFERENCE:g} in every one; a value is the share of the box that a study's front dominates, by likely true scores. "
        "Intervals (95 %) and probabilities are of joint draws: training seeds, orders of the text, counts and "
        "timings, for the validation documents at hand. The values are not those of the studies' own reports, whose boxes are "
        "their own."
    )


def _overview(sides: Sequence[Side]) -> tuple[Difference, ...]:
    rows = {
        "state": [str(side.study.attributes.get("closed") or "not at an end") for side in sides],
        "trials": [str(sum(trial.repeat_of is None for trial in side.study.trials)) for side in sides],
        "scored at the last rung": [str(len(finals(side.study))) for side in sides],
        "last rung": [f"{tokens_text(rung_tokens(side.study)[-1])} tokens" for side in sides],
        "on the front, in what is compared": [str(len(side.front)) for side in sides],
        "time in training jobs": [
            duration_text(sum(outcome.seconds for trial in side.study.trials for outcome in trial.rungs)) for side in sides
        ],
        "training compute": [_compute(side.study) for side in sides],
        "elapsed": ["cannot be told" if (s := elapsed_s(side.study)) is None else duration_text(s) for side in sides],
        "seed": [str(side.study.recipe["budget"].get("seed", _ABSENT)) for side in sides],
        "sampler": [str(side.study.recipe["budget"].get("sampler", _ABSENT)) for side in sides],
    }
    return tuple(Difference(place=name, values=tuple(cells)) for name, cells in rows.items())


def _compute(study: StudyRecord) -> str:
    flops = total_flops(study)
    return f"{scaled_text(flops)}FLOP" if flops else "cannot be told: its jobs do not say what they trained"


def _data(study: StudyRecord) -> dict[str, Any]:
    data = study.attributes.get("data") or {}
    report = {name: value for name, value in (data.get("report") or {}).items() if name != "dropped_examples"}
    return {"fingerprint": data.get("fingerprint"), **report}


def _environment(study: StudyRecord) -> dict[str, Any]:
    return dict(facts(study.attributes.get("environment") or {}))


def _shown(flat: Mapping[str, Any], place: str) -> str:
    if place not in flat:
        return _ABSENT
    value = flat[place]
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return json.dumps(value, ensure_ascii=False, default=str)
