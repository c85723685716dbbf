"""Loss by token class, and its alarm: real tiny models, honest ones and ones that have learnt blanks or form."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from autonas.arch import ArchSpec
from autonas.data.batches import Windows
from autonas.data.dataset import Dataset
from autonas.data.records import SPLITS, CorpusReport, Document
from autonas.data.store import write_dataset
from autonas.data.token_classes import BLANK, CLASSES, CONTENT, token_classes
from autonas.data.tokenizer import Tokenizer
from autonas.evaluation import passes
from autonas.evaluation.baselines import BigramCounts, baselines, count_bigrams, unigram_probabilities
from autonas.evaluation.class_loss import ClassLosses, class_finding, class_losses, losses_by_class
from autonas.evaluation.loss import evaluate_loss, loss_scores
from autonas.evaluation.passes import document_nats, plain_losses, token_nats
from autonas.evaluation.scored import scored_tokens
from autonas.model.transformer import Transformer, build_model
from autonas.training.loop import train
from autonas.training.state import new_state
from autonas.trial import EvaluationSettings, TrainingSettings, from_json, to_json

FEW = EvaluationSettings(validation_tokens=12_000)
CONTEXT = 96


def trained(dataset: Dataset, tokens: int, width: int = 32, seed: int = 0) -> tuple[Transformer, BigramCounts]:
    """A model after so many tokens of a data set, and the counts of what it was shown."""
    spec = ArchSpec(layers=2, width=width, heads=2, kv_heads=1, vocab_size=dataset.vocab_size, context_length=CONTEXT)
    windows = Windows(dataset.tokens("train"), CONTEXT, seed)
    settings = TrainingSettings(batch_tokens=1024, warmup_tokens=16_384, learning_rate=2e-3, precision="float32")
    state = new_state(build_model(spec, seed), windows, settings, seed=seed)
    for _ in train(state, until_tokens=tokens):
        pass
    return state.model, count_bigrams(windows.take(0, -(-tokens // CONTEXT)), dataset.vocab_size)


def rewritten(folder: Path, texts: dict[str, list[str]], tokenizer: Tokenizer) -> Dataset:
    """A data set of these texts of each split."""
    documents = [
        Document(name=f"{split}/{number}.py", project=f"{split}{number}", text=text, split=split)
        for split in SPLITS
        for number, text in enumerate(texts[split])
    ]
    folder.mkdir()
    write_dataset(folder, documents, tokenizer, CorpusReport(documents={}, bytes={}, projects={}), "0" * 64)
    return Dataset.open(folder)


def real_texts(dataset: Dataset) -> dict[str, list[str]]:
    return {split: [dataset.text(split, number) for number in range(len(dataset.documents(split)))] for split in SPLITS}


def padded(dataset: Dataset, folder: Path, share: float) -> Dataset:
    """The real documents cut into pieces of 40 lines, each followed by line breaks: `share` of all tokens."""

    def pad(text: str) -> str:
        lines = text.splitlines(keepends=True)
        pieces = ["".join(lines[first : first + 40]) for first in range(0, len(lines), 40)]
        fill = dataset.tokenizer.encode("\n" * 1000)
        breaks = 1000 / len(fill)  # of a token
        return "".join(
            piece + "\n" * int(breaks * len(dataset.tokenizer.encode(piece)) * share / (1 - share)) for piece in pieces
        )

    return rewritten(folder, {split: list(map(pad, texts)) for split, texts in real_texts(dataset).items()}, dataset.tokenizer)


@pytest.fixture(scope="module")
def honest(dataset: Dataset) -> tuple[Transformer, BigramCounts]:
    return trained(dataset, 131_072)


@pytest.fixture(scope="module")
def losses(dataset: Dataset, honest: tuple[Transformer, BigramCounts]) -> ClassLosses:
    model, counts = honest
    return class_losses(model, dataset, FEW, counts)


def test_classes_add_up_to_the_loss_and_the_baselines_of_the_whole(
    dataset: Dataset, honest: tuple[Transformer, BigramCounts], losses: ClassLosses
) -> None:
    every = losses.group("all")
    assert every is not None
    score = loss_scores(evaluate_loss(honest[0], dataset, FEW))["val_loss"]
    assert every.loss.value == pytest.approx(score.value, rel=1e-9)
    assert (every.loss.low, every.loss.high) == pytest.approx((score.low, score.high), rel=1e-6)
    windows = Windows(dataset.tokens("train"), CONTEXT, 0).take(0, -(-131_072 // CONTEXT))
    expected = baselines(windows, dataset, FEW)
    assert (every.unigram, every.bigram) == pytest.approx((expected["unigram"], expected["bigram"]))
    assert sum(each.tokens for each in losses.classes) == every.tokens == score_tokens(dataset)
    for part in ("share", "loss_share"):
        assert math.fsum(getattr(each, part) for each in losses.classes) == pytest.approx(1)
    assert math.fsum(e.share * e.gain.value for e in losses.classes) == pytest.approx(every.unigram - every.loss.value)


def score_tokens(dataset: Dataset) -> int:
    return len(scored_tokens(dataset, "validation", FEW.validation_tokens).targets)


def test_a_class_has_the_mean_of_its_own_tokens(
    dataset: Dataset, honest: tuple[Transformer, BigramCounts], losses: ClassLosses
) -> None:
    scored = scored_tokens(dataset, "validation", FEW.validation_tokens)
    nats = np.concatenate(plain_losses(honest[0].eval(), scored))
    found = token_classes(dataset.tokenizer).of(scored.targets)
    for each in losses.classes:
        members = found == CLASSES.index(each.name)
        assert each.tokens == members.sum()
        assert each.loss.value == pytest.approx(nats[members].mean(), abs=0.05), "but for the rounding of bfloat16"
        assert each.loss.low <= each.loss.value <= each.loss.high
    blank = losses.group("blank")
    assert blank is not None
    assert blank.tokens == np.isin(found, [CLASSES.index(name) for name in BLANK]).sum()


def test_losses_of_tokens_lie_in_the_order_of_the_targets(
    dataset: Dataset, model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = scored_tokens(dataset, "validation", 3_000)
    monkeypatch.setattr(passes, "fast_pass", lambda model: (None, ""))
    nats, how = token_nats(model.eval(), scored)
    whole, _ = document_nats(model.eval(), scored)
    assert how == "" and len(nats) == len(scored.targets)
    np.testing.assert_allclose(np.add.reduceat(nats, scored.starts[:-1]), whole)
    first = torch.from_numpy(scored.inputs[:5])[None]
    expected = -model(first)[0].detach().double().log_softmax(-1)[torch.arange(5), torch.from_numpy(scored.targets[:5])]
    np.testing.assert_allclose(nats[:5], expected.numpy(), rtol=1e-4)


def test_the_interval_of_a_class_covers_what_documents_differ_by(dataset: Dataset) -> None:
    """Losses drawn with a mean for each document: of 200 corpora about 95 in 100 intervals hold the true mean."""
    scored = scored_tokens(dataset, "validation", 60_000)
    table = token_classes(dataset.tokenizer)
    counts = count_bigrams(scored.targets[None, :500], dataset.vocab_size)
    draw = np.random.default_rng(0)
    sizes = np.diff(scored.starts)
    covered = 0
    for _ in range(200):
        nats = np.repeat(3.0 + draw.normal(0, 0.5, len(sizes)), sizes)
        word = next(e for e in losses_by_class(nats, scored, table, counts).classes if e.name == "word")
        covered += word.loss.low <= 3.0 <= word.loss.high
    assert 0.85 <= covered / 200 <= 0.995


def test_it_is_a_record_that_comes_back_and_a_table(losses: ClassLosses) -> None:
    assert from_json(ClassLosses, json.loads(json.dumps(to_json(losses)))) == losses
    lines = losses.lines()
    assert len(lines) == 2 + len(losses.classes) + len(losses.groups)
    assert max(map(len, lines)) <= 128
    assert all(any(line.split()[0] == each.name for line in lines) for each in losses.classes)
    assert all(line.isprintable() for line in lines)


def test_another_language_has_no_keywords(dataset: Dataset, honest: tuple[Transformer, BigramCounts]) -> None:
    other = class_losses(honest[0], dataset, dataclasses.replace(FEW, language="other"), honest[1])
    assert "keyword" not in [each.name for each in other.classes]


@pytest.mark.parametrize("tokens", [8_192, 40_960, *(pytest.param(many, marks=pytest.mark.slow) for many in (24_576, 65_536))])
def test_no_alarm_for_an_honest_model_however_little_it_has_learnt(dataset: Dataset, tokens: int) -> None:
    model, counts = trained(dataset, tokens, seed=tokens)
    assert class_finding(class_losses(model, dataset, FEW, counts)) is None


def test_no_alarm_for_an_honest_model_at_the_end(losses: ClassLosses) -> None:
    every = losses.group("all")
    assert every is not None and every.gain.value > 1
    assert class_finding(losses) is None


@pytest.mark.parametrize("tokens", [8_192, pytest.param(65_536, marks=pytest.mark.slow)])
def test_alarm_for_a_corpus_of_padding(dataset: Dataset, tmp_path: Path, tokens: int) -> None:
    """As when samples were padded to 256: a low loss, all of it padding's."""
    planted = padded(dataset, tmp_path / "padded", 0.85)
    model, counts = trained(planted, tokens)
    found = class_losses(model, planted, FEW, counts)
    every, blank = found.group("all"), found.group("blank")
    assert every is not None and blank is not None
    assert every.loss.value < 1.6 and blank.share > 0.8
    finding = class_finding(found)
    assert finding is not None and finding.severity == "alarm"
    assert "86%" in finding.text or "85%" in finding.text
    assert f"{every.loss.value:.3f}" in finding.text


