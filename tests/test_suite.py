"""`autonas evaluate`: every part of it on a small run, no part twice, and two runs compared in pairs."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.errors import CorpusError, RequestError, ResourceError, StudyError
from autonas.evaluation.profile import ProfileSettings
from autonas.evaluation.sandbox import Sandbox
from autonas.pages.run_page import render_page
from autonas.reporting.evaluation import evaluation_tables, findings_of, text_lines
from autonas.run_folder import read_evaluation, run_budget
from autonas.suite.comparison import compare_runs, evaluated_parts, renew_comparisons
from autonas.suite.parts import PARTS
from autonas.suite.running import evaluate_run
from autonas.suite.subject import SuiteSettings
from autonas.worker import run_job
from tests.studies import SMALL_SPEC, small_job

ROOT = Path(__file__).parent.parent
QUICK = SuiteSettings(profile=ProfileSettings(temperatures=(0.0, 0.7), seeds=1, samples=1, prompts=4), latency_batch=1)


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


def trained(dataset: Dataset, folder: Path, **changes: Any) -> Path:
    job = small_job(dataset.ref, folder)
    evaluation = dataclasses.replace(job.evaluation, new_tokens=12)
    job = dataclasses.replace(
        job, kind="run", budget=run_budget(SMALL_SPEC, job.training, 24, 0.2), evaluation=evaluation, **changes
    )
    assert run_job(job).ok
    return folder


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which everything has been asked."""
    run = trained(dataset, tmp_path_factory.mktemp("runs") / "finished")
    evaluate_run(run, settings=QUICK)
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def forget(run: Path, *parts: str) -> None:
    values = read_evaluation(run)
    kept = {name: part for name, part in values["suite"].items() if name not in parts}
    (run / "evaluation.json").write_text(json.dumps({**values, "suite": kept}))


def test_every_part_has_its_result_and_its_table(finished: Path) -> None:
    values = read_evaluation(finished)
    assert list(values["suite"]) == list(PARTS)
    tables = evaluation_tables(values)
    assert {table.name for table in tables} >= set(PARTS) - {"corpus"}
    for table in tables:
        assert table.rows and {len(row) for row in table.rows} == {len(table.columns)}
    assert {"val_loss", "bits_per_byte", "calibrated_loss", "degeneration", "collapse_rate", "latency"} <= set(values["scores"])
    assert values["samples"] and values["tokens"] == 24 * 512, "what the run wrote itself is kept"
    assert any("Degeneration" in line for line in text_lines(values))


def test_what_was_asked_before_is_not_asked_again(run: Path) -> None:
    before = read_evaluation(run)
    said: list[str] = []
    assert evaluate_run(run, settings=QUICK, say=said.append) == before
    assert said == [f"{name}: done before" for name in PARTS]


def test_a_part_that_is_asked_something_else_is_done_again_and_no_other(run: Path) -> None:
    said: list[str] = []
    before = read_evaluation(run)["suite"]
    other = dataclasses.replace(QUICK, profile=dataclasses.replace(QUICK.profile, prompts=3))
    after = evaluate_run(run, settings=other, say=said.append)["suite"]
    assert set(PARTS) - {line.partition(":")[0] for line in said} == {"collapse"}
    assert {name: after[name] for name in PARTS if name != "collapse"} == {n: before[n] for n in PARTS if n != "collapse"}


