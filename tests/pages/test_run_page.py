"""A run's page: while it is trained, at its end, of an earlier version, with hostile texts; its figures and its exports."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest

from autonas.api import report_run
from autonas.curriculum import Curriculum, Stage
from autonas.figures.run import run_figures
from autonas.policy.prediction import Interval, Predicted
from autonas.reporting.run_facts import export_table, exports_of, final_score, predicted_score, weights_digest
from autonas.reporting.run_so_far import run_so_far
from autonas.run_folder import EXPORTS, claim, keep_export, read_exports
from autonas.trial import TuningSettings, to_json
from tests.reporting.runs import CURVE, STEP, TOTAL, probed, run_job_of, trained, write_run

HOSTILE = '</script><img src=x onerror="alert(1)"><b>&amp;%{x}\x1b[31m\u202e'
SCORE = {"value": 4.0, "low": 3.9, "high": 4.1, "unit": "nats/token", "n": 9, "note": ""}
PARITY = {
    "runtime": "transformers 5.23.0",
    "largest_difference": 5.7e-06,
    "tolerance": 3.1e-4,
    "tokens_compared": 256,
    "near_ties": [{"prompt": 1, "token": 3, "margin": 1e-5}],
    "texts": 10,
    "note": "",
}
EXPORT = {"exported_at": "2026-11-23T10:00:00+00:00", "format": "hf", "weights": "0" * 16, "parity": PARITY, "int8": None}


class Outline(html.parser.HTMLParser):
    """What a page is made of, as a browser would see it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def figures_in(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    figures: dict[str, Any] = json.loads(found[1])["figures"]
    return figures


def numbers(values: Any) -> list[float]:
    if isinstance(values, dict):
        return [number for inner in values.values() for number in numbers(inner)]
    if isinstance(values, list):
        return [number for inner in values for number in numbers(inner)]
    return [values] if isinstance(values, int | float) else []


def suite() -> dict[str, Any]:
    """Parts of an evaluation that have figures, in the form that `autonas evaluate` leaves."""
    rate = {"value": 0.2, "low": 0.1, "high": 0.35}
    row = {"prompts": "context", "temperature": 0.7, "matched_entropy": None, "empty": 0.0, "hits": {"degeneration": [[0, 1]]}}
    rates = {"degeneration": rate, "collapse_rate": rate, "collapse_prior": rate}
    rows = [{**row, "context_tokens": length, "rates": rates} for length in (16, 64, 256)]
    each = {"share": 0.4, "loss_share": 0.3, "loss": SCORE, "unigram": 7.0, "bigram": 5.0, "kind": 6.0}
    calibration = {
        "raw": {**SCORE, "note": "temperature fitted; 9 documents"},
        "calibrated": {**SCORE, "value": 3.95},
        "gain": {**SCORE, "value": 0.05, "low": 0.01, "high": 0.09},
        "temperatures": [1.1, 1.12],
        "entropy": 4.2,
        "excess_entropy": 0.2,
    }
    parts = {
        "collapse": {"rows": rows},
        "token_classes": {"classes": [{**each, "name": name} for name in ("name", "a<b>")], "groups": []},
        "calibration": calibration,
    }
    return {name: {"asked": "", "weights": "0" * 16, "result": result} for name, result in parts.items()}


def test_every_series_of_the_curve_is_drawn_from_the_lines_of_the_run(tmp_path: Path) -> None:
    page = report_run(write_run(tmp_path / "run", CURVE)).read_text()
    figures = figures_in(page)
    assert set(figures) == {"loss", "learning_rate", "gradient_norm", "tokens_per_s", "looks"}
    (training,) = (trace for trace in figures["loss"]["data"] if trace.get("name") == "training")
    steps = [line for line in CURVE if "loss" in line]
    assert training["x"] == [line["tokens"] for line in steps]
    assert training["y"] == pytest.approx([line["loss"] for line in steps])
    (validation,) = (trace for trace in figures["loss"]["data"] if trace.get("name") == "validation")
    assert validation["y"] == [5.6, 5.1, 5.3]
    (best,) = (trace for trace in figures["loss"]["data"] if trace.get("name") == "lowest")
    assert (best["x"], best["y"]) == ([20 * STEP], [5.1])
    ends = [figure["layout"]["xaxis"]["range"][1] for figure in figures.values()]
    assert all(TOTAL < end < 1.05 * TOTAL for end in ends), "its axis is the whole run, and the end is not cut off"
    back = [shape for shape in figures["loss"]["layout"]["shapes"] if shape["x0"] == 20 * STEP]
    assert len(back) == 1
    assert [shape["x0"] for shape in figures["loss"]["layout"]["shapes"]] == [80 * STEP, 20 * STEP], "the cooldown's, too"


def test_what_is_not_there_yet_is_told_in_words(tmp_path: Path) -> None:
    page = report_run(write_run(tmp_path / "run", [])).read_text()
    assert figures_in(page) == {}
    for words in ("Nothing has been written", "It has written nothing yet", "nothing is written yet", "has not been exported"):
        assert words in page
    assert "not at its end" in page
    old = [{"tokens": step * STEP, "loss": 5.0 - 0.1 * step} for step in range(1, 9)]
    page = report_run(write_run(tmp_path / "old", old)).read_text()
    assert set(figures_in(page)) == {"loss"}
    assert page.count("it was not recorded") == 3


def test_the_evaluation_has_its_figures_and_their_tables(tmp_path: Path) -> None:
    evaluation = {"scores": {"val_loss": SCORE}, "suite": suite()}
    page = report_run(write_run(tmp_path / "run", CURVE, evaluation)).read_text()
    figures = figures_in(page)
    assert {"collapse", "token_classes", "calibration"} <= set(figures)
    drawn = figures["collapse"]["data"][0]
    assert (drawn["x"], drawn["y"]) == ([16, 64, 256], [0.2, 0.2, 0.2])
    assert drawn["error_y"]["array"] == pytest.approx([0.15] * 3) and drawn["error_y"]["arrayminus"] == pytest.approx([0.1] * 3)
    names = figures["token_classes"]["data"][0]["y"]
    assert "a&lt;b&gt;" in names, "a class is no markup in a drawing"
    for label in ("Degeneration by length of context", "Loss by token class with 95 % intervals"):
        assert label in page


def test_a_prediction_stands_where_the_run_ends_and_what_came_beside_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CURVE)
    foretold = Predicted(
        value=4.4,
        intervals=(Interval(level=0.8, low=4.2, high=4.6), Interval(level=0.95, low=4.0, high=4.9)),
        unit="nats/token",
        basis="curves",
    )
    (run / "prediction.json").write_text(json.dumps({"val_loss": to_json(foretold), "text": "It will."}))
    assert predicted_score(run) == foretold
    figures = figures_in(report_run(run).read_text())
    bars = [trace for trace in figures["loss"]["data"] if trace["x"] == [TOTAL, TOTAL]]
    assert [trace["y"] for trace in bars] == [[4.2, 4.6], [4, 4.9]]
    low, high = figures["loss"]["layout"]["yaxis"]["range"]
    assert low < 4.0 and high > 4.9, "nothing of it is cut off"
    (run / "prediction.json").write_text("{")
    assert predicted_score(run) is None and report_run(run)
    assert final_score({"scores": {"val_loss": {"value": 1}}}) is None


