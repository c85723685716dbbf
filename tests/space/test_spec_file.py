"""One architecture from a file: YAML, JSON, an entry of a front; and precise complaints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from autonas.arch import ArchSpec
from autonas.errors import RecipeError
from autonas.space.spec_file import read_spec
from tests.model.strategies import specs


@given(spec=specs())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_spec_written_as_json_comes_back(tmp_path: Path, spec: ArchSpec) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec.to_dict()))
    assert read_spec(path, {}) == spec
    path.write_text(json.dumps({"trial": 3, "spec": spec.to_dict(), "scores": {}}))
    assert read_spec(path, {}) == spec, "an entry of `autonas front --json` is a spec file too"


def test_what_the_file_leaves_out_comes_from_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("layers: 2\nwidth: 64\nheads: 4\n")
    spec = read_spec(path, {"vocab_size": 300, "context_length": 32})
    assert (spec.vocab_size, spec.context_length, spec.kv_heads) == (300, 32, 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layers: 2\nwidth: 64\nheads: 5\n", r"width 64 is not a multiple of 5 heads"),
        ("layers: 2\nwidth: 64\n", r"lacks 'heads'"),
        ("layers: 2\nwidth: 64\nhead: 4\n", r"spec\.yaml:3: head: .*did you mean 'heads'"),
        ("layers: two\nwidth: 64\nheads: 4\n", r"spec\.yaml:1: layers: is two"),
        ("layers: 2\nwidth: 64\nheads: 4\nnorm: batchnorm\n", r"spec\.yaml:4: norm: is batchnorm"),
        ("layers: 2\nwidth: 64\nheads: 4\nkv_heads: heads\n", r"leave it out"),
        ("layers: 2\nwidth: 64\nheads: 4\ntied_embeddings: maybe\n", r"true or false"),
        ("- layers\n", r"not a mapping"),
        ("", r"spec\.yaml"),
    ],
)
def test_a_wrong_file_is_one_message_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=expected) as caught:
        read_spec(path, {})
    assert "\n" not in str(caught.value)
