from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import autonas
from autonas.errors import RecipeError, RequestError
from autonas.recipe import Recipe, difference, find_space, load_recipe

SPACES = Path(__file__).parent.parent / "search_spaces"
MINIMAL: dict[str, Any] = {
    "space": {"layers": {"int": [1, 3]}, "width": 64, "heads": {"choice": [2, 4]}},
    "budget": {"trials": 4, "rungs": ["64K", "256K"]},
}


def write(folder: Path, *changes: dict[str, Any], name: str = "s.yaml") -> str:
    """A space file of MINIMAL with the sections of `changes` merged in; its path."""
    values: dict[str, Any] = {key: dict(section) for key, section in MINIMAL.items()}
    for change in changes:
        for key, section in change.items():
            merge = isinstance(section, dict) and key in values
            values[key] = {**values[key], **section} if merge else section
    path = folder / name
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return str(path)


def complaint(folder: Path, *changes: dict[str, Any], **overrides: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(folder, *changes), **overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_space_loads_and_is_its_own_resolution(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(str(path))
    assert recipe.name == path.stem
    assert recipe.space.legal_share() > 0.1
    assert Recipe.from_resolved(json.loads(json.dumps(recipe.resolved))) == recipe
    written = tmp_path / "recipe.yaml"
    written.write_text(yaml.safe_dump(dict(recipe.resolved), sort_keys=False, allow_unicode=True))
    assert load_recipe(str(written)) == recipe


def test_the_quickstart_is_what_it_promises() -> None:
    recipe = load_recipe("quickstart")
    assert (recipe.space.vocab_size, recipe.space.context_length, recipe.training.batch_tokens) == (2048, 256, 1024)
    assert recipe.search.rungs == (128_000, 768_000)
    assert recipe.search.trials >= 12
    assert recipe.space.horizon_bound == ()
    assert set(recipe.objectives) == {"val_loss", "params", "latency", "degeneration"}
    assert recipe.search.max_hours is not None


def test_left_out_settings_are_resolved_to_values_that_go_together(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, {"context_length": 32, "budget": {"rungs": ["10K"]}}))
    assert recipe.training.batch_tokens % 32 == 0
    assert recipe.training.warmup_tokens < 10_000
    assert recipe.calibration.tokens <= 10_000
    assert recipe.evaluation.new_tokens < 32
    assert recipe.latency.context <= 32
    assert recipe.corpus.sources == ("python-stdlib",)
    assert recipe.name == "s"


RANDOM_RECIPES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True),
        "corpus": st.fixed_dictionaries({"paths": st.just(["src/**/*.c"])}, optional={"max_bytes": st.just("20M")}),
        "tokenizer": st.fixed_dictionaries({"vocab_size": st.integers(257, 9000)}),
        "context_length": st.sampled_from([64, 128, 256]),
        "rules": st.just(["width % heads == 0"]),
        "limits": st.fixed_dictionaries({"params": st.just({"max": "30M"})}, optional={"latency": st.just({"max": "8 ms"})}),
        "objectives": st.sampled_from([["val_loss", "params"], ["bits_per_byte", "memory", "flops"]]),
        "latency": st.fixed_dictionaries({}, optional={"device": st.just("cuda:1"), "threads": st.integers(1, 4)}),
        "horizon": st.fixed_dictionaries({}, optional={"tokens": st.just("1.5G"), "sample": st.booleans()}),
        "promote": st.one_of(st.booleans(), st.fixed_dictionaries({"steps": st.integers(1, 10**6)})),
        "training": st.fixed_dictionaries(
            {},
            optional={
                "learning_rate": st.floats(1e-6, 1.0),
                "warmup": st.integers(0, 60_000),
                "precision": st.sampled_from(["float32", "bfloat16"]),
                "schedule": st.sampled_from(["wsd", "cosine"]),
                "beta2": st.floats(0.0, 0.999),
            },
        ),
        "evaluation": st.fixed_dictionaries({}, optional={"temperature": st.floats(0, 2), "language": st.just("other")}),
        "calibration": st.one_of(st.booleans(), st.fixed_dictionaries({"rates": st.just([1e-4, 3e-4, 1e-3])})),
        "budget": st.fixed_dictionaries(
            {},
            optional={"cooldown": st.floats(0.01, 1), "max_hours": st.floats(0.01, 99), "sampler": st.just("random")},
        ),
        "space": st.fixed_dictionaries(
            {},
            optional={
                "attention_dropout": st.just({"float": [0.0, 0.3], "default": 0.1}),
                "weight_decay": st.just({"float": [0.01, 1.0], "log": True}),
                "kv_heads": st.just({"choice": [1, "heads"]}),
                "ffn_multiplier": st.just({"float": [1.0, 4.0]}),
            },
        ),
    },
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(change=RANDOM_RECIPES)
def test_a_recipe_comes_back_from_its_resolution(change: dict[str, Any], tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, change))
    again = Recipe.from_resolved(json.loads(json.dumps(recipe.resolved)))
    assert again == recipe
    assert again.fingerprint == recipe.fingerprint
    assert difference(recipe, again) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"spaces": {}}, "unknown key; did you mean 'space'"),
        ({"space": None}, "space: is empty"),
        ({"budget": {"trials": 0}}, "budget.trials: is 0, out of range"),
        ({"budget": {"trials": "many"}}, "is many, not a whole number"),
        ({"budget": {"rungs": []}}, "1 to 16 token counts"),
        ({"budget": {"rungs": "1M"}}, "not a list"),
        ({"budget": {"rungs": ["1M", "256K"]}}, "budget.rungs[1]: is 256K, no more than the rung before"),
        ({"budget": {"rungs": ["1M", "1M"]}}, "rising"),
        ({"budget": {"batch_tokens": 1000}}, "not a multiple of context_length 256; write 1,024"),
        ({"budget": {"batch_tokens": 2**20}}, "one batch"),
        ({"budget": {"cooldown": 0}}, "more than 0 and at most 1"),
        ({"budget": {"cooldown": 1.5}}, "more than 0 and at most 1"),
        ({"budget": {"max_hours": -1}}, "out of range"),
        ({"budget": {"sampler": "tpo"}}, "unknown sampler; did you mean 'tpe'"),
        ({"budget": {"scheduler": "asha"}}, "unknown scheduler; known are auto, gain, pareto, full, curves"),
        ({"budget": {"seed": -1}}, "out of range"),
        ({"budget": {"trails": 3}}, "did you mean 'trials'"),
        ({"objectives": ["val_loss"]}, "2 to 5"),
        ({"objectives": ["val_loss", "val_loss"]}, "holds val_loss twice"),
        ({"objectives": ["val_los", "params"]}, "did you mean 'val_loss'"),
        ({"objectives": ["params", "latency"]}, "add val_loss or bits_per_byte"),
        ({"objectives": "val_loss"}, "not a list"),
        ({"context_length": 1}, "context_length: is 1"),
        ({"tokenizer": {"vocab_size": 100}}, "from 257"),
        ({"tokenizer": {"algorithm": "unigram"}}, "known are bpe"),
        ({"corpus": {"sources": ["sitepackages"]}}, "unknown source"),
        ({"corpus": {"sources": [], "paths": []}}, "names nothing to read"),
        ({"corpus": {"max_bytes": 0}}, "corpus.max_bytes"),
        ({"corpus": {"validation_share": 0.9}}, "at most 0.25"),
        ({"corpus": {"hug": "x"}}, "unknown key"),
        ({"corpus": {"hub": "x"}}, "not a mapping"),
        ({"corpus": {"hub": {"split": "train"}}}, "lacks `dataset`"),
        ({"corpus": {"hub": {"dataset": "a/b", "rows": 3}}}, "unknown key"),
        ({"corpus": {"hub": {"dataset": "a/b", "max_documents": 0}}}, "corpus.hub.max_documents"),
        ({"corpus": {"hub": {"dataset": "a/b", "split": "train[:3]"}}}, "is a slice"),
        ({"training": {"warmup": "64K"}}, "not shorter than the first rung of 64,000 tokens"),
        ({"training": {"learning_rate": 0}}, "training.learning_rate"),
        ({"training": {"precision": "fp16"}}, "unknown precision"),
        ({"evaluation": {"new_tokens": 256}}, "no room for a prompt"),
        ({"evaluation": {"prompts_file": "missing.jsonl"}}, "no file here"),
        ({"evaluation": {"prompts_file": "~nobody-has-this-name/x"}}, "no file here"),
        ({"evaluation": {"top_k": 10**6}}, "evaluation.top_k"),
        ({"latency": {"table": "missing.json"}}, "no file here"),
        ({"latency": {"device": "gpu"}}, "unknown device"),
        ({"latency": {"context": 512}}, "latency.context"),
        ({"calibration": {"rates": [1e-3, 1e-3]}}, "rising"),
        ({"calibration": {"tokens": 10}}, "calibration.tokens"),
        ({"calibration": "maybe"}, "true or false"),
        ({"horizon": {"tokens": "much"}}, "horizon.tokens"),
        ({"promote": {"select": "best"}}, "known are knee"),
        ({"promote": {"select": "memory"}}, "known are knee, val_loss"),
        ({"promote": {"select": "params", "weights": {"params": 2}}}, "belongs to the knee"),
        ({"promote": {"weights": {"memory": 2}}}, "unknown key"),
        ({"promote": {"weights": {"params": -1}}}, "promote.weights.params"),
        ({"promote": {"limits": {"size": 2}}}, "unknown key"),
        ({"promote": {"limits": {"collapse_rate": 2}}}, "at most 1"),
        ({"promote": {"steps": 0}}, "promote.steps"),
        ({"name": "../../etc"}, "cannot name a folder"),
        ({"name": "x" * 65}, "cannot name a folder"),
    ],
)
def test_a_wrong_section_is_one_message_with_file_line_place_and_remedy(
    change: dict[str, Any], says: str, tmp_path: Path
) -> None:
    message = complaint(tmp_path, change)
    assert says in message
    file, line, *_ = message.split(":")
    assert file == str(tmp_path / "s.yaml")
    assert line.isdigit()


