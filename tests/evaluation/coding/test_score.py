from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from autonas.data.dataset import Dataset
from autonas.errors import RequestError
from autonas.evaluation.coding.records import CodingReport, CodingSettings
from autonas.evaluation.coding.score import score_coding
from autonas.evaluation.coding.tasks import builtin_tasks
from autonas.evaluation.sandbox import Sandbox
from autonas.model.transformer import Transformer
from autonas.trial import from_json, to_json

SETTINGS = CodingSettings(samples=3, ks=(1, 3), new_tokens=96)
TASKS = builtin_tasks()


@pytest.fixture(scope="module")
def known(by_heart: Transformer, dataset: Dataset, sandbox: Sandbox) -> CodingReport:
    """What is said of a model that has the answers by heart."""
    return score_coding(by_heart, dataset.tokenizer, TASKS, SETTINGS, sandbox, seed=0, training_tokens=dataset.tokens("train"))


@pytest.fixture(scope="module")
def unknown(spec_untrained: Transformer, dataset: Dataset, sandbox: Sandbox) -> CodingReport:
    return score_coding(spec_untrained, dataset.tokenizer, TASKS, SETTINGS, sandbox, seed=0)


@pytest.fixture(scope="module")
def spec_untrained(by_heart: Transformer) -> Transformer:
    return Transformer(by_heart.spec, seed=7)


def test_a_model_that_has_the_answers_by_heart_passes(known: CodingReport) -> None:
    assert known.model.pass_at["1"].value > 0.9 and known.model.pass_at["3"].value >= known.model.pass_at["1"].value
    assert known.model.best_of_n is not None and known.model.best_of_n.value > 0.9
    assert known.model.syntax.value > 0.9 and known.model.empty.value == 0.0 and known.model.token_limit.value < 0.1
    assert known.model.nats_per_token is not None and known.model.nats_per_token.value < 0.1
    assert known.model.choice is not None and known.model.choice_chance is not None
    assert known.model.choice.low > known.model.choice_chance and known.model.choice.value > 0.9
    assert known.model.margin is not None and known.model.margin.low > 1.0


def test_the_references_score_all_and_the_walls_are_told(known: CodingReport) -> None:
    assert known.reference.value == 1.0 and known.num_tasks == 20 and known.source == "builtin"
    assert known.programs >= 20 + 20 and any("network" in wall for wall in known.walls)
    for word in ("3 samples", "temperature 0.7", "top-k 40", "seed 0", "96 new tokens", "end-of-text"):
        assert word in known.how


def test_baselines_stand_beside_it_scored_by_the_same_code(known: CodingReport) -> None:
    assert [author.name for author in known.baselines] == ["3-gram", "copies the last line", "copies a span"]
    ngram, *copiers = known.baselines
    assert ngram.pass_at["1"].value == 0.0 and ngram.nats_per_token is not None and known.model.nats_per_token is not None
    assert ngram.nats_per_token.value > 10 * known.model.nats_per_token.value
    assert ngram.choice is not None and ngram.choice_chance is not None and ngram.choice.low <= ngram.choice_chance
    for copier in copiers:
        assert copier.samples == 1 and set(copier.pass_at) == {"1"} and copier.pass_at["1"].value == 0.0
        assert copier.nats_per_token is copier.best_of_n is copier.choice is None
    assert not [finding for finding in known.findings if finding.severity == "alarm"]


def test_rows_add_up(known: CodingReport) -> None:
    for author in (known.model, *known.baselines):
        assert [row.name for row in author.tasks] == [task.name for task in TASKS]
        assert author.pass_at["1"].value == pytest.approx(sum(row.passed / row.samples for row in author.tasks) / 20)
        assert author.syntax.value == pytest.approx(sum(row.valid for row in author.tasks) / (20 * author.samples))
        for row in author.tasks:
            assert sum(row.verdicts.values()) == row.samples and row.verdicts.get("passed", 0) == row.passed
            assert row.verdicts.get("invalid", 0) == row.samples - row.valid
    rows = known.model.tasks
    assert known.model.nats_per_token is not None
    assert known.model.nats_per_token.value == pytest.approx(
        sum(row.nats or 0 for row in rows) / sum(row.tokens for row in rows)
    )
    assert known.model.best_of_n is not None
    assert known.model.best_of_n.value == pytest.approx(sum(bool(row.best_passed) for row in rows) / 20)


def test_a_report_goes_to_json_and_back(known: CodingReport) -> None:
    text = json.dumps(to_json(known), allow_nan=False)
    assert from_json(CodingReport, json.loads(text)) == known


def test_an_untrained_model_passes_nothing_and_chooses_by_chance(unknown: CodingReport) -> None:
    model = unknown.model
    assert model.pass_at["1"].value == 0.0 and 0.1 < model.pass_at["1"].high < 0.2
    assert model.choice is not None and model.choice_chance is not None and model.margin is not None
    assert model.choice.low <= model.choice_chance <= model.choice.high
    assert model.margin.low <= 0.0 <= model.margin.high
    assert [finding.check for finding in unknown.findings if "n-gram" in finding.text] == ["coding_baselines"]


