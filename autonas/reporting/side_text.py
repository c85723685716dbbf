"""A comparison in words and in cells of text, for its page: no HTML, no arithmetic beyond rounding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autonas.objective import Objective
from autonas.reporting.comparison import listed, objectives_text
from autonas.reporting.duel import Duel, VolumePoint
from autonas.reporting.quantities import (
    duration_text,
    interval_text,
    probability_text,
    scaled_text,
    score_text,
    spec_text,
    value_text,
)
from autonas.reporting.reproduction import Common, reproductions
from autonas.reporting.side_by_side import Difference, SideBySide
from autonas.trial import Score

MOST_COMMON = 200  # architectures that a table lists; what is said of them together is of all


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table: its head, its cells, and the place of the study that it is of, where it is of one."""

    head: str
    cells: tuple[str, ...]
    side: int | None = None
    differs: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table of text with what it shows."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def verdicts(found: SideBySide) -> list[str]:
    """Who is ahead at equal compute, in what, and how sure that is; why it cannot be told where it cannot.

    Nobody is ahead where nothing is compared that training changes: smaller and quicker alone is no better.
    """
    if not found.objectives:
        return ["Nothing of these studies can be compared: no objective is shared that was measured alike in all of them."]
    if found.box is None:
        return ["There is no front to compare yet."]
    if all(objective.before_training for objective in found.objectives):
        return [_untrained(found)]
    if found.budget_flops is None:
        return ["Who is ahead at equal compute cannot be told: a ledger does not say how many tokens its jobs trained."]
    return [_verdict(found, duel) for duel in found.duels]


def front_grid(found: SideBySide) -> Grid:
    """The members of all fronts, with the chance that another study's front dominates them."""
    others = [f"dominated by {side.name}" for side in found.sides]
    rows = []
    for number, side in enumerate(found.sides):
        against = {each.by: each.members for each in found.coverages if each.covered == number}
        for place, trial in enumerate(side.members):
            chances = ["–" if by == number else probability_text(against[by][place]) for by in range(len(found.sides))]
            scores = [_cell(trial.scores[objective.name]) for objective in found.objectives]
            rows.append(Row(head=side.name, cells=(str(trial.number), *scores, *chances, spec_text(trial.spec)), side=number))
    return Grid(
        caption=(
            "Members of each study's front in the objectives that are compared, with 95 % intervals; and the chance, over "
            "joint draws of all scores, that a member of another's front is as good in everything and better in something. "
            "Where two are alike in a noisy objective, a draw decides, so that these chances stay below what the values say."
        ),
        columns=("study", "trial", *(_titled(objective) for objective in found.objectives), *others, "architecture"),
        rows=tuple(rows),
    )


def volume_grid(found: SideBySide) -> Grid:
    """The volumes at the common budgets, and at the end of what each study has spent."""
    compute = "at equal compute" if found.budget_flops is None else f"at {scaled_text(found.budget_flops)}FLOP"
    seconds = "at equal time" if found.budget_s is None else f"after {duration_text(found.budget_s)} in training jobs"
    rows = []
    for number, (side, volumes) in enumerate(zip(found.sides, found.volumes, strict=True)):
        end = volumes.end
        spent = f"{_volume(end)}, {scaled_text(end.flops)}FLOP, {duration_text(end.train_s)}"
        cells = (_volume(volumes.at_flops), _volume(volumes.at_s), spent)
        rows.append(Row(head=side.name, cells=cells, side=number))
    return Grid(
        caption=found.box_rule,
        columns=("study", compute, seconds, "after its last final trial, with what had been spent by then"),
        rows=tuple(rows),
    )


def duel_grid(found: SideBySide) -> Grid:
    """Each pair at equal compute."""
    rows = tuple(
        Row(
            head=f"{found.sides[duel.first].name} less {found.sides[duel.second].name}",
            cells=(_signed(duel.gain), f"{_signed(duel.low)} to {_signed(duel.high)}", probability_text(duel.probability)),
        )
        for duel in found.duels
    )
    return Grid(
        caption=(
            f"Volumes in {objectives_text(found.objectives)} at equal training compute, in pairs; the chance is of joint "
            "draws of all true scores."
        ),
        columns=("pair", "difference", "95 % interval", "chance that the first is larger"),
        rows=rows,
    )


def coverage_grid(found: SideBySide) -> Grid:
    """What each front covers of each other's."""
    rows = tuple(
        Row(
            head=found.sides[each.by].name,
            cells=(
                found.sides[each.covered].name,
                value_text(each.value, "share"),
                value_text(each.mean, "share"),
                f"{100 * each.low:.0f}–{100 * each.high:.0f} %",
            ),
        )
        for each in found.coverages
    )
    return Grid(
        caption="The share of a study's front that some member of another's dominates: as measured, and over joint draws.",
        columns=("front of", "dominates of the front of", "as measured", "mean of draws", "95 % of draws"),
        rows=rows,
    )


