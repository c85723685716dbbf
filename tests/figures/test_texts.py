"""Texts from outside in Plotly's own, which reads markup: they show as they stand."""

from __future__ import annotations

import html

from hypothesis import given
from hypothesis import strategies as st

from autonas.figures.texts import plain


@given(st.text())
def test_no_text_opens_markup_or_a_template(text: str) -> None:
    shown = plain(text)
    assert "<" not in shown and ">" not in shown and "%{" not in shown
    assert not any(ord(character) < 0x20 for character in shown)


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x2FF, exclude_characters="\x7f")))
def test_what_is_read_is_what_was_written(text: str) -> None:
    assert html.unescape(plain(text)) == text


@given(st.text(max_size=60), st.integers(2, 30))
def test_a_long_text_is_cut(text: str, most: int) -> None:
    assert len(html.unescape(plain(text, most))) <= most
