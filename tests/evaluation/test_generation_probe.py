from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from autonas.arch import ArchSpec
from autonas.data.dataset import Dataset
from autonas.evaluation import generation_probe as module
from autonas.evaluation.collapse import continuations
from autonas.evaluation.generation_probe import distinct, frequency_entropy, probe_generation
from autonas.model.transformer import Transformer, build_model
from autonas.trial import EvaluationSettings

SETTINGS = EvaluationSettings(prompts_per_kind=4, new_tokens=12, samples_per_prompt=3)


def test_distinct_n_counts_different_neighbours() -> None:
    assert distinct([1, 2, 3, 4], 1) == distinct([1, 2, 3, 4], 2) == 1.0
    assert distinct([7] * 10, 1) == pytest.approx(1 / 10) and distinct([7] * 10, 2) == pytest.approx(1 / 9)
    assert distinct([1, 2, 1, 2, 1], 2) == pytest.approx(2 / 4)
    assert distinct([], 1) == distinct([1], 2) == 0.0


def test_entropy_of_frequencies() -> None:
    assert frequency_entropy([[1, 2], [3, 4]]) == pytest.approx(math.log(4))
    assert frequency_entropy([[5] * 9, [5]]) == 0.0
    assert frequency_entropy([[], []]) == 0.0
    assert frequency_entropy([[0, 0, 0, 1]]) == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))


def test_the_same_model_says_the_same_and_another_is_asked_the_same(
    model: Transformer, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    real = continuations

    def watched(model: Transformer, prompts: Sequence[Sequence[int]], *arguments: Any, **names: Any) -> Any:
        asked.append(([list(prompt) for prompt in prompts], arguments, names["end"]))
        return real(model, prompts, *arguments, **names)

    monkeypatch.setattr(module, "draw_continuations", watched)
    first = probe_generation(model, dataset, SETTINGS, seed=3)
    assert probe_generation(model, dataset, SETTINGS, seed=3) == first
    other = probe_generation(build_model(model.spec, seed=9), dataset, SETTINGS, seed=3)
    assert asked[0] == asked[1] == asked[2] and other["variety"] != first["variety"]
    assert len(asked[0][0]) == len(first["hits"]) == len(first["variety"]) == 8
    assert json.loads(json.dumps(first)) == first and len(json.dumps(first)) < 2000


def test_an_untrained_model_babbles_and_does_not_loop(model: Transformer, dataset: Dataset) -> None:
    found = probe_generation(model, dataset, SETTINGS, seed=0)
    assert found["degeneration"] == 1.0 and found["hits"] == "1" * 8 and found["collapse_rate"] < 0.5
    assert found["distinct_1"] > 0.8 and found["entropy"] > 0.8 * found["real"]["entropy"]
    assert found["sample"]["text"]


def stuck(spec: ArchSpec, token: int) -> Transformer:
    """A model that writes one token for ever, by its weights."""
    made = build_model(dataclasses.replace(spec, norm="layernorm", tied_embeddings=False), seed=0)
    assert isinstance(made.final_norm, nn.LayerNorm)
    with torch.no_grad():
        made.final_norm.weight.zero_()
        made.final_norm.bias.fill_(1.0)
        made.unembedding.weight.zero_()
        made.unembedding.weight[token] = 10.0
    return made


def test_a_model_that_is_stuck_has_collapsed_and_uses_one_token(spec: ArchSpec, dataset: Dataset) -> None:
    found = probe_generation(stuck(spec, dataset.tokenizer.encode("return")[0]), dataset, SETTINGS, seed=0)
    assert found["distinct_1"] == pytest.approx(1 / 12) and found["entropy"] == 0.0 and found["empty"] == 0.0
    assert found["degeneration"] == 1.0 and found["real"]["entropy"] > 3


def test_a_model_that_ends_at_once_is_empty_and_has_no_variety(spec: ArchSpec, dataset: Dataset) -> None:
    found = probe_generation(stuck(spec, dataset.tokenizer.end_of_text), dataset, SETTINGS, seed=0)
    assert found["empty"] == found["degeneration"] == 1.0 and found["collapse_rate"] == 0.0
    assert found["distinct_1"] is None and set(found["variety"]) == {None} and found["entropy"] == 0.0
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(("tokens", "looks"), [(12_288, 0), (1_536_000, 7), (4_096_000, 10), (409_600_000, 10)])
def test_a_run_is_looked_at_as_often_as_it_can_afford(tokens: int, looks: int) -> None:
    assert module.num_generation_probes(tokens) == looks


def test_it_makes_way_between_tokens_and_leaves_the_mode_alone(model: Transformer, dataset: Dataset) -> None:
    calls: list[None] = []
    model.train()
    probe_generation(model, dataset, SETTINGS, seed=0, make_way=lambda: calls.append(None))
    assert len(calls) > 5 and model.training
