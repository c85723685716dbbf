"""The mistakes of the system before this one, planted in real trainings: each is caught, and an honest training is not.

Small models on the interpreter's own library: what is planted is the fault, nothing is made up. The table of these, with the
figures that come of it, is in docs/trust.md.
"""

from __future__ import annotations

import dataclasses
import json
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from autonas import full_run
from autonas.arch import ArchSpec
from autonas.data.batches import Windows, training_windows
from autonas.data.records import CorpusReport, Document, Split
from autonas.data.store import Dataset, write_dataset
from autonas.data.tokenizer import Tokenizer
from autonas.errors import ResourceError, TrialFailure
from autonas.evaluation.coding.contamination import contaminated, training_texts
from autonas.evaluation.coding.records import CodingSettings
from autonas.evaluation.coding.score import score_coding
from autonas.evaluation.coding.tasks import builtin_tasks
from autonas.evaluation.generation_probe import probe_generation
from autonas.evaluation.held_out import HeldOut, Shown, held_out
from autonas.evaluation.leak import leak_test
from autonas.evaluation.loss import evaluate_loss, loss_scores, score_tokens
from autonas.evaluation.plausibility import CHECKS
from autonas.evaluation.plausibility.findings import run_findings
from autonas.evaluation.plausibility.gap import measure_gap
from autonas.evaluation.plausibility.generations import apart, collapse_between_rungs
from autonas.evaluation.plausibility.losses import gap_finding
from autonas.evaluation.rates import required_samples, wilson_interval
from autonas.evaluation.sandbox import Limits, Sandbox
from autonas.model.blocks import Attention, Block, Frame
from autonas.model.smoothing import smoothing_floor
from autonas.model.transformer import Transformer, build_model
from autonas.reporting.front import build_report
from autonas.run_folder import run_budget
from autonas.training.loop import train
from autonas.training.state import TrainState, new_state
from autonas.training.watch import Watch
from autonas.trial import DocumentLosses, EvaluationSettings, Finding, Job, LatencySettings, Outcome, Score, TrainingSettings
from autonas.worker import run_job
from tests.reporting.studies import make_study

LIBRARY = Path(sysconfig.get_path("stdlib"))
TRAINED = ("json", "email", "logging", "http", "urllib", "concurrent/futures", "importlib", "multiprocessing", "unittest")
# Of these packages nothing stands in those, which is not so of all: wsgiref/headers.py was made from email/message.py.
HELD_OUT = ("asyncio", "xml/dom", "xml/sax", "curses", "tomllib", "collections")
CONTEXT, STEP = 64, 1024
SPEC = ArchSpec(layers=2, width=64, heads=2, kv_heads=2, vocab_size=512, context_length=CONTEXT)
TRAINING = TrainingSettings(batch_tokens=STEP, warmup_tokens=8 * STEP, learning_rate=3e-3)
EVALUATION = EvaluationSettings(validation_tokens=16_384, prompts_per_kind=16, samples_per_prompt=1, new_tokens=24)


def read(projects: tuple[str, ...]) -> dict[str, str]:
    paths = sorted(path for project in projects for path in (LIBRARY / project).glob("*.py"))
    texts = {str(path.relative_to(LIBRARY)): path.read_text(encoding="utf-8") for path in paths}
    return {name: text for name, text in texts.items() if text.strip()}


CODE, OTHER_CODE = read(TRAINED), read(HELD_OUT)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(list(CODE.values()), SPEC.vocab_size)


