"""Each check at its edge: what it lets pass, and what not. In real trainings they are planted in test_planted_faults.py."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autonas import evaluation
from autonas.data.batches import Windows, training_windows
from autonas.data.dataset import Dataset
from autonas.evaluation.loss import evaluate_loss, loss_scores
from autonas.evaluation.plausibility import CHECKS, TITLES
from autonas.evaluation.plausibility.findings import outcome_findings, run_findings, rung_findings
from autonas.evaluation.plausibility.gap import bigram_share, gap_between, measure_gap, shown_windows
from autonas.evaluation.plausibility.generations import FALSE_ALARM
from autonas.evaluation.plausibility.losses import Gap, gap_finding, loss_floor, unmoved
from autonas.model.transformer import Transformer
from autonas.trial import DocumentLosses, EvaluationSettings, Outcome, Score

SETTINGS = EvaluationSettings(validation_tokens=8000)
MANY = EvaluationSettings(validation_tokens=60_000)  # of documents enough for an error


def test_every_check_has_a_title_and_says_what_it_catches() -> None:
    assert list(CHECKS) == list(TITLES) and all(CHECKS.values()) and len(set(TITLES.values())) == len(TITLES)


def test_every_check_that_a_finding_names_is_known() -> None:
    root = Path(evaluation.__file__).parents[1]
    named: set[str] = set()
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r'check="([^"]+)"', text)) | set(re.findall(r'^CHECK: Final = "([^"]+)"', text, re.MULTILINE))
    assert len(named) > 8 and named <= set(CHECKS)


@pytest.mark.parametrize(
    ("loss", "baselines", "believed"),
    [
        (1.9, {"bigram": 4.0, "compression": 3.4}, True),  # 29 M parameters after 410 M tokens
        (1.61, {"bigram": 4.0}, True),
        (1.59, {"bigram": 4.0}, False),
        (1.03, {"compression": 3.4}, True),
        (1.01, {"compression": 3.4}, False),
        (0.041, {"bigram": 4.0, "compression": 3.4}, False),  # the leaked one
        (0.041, {}, True),  # nothing is known
        (0.041, {"unigram": 6.0}, True),
    ],
)
def test_a_loss_is_held_against_its_baselines(loss: float, baselines: dict[str, float], believed: bool) -> None:
    found = loss_floor(loss, baselines)
    assert (found is None) == believed
    if found is not None:
        assert found.severity == "alarm" and f"{loss:.4f}" in found.text
        assert all(f"{nats:.2f}" in found.text for nats in baselines.values())


def a_gap(excess: float, error: float) -> Gap:
    return Gap(validation=4.0, training=4.0 - excess, control=0.0, excess=excess, error=error, tokens=8192, freedom=10_000)


@pytest.mark.parametrize(
    ("excess", "error", "severity"),
    [
        (-0.4, 0.05, "alarm"),
        (-0.4, 0.1, None),
        (-0.05, 0.001, None),
        (0.0, 0.05, None),
        (0.3, 0.07, None),
        (0.7, 0.1, None),
        (1.2, 0.1, "note"),
    ],
)
def test_a_gap_is_judged_by_its_error_and_its_size(excess: float, error: float, severity: str | None) -> None:
    found = gap_finding(a_gap(excess, error))
    assert (found.severity if found else None) == severity


def test_an_easier_text_explains_a_gap() -> None:
    generator = np.random.default_rng(0)

    def side(difficulty: float, skill: float) -> tuple[DocumentLosses, Any]:
        sizes = generator.integers(200, 400, 40)
        bigram = sizes * (difficulty + generator.normal(0, 0.5, 40))
        nats = bigram - sizes * (skill + generator.normal(0, 0.05, 40))
        return DocumentLosses(nats=tuple(nats.tolist()), tokens=tuple(sizes.tolist()), bytes=tuple(sizes.tolist())), bigram

    validation, control = side(3.0, 1.0)
    training, easy = side(4.0, 1.0)
    found = gap_between(validation, training, control, easy)
    assert found.validation < found.training - 0.6 and abs(found.excess) < 0.1 and gap_finding(found) is None
    better, hard = side(3.0, 1.5)  # as hard for the bigram model as before, and half a nat better there
    wrong = gap_between(better, training, hard, easy)
    assert wrong.excess == pytest.approx(-0.5, abs=0.1) and wrong.error < 0.1
    assert gap_finding(wrong) is not None


@pytest.mark.parametrize(("nats", "share"), [(9.0, 0.0), (6.0, 0.0), (5.5, 0.25), (5.0, 0.5), (4.0, 1.0), (2.0, 1.0)])
def test_a_model_is_held_against_counts_that_know_as_much(nats: float, share: float) -> None:
    assert bigram_share(nats, np.array([6.0, 4.0])) == pytest.approx([1.0 - share, share])
    assert bigram_share(3.0, np.array([4.0, 4.5])) == pytest.approx([0.0, 1.0]), "better than both"
    assert bigram_share(9.0, np.array([4.0, 4.5])) == pytest.approx([1.0, 0.0])


def test_a_gap_is_a_score_with_its_interval() -> None:
    score = a_gap(-0.2, 0.05).score
    assert (score.value, score.low, score.high) == pytest.approx((-0.2, -0.298, -0.102), abs=1e-3)


def test_probed_windows_were_shown_and_the_control_knows_none_of_them(dataset: Dataset) -> None:
    windows = training_windows(dataset, 96, 5)
    for shown in (40, 700, windows.num_windows, 3 * windows.num_windows + 11):
        probed, others = shown_windows(windows, shown)
        seen = set(windows.starts(0, shown).tolist())
        assert set(probed.tolist()) <= seen and set(others.tolist()) <= seen and not set(probed) & set(others)
        assert 2 <= len(probed) <= 8192 // 96 and len(others) >= len(probed)
    assert np.ptp(probed) > 0.8 * len(windows.tokens), "from all over the text"
    few = Windows(np.arange(700, dtype=np.uint16), 96, 0)
    assert [len(part) for part in shown_windows(few, 3)] == [0, 3]


def test_the_gap_of_a_model_that_has_learnt_nothing_is_that_of_the_texts(model: Transformer, dataset: Dataset) -> None:
    documents = evaluate_loss(model, dataset, MANY)
    windows = training_windows(dataset, 96, 0)
    gap = measure_gap(model, dataset, MANY, documents, windows=windows, tokens=96 * 600)
    assert gap is not None and 4000 < gap.tokens <= 8192
    assert gap.validation == pytest.approx(loss_scores(documents)["val_loss"].value)
    assert gap.training == pytest.approx(gap.validation, abs=0.1), "about the logarithm of the vocabulary, both"
    assert gap.excess == pytest.approx(gap.validation - gap.training - gap.control)
    assert measure_gap(model, dataset, MANY, documents, windows=windows, tokens=96 * 3) is None


def test_a_metric_that_stands_still_is_told_only_where_training_moves() -> None:
    still, moving = [2.5] * 5, [4.0, 3.9, 3.8, 3.7]
    found = unmoved("validation loss", still, moving)
    assert found is not None and found.check == "constant" and "2.5 in all of 5" in found.text
    assert unmoved("validation loss", [2.5 + 1e-9, 2.5, 2.5, 2.5, 2.5 - 1e-9], moving) is not None
    assert unmoved("validation loss", [2.5, 2.5, 2.5, 2.5, 2.4999], moving) is None
    assert unmoved("validation loss", still[:4], moving) is None
    assert unmoved("validation loss", still, [4.0] * 4) is None, "the watch tells of a training loss that stands still"


def look(hits: str, variety: Sequence[float | None], entropy: float = 5.0, text: str = "return self") -> dict[str, Any]:
    return {
        "hits": hits,
        "variety": list(variety),
        "entropy": entropy,
        "real": {"distinct_1": 0.74, "distinct_2": 0.9, "entropy": 5.6},
        "sample": {"prompt": "", "text": text},
    }


def run_of(looks: list[dict[str, Any]], losses: list[float]) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    for number, (each, loss) in enumerate(zip(looks, losses, strict=True), 1):
        points += [{"tokens": 1000 * number, "loss": loss}, {"tokens": 1000 * number, "val_loss": loss + 0.1}]
        points.append({"tokens": 1000 * number, "generation": {**each, "entropy": each["entropy"] + 0.01 * number}})
    return points


def test_collapse_is_told_when_loss_fell_and_pairs_tell_the_samples_apart() -> None:
    fine, looping, varied = "0" * 32, "1" * 14 + "0" * 18, [0.7 + 0.01 * (n % 3) for n in range(32)]
    looks = [look(fine, varied), look(fine, varied), look(looping, varied, text="self.self.self")]
    (found,) = run_findings(run_of(looks, [4.0, 3.5, 3.0]))
    assert found.check == "collapse_while_falling" and "from 0 to 14 of 32" in found.text and "self.self" in found.text
    assert run_findings(run_of(looks, [4.0, 3.5, 4.2])) == (), "the loss rose as well"
    fewer = [*looks[:2], look("1" * 6 + "0" * 26, varied)]
    assert run_findings(run_of(fewer, [4.0, 3.5, 3.0])) == (), "chance"
    both_ways = [look("1" * 12 + "0" * 20, varied), look("0" * 12 + "1" * 17 + "0" * 3, varied)]
    assert run_findings(run_of(both_ways, [4.0, 3.0])) == (), "others than before"


def test_falling_diversity_is_told_when_it_is_below_real_text() -> None:
    rich: list[float | None] = [0.7 + 0.01 * (n % 7) for n in range(32)]
    poor: list[float | None] = [None, *[0.3 + 0.01 * (n % 5) for n in range(31)]]
    less: list[float | None] = [0.6 + 0.01 * (n % 7) for n in range(32)]
    zeros = "0" * 32
    (found,) = run_findings(run_of([look(zeros, rich), look(zeros, poor)], [4.0, 3.0]))
    assert found.check == "diversity" and "real text has 0.74" in found.text
    assert run_findings(run_of([look(zeros, rich), look(zeros, less)], [4.0, 3.0])) == (), "as an untrained model settles"
    unknown = [{name: value for name, value in look("", v).items() if name != "hits"} for v in (rich, poor)]
    assert [each.check for each in run_findings(run_of(unknown, [4.0, 3.0]))] == ["diversity"]
    assert run_findings(run_of([look(zeros, poor), look(zeros, rich)], [4.0, 3.0])) == ()


def test_generation_that_is_always_the_same_is_not_this_models() -> None:
    points = [
        point
        for number in range(1, 7)
        for point in (
            {"tokens": number, "loss": 5 - 0.1 * number},
            {"tokens": number, "val_loss": 5 - 0.1 * number},
            {"tokens": number, "generation": look("0" * 32, [0.7] * 32)},
        )
    ]
    assert [finding.check for finding in run_findings(points)] == ["constant"]
    assert run_findings([]) == run_findings(points[:3]) == ()


def test_false_alarms_of_a_run_without_trend_are_as_rare_as_is_said() -> None:
    generator = np.random.default_rng(7)
    alarms = 0
    for _ in range(300):
        chances = generator.beta(0.6, 2.0, 32)  # prompts differ
        looks = []
        for _ in range(10):
            hits = generator.random(32) < chances
            variety = generator.normal(0.5, 0.08, 32).round(3)  # below real text all the time
            looks.append(look("".join("01"[int(hit)] for hit in hits), variety.tolist()))
        alarms += bool(run_findings(run_of(looks, [5 - 0.1 * number for number in range(10)])))
    assert alarms / 300 <= 2 * FALSE_ALARM + 0.01


def outcome_with(**scores: Score) -> Outcome:
    return Outcome(kind="train", trial=0, attempt=0, rung=0, seconds=1.0, scores=scores, tokens=1000)


def test_an_outcome_is_judged_by_what_it_has() -> None:
    assert outcome_findings(outcome_with()) == ()
    low = dataclasses.replace(outcome_with(val_loss=Score.exact(0.3, "nats/token")), baselines={"bigram": 4.0})
    assert [finding.check for finding in outcome_findings(low)] == ["loss_floor"]
    assert [finding.check for finding in outcome_findings(low, a_gap(-1.0, 0.1))] == ["loss_floor", "gap"]


def test_rungs_with_the_same_losses_on_all_documents_measure_nothing() -> None:
    documents = DocumentLosses(nats=(30.0, 20.5), tokens=(10, 8), bytes=(30, 20))
    first = dataclasses.replace(outcome_with(), documents=documents)
    later = dataclasses.replace(first, rung=1, tokens=5000)
    assert [finding.check for finding in rung_findings((first, later))] == ["constant"]
    moved = dataclasses.replace(later, documents=dataclasses.replace(documents, nats=(30.0, 20.499999)))
    assert rung_findings((first, moved)) == rung_findings((first,)) == ()


@pytest.mark.parametrize(("name", "severity"), [("degeneration", "alarm"), ("collapse_rate", "note")])
def test_collapse_between_rungs(name: str, severity: str) -> None:
    def rung(loss: float, rate: tuple[float, float, float]) -> Outcome:
        low, value, high = rate
        scores = {
            "val_loss": Score.exact(loss, "nats/token"),
            name: Score(value=value, low=low, high=high, unit="share", n=99),
        }
        return outcome_with(**scores)

    (found,) = rung_findings((rung(4.0, (0.05, 0.1, 0.2)), rung(3.0, (0.25, 0.4, 0.5))))
    assert (found.check, found.severity) == ("collapse_while_falling", severity)
    assert rung_findings((rung(4.0, (0.05, 0.1, 0.2)), rung(3.0, (0.15, 0.3, 0.5)))) == (), "intervals meet"
    assert rung_findings((rung(4.0, (0.25, 0.4, 0.5)), rung(3.0, (0.05, 0.1, 0.2)))) == (), "it gets better"


def test_a_gap_whose_error_is_itself_a_guess_needs_to_be_wider() -> None:
    close = dataclasses.replace(a_gap(-0.5, 0.1), freedom=1000)
    assert gap_finding(close) is not None and gap_finding(dataclasses.replace(close, freedom=7)) is None
