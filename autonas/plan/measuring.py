"""The measurements of a plan, taken on this machine within its minute. Torch is imported when the first one is asked for."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import psutil

from autonas import cost
from autonas.arch import ArchSpec
from autonas.errors import RequestError, TrialFailure
from autonas.plan.study import LATENCY_S, Timed
from autonas.recipe import Recipe

_SECONDS = 4.0  # for the speed of one architecture
_LEAST_SECONDS = 0.5
_FEWEST_WINDOWS = 8  # trained, or as long as that, where an architecture is timed at all: more than measure_speed's least
_WINDOW_S = 1.0  # of one window's training: what takes longer is not timed, but reckoned from smaller architectures
_FIRST_FLOPS = 2e11  # of a window's training: a few seconds on the slowest core
_MEMORY_SHARE = 0.8  # of what is free


def time_architectures(
    recipe: Recipe, specs: Sequence[ArchSpec], *, device: str, threads: int, say: Callable[[str], None], deadline: float
) -> tuple[Timed, ...]:
    """Train and time `specs`, in rising order of work, until one would take too long; at least one, if need be in one layer.

    By `deadline`, a value of `time.monotonic()`, it is over but for that one.

    Raises:
        DeviceError: this machine lacks the device or the number format.
        RequestError: not even the smallest fits the memory.
    """
    found: list[Timed] = []
    for number, asked in enumerate(specs):
        spec, left = asked, deadline - time.monotonic()
        flops = cost.training_flops_per_token(spec) * spec.context_length
        if found:
            last = found[-1]
            expected = flops * last.seconds_per_token / cost.training_flops_per_token(last.spec)
            if expected > min(_WINDOW_S, left / _FEWEST_WINDOWS) or _too_large(spec):
                break
        elif flops > _FIRST_FLOPS:
            spec = ArchSpec.from_dict({**spec.to_dict(), "layers": 1})
        say(f"timing an architecture of {cost.count_params(spec):,} parameters")
        # Half of what is left is for building them, and for latencies.
        seconds = min(_SECONDS, max(0.5 * left / (len(specs) - number), _LEAST_SECONDS))
        found.append(time_architecture(recipe, spec, device=device, threads=threads, seconds=seconds, deadline=deadline))
    return tuple(found)


def time_architecture(
    recipe: Recipe,
    spec: ArchSpec,
    *,
    device: str,
    threads: int,
    seconds: float,
    deadline: float = math.inf,
    planned_tokens: int | None = None,
) -> Timed:
    """The speed of training `spec`, and its latency where the recipe measures it here and the deadline is not yet over.

    `planned_tokens`: of the training, where one is meant; on CUDA a long one takes its steps another way.
    """
    from autonas.evaluation.latency import resolve_device
    from autonas.training.speed import measure_speed

    try:
        speed = measure_speed(
            spec,
            recipe.training,
            device=resolve_device(device),
            threads=threads,
            seconds=seconds,
            planned_tokens=planned_tokens,
        )
    except TrialFailure as failure:
        raise RequestError(
            f"timing an architecture of {cost.count_params(spec):,} parameters ended ({failure.kind}): {failure}; "
            "give smaller limits, or another --device"
        ) from failure
    return Timed(
        spec=spec,
        seconds_per_token=speed.seconds_per_token,
        step_tokens=speed.step_tokens,
        timed_tokens=speed.timed_tokens,
        timed_steps=speed.timed_steps,
        latency_ms=_latency_ms(recipe, spec) if time.monotonic() < deadline else None,
    )


def _latency_ms(recipe: Recipe, spec: ArchSpec) -> float | None:
    from autonas.evaluation.latency import glance_at_latency

    return glance_at_latency(spec, recipe.latency) if recipe.latency.table is None else None


def _too_large(spec: ArchSpec) -> bool:
    """Whether training it on one window would fill the memory."""
    return cost.training_bytes(spec, spec.context_length) > _MEMORY_SHARE * psutil.virtual_memory().available


def time_scoring(recipe: Recipe, spec: ArchSpec, *, device: str, threads: int) -> float:
    """Seconds that a run's scores take beside its losses: the collapse test's samples, and its latency unless it is known."""
    from autonas.evaluation.latency import cached_latency, resolve_device
    from autonas.evaluation.sampling_speed import measure_sampling

    sampling = measure_sampling(spec, recipe.evaluation, device=resolve_device(device), threads=threads)
    known = recipe.latency.table is not None or cached_latency(spec, recipe.latency) is not None
    return sampling + (0.0 if known else LATENCY_S)
