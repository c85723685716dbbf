from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from autonas.data.dataset import Dataset
from autonas.errors import CorpusError
from autonas.evaluation.collapse import COUNTED, measure_collapse
from autonas.evaluation.profile import REAL, ProfileRow, ProfileSettings, _places, collapse_profile, compare_profiles
from autonas.model.transformer import Transformer, build_model
from autonas.trial import EvaluationSettings, from_json, to_json

SETTINGS = EvaluationSettings(new_tokens=24, validation_tokens=4000)
PROFILE = ProfileSettings(temperatures=(0.0, 0.7), seeds=2, samples=2, prompts=6)


@pytest.fixture(scope="module")
def rows(dataset: Dataset) -> tuple[ProfileRow, ...]:
    return collapse_profile(untrained(dataset), dataset, SETTINGS, 3, PROFILE)


def untrained(dataset: Dataset, seed: int = 1) -> Transformer:
    from autonas.arch import ArchSpec

    spec = ArchSpec(layers=2, width=32, heads=2, kv_heads=1, vocab_size=dataset.vocab_size, context_length=96)
    return build_model(spec, seed)


def test_every_kind_temperature_and_length_has_its_row(rows: tuple[ProfileRow, ...]) -> None:
    asked = [(row.prompts, row.context_tokens, row.temperature, row.matched_entropy) for row in rows]
    assert len(set(asked)) == len(asked)
    for kind in ("few_shot", "bare"):
        own = [row for row in rows if row.prompts == kind]
        assert [row.temperature for row in own[:2]] == [0.0, 0.7] and own[2].matched_entropy == PROFILE.entropy
    curve = [row.context_tokens for row in rows if row.prompts == "context" and row.temperature == 0.7]
    assert curve == [8, 32, 72]
    assert [row.prompts for row in rows].count(REAL) == 1


def test_rates_are_those_of_the_hits(rows: tuple[ProfileRow, ...]) -> None:
    for row in rows:
        assert set(row.hits) == set(row.rates) == set(COUNTED)
        for name, hits in row.hits.items():
            assert row.rates[name].value == pytest.approx(np.mean([hit == "1" for prompt in hits for hit in prompt]))
        samples = {"0.0": 1, "None": 1}.get(str(row.temperature), PROFILE.samples * PROFILE.seeds)
        assert {len(prompt) for prompt in row.hits["collapse_rate"]} == {samples}


def test_real_text_behind_the_same_contexts_is_hardly_ever_degenerate(dataset: Dataset) -> None:
    many = dataclasses.replace(PROFILE, prompts=200, temperatures=(0.0,), samples=1, seeds=1)
    real = collapse_profile(untrained(dataset), dataset, SETTINGS, 0, many)[-1]
    assert real.prompts == REAL and real.rates["degeneration"].value <= 0.05


def test_shorter_contexts_end_where_the_longest_ends(dataset: Dataset) -> None:
    for before, after in _places(dataset, 72, 24, 10):
        assert len(before) == 72 and len(after) == 24
        assert dataset.tokenizer.end_of_text not in after


def test_a_profile_goes_to_json_and_back(rows: tuple[ProfileRow, ...]) -> None:
    assert tuple(from_json(ProfileRow, to_json(row)) for row in rows) == rows


def test_a_model_does_not_differ_from_itself(rows: tuple[ProfileRow, ...], dataset: Dataset) -> None:
    again = collapse_profile(untrained(dataset), dataset, SETTINGS, 3, PROFILE)
    assert again == rows
    for found in compare_profiles(rows, again):
        assert found.difference.value == 0 and found.difference.p_value == 1.0


def test_a_model_that_loops_differs_from_one_that_does_not(rows: tuple[ProfileRow, ...], dataset: Dataset) -> None:
    import torch

    looping = untrained(dataset)
    (token,) = dataset.tokenizer.encode(" self")
    with torch.no_grad():
        looping.embedding.weight.fill_(0.01)
        looping.embedding.weight[token] = 100.0
    found = compare_profiles(collapse_profile(looping, dataset, SETTINGS, 3, PROFILE), rows)
    told = {(c.title, c.name): c.difference for c in found}
    warm = told["bare, T 0.70", "collapse_rate"]
    assert warm.low > 0.5 and warm.p_value <= 2 / 2**PROFILE.prompts and warm.only_second == 0
    assert not any(", entropy" in title for title, _ in told), "no temperature of a model that knows one word has it"
    # At equal entropy the temperatures are the models' own, and the conditions are still the same.
    other = compare_profiles(collapse_profile(untrained(dataset, 2), dataset, SETTINGS, 3, PROFILE), rows)
    assert sum(", entropy" in each.title for each in other if each.name == "collapse_rate") == 3


def test_profiles_of_other_prompts_are_not_compared(rows: tuple[ProfileRow, ...], dataset: Dataset) -> None:
    other = collapse_profile(untrained(dataset), dataset, SETTINGS, 3, dataclasses.replace(PROFILE, prompts=5))
    with pytest.raises(CorpusError, match="no condition in common"):
        compare_profiles(rows, other)


def test_the_usual_condition_is_the_usual_score(dataset: Dataset, rows: tuple[ProfileRow, ...]) -> None:
    """The rate of the search, on the same prompts, with the same seed and as many samples."""
    settings = dataclasses.replace(SETTINGS, prompts_per_kind=6, samples_per_prompt=2)
    one = dataclasses.replace(PROFILE, seeds=1, temperatures=(settings.temperature,))
    usual = {
        row.prompts: row for row in collapse_profile(untrained(dataset), dataset, SETTINGS, 3, one) if not row.matched_entropy
    }
    scores, _ = measure_collapse(untrained(dataset), dataset, settings, 3)
    few_shot = usual["few_shot"].rates["degeneration"].value
    assert 0 <= scores["degeneration"].value <= 1 and few_shot == pytest.approx(
        float(scores["degeneration"].note.split(": ")[1].split(",")[0].rstrip("%")) / 100, abs=5e-4
    )
