"""Examples from what is there: files of HumanEval and MBPP, and functions with docstrings in a corpus. No torch."""

from __future__ import annotations

import hashlib

from autonas.data.dataset import Dataset
from autonas.data.pairs import training_pairs
from autonas.errors import CorpusError
from autonas.evaluation.coding.loading import load_tasks
from autonas.tuning.examples import Example, example_of

_SHORTEST_DOCSTRING = 10  # characters


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
    names = dataset.documents("train").names
    found: dict[str, Example] = {}
    for pair in training_pairs(dataset):
        if len(pair.docstring) >= _SHORTEST_DOCSTRING:
            text, prompt = pair.head + pair.body, pair.head.rstrip()
            example = Example(id=f"{names[pair.document]}#{pair.line}", prompt=prompt, solution=text[len(prompt) :])
            found.setdefault(text, example)
    if not found:
        raise CorpusError("the training documents hold no Python function with a docstring; give a recipe whose corpus does")
    examples = list(found.values())
    if count is not None and count < len(examples):
        drawn = sorted(range(len(examples)), key=lambda place: hashlib.blake2b(examples[place].text.encode()).digest())
        examples = [examples[place] for place in sorted(drawn[:count])]
    return tuple(examples)
