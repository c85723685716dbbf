"""What a space file says of guards, and that its resolved form says the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autonas.errors import RecipeError
from autonas.recipe.recipe import Recipe, load_recipe
from tests.studies import write_space


def recipe(folder: Path, **training: Any) -> Recipe:
    return load_recipe(str(write_space(folder / "space.yaml", folder, training={"warmup": "2K", **training})))


def test_guards_are_read_and_resolved_to_the_same(tmp_path: Path) -> None:
    read = recipe(
        tmp_path,
        rollbacks=3,
        early_stopping={"patience": 4, "min_delta": 0.01},
        time_limit="2h",
        memory_limit="4G",
    )
    found = read.training
    assert (found.rollbacks, found.patience, found.min_delta) == (3, 4, 0.01)
    assert (found.time_limit_s, found.memory_limit) == (7200.0, 4 * 10**9)
    assert Recipe.from_resolved(read.resolved) == read


def test_the_defaults_limit_nothing(tmp_path: Path) -> None:
    read = recipe(tmp_path)
    found = read.training
    assert (found.rollbacks, found.patience, found.time_limit_s, found.memory_limit) == (2, None, None, None)
    assert Recipe.from_resolved(read.resolved) == read


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"early_stopping": {"min_delta": 0.1}}, r"training\.early_stopping: lacks `patience`"),
        ({"early_stopping": {"patience": 0}}, r"training\.early_stopping\.patience"),
        ({"early_stopping": {"patience": 3, "delta": 1}}, "'delta' is an unknown key"),
        ({"time_limit": 0}, r"training\.time_limit"),
        ({"memory_limit": "4 potatoes"}, r"training\.memory_limit"),
        ({"rollbacks": -1}, r"training\.rollbacks"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, training: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        recipe(tmp_path, **training)


def test_optimizers_are_read_and_resolved_to_the_same(tmp_path: Path) -> None:
    read = recipe(tmp_path, optimizer="muon", muon={"momentum": 0.8}, grokfast={"lambda": 0.5, "alpha": 0.7})
    found = read.training
    assert (found.optimizer, found.muon_momentum, found.grokfast, found.grokfast_alpha) == ("muon", 0.8, 0.5, 0.7)
    assert Recipe.from_resolved(read.resolved) == read
    plain = recipe(tmp_path)
    assert (plain.training.optimizer, plain.training.grokfast) == ("adamw", 0.0)
    assert Recipe.from_resolved(plain.resolved) == plain


def test_a_recipe_from_before_there_were_optimizers_is_adamw(tmp_path: Path) -> None:
    read = recipe(tmp_path)
    older = {key: value for key, value in read.resolved["training"].items() if key not in ("optimizer", "muon", "grokfast")}
    assert Recipe.from_resolved({**read.resolved, "training": older}) == read


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"optimizer": "sgd"}, r"training\.optimizer: is sgd, an unknown optimizer"),
        ({"muon": {"momentum": 0.8}}, r"training\.muon: stands beside `optimizer: adamw`"),
        ({"optimizer": "muon", "rate_scaling": "none"}, r"training\.rate_scaling: is none, and Muon's"),
        ({"optimizer": "muon", "muon": {"momentum": 1.0}}, r"training\.muon\.momentum"),
        ({"grokfast": {"alpha": 0.9}}, r"training\.grokfast: lacks `lambda`"),
        ({"grokfast": {"lambda": 0}}, r"training\.grokfast\.lambda"),
    ],
)
def test_a_mistake_in_an_optimizer_is_named(tmp_path: Path, training: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        recipe(tmp_path, **training)