def test_other_weights_are_another_run(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    other = trained(dataset, tmp_path / "other", seed=9)
    shutil.copy(other / "model.safetensors", run / "model.safetensors")
    said: list[str] = []
    evaluate_run(run, settings=QUICK, only=["loss"], say=said.append)
    assert not said
    assert read_evaluation(run)["scores"]["val_loss"] == read_evaluation(other)["scores"]["val_loss"]


def test_a_result_is_the_same_when_it_is_made_again(run: Path, finished: Path) -> None:
    parts = [name for name in PARTS if name not in ("latency", "coding")]
    after = evaluate_run(run, settings=QUICK, only=parts, again=True)["suite"]
    before = read_evaluation(finished)["suite"]
    assert {name: after[name]["result"] for name in parts} == {name: before[name]["result"] for name in parts}


def test_progress_is_told_and_ends(run: Path) -> None:
    told: list[tuple[str, int, int]] = []
    forget(run, "collapse")
    evaluate_run(run, settings=QUICK, only=["collapse"], on_part=lambda name, done, total: told.append((name, done, total)))
    assert {name for name, _, _ in told} == {"collapse"} and len(told) > 5
    assert told[-1][1] == told[-1][2] and all(done <= total for _, done, total in told)


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_and_ends_as_the_whole_one(finished: Path, tmp_path: Path) -> None:
    """kill -9, in a process of its own, three times; the parts that had ended are kept."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    forget(run, *PARTS)
    code = (
        "import sys; from pathlib import Path; from tests.test_suite import QUICK;"
        "from autonas.suite.running import evaluate_run;"
        "evaluate_run(Path(sys.argv[1]), settings=QUICK, only=['loss', 'calibration', 'token_classes', 'collapse'])"
    )
    chance = random.Random(0)
    kept = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", code, str(run)], cwd=ROOT)
        time.sleep(chance.uniform(2, 9))
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = len(read_evaluation(run)["suite"])
        assert done >= kept
        kept = done
    subprocess.run([sys.executable, "-c", code, str(run)], cwd=ROOT, check=True, timeout=300)
    before, after = read_evaluation(finished)["suite"], read_evaluation(run)["suite"]
    assert {name: part["result"] for name, part in after.items()} == {name: before[name]["result"] for name in after}
    assert len(after) == 4


def test_two_runs_are_compared_in_pairs(finished: Path, dataset: Dataset, tmp_path: Path) -> None:
    other = trained(dataset, tmp_path / "other", seed=9)
    with pytest.raises(StudyError, match="has not been evaluated; run `autonas evaluate"):
        compare_runs(finished, other)
    evaluate_run(other, settings=QUICK, only=["loss", "collapse"])
    forth, back = compare_runs(finished, other), compare_runs(other, finished)
    losses = [read_evaluation(run)["scores"]["val_loss"]["value"] for run in (finished, other)]
    assert forth["val_loss"]["value"] == pytest.approx(losses[0] - losses[1])
    assert forth["val_loss"]["value"] == pytest.approx(-back["val_loss"]["value"])
    assert len(forth["collapse"]) == len(back["collapse"]) > 10
    for one, two in zip(forth["collapse"], back["collapse"], strict=True):
        assert one["difference"]["value"] == -two["difference"]["value"]
        assert one["difference"]["p_value"] == pytest.approx(two["difference"]["p_value"])
    values = {**read_evaluation(finished), "comparisons": {"other": forth}}
    assert evaluation_tables(values)[-1].title == "Against other"
    itself = compare_runs(finished, finished)
    assert itself["val_loss"]["value"] == 0 and {row["difference"]["p_value"] for row in itself["collapse"]} == {1.0}


def test_wrong_requests_are_named(run: Path, dataset: Dataset, code_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="--only 'weather': there is no such part; choose of loss"):
        evaluate_run(run, only=["weather"])
    with pytest.raises(StudyError, match="is no run"):
        evaluate_run(tmp_path)
    job = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**job, "data": {**job["data"], "folder": str(tmp_path / "gone")}}))
    with pytest.raises(CorpusError, match="--space FILE"):
        evaluate_run(run)
    assert evaluate_run(run, settings=QUICK, only=["loss"], dataset=dataset)["suite"]
    other = prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=310))
    with pytest.raises(CorpusError, match="was trained on the data set"):
        evaluate_run(run, dataset=other)
    (run / "evaluation.json").write_text("{")
    with pytest.raises(StudyError, match=r"evaluation\.json: cannot be read"):
        evaluate_run(run, dataset=dataset)


def test_the_page_holds_everything_and_nothing_from_elsewhere(finished: Path) -> None:
    page = render_page(read_evaluation(finished), "finished")
    own = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert "http" not in own.replace("http-equiv", "") and "src=" not in own
    assert "default-src &#39;none&#39;" in own
    for table in evaluation_tables(read_evaluation(finished)):
        assert table.title in page
    hostile = {
        **read_evaluation(finished),
        "samples": [{"prompt": "<script>alert(1)</script>", "text": "", "kind": "bare", "detectors": []}],
    }
    shown = re.sub(r"<script.*?</script>", "", render_page(hostile, "<b>").partition("<main>")[2].partition("</main>")[0])
    assert "&lt;script&gt;alert(1)" in shown and "<script" not in render_page(hostile, "<b>").partition("</main>")[0]


def test_findings_come_from_training_and_evaluation_alarms_first() -> None:
    note = {"check": "a", "severity": "note", "text": "x"}
    alarm = {"check": "b", "severity": "alarm", "text": "y"}
    values = {"findings": [note], "suite": {"loss": {"result": {"findings": [alarm, note]}}}}
    assert [finding.check for finding in findings_of(values)] == ["b", "a"]


def test_the_alarms_of_a_run_count_what_its_training_was_alarmed_by(run: Path) -> None:
    values = read_evaluation(run)
    before = values["suite"]["plausibility"]["result"]["curve_alarms"]
    steep = {"check": "gradient_norm", "severity": "alarm", "text": "steep"}
    (run / "evaluation.json").write_text(json.dumps({**values, "findings": [*values["findings"], steep, steep]}))
    after = evaluate_run(run, settings=QUICK, only=["plausibility"], again=True)
    assert after["suite"]["plausibility"]["result"]["curve_alarms"] == before + 1


def test_a_machine_without_walls_leaves_coding_out_and_says_so(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**options: object) -> None:
        raise ResourceError("no user namespaces here")

    monkeypatch.setattr(Sandbox, "open", refuse)
    forget(run, "coding")
    said: list[str] = []
    values = evaluate_run(run, settings=QUICK, say=said.append)
    assert "coding" not in values["suite"] and values["missing"] == {"coding": "no user namespaces here"}
    assert said[-1] == "coding: not done here: no user namespaces here"
    assert "NOT DONE coding" in "\n".join(text_lines(values)) and "no user namespaces" in render_page(values, "run")
    with pytest.raises(ResourceError, match="no user namespaces"):
        evaluate_run(run, settings=QUICK, only=["coding"])
    monkeypatch.undo()
    assert evaluate_run(run, settings=QUICK)["missing"] == {}


def test_a_source_of_tasks_that_was_asked_before_is_not_asked_again(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    task = {
        "task_id": "HumanEval/0",
        "prompt": "def add(a, b):\n",
        "canonical_solution": "    return a + b\n",
        "entry_point": "add",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    }
    file.write_text(json.dumps(task) + "\n")
    before = read_evaluation(run)["suite"]["coding"]["result"]["reports"]
    both = dataclasses.replace(QUICK, tasks=("builtin", str(file)))
    reports = evaluate_run(run, settings=both, only=["coding"])["suite"]["coding"]["result"]["reports"]
    assert [report["num_tasks"] for report in reports] == [20, 1]
    assert reports[0] == before[0], "with the seconds that it took then"
    turned = dataclasses.replace(QUICK, tasks=(str(file), "builtin"))
    assert evaluate_run(run, settings=turned, only=["coding"])["suite"]["coding"]["result"]["reports"] == reports[::-1]
    anew = evaluate_run(run, settings=both, only=["coding"], again=True)["suite"]["coding"]["result"]["reports"]
    assert anew != reports and [report["model"] for report in anew] == [report["model"] for report in reports]


def test_a_comparison_follows_when_either_is_evaluated_again(run: Path, dataset: Dataset, tmp_path: Path) -> None:
    other = trained(dataset, tmp_path / "other", seed=9)
    evaluate_run(other, settings=QUICK, only=["loss", "collapse"])
    made, said = {str(other): compare_runs(run, other)}, list[str]()
    assert renew_comparisons(run, made, said.append) == made and not said
    shutil.copy(run / "model.safetensors", other / "model.safetensors")
    evaluate_run(other, settings=QUICK, only=["loss", "collapse"])
    renewed = renew_comparisons(run, made, said.append)
    assert renewed[str(other)]["val_loss"]["value"] == 0.0 != made[str(other)]["val_loss"]["value"]
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    run, other = Path(shutil.move(run, moved / run.name)), Path(shutil.move(other, moved / other.name))
    assert renew_comparisons(run, renewed, said.append) == renewed, "the two have moved together"
    other.rename(other.with_name("gone"))
    assert renew_comparisons(run, renewed, said.append) == renewed and not said, "what was measured still holds"
    shutil.copy(trained(dataset, tmp_path / "third", seed=3) / "model.safetensors", run / "model.safetensors")
    evaluate_run(run, settings=QUICK, only=["loss"])
    with pytest.raises(StudyError, match="has other weights since part of it was evaluated"):
        evaluated_parts(run)
    evaluate_run(run, settings=QUICK, only=["collapse"])
    assert renew_comparisons(run, renewed, said.append) == {} and "that one is not there" in said[0]
