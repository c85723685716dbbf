from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.errors import RequestError
from autonas.model.stopping import Completions, StopRule, TextStop

checked = settings(derandomize=True, deadline=None, max_examples=200)
letters = st.text("ab\n", max_size=12)
stops = st.lists(st.text("ab\n", min_size=1, max_size=3), max_size=3)


def cut(text: str, stops: list[str]) -> str:
    """Letter by letter: at the first that completes stops, before the longest of them."""
    for end in range(len(text) + 1):
        complete = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(complete)]
    return text


@checked
@given(letters, stops, st.data())
def test_text_in_pieces_ends_before_the_first_stop(text: str, stops: list[str], data: st.DataObject) -> None:
    stop, shown, end = TextStop(stops), "", 0
    while end < len(text) and not stop.ended:
        end = data.draw(st.integers(end + 1, len(text)))
        shown += stop.feed(text[:end])
        assert cut(text, stops).startswith(shown)
    if not stop.ended:
        shown += stop.feed(text, complete=True)
    assert shown == cut(text[:end], stops)
    assert stop.ended == any(one in text[:end] for one in stops)


@checked
@given(
    st.lists(st.integers(0, 2), max_size=15),
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=3), max_size=3),
    st.data(),
)
def test_tokens_in_pieces_end_where_all_at_once_do(tokens: list[int], sequences: list[list[int]], data: st.DataObject) -> None:
    rule = StopRule(token=data.draw(st.sampled_from([None, 2])), sequences=tuple(map(tuple, sequences)))
    completions, place = Completions(1, rule), 0
    while place < len(tokens):
        end = data.draw(st.integers(place + 1, len(tokens)))
        completions.add([0], [tokens[place:end]])
        place = end
    kept = rule.kept(tokens)
    assert completions.tokens == [tokens if kept is None else tokens[:kept]]
    assert completions.ended(0) == (kept is not None)


def test_a_sequence_ends_a_completion_before_its_first_token() -> None:
    rule = StopRule(token=9, sequences=((4, 5), (5, 6, 7)))
    assert rule.kept([1, 4, 6, 4, 5, 9]) == 3
    assert rule.kept([1, 5, 6, 9]) == 3
    assert rule.kept([4, 4]) is None and not StopRule() and rule


def test_an_empty_stop_is_refused() -> None:
    with pytest.raises(RequestError, match="no tokens"):
        StopRule(sequences=((1,), ()))
    with pytest.raises(RequestError, match="is empty"):
        TextStop(["x", ""])