def common_grid(found: SideBySide) -> Grid | None:
    """Architectures that two studies both trained to the end; None where there is none."""
    if not found.common:
        return None
    columns = [f"{_titled(objective)}{', points' if objective.unit == 'share' else ''}" for objective in found.objectives]
    thinned = f" The first {MOST_COMMON} of {len(found.common):,} are listed." if len(found.common) > MOST_COMMON else ""
    rows = tuple(
        Row(
            head=f"{found.sides[each.first].name} {each.trials[0]}, {found.sides[each.second].name} {each.trials[1]}",
            cells=(*(_pair(each, number) for number in range(len(found.objectives))), spec_text(each.spec)),
        )
        for each in found.common[:MOST_COMMON]
    )
    return Grid(
        caption=(
            "Architectures, by fingerprint, that two studies trained to the last rung: what the first says and the second, and "
            "the second's less the first's with the 95 % interval that seeds, orders of the text, counts and timings allow for."
            + thinned
        ),
        columns=("trials", *columns, "architecture"),
        rows=rows,
    )


def reproduction_lines(found: SideBySide) -> list[str]:
    """How well scores reproduce, a sentence for each pair of studies and objective."""
    lines = []
    for first, second in dict.fromkeys((each.first, each.second) for each in found.common):
        own = [each for each in found.common if (each.first, each.second) == (first, second)]
        names = f"{found.sides[first].name} and {found.sides[second].name}"
        for row in reproductions(own):
            if row.objective.known == "arithmetic":
                continue
            mean = _difference(row.mean, row.objective)
            lines.append(
                f"{names}, {row.objective.title.lower()}: {row.agreeing} of {row.count} differences may be nothing; "
                f"{mean} on average, root mean square {_difference(row.deviation, row.objective, sign=False)}."
            )
    return lines


def differences_grid(found: SideBySide, rows: Sequence[Difference], caption: str, place: str) -> Grid:
    """Values by study, one place a row; rows that differ come first."""
    ordered = sorted(rows, key=lambda row: not row.differs)
    return Grid(
        caption=caption,
        columns=(place, *(side.name for side in found.sides), "differs"),
        rows=tuple(
            Row(head=row.place, cells=(*row.values, "yes" if row.differs else "no"), differs=row.differs) for row in ordered
        ),
    )


def _verdict(found: SideBySide, duel: Duel) -> str:
    first, second = (found.sides[place] for place in (duel.first, duel.second))
    ours, theirs = (found.volumes[place].at_flops for place in (duel.first, duel.second))
    chance = duel.probability
    ahead, sure = (first.name, chance) if chance >= 0.5 else (second.name, 1 - chance)
    close = " That is not decided." if 0.05 < chance < 0.95 else ""
    return (
        f"In {objectives_text(found.objectives)}, {_budget(found)}, the front of {first.name} dominates {_volume(ours)} of the "
        f"common box and that of {second.name} {_volume(theirs)}: {ahead} is ahead with a chance of {probability_text(sure)}."
        f"{close}"
    )


def _untrained(found: SideBySide) -> str:
    """What is said where only sizes and times are compared: volumes, and nobody ahead."""
    nothing = f"Nothing of what the models can do may be compared; in {objectives_text(found.objectives)}"
    if found.budget_flops is None:
        return f"{nothing} fronts and coverage are shown, without saying who is ahead."
    volumes = listed([f"{side.name} {_volume(each.at_flops)}" for side, each in zip(found.sides, found.volumes, strict=True)])
    return (
        f"{nothing}, {_budget(found)}, the fronts dominate of the common box: {volumes}. Nobody is ahead by that: a model that "
        "has learnt nothing could be as small and as quick."
    )


def _budget(found: SideBySide) -> str:
    assert found.budget_flops is not None
    return f"with {scaled_text(found.budget_flops)}FLOP of training each"


def _volume(point: VolumePoint | None) -> str:
    if point is None:
        return "cannot be told"
    if point.trial is None:
        return "0, no trial had ended"
    return f"{point.value:.3f} ({point.low:.3f}–{point.high:.3f})"


def _pair(common: Common, number: int) -> str:
    pair = common.pairs[number]
    if pair.objective.known == "arithmetic":
        return score_text(pair.first) if pair.difference == 0 else f"{score_text(pair.first)}, {score_text(pair.second)}"
    difference, low, high = (_bare(value, pair.objective) for value in (pair.difference, pair.low, pair.high))
    told = "" if pair.agrees else ", more than chance"
    return f"{score_text(pair.first)} and {score_text(pair.second)}: {difference} ({low} to {high}){told}"


def _difference(value: float, objective: Objective, *, sign: bool = True) -> str:
    text = _bare(value, objective) if sign else _bare(abs(value), objective).removeprefix("+")
    return f"{text} {'points' if objective.unit == 'share' else objective.unit}"


def _bare(value: float, objective: Objective) -> str:
    """A difference with its sign; of shares, in points of per cent."""
    return (f"{100 * value:+.1f}" if objective.unit == "share" else f"{value:+.3g}").replace("-", "−")


def _cell(score: Score) -> str:
    interval = interval_text(score)
    return f"{score_text(score)} ({interval})" if interval else score_text(score)


def _titled(objective: Objective) -> str:
    return objective.title if objective.unit in ("share", "parameters", "bytes") else f"{objective.title}, {objective.unit}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
