from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from autonas.arch import ArchSpec
from autonas.data.batches import training_windows
from autonas.data.dataset import Dataset
from autonas.errors import CorpusError
from autonas.evaluation.calibration import calibrate, candidate_logits, matched_temperature, mean_entropy
from autonas.evaluation.loss import evaluate_loss, loss_scores
from autonas.model.transformer import Transformer, build_model
from autonas.training.loop import train
from autonas.training.state import new_state
from autonas.trial import EvaluationSettings, TrainingSettings

SETTINGS = EvaluationSettings(validation_tokens=12_000, prompts_per_kind=2, top_k=40)


def trained(dataset: Dataset, spec: ArchSpec, steps: int = 120) -> Transformer:
    training = TrainingSettings(batch_tokens=8 * spec.context_length, warmup_tokens=4096, learning_rate=4e-3)
    model = build_model(spec, seed=1)
    state = new_state(model, training_windows(dataset, spec.context_length, 0), training, seed=0)
    for _ in train(state, until_tokens=steps * training.batch_tokens):
        pass
    return model


@pytest.fixture(scope="module")
def learnt(dataset: Dataset, spec: ArchSpec) -> Transformer:
    return trained(dataset, dataclasses.replace(spec, tied_embeddings=False))


def scaled(model: Transformer, factor: float) -> Transformer:
    """The same model with every logit multiplied: less or more sure, and as right as before."""
    other = build_model(model.spec, seed=1)
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        other.unembedding.weight.mul_(factor)
    return other


def test_the_raw_loss_is_the_loss(dataset: Dataset, learnt: Transformer) -> None:
    found = calibrate(learnt, dataset, SETTINGS)
    assert found.raw.value == pytest.approx(loss_scores(evaluate_loss(learnt, dataset, SETTINGS))["val_loss"].value, abs=2e-3)
    assert found.excess_entropy == pytest.approx(found.entropy - found.raw.value)


@pytest.mark.parametrize("factor", [0.6, 1.5])
def test_a_model_made_less_or_more_sure_has_the_same_calibrated_loss(
    dataset: Dataset, learnt: Transformer, factor: float
) -> None:
    plain, other = calibrate(learnt, dataset, SETTINGS), calibrate(scaled(learnt, factor), dataset, SETTINGS)
    assert other.raw.value > plain.raw.value + 0.02
    assert other.calibrated.value == pytest.approx(plain.calibrated.value, abs=2e-3)
    assert other.temperatures == pytest.approx([factor * t for t in plain.temperatures], rel=0.03)
    assert other.gain.low > 0 and other.gain.value == pytest.approx(other.raw.value - other.calibrated.value)
    assert (other.excess_entropy > plain.excess_entropy) == (factor < 1)


def test_label_smoothing_is_neither_punished_nor_flattered(dataset: Dataset, spec: ArchSpec, learnt: Transformer) -> None:
    smooth = trained(dataset, dataclasses.replace(spec, tied_embeddings=False, label_smoothing=0.3))
    plain, other = calibrate(learnt, dataset, SETTINGS), calibrate(smooth, dataset, SETTINGS)
    raw, mended = other.raw.value - plain.raw.value, other.calibrated.value - plain.calibrated.value
    assert max(other.temperatures) < min(plain.temperatures) and raw > mended
    assert other.excess_entropy > 0.1


def test_one_document_has_no_halves(dataset: Dataset, learnt: Transformer) -> None:
    with pytest.raises(CorpusError, match="two halves"):
        calibrate(learnt, dataset, dataclasses.replace(SETTINGS, validation_tokens=1))


def test_the_entropy_of_equal_logits_is_the_logarithm_of_their_number() -> None:
    assert mean_entropy(np.zeros((3, 40)), 0.7) == pytest.approx(math.log(40))
    assert mean_entropy(np.array([[100.0, 0.0]]), 1.0) == pytest.approx(0.0, abs=1e-12)
    assert mean_entropy(np.array([[math.log(3), 0.0]]), 1.0) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.5])
def test_the_matched_temperature_has_its_entropy_whatever_the_scale_of_the_logits(
    dataset: Dataset, learnt: Transformer, factor: float
) -> None:
    plain, _ = matched_temperature(learnt, dataset, SETTINGS, 1.2)
    temperature, reached = matched_temperature(scaled(learnt, factor), dataset, SETTINGS, 1.2)
    assert reached == pytest.approx(1.2, abs=1e-3) and temperature == pytest.approx(factor * plain, rel=1e-3)


def test_an_entropy_that_no_temperature_has_is_approached(dataset: Dataset, learnt: Transformer) -> None:
    _, reached = matched_temperature(learnt, dataset, SETTINGS, 9.0)
    assert 3.5 < reached <= math.log(40)
    assert candidate_logits(learnt, dataset, SETTINGS).shape[1] == 40