def test_what_is_needed_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("space: {layers: 1, width: 8, heads: 1}\n")
    with pytest.raises(RecipeError, match="lacks `budget`"):
        load_recipe(str(path))
    path.write_text("budget: {trials: 1, rungs: [64K]}\n")
    with pytest.raises(RecipeError, match="lacks `space`"):
        load_recipe(str(path))


def test_options_stand_instead_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, {"promote": True})
    recipe = load_recipe(path, trials=9, max_hours=0.5, sampler="random", seed=7, promote=False, name="other")
    assert (recipe.search.trials, recipe.search.max_hours, recipe.search.sampler, recipe.search.seed) == (9, 0.5, "random", 7)
    assert recipe.promote is None
    assert recipe.name == recipe.space.name == "other"
    assert Recipe.from_resolved(recipe.resolved) == recipe


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"trials": 0}, "--trials: is 0"),
        ({"max_hours": -2.0}, "--max-hours: is -2.0"),
        ({"max_hours": float("nan")}, "--max-hours: is NaN"),
        ({"sampler": "tpee"}, "--sampler: is 'tpee', an unknown sampler; did you mean 'tpe'"),
        ({"seed": -1}, "--seed: is -1"),
        ({"name": "a/b"}, "--study: is 'a/b'"),
    ],
)
def test_a_wrong_option_is_named_as_the_option(overrides: dict[str, Any], says: str, tmp_path: Path) -> None:
    assert complaint(tmp_path, **overrides).startswith(says)


