"""Files of examples: what is read is what was written, and each bad line is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.errors import CorpusError
from autonas.tuning.examples import Example, digest_of, make_example, read_examples, write_examples

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip()))
GOOD = '{"id": "a", "prompt": "p", "solution": "s"}'


@given(texts=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5))
def test_what_is_written_is_read_again(texts: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("round") / "examples.jsonl"
    examples = tuple(make_example(str(n), prompt=prompt, solution=text) for n, (prompt, text) in enumerate(texts))
    write_examples(path, examples)
    assert read_examples(path) == examples
    assert digest_of(read_examples(path)) == digest_of(examples)


@given(prompt=TEXT, solution=TEXT)
def test_white_space_behind_a_prompt_goes_over_to_the_solution(prompt: str, solution: str) -> None:
    example = make_example("a", prompt=prompt, solution=solution)
    assert example.text == prompt + solution
    assert example.prompt == prompt.rstrip()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "no JSON object"),
        ('{"prompt": "p", "solution": "s"}', "`id` is not there"),
        ('{"id": true, "prompt": "p", "solution": "s"}', "`id` is True"),
        ('{"id": "b", "solution": "s"}', "`prompt` is not there"),
        ('{"id": "b", "prompt": " ", "solution": "s"}', "`prompt` is ' '"),
        ('{"id": "b", "prompt": "p", "solution": "\\n"}', "`solution` is '\\n'"),
        ('{"id": "b", "prompt": "p", "solution": 3}', "`solution` is 3"),
        ('{"id": "b", "prompt": "p", "solution": "\\ud800"}', "not valid Unicode"),
        ('{"id": "b", "prompt": "p", "solution": "s", "tests": "assert 1"}', "go together"),
        (GOOD, "the id 'a' is that of line 1"),
    ],
)
def test_a_bad_line_is_named_with_what_is_wrong(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        read_examples(path)
    assert f"{path}:3: " in str(caught.value)
    assert said in str(caught.value)


def test_bytes_that_are_not_utf8_are_named_by_their_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(GOOD.encode() + b'\n{"id": "b", "prompt": "\xff"}\n')
    with pytest.raises(CorpusError, match=r"bad.jsonl:2: byte 24 .* UTF-8"):
        read_examples(path)


def test_of_many_bad_lines_some_are_named_and_all_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("{\n" * 9)
    with pytest.raises(CorpusError, match="and 4 more of 9 wrong lines"):
        read_examples(path)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_a_file_without_examples_and_one_that_is_not_there_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text(text)
    with pytest.raises(CorpusError, match="holds no example"):
        read_examples(path)
    with pytest.raises(CorpusError, match="cannot be read"):
        read_examples(tmp_path / "none.jsonl")


def test_a_byte_order_mark_and_other_keys_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "marked.jsonl"
    row = {"id": 7, "prompt": "p", "solution": "s", "source": "here"}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row).encode() + b"\r\n")
    assert read_examples(path) == (Example(id="7", prompt="p", solution="s"),)
