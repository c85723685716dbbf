"""How difficult each document of a run is: the loss that a small model has on it which has not seen it.

Two small models are trained, each on every second document, and each judges the other's. So a document that stands there twice
is easy, as it should be, and one that a model has learnt by heart does not look easy for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.arch import ArchSpec
from autonas.curriculum import PAIRS, Judge
from autonas.data.batches import Windows
from autonas.data.dataset import Dataset
from autonas.data.pairs import training_pairs
from autonas.data.stages import Source
from autonas.data.statistics import sources_of
from autonas.errors import CorpusError
from autonas.evaluation.latency import resolve_device
from autonas.evaluation.passes import document_nats
from autonas.evaluation.scored import ScoredTokens
from autonas.model.transformer import Transformer, build_model, eval_mode
from autonas.run_data import DIFFICULTY_FILE, curriculum_sources
from autonas.run_folder import write_json
from autonas.training.loop import train
from autonas.training.state import fork_cooldown, new_state
from autonas.trial import Job, TrainingSettings, to_json

_CONTEXT: Final = 128
_BATCH_TOKENS: Final = 2048
_COOLDOWN_SHARE: Final = 0.2
_HEAD_WIDTH: Final = 32
_BLOCK_TOKENS: Final = 1 << 20  # scored at once: memory stays bounded

Floats = NDArray[np.float64]


def rank_documents(
    job: Job,
    dataset: Dataset,
    *,
    make_way: Callable[[], object] = lambda: None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Write into the job's folder how difficult its documents are, unless that is known there or nobody asks.

    Raises:
        TrialFailure: "preempted"; or a small model's training failed.
        CorpusError, RecipeError: as `curriculum_sources`; or half of the corpus is less than a window.
    """
    path = Path(job.folder) / DIFFICULTY_FILE
    if job.curriculum is None or not job.curriculum.is_ranked or path.exists():
        return
    sources = curriculum_sources(dataset, job.curriculum)
    judge = job.curriculum.judge
    found = document_difficulty(dataset, sources, judge, job.device, make_way=make_way, stop=stop)
    values = {name: [round(float(value), 4) for value in difficulty] for name, difficulty in found.items()}
    write_json(path, {"judge": to_json(judge), "nats_per_token": values})


def document_difficulty(
    dataset: Dataset,
    sources: Mapping[str, Source],
    judge: Judge,
    device: str = "cpu",
    *,
    make_way: Callable[[], object] = lambda: None,
    stop: Callable[[], bool] | None = None,
) -> dict[str, Floats]:
    """Nats per token of each document of each source, by the one of two small models that was not trained on it."""
    halves = [np.arange(len(dataset.documents("train")))[half::2] for half in (0, 1)]
    models = [_small_model(dataset, numbers, judge, device, half, make_way, stop) for half, numbers in enumerate(halves)]
    owners = _owners(dataset, sources)
    found = {}
    for name, source in sources.items():
        values = np.zeros(len(source.starts) - 1)
        for half, model in enumerate(models):
            numbers = np.flatnonzero(owners[name] % 2 != half)
            values[numbers] = _nats_per_token(model, source, numbers, dataset.tokenizer.end_of_text, make_way)
        found[name] = values
    return found


def _owners(dataset: Dataset, sources: Mapping[str, Source]) -> dict[str, NDArray[np.int64]]:
    """The number of the training document that each is, or is from; what comes from beside the corpus was seen by neither."""
    names = np.array(sources_of(dataset.documents("train").names))
    owners = {}
    for name, source in sources.items():
        own = np.flatnonzero(names == name)
        if name == PAIRS:
            own = np.array([pair.document for pair in training_pairs(dataset)])
        owners[name] = own if len(own) else np.ones(len(source.starts) - 1, dtype=np.int64)
    return owners


def _small_model(
    dataset: Dataset,
    numbers: NDArray[np.int64],
    judge: Judge,
    device: str,
    half: int,
    make_way: Callable[[], object],
    stop: Callable[[], bool] | None,
) -> Transformer:
    """Trained on some documents of the training split, for `judge.tokens` tokens or eight times over them."""
    tokens, starts = dataset.tokens("train"), dataset.documents("train").starts
    shown = np.concatenate([tokens[starts[number] : starts[number + 1]] for number in numbers] or [tokens[:0]])
    if len(shown) < _BATCH_TOKENS:
        raise CorpusError(
            f"curriculum: half of the corpus has {len(shown):,} tokens, too few to train a model that judges how difficult "
            "the other half is; leave out `difficulty:`, or give a larger corpus"
        )
    heads = max(judge.width // _HEAD_WIDTH, 1)
    spec = ArchSpec(
        layers=judge.layers,
        width=judge.width,
        heads=heads,
        kv_heads=heads,
        activation="swiglu",
        vocab_size=dataset.vocab_size,
        context_length=_CONTEXT,
    )
    total = min(judge.tokens, 8 * len(shown))
    stable = round(total / (1 + _COOLDOWN_SHARE))
    settings = TrainingSettings(batch_tokens=_BATCH_TOKENS, warmup_tokens=min(32_768, total // 8))
    model = build_model(spec, half, resolve_device(device))
    windows = Windows(shown, _CONTEXT, half)
    state = new_state(model, windows, settings, seed=half, data_fingerprint=f"{dataset.fingerprint} half {half}")

    def interrupted() -> bool:
        make_way()
        return stop is not None and stop()

    for _ in train(state, until_tokens=stable, stop=interrupted):
        pass
    state.step = state.kept = None
    cooled = fork_cooldown(state, total - stable)
    for _ in train(cooled, stop=interrupted):
        pass
    return cooled.model


def _nats_per_token(
    model: Transformer,
    source: Source,
    numbers: NDArray[np.int64],
    end_of_text: int,
    make_way: Callable[[], object],
) -> Floats:
    """Of some documents of a source (numbers,)."""
    found = np.zeros(len(numbers))
    lengths = source.lengths[numbers]
    first = 0
    while first < len(numbers):
        last = max(int(np.searchsorted(np.cumsum(lengths[first:]), _BLOCK_TOKENS)) + first, first + 1)
        targets = [
            np.asarray(source.tokens[source.starts[number] : source.starts[number + 1]], dtype=np.int64)
            for number in numbers[first:last]
        ]
        inputs = [part for target in targets for part in (np.array([end_of_text]), target[:-1])]
        scored = ScoredTokens(
            inputs=np.concatenate(inputs),
            targets=np.concatenate(targets),
            starts=np.concatenate(([0], np.cumsum(lengths[first:last]))),
            bytes=np.zeros(last - first, dtype=np.int64),
        )
        with eval_mode(model):
            nats, _ = document_nats(model, scored, make_way)
        found[first:last] = nats / lengths[first:last]
        first = last
    return found
