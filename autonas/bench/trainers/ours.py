"""autonas as a study trains: `new_state` and `train`, nothing else."""

from __future__ import annotations

import time

from autonas import cost
from autonas.bench.trainers import FLAGS, Task
from autonas.bench.trainers.steps import begin
from autonas.bench.turns import Block, Turns
from autonas.model.transformer import build_model
from autonas.training.graphs import order_products
from autonas.training.loop import finish_steps, train
from autonas.training.state import TrainState, new_state

# The length of the training whose speed is measured: as long as compute is best spent (Hoffmann et al., arXiv 2203.15556).
_TOKENS_PER_PARAMETER = 20


def serve(turns: Turns, task: Task, way: str) -> None:
    order_products()
    device = begin(task)
    state = new_state(build_model(task.spec, 0, device), task.windows(), task.settings(), seed=0)
    state.planned_tokens = _TOKENS_PER_PARAMETER * cost.count_params(task.spec)
    turns.reply(None)
    for request in turns:
        if request == FLAGS:
            turns.reply(f"new_state and train, precision auto; steps by path: {dict(state.paths)}")
            continue
        begun = time.perf_counter()
        loss = train_steps(state, request)
        finish_steps(device)
        turns.reply(Block(seconds=time.perf_counter() - begun, loss=loss))


def train_steps(state: TrainState, steps: int) -> float:
    """Take so many steps; their mean loss."""
    total, before = 0.0, state.tokens
    begun = before
    for progress in train(state, until_tokens=before + steps * state.step_tokens):
        total += progress.loss * (progress.tokens - before)
        before = progress.tokens
    return total / (before - begun)
