"""A training between two steps, its beginning and its fork. How a step is taken is in steps.py, how they follow in loop.py."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from autonas.data.batches import Windows
from autonas.errors import FailureKind, RecipeError
from autonas.model.smoothing import smoothing_floor
from autonas.model.transformer import Transformer
from autonas.training.early_stopping import Probe
from autonas.training.flat_optimizer import FlatOptimizer
from autonas.training.guards import LossGuard
from autonas.training.optimizers import make_optimizer, moments, resolve_settings, set_moments
from autonas.training.precision import autocast_dtype
from autonas.training.schedule import Schedule
from autonas.training.snapshot import Kept
from autonas.training.watch import Watch
from autonas.trial import Finding, TrainingSettings


class Step(Protocol):
    """One way of taking a step: the gradients of the state's next windows, clipped, and one update of its weights."""

    @property
    def path(self) -> str:
        """Its name in `TrainState.paths`."""

    def __call__(self, state: TrainState) -> Tensor:
        """Take the step that begins at `state.tokens`, which the caller moves on; returns (loss, gradient norm), unawaited.

        When memory runs out, weights and moments are as before.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A training went back, after the step that ended at `at_tokens`, to `to_tokens`; rates are `factor` times from then on."""

    at_tokens: int
    to_tokens: int
    factor: float
    kind: FailureKind
    reason: str

    @property
    def text(self) -> str:
        return f"{self.reason}; back to {self.to_tokens:,} tokens, learning rate × {self.factor:g}"


