from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.data.batches import Windows
from autonas.errors import CorpusError

shapes = st.tuples(st.integers(1, 9), st.integers(1, 60)).filter(lambda shape: shape[1] > shape[0])  # (context, tokens)


def windows(context: int, num_tokens: int, seed: int = 0) -> Windows:
    return Windows(np.arange(num_tokens, dtype=np.uint16), context, seed)


@given(shapes, st.integers(0, 100), st.lists(st.integers(0, 20), max_size=8), st.integers(0, 5))
def test_windows_do_not_depend_on_how_they_are_taken(shape: tuple[int, int], first: int, counts: list[int], seed: int) -> None:
    whole = windows(*shape, seed).take(first, sum(counts))
    source, parts = windows(*shape, seed), [np.zeros((0, shape[0] + 1), dtype=np.int64)]
    for count in counts:
        parts.append(source.take(first, count))
        first += count
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@given(shapes, st.integers(0, 5))
def test_each_epoch_targets_every_token_but_the_first_and_the_tail_once(shape: tuple[int, int], epoch: int) -> None:
    source = windows(*shape)
    taken = source.take(epoch * source.num_windows, source.num_windows)
    assert taken.shape == (source.num_windows, source.tokens_per_window + 1)
    assert taken.dtype == np.int64
    assert sorted(taken[:, 1:].ravel().tolist()) == list(range(1, source.num_windows * shape[0] + 1))
    assert shape[1] - 1 - source.num_windows * shape[0] < shape[0]


@given(shapes, st.integers(0, 200), st.integers(1, 10))
def test_windows_are_slices_of_the_tokens(shape: tuple[int, int], first: int, count: int) -> None:
    source = windows(*shape)
    expected = source.starts(first, count)[:, None] + np.arange(shape[0] + 1)
    np.testing.assert_array_equal(source.take(first, count), expected)


def test_epochs_and_seeds_are_ordered_differently() -> None:
    orders = {tuple(windows(1, 101, seed).starts(epoch * 100, 100).tolist()) for seed in (0, 1) for epoch in (0, 1)}
    assert len(orders) == 4
    assert tuple(range(100)) not in orders


def test_the_order_is_the_same_in_every_process_and_version() -> None:
    program = (
        "import numpy as np; from autonas.data.batches import Windows;"
        "print(Windows(np.arange(11, dtype=np.uint16), 1, 7).starts(5, 12).tolist())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(windows(1, 11, 7).starts(5, 12).tolist()) == GOLDEN


# The order of all training data, and so every result, hangs on this: a change here is a change of every study.
GOLDEN = "[1, 0, 5, 9, 7, 7, 9, 6, 1, 4, 8, 3]"


@pytest.mark.parametrize("num_tokens", [0, 1, 8])
def test_fewer_tokens_than_a_window_are_refused(num_tokens: int) -> None:
    with pytest.raises(CorpusError, match=r"fewer than one window.*context_length"):
        windows(8, num_tokens)
    assert windows(8, 9).num_windows == 1
