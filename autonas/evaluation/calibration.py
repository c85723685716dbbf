"""How sure a model is against how right it is: the loss at the temperature that suits it, and the temperature of an entropy.

Label smoothing and dropout make a model less sure than it is right; its loss then punishes what one division mends, and its
samples wander where those of a sure model loop. So losses are told raw and calibrated (Guo et al., arXiv 1706.04599), and
collapse is compared at equal entropy of the sampling distribution as well as at equal temperature.

Letters: N tokens, V vocabulary, k candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.errors import CorpusError
from autonas.evaluation.intervals import ratio_estimate, t_quantile
from autonas.evaluation.loss import loss_scores, merge_documents
from autonas.evaluation.scored import ScoredTokens, scored_tokens
from autonas.model.transformer import Transformer, eval_mode
from autonas.trial import EvaluationSettings, Score

Floats = NDArray[np.float64]
MakeWay = Callable[[], object]

CALIBRATION_TOKENS: Final = 65_536  # at most; two passes over them, the first with a softmax for each inverse temperature
MATCHED_ENTROPY: Final = 1.5  # nats: what tiny models of code have at temperatures of 0.5 to 0.9
_INVERSE_TEMPERATURES: Final = tuple(np.geomspace(0.25, 2.0, 13).tolist())
_ENTROPY_POSITIONS: Final = 4096
_COLDEST, _HOTTEST = 0.02, 50.0
_BLOCK_LOGITS: Final = {"cpu": 1 << 20, "cuda": 1 << 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A model's loss as it is and at the temperature that suits it, in nats per token, on the same documents."""

    raw: Score
    calibrated: Score
    gain: Score  # raw less calibrated, paired by document
    temperatures: tuple[float, float]  # fitted on the documents of even number, and of odd
    entropy: float  # mean of the predicted distributions at temperature 1, in nats
    excess_entropy: float  # `entropy` less the raw loss: above 0 the model is less sure than it is right


def calibrate(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    split: str = "validation",
    *,
    make_way: MakeWay = lambda: None,
) -> Calibration:
    """Fit one temperature on each half of the scored documents, and score each half at the other's temperature.

    The loss is convex in the inverse temperature. It is taken at 13 of them, from 0.25 to 2, and the least of the parabola
    through the best three is used: what that misses makes the calibrated loss a little too high, never too low.

    Raises:
        CorpusError: the split has fewer than two documents to score.
    """
    scored = scored_tokens(dataset, split, min(settings.validation_tokens, CALIBRATION_TOKENS))
    count = scored.num_documents
    if count < 2:
        raise CorpusError(f"the {split} split has {count} document(s) to score, and a temperature needs two halves of them")
    tokens = np.diff(scored.starts)
    halves = np.arange(count) % 2
    grid, _ = _document_losses(model, scored, _INVERSE_TEMPERATURES, make_way)  # (inverse temperatures, documents)
    best = [_least(_INVERSE_TEMPERATURES, grid[:, halves == half].sum(axis=1)) for half in (0, 1)]
    losses, entropy = _document_losses(model, scored, (1.0, *best), make_way)
    crossed = np.where(halves == 0, losses[2], losses[1])
    how = f"temperature fitted on one half of {count} documents and scored on the other"
    raw = loss_scores(merge_documents(losses[0], tokens, scored.bytes))["val_loss"]
    calibrated = loss_scores(merge_documents(crossed, tokens, scored.bytes, how=how))["val_loss"]
    value, error = ratio_estimate(losses[0] - crossed, tokens)
    reach = t_quantile(count - 1) * error
    return Calibration(
        raw=raw,
        calibrated=calibrated,
        gain=Score(value=value, low=value - reach, high=value + reach, unit="nats/token", n=count, note=f"paired; {how}"),
        temperatures=(1 / best[0], 1 / best[1]),
        entropy=entropy,
        excess_entropy=entropy - raw.value,
    )


