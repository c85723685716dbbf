"""Which way a training takes its steps here."""

from __future__ import annotations

from autonas.training.state import Step, TrainState
from autonas.training.steps import EagerStep


def choose_step(state: TrainState) -> Step:
    """The fastest way that there is for this model on this device."""
    del state
    return EagerStep()
