"""`export:` in a space file: the space is confined to what the formats can have, by rules that say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from autonas.arch import ACTIVATIONS, NORMS, POSITIONS, ArchSpec
from autonas.errors import InfeasibleArch, RecipeError
from autonas.recipe import Recipe, load_recipe
from autonas.recipe.recipe import difference
from autonas.space.exports import EXPORTS, broken_exports

SPACE: dict[str, Any] = {
    "layers": {"int": [1, 3]},
    "width": {"choice": [32, 64]},
    "heads": {"choice": [2, 4]},
    "kv_heads": {"choice": [1, 2, "heads"]},
    "norm": {"choice": list(NORMS)},
    "activation": {"choice": list(ACTIVATIONS)},
    "position": {"choice": list(POSITIONS)},
}


def recipe(folder: Path, export: Any, **changes: Any) -> Recipe:
    values = {"space": {**SPACE, **changes}, "budget": {"trials": 4, "rungs": ["100K"]}}
    path = folder / "space.yaml"
    path.write_text(yaml.safe_dump({**values, **({} if export is None else {"export": export})}))
    return load_recipe(str(path))


@pytest.mark.parametrize("name", EXPORTS)
def test_a_space_is_confined_to_what_can_be_exported(tmp_path: Path, name: str) -> None:
    space, free = recipe(tmp_path, name).space, recipe(tmp_path, None).space
    legal = [params for params in free.every() if free.legal(params)]
    wanted = [params for params in legal if not broken_exports(name, free.decode(params))]
    assert [params for params in space.every() if space.legal(params)] == wanted
    assert len(wanted) > 0 and (len(wanted) < len(legal)) == (name in ("gguf", "hf-native"))
    for seed in range(20):
        near = space.nearest_legal(space.draw(np.random.default_rng(seed)))
        assert near is not None and not broken_exports(name, space.decode(near))


def test_what_is_broken_says_which_export_needs_what(tmp_path: Path) -> None:
    space = recipe(tmp_path, "gguf").space
    params = next(p for p in space.every() if p["norm"] == "layernorm" and not recipe(tmp_path, None).space.broken(p))
    with pytest.raises(InfeasibleArch) as error:
        space.decode(params)
    assert error.value.rule == "export: gguf needs norm == 'rmsnorm'"


def test_several_formats_and_the_way_through_the_ledger(tmp_path: Path) -> None:
    both = recipe(tmp_path, ["gguf", "hf-native"])
    assert both.resolved["export"] == ["gguf", "hf-native"] and both.resolved["rules"] == []
    again = Recipe.from_resolved(json.loads(json.dumps(both.resolved)))
    assert again == both and again.space.rules == both.space.rules
    free = recipe(tmp_path, None)
    assert "export" not in free.resolved, "studies that began before there was an export: are resumed"
    assert difference(free, both) == ['export was absent, is ["gguf", "hf-native"]']


@pytest.mark.parametrize(
    ("export", "changes", "message"),
    [
        ("tflite", {}, "export: is tflite, an unknown export; known are safetensors, hf, hf-native, onnx, gguf"),
        (["gguf", "gg"], {}, "export[1]: is gg, an unknown export"),
        ("gguf", {"norm": "layernorm"}, "gguf needs norm == 'rmsnorm'` is impossible: nothing in the space meets it; leave"),
        ("gguf", {"position": {"choice": ["alibi", "learned"]}}, "gguf needs position == 'rope'` is impossible"),
        ("hf-native", {"position": "alibi"}, "export: hf-native needs position == 'rope' or"),
    ],
)
def test_a_wrong_or_empty_export_is_one_message(tmp_path: Path, export: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        recipe(tmp_path, export, **changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_rule_that_speaks_of_no_heads_may_be_impossible(tmp_path: Path) -> None:
    """kv_heads is left out, and so is as many as heads, which the rule does not know."""
    values = {"space": {n: SPACE[n] for n in ("layers", "width", "heads")}, "rules": ["activation == 'swiglu'"]}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({**values, "budget": {"trials": 4, "rungs": ["100K"]}}))
    with pytest.raises(RecipeError, match="is impossible: nothing in the space meets it"):
        load_recipe(str(tmp_path / "space.yaml"))


def test_the_rules_of_gguf_are_those_of_llama() -> None:
    llama: dict[str, Any] = {
        "layers": 1,
        "width": 32,
        "heads": 2,
        "kv_heads": 1,
        "norm": "rmsnorm",
        "activation": "swiglu",
        "position": "rope",
    }
    assert broken_exports("gguf", ArchSpec(**llama)) == ()
    for change in ({"norm": "layernorm"}, {"activation": "geglu"}, {"position": "learned"}):
        assert len(broken_exports("gguf", ArchSpec(**{**llama, **change}))) == 1