def matched_temperature(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    entropy: float = MATCHED_ENTROPY,
    split: str = "validation",
    *,
    make_way: MakeWay = lambda: None,
) -> tuple[float, float]:
    """The temperature at which the `top_k` candidates' distribution has this mean entropy (nats), and the entropy there.

    The mean is over positions of validation text. It rises with the temperature, from 0 to log k; where no temperature from
    0.02 to 50 has it, the nearest is taken.
    """
    logits = candidate_logits(model, dataset, settings, split, make_way=make_way)
    low, high = math.log(_COLDEST), math.log(_HOTTEST)
    for _ in range(40):
        middle = (low + high) / 2
        if mean_entropy(logits, math.exp(middle)) < entropy:
            low = middle
        else:
            high = middle
    temperature = math.exp((low + high) / 2)
    return temperature, mean_entropy(logits, temperature)


def candidate_logits(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    split: str = "validation",
    *,
    make_way: MakeWay = lambda: None,
) -> Floats:
    """The `top_k` largest logits (N, k) at positions of validation text, at most some 4,096 of them from all over."""
    scored = scored_tokens(dataset, split, min(settings.validation_tokens, CALIBRATION_TOKENS))
    step = max(1, len(scored.targets) // _ENTROPY_POSITIONS)
    size = min(settings.top_k, model.spec.vocab_size)
    found = [
        logits[places % step == 0].topk(size, dim=-1).values.double().cpu().numpy()
        for places, logits in _blocks(model, scored, make_way)
    ]
    return np.concatenate(found)


def mean_entropy(logits: Floats, temperature: float) -> float:
    """Mean entropy, in nats, of the distributions of `logits` (N, k) at a temperature."""
    scaled = (logits - logits.max(axis=1, keepdims=True)) / temperature
    weights = np.exp(scaled)
    totals = weights.sum(axis=1)
    return float((np.log(totals) - (weights * scaled).sum(axis=1) / totals).mean())


def _document_losses(
    model: Transformer, scored: ScoredTokens, inverse_temperatures: tuple[float, ...], make_way: MakeWay
) -> tuple[Floats, float]:
    """Summed nats (inverse temperatures, documents), and the mean entropy of the distributions at temperature 1."""
    owners = np.repeat(np.arange(scored.num_documents), np.diff(scored.starts))
    sums = np.zeros((len(inverse_temperatures), scored.num_documents))
    entropy = 0.0
    for places, logits in _blocks(model, scored, make_way):
        numbers = places.numpy()
        targets = torch.from_numpy(scored.targets[numbers]).to(logits.device)
        hit = logits.gather(1, targets[:, None])[:, 0]
        for row, inverse in zip(sums, inverse_temperatures, strict=True):
            scaled = logits * inverse
            nats = torch.logsumexp(scaled, dim=-1) - hit * inverse
            np.add.at(row, owners[numbers], nats.double().cpu().numpy())
        logs = torch.log_softmax(logits, dim=-1)
        entropy -= float((logs.exp() * logs).sum())
    return sums, entropy / len(scored.targets)


def _blocks(model: Transformer, scored: ScoredTokens, make_way: MakeWay) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Places (n) among the scored tokens, on the host, and their logits (n, V) in float32, a bounded number at a time."""
    begins, lengths, _ = scored.windows(model.spec.context_length)
    device = model.embedding.weight.device
    most = max(1, _BLOCK_LOGITS[device.type] // model.spec.vocab_size)
    with eval_mode(model), torch.no_grad():
        for begin, length in zip(begins.tolist(), lengths.tolist(), strict=True):
            make_way()
            inputs = torch.from_numpy(scored.inputs[begin : begin + length]).to(device)[None]
            features = model.features(inputs)[0]
            for first in range(0, length, most):
                block = features[first : first + most]
                yield torch.arange(begin + first, begin + first + len(block)), model.head(block).float()


def _least(places: tuple[float, ...], values: Floats) -> float:
    """Where, on a logarithmic axis, the parabola through the least of `values` and its neighbours is least."""
    best = int(np.argmin(values))
    if best in (0, len(places) - 1):
        return places[best]
    x, y = np.log(np.array(places[best - 1 : best + 2])), values[best - 1 : best + 2]
    second, first, _ = np.polyfit(x - x[1], y, 2)
    return float(np.exp(x[1] - first / (2 * second))) if second > 0 else places[best]