@dataclass(slots=True, kw_only=True)
class TrainState:
    """A training between two steps. `tokens` counts the tokens shown, and with them the place in `windows` and in dropout."""

    model: Transformer
    optimizer: FlatOptimizer
    windows: Windows
    settings: TrainingSettings  # with what the spec names already in place
    schedule: Schedule
    guard: LossGuard
    watch: Watch
    seed: int  # of dropout
    data_fingerprint: str = ""
    tokens: int = 0
    step: Step | None = None  # how a step is taken here; chosen when training begins
    micro_windows: int | None = None  # at most so many windows go through the model at once; None: as many as fit
    shortages: int = 0  # how often memory ran out, and `micro_windows` was made smaller
    paths: Counter[str] = field(default_factory=Counter)  # steps taken by each path
    slower_because: str = ""  # why the path is not the one that this device should have
    rollbacks: list[Rollback] = field(default_factory=list)
    kept: Kept | None = None  # copies to go back to; made when training begins
    no_rollback: str = ""  # why there are none
    probes: list[Probe] = field(default_factory=list)  # validation losses on the way
    planned_tokens: int | None = None  # to be trained in all, as far as that is known: what a slow start is weighed against

    @property
    def device(self) -> torch.device:
        return self.model.embedding.weight.device

    @property
    def step_windows(self) -> int:
        return self.settings.batch_tokens // self.model.spec.context_length

    @property
    def step_tokens(self) -> int:
        """Tokens of one step: `batch_tokens` rounded down to whole windows."""
        return self.step_windows * self.model.spec.context_length

    def checks(self) -> dict[str, str]:
        """What an outcome should say about how the steps were taken."""
        taken = ", ".join(f"{path} {steps:,} steps" for path, steps in sorted(self.paths.items()))
        found = {"training path": taken + (f" ({self.slower_because})" if self.slower_because else "")}
        if self.shortages:
            times = "once" if self.shortages == 1 else f"{self.shortages} times"
            found["micro-batches"] = (
                f"{self.micro_windows} of {self.step_windows} windows at once, after running out of memory {times}"
            )
        rollbacks = [self.rollbacks_text()] if self.rollbacks else []
        if self.no_rollback:
            rollbacks.append(f"none is possible{' any more' if rollbacks else ''}: {self.no_rollback}")
        if rollbacks:
            found["rollbacks"] = "; ".join(rollbacks)
        return found

    def rollbacks_text(self) -> str:
        """`1: the loss rose …; back to 65,536 tokens, learning rate × 0.5; 2: …`"""
        return "; ".join(f"{number}: {one.text}" for number, one in enumerate(self.rollbacks, 1))

    def findings(self) -> tuple[Finding, ...]:
        """What speaks against the curve, for the outcome's findings."""
        found = self.watch.findings(self.schedule.cooldown_start)
        if self.rollbacks:
            text = f"{self.rollbacks_text()}. From there on it had a lower rate than what it is compared with"
            found += (Finding(check="rollback", severity="note", text=text),)
        return found

    def watched(self) -> str:
        """Which steps were watched and what could be judged by them, for the outcome's checks."""
        return self.watch.looked(self.schedule.cooldown_start)

    def whole_steps(self, tokens: int) -> int:
        """`tokens` rounded up to whole steps: where a training until `tokens` really ends."""
        return -(-tokens // self.step_tokens) * self.step_tokens


def new_state(
    model: Transformer,
    windows: Windows,
    settings: TrainingSettings,
    *,
    seed: int,
    total_tokens: int | None = None,
    data_fingerprint: str = "",
) -> TrainState:
    """The state of a training that has not begun.

    `total_tokens` is the length of a cosine schedule; wsd does not need it.

    Raises:
        RecipeError: a batch holds no whole window.
        DeviceError: a number format that the model's device does not have.
    """
    spec = model.spec
    settings = resolve_settings(spec, settings)
    assert windows.tokens_per_window == spec.context_length, (windows.tokens_per_window, spec.context_length)
    if settings.batch_tokens < spec.context_length:
        raise RecipeError(
            f"batch_tokens is {settings.batch_tokens}, less than one window of context_length {spec.context_length}. "
            f"Give at least {spec.context_length}."
        )
    autocast_dtype(settings.precision, model.embedding.weight.device)
    schedule = Schedule(
        warmup_tokens=settings.warmup_tokens,
        final_share=settings.final_rate_share,
        kind=settings.schedule,
        total_tokens=total_tokens if settings.schedule == "cosine" else None,
    )
    return TrainState(
        model=model,
        optimizer=make_optimizer(model, spec, settings),
        windows=windows,
        settings=settings,
        schedule=schedule,
        guard=LossGuard(spec.vocab_size, settings.warmup_tokens, windows.boundaries),
        watch=_new_watch(model, windows, settings),
        seed=seed,
        data_fingerprint=data_fingerprint,
    )


def fork_cooldown(state: TrainState, cooldown_tokens: int) -> TrainState:
    """A copy of `state` that cools down over the next `cooldown_tokens`, rounded up to whole steps; `train` it to its end.

    The trunk is not touched. Both read the same windows from here on, so that the cooled model has seen exactly the first
    `fork.tokens` tokens of the stream, and a trunk that goes on later skips none.
    """
    model = copy.deepcopy(state.model)
    optimizer = make_optimizer(model, model.spec, state.settings)
    set_moments(optimizer, dict(moments(state.optimizer)))
    guard = LossGuard(model.spec.vocab_size, state.settings.warmup_tokens, state.windows.boundaries)
    guard.restore(state.guard.state())
    watch = _new_watch(model, state.windows, state.settings)
    watch.restore(state.watch.state())
    return TrainState(
        model=model,
        optimizer=optimizer,
        windows=state.windows,
        settings=state.settings,
        schedule=state.schedule.cool(state.tokens, state.whole_steps(cooldown_tokens)),
        guard=guard,
        watch=watch,
        seed=state.seed,
        data_fingerprint=state.data_fingerprint,
        tokens=state.tokens,
        micro_windows=state.micro_windows,
        shortages=state.shortages,
        paths=Counter(state.paths),
        slower_because=state.slower_because,
        rollbacks=list(state.rollbacks),
        no_rollback=state.no_rollback,
        probes=list(state.probes),
        planned_tokens=state.planned_tokens,
    )


def _new_watch(model: Transformer, windows: Windows, settings: TrainingSettings) -> Watch:
    context = model.spec.context_length
    return Watch(
        step_tokens=settings.batch_tokens // context * context,
        warmup_tokens=settings.warmup_tokens,
        epoch_tokens=windows.first_pass * context,
        boundaries=windows.boundaries,
        floor=smoothing_floor(model.spec.label_smoothing, model.spec.vocab_size),
    )
