"""Text within columns: nothing is wider, nothing is lost, and a command is still the command."""

from __future__ import annotations

import shlex
import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.reporting.columns import Column, columns_of, command_lines, facts, fitted, paragraph, tables, visible

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)
WIDTHS = st.sampled_from([40, 60, 80])
# Of a command: what a process may be given.
WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=150)


def test_columns_are_those_of_a_terminal() -> None:
    assert [columns_of(text) for text in ("abc", "漢字", "e\u0301", "a\u200bb", "τ × –")] == [3, 4, 1, 2, 5]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(TEXT, WIDTHS)
def test_a_paragraph_is_within_its_width_and_keeps_every_word(text: str, width: int) -> None:
    lines = paragraph(text, width, 4, "  * ")
    assert all(columns_of(line) <= width and line.isprintable() for line in lines)
    assert "".join("".join(lines).split()).removeprefix("*") == "".join(map(visible, text.split()))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(TEXT, st.integers(2, 80))
def test_what_is_fitted_fits_and_is_told_to_be_cut(text: str, width: int) -> None:
    shown = fitted(text, width)
    assert columns_of(shown) <= width and "\n" not in shown
    assert shown.endswith("…") or shown == visible(text)


def test_nothing_acts_on_a_terminal_or_hides() -> None:
    assert visible("a\x1b[2J\x9b\x7f\u202e\u2066b\n\u2028\U00018d09") == "a␛[2J\ufffd\ufffd\ufffd\ufffdb␊ \ufffd"


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.integers(1, 4), st.integers(1, 6), WIDTHS, st.data())
def test_tables_are_aligned_and_hold_every_column(rows: int, count: int, width: int, data: st.DataObject) -> None:
    cell = st.text("0123456789.", min_size=1, max_size=30)

    def column(name: str) -> Column:
        cells = data.draw(st.lists(cell, min_size=rows, max_size=rows))
        return Column(name=name, unit=data.draw(st.sampled_from(["", "ms", "nats/token"])), cells=cells)

    first, others = column("first"), [column(f"column{i}") for i in range(count)]
    made = tables(first, others, width)
    heads = [table[0].split() for table in made]
    assert [name for head in heads for name in head[1:]] == [other.name for other in others]
    assert {head[0] for head in heads} == {"first"}
    for table in made:
        assert len(table) - rows in (1, 2) and all(columns_of(line) <= width for line in table)
        assert len({columns_of(line) for line in table[-rows:]}) == 1, "numbers end below one another"


def test_facts_begin_in_one_column() -> None:
    lines = facts([("a", "one"), ("longer", "two " * 40)], 40)
    assert lines[0] == "  a       one" and lines[1].startswith("  longer  two") and lines[2].startswith("          two")


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(WORD, min_size=1, max_size=4), WIDTHS)
def test_a_shell_takes_the_lines_as_the_command(words: list[str], width: int) -> None:
    lines = command_lines(shlex.join(["printf", r"%s\0", *words]), width)
    assert all(columns_of(line) <= width and line.isprintable() for line in lines)
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, check=True)
    assert done.stdout.decode() == "".join(f"{word}\0" for word in words)