def test_only_what_may_change_on_resume_leaves_the_fingerprint(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path))
    for same in (
        load_recipe(write(tmp_path), trials=99, max_hours=9.0, promote=False),
        load_recipe(write(tmp_path, {"promote": {"steps": 9}})),
    ):
        assert same.fingerprint == recipe.fingerprint
        assert difference(recipe, same) == []
    for other in (
        load_recipe(write(tmp_path), seed=1),
        load_recipe(write(tmp_path, {"space": {"layers": {"int": [1, 2]}}})),
        load_recipe(write(tmp_path, {"rules": ["layers > 1"]})),
        load_recipe(write(tmp_path, {"training": {"beta1": 0.8}})),
        load_recipe(write(tmp_path, {"limits": {"params": {"max": "3M"}}})),
    ):
        assert other.fingerprint != recipe.fingerprint
        assert len(difference(recipe, other)) == 1


def test_a_difference_names_place_and_both_values(tmp_path: Path) -> None:
    before = load_recipe(write(tmp_path))
    after = load_recipe(write(tmp_path, {"space": {"layers": {"int": [1, 2]}}, "limits": {"params": {"max": "3M"}}}))
    assert difference(before, after) == ["space.layers.int was [1, 3], is [1, 2]", "limits.params.max was absent, is 3000000"]


