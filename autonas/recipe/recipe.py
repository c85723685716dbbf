"""From a space file to everything a study needs: the space, the data, the budget and how to train, score and time.

The file is read once and strictly; below this module only values travel. `Recipe.resolved` is the same file with every default
written out: it goes into the ledger, and `Recipe.from_resolved` makes the recipe again from it, so that a resumed study and a
report know exactly what was asked. Whether a corpus or a tokenizer can really be built is found out by `data`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autonas import cost
from autonas.arch import ArchSpec
from autonas.curriculum import Curriculum, Teacher
from autonas.data.records import CorpusSettings, TokenizerSettings
from autonas.objective import OBJECTIVES
from autonas.policy.problem import SpaceProblem
from autonas.policy.settings import CalibrationSettings, SearchSettings
from autonas.recipe.curriculum_sections import describe_curriculum, read_curriculum, read_teacher
from autonas.recipe.data_sections import read_corpus, read_tokenizer
from autonas.recipe.finding import find_space
from autonas.recipe.search_sections import (
    HorizonSettings,
    PromoteSettings,
    describe_budget,
    read_budget,
    read_calibration,
    read_horizon,
    read_objectives,
    read_promote,
)
from autonas.recipe.worker_sections import describe_training, read_evaluation, read_latency, read_training
from autonas.space.limits import MEASURED
from autonas.space.loading import describe_space, read_space
from autonas.space.node import Node, Section, from_values
from autonas.space.reading import read_yaml
from autonas.space.space import Space
from autonas.trial import EvaluationSettings, LatencySettings, TrainingSettings, to_json

SECTIONS = (
    *(
        "name",
        "corpus",
        "tokenizer",
        "context_length",
        "space",
        "rules",
        "limits",
        "export",
        "objectives",
        "latency",
        "budget",
        "horizon",
    ),
    *("promote", "training", "evaluation", "calibration", "curriculum", "teacher"),
)
# What may differ between a study and its resumption. `promote`, replicas, curriculum and teacher concern what follows a search.
MAY_CHANGE = (
    "budget.trials",
    "budget.max_hours",
    "promote",
    "curriculum",
    "teacher",
    "horizon.replicas",
    "horizon.share",
    "horizon.seeds",
    "training.time_limit",
    "training.memory_limit",
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DEFAULT_CONTEXT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that a space file says, checked; `resolved` is the file with every default written out, as JSON values."""

    name: str
    space: Space
    corpus: CorpusSettings
    tokenizer: TokenizerSettings
    objectives: tuple[str, ...]
    training: TrainingSettings
    evaluation: EvaluationSettings
    latency: LatencySettings
    search: SearchSettings
    calibration: CalibrationSettings
    horizon: HorizonSettings
    promote: PromoteSettings | None
    curriculum: Curriculum | None  # of full runs, as the teacher is
    teacher: Teacher | None
    resolved: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_resolved(cls, resolved: Mapping[str, Any]) -> Recipe:
        """The recipe that `resolved` was made from. Files that it names need not exist any more.

        Raises:
            RecipeError: it is not the `resolved` of a recipe of this version.
        """
        return _read_recipe(from_values(resolved, "the recorded recipe"), fallback_name="", at_edge=False)

    @property
    def problem(self) -> SpaceProblem:
        """What the search policy sees. Limits on who may be promoted shrink the front that is looked for."""
        if self.promote is None:
            return SpaceProblem(self.space, self.objectives)
        return SpaceProblem(self.space, self.objectives, self.promote.limits, self.promote.preference(self.objectives))

    @property
    def needs_latency(self) -> bool:
        """Whether a candidate's latencies must be known before it is trained: they are scored, or limited."""
        scored = any(OBJECTIVES[name].known == "measured" for name in self.objectives)
        return scored or any(self.space.limits.bounds(name) != (None, None) for name in MEASURED)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over all that must not change when a study is resumed: everything but `MAY_CHANGE`."""
        lasting = {place: value for place, value in _leaves(self.resolved) if not _may_change(place)}
        return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:16]


def load_recipe(
    path_or_name: str,
    *,
    trials: int | None = None,
    max_hours: float | None = None,
    sampler: str | None = None,
    seed: int | None = None,
    promote: bool | None = None,
    name: str | None = None,
) -> Recipe:
    """The recipe of a space file, given by its path or as a bare name of a file in `search_spaces/`.

    The other arguments stand instead of what the file says (`promote=False`: no full run after the search).

    Raises:
        RecipeError: the file or an argument is wrong; one line with file, line, place, value and remedy.
        TokenizerError: the tokenizer file that it names is missing or corrupt.
    """
    path = find_space(path_or_name)
    root = read_yaml(path)
    overrides = {"trials": trials, "max_hours": max_hours, "sampler": sampler, "seed": seed}
    root = _overridden(root, "budget", {key: value for key, value in overrides.items() if value is not None})
    if name is not None:
        root = _overridden(root, None, {"name": name})
    if promote is False:
        root = _overridden(root, None, {"promote": False})
    return _read_recipe(root, fallback_name=path.stem, at_edge=True)


def difference(before: Recipe, after: Recipe) -> list[str]:
    """What `after` changes of what must not change, one place a line: `space.layers.int was [2, 16], is [2, 8]`."""
    old, new = dict(_leaves(before.resolved)), dict(_leaves(after.resolved))
    places = [place for place in dict.fromkeys([*old, *new]) if not _may_change(place) and old.get(place) != new.get(place)]
    return [f"{place} was {_shown(old, place)}, is {_shown(new, place)}" for place in places]


def price(spec: ArchSpec) -> dict[str, float]:
    """The scores that are arithmetic: parameters, inference bytes and FLOP of one token, both at the full context."""
    return {
        "params": cost.count_params(spec),
        "memory": cost.inference_bytes(spec),
        "flops": cost.decode_flops_per_token(spec, spec.context_length),
    }


def _read_recipe(node: Node, *, fallback_name: str, at_edge: bool) -> Recipe:
    """Reads top to bottom, one line per part. Only `at_edge` must the files that it names exist."""
    root = node.section(SECTIONS)
    name = _name(root, fallback_name)
    context_length = root.whole("context_length", _DEFAULT_CONTEXT, least=8, most=2**20)
    corpus = read_corpus(root)
    tokenizer = read_tokenizer(root, at_edge)
    horizon = read_horizon(root)
    search, batch_tokens = read_budget(root, context_length)
    training = read_training(root, search, batch_tokens)
    space = read_space(
        root,
        name=name,
        vocab_size=tokenizer.vocab_size,
        context_length=context_length,
        sample_horizon_bound=horizon.sample,
        price=price,
    )
    parts: dict[str, Any] = {
        "objectives": read_objectives(root),
        "latency": read_latency(root, context_length, at_edge),
        "evaluation": read_evaluation(root, corpus, context_length, tokenizer.vocab_size, at_edge),
        "calibration": read_calibration(root, search, training),
        "horizon": horizon,
        "promote": read_promote(root),
        "teacher": read_teacher(root),
    }
    curriculum = read_curriculum(root, context_length, at_edge)
    resolved = {
        "name": name,
        "corpus": to_json(corpus),
        "tokenizer": to_json(tokenizer),
        "context_length": context_length,
        **describe_space(space),
        "budget": describe_budget(search, batch_tokens),
        "training": describe_training(training),
        **{key: to_json(part) for key, part in parts.items()},
        "curriculum": None if curriculum is None else describe_curriculum(curriculum),
    }
    return Recipe(
        name=name,
        space=space,
        corpus=corpus,
        tokenizer=tokenizer,
        training=training,
        search=search,
        curriculum=curriculum,
        resolved=resolved,
        **parts,
    )


def _name(root: Section, fallback: str) -> str:
    node = root.node.entries().get("name") or Node(content=fallback, place="name", source=root.node.source)
    name = node.text()
    if not _NAME.fullmatch(name):
        raise node.complaint(f"is {node.shown}, which cannot name a folder; write at most 64 letters, digits, dots, - and _")
    return name


def _overridden(root: Node, place: str | None, values: Mapping[str, Any]) -> Node:
    """The root with `values` instead of what the section (or, for None, the root itself) says; complaints name the option."""
    nodes = {key: _option(key, value) for key, value in values.items()}
    entries = dict(root.entries())
    if place is None:
        return replace(root, content={**entries, **nodes})
    section = entries.get(place, Node(content={}, place=place, source=root.source, line=root.line))
    return (
        replace(root, content={**entries, place: replace(section, content={**section.entries(), **nodes})}) if nodes else root
    )


def _option(key: str, value: Any) -> Node:
    return from_values(value, "", place="--study" if key == "name" else f"--{key.replace('_', '-')}")


def _leaves(values: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every value with its dotted place; lists are values, and an empty mapping has none."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _leaves(value, f"{place}.{key}" if place else key)
    else:
        yield place, values


def _may_change(place: str) -> bool:
    return any(place == free or place.startswith(f"{free}.") for free in MAY_CHANGE)


def _shown(leaves: Mapping[str, Any], place: str) -> str:
    return json.dumps(leaves[place], ensure_ascii=False) if place in leaves else "absent"
