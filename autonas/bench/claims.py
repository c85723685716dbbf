"""The prior system's findings, tried again: `autonas bench claims`.

They were made on a model without a causal mask, with one seed, 55 samples and a smoothed loss. Here each is a statement with a
contrast and a direction, tried on causal models that passed the leak test, over some seeds, at equal temperature as they did
and at equal entropy of the sampling distribution. How they are trained is in claims_trainings.py, what the numbers say in
claims_contrasts.py. Models so small tell whether a finding holds for small models, and not whether it holds for large ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from autonas import cost
from autonas.bench import Findings, Row, Say, not_measured
from autonas.bench.claims_contrasts import (
    BOTH_KINDS,
    RATES,
    VIEW_NAMES,
    VIEWS,
    Claim,
    Estimate,
    Judged,
    View,
    estimate,
    judge,
    value_of,
)
from autonas.bench.claims_trainings import DROPOUT, EPOCHS, JUDGED_BY, SMOOTHING, Experiment, Result, run_trainings, sizes
from autonas.data.dataset import prepare
from autonas.engine.choice import EngineSettings, check_settings, make_engine
from autonas.errors import RequestError, TrialFailure
from autonas.evaluation.calibration import MATCHED_ENTROPY
from autonas.evaluation.collapse import real_range
from autonas.evaluation.latency import resolve_device
from autonas.machine import resolve_threads
from autonas.recipe import load_recipe

SPACE = Path(__file__).parents[2] / "benchmarks" / "claims.yaml"

CLAIMS: Final[tuple[Claim, ...]] = (
    Claim(
        name="strong regularisation",
        statement="label smoothing 0.1 and dropout 0.2 together make few-shot collapse rarer (14.5 % of samples)",
        contrast="both - neither",
        direction=-1,
        kinds=("few_shot",),
    ),
    Claim(
        name="label smoothing",
        statement="label smoothing 0.1 makes collapse rarer",
        contrast="smoothing - none",
        direction=-1,
    ),
    Claim(name="dropout", statement="dropout 0.2 makes collapse rarer", contrast="dropout - none", direction=-1),
    Claim(
        name="both are needed",
        statement="smoothing and dropout together do more against collapse than the sum of what each does",
        contrast="both beyond the sum",
        direction=-1,
    ),
    Claim(
        name="bare prompts",
        statement="bare one-line prompts collapse more often than few-shot ones",
        contrast="bare - few-shot",
        direction=1,
    ),
    Claim(
        name="bare prompts, far more",
        statement="of strongly regularised models far more often (85-90 % against 14.5 %): by at least half that difference",
        contrast="bare - few-shot, both",
        direction=1,
        threshold=0.36,
    ),
    Claim(name="size", statement="a larger model collapses less", contrast="large - small", direction=-1),
    Claim(
        name="size needs regularisation",
        statement="strong regularisation does more against collapse in a larger model",
        contrast="both - neither, large - small",
        direction=-1,
    ),
    Claim(
        name="regularisation and loss",
        statement="strong regularisation lowers the validation loss",
        contrast="both - neither",
        direction=-1,
        metric="loss",
    ),
    Claim(
        name="loss tells collapse",
        statement="of two models the one with the lower reported (smoothed) validation loss collapses less",
        contrast="rank",
        direction=1,
        least=0.3,
    ),
    Claim(
        name="five points are real",
        statement="a difference of 5 points between two checkpoints, by some 50 samples each, is more than luck",
        contrast="luck",
        direction=1,
        least=0.0,
        has_opposite=False,
    ),
)


def measure(
    *,
    space: str | None = None,
    seeds: int | None = None,
    seed: int = 0,
    out: str | Path = "trials",
    engine: EngineSettings | None = None,
    say: Say = lambda text: None,
) -> Findings:
    """Train every size in every way by each seed, and judge the claims. What has ended in `out` is not repeated.

    Raises:
        RequestError: what was asked cannot be done as asked.
        TrialFailure: workers were lost again and again, or nothing came to its end.
    """
    named = space or str(SPACE)
    recipe = load_recipe(named)
    seeds = seeds or recipe.horizon.seeds
    if seeds < 2:
        raise RequestError(f"--seeds {seeds}: an interval over seeds takes two, and three to be worth much")
    specs = sizes(recipe, named)
    settings = engine or EngineSettings()
    check_settings(settings)
    dataset = prepare(recipe.corpus, recipe.tokenizer, say=say)
    experiment = Experiment(
        recipe=recipe,
        specs=specs,
        dataset=dataset,
        seed=seed,
        device=settings.device,
        threads=resolve_threads(settings.threads),
        out=Path(out),
    )
    if experiment.unique_tokens >= len(dataset.tokens("train")):
        raise RequestError(
            f"--space {named}: {EPOCHS:g} passes need {experiment.unique_tokens:,} tokens, and the corpus has "
            f"{len(dataset.tokens('train')):,}; write a shorter rung, or a larger corpus"
        )
    real_range(dataset, recipe.evaluation)  # found out now, and not after the first training
    with contextlib.closing(make_engine(settings)) as runner:
        results = run_trainings(experiment, seeds, runner, say)
    if all(result.failure for result in results):
        raise TrialFailure("nan", f"no training came to its end; the first: {results[0].failure}")
    judged = [judge(claim, results) for claim in CLAIMS]
    return Findings(rows=rows_of(judged, results), conditions=conditions_of(experiment, seeds, judged, results))


def rows_of(judged: Sequence[Judged], results: Sequence[Result]) -> list[Row]:
    """Of each claim the fair view, which has the verdict, and theirs; then the same contrasts of the other rates."""
    rows = []
    for each in judged:
        for view in reversed(VIEWS):
            verdict = f"{each.verdict} ({each.reason}); " if view == "fair" else ""
            rows.append(_row(each.claim, each.views[view], view, each.claim.metric, verdict))
    for each in judged:
        if each.claim.metric != "loss":
            for metric in RATES[1:]:
                rows += [_row(each.claim, estimate(each.claim, results, view, metric), view, metric, "") for view in VIEWS]
    return rows


def _row(claim: Claim, found: Estimate | None, view: View, metric: str, verdict: str) -> Row:
    title = f"{claim.name}: {contrast_text(claim, metric)}, {view_name(claim, view)}"
    if found is None:
        return not_measured(title, "too few seeds came to their end", unit=_unit(claim))
    parts = [f"{found.comparisons} comparisons"] if found.by_seed else [f"{found.comparisons} degrees of freedom"]
    parts += ["by seed " + ", ".join(f"{value:+.3f}" for value in found.by_seed)] if found.by_seed else []
    parts += [f"would have told {found.smallest:.2g}"]
    parts += [f"p over prompts {found.p_value:.2g}"] if found.p_value is not None else []
    note = verdict + "; ".join(parts)
    return Row(metric=title, unit=_unit(claim), ours=found.value, low=found.low, high=found.high, note=note)


def contrast_text(claim: Claim, metric: str) -> str:
    """What is compared, in a few words."""
    kinds = "" if claim.kinds == BOTH_KINDS or claim.metric == "loss" else ", few-shot"
    name = metric.replace("_", " ")
    if claim.contrast == "rank":
        return f"rank correlation of loss and {name}"
    return f"5 points less luck, {name}" if claim.contrast == "luck" else f"{claim.contrast}, {name}{kinds}"


def view_name(claim: Claim, view: View) -> str:
    """How a claim is measured in a view."""
    return VIEW_NAMES["loss" if claim.metric == "loss" else "rank" if claim.contrast == "rank" else "rate", view]


def _unit(claim: Claim) -> str:
    return "nats" if claim.metric == "loss" else "rho" if claim.contrast == "rank" else "of samples"


def conditions_of(experiment: Experiment, seeds: int, judged: Sequence[Judged], results: Sequence[Result]) -> dict[str, Any]:
    """What was trained and how, every claim with its verdict, and the means of every treatment."""
    budget = experiment.budget
    tokens = budget.tokens + budget.cooldown_tokens
    return {
        "device": str(resolve_device(experiment.device)),
        "threads": experiment.threads,
        "space": experiment.recipe.name,
        "seeds": seeds,
        "smoothing": SMOOTHING,
        "dropout": DROPOUT,
        "sizes": [{"layers": spec.layers, "width": spec.width, "params": cost.count_params(spec)} for spec in experiment.specs],
        "tokens": tokens,
        "unique_tokens": experiment.unique_tokens,
        "epochs": tokens / experiment.unique_tokens,
        "samples": experiment.profile.prompts * experiment.profile.samples,
        "temperature": experiment.recipe.evaluation.temperature,
        "matched_entropy": MATCHED_ENTROPY,
        "judged_by": JUDGED_BY,
        "folder": str(experiment.folder),
        "failed": {result.treatment.name: result.failure for result in results if result.failure},
        "claims": [
            {"name": each.claim.name, "statement": each.claim.statement, "verdict": each.verdict, "reason": each.reason}
            for each in judged
        ],
        "treatments": treatments_of(results),
    }


def treatments_of(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    """The means over seeds of every treatment: losses, temperatures of the matched entropy, and rates."""
    groups: dict[tuple[int, bool, bool], list[Result]] = {}
    for result in results:
        if not result.failure:
            key = (result.treatment.size, result.treatment.smoothing, result.treatment.dropout)
            groups.setdefault(key, []).append(result)
    return [_means(*key, found) for key, found in sorted(groups.items())]


def _means(size: int, smoothing: bool, dropout: bool, found: Sequence[Result]) -> dict[str, Any]:
    values: dict[str, Any] = {"size": size, "smoothing": smoothing, "dropout": dropout, "seeds": len(found)}
    values["reported_loss"] = _mean([result.smoothed_loss or 0.0 for result in found])
    for view, name in zip(VIEWS, ("raw_loss", "calibrated_loss"), strict=True):
        values[name] = _mean([value_of(result, "loss", (), view) for result in found])
    matched = [row.temperature for result in found for row in result.rows if row.matched_entropy is not None]
    values["matched_temperature"] = _mean([each for each in matched if each is not None])
    for view, kind in [(view, kind) for view in VIEWS for kind in BOTH_KINDS]:
        for metric in RATES:
            name = f"{metric}, {kind.replace('_', '-')}, {VIEW_NAMES['rate', view]}"
            values[name] = _mean([value_of(result, metric, (kind,), view) for result in found])
    return values


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