def test_python_prompts_are_for_python(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path)).evaluation.language == "python"
    assert load_recipe(write(tmp_path, {"corpus": {"paths": ["a/**/*.py"]}})).evaluation.language == "python"
    assert load_recipe(write(tmp_path, {"corpus": {"paths": ["a/**/*.c"]}})).evaluation.language == "other"
    assert load_recipe(write(tmp_path, {"corpus": {"jsonl": "a.jsonl"}})).evaluation.language == "other"


def test_the_vocabulary_of_a_tokenizer_file_is_the_space_s(tmp_path: Path) -> None:
    from autonas.data.tokenizer import Tokenizer

    file = tmp_path / "tokenizer.json"
    Tokenizer.train(["def f(x):\n    return x + 1\n" * 40], 262).save(file)
    recipe = load_recipe(write(tmp_path, {"tokenizer": {"file": str(file)}}))
    assert recipe.space.vocab_size == 262
    assert "has 262 entries" in complaint(tmp_path, {"tokenizer": {"file": str(file), "vocab_size": 300}})
    file.unlink()
    assert Recipe.from_resolved(recipe.resolved) == recipe
    with pytest.raises(RequestError, match=r"tokenizer\.file"):
        load_recipe(write(tmp_path, {"tokenizer": {"file": str(file)}}))


def test_a_bare_name_is_looked_up_here_and_then_among_the_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = find_space("quickstart.yaml")
    assert shipped.is_absolute()
    (tmp_path / "search_spaces").mkdir()
    mine = write(tmp_path / "search_spaces", name="quickstart.yaml")
    assert find_space("quickstart").resolve() == Path(mine)
    assert find_space("./search_spaces/quickstart.yaml").resolve() == Path(mine)
    assert find_space("code_lm.yaml").is_absolute()


@pytest.mark.parametrize("name", ["quickstrat", "quickstrat.yaml"])
def test_an_unknown_name_is_answered_with_the_nearest(name: str) -> None:
    with pytest.raises(RecipeError, match=r"did you mean 'quickstart\.yaml'"):
        load_recipe(name)


@pytest.mark.parametrize("name", ["", ".", "a\0b", "x" * 5000, "missing/space.yaml"])
def test_a_name_that_no_file_has_is_one_message(name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    assert len(str(caught.value)) < 400


def test_a_recorded_recipe_that_is_none_is_refused() -> None:
    with pytest.raises(RecipeError, match="the recorded recipe"):
        Recipe.from_resolved({"name": "s", "space": {"layers": 1}})


def test_recipes_are_read_without_torch_or_optuna() -> None:
    code = "import sys, autonas.recipe; print(sorted({'torch', 'optuna', 'tokenizers', 'ray'} & set(sys.modules)))"
    root = Path(autonas.__file__).parent.parent
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout.strip() == "[]"


def test_the_shipped_spaces_have_a_nearest_legal_architecture_everywhere() -> None:
    import numpy as np

    for path in SPACES.glob("*.yaml"):
        space = load_recipe(str(path)).space
        rng = np.random.default_rng(0)
        for params in (space.draw(rng) for _ in range(100)):
            found = space.nearest_legal(params)
            assert found is not None
            assert space.legal(found)
