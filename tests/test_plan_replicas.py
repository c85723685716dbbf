"""What a plan says of replicas: their shape, ratios and time, and what neither they nor the rungs can judge."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from autonas.commands.plan import _study_lines
from autonas.plan import plan_study
from autonas.recipe import Recipe, load_recipe
from autonas.space.space import Space
from tests.studies import SMALL, write_space
from tests.test_plan import CORPUS, workplace


@pytest.fixture(scope="module")
def code_lm() -> Recipe:
    return load_recipe("code_lm")


def planned(recipe: Recipe, train_tokens: int = CORPUS.train_tokens) -> dict[str, Any]:
    found: dict[str, Any] = plan_study(recipe, dataclasses.replace(CORPUS, train_tokens=train_tokens), workplace(recipe))
    return found


def lines(recipe: Recipe, train_tokens: int = CORPUS.train_tokens) -> str:
    return "\n".join(_study_lines(planned(recipe, train_tokens)))


def test_the_replicas_of_a_real_space_have_the_full_runs_ratios(code_lm: Recipe) -> None:
    found = planned(code_lm)["replicas"]
    assert found == json.loads(json.dumps(found))
    assert found["wanted"]
    assert found["full"]["tokens"] == 50_000 * 8192
    for name in ("epochs", "unique_tokens_per_parameter", "warmup_share", "cooldown_share"):
        full, own = found["replica"]["ratios"][name]
        assert own == pytest.approx(full, rel=0.01), name
    assert found["trainings"] == (1 + 3 * 2 + 2) * 2
    assert found["seconds"] == pytest.approx(found["trainings"] * found["seconds_each"])
    median = planned(code_lm)["promotion"]["median"]["training_seconds"]
    assert 0 < found["seconds"] <= 0.05 * median * 1.001
    possible = {d["dimension"]: d["possible"] for d in found["dimensions"]}
    assert possible == dict.fromkeys(("attention_dropout", "residual_dropout", "label_smoothing"), True)
    assert all(d["values"] == [0.1, 0.2] for d in found["dimensions"])


def test_no_rung_may_rank_what_is_horizon_bound(code_lm: Recipe) -> None:
    plan = planned(code_lm)
    assert [rung["epochs"] for rung in plan["replicas"]["rungs"]] == [rung["epochs"] for rung in plan["rungs"]]
    for rung in plan["replicas"]["rungs"]:
        assert all(not entry["possible"] for entry in rung["dimensions"].values())
        assert all("cannot rank it" in entry["reason"] for entry in rung["dimensions"].values())
    text = "\n".join(_study_lines(plan))
    assert "unranked    at the rungs, of 0.12, 0.36, 1.1 of the full run's 10.2 epochs: attention_dropout" in text
    assert "epochs 10.2 (of 10.2)" in text
    assert max(map(len, text.splitlines())) < 300


def test_a_corpus_that_is_not_repeated_refuses_dropout(code_lm: Recipe) -> None:
    found = planned(code_lm, 400_000_000)["replicas"]
    possible = {d["dimension"]: d["possible"] for d in found["dimensions"]}
    assert possible == {"attention_dropout": False, "residual_dropout": False, "label_smoothing": True}
    assert found["trainings"] == (1 + 2 + 2) * 2, "nothing is spent on what cannot be told"
    assert "unranked    residual_dropout: the full run reads its corpus 1 times" in lines(code_lm, 400_000_000)


def test_one_seed_is_refused_with_how_many_would_do(tmp_path: Path, code_corpus: Path) -> None:
    found = planned(varying(tmp_path, code_corpus, {"seeds": 1}), 1_000_000)["replicas"]
    assert found["replica"] is None
    assert found["reason"] == "nothing that varies can be identified"
    assert "2 seeds would do" in found["dimensions"][0]["reason"]


def varying(folder: Path, corpus: Path, horizon: dict[str, Any], **changes: Any) -> Recipe:
    space = {**SMALL["space"], "residual_dropout": {"float": [0.0, 0.3]}}
    return load_recipe(str(write_space(folder / "small.yaml", corpus, space=space, horizon=horizon, **changes)))


def test_the_full_run_is_the_promotions_or_the_horizons_or_the_usual_one(tmp_path: Path, code_corpus: Path) -> None:
    def tokens(**sections: Any) -> int:
        recipe = varying(tmp_path, code_corpus, sections.pop("horizon", {}), **sections)
        return int(planned(recipe, 100_000)["replicas"]["full"]["tokens"])

    assert tokens(promote={"steps": 300}, horizon={"tokens": "10M"}) == 300 * 512
    assert tokens(horizon={"tokens": "10M"}) == 10_000_000 // 512 * 512
    assert tokens() == 50_000 * 512


def test_replicas_that_are_not_wanted_are_said_not_to_be(tmp_path: Path, code_corpus: Path) -> None:
    recipe = varying(tmp_path, code_corpus, {"replicas": False})
    assert not planned(recipe, 1_000_000)["replicas"]["wanted"]
    assert "none are wanted (horizon.replicas: false)" in lines(recipe, 1_000_000)


def test_a_share_that_is_too_small_is_said_with_its_remedy(tmp_path: Path, code_corpus: Path) -> None:
    text = lines(varying(tmp_path, code_corpus, {"share": 1e-7}), 1_000_000)
    assert "replicas    none: 10 trainings of even the smallest replica cost more than" in text
    assert "give a larger horizon.share" in text


def test_where_nothing_varies_nothing_is_said() -> None:
    recipe = load_recipe("quickstart")
    space: Space = recipe.space
    assert not space.horizon_bound
    assert "replicas" not in lines(recipe) and "unranked" not in lines(recipe)
    assert not planned(recipe)["replicas"]["wanted"]
