"""Functions as pairs: what they are cut into is the function, and every one is Python."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import pytest

from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.data.pairs import pairs_of, training_pairs


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


def pairs(text: str) -> list[tuple[str, str]]:
    return [(pair.head, pair.body) for pair in pairs_of(textwrap.dedent(text))]


def test_a_function_is_cut_behind_its_docstring() -> None:
    found = pairs('''
        @cached
        def add(a: int,
                b: int = 2) -> int:
            """Return a + b.

            Twice.
            """
            # first
            total = a + b
            return total
    ''')
    head = '@cached\ndef add(a: int,\n        b: int = 2) -> int:\n    """Return a + b.\n\n    Twice.\n    """\n'
    assert found == [(head, "    # first\n    total = a + b\n    return total\n")]


def test_a_function_without_docstring_is_cut_behind_its_signature() -> None:
    found = pairs(
        "class A:\n    async def f(self, x={}, *rest, y: 'a:b' = {1: 2}):  # why:\n        x = 1\n\n        return x\n"
    )
    assert found == [("async def f(self, x={}, *rest, y: 'a:b' = {1: 2}):  # why:\n", "    x = 1\n\n    return x\n")]


@pytest.mark.parametrize(
    "text",
    [
        "def f(): return 1\n",
        "def f():\n    pass\n",
        'def f():\n    """Only said."""\n',
        'def f():\n    """Only said."""\n    ...\n',
        "def f():\n    raise NotImplementedError\n",
        "def f():\n    raise NotImplementedError('later')\n",
        "def f(:\n    x = 1\n    return x\n",
        "lambda: 0\n",
        "\0",
    ],
)
def test_what_says_nothing_or_is_no_python_makes_no_pair(text: str) -> None:
    assert pairs(text) == []


def test_a_method_is_cut_as_a_function_is() -> None:
    text = '''
class Stack:
    @property
    def top(self):
        """The last item that was pushed."""
        # nothing is taken
        return self.items[-1]

    async def wait(
        self, seconds: float
    ) -> None:
        """Wait for so many seconds."""

        await sleep(seconds)
'''
    assert pairs(text) == [
        (
            '@property\ndef top(self):\n    """The last item that was pushed."""\n',
            "    # nothing is taken\n    return self.items[-1]\n",
        ),
        (
            'async def wait(\n    self, seconds: float\n) -> None:\n    """Wait for so many seconds."""\n',
            "\n    await sleep(seconds)\n",
        ),
    ]
    assert [(pair.line, pair.docstring) for pair in pairs_of(text)] == [
        (3, "The last item that was pushed."),
        (9, "Wait for so many seconds."),
    ]


def test_an_error_that_a_function_raises_is_what_it_does() -> None:
    text = "def refuse(value):\n    raise TypeError(f'{value} cannot be had')\n"
    assert [body for _, body in pairs(text)] == ["    raise TypeError(f'{value} cannot be had')\n"]


def test_functions_within_functions_stay_there() -> None:
    found = pairs("def outer(x):\n    def inner(y):\n        z = y\n        return z\n    return inner(x)\n")
    assert [head for head, _ in found] == ["def outer(x):\n"]


def test_pairs_of_real_code_are_python_and_stand_in_the_training_split_alone(dataset: Dataset) -> None:
    found = training_pairs(dataset)
    assert len(found) > 300
    texts = {number: dataset.text("train", number) for number in {pair.document for pair in found}}
    for pair in found:
        tree = ast.parse(pair.head + pair.body)
        (node,) = tree.body
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == pair.name
        assert pair.body.splitlines()[0][:1] in (" ", "\t", "") and pair.head.endswith("\n")
        assert f"def {pair.name}" in texts[pair.document]
    assert len({pair.body for pair in found}) == len(found)
