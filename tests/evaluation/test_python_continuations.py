from __future__ import annotations

import ast
import sysconfig
from pathlib import Path
from typing import Final

import pytest

from autonas.data.tokenizer import Tokenizer
from autonas.evaluation.detectors import detect
from autonas.evaluation.python_continuations import CONTINUATIONS
from autonas.evaluation.python_prompts import BARE_PROMPTS, FEW_SHOT_PROMPTS

# What stands before the two bare lines that begin in the middle of something; every other prompt begins a file.
BEFORE: Final = {"    return self.": "def __len__(self):\n", "elif name == ": "if name == 'host':\n    pass\n"}


@pytest.fixture(scope="module", params=(0, 1), ids=lambda half: f"half {half}")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """2,048 entries, of every second file of the standard library: the lengths must hold on whichever half it was trained."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[request.param :: 2]
    return Tokenizer.train([file.read_text(encoding="utf-8") for file in files], 2048)


def test_every_prompt_has_one_continuation_in_the_prompts_order_and_there_are_none_over() -> None:
    assert tuple(CONTINUATIONS) == FEW_SHOT_PROMPTS + BARE_PROMPTS


@pytest.mark.parametrize(("prompt", "continuation"), CONTINUATIONS.items(), ids=range(len(CONTINUATIONS)))
def test_prompt_and_continuation_are_valid_python(prompt: str, continuation: str) -> None:
    code = BEFORE.get(prompt, "") + prompt + continuation
    ast.parse(code)
    assert code.endswith("\n") and not code.endswith("\n\n") and "\t" not in code
    assert all(line == line.rstrip() for line in continuation.split("\n")[1:])


def test_every_continuation_has_70_to_130_tokens(tokenizer: Tokenizer) -> None:
    lengths = [len(ids) for ids in tokenizer.encode_batch(list(CONTINUATIONS.values()))]
    wrong = {text: length for text, length in zip(CONTINUATIONS.values(), lengths, strict=True) if not 70 <= length <= 130}
    assert wrong == {}


def test_no_continuation_is_called_collapsed_wherever_it_is_cut(tokenizer: Tokenizer) -> None:
    for continuation in CONTINUATIONS.values():
        ids = tokenizer.encode(continuation)
        for count in range(10, len(ids) + 1, 10):
            text = tokenizer.decode(ids[:count])
            assert detect(text) == (), text
        assert detect(continuation) == ()


def test_no_two_continuations_are_alike() -> None:
    assert len(set(CONTINUATIONS.values())) == len(CONTINUATIONS)
    starts = {continuation.strip()[:80] for continuation in CONTINUATIONS.values()}
    assert len(starts) == len(CONTINUATIONS)


def test_a_continuation_starts_inside_the_body_that_is_asked_for_and_does_not_begin_it_again() -> None:
    for prompt, continuation in CONTINUATIONS.items():
        head = prompt.rstrip("\n").rsplit("\n", 1)[-1]
        if not head.endswith(":"):
            continue
        assert continuation.startswith("\n") != prompt.endswith("\n")
        first = continuation.lstrip("\n").split("\n", 1)[0]
        assert _indent(first) == _indent(head) + 4
        if head.lstrip().startswith(("def ", "class ", "async ")):
            assert head.strip() not in continuation


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
