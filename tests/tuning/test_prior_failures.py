"""What went wrong in the prior system's tuning, made to happen, and that it does not happen here.

Padding was learnt (loss 0.0000, nothing but line breaks), 49 examples were tuned on for 3,000 steps, and no end-of-text was
learnt, so that answers ran on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autonas.data.dataset import Dataset
from autonas.evaluation.rates import wilson_interval
from autonas.model.decode import StopRule, generate
from autonas.model.transformer import Transformer, build_model
from autonas.run_folder import read_evaluation, run_budget
from autonas.tuning.encoding import Encoded, encode_examples, step_numbers
from autonas.tuning.examples import Example, example_of, write_examples
from autonas.tuning.packed import lay_out, pack, solution_nats
from autonas.tuning.templates import templated_tasks
from autonas.worker import run_job
from tests.studies import SMALL_SPEC, small_job
from tests.tuning.conftest import begin

SPEC = dataclasses.replace(SMALL_SPEC, width=32)
CONTEXT = SPEC.context_length
CPU = torch.device("cpu")
Loss = Callable[[Transformer, Sequence[Encoded]], Tensor]


def tuned(examples: Sequence[Encoded], loss: Loss, steps: int) -> tuple[Transformer, float]:
    """A model after so many steps on `loss`, and the last of them."""
    model = build_model(SPEC, 0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        value = loss(model, [examples[number] for number in step_numbers(len(examples), 8, 0, step)])
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval(), float(value.detach())


def ours(model: Transformer, batch: Sequence[Encoded]) -> Tensor:
    return solution_nats(model, pack(lay_out(batch), CPU)).mean()


def with_padding(pad: int) -> Loss:
    """The fault: rows filled up to four contexts with line breaks, and that in the loss."""

    def loss(model: Transformer, batch: Sequence[Encoded]) -> Tensor:
        rows = torch.full((len(batch), 4 * CONTEXT), pad)
        for row, each in zip(rows, batch, strict=True):
            row[: len(each.tokens)] = torch.tensor(each.tokens)
        targets = rows[:, 1:].clone()
        for row, each in zip(targets, batch, strict=True):
            row[: each.prompt - 1] = -100
        return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), targets.flatten())

    return loss


def without_end(model: Transformer, batch: Sequence[Encoded]) -> Tensor:
    """The fault: end-of-text is no target."""
    return ours(model, [Encoded(tokens=each.tokens[:-1], prompt=each.prompt) for each in batch])


@pytest.fixture
def encoded(dataset: Dataset, examples: tuple[Example, ...]) -> list[Encoded]:
    return list(encode_examples(examples, dataset.tokenizer, CONTEXT).values())


def answers(model: Transformer, dataset: Dataset, examples: Sequence[Example], most: int = 24) -> list[list[int]]:
    prompts = [dataset.tokenizer.encode_prompt(each.prompt) for each in examples[:8]]
    return generate(model, prompts, max_new_tokens=most, stop=StopRule(token=dataset.tokenizer.end_of_text))


def test_padding_in_the_loss_hides_that_nothing_is_learnt(
    dataset: Dataset, examples: tuple[Example, ...], encoded: list[Encoded]
) -> None:
    (line_break,) = dataset.tokenizer.encode("\n")
    model, shown = tuned(encoded, with_padding(line_break), 40)
    with torch.no_grad():
        real = float(ours(model, encoded))
    assert shown < 0.25 * real, "the loss that is shown is small, and that of solutions is not"
    written = [token for tokens in answers(model, dataset, examples) for token in tokens]
    assert written.count(line_break) >= 0.8 * len(written) > 0, "it writes padding"
    model, shown = tuned(encoded, ours, 40)
    with torch.no_grad():
        assert shown == pytest.approx(float(ours(model, encoded)), abs=0.5), "what is shown is what is meant"
    written = [token for tokens in answers(model, dataset, examples) for token in tokens]
    assert written.count(line_break) <= 0.5 * len(written)


def test_an_answer_ends_where_end_of_text_was_a_target_and_runs_on_where_it_was_not(
    dataset: Dataset, examples: tuple[Example, ...], encoded: list[Encoded]
) -> None:
    most = 24
    running, _ = tuned(encoded, without_end, 150)
    stopping, _ = tuned(encoded, ours, 150)
    assert all(len(tokens) == most for tokens in answers(running, dataset, examples, most))
    assert sum(len(tokens) < most for tokens in answers(stopping, dataset, examples, most)) >= 7


def test_49_examples_are_not_tuned_on_for_3000_steps(base: Path, examples: tuple[Example, ...], tmp_path: Path) -> None:
    data = tmp_path / "few.jsonl"
    write_examples(data, examples[:49])
    job = begin(base, data, tmp_path / "run", method="sft", steps=3000, rate=1e-2)
    outcome = run_job(dataclasses.replace(job, checkpoint_every_s=1e9))
    assert outcome.ok, outcome.failure
    about = read_evaluation(tmp_path / "run")["tuning"]
    assert about["steps"] < 3000
    assert about["best_step"] < about["steps"]
    assert {"few_examples", "early_stopping"} <= {finding.check for finding in outcome.findings}
    assert "few examples" in outcome.scores["solution_loss"].note
    assert outcome.scores["solution_loss"].value < about["base"]["solution_loss"]["value"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sft", "lora"])
def test_a_tuned_model_answers_held_out_tasks_that_its_base_does_not(dataset: Dataset, tmp_path: Path, method: str) -> None:
    spec = dataclasses.replace(SMALL_SPEC, layers=2, width=96, heads=4, kv_heads=2, context_length=96)
    job = small_job(dataset.ref, tmp_path / "base", spec=spec)
    job = dataclasses.replace(job, kind="run", budget=run_budget(spec, job.training, 150, 0.2))
    assert run_job(job).ok
    made = templated_tasks(900, 0)
    data = tmp_path / "data.jsonl"
    write_examples(data, map(example_of, made.training))
    tuning = begin(
        tmp_path / "base",
        data,
        tmp_path / "tuned",
        method=method,
        steps=800,
    )
    outcome = run_job(dataclasses.replace(tuning, checkpoint_every_s=1e9))
    assert outcome.ok, outcome.failure
    before = read_evaluation(tmp_path / "tuned")["tuning"]["base"]
    for name in ("passes", "stops"):
        assert outcome.scores[name].low > before[name]["high"], (name, before[name], outcome.scores[name])
    low, _ = wilson_interval(outcome.scores["stops"].value, outcome.scores["stops"].n or 1)
    assert low > 0.8
