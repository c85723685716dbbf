"""What a user should think about before a study is begun, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autonas.data.dataset import Dataset
from autonas.data.estimate import CorpusSize
from autonas.evaluation.latency_cache import load_table
from autonas.evaluation.prompts import choose_prompts
from autonas.evaluation.scored import choose_documents
from autonas.objective import OBJECTIVES
from autonas.policy import calibration
from autonas.recipe import Recipe
from autonas.space.limits import MEASURED

_FEW_DOCUMENTS = 10
_MANY_EPOCHS = 4.0  # beyond, repeated data is worth less and less (Muennighoff et al. 2023)
_DAY_S = 86_400
_MUCH_SHARED = 0.2


def plan_notes(
    recipe: Recipe,
    corpus: CorpusSize,
    rungs: Sequence[Mapping[str, Any]],
    seconds: float,
    promotion: Mapping[str, Any] | None,
    others_share: float,
) -> list[str]:
    """What a plan's numbers call for.

    Raises:
        CorpusError, RecipeError: as `data_notes`.
    """
    return [
        *_corpus_notes(corpus),
        *busy_notes(others_share),
        *_time_notes(recipe, seconds),
        *_epoch_notes(rungs, promotion),
        *_promotion_notes(promotion),
        *_horizon_notes(recipe),
        *(latency_notes(recipe) if corpus.dataset is None else data_notes(recipe, corpus.dataset)),
    ]


def busy_notes(others_share: float) -> list[str]:
    """What to think of times taken while other programs used such a share of the cores."""
    if others_share <= _MUCH_SHARED:
        return []
    return [f"other programs used {others_share:.0%} of the cores while this machine was timed: alone it may be much faster"]


def timing_notes(num_timed: int, num_probes: int) -> list[str]:
    """What to think of times where fewer architectures were tried than should have been."""
    if num_timed >= num_probes:
        return []
    return [
        f"{num_timed} of {num_probes} architectures were timed, as a plan has one minute: the speed of larger ones is reckoned "
        "from theirs by the FLOPs of a token"
    ]


def _corpus_notes(corpus: CorpusSize) -> list[str]:
    if corpus.dataset is not None:
        return []
    found = [
        f"the corpus has not been prepared: its numbers are estimates from {corpus.sampled_documents:,} documents, duplicates "
        "included (`autonas corpus` prepares it)"
    ]
    if not corpus.whole_known:
        found.append("the hub does not say how many rows there are: the corpus may be many times what is given here")
    return found


def _time_notes(recipe: Recipe, seconds: float) -> list[str]:
    limit = None if recipe.search.max_hours is None else recipe.search.max_hours * 3600
    if limit is not None and seconds > limit:
        return [
            f"the whole budget needs about {seconds / 3600:.2f} h and max_hours allows {limit / 3600:.2f} h: "
            "fewer trials will begin"
        ]
    if limit is None and seconds > _DAY_S:
        return [f"for the study this machine would need about {seconds / _DAY_S:.1f} days"]
    return []


def _epoch_notes(rungs: Sequence[Mapping[str, Any]], promotion: Mapping[str, Any] | None) -> list[str]:
    found = []
    if rungs[-1]["epochs"] > _MANY_EPOCHS:
        found.append(f"the last rung repeats the corpus {rungs[-1]['epochs']:.1f} times: give a larger corpus or fewer tokens")
    if promotion is not None and promotion["epochs"] > _MANY_EPOCHS:
        found.append(
            f"the full run repeats the corpus {promotion['epochs']:.1f} times: give a larger corpus or fewer steps, or expect "
            "dropout to be worth more than in the trials"
        )
    return found


def _promotion_notes(promotion: Mapping[str, Any] | None) -> list[str]:
    if promotion is None or promotion["largest"]["seconds"] <= _DAY_S:
        return []
    median, largest = (promotion[name]["seconds"] / _DAY_S for name in ("median", "largest"))
    return [
        f"for the full run this machine would need about {median:.1f} days with the median architecture, "
        f"{largest:.1f} with the largest"
    ]


def _horizon_notes(recipe: Recipe) -> list[str]:
    found = []
    held = [name for name in recipe.space.horizon_bound if name not in recipe.space.searched]
    if held:
        found.append(
            f"{', '.join(held)} held at defaults: a truncated run cannot rank them "
            "(horizon.sample: true samples them all the same)"
        )
    sampled = [name for name in recipe.space.horizon_bound if name in recipe.space.searched]
    if sampled:
        found.append(f"{', '.join(sampled)} will be judged by truncated runs, which favour values near zero")
    return found


def data_notes(recipe: Recipe, dataset: Dataset) -> list[str]:
    """What a user should know of a corpus before anything is trained on it, one sentence each.

    Raises:
        CorpusError: the recipe's prompts file is missing or wrong. It is used at the last rung only: too late to find out.
        RecipeError: the recipe's latency table is wrong.
    """
    found = []
    if any(OBJECTIVES[name].known == "final" for name in recipe.objectives):
        choose_prompts(dataset, recipe.evaluation)
    scored = len(choose_documents(dataset.documents("validation"), recipe.evaluation.validation_tokens))
    if scored < _FEW_DOCUMENTS:
        found.append(
            f"the loss is measured on {scored} validation documents, so its intervals will be wide; "
            "raise evaluation.validation_tokens or corpus.validation_share"
        )
    report = dataset.report
    few = [f"{split} ({count})" for split, count in report["projects"].items() if count < 3 and split != "train"]
    if few and report["split_by"] == "project":
        found.append(
            f"few projects in the split {' and '.join(few)}: it may be unlike the training data; `autonas corpus` shows them"
        )
    return [*found, *latency_notes(recipe)]


def latency_notes(recipe: Recipe) -> list[str]:
    """What its latencies mean for the search. Raises RecipeError when the recipe's latency table is wrong."""
    if recipe.latency.table is not None:
        table = load_table(recipe.latency.table)
        specs = calibration.legal_draws(recipe.space, recipe.search.seed)
        known = sum(spec.inference_fingerprint in table for spec in specs)
        return [f"latencies are read from {recipe.latency.table}, which has {known / len(specs):.0%} of the legal draws"]
    if any(recipe.space.limits.bounds(name) != (None, None) for name in MEASURED):
        return ["the limit on latency is checked by measuring, so the legal share above does not count it"]
    return []