def build(folder: Path, tokenizer: Tokenizer, training: dict[str, str], held_out: dict[str, str]) -> Dataset:
    """A data set of just these documents: no filter takes out what is planted. Every third held-out one is a test document."""

    def documents(texts: dict[str, str], split: Split) -> list[Document]:
        return [Document(name=name, project=name.split("/")[0], text=text, split=split) for name, text in texts.items()]

    names = list(held_out)
    validation = {name: held_out[name] for place, name in enumerate(names) if place % 3}
    test = {name: held_out[name] for place, name in enumerate(names) if place % 3 == 0}
    members = [*documents(training, "train"), *documents(validation, "validation"), *documents(test, "test")]
    folder.mkdir()
    write_dataset(folder, members, tokenizer, CorpusReport(documents={}, bytes={}, projects={}), "0" * 64)
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Dataset:
    return build(tmp_path_factory.mktemp("data") / "honest", tokenizer, CODE, OTHER_CODE)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def begun(model: Transformer, windows: Windows, **changes: Any) -> TrainState:
    return new_state(model, windows, dataclasses.replace(TRAINING, **changes), seed=0)


def trained(model: Transformer, dataset: Dataset, steps: int, **changes: Any) -> TrainState:
    state = begun(model, training_windows(dataset, CONTEXT, 0), **changes)
    for _ in train(state, until_tokens=steps * STEP):
        pass
    return state


def scored(state: TrainState, dataset: Dataset) -> HeldOut:
    """As a worker scores it."""
    return held_out(state.model, dataset, EVALUATION, Shown(tokens=state.tokens, windows=state.windows))


def alarms(findings: tuple[Finding, ...]) -> dict[str, str]:
    assert {finding.check for finding in findings} <= set(CHECKS)
    return {finding.check: finding.text for finding in findings if finding.severity == "alarm"}


def with_attention(model: Transformer, allowed: Callable[[Tensor], Tensor]) -> Transformer:
    """`model` with attention from each position to the distances (key − query) that are `allowed`, whatever it should be."""

    def attend(q: Tensor, k: Tensor, v: Tensor, frame: Frame) -> Tensor:
        places = torch.arange(k.shape[2])
        mask = allowed(places - places[k.shape[2] - q.shape[2] :, None])
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)

    for block in model.blocks:
        assert isinstance(block, Block) and isinstance(block.attention, Attention)
        block.attention._attend = attend  # type: ignore[method-assign]
    return model


def no_mask(distance: Tensor) -> Tensor:
    return torch.ones_like(distance, dtype=torch.bool)


def one_ahead(distance: Tensor) -> Tensor:
    return distance == 1


def symmetric_window(distance: Tensor) -> Tensor:
    return distance.abs() <= 3


@pytest.fixture(scope="module")
def honest(dataset: Dataset) -> TrainState:
    return trained(build_model(SPEC, 0), dataset, 200)


def test_an_honest_training_raises_no_alarm(honest: TrainState, dataset: Dataset) -> None:
    assert leak_test(honest.model)
    found = scored(honest, dataset)
    assert (*honest.findings(), *found.findings) == ()
    assert 0.5 * found.baselines["bigram"] < found.scores["val_loss"].value < found.baselines["unigram"]
    assert "beyond what the texts explain" in found.checks["gap"]


@pytest.mark.parametrize("allowed", [no_mask, symmetric_window])
def test_a_model_that_sees_ahead_is_refused_and_its_loss_would_be_too(
    dataset: Dataset, allowed: Callable[[Tensor], Tensor]
) -> None:
    with pytest.raises(TrialFailure, match="sees the future"):
        leak_test(with_attention(build_model(SPEC, 0), allowed))
    state = trained(with_attention(build_model(SPEC, 0), allowed), dataset, 100)
    assert set(state.paths) == {"eager"} and "differ" in state.slower_because, "the fast path proves itself on the plain one"
    found = scored(state, dataset)
    assert found.scores["val_loss"].value < 0.5
    assert "Targets leak" in alarms(found.findings)["loss_floor"]


