"""Examples from what is there: files of HumanEval and MBPP, and functions with docstrings in a corpus. No torch."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator

from autonas.data.dataset import Dataset
from autonas.errors import CorpusError
from autonas.evaluation.coding.loading import load_tasks
from autonas.evaluation.coding.syntax import parsed
from autonas.tuning.examples import Example, example_of

_SHORTEST_DOCSTRING = 10  # characters
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def examples_of_tasks(source: str) -> tuple[Example, ...]:
    """The tasks of a file of HumanEval or MBPP, or of a data set of the hub, with their tests.

    They are benchmarks: a model that is tuned on them can no longer be scored by them.

    Raises:
        CorpusError: as `load_tasks`.
    """
    return tuple(map(example_of, load_tasks(source)))


def examples_of_functions(dataset: Dataset, count: int | None = None) -> tuple[Example, ...]:
    """Functions of the training documents that have a docstring: signature and docstring are the prompt, the body the solution.

    Python alone. At most `count`, drawn by what they hold, in the corpus's order; of equal ones the first. Never from
    validation or test documents. Functions of one document are a family, which a split keeps together.

    Raises:
        CorpusError: there is none.
    """
    found: dict[str, Example] = {}
    for number, name in enumerate(dataset.documents("train").names):
        for line, prompt, solution in functions_of(dataset.text("train", number)):
            found.setdefault(prompt + solution, Example(id=f"{name}#{line}", prompt=prompt, solution=solution))
    if not found:
        raise CorpusError("the training documents hold no Python function with a docstring; give a recipe whose corpus does")
    examples = list(found.values())
    if count is not None and count < len(examples):
        drawn = sorted(range(len(examples)), key=lambda place: hashlib.blake2b(examples[place].text.encode()).digest())
        examples = [examples[place] for place in sorted(drawn[:count])]
    return tuple(examples)


def functions_of(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, prompt and solution of each function in a text that has a docstring and a body behind it.

    Both as they stand there, but for the indent that all of it has: a method is what it would be at the top of a file. Nothing
    of a text that is no Python.
    """
    tree = parsed(text)
    if tree is None:
        return
    lines = text.splitlines(keepends=True)
    for node in ast.walk(tree):
        if isinstance(node, _Function) and len(node.body) > 1 and len(ast.get_docstring(node) or "") >= _SHORTEST_DOCSTRING:
            found = _parts(node, lines)
            if found is not None:
                yield (node.lineno, *found)


def _parts(node: _Function, lines: list[str]) -> tuple[str, str] | None:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    docstring, end = node.body[0].end_lineno, node.end_lineno
    assert docstring is not None and end is not None
    if node.body[1].lineno <= docstring or node.body[0].lineno <= node.lineno:
        return None  # all on one line
    indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
    prompt, solution = (
        "".join(_dedented(line, indent) for line in part) for part in (lines[first:docstring], lines[docstring:end])
    )
    if not prompt.strip() or not solution.strip():
        return None
    if parsed(prompt + solution) is None:
        return None  # a text of several lines lost its indent
    kept = prompt.rstrip()
    return kept, prompt[len(kept) :] + solution


def _dedented(line: str, indent: str) -> str:
    return line.removeprefix(indent) if line.startswith(indent) else line.lstrip(" \t")
