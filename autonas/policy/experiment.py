"""What is trained on replicas before a full run: which arms, on how large a replica, for what, and what that cannot tell. Pure.

Ways and words: replica.py has the scale model, arms.py what is tried, verdicts.py what it tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autonas import cost
from autonas.policy.arms import Arm, Dimension, Prospect, arms_of, dimensions, identifiable
from autonas.policy.forecast import Forecast
from autonas.policy.replica import FullRun, Replica, choose_replica, training_flops
from autonas.space.space import Space

Seconds = Callable[[FullRun], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """The trainings of replicas that a full run calls for; `replica` is None where there are none, and `reason` says why."""

    full: FullRun
    replica: Replica | None
    dimensions: tuple[Dimension, ...]  # that are tried
    prospects: tuple[Prospect, ...]  # of all that vary
    seeds: int
    share: float  # of the full run's cost, that all trainings together may have
    seconds_each: float | None  # about; None where the speed is not known
    reason: str = ""

    @property
    def arms(self) -> tuple[Arm, ...]:
        return arms_of(self.dimensions) if self.replica is not None else ()

    @property
    def num_trainings(self) -> int:
        """At most: a choice that leaves the defaults as they are needs no confirmation."""
        return num_trainings(self.dimensions, self.seeds) if self.replica is not None else 0

    @property
    def seconds(self) -> float | None:
        """Of all of them, one after the other."""
        return None if self.seconds_each is None else self.seconds_each * self.num_trainings

    @property
    def flops_share(self) -> float:
        """Of the full run's FLOPs, of all of them."""
        return (
            0.0 if self.replica is None else self.num_trainings * training_flops(self.replica.run) / training_flops(self.full)
        )


def num_trainings(dimensions: tuple[Dimension, ...], seeds: int) -> int:
    """Every arm with every seed; and with as many new seeds the choice and the defaults, to confirm it."""
    return (len(arms_of(dimensions)) + 2) * seeds


def plan_experiment(full: FullRun, space: Space, *, share: float, seeds: int, seconds: Seconds | None = None) -> Experiment:
    """The largest replica whose arms, seeds and confirmation cost at most `share` of the full run.

    `seconds` is of a run's training; without it cost is counted in FLOPs.
    """
    varying = dimensions(space, full.spec, full.training)
    prospects = tuple(
        identifiable(dimension.name, epochs=full.epochs, full_epochs=full.epochs, seeds=seeds) for dimension in varying
    )
    tried = tuple(d for d, prospect in zip(varying, prospects, strict=True) if prospect.possible and d.values)
    replica, reason = None, ""
    if tried:
        price = seconds or training_flops
        most = share * price(full) / num_trainings(tried, seeds)
        replica = choose_replica(full, most=most, price=price)
        if replica is None:
            reason = (
                f"{num_trainings(tried, seeds)} trainings of even the smallest replica cost more than {share:.0%} of the full "
                "run; give a larger horizon.share, or fewer horizon.seeds"
            )
    elif varying:
        reason = "nothing that varies can be identified"
    else:
        reason = "no horizon-bound dimension varies"
    return Experiment(
        full=full,
        replica=replica,
        dimensions=tried,
        prospects=prospects,
        seeds=seeds,
        share=share,
        seconds_each=None if replica is None or seconds is None else seconds(replica.run),
        reason=reason,
    )


def paced(forecast: Forecast, batch_tokens: int) -> Seconds:
    """How long runs train, by a forecast made at `batch_tokens` a step; its fixed work is that of a step, of any batch."""

    def seconds(run: FullRun) -> float:
        arithmetic = run.tokens * forecast.per_flop * cost.training_flops_per_token(run.spec)
        return arithmetic + run.steps * forecast.per_token * batch_tokens

    return seconds
