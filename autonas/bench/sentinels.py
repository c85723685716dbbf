"""Sentinels: some decoders of a table trained many times longer, to see whether what is best at its last rung stays so.

They are trials of a study of their own with one rung, the table's recipe, learning rate and seeds otherwise. Their params are
given, so that its policy has nothing to propose; it is run, interrupted and gone on with as any other study.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autonas import cost
from autonas.bench import Row, not_measured
from autonas.bench.ranks import agreement, of_equal_size
from autonas.bench.table_export import csv_text, whole
from autonas.data.cache import write_file
from autonas.engine.base import Engine
from autonas.errors import RequestError, StudyError
from autonas.evaluation.rates import wilson_interval
from autonas.ledger import Ledger, check_new, study_lease
from autonas.policy import sampler
from autonas.policy.prediction import LEVELS, Predicted, coverage
from autonas.policy.replica import FullRun
from autonas.promotion.prediction import predict_run
from autonas.recipe import Recipe
from autonas.study import Watcher, run_study
from autonas.trial import Budget, StudyRecord, TrialRecord

FILE = "sentinels.csv"
TAU_GOAL, BAND_TAU_GOAL, COVERAGE_GOAL = 0.8, 0.5, 0.8
BAND = 1.25  # parameters of the larger over those of the smaller, of two that are compared within a band
_OF_A_BAND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinel:
    """A decoder of the table, and its long training."""

    short: TrialRecord
    long: TrialRecord

    @property
    def params(self) -> int:
        assert self.short.spec is not None
        return cost.count_params(self.short.spec)

    @property
    def losses(self) -> tuple[float, float]:
        """At the table's last rung, and after the long training, in nats."""
        return _loss(self.short), _loss(self.long)


def choose(study: StudyRecord, count: int) -> tuple[TrialRecord, ...]:
    """So many trials of a table, in trial order: about three in each of some bands of size, from its best loss to its worst.

    The middles of the bands are quantiles of the parameters; a band reaches to sizes within `BAND` of one another where there
    are enough.

    Raises:
        RequestError: the table has fewer architectures.
    """
    left = sorted((t for t in whole(study) if t.repeat_of is None), key=lambda trial: (_params(trial), trial.number))
    if not 2 <= count <= len(left):
        raise RequestError(f"--sentinels {count}: the table has {len(left)} architectures; write 2 to {len(left)}")
    bands = max(round(count / _OF_A_BAND), 1)
    middles = [math.log(_params(left[int((band + 0.5) / bands * len(left))])) for band in range(bands)]
    chosen: list[TrialRecord] = []
    for band, middle in enumerate(middles):
        wanted = count * (band + 1) // bands - len(chosen)
        left.sort(key=lambda trial: (abs(math.log(_params(trial)) - middle), trial.number))
        near = sum(abs(math.log(_params(trial)) - middle) <= math.log(BAND) / 2 for trial in left)
        by_loss = sorted(left[: max(near, wanted)], key=lambda trial: (_loss(trial), trial.number))
        places = [round(index * (len(by_loss) - 1) / max(wanted - 1, 1)) for index in range(wanted)]
        picked = [by_loss[place] for place in places]
        chosen += picked
        left = [trial for trial in left if trial not in picked]
    return tuple(sorted(chosen, key=lambda trial: trial.number))


def long_recipe(study: StudyRecord, name: str, count: int, factor: float) -> Recipe:
    """The recipe of the long trainings: one rung, so many times the table's last, at the table's learning rate."""
    resolved, found = study.recipe, study.attributes.get("calibration") or {}
    tokens = round(resolved["budget"]["rungs"][-1] * factor)
    budget = {**resolved["budget"], "trials": count, "rungs": [tokens], "scheduler": "full", "repeats": 0, "max_hours": None}
    training = {**resolved["training"], "learning_rate": found.get("chosen", resolved["training"]["learning_rate"])}
    calibration = {**resolved["calibration"], "enabled": False}
    changed = {"name": name, "budget": budget, "training": training, "calibration": calibration, "promote": None}
    return Recipe.from_resolved({**resolved, **changed})


def train(
    table: StudyRecord,
    chosen: Sequence[TrialRecord],
    recipe: Recipe,
    engine: Engine,
    folder: Path,
    *,
    resume: bool,
    device: str,
    threads: int,
    watcher: Watcher,
) -> StudyRecord:
    """Train them, or go on with it; returns their study.

    Raises:
        StudyError: the study exists (and not `resume`), does not exist (and `resume`), or is of other architectures.
        RequestError: anything else that cannot be done as asked.
    """
    name = recipe.name
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.closing(engine))
        with study_lease(name, folder):
            _begin(table, chosen, recipe, folder, resume=resume)
        return run_study(recipe, engine, name=name, folder=folder, resume=True, device=device, threads=threads, watcher=watcher)


def _begin(table: StudyRecord, chosen: Sequence[TrialRecord], recipe: Recipe, folder: Path, *, resume: bool) -> None:
    """Make the study with a trial for each; one that was cut off in the middle of that is made whole."""
    if not resume:
        check_new(recipe.name, folder, None)
    distributions = sampler.distributions(recipe.space.searched_domains)
    opened = Ledger.open(recipe.name, folder, None) if resume else None
    ledger = opened or Ledger.create(recipe.name, folder, None, recipe.resolved, recipe.objectives)
    with contextlib.closing(ledger):
        begun = [trial.spec for trial in ledger.read().trials if trial.retry_of is None]
        if begun != [trial.spec for trial in chosen[: len(begun)]]:
            raise StudyError(
                f"the study {recipe.name!r} trains other architectures. Give --sentinels as at first, or remove {folder}."
            )
        if "data" in table.attributes:
            ledger.set_attribute("data", table.attributes["data"])  # another corpus is refused
        for trial in chosen[len(begun) :]:
            assert trial.spec is not None
            ledger.begin(trial.params, distributions, trial.spec, trial.scores)