def test_the_likelihood_tells_models_apart_that_pass_nothing(known: CodingReport, unknown: CodingReport) -> None:
    assert known.model.nats_per_token is not None and unknown.model.nats_per_token is not None
    assert known.model.nats_per_token.high < unknown.model.nats_per_token.low
    assert unknown.model.bits_per_byte is not None and unknown.model.bits_per_byte.value > 2.0


def test_a_model_that_ends_at_once_passes_nothing_although_its_programs_compile(
    spec_untrained: Transformer, dataset: Dataset, sandbox: Sandbox
) -> None:
    silent = Transformer(spec_untrained.spec, seed=7)
    with torch.no_grad():
        silent.embedding.weight.fill_(0.01)
        silent.embedding.weight[dataset.tokenizer.end_of_text] = 100.0
        if not silent.spec.tied_embeddings:
            silent.unembedding.weight.fill_(0.0)
            silent.unembedding.weight[dataset.tokenizer.end_of_text] = 100.0
    report = score_coding(silent, dataset.tokenizer, TASKS, SETTINGS, sandbox, seed=0)
    assert report.model.empty.value == 1.0 and report.model.syntax.value == 0.0
    assert report.model.pass_at["3"].value == 0.0 and report.model.best_of_n is not None
    assert report.model.best_of_n.value == 0.0


def test_a_benchmark_that_nobody_can_pass_raises_an_alarm(
    spec_untrained: Transformer, dataset: Dataset, sandbox: Sandbox
) -> None:
    broken = dataclasses.replace(TASKS[0], tests="assert add(2, 2) == 5\n")
    tokens = dataset.tokens("train")
    tasks = (broken, *TASKS[1:3])
    report = score_coding(spec_untrained, dataset.tokenizer, tasks, SETTINGS, sandbox, seed=0, training_tokens=tokens)
    assert report.reference.value == pytest.approx(2 / 3)
    (alarm,) = [finding for finding in report.findings if finding.severity == "alarm"]
    assert alarm.check == "coding_references" and "(add)" in alarm.text
    notes = {finding.check: finding.text for finding in report.findings if finding.severity == "note"}
    assert (
        "3-gram model of its training tokens" in notes["coding_likelihood"]
        and "validity says nothing" in notes["coding_syntax"]
    )
    assert "cut at the token limit" in notes["coding_token_limit"] and "coding_baselines" not in notes


def test_tests_that_a_copier_passes_raise_an_alarm(spec_untrained: Transformer, dataset: Dataset, sandbox: Sandbox) -> None:
    # A copied docstring is a body; asserts that only call the function are content with it.
    prompt = 'def f(a):\n    """Do."""'
    weak = dataclasses.replace(TASKS[0], prompt=prompt, entry_point="f", tests="assert f(1) != 3\n")
    settings = dataclasses.replace(SETTINGS, new_tokens=len(dataset.tokenizer.encode('\n    """Do."""')))
    report = score_coding(spec_untrained, dataset.tokenizer, (weak,), settings, sandbox, seed=0)
    alarms = [finding.text for finding in report.findings if finding.severity == "alarm"]
    assert any("copies the last line passes 100.0%" in text for text in alarms)


def test_the_same_seed_gives_the_same_report_and_way_is_made(by_heart: Transformer, dataset: Dataset, sandbox: Sandbox) -> None:
    calls: list[int] = []
    told: list[tuple[str, int, int]] = []
    reports = [
        score_coding(
            by_heart,
            dataset.tokenizer,
            TASKS[:3],
            SETTINGS,
            sandbox,
            seed=3,
            make_way=lambda: calls.append(1),
            progress=lambda *what: told.append(what),
        )
        for _ in range(2)
    ]
    first, second = (dataclasses.replace(report, seconds=0.0) for report in reports)
    assert first == second
    assert len(calls) > 10 and {what for what, _, _ in told} == {"references", "model", "copies the last line", "copies a span"}
    assert all(0 <= done <= total for _, done, total in told)


def test_answers_take_at_most_half_of_the_context(model: Transformer, dataset: Dataset, sandbox: Sandbox) -> None:
    report = score_coding(model, dataset.tokenizer, TASKS[:2], SETTINGS, sandbox, seed=0)
    assert report.new_tokens == 48 == model.spec.context_length // 2


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"new_tokens": 0}, {"ks": ()}, {"ks": (0,)}, {"ngram_order": 0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=r"coding\."):
        CodingSettings(**wrong)  # type: ignore[arg-type]


def test_no_task_is_an_error(model: Transformer, dataset: Dataset, sandbox: Sandbox) -> None:
    with pytest.raises(RequestError, match="no coding task"):
        score_coding(model, dataset.tokenizer, (), SETTINGS, sandbox, seed=0)
