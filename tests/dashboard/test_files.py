"""A trial's files hold what its record holds, and nothing that could act."""

from __future__ import annotations

import csv
import dataclasses
import io
from xml.etree import ElementTree

import pytest

from autonas.dashboard.files import FILES, curve_csv, curve_svg, samples_text
from autonas.trial import Sample, TrialRecord
from tests.reporting.studies import make_study

TRIALS = [trial for trial in make_study().trials if trial.rungs]


@pytest.mark.parametrize("trial", TRIALS[:6], ids=lambda trial: str(trial.number))
def test_the_table_has_every_point_of_the_record(trial: TrialRecord) -> None:
    rows = list(csv.DictReader(io.StringIO(curve_csv(trial))))
    told = [(int(r["rung"]), int(r["tokens"]), float(r["training_loss"])) for r in rows if r["training_loss"]]
    points = [(outcome.rung, tokens, loss) for outcome in trial.rungs for tokens, loss in outcome.curve]
    assert [point[:2] for point in told] == [point[:2] for point in points]
    assert [point[2] for point in told] == pytest.approx([point[2] for point in points], rel=1e-5)
    scored = [r for r in rows if r["validation_loss"]]
    assert [int(r["tokens"]) for r in scored] == [outcome.tokens for outcome in trial.rungs]
    for row, outcome in zip(scored, trial.rungs, strict=True):
        score = outcome.scores["val_loss"]
        values = (float(row[f"validation_{name}"]) for name in ("loss", "low", "high"))
        assert tuple(values) == pytest.approx((score.value, score.low, score.high), rel=1e-5)


@pytest.mark.parametrize("trial", TRIALS[:6], ids=lambda trial: str(trial.number))
def test_the_drawing_is_numbers_within_its_frame(trial: TrialRecord) -> None:
    root = ElementTree.fromstring(curve_svg(trial))
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "rect", "text", "path", "polyline"}
    lines = [element for element in root.iter() if element.tag.endswith("polyline")]
    assert [len(line.attrib["points"].split()) for line in lines] == [len(outcome.curve) for outcome in trial.rungs]
    for line in lines:
        places = [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]
        assert all(0 <= x <= 720 and 0 <= y <= 400 for x, y in places)
        assert [x for x, _ in places] == sorted(x for x, _ in places), "tokens go to the right"
    values = [f"{outcome.scores['val_loss'].value:.3f}" for outcome in trial.rungs]
    assert set(values) <= {element.text for element in root.iter()}


def test_a_curve_of_one_point_or_none_is_still_a_drawing() -> None:
    trial = TRIALS[0]
    for curve in ((), ((4096, 5.0),)):
        short = dataclasses.replace(trial, rungs=(dataclasses.replace(trial.rungs[0], curve=curve),))
        root = ElementTree.fromstring(curve_svg(short))
        assert f"{trial.rungs[0].scores['val_loss'].value:.3f}" in {element.text for element in root.iter()}, (
            "its score is there"
        )


def test_samples_are_told_whole_line_by_line_and_visibly() -> None:
    trial = next(trial for trial in TRIALS if trial.rungs[-1].samples)
    hostile = Sample(prompt="def f(", text="</script>\n\x1b[31m\u202e<b>\n── 2 · forged", kind="bare", detectors=("loop",))
    last = dataclasses.replace(trial.rungs[-1], samples=(hostile, *trial.rungs[-1].samples))
    text = samples_text(dataclasses.replace(trial, rungs=(*trial.rungs[:-1], last)))
    lines = text.split("\n")
    heads = [line for line in lines if line.startswith("── ")]
    assert len(heads) == len(last.samples), "no sample can forge another"
    assert heads[0] == "── 1 · bare · DEGENERATE (loop)"
    assert "\x1b" not in text and "\u202e" not in text and "┃ ␛[31m\ufffd<b>" in lines
    shown = [line.removeprefix("┃ ") for line in lines if line.startswith("┃ ")]
    assert len(shown) == sum(len(sample.text.split("\n")) for sample in last.samples)


def test_a_trial_without_a_score_has_no_file() -> None:
    for trial in make_study().trials:
        found = [file.name for file in FILES if file.is_there(trial)]
        assert bool(found) == bool(trial.rungs)
        assert all(file.render(trial) for file in FILES if file.is_there(trial))


def test_no_file_is_of_a_type_that_runs() -> None:
    assert [file.type.partition(";")[0] for file in FILES] == ["image/svg+xml", "text/csv", "text/plain"]
