"""Functions with docstrings as examples: what they were, from training documents alone."""

from __future__ import annotations

from autonas.data.dataset import Dataset
from autonas.tuning.converters import examples_of_functions
from autonas.tuning.split import group_examples


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
