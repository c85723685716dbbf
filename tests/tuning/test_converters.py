"""Functions with docstrings as examples: what they were, from training documents alone."""

from __future__ import annotations

import ast
import inspect
import textwrap

import pytest

from autonas.data.dataset import Dataset
from autonas.tuning.converters import examples_of_functions, functions_of
from autonas.tuning.split import group_examples

CLASS = '''
class Stack:
    @property
    def top(self):
        """The last item that was pushed."""
        # nothing is taken
        return self.items[-1]

    def text(self):
        """All of it, as a text of lines."""
        return """a
  b
"""

    def documented(self):
        """Nothing stands behind this."""

    def short(self): """One line, all of it."""; return 1

    async def wait(
        self, seconds: float
    ) -> None:
        \'\'\'Wait for so many seconds.

        Really.
        \'\'\'

        await sleep(seconds)
'''


def test_signature_and_docstring_are_the_prompt_and_the_body_is_the_solution() -> None:
    found = {prompt.split("def ")[1].partition("(")[0]: (prompt, solution) for _, prompt, solution in functions_of(CLASS)}
    assert found["top"] == (
        '@property\ndef top(self):\n    """The last item that was pushed."""',
        "\n    # nothing is taken\n    return self.items[-1]\n",
    )
    assert found["wait"][0].startswith("async def wait(\n    self, seconds: float\n) -> None:\n")
    assert found["wait"][1].strip() == "await sleep(seconds)"
    assert not {"documented", "short"} & found.keys()


def shown(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, str, list[str]]:
    """All of a function but its docstring, of which a method's loses its indent."""
    return function.name, ast.dump(function.args), [ast.dump(statement) for statement in function.body[1:]]


@pytest.mark.parametrize("module", [ast, inspect, textwrap])
def test_prompt_and_solution_together_are_the_function(module: object) -> None:
    text = inspect.getsource(module)  # type: ignore[arg-type]
    there = [shown(node) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = list(functions_of(text))
    assert found
    for _, prompt, solution in found:
        (function,) = ast.parse(prompt + solution).body
        assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        assert prompt == prompt.rstrip() and solution.strip()
        assert shown(function) in there


def test_a_text_that_is_no_python_has_no_functions() -> None:
    assert list(functions_of("def f(:")) == list(functions_of("\0")) == []


def test_functions_come_from_training_documents_alone_and_each_once(dataset: Dataset) -> None:
    examples = examples_of_functions(dataset)
    names = set(dataset.documents("train").names)
    assert {each.id.rpartition("#")[0] for each in examples} <= names
    for split in ("validation", "test"):
        assert not names & set(dataset.documents(split).names)
    assert len({each.text for each in examples}) == len(examples) > 100


def test_fewer_are_drawn_by_what_they_hold(dataset: Dataset) -> None:
    some, more = (examples_of_functions(dataset, count) for count in (30, 60))
    assert len(some) == 30 and set(some) < set(more)
    assert len(group_examples(some)) >= 5
