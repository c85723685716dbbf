"""When a full run has learned what it will: its validation loss on the way gains no more. Functions of the losses so far.

What is kept is the last state and not the best one. Behind a stable phase the cooldown gains more than lies between the two,
and the lowest of many measured losses is low by luck too. The outcome says both.
"""

from __future__ import annotations

from collections.abc import Sequence

Probe = tuple[int, float]  # tokens, validation loss in nats


def best_of(probes: Sequence[Probe], min_delta: float) -> int:
    """The number of the last probe that was a gain: lower by more than `min_delta` than every gain before it."""
    best = 0
    for number, (_, loss) in enumerate(probes):
        if loss < probes[best][1] - min_delta:
            best = number
    return best


def is_stale(probes: Sequence[Probe], patience: int | None, min_delta: float) -> bool:
    """Whether `patience` probes in a row were no gain."""
    return patience is not None and bool(probes) and len(probes) - 1 - best_of(probes, min_delta) >= patience


def stale_text(probes: Sequence[Probe], patience: int, min_delta: float) -> str:
    """Why a training that is stale was ended."""
    lowest_at, lowest = min(probes, key=lambda probe: probe[1])
    last_at, last = probes[-1]
    return (
        f"at {last_at:,} tokens: no gain of more than {min_delta:g} nats in {patience} evaluations; "
        f"lowest {lowest:.4f} at {lowest_at:,} tokens, last {last:.4f}"
    )
