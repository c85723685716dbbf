"""What a study may spend and how it searches, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

OPTUNA_SAMPLERS = ("tpe", "nsgaii", "gp", "random")
SAMPLERS = ("autonas", *OPTUNA_SAMPLERS)
# What gp computes grows with the objectives as a front of so many dimensions has corners.
MOST_GP_OBJECTIVES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSettings:
    """The sweep that finds the base learning rate: each rate on each of the space's two calibration shapes."""

    rates: tuple[float, ...] = (1e-3, 2e-3, 4e-3)
    tokens: int = 131_072  # of stable training per point; each is cooled down as a rung is
    enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """The budget of a study. Token counts are of stable training; each rung adds a cooldown fork of `cooldown_share` of it."""

    trials: int  # that began training; declared repeats come on top
    rungs: tuple[int, ...]  # token counts, rising
    cooldown_share: float = 0.2
    scheduler: Literal["auto", "gain", "pareto", "full", "curves"] = "auto"
    tokens: int | None = None  # of a middling architecture, all trials together; None: what halving would take
    reduction_factor: float = 3.0  # about one trial in so many goes on to the next rung …
    min_survivors: int = 4  # … but never fewer than this
    repeats: int = 2  # trials of the last rung trained again with new seeds, to measure seed noise
    retries: int = 2  # of a job whose worker was lost or failed, from its checkpoint
    max_hours: float | None = None
    sampler: Literal["autonas", "tpe", "nsgaii", "gp", "random"] = "autonas"
    seed: int = 0

    @property
    def stopping(self) -> str:
        """The scheduler: by gain for the sampler that can tell it, by halving for the others, where none is named."""
        if self.scheduler != "auto":
            return self.scheduler
        return "gain" if self.sampler == "autonas" else "pareto"
