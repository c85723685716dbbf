from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.data.dataset import Dataset
from autonas.evaluation.coding.loading import load_tasks
from autonas.evaluation.coding.tasks import CodingTask, builtin_tasks
from autonas.evaluation.coding.truncation import FunctionEnd, function_end, truncate
from autonas.model.stopping import Completions

BODY = "\n    x = 1\n    return x\n"
TAILS = (
    "def g():\n    pass\n",
    "async def g():",
    "class A:\n",
    'if __name__ == "__main__":\n    f()\n',
    "print(f(1))\n",
    "@decorator\ndef g():",
    "# Example\nprint(f(1))\n",
    "assert f(1) == 2",
    "import os\n",
    "x = 1",
    '"""another text"""',
    "} else {",
    "��",
)


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("gap", ["", "\n", "\n\n    \n"])
def test_a_function_ends_before_the_first_statement_at_column_0(tail: str, gap: str) -> None:
    assert truncate(BODY + gap + tail) == BODY
    assert function_end(BODY + gap) is None


@pytest.mark.parametrize(
    "body",
    [
        '\n    x = """\ndef g():\nclass A:\n"""\n    return x\n',
        "\n    x = '''\nprint(1) \\''' \n'''\n    return x\n",
        "\n    x = [\n1,\n2,\n]\n    return x\n",
        "\n    x = f(\nprint\n)\n    return {\n'a': 1}\n",
        "\n    x = 1 + \\\n2\n    return x\n",
        "\n    # don't (\n    return 1\n",
        "\n    x = 'a # b' + \"it's (\"\n    return x\n",
        "\n    x = 'a \\\nb'\n    return x\n",
        "\n# a comment at column 0 amid the body, don't (\n    return 1\n",
        "\n\n\n    return 1\n",
        "  # a comment behind the docstring\n    return 1\n",
        "\n    x = '\\''\n    y = r'\\'\n    return x\n",
        "\n    return 'unclosed\n    return 1\n",
        "\r\n    x = 1\r\n\r\n    return x\r\n",
        "\n\tif x:\n\t\treturn (1)\n\treturn ''\n",
    ],
)
def test_what_belongs_to_the_body_is_kept(body: str) -> None:
    assert function_end(body) is None
    kept = truncate(body + "\n\ndef g():\n    return 2\n")
    assert kept == body.rstrip() + "\n"


def test_a_bracket_that_is_never_closed_does_not_swallow_the_next_function() -> None:
    assert truncate("\n    return f((x\n\n\ndef g():\n    pass\n") == "\n    return f((x\n"
    assert function_end("\n    return f((x\n\nclassify,") is None


def check_references(tasks: tuple[CodingTask, ...]) -> None:
    for task in tasks:
        assert function_end(task.solution) is None, task.name
        for tail in TAILS:
            assert truncate(f"{task.solution.rstrip()}\n\n\n{tail}") == task.solution.rstrip() + "\n", (task.name, tail)


def test_no_reference_of_ours_is_cut() -> None:
    check_references(builtin_tasks())


@pytest.mark.parametrize("name", ["HumanEval.jsonl.gz", "mbpp.jsonl", "sanitized-mbpp.json"])
def test_no_published_reference_is_cut(published: Path, name: str) -> None:
    check_references(load_tasks(str(published / name)))


@given(st.lists(st.sampled_from(["\n", "    ", "x", "def", "'", '"""', "(", ")", "#", "\\", "'''", "class ", "@", '"', " "])))
def test_a_found_end_stays_where_it_is_whatever_follows(parts: list[str]) -> None:
    text = "".join(parts)
    ends = [function_end(text[:size]) for size in range(len(text) + 1)]
    found = [end for end in ends if end is not None]
    assert len(set(found)) <= 1
    assert all(after is not None for before, after in itertools.pairwise(ends) if before is not None)


@given(st.text(alphabet="ab \n#'\"()\\def:", max_size=60))
def test_truncation_keeps_a_beginning_and_is_its_own_fixed_point(text: str) -> None:
    kept = truncate(text)
    assert text.startswith(kept.rstrip()) and truncate(kept) == kept


@pytest.mark.parametrize("at_once", [1, 2, 3, 4, 7, 1000])
def test_generation_ends_with_the_token_that_shows_it_however_many_come_at_once(dataset: Dataset, at_once: int) -> None:
    tokenizer = dataset.tokenizer
    text = "\n    return a + b\n\n\ndef other(a):\n    return a\n"
    tokens = tokenizer.encode(text)
    completions = Completions(1, FunctionEnd.of(tokenizer))
    for start in range(0, len(tokens), at_once):
        completions.add([0], [tokens[start : start + at_once]])
    (said,) = completions.tokens
    assert completions.ended(0) and tokenizer.decode(said) == "\n    return a + b\n\n\ndef"
    assert truncate(tokenizer.decode(said)) == "\n    return a + b\n"


def test_generation_ends_before_end_of_text_too(dataset: Dataset) -> None:
    tokenizer = dataset.tokenizer
    rule = FunctionEnd.of(tokenizer)
    body = tokenizer.encode("\n    return a")
    assert rule and rule.kept(body) is None
    assert rule.kept([*body, tokenizer.end_of_text, *body]) == len(body)
    assert rule.kept([*body, tokenizer.end_of_text, *tokenizer.encode("\ndef g():")]) == len(body)
    ended = [*tokenizer.encode("\n    return a\n\ndef"), tokenizer.end_of_text]
    assert rule.kept(ended) == len(ended) - 1
