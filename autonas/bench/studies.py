"""Real searches beside each other: each sampler in turn on the same space, with real training, compared at equal compute.

Compute is arithmetic (the floating-point operations of the tokens that were trained), so that a busy machine favours nobody.
Volumes are measured in one box for all studies of the bench: 0 is the best and 1 the worst of their final trials in each
objective (logarithms of sizes and times), the reference point is 1.1. Samplers take turns, seed by seed; differences are paired
by seed.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np

from autonas import cost
from autonas.bench import Findings, Row, Say
from autonas.bench.replays import seeds as over_seeds
from autonas.engine.choice import EngineSettings, make_engine
from autonas.errors import RequestError
from autonas.ledger import Ledger
from autonas.objective import OBJECTIVES, Objective
from autonas.policy.problem import Array
from autonas.policy.settings import SearchSettings
from autonas.recipe import Recipe, load_recipe
from autonas.reporting.finals import finals
from autonas.reporting.history import compared
from autonas.reporting.volume import Box, volume_of
from autonas.study import Watcher, run_study
from autonas.study.files import cancel_requested
from autonas.trial import StudyRecord

SAMPLERS = ("autonas", "nsgaii", "random")
SPACE = "quickstart.yaml"
_SEEDS = 5
_SHARES = (0.25, 0.5, 1.0)  # of the compute that every study has spent
_TRACE = "trace.jsonl"  # in a study's folder, a line after each change


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """A study while it grew: after each change the compute spent (s,), and which trials were complete by then."""

    spent: tuple[float, ...]  # floating-point operations, rising
    complete: tuple[tuple[int, ...], ...]
    study: StudyRecord

    def by(self, budget: float) -> tuple[int, ...]:
        """The trials that were complete when no more than this had been spent."""
        at = int(np.searchsorted(self.spent, budget * (1 + 1e-9), side="right"))
        return self.complete[at - 1] if at else ()


def measure(
    *,
    space: str | None = None,
    samplers: Sequence[str] = SAMPLERS,
    seeds: int = _SEEDS,
    trials: int | None = None,
    out: str | Path = "trials",
    engine: EngineSettings | None = None,
    say: Say = lambda text: None,
) -> Findings:
    """Search with each of the samplers; the first is compared with the others. What has ended in `out` is not repeated.

    Raises:
        RequestError: what was asked cannot be done as asked.
    """
    known = get_args(get_type_hints(SearchSettings)["sampler"])
    for name in samplers:
        if name not in known:
            raise RequestError(f"--samplers: {name!r} is no sampler of a search; there are {', '.join(known)}")
    if len(samplers) < 2 or len(set(samplers)) < len(samplers):
        raise RequestError(f"--samplers: name two or more, each once, such as {','.join(SAMPLERS)}")
    engine = engine or EngineSettings()
    space = space or SPACE
    recipe = load_recipe(space, trials=trials)
    grown: dict[str, list[Grown]] = {name: [] for name in samplers}
    for seed in range(seeds):
        for place in range(len(samplers)):  # whoever was first is last in the next round
            name = samplers[(place + seed) % len(samplers)]
            say(f"seed {seed}, {name}")
            own = load_recipe(space, trials=trials, sampler=name, seed=seed)
            grown[name].append(_searched(own, Path(out) / f"{own.name}-{name}-{seed}", engine, say))
    environment = grown[samplers[0]][0].study.attributes.get("environment") or {}
    return Findings(
        rows=rows_of(grown, tuple(OBJECTIVES[name] for name in recipe.objectives)),
        conditions={
            "device": environment.get("device", "unknown"),
            "threads": environment.get("threads", 0),
            "space": recipe.name,
            "trials": recipe.search.trials,
            "rungs": list(recipe.search.rungs),
            "seeds": seeds,
        },
    )


def _searched(recipe: Recipe, folder: Path, engine: EngineSettings, say: Say) -> Grown:
    """The study in this folder: as it has ended, or gone on with, or begun."""
    ledger = Ledger.open(folder.name, folder, None) if folder.exists() else None
    if ledger is not None:
        with contextlib.closing(ledger):
            study = ledger.read()
        if study.recipe != recipe.resolved:
            raise RequestError(f"{folder} is a study of another space file or budget. Name another --out, or remove it")
        if study.attributes.get("closed"):
            return _grown(folder, study)
    trace = folder / _TRACE
    last = ""

    def changed(study: StudyRecord) -> None:
        nonlocal last
        complete = [trial.number for trial in study.trials if trial.state == "complete"]
        line = json.dumps({"spent": spent(study), "complete": complete})
        if line != last:
            with trace.open("a", encoding="utf-8") as file:
                file.write("\n" + line)  # after whatever a killed process had begun to write
            last = line

    study = run_study(
        recipe,
        make_engine(engine, stop=lambda: cancel_requested(folder)),
        name=folder.name,
        folder=folder,
        resume=ledger is not None,
        device=engine.device,
        threads=engine.threads,
        watcher=Watcher(changed=changed),
    )
    found = _grown(folder, study)
    say(f"{folder.name}: {len(found.complete[-1])} trials complete, {found.spent[-1]:.3g} FLOPs")
    return found


def spent(study: StudyRecord) -> float:
    """Floating-point operations that a study has trained, cooldowns included."""
    return float(
        sum(
            outcome.new_tokens * cost.training_flops_per_token(trial.spec)
            for trial in study.trials
            if trial.spec is not None and trial.repeat_of is None
            for outcome in trial.rungs
        )
    )


def _grown(folder: Path, study: StudyRecord) -> Grown:
    try:
        text = (folder / _TRACE).read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"{folder / _TRACE} cannot be read, and nothing else tells what was found by when. "
            f"Name another --out, or remove {folder}"
        ) from error
    lines = [json.loads(line) for line in text.split("\n") if line.endswith("}")]  # one that was cut off tells nothing new
    originals = {trial.number for trial in study.trials if trial.repeat_of is None}
    return Grown(
        spent=tuple(float(line["spent"]) for line in lines),
        complete=tuple(tuple(n for n in line["complete"] if n in originals) for line in lines),
        study=study,
    )


def rows_of(grown: Mapping[str, Sequence[Grown]], objectives: Sequence[Objective]) -> list[Row]:
    """Volumes of each sampler at equal compute, and at its end; the first one's beside each of the others'."""
    points = {name: [_points(each.study, objectives) for each in found] for name, found in grown.items()}
    everything = np.concatenate([np.array(list(each.values())) for found in points.values() for each in found if each])
    best, worst = (tuple(map(float, ends)) for ends in (everything.min(axis=0), everything.max(axis=0)))
    box = Box(objectives=tuple(objectives), best=best, worst=worst, spanned_by=len(everything), is_fixed=True)

    def volume(name: str, seed: int, budget: float) -> float:
        own = points[name][seed]
        rows = [own[number] for number in grown[name][seed].by(budget) if number in own]
        return volume_of(np.array(rows), box) if rows else 0.0

    whole = min(each.spent[-1] for found in grown.values() for each in found)
    first, *others = grown
    rows: list[Row] = []
    for share in (*_SHARES, math.inf):
        budget = share * whole
        where = f"hypervolume at {budget:.3g} FLOPs" if share < math.inf else "hypervolume at the end of its studies"
        volumes = {name: [volume(name, seed, budget) for seed in range(len(found))] for name, found in grown.items()}
        for name, own in volumes.items():
            by_seed = f"{len(own)} seeds: " + ", ".join(f"{value:.3f}" for value in own) + _ends(grown[name], share)
            rows.append(_row(f"{name}: {where}", own, by_seed))
        for name in others:
            differences = [a - b for a, b in zip(volumes[first], volumes[name], strict=True)]
            by_seed = f"median of {len(differences)} differences, by seed"
            rows.append(_row(f"{first} above {name}: {where}", differences, by_seed))
    return rows


def _row(metric: str, values: Sequence[float], note: str) -> Row:
    """Their median over seeds."""
    found = over_seeds.estimate(values)
    return Row(metric=metric, unit="of the box", ours=found.value, low=found.low, high=found.high, note=note)


def _ends(found: Sequence[Grown], share: float) -> str:
    """What the studies had spent where each is taken at its own end."""
    return "" if share < math.inf else "; FLOPs spent: " + ", ".join(f"{each.spent[-1]:.3g}" for each in found)


def _points(study: StudyRecord, objectives: Sequence[Objective]) -> dict[int, Array]:
    """The final trials' scores (m,) as compared."""
    found = {}
    for trial in finals(study):
        scores = [trial.scores.get(objective.name) for objective in objectives]
        if None not in scores:
            found[trial.number] = compared(np.array([score.value for score in scores if score is not None]), objectives)
    return found
