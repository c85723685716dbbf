from __future__ import annotations

import warnings

import pytest

from autonas.evaluation.coding.syntax import is_valid, parsed

PROMPT = 'def f(a):\n    """Do something."""'


@pytest.mark.parametrize(
    "answer", ["\n    return a\n", "\n    pass", "\n    # why\n    return a", "\n    '''text'''", "\n    x = '\\d'\n"]
)
def test_a_statement_more_is_valid(answer: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert is_valid(PROMPT, answer)


@pytest.mark.parametrize(
    "answer",
    [
        *("", "\n", "    \n\n", "\n    # a comment alone\n"),
        *("\n    return (", "\n  return a", "return a", "\n    return a return b", "\n    x = 'unclosed", "\n    if a:\n"),
        *("\n    x = 1\x00", "\n    x = " + "(" * 300 + ")" * 300, "\n    x = " + "-" * 200_000 + "1", "\n    return \ud800"),
    ],
)
def test_nothing_comments_and_what_does_not_compile_is_not(answer: str) -> None:
    assert not is_valid(PROMPT, answer)


def test_a_prompt_that_does_not_compile_by_itself_is_completed() -> None:
    assert is_valid("def f(a):", "\n    return a\n") and not is_valid("def f(a):", "\n    # nothing\n")


def test_a_long_sum_is_no_deep_recursion() -> None:
    assert is_valid(PROMPT, "\n    return " + " + ".join(["a"] * 900))
    assert parsed("x = [" + "1, " * 50_000 + "]") is not None
