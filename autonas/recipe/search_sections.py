"""The sections of a space file that say how is searched: `budget:`, `calibration:`, `objectives:`, `horizon:`, `promote:`."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autonas.objective import DEFAULT_OBJECTIVES, OBJECTIVES
from autonas.policy.settings import MOST_GP_OBJECTIVES, SAMPLERS, CalibrationSettings, SearchSettings
from autonas.recipe.fields import LARGEST_SEED, fields_of, options_of, renamed
from autonas.space.node import Node, Section
from autonas.trial import TrainingSettings, to_json

KNEE = "knee"
MOST_RETESTED, MOST_SEEDS = 10, 100  # candidates of a promotion, and new trainings of each
_RENAMED = {"cooldown_share": "cooldown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonSettings:
    """The full run that the search prepares, and what is done about dimensions that only it can judge."""

    tokens: int | None = None
    sample: bool = False  # them in the search, whose short trials cannot judge them
    replicas: bool | None = None  # choose their values before a full run, on replicas of it; None: where any varies
    share: float = 0.05  # of the full run's cost, that all replicas together may have
    seeds: int = 2  # of every arm


@dataclass(frozen=True, slots=True, kw_only=True)
class PromoteSettings:
    """How the winner of a finished search is picked, and the optimiser steps of its full run. See promotion/select.py."""

    select: str = KNEE  # or an objective
    steps: int = 50_000
    limits: Mapping[str, float] = field(default_factory=dict)  # score -> the most it may be, in its unit
    weights: Mapping[str, float] = field(default_factory=dict)  # objective -> its weight in the knee; 1 where left out
    retest: int = 3  # so many of the best are trained again before one of them is picked; below 2 the best is, as measured
    seeds: int = 2  # new trainings of each
    succession: bool = True  # the next takes the place of one whose full run diverges or collapses

    def preference(self, objectives: Sequence[str]) -> dict[str, float]:
        """What the pick is measured by, as weights of objectives; empty where it is to be the plain knee."""
        if self.select != KNEE:
            return {self.select: 1.0}
        weights = {name: self.weights.get(name, 1.0) for name in objectives}
        return weights if len(set(weights.values())) > 1 else {}


def read_budget(root: Section, context_length: int) -> tuple[SearchSettings, int]:
    """The search and its batch size in tokens, which the file keeps beside the rungs."""
    keys = ("trials", "rungs", "tokens", "batch_tokens", "cooldown", "max_hours", "scheduler", "reduction_factor")
    root.need("budget", "write at least `trials:` and `rungs:` there")
    section = root.child("budget", (*keys, "min_survivors", "repeats", "retries", "sampler", "seed"))
    rungs = _rungs(section)
    fallback = max(TrainingSettings().batch_tokens // context_length, 1) * context_length
    batch_tokens = section.whole("batch_tokens", fallback, least=1, most=10**9)
    at = section.get("batch_tokens") or section.need("rungs", "")
    if batch_tokens % context_length:
        nearest = max(round(batch_tokens / context_length), 1) * context_length
        raise at.complaint(f"is {batch_tokens:,}, not a multiple of context_length {context_length:,}; write {nearest:,}")
    if batch_tokens > rungs[0]:
        raise at.complaint(
            f"the first rung has {rungs[0]:,} tokens and one batch {batch_tokens:,}; write a smaller batch_tokens"
        )
    max_hours = section.get("max_hours")
    sampler = section.one_of("sampler", "autonas", SAMPLERS)
    scheduler = section.one_of("scheduler", "auto", options_of(SearchSettings, "scheduler"))
    if scheduler == "gain" and sampler != "autonas":
        raise section.need("scheduler", "").complaint(
            f"is 'gain', which weighs trials against candidates of the sampler autonas, and the sampler is {sampler}; "
            "write scheduler: pareto, or sampler: autonas"
        )
    tokens = section.get("tokens")
    search = SearchSettings(
        trials=section.need("trials", "write how many to train, such as 64").whole(least=1, most=10**6),
        # Without early stopping nothing is decided at the lower rungs: nothing is scored there, unless the curves are wanted.
        rungs=rungs[-1:] if scheduler == "full" else rungs,
        cooldown_share=section.number("cooldown", 0.2, above=0.0, most=1.0),
        scheduler=typing.cast(Any, scheduler),
        reduction_factor=section.number("reduction_factor", 3.0, above=1.0, most=1000.0),
        min_survivors=section.whole("min_survivors", 4, least=1, most=10**6),
        repeats=section.whole("repeats", 2, most=1000),
        retries=section.whole("retries", 2, most=1000),
        max_hours=None if max_hours is None else max_hours.number(above=0.0, most=1e5),
        tokens=None if tokens is None else tokens.whole(least=rungs[-1], most=10**18),
        sampler=typing.cast(Any, sampler),
        seed=section.whole("seed", 0, most=LARGEST_SEED),
    )
    _check_sampler(root, section, search.sampler)
    return search, batch_tokens


def _check_sampler(root: Section, section: Section, sampler: str) -> None:
    named = section.get("sampler")
    count = len(read_objectives(root))
    if named is not None and sampler == "gp" and count > MOST_GP_OBJECTIVES:
        raise named.complaint(
            f"is 'gp', which takes at most {MOST_GP_OBJECTIVES} objectives, and there are {count}; "
            "leave one out, or choose tpe or nsgaii"
        )


def _rungs(section: Section) -> tuple[int, ...]:
    node = section.need("rungs", "write token counts, such as [4M, 12M]")
    items = node.items()
    if not 1 <= len(items) <= 16:
        raise node.complaint(f"has {len(items)} entries; write 1 to 16 token counts, such as [4M, 12M]")
    rungs = tuple(item.whole(least=1, most=10**15) for item in items)
    for item, before, after in zip(items[1:], rungs, rungs[1:], strict=False):
        if after <= before:
            raise item.complaint(f"is {item.shown}, no more than the rung before it; write rising token counts")
    return rungs


def read_calibration(root: Section, search: SearchSettings, training: TrainingSettings) -> CalibrationSettings:
    node = root.get("calibration")
    if node is not None and isinstance(node.content, str):
        return CalibrationSettings(tokens=_calibration_tokens(search, training), enabled=node.flag())
    section = root.child("calibration", fields_of(CalibrationSettings))
    rates = section.get("rates")
    items = () if rates is None else rates.items()
    given = tuple(item.number(above=0.0, most=1.0) for item in items)
    if rates is not None and not (1 <= len(given) <= 16 and list(given) == sorted(set(given))):
        raise rates.complaint("is not a list of 1 to 16 rising learning rates; write such as [1e-3, 2e-3, 4e-3]")
    tokens = section.whole("tokens", _calibration_tokens(search, training), least=training.batch_tokens, most=10**15)
    if tokens <= training.warmup_tokens:
        at = section.get("tokens") or section.node
        message = (
            f"has {tokens:,} tokens, not more than the warm-up's {training.warmup_tokens:,}; write more, or a shorter warm-up"
        )
        raise at.complaint(message)
    return CalibrationSettings(rates=given or CalibrationSettings().rates, tokens=tokens, enabled=section.flag("enabled", True))


def _calibration_tokens(search: SearchSettings, training: TrainingSettings) -> int:
    """The usual length of a calibration point, within the first rung and beyond the warm-up."""
    usual = min(CalibrationSettings().tokens, search.rungs[0])
    return max(usual, training.batch_tokens, min(2 * training.warmup_tokens, search.rungs[0]))


def read_objectives(root: Section) -> tuple[str, ...]:
    node = root.get("objectives")
    if node is None:
        return DEFAULT_OBJECTIVES
    names = tuple(item.one_of(OBJECTIVES, "objective") for item in node.items())
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise node.complaint(f"holds {twice} twice; keep one")
    if not 2 <= len(names) <= 5:
        raise node.complaint(f"has {len(names)} entries; write 2 to 5 of {', '.join(OBJECTIVES)}")
    trained = [name for name, objective in OBJECTIVES.items() if objective.known == "trained"]
    if not set(names) & set(trained):
        raise node.complaint(f"has none that training improves at every rung; add {' or '.join(trained)}")
    return names


def read_horizon(root: Section) -> HorizonSettings:
    section = root.child("horizon", fields_of(HorizonSettings))
    tokens, asked, default = section.get("tokens"), section.get("replicas"), HorizonSettings()
    return HorizonSettings(
        tokens=None if tokens is None else tokens.whole(least=1),
        sample=section.flag("sample", False),
        replicas=None if asked is None else asked.flag(),
        share=section.number("share", default.share, above=0.0, most=100.0),
        seeds=section.whole("seeds", default.seeds, least=1, most=100),
    )


def read_promote(root: Section) -> PromoteSettings | None:
    node = root.get("promote")
    if node is None or (isinstance(node.content, str) and not node.flag()):
        return None
    if isinstance(node.content, str):
        return PromoteSettings()
    section = node.section(fields_of(PromoteSettings))
    objectives = read_objectives(root)
    select = section.one_of("select", KNEE, (KNEE, *objectives))
    weights = section.get("weights")
    if weights is not None and weights.entries() and select != KNEE:
        raise weights.complaint(f"belongs to the {KNEE}; leave out `select: {select}` or the weights")
    limits = section.child("limits", OBJECTIVES).node.entries()
    weighted = section.child("weights", objectives).node.entries()
    found = {name: entry.number(least=0.0, most=1e9) for name, entry in weighted.items()}
    if weights is not None and not any(found.get(name, 1.0) for name in objectives):
        raise weights.complaint("give every objective weight 0, so that nothing tells the trials apart; leave one above 0")
    return PromoteSettings(
        select=select,
        steps=section.whole("steps", 50_000, least=1, most=10**9),
        limits={name: read_amount(entry, name) for name, entry in limits.items()},
        weights=found,
        retest=section.whole("retest", 3, most=MOST_RETESTED),
        seeds=section.whole("seeds", 2, most=MOST_SEEDS),
        succession=section.flag("succession", True),
    )


def read_amount(node: Node, name: str) -> float:
    """An upper bound on the score `name` in its unit: parameters, FLOPs, bytes, milliseconds, nats, bits or a share."""
    if name == "memory":
        return node.bytes()
    if OBJECTIVES[name].known == "measured":
        return node.milliseconds()
    if OBJECTIVES[name].known == "arithmetic":
        return node.whole(least=1)
    return node.number(least=0.0, most=1.0 if OBJECTIVES[name].unit == "share" else 1e9)


def describe_budget(search: SearchSettings, batch_tokens: int) -> dict[str, Any]:
    return {**renamed(to_json(search), _RENAMED), "batch_tokens": batch_tokens}