@pytest.mark.slow
def test_a_smoothed_loss_at_its_floor_is_a_copy_of_the_targets(dataset: Dataset) -> None:
    assert smoothing_floor(0.1, 8000) == pytest.approx(1.22365, abs=5e-6)
    claimed = Watch(step_tokens=8192, warmup_tokens=0, epoch_tokens=10**9, floor=smoothing_floor(0.1, 8000))
    for step in range(1, 200):
        claimed.see(step * 8192, 1.2539, 1.0)
    assert [finding.check for finding in claimed.findings() if "copying" in finding.text] == ["smoothing_floor"]
    spec = dataclasses.replace(SPEC, label_smoothing=0.1, context_length=128, layers=1)
    windows = training_windows(dataset, 128, 0)
    copying = begun(with_attention(build_model(spec, 0), one_ahead), windows, learning_rate=8e-3, batch_tokens=2048)
    honest = begun(build_model(spec, 0), windows, batch_tokens=2048)
    for state, steps in ((copying, 350), (honest, 100)):  # in the first epoch
        for _ in train(state, until_tokens=steps * 2048):
            pass
    assert "as good as copying" in alarms(copying.findings())["smoothing_floor"]
    assert honest.findings() == ()


def run_job_of(dataset: Dataset, folder: Path, steps: int) -> Job:
    return Job(
        kind="run",
        study="planted",
        trial=0,
        attempt=1,
        spec=SPEC,
        budget=run_budget(SPEC, TRAINING, steps, 0.2),
        seed=0,
        data_seed=0,
        data=dataset.ref,
        training=TRAINING,
        evaluation=EVALUATION,
        latency=LatencySettings(threads=1, context=32),
        objectives=("val_loss", "collapse_rate"),
        folder=str(folder),
    )


def validation_losses(folder: Path) -> list[float]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line["val_loss"] for line in lines if "val_loss" in line]


def constant_loss(model: Transformer, dataset: Dataset, settings: EvaluationSettings, **_: Any) -> DocumentLosses:
    """The stub of the sister project: 2.5, whatever the model."""
    real = evaluate_loss(build_model(model.spec, 0), dataset, settings)
    return dataclasses.replace(real, nats=tuple(2.5 * tokens for tokens in real.tokens))


def constant_scores(model: Transformer, dataset: Dataset, settings: EvaluationSettings, **_: Any) -> Any:
    found = score_tokens(build_model(model.spec, 0), dataset, settings)
    return constant_loss(model, dataset, settings), np.full_like(found[1], 2.5), found[2]


@pytest.mark.slow
def test_a_validation_loss_that_is_a_constant_is_found_in_the_run(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, honest: TrainState
) -> None:
    outcome = run_job(run_job_of(dataset, tmp_path / "honest", 40))
    assert outcome.ok and outcome.findings == ()
    assert len(validation_losses(tmp_path / "honest")) == 20
    monkeypatch.setattr(full_run, "score_tokens", constant_scores)
    outcome = run_job(run_job_of(dataset, tmp_path / "stub", 40))
    assert set(validation_losses(tmp_path / "stub")) == {2.5}
    assert "validation loss was 2.5 in all of 20 measurements" in alarms(outcome.findings)["constant"]
    # And already of one measurement: the model would be better at what it was never shown.
    stub = constant_loss(honest.model, dataset, EVALUATION)
    gap = measure_gap(honest.model, dataset, EVALUATION, stub, windows=honest.windows, tokens=honest.tokens)
    assert gap is not None
    finding = gap_finding(gap)
    assert finding is not None and finding.severity == "alarm" and "no better at what it was not shown" in finding.text


def test_a_collapse_trend_that_is_noise_is_told_as_none() -> None:
    def rate(hits: int, samples: int) -> Score:
        low, high = wilson_interval(hits / samples, samples)
        return Score(value=hits / samples, low=low, high=high, unit="share", n=samples)

    def rung(number: int, loss: float, collapse: Score) -> Outcome:
        scores = {"val_loss": Score.exact(loss, "nats/token"), "degeneration": collapse}
        return Outcome(kind="train", trial=0, attempt=0, rung=number, seconds=1.0, scores=scores, tokens=1000 * (number + 1))

    assert rate(8, 55).low == pytest.approx(0.076, abs=1e-3) and rate(8, 55).high == pytest.approx(0.262, abs=1e-3)
    for hits in (2, 4, 6, 8, 10, 13):  # whatever another checkpoint of that run would have been told to be
        assert not apart(rate(8, 55), rate(hits, 55)) and not apart(rate(hits, 55), rate(8, 55))
        assert collapse_between_rungs(rung(0, 3.0, rate(hits, 55)), rung(1, 2.0, rate(8, 55))) is None
    assert required_samples(6 / 55, 8 / 55) > 20 * 55
    # What is no noise is told.
    finding = collapse_between_rungs(rung(0, 3.0, rate(60, 550)), rung(1, 2.0, rate(150, 550)))
    assert finding is not None and finding.severity == "alarm"
    assert collapse_between_rungs(rung(0, 3.0, rate(60, 550)), rung(1, 3.1, rate(150, 550))) is None, "the loss rose as well"


