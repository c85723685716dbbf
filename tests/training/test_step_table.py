from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from autonas.training.resident import resident_tokens, windows_at
from autonas.training.step_table import ROWS, StepTable
from tests.training.conftest import CONTEXT, STEP_TOKENS, StateMaker, tiny_settings

CPU = torch.device("cpu")


def test_every_step_finds_its_windows_and_rates_over_many_tables(make_state: StateMaker) -> None:
    state = make_state(settings=tiny_settings(warmup_tokens=100 * STEP_TOKENS))
    table = StepTable(state)
    resident = resident_tokens(state.windows.tokens, CPU)
    peaks = torch.tensor([group["peak_rate"] for group in state.optimizer.param_groups])
    for number in range(2 * ROWS + 5):
        table.prepare(state)
        row = int(table.row)
        assert row == number % ROWS
        found = windows_at(resident, table.starts[row], CONTEXT)
        assert np.array_equal(found.numpy(), state.windows.take(4 * number, 4))
        rate = state.schedule.over_step(state.tokens, STEP_TOKENS)
        assert torch.allclose(table.rates[row], rate * peaks)
        table.keep(torch.tensor([float(number), 1.0]))
        table.row.add_(1)  # as the step does
        assert table.advance(state).tolist() == [number, 1.0]
        state.tokens += STEP_TOKENS


def test_a_jump_or_another_schedule_fills_it_anew(make_state: StateMaker) -> None:
    state = make_state()
    table = StepTable(state)
    table.prepare(state)
    table.row.add_(1)
    table.advance(state)
    state.tokens = 30 * STEP_TOKENS  # as a checkpoint was loaded
    table.prepare(state)
    assert int(table.row) == 0
    assert table.starts[0].tolist() == state.windows.starts(120, 4).tolist()
    state.schedule = state.schedule.cool(state.tokens, 4 * STEP_TOKENS)
    table.prepare(state)
    assert (table.rates[0] > table.rates[3]).all()
    assert (table.rates[4:] == 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_tokens_are_the_same_on_the_device_whatever_their_format(dtype: type) -> None:
    largest = min(np.iinfo(dtype).max, 2**31 - 1)
    tokens: Any = np.array([0, 1, largest, largest - 1, 7, largest // 2 + 1, 3], dtype=dtype)
    resident = resident_tokens(tokens, CPU)
    assert resident.nbytes == tokens.nbytes
    found = windows_at(resident, torch.tensor([0, 2]), 4)
    assert found.tolist() == [tokens[:5].tolist(), tokens[2:].tolist()]


def test_tokens_of_one_data_set_are_put_there_once() -> None:
    tokens = np.arange(100, dtype=np.uint16)
    first = resident_tokens(tokens, CPU, "data")
    assert resident_tokens(tokens, CPU, "data") is first
    assert resident_tokens(tokens, CPU, "other") is not first
    assert resident_tokens(tokens, CPU) is not resident_tokens(tokens, CPU), "without a name nothing is known of them"
