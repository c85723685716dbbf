"""Which examples a tuning is validated on. No torch.

What belongs together stays on one side: examples with the same prompt, with near-duplicate texts or solutions, and those of one
family, which share an id up to a "#". The choice follows from what the examples hold, and not from their order or their ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from autonas.data.duplicates import WordHashes, near_duplicates, sketch
from autonas.errors import CorpusError
from autonas.tuning.examples import Example

SIMILARITY: Final = 0.8  # of sets of 5-grams, from which on two texts belong together
# Signs of a solution below which it is a commonplace (`return x`) that two different examples may share.
_COMMONPLACE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The numbers of the examples on each side, rising, and how many groups each side has."""

    training: tuple[int, ...]
    validation: tuple[int, ...]
    training_groups: int
    validation_groups: int


def split_examples(examples: Sequence[Example], share: float) -> Split:
    """Whole groups for validation until they are `share` of the examples; none where that is 0.

    Raises:
        CorpusError: all examples belong together, or there are too few.
    """
    groups = group_examples(examples)
    if share == 0.0:
        return Split(training=tuple(range(len(examples))), validation=(), training_groups=len(groups), validation_groups=0)
    wanted = max(1, round(share * len(examples)))
    chosen: list[tuple[int, ...]] = []
    count = 0
    for group in sorted(groups, key=lambda group: _order(examples, group)):
        # A group that is more than what is missing and as much again would make another split than the one asked for.
        if count < wanted and count + len(group) <= max(2 * wanted, 1) and len(groups) - len(chosen) > 1:
            chosen.append(group)
            count += len(group)
    if not chosen:
        raise CorpusError(
            f"the {len(examples)} examples belong together in {len(groups)} groups, and none can be set aside for validation; "
            "give more different ones, or --validation-share 0, which neither stops early nor knows when to"
        )
    validation = {number for group in chosen for number in group}
    return Split(
        training=tuple(number for number in range(len(examples)) if number not in validation),
        validation=tuple(sorted(validation)),
        training_groups=len(groups) - len(chosen),
        validation_groups=len(chosen),
    )


def group_examples(examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """The examples' numbers, in groups of what belongs together."""
    parent = list(range(len(examples)))

    def first(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    def join(a: int, b: int) -> None:
        low, high = sorted((first(a), first(b)))
        parent[high] = low

    words = WordHashes()
    long = [number for number, each in enumerate(examples) if len("".join(each.solution.split())) >= _COMMONPLACE]
    of_texts = near_duplicates([sketch(each.text, words) for each in examples], SIMILARITY)
    of_solutions = near_duplicates([sketch(examples[number].solution, words) for number in long], SIMILARITY)
    for number, other in enumerate(of_texts):
        join(number, other)
    for place, other in enumerate(of_solutions):
        join(long[place], long[other])
    same: dict[Hashable, int] = {}
    for number, each in enumerate(examples):
        family, mark, _ = each.id.rpartition("#")
        keys: list[Hashable] = [("prompt", " ".join(each.prompt.split()))]
        keys += [("family", family)] if mark else []
        for key in keys:
            join(number, same.setdefault(key, number))
    groups: dict[int, list[int]] = {}
    for number in range(len(examples)):
        groups.setdefault(first(number), []).append(number)
    return [tuple(group) for group in groups.values()]


def _order(examples: Sequence[Example], group: Sequence[int]) -> bytes:
    """A number drawn from what the group holds."""
    texts = sorted(examples[number].text for number in group)
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).digest()