def repetition(number: int) -> str:
    """A document of one line over and over, as question-answer data with much padding and boilerplate is."""
    word = ("return", "self", "::::", "not", "pass")[number % 5]
    return "".join(f"{word} {word} {word} {word}\n" for _ in range(300))


def test_generation_that_collapses_while_loss_falls_is_found(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """A curriculum whose last stage is repetition: the loss on held-out text of all stages falls, and all samples loop."""
    loops = {f"loops{number}/data.py": repetition(number) for number in range(40)}
    held_out = dict(pair for both in zip(OTHER_CODE.items(), loops.items(), strict=False) for pair in both)
    both = build(
        tmp_path / "curriculum", tokenizer, {**CODE, **{f"more/{name}": text for name, text in loops.items()}}, held_out
    )
    documents, tokens = both.documents("train"), both.tokens("train")
    border = int(documents.starts[len(CODE)])
    stages = [Windows(tokens[:border], CONTEXT, 0), Windows(tokens[border:], CONTEXT, 0)]
    state = begun(build_model(SPEC, 0), stages[0])
    points: list[dict[str, Any]] = []

    def learn(steps: int) -> None:
        until = state.tokens + steps * STEP
        points.extend({"tokens": step.tokens, "loss": step.loss} for step in train(state, until_tokens=until))
        loss = loss_scores(evaluate_loss(state.model, both, EVALUATION))["val_loss"].value
        points.append({"tokens": state.tokens, "val_loss": loss})
        points.append({"tokens": state.tokens, "generation": probe_generation(state.model, both, EVALUATION, seed=0)})

    for _ in range(4):
        learn(75)
    assert run_findings(points) == (), "of the code alone"
    state.windows = stages[1]
    learn(30)
    found = alarms(run_findings(points))
    assert set(found) == {"collapse_while_falling", "diversity"}
    losses = [point["val_loss"] for point in points if "val_loss" in point]
    assert losses[-1] < min(losses[:-1]), "by its loss, this is the best model so far"


def test_validation_documents_in_training_are_found(tmp_path: Path, tokenizer: Tokenizer) -> None:
    copied = dict(list(OTHER_CODE.items())[1::6])
    renamed = {f"vendored/{name}": text.replace("    ", "\t") for name, text in copied.items()}
    planted = build(tmp_path / "copied", tokenizer, {**CODE, **renamed}, OTHER_CODE)
    found = scored(trained(build_model(SPEC, 0), planted, 20), planted)
    assert set(alarms(found.findings)) == {"held_out_in_training"}


def padded(text: str) -> str:
    """A text in pieces of ten lines, each filled up with line breaks to some thousand characters, as a batch is padded."""
    lines = text.splitlines(keepends=True)
    pieces = ("".join(lines[first : first + 10]) for first in range(0, len(lines), 10))
    return "".join(piece + "\n" * max(0, 4000 - len(piece)) for piece in pieces)


def test_a_loss_of_padding_is_told(tmp_path: Path, tokenizer: Tokenizer) -> None:
    some = dict(list(CODE.items())[::4])
    filled, others = ({name: padded(text) for name, text in texts.items()} for texts in (some, OTHER_CODE))
    # A tokenizer of those texts would have one entry for many line breaks; the prior system's padding was a token of its own.
    planted = build(tmp_path / "padded", tokenizer, filled, others)
    found = scored(trained(build_model(SPEC, 0), planted, 60), planted)
    assert found.scores["val_loss"].value < 1.0
    assert "newlines, indentation" in alarms(found.findings)["loss_by_class"]


def test_benchmark_tasks_in_the_corpus_are_told(tmp_path: Path, tokenizer: Tokenizer, dataset: Dataset) -> None:
    tasks = builtin_tasks()
    tuning = {f"tuning/{number}.py": task.program for number, task in enumerate(tasks)}  # all twenty, as the prior system had
    planted = build(tmp_path / "tuned", tokenizer, {**CODE, **tuning}, OTHER_CODE)
    assert {each.task for each in contaminated(tasks, training_texts(planted))} == {task.name for task in tasks}
    found = scored(trained(build_model(SPEC, 0), planted, 20), planted).findings
    assert set(alarms(found)) == {"benchmark_in_corpus"} and "of 20 tasks" in alarms(found)["benchmark_in_corpus"]
    honest = scored(trained(build_model(SPEC, 0), dataset, 20), dataset).findings
    assert not alarms(honest) and "commonplace_tasks" not in {finding.check for finding in honest}


def test_a_benchmark_that_cannot_be_passed_is_told(tokenizer: Tokenizer) -> None:
    """The references are run before any model's answers: all pass, and one that nobody could pass is named."""
    try:
        sandbox = Sandbox.open(limits=Limits(seconds=20.0))
    except ResourceError as error:
        pytest.skip(f"no sandbox here: {error}")
    settings = CodingSettings(samples=1, ks=(1,), new_tokens=4, questions=1)
    tasks = builtin_tasks()
    impossible = dataclasses.replace(tasks[0], tests=tasks[0].tests + f"assert {tasks[0].entry_point}(1, 2) == 4\n")
    model = build_model(dataclasses.replace(SPEC, context_length=192), 0)
    with sandbox:
        sound = score_coding(model, tokenizer, tasks, settings, sandbox, seed=0)
        broken = score_coding(model, tokenizer, (impossible, *tasks[1:4]), settings, sandbox, seed=0)
    assert sound.reference.value == 1.0 and sound.model.pass_at["1"].value == 0.0
    assert alarms(sound.findings) == {}
    assert broken.reference.value == 0.75
    assert any(impossible.name in text and "no model can pass" in text for text in alarms(broken.findings).values())


class OneBadBatch(Windows):
    """Windows of which one batch is a single rare token over and over: a broken file in the corpus."""

    def take(self, first: int, count: int) -> NDArray[np.int64]:
        taken = super().take(first, count)
        if first == 69 * STEP // CONTEXT:
            taken[:] = SPEC.vocab_size - 1
        return taken


def test_an_exploding_gradient_is_told(dataset: Dataset) -> None:
    for windows in (Windows, OneBadBatch):
        state = begun(build_model(SPEC, 0), windows(dataset.tokens("train"), CONTEXT, 0))
        losses = [step.loss for step in train(state, until_tokens=80 * STEP)]
        assert max(losses[60:]) < 5.0, "the loss shows nothing"
        assert set(alarms(state.findings())) == ({"gradient_norm"} if windows is OneBadBatch else set())


def test_a_saturated_search_is_told() -> None:
    """All candidates at a fitness of exactly 1.0, as the prior system's were from its first generation on."""
    study = make_study()
    perfect = {"collapse_rate": Score.exact(1.0, "share")}
    trials = tuple(
        dataclasses.replace(
            trial,
            rungs=tuple(dataclasses.replace(outcome, scores={**outcome.scores, **perfect}) for outcome in trial.rungs),
        )
        for trial in study.trials
    )
    assert not [alarm for alarm in build_report(study).alarms if alarm.severity == "alarm"]
    found = build_report(dataclasses.replace(study, trials=trials)).alarms
    assert [alarm.title for alarm in found if alarm.severity == "alarm"] == ["Collapse rate never moves"]
