"""`curriculum:` and `teacher:` of a space file: read strictly, resolved in full, and read again as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autonas.curriculum import Judge
from autonas.errors import RecipeError
from autonas.recipe import Recipe, load_recipe
from tests.studies import write_space


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.jsonl").write_text('{"text": "x = 1"}\n')
    return tmp_path


def recipe(folder: Path, **changes: Any) -> Recipe:
    return load_recipe(str(write_space(folder / "space.yaml", folder, **changes)))


WHOLE = {
    "stages": [
        {"share": 0.5, "difficulty": [0, 0.5], "min_tokens": 16},
        {"sources": {"a": 3, "made": 1}, "max_epochs": 4, "max_tokens": "2K"},
        {},
    ],
    "texts": {"made": "texts.jsonl"},
    "judge": {"tokens": "100k"},
}


def test_a_curriculum_is_read_with_its_defaults_and_comes_back(folder: Path) -> None:
    found = recipe(folder, curriculum=WHOLE, teacher={"model": "trials/big", "temperature": 2})
    assert found.curriculum is not None and found.teacher is not None
    first, second, third = found.curriculum.stages
    assert (first.share, second.share, third.share) == (0.5, 0.25, 0.25)
    assert second.sources == (("a", 0.75), ("made", 0.25)) and second.max_tokens == 2000
    assert found.curriculum.judge == Judge(tokens=100_000)
    assert (found.teacher.weight, found.teacher.temperature) == (0.5, 2.0)
    (folder / "texts.jsonl").unlink()  # what is recorded stays readable
    again = Recipe.from_resolved(json.loads(json.dumps(found.resolved)))
    assert again.curriculum == found.curriculum and again.teacher == found.teacher and again.resolved == found.resolved


def test_a_study_may_be_resumed_with_another_curriculum(folder: Path) -> None:
    assert recipe(folder).fingerprint == recipe(folder, curriculum=WHOLE, teacher={"model": "x"}).fingerprint


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"stages": []}, "has no stage"),
        ({"judge": {}}, "lacks `stages`"),
        ({"stages": [{"share": 0.5}, {"share": 0.4}]}, "add up to 0.9 and not to 1"),
        ({"stages": [{"share": 1}, {}]}, "leaves nothing for a stage without one"),
        ({"stages": [{"difficulty": [0.5, 0.2]}]}, "begins at 0.5 and ends at 0.2"),
        ({"stages": [{"difficulty": [0.5]}]}, "has 1 numbers"),
        ({"stages": [{"hardness": 1}]}, "'hardness' is an unknown key"),
        ({"stages": [{"sources": {}}]}, "names no source"),
        ({"stages": [{"sources": {"a": 0}}]}, "out of range"),
        ({"stages": [{"min_tokens": 9, "max_tokens": 3}]}, "out of range"),
        ({"stages": [{}], "texts": {"made": "texts.jsonl"}}, "no stage names 'made'"),
        ({"stages": [{}], "texts": {"made": "nothing.jsonl"}}, "no file here"),
        ({"stages": [{}], "texts": {"pairs": "texts.jsonl"}}, "corpus's own functions"),
        ({"stages": [{}], "judge": {"tokens": 5}}, "out of range"),
    ],
)
def test_a_wrong_curriculum_is_one_complaint_with_its_place(folder: Path, section: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RecipeError, match=r"space\.yaml:\d+: curriculum") as caught:
        recipe(folder, curriculum=section)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("section", [{}, {"model": ""}, {"model": "x", "weight": 0}, {"model": "x", "temperature": -1}])
def test_a_wrong_teacher_is_refused(folder: Path, section: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="teacher"):
        recipe(folder, teacher=section)
