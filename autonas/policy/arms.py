"""Which values of horizon-bound dimensions are tried on a replica, and whether that can tell them apart at all. Pure.

An arm changes one dimension and nothing else: arms of a seed share their weights' seed, the order of their data and their
validation documents. What they tell is worked out in verdicts.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autonas.arch import HORIZON_BOUND, ArchSpec
from autonas.space.domains import Choice, is_number
from autonas.space.space import Space
from autonas.trial import TrainingSettings

SMALLEST_EFFECT = 0.02  # nats that are worth a choice
LARGE_EFFECT = 0.1  # what cannot tell this much tells nothing
FEWEST_EPOCHS = 2.0  # below, hardly anything is seen often enough to be learnt by heart
_MOST_VALUES = 3  # beside the default
_WHOLE_RUN = 0.98  # of the full run's epochs: less is a truncated run
_POWER_80 = 0.84 + 1.96  # standard errors that an effect must measure to be found in four of five cases
# What is to be known of what a replica says of a dimension. How often full runs agree was measured: `bench arms`, promotion.md.
CAVEATS: Mapping[str, str] = {
    "label_smoothing": "judged by the unsmoothed loss, miscalibration and all",
    "weight_decay": "to be taken with care, since replicas agreed with full runs in 2 of 5 cases measured",
}
_REPEATED = ("attention_dropout", "residual_dropout", "weight_decay")  # of which repetition decides the worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """A horizon-bound dimension that the space lets vary: its default, and the other values to try."""

    name: str
    default: float
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairNoise:
    """What a paired difference of one seed is uncertain by, in nats: standard errors."""

    over_documents: float
    over_seeds: float  # of one pair
    freedom: float = 2.0  # degrees of freedom that the second is worth

    def error(self, seeds: int) -> float:
        """Of the mean difference over so many pairs. They share their documents."""
        return math.hypot(self.over_documents, self.over_seeds / math.sqrt(seeds))


PRIOR_NOISE = PairNoise(over_documents=0.015, over_seeds=0.04)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """Whether a budget can identify a dimension at all, and why not: known before anything is spent."""

    dimension: str
    possible: bool
    reason: str  # a sentence
    error: float  # expected of a paired difference, in nats
    detectable: float  # the difference that is found in four of five cases, in nats


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What is trained: the defaults, with one dimension changed or (at promotion) several. Values are the full run's."""

    changes: Mapping[str, float]

    @property
    def name(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in self.changes.items()) or "defaults"


def dimensions(space: Space, spec: ArchSpec, training: TrainingSettings) -> tuple[Dimension, ...]:
    """The horizon-bound dimensions that vary in `space`; their defaults are what `spec`, or else the training, has.

    Of a range, values spread over it; of options, those next to the default.
    """
    found = []
    for name in HORIZON_BOUND:
        if name not in space.horizon_bound:
            continue
        named, domain = getattr(spec, name), space.domains[name]
        default = float(getattr(training, name) if named is None else named)
        drawn = domain.outwards(default) if isinstance(domain, Choice) else domain.values(_MOST_VALUES)
        others = [float(v) for v in drawn if is_number(v) and not math.isclose(float(v), default, abs_tol=1e-12)]
        found.append(Dimension(name=name, default=default, values=tuple(sorted(others[:_MOST_VALUES]))))
    return tuple(found)


def identifiable(
    dimension: str,
    *,
    epochs: float,
    full_epochs: float,
    seeds: int,
    noise: PairNoise = PRIOR_NOISE,
) -> Prospect:
    """Whether trainings of so many `epochs`, paired over so many `seeds`, can rank the values of a dimension.

    The reference for what a shorter run shows: 230 K parameters, 230 K unique tokens, 13.6 epochs; the loss with dropout 0.2
    minus that without is +.191 after the first epoch, +.041 after the eleventh, and -.043 at the end.
    """
    assert dimension in HORIZON_BOUND and seeds >= 1, (dimension, seeds)
    error = noise.error(seeds)
    detectable = _POWER_80 * error
    if dimension == "batch_tokens":
        refusal = "batch_tokens: a replica's batch is scaled with its corpus, and cannot tell which one suits the full run"
    elif epochs < _WHOLE_RUN * full_epochs:
        refusal = (
            f"{dimension}: {epochs:.2g} of the full run's {full_epochs:.3g} epochs cannot rank it: what it is worth shows near "
            "the end only (dropout 0.2 loses by 0.19 nats after 1 of 13.6 epochs, and wins by 0.04 at their end)"
        )
    elif dimension in _REPEATED and full_epochs < FEWEST_EPOCHS:
        refusal = (
            f"{dimension}: the full run reads its corpus {full_epochs:.2g} times, and below {FEWEST_EPOCHS:g} hardly anything "
            "is learnt by heart that it could prevent"
        )
    elif detectable > LARGE_EFFECT:
        refusal = (
            f"{dimension}: over {counted(seeds, 'seed')} the error of a difference would be {error:.3f} nats, which hides "
            f"even effects of {LARGE_EFFECT:g}; {_seeds_needed(noise, LARGE_EFFECT)}"
        )
    else:
        refusal = ""
    reason = refusal or (
        f"{dimension}: differences to ± {error:.3f} nats, so that one of {detectable:.2f} is found in four of five cases (of "
        f"{SMALLEST_EFFECT:g}: {_seeds_needed(noise, SMALLEST_EFFECT)})"
        + (f"; {CAVEATS[dimension]}" if dimension in CAVEATS else "")
    )
    return Prospect(dimension=dimension, possible=not refusal, reason=reason, error=error, detectable=detectable)


def _seeds_needed(noise: PairNoise, effect: float) -> str:
    """With how many seeds an effect is found in four of five cases, in words."""
    room = (effect / _POWER_80) ** 2 - noise.over_documents**2
    if room <= 0:
        return "no number of seeds would do, only more validation documents"
    return f"{counted(max(math.ceil(noise.over_seeds**2 / room), 1), 'seed')} would do"


def arms_of(dimensions: Sequence[Dimension]) -> tuple[Arm, ...]:
    """The defaults, and each other value of each dimension by itself."""
    return (Arm(changes={}), *(Arm(changes={d.name: value}) for d in dimensions for value in d.values))


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