def test_alarm_where_the_gain_is_one_of_blanks(dataset: Dataset, tmp_path: Path) -> None:
    """Less padding than half of the tokens, learnt before anything else is."""
    planted = padded(dataset, tmp_path / "padded", 0.35)
    model, counts = trained(planted, 16_384)
    found = class_losses(model, planted, FEW, counts)
    blank = found.group("blank")
    assert blank is not None and blank.share < 0.5
    finding = class_finding(found)
    assert finding is not None and "of it by newlines" in finding.text


def test_alarm_where_only_form_is_learnt(tmp_path: Path) -> None:
    """Regular lines whose words are drawn by lot: more than that a word comes cannot be learnt of them."""
    words = [
        a + b for a in ("ka", "lo", "mi", "ne", "ru", "so", "ta", "vi") for b in ("bel", "dor", "fen", "gim", "har", "jun")
    ]
    draw = random.Random(0)

    def text(lines: int) -> str:
        return "".join("    {} = {}({}, {})\n".format(*(draw.choice(words) for _ in range(4))) for _ in range(lines))

    texts = {"train": [text(40) for _ in range(300)], "validation": [text(40) for _ in range(12)], "test": [text(5)]}
    tokenizer = Tokenizer.train(texts["train"], 380)
    assert all(len(tokenizer.encode(f" {word}")) == 1 for word in words)
    planted = rewritten(tmp_path / "form", texts, tokenizer)
    model, counts = trained(planted, 98_304)
    found = class_losses(model, planted, FEW, counts)
    every, structural, content = (found.group(name) for name in ("all", "structural", "content"))
    assert every is not None and structural is not None and content is not None
    assert structural.loss.value < 0.1, "form is learnt to the end"
    assert content.loss.value == pytest.approx(math.log(len(words)), abs=0.15), "and words are not"
    finding = class_finding(found)
    assert finding is not None and "what was learnt is form" in finding.text


def test_alarm_where_content_is_no_better_than_by_the_unigram(dataset: Dataset) -> None:
    """Losses planted token by token: a model that is good at everything but what the code is about."""
    scored = scored_tokens(dataset, "validation", FEW.validation_tokens)
    table = token_classes(dataset.tokenizer)
    counts = count_bigrams(Windows(dataset.tokens("train"), CONTEXT, 0).take(0, 2_000), dataset.vocab_size)
    unigram = -np.log(unigram_probabilities(counts, scored.targets))
    is_content = np.isin(table.of(scored.targets), [CLASSES.index(name) for name in CONTENT])
    for of_content, alarm in ((0.0, True), (1.0, False)):
        nats = unigram - np.where(is_content, of_content, 0.4 * unigram)
        finding = class_finding(losses_by_class(nats, scored, table, counts))
        assert (finding is not None and "what was learnt is not content" in finding.text) == alarm
