"""Ways to teach one small model at equal compute: `autonas bench recipes`.

Each way has as many FLOPs as plain pre-training over `TOKENS`, a teacher's forward passes counted (its own training is not: it
is a larger run that one has). Ways of a seed share their initial weights and validation documents. Losses are unsmoothed, on
held-out files as they stand, and on the functions in them as a user asks for them: alone, at the beginning of a text.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch

from autonas import cost
from autonas.arch import ArchSpec
from autonas.bench import Findings, Row, Say
from autonas.curriculum import Curriculum, Judge, Stage
from autonas.data.batches import Windows, training_windows
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.data.pairs import pairs_of
from autonas.data.stages import Source, StagedWindows
from autonas.difficulty import document_difficulty
from autonas.evaluation.intervals import t_quantile
from autonas.evaluation.latency import resolve_device
from autonas.evaluation.loss import evaluate_loss, loss_scores
from autonas.evaluation.passes import document_nats
from autonas.evaluation.scored import ScoredTokens
from autonas.machine import resolve_threads
from autonas.model.transformer import Transformer, build_model, eval_mode
from autonas.run_data import curriculum_sources
from autonas.training.distillation import DistilledStep, Teaching
from autonas.training.loop import train
from autonas.training.state import fork_cooldown, new_state
from autonas.trial import EvaluationSettings, TrainingSettings

CORPUS: Final = CorpusSettings()
TOKENS: Final = 1_500_000
CONTEXT: Final = 128
STUDENT: Final = ArchSpec(layers=2, width=64, heads=2, kv_heads=2, activation="swiglu", vocab_size=2048, context_length=CONTEXT)
TEACHER: Final = dataclasses.replace(STUDENT, layers=4, width=128, heads=4, kv_heads=4)
TEACHER_TOKENS: Final = 3_000_000
JUDGE_TOKENS: Final = 300_000
WEIGHT: Final = 0.5  # of the teacher
_TRAINING: Final = TrainingSettings(batch_tokens=1024, warmup_tokens=65_536)
_COOLDOWN_SHARE: Final = 0.2
_MEASURED: Final = ("files", "functions")
_SHORTEST: Final = 16  # tokens of a function that is scored

Scores = dict[str, float]


def measure(
    *,
    seeds: int | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
    say: Say = lambda text: None,
) -> Findings:
    """Train the student in each way by each of `seeds` seeds (3)."""
    torch.set_num_threads(resolve_threads(threads))
    place, total, count = resolve_device(device), TOKENS, seeds or 3
    dataset = prepare(CORPUS, TokenizerSettings(vocab_size=STUDENT.vocab_size), say=say)
    ways, teacher_loss = _ways(dataset, place, total, say)
    found: dict[str, list[Scores]] = {way: [] for way in ways}
    functions = held_out_functions(dataset)
    for number in range(seed, seed + count):
        for way, begin in ways.items():
            windows, tokens, teaching = begin(number)
            model = trained(STUDENT, dataset, windows, tokens, number, place, teaching)
            found[way].append(_scores(model, dataset, functions))
            say(f"seed {number}, {way}: " + ", ".join(f"{name} {value:.3f}" for name, value in found[way][-1].items()))
    rows = [row for name in _MEASURED for way in ways for row in _rows(name, way, found)]
    conditions = {
        "device": str(place),
        "threads": torch.get_num_threads(),
        "student": STUDENT.to_dict(),
        "teacher": TEACHER.to_dict(),
        "teacher_loss": teacher_loss,
        "seeds": count,
        "tokens": {way: begin(seed)[1] for way, begin in ways.items()},
    }
    return Findings(rows=rows, conditions=conditions)


Way = Callable[[int], tuple[Windows, int, Teaching | None]]


def _ways(dataset: Dataset, device: torch.device, total: int, say: Say) -> tuple[Mapping[str, Way], float]:
    """What each is shown by a seed, for how many tokens, and whom it hears; and the teacher's own loss."""
    easy_first = Curriculum(
        stages=(Stage(share=0.3, difficulty=(0.0, 0.5)), Stage(share=0.3, difficulty=(0.25, 0.75)), Stage(share=0.4)),
        judge=Judge(tokens=JUDGE_TOKENS),
    )
    own, pairs = 0.5, 0.5
    source = next(iter(curriculum_sources(dataset, easy_first)))
    with_pairs = Curriculum(stages=(Stage(share=0.7), Stage(share=0.3, sources=((source, own), ("pairs", pairs)))))
    sources = curriculum_sources(dataset, with_pairs)
    say("judging how difficult documents are")
    corpus = {name: one for name, one in sources.items() if one.of_corpus}
    difficulty = document_difficulty(dataset, corpus, easy_first.judge, str(device))
    ranked = {name: dataclasses.replace(one, difficulty=difficulty[name]) for name, one in corpus.items()}
    say("training the teacher")
    teacher = trained(TEACHER, dataset, training_windows(dataset, CONTEXT, 99), TEACHER_TOKENS, 99, device).eval()
    heard = Teaching(logits=teacher, weight=WEIGHT, temperature=1.0)
    step, forward = cost.training_flops_per_token(STUDENT), cost.forward_flops_per_token(TEACHER)
    fewer = round(total * step / (step + forward))

    def staged(sources: Mapping[str, Source], curriculum: Curriculum) -> Way:
        return lambda seed: (StagedWindows(sources, curriculum, CONTEXT, seed, total), total, None)

    ways: dict[str, Way] = {
        "plain": lambda seed: (training_windows(dataset, CONTEXT, seed), total, None),
        "easy first": staged(ranked, easy_first),
        "functions at the end": staged(sources, with_pairs),
        "distilled": lambda seed: (training_windows(dataset, CONTEXT, seed), fewer, heard),
        "as few tokens, plain": lambda seed: (training_windows(dataset, CONTEXT, seed), fewer, None),
    }
    loss = loss_scores(evaluate_loss(teacher, dataset, EvaluationSettings()))["val_loss"].value
    return ways, loss


