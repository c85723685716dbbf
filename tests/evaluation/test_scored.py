from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.data.dataset import Dataset, Documents
from autonas.evaluation.scored import ScoredTokens, choose_documents, scored_tokens


def documents_of(lengths: list[int]) -> Documents:
    names = tuple(f"d{i}" for i in range(len(lengths)))
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return Documents(starts=starts, bytes=np.array(lengths) * 3, names=names, projects=names)


def test_all_tokens_of_the_split_are_targets_once_and_in_order(dataset: Dataset) -> None:
    scored = scored_tokens(dataset, "validation", sys.maxsize)
    np.testing.assert_array_equal(scored.targets, dataset.tokens("validation"))
    assert scored.targets[scored.starts[1:] - 1].tolist() == [dataset.tokenizer.end_of_text] * scored.num_documents


def test_every_token_is_predicted_from_its_predecessor_and_a_document_begins_with_end_of_text(dataset: Dataset) -> None:
    scored = scored_tokens(dataset, "validation", 5_000)
    for start, end in zip(scored.starts[:-1], scored.starts[1:], strict=True):
        assert scored.inputs[start] == dataset.tokenizer.end_of_text
        np.testing.assert_array_equal(scored.inputs[start + 1 : end], scored.targets[start : end - 1])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 17))
def test_windows_tile_every_document_and_none_straddles_two(lengths: list[int], context: int) -> None:
    starts = np.concatenate(([0], np.cumsum(lengths)))
    empty = np.zeros(starts[-1], dtype=np.int64)
    scored = ScoredTokens(inputs=empty, targets=empty, starts=starts, bytes=np.array(lengths))
    begins, sizes, owners = scored.windows(context)
    covered = [place for begin, size in zip(begins, sizes, strict=True) for place in range(begin, begin + size)]
    assert covered == list(range(starts[-1]))
    assert sizes.min() >= 1 and sizes.max() <= context
    assert (begins >= starts[owners]).all() and (begins + sizes <= starts[owners + 1]).all()


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 4000))
def test_the_choice_is_of_whole_documents_within_the_limit_unless_none_fits(lengths: list[int], limit: int) -> None:
    chosen = choose_documents(documents_of(lengths), limit)
    assert sorted(set(chosen.tolist())) == chosen.tolist()
    taken = sum(lengths[number] for number in chosen)
    assert taken <= limit or (len(chosen) == 1 and taken == min(lengths))
    # Nothing that was passed over would still have fitted.
    left = set(range(len(lengths))) - set(chosen.tolist())
    assert all(lengths[number] > limit - taken for number in left)


def test_the_choice_is_spread_over_the_split() -> None:
    chosen = choose_documents(documents_of([100] * 400), 8_000)
    assert len(chosen) == 80
    counts = np.histogram(chosen, bins=4, range=(0, 400))[0]
    assert counts.min() >= 8


def test_the_choice_never_changes() -> None:
    # Scores of studies that are years apart are paired on these documents.
    assert choose_documents(documents_of([10] * 50), 60).tolist() == [4, 31, 41, 45, 46, 48]


@pytest.mark.parametrize("limit", [1, 10**9])
def test_there_is_always_a_document(dataset: Dataset, limit: int) -> None:
    assert scored_tokens(dataset, "validation", limit).num_documents >= 1
