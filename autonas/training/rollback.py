"""Back to the last good state when a training diverges, with a lower rate, a few times. What a good state is: snapshot.py.

The windows from there on are replayed and not skipped: tokens go on counting what the model was shown, trials stay paired
window by window, and a spike belongs to a batch and a state of the weights together; from other weights the same batches do no
harm (Chowdhery et al., arXiv 2204.02311, section 5.1, who skipped them, say so). A fault that came from outside, a flipped bit,
does not come again; one that the data always cause does, and ends the training when the rollbacks are used up.

Everything follows from the tokens shown and the losses: copies are made at fixed token counts and go into the checkpoint, so
that a resumed training goes back to where the uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from autonas.errors import TrialFailure
from autonas.training.guards import is_out_of_memory
from autonas.training.nonfinite import locate
from autonas.training.snapshot import Kept, take
from autonas.training.state import Rollback, TrainState

KEEP_STEPS = 64  # between two copies; a copy takes a tenth of a step of 1,024 tokens or less
RATE_FACTOR = 0.5


def begin_keeping(state: TrainState) -> None:
    """Copy the state that training begins or goes on with, unless its checkpoint knew an earlier one."""
    if state.kept is not None or not state.settings.rollbacks or state.no_rollback:
        return
    try:
        state.kept = Kept(take(state.optimizer, state.tokens, _notes(state)))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        state.no_rollback = "there is no memory for a copy of the weights and moments"


def is_due(state: TrainState) -> bool:
    """Whether a copy may be made here, and all steps up to here must have been judged."""
    return state.kept is not None and state.tokens % (KEEP_STEPS * state.step_tokens) == 0


def keep(state: TrainState) -> None:
    """Copy the state if that is due."""
    if not is_due(state):
        return
    assert state.kept is not None
    try:
        state.kept.keep(state.optimizer, state.tokens, _notes(state), well=state.guard.is_near_best)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        state.kept = None
        state.no_rollback = "there is no memory for a copy of the weights and moments"


def settle(state: TrainState) -> None:
    """A training ends here for now: a state whose loss is near its best counts as good, and copies are given up."""
    if state.guard.is_near_best:
        state.kept = None


def recover(
    state: TrainState, failure: TrialFailure, tokens: int, interrupted: Callable[[], TrialFailure | None]
) -> TrialFailure | None:
    """Go back to the last good state after the step that ended at `tokens` failed; returns what `interrupted` said meanwhile.

    Raises:
        TrialFailure: of the same kind, with what was found out, when there is no going back.
    """
    found, interruption = "", None
    if failure.kind == "nan":
        found, interruption = locate(state, tokens, interrupted)
    reason = "; ".join(filter(None, (str(failure), found)))
    kept = state.kept
    if kept is None or len(state.rollbacks) >= state.settings.rollbacks or not _is_finite(kept):
        before = [f"rolled back before: {state.rollbacks_text()}"] if state.rollbacks else []
        if kept is not None and not _is_finite(kept):
            before.append("the last good state holds such values too")
        raise TrialFailure(failure.kind, "; ".join((reason, *before, "a lower learning rate may help"))) from failure
    good = kept.put_back(state.optimizer)
    state.tokens = good.tokens
    state.guard.restore(good.notes["guard"])
    spikes = state.watch.spikes
    state.watch.restore(good.notes["watch"])
    state.watch.spikes = spikes  # what led here is not to be forgotten
    state.probes = [probe for probe in state.probes if probe[0] <= good.tokens]
    state.schedule = state.schedule.lower(RATE_FACTOR)
    state.rollbacks.append(
        Rollback(at_tokens=tokens, to_tokens=good.tokens, factor=state.schedule.factor, kind=failure.kind, reason=reason)
    )
    return interruption


def _notes(state: TrainState) -> dict[str, Any]:
    return {"guard": state.guard.state(), "watch": state.watch.state()}


def _is_finite(kept: Kept) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in kept.good.tensors)
