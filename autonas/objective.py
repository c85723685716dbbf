"""What can be scored: name, unit, direction, and when the number is known. The numbers themselves are made in evaluation/.

Every objective is minimised. `known` says what it costs to know it:
    "arithmetic"  computed from the spec (cost.py), exact
    "measured"    timed on an untrained model
    "trained"     needs training; comparable at every rung
    "final"       needs training, and is judged at the last rung only (collapse falls first and rises later: an untrained model
                  does not repeat itself, a half-trained one does)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    name: str
    unit: str
    known: Literal["arithmetic", "measured", "trained", "final"]
    title: str
    log: bool | None = None  # None: where it is known before training

    @property
    def before_training(self) -> bool:
        return self.known in ("arithmetic", "measured")

    @property
    def logarithmic(self) -> bool:
        """Whether values are compared and learnt as their logarithms: sizes and times span orders of magnitude."""
        return self.before_training if self.log is None else self.log


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(name="val_loss", unit="nats/token", known="trained", title="Validation loss"),
        Objective(name="bits_per_byte", unit="bits/byte", known="trained", title="Bits per byte"),
        Objective(name="params", unit="parameters", known="arithmetic", title="Parameters"),
        Objective(name="memory", unit="bytes", known="arithmetic", title="Inference memory"),
        Objective(name="flops", unit="FLOP/token", known="arithmetic", title="Inference FLOPs"),
        Objective(name="latency", unit="ms/token", known="measured", title="Latency per token"),
        Objective(name="prefill_latency", unit="ms", known="measured", title="Prefill latency"),
        Objective(name="degeneration", unit="share", known="final", title="Degeneration rate"),
        Objective(name="collapse_rate", unit="share", known="final", title="Collapse rate"),
        Objective(name="collapse_prior", unit="share", known="final", title="Collapse rate, prior rules"),
    )
}
DEFAULT_OBJECTIVES = ("val_loss", "params", "latency", "degeneration")