def trained(
    spec: ArchSpec,
    dataset: Dataset,
    windows: Windows,
    tokens: int,
    seed: int,
    device: torch.device,
    teaching: Teaching | None = None,
) -> Transformer:
    """A model trained for `tokens` with a cooldown at its end."""
    stable = round(tokens / (1 + _COOLDOWN_SHARE))
    state = new_state(build_model(spec, seed, device), windows, _TRAINING, seed=seed, data_fingerprint=dataset.fingerprint)
    step = None if teaching is None else DistilledStep(teaching)
    state.step = step
    for _ in train(state, until_tokens=stable):
        pass
    state.step = state.kept = None
    cooled = fork_cooldown(state, tokens - stable)
    cooled.step = step
    for _ in train(cooled):
        pass
    return cooled.model


def held_out_functions(dataset: Dataset) -> ScoredTokens:
    """The functions of validation documents, each as a document of its own."""
    texts = [
        pair.head + pair.body
        for number in range(len(dataset.documents("validation")))
        for pair in pairs_of(dataset.text("validation", number))
    ]
    end = dataset.tokenizer.end_of_text
    ids = [np.array([*one, end]) for one in dataset.tokenizer.encode_batch(texts) if len(one) >= _SHORTEST]
    return ScoredTokens(
        inputs=np.concatenate([np.array([end, *one[:-1]]) for one in ids]),
        targets=np.concatenate(ids),
        starts=np.cumsum([0, *map(len, ids)]),
        bytes=np.zeros(len(ids), dtype=np.int64),
    )


def _scores(model: Transformer, dataset: Dataset, functions: ScoredTokens) -> Scores:
    files = loss_scores(evaluate_loss(model, dataset, EvaluationSettings()))["val_loss"].value
    with eval_mode(model):
        nats, _ = document_nats(model, functions)
    return {"files": files, "functions": float(nats.sum() / len(functions.targets))}


def _rows(name: str, way: str, found: Mapping[str, Sequence[Scores]]) -> list[Row]:
    """The way's loss less that of plain pre-training with the same seeds, with its 95 % interval over them."""
    plain = np.array([one[name] for one in found["plain"]])
    own = np.array([one[name] for one in found[way]])
    if way == "plain":
        return [Row(metric=f"loss on {name}: plain", unit="nats/token", ours=float(own.mean()), note=_each(own))]
    difference = own - plain
    count, mean = len(difference), float(difference.mean())
    reach = t_quantile(count - 1) * float(difference.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    low, high = (mean - reach, mean + reach) if math.isfinite(reach) else (None, None)
    return [
        Row(metric=f"loss on {name}: {way} - plain", unit="nats/token", ours=mean, low=low, high=high, note=_each(difference))
    ]


def _each(values: Any) -> str:
    return "by seed: " + ", ".join(f"{value:+.3f}" if value < 1 else f"{value:.3f}" for value in values)
