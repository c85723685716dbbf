"""Optimizers side by side on one decoder: `autonas bench optimizers`.

Each is tuned first, with a seed of its own; then all are trained with the same seeds, each seed with the same weights to begin
with and the same order of text, so that differences are paired. At equal tokens, and at equal time: then one with the slower
step is trained and cooled down over fewer tokens. Averages of weights are measured along AdamW's trainings. The trainings are
in optimizers_trainings.py.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from autonas import cost
from autonas.bench import Findings, Row, Say, not_measured
from autonas.bench.optimizers_trainings import ARMS, Task, best_rate, step_seconds, trained
from autonas.bench.statistics import Ratio, paired_ratio
from autonas.data.dataset import prepare
from autonas.errors import RequestError
from autonas.evaluation.intervals import t_quantile
from autonas.evaluation.latency import resolve_device
from autonas.machine import resolve_threads
from autonas.policy.calibration import legal_draws
from autonas.policy.sampler import derived_seed
from autonas.recipe import Recipe, load_recipe

SPACE = Path(__file__).parents[2] / "benchmarks" / "optimizers.yaml"
FACTORS: Final = (0.5, 1.0, 2.0)  # of the space file's rate
BASE: Final = "adamw"

Losses = Mapping[int, Mapping[str, float]]  # by seed


def measure(
    *,
    space: str | None = None,
    seeds: int | None = None,
    seed: int = 0,
    out: str | Path = "trials",
    device: str = "auto",
    threads: int | None = None,
    say: Say = lambda text: None,
) -> Findings:
    """Tune and compare. Trainings that have ended in `out` are not repeated.

    Raises:
        RequestError: what was asked cannot be done as asked.
    """
    named = space or str(SPACE)
    recipe = load_recipe(named)
    seeds = seeds or recipe.horizon.seeds
    if seeds < 2:
        raise RequestError(f"--seeds {seeds}: an interval over seeds takes two, and three to be worth much")
    if recipe.training.schedule != "wsd":
        raise RequestError(f"--space {named}: training.schedule is {recipe.training.schedule}; write wsd, or leave it out")
    threads = resolve_threads(threads)
    torch.set_num_threads(threads)
    task = Task(
        recipe=recipe,
        spec=legal_draws(recipe.space, seed)[-1],
        dataset=prepare(recipe.corpus, recipe.tokenizer, say=say),
        device=device,
        folder=Path(out) / f"bench-{recipe.name}",
    )
    numbers = [derived_seed(seed, "optimizers", number) for number in range(seeds)]
    base = recipe.training.learning_rate
    speeds = {
        arm: paired_ratio(values, timed[BASE]) for timed in [step_seconds(task, base, seed)] for arm, values in timed.items()
    }
    say("; ".join(f"{arm}: {ratio.value:.2f} x {BASE}'s speed" for arm, ratio in speeds.items()))
    rates = _tune(task, base, derived_seed(seed, "optimizers", "rates"), say)
    found: dict[str, dict[int, dict[str, float]]] = {arm: {} for arm in rates}
    averaged: dict[str, dict[int, dict[str, float]]] = {"wsd": {}, "cosine": {}}
    for number in numbers:
        for arm, rate in rates.items():
            share = 1.0 if arm == BASE else min(speeds[arm].value, 1.0)
            found[arm][number] = trained(task, task.settings(arm, rate), number, share, averages=arm == BASE)
            say(f"{arm}, seed {number}: {_losses_text(found[arm][number])}")
        if BASE in rates:
            averaged["wsd"][number] = found[BASE][number]
            averaged["cosine"][number] = trained(task, task.settings(BASE, rates[BASE], "cosine"), number, averages=True)
            say(f"cosine, seed {number}: {_losses_text(averaged['cosine'][number])}")
    rows = [*comparison_rows(found, rates, speeds), *average_rows(averaged)]
    return Findings(rows=rows, conditions=_conditions(task, recipe, threads, seeds, rates))


def _tune(task: Task, base: float, seed: int, say: Say) -> dict[str, float]:
    """The best of rates x2 apart for each arm; beyond the edge where the best is there, once. Arms that failed are left out."""
    chosen = {}
    for arm in ARMS:
        losses = {base * factor: trained(task, task.settings(arm, base * factor), seed) for factor in FACTORS}
        for edge, further in ((min(losses), 0.5), (max(losses), 2.0)):
            if best_rate(losses) == edge:
                losses[edge * further] = trained(task, task.settings(arm, edge * further), seed)
        text = ", ".join(f"{rate:g}: {found.get('end', math.nan):.4f}" for rate, found in sorted(losses.items()))
        say(f"{arm}, learning_rate {text}")
        if (best := best_rate(losses)) is not None:
            chosen[arm] = best
    return chosen


def comparison_rows(found: Mapping[str, Losses], rates: Mapping[str, float], speeds: Mapping[str, Ratio]) -> list[Row]:
    """Each arm less AdamW at equal tokens and at equal time, and what its step costs."""
    rows = []
    for arm in ARMS:
        if arm not in found or BASE not in found:
            rows.append(not_measured(f"{arm}", "no training came to its end", unit="nats"))
            continue
        note = f"learning_rate {rates[arm]:g}"
        if arm == BASE:
            ends = [one["end"] for one in found[arm].values() if "end" in one]
            rows.append(Row(metric="adamw: loss", unit="nats", ours=statistics.mean(ends), note=note))
            continue
        rows.append(_difference(f"{arm} - adamw, equal tokens", found[arm], "end", found[BASE], "end", note))
        speed = speeds[arm]
        slower = any("equal time" in one for one in found[arm].values())
        share = f"{min(speed.value, 1.0):.2f} of the tokens"
        at = "equal time" if slower else "end"
        rows.append(_difference(f"{arm} - adamw, equal time", found[arm], at, found[BASE], "end", share))
        low, high = 1 / speed.high, 1 / speed.low
        rows.append(Row(metric=f"a step of {arm}", unit="of adamw's time", ours=1 / speed.value, low=low, high=high))
    return rows


def average_rows(found: Mapping[str, Losses]) -> list[Row]:
    """Averages of the weights less the weights themselves, at each place where both were looked at."""
    rows = []
    for schedule, by_seed in found.items():
        names = next((one for one in by_seed.values() if one), {})
        for name in names:
            place, _, average = name.partition(", ")
            if average:
                rows.append(_difference(f"{average} - last weights, {schedule}, {place}", by_seed, name, by_seed, place, ""))
    return rows


def _difference(metric: str, ours: Losses, name: str, others: Losses, other: str, note: str) -> Row:
    """The mean over seeds of the one less the other, with its 95 % interval (t)."""
    pairs = [
        ours[seed][name] - others[seed][other]
        for seed in ours
        if seed in others and name in ours[seed] and other in others[seed]
    ]
    if len(pairs) < 2:
        return not_measured(metric, "fewer than two pairs came to their end", unit="nats")
    mean, reach = mean_and_reach(pairs)
    by_seed = "by seed " + ", ".join(f"{value:+.4f}" for value in pairs)
    note = "; ".join(filter(None, (note, by_seed)))
    return Row(metric=metric, unit="nats", ours=mean, low=mean - reach, high=mean + reach, note=note)


def mean_and_reach(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and how far its 95 % interval reaches (Student's t)."""
    return statistics.mean(values), t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def _losses_text(losses: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items()) or "failed"


def _conditions(task: Task, recipe: Recipe, threads: int, seeds: int, rates: Mapping[str, float]) -> dict[str, Any]:
    return {
        "device": str(resolve_device(task.device)),
        "threads": threads,
        "space": recipe.name,
        "layers": task.spec.layers,
        "width": task.spec.width,
        "params": cost.count_params(task.spec),
        "tokens": task.tokens,
        "cooldown_tokens": task.cooldown_tokens,
        "batch_tokens": recipe.training.batch_tokens,
        "seeds": seeds,
        "rates": dict(rates),
        "arms": {arm: dict(values) for arm, values in ARMS.items()},
    }