def paired(chosen: Sequence[TrialRecord], long: StudyRecord) -> tuple[Sentinel, ...]:
    """Those whose long training came to its end."""
    ends = {trial.spec: trial for trial in long.trials if trial.state == "complete"}
    return tuple(Sentinel(short=trial, long=ends[trial.spec]) for trial in chosen if trial.spec in ends)


def write(sentinels: Sequence[Sentinel], folder: Path) -> None:
    """Write sentinels.csv. Raises ResourceError."""
    rows = []
    for sentinel in sentinels:
        short, long = sentinel.short.rungs[-1], sentinel.long.rungs[-1]
        assert sentinel.short.spec is not None
        row: dict[str, Any] = {"trial": sentinel.short.number, "fingerprint": sentinel.short.spec.fingerprint}
        row |= {"params": sentinel.params, "tokens": short.tokens, "val_loss": _loss(sentinel.short)}
        row |= {"long_tokens": long.tokens, "long_seconds": long.seconds}
        for name, score in long.scores.items():
            row |= {f"long_{name}": score.value, f"long_{name}_low": score.low, f"long_{name}_high": score.high}
        rows.append(row)
    write_file(folder / FILE, csv_text(rows).encode())


def forecasts(table: StudyRecord, sentinels: Sequence[Sentinel]) -> dict[str, list[Predicted]]:
    """What would have been said of the long trainings before they began, as of a promotion's run: by score, one for each."""
    training, tokens = Recipe.from_resolved(table.recipe).training, table.attributes["data"]["report"]["tokens"]["train"]
    found: dict[str, list[Predicted]] = {}
    for sentinel in sentinels:
        assert sentinel.short.spec is not None
        budget = Budget(rung=0, tokens=sentinel.long.rungs[-1].tokens, cooldown_tokens=0)
        full = FullRun(spec=sentinel.short.spec, training=training, budget=budget, corpus_tokens=int(tokens))
        for name, predicted in predict_run(table, sentinel.short.number, full).items():
            found.setdefault(name, []).append(predicted)
    return found


def rows_of(sentinels: Sequence[Sentinel], wanted: int, predicted: Mapping[str, Sequence[Predicted]]) -> list[Row]:
    """How far the table's last rung and the long trainings agree, what a pick by the table's last rung costs, and how well the
    table's curves had `predicted` the long trainings.
    """
    short, long = (np.array(losses) for losses in zip(*(sentinel.losses for sentinel in sentinels), strict=True))
    near = of_equal_size([sentinel.params for sentinel in sentinels], BAND)
    times = sentinels[0].long.rungs[-1].tokens / sentinels[0].short.rungs[-1].tokens
    note = f"{len(sentinels)} of {wanted} decoders trained {times:.3g} times as long"
    rows = []
    foreseen = np.array([each.value for each in predicted["val_loss"]])
    bands = f"the same within size bands, parameters within a factor of {BAND:g}"
    for metric, early, counted, goal in (
        ("agreement of the last rung's losses with those of long trainings", short, None, TAU_GOAL),
        (bands, short, near, BAND_TAU_GOAL),
        ("agreement of the predicted losses with those of long trainings", foreseen, None, None),
        (bands, foreseen, near, None),
    ):
        found = agreement(early, long, counted)
        if found is None:
            rows.append(not_measured(metric, "no two of the decoders are of equal size", goal=goal, unit="tau"))
            continue
        text = f"{note}; {found.pairs} pairs"
        rows.append(
            Row(
                metric=metric,
                unit="",
                ours=found.tau,
                low=found.low,
                high=found.high,
                goal=goal,
                met=None if goal is None else found.tau >= goal,
                note=text,
            )
        )
    for who, early in (("the best at the last rung", short), ("the best as predicted", foreseen)):
        regrets = [float(long[group][np.argmin(early[group])] - long[group].min()) for group in map(np.flatnonzero, near)]
        rows.append(
            Row(
                metric=f"regret of {who}, among decoders of equal size",
                unit="nats",
                ours=float(np.mean(regrets)),
                note=f"mean over the neighbourhoods of all decoders; at most {max(regrets):.3f}; {note}",
            )
        )
    for name, predictions in predicted.items():
        ends = [sentinel.long.rungs[-1].scores[name].value for sentinel in sentinels]
        for level, inside in coverage(predictions, ends).items():
            goal = COVERAGE_GOAL if level == LEVELS[0] else None
            low, high = wilson_interval(inside, len(ends))
            rows.append(
                Row(
                    metric=f"long trainings' {name} inside its {level:.0%} interval",
                    unit="of them",
                    ours=inside,
                    low=low,
                    high=high,
                    goal=goal,
                    met=None if goal is None else inside >= goal,
                    note=note,
                )
            )
    return rows


def _loss(trial: TrialRecord) -> float:
    return trial.rungs[-1].scores["val_loss"].value


def _params(trial: TrialRecord) -> int:
    assert trial.spec is not None
    return cost.count_params(trial.spec)