def test_stages_are_marked_where_they_begin_and_listed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stages = (Stage(share=0.25), Stage(share=0.75, sources=((HOSTILE, 1.0),)))
    claim(dataclasses.replace(run_job_of(folder), curriculum=Curriculum(stages=stages)))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(trained(step, 5.0)) + "\n" for step in range(1, 9)))
    page = report_run(folder).read_text()
    for figure in figures_in(page).values():
        marks = {note["text"]: note["x"] for note in figure["layout"]["annotations"]}
        assert marks == {"stage 2": 0.25 * TOTAL, "cooldown": 80 * STEP}
    assert "Stages of the curriculum" in page and Outline(page).of("img") == []


def test_a_tuned_run_is_judged_by_solutions_and_names_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "tuned"
    tuning = TuningSettings(
        base="/elsewhere/base",
        base_weights="1" * 16,
        data="/elsewhere/data.jsonl",
        data_digest="2" * 16,
        method="lora",
        steps=20,
        learning_rate=1e-3,
        probe_steps=5,
    )
    claim(dataclasses.replace(run_job_of(folder), kind="tune", tuning=tuning))
    looks = {"solution_loss": 2.0, "solution_low": 1.9, "solution_high": 2.2}
    for step in range(1, 11):
        line = {**trained(step, 3.0 - 0.1 * step), "step": step}
        more = [{"tokens": step * STEP, "step": step, **looks}] if step % 5 == 0 else []
        with (folder / "metrics.jsonl").open("a") as file:
            file.writelines(json.dumps(each) + "\n" for each in (line, *more))
    page = report_run(folder).read_text()
    figures = figures_in(page)
    (validation,) = (trace for trace in figures["loss"]["data"] if trace.get("name") == "validation")
    assert validation["y"] == [2, 2] and "solutions that were set aside" in page
    assert figures["loss"]["layout"].get("shapes", []) == [], "the base's cooldown is not its own"
    assert "elsewhere" not in page and "lora" in page


