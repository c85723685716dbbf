"""`autonas bench detectors`: the confusion matrix of the suite on the labelled set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autonas.bench.detectors import Labelled, confusion, measure, read_labelled
from autonas.cli import main
from autonas.evaluation.detectors import SUITE


def labelled(text: str, *, collapsed: bool) -> Labelled:
    return Labelled(text=text, collapsed=collapsed, family="x", why="x", origin="written", part="fresh")


def test_confusion_counts_each_kind_of_answer() -> None:
    samples = [labelled("a", collapsed=True)] * 5 + [labelled("b", collapsed=True)] * 2
    samples += [labelled("a", collapsed=False)] * 3 + [labelled("b", collapsed=False)] * 4
    found = confusion(samples, lambda text: text == "a")
    assert (found.true_positive, found.false_negative, found.false_positive, found.true_negative) == (5, 2, 3, 4)
    assert found.precision == (5, 8) and found.recall == (5, 7)


def test_the_rows_add_up_and_the_prior_rules_stand_beside() -> None:
    samples, found = read_labelled(), measure()
    rows = {row.metric: row for row in found.rows}
    assert len(rows) == len(found.rows)
    matrix = found.conditions["confusion"]
    called = matrix.true_positive, matrix.false_positive, matrix.false_negative, matrix.true_negative
    assert sum(called) == len(samples)
    assert rows["recall"].ours == matrix.true_positive / (matrix.true_positive + matrix.false_negative)
    assert len(found.conditions["wrong"]) == matrix.false_positive + matrix.false_negative
    for name in ("precision", "recall"):
        row, prior = rows[name], rows[f"{name} of the prior system's rules"]
        assert row.met and row.low is not None and row.ours is not None and prior.ours is not None
        assert row.low > prior.ours
    right = [row for row in found.rows if row.metric.startswith("right, ")]
    assert sum(int(row.note.split(" of ")[1]) for row in right) == len(samples)
    assert all(f"recall of {detector.name} alone" in rows for detector in SUITE)
    assert (rows["a text, mean"].ours or 0) > 0


def test_a_file_of_other_labels_is_read_as_it_stands(tmp_path: Path) -> None:
    row = {"text": "x\n", "collapsed": False, "family": "f", "why": "w", "origin": "written", "part": "fresh"}
    (tmp_path / "set.jsonl").write_text(json.dumps(row) + "\n")
    assert read_labelled(tmp_path / "set.jsonl") == [Labelled(**row)]  # type: ignore[arg-type]


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "detectors", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "detectors" and found["conditions"]["suite"] == "collapse-2"
    assert found["conditions"]["confusion"]["true_positive"] > 500