def test_an_export_is_told_with_its_differences_and_one_of_other_weights_apart(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", CURVE, {"scores": {"val_loss": SCORE}})
    assert exports_of(run) is None
    (run / "model.safetensors").write_bytes(b"weights")
    keep_export(run, EXPORT)
    small = {"difference": {"value": 0.0011, "low": 0.0002, "high": 0.0019, "unit": "nats/token", "n": 9, "note": ""}}
    keep_export(run, {**EXPORT, "format": "onnx", "weights": weights_digest(run), "int8": small})
    table = exports_of(run)
    assert table is not None
    latest, first = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (latest["format"], first["format"]) == ("onnx", "hf"), "the latest first"
    assert (latest["weights"], first["weights"]) == ("these", "others: the run has changed since")
    assert (first["logits within"], first["allowed"]) == ("5.7e-06", "3.1e-04")
    assert (first["tokens alike"], first["near ties"]) == ("256", "1")
    assert "+0.0011" in latest["int8: loss over float32"] and first["int8: loss over float32"] == "none was made"
    page = report_run(run).read_text()
    assert "transformers 5.23.0" in page and "has not been exported" not in page


DAMAGED = ["", "{", "[1]\n", '{"parity": 3}\n', '{"parity": {"texts": "x", "near_ties": 1}, "int8": {}}\n']


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_record_of_exports_neither_hides_the_others_nor_stops_the_page(tmp_path: Path, damage: str) -> None:
    run = write_run(tmp_path / "run", CURVE)
    (run / EXPORTS).write_text(damage)
    keep_export(run, EXPORT)
    assert read_exports(run)[-1] == EXPORT, "a torn line does not swallow the next"
    assert "5.7e-06" in report_run(run).read_text()
    assert export_table([]) is None


def test_hostile_texts_are_text_everywhere(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "<b>run&",
        [trained(1, 5.0), trained(2, 4.0), probed(2, 4.5, 0.5, HOSTILE), {"tokens": 2 * STEP, "rollback": HOSTILE}],
        {
            "scores": {"val_loss": {**SCORE, "note": HOSTILE}},
            "samples": [{"prompt": HOSTILE, "text": HOSTILE, "kind": "bare", "detectors": [HOSTILE]}],
            "checks": {HOSTILE: HOSTILE},
            "findings": [{"check": HOSTILE, "severity": "alarm", "text": HOSTILE}],
            "environment": {HOSTILE: HOSTILE},
            "missing": {HOSTILE: HOSTILE},
        },
    )
    keep_export(run, {**EXPORT, "format": HOSTILE, "parity": {**PARITY, "runtime": HOSTILE, "note": HOSTILE}})
    page = report_run(run).read_text()
    outline = Outline(page)
    assert outline.of("img") == [] and outline.of("b") == []
    assert "\x1b" not in page and "\u202e" not in page
    assert not [attributes for _, attributes in outline.elements if any(name.startswith("on") for name in attributes)]


def test_a_reader_of_the_screen_finds_names_for_everything(tmp_path: Path) -> None:
    page = report_run(write_run(tmp_path / "run", CURVE, {"scores": {"val_loss": SCORE}, "suite": suite()})).read_text()
    outline = Outline(page)
    drawn = [attributes for attributes in outline.of("div") if attributes.get("class") == "plotly"]
    assert {attributes["data-figure"] for attributes in drawn} == set(figures_in(page)), "each figure has its place"
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in drawn)
    assert len(outline.of("caption")) == len(outline.of("table"))
    assert all("scope" in attributes for attributes in outline.of("th"))
    targets = {str(attributes["href"])[1:] for attributes in outline.of("a")}
    assert targets <= {attributes.get("id") for _, attributes in outline.elements}
    assert len({a["id"] for _, a in outline.elements if "id" in a}) == sum("id" in a for _, a in outline.elements)


def test_the_same_run_gives_the_same_bytes_and_every_number_of_a_figure_is_finite(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [*CURVE, trained(41, 1e9)], {"scores": {"val_loss": SCORE}, "suite": suite()})
    page = report_run(run).read_text()
    assert page == report_run(run).read_text()
    assert all(abs(number) < 1e12 for number in numbers(figures_in(page)))
    assert run_figures(run_so_far(run), {"suite": {"collapse": {"asked": "", "result": {"rows": [{}]}}}}).keys() == {
        "loss",
        "learning_rate",
        "gradient_norm",
        "tokens_per_s",
        "looks",
    }, "a part of another version has no figure"
