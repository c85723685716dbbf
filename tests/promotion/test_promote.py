"""A promotion from a real small study to a model that writes code: the job, interruptions, mistakes."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

import autonas
from autonas import cli
from autonas.engine.base import JobProgress
from autonas.engine.choice import EngineSettings
from autonas.engine.inline import InlineEngine
from autonas.errors import StudyError, TrialFailure
from autonas.ledger import Ledger, study_lease
from autonas.promotion.execution import carry_out, promote_command
from autonas.promotion.promote import plan_promotion, preference
from autonas.promotion.select import Preference
from autonas.recipe import PromoteSettings, load_recipe
from autonas.run_folder import run_tokens
from autonas.study.files import request_cancel
from autonas.trial import Job, Outcome
from tests.promotion.conftest import INLINE, STEP, STEPS, Run
from tests.studies import write_space


def scores(run: Path) -> dict[str, Any]:
    values = json.loads((run / "evaluation.json").read_text())["scores"]
    return {name: score for name, score in values.items() if "latency" not in name}


def test_the_knee_is_trained_with_the_studys_settings_and_seeds_of_its_own(study: Path) -> None:
    record = autonas.read_study("small")
    knee = next(entry for entry in autonas.front("small") if entry["knee"])
    seen: list[tuple[int, int]] = []
    run = autonas.promote(
        "small", steps=STEPS, engine=INLINE, on_progress=lambda step, total: seen.append((step.tokens, total))
    )
    assert run == study / "runs" / f"{knee['trial']}-{knee['fingerprint'][:8]}-{STEPS}"
    assert seen[-1] == (STEPS * STEP, STEPS * STEP)
    job = json.loads((run / "run.json").read_text())
    assert job["kind"] == "run"
    assert job["spec"] == knee["spec"]
    assert job["data"]["fingerprint"] == record.attributes["data"]["fingerprint"]
    own = [json.loads(path.read_text()) for path in (study / "jobs").glob("*-train-*.json")]
    assert job["training"] == own[0]["training"]
    assert job["evaluation"] == own[0]["evaluation"]
    assert {job["seed"], job["data_seed"]}.isdisjoint({each["seed"] for each in own} | {each["data_seed"] for each in own})
    picked = json.loads((run / "promotion.json").read_text())
    assert picked["trial"] == knee["trial"]
    assert picked["method"] == "knee"
    assert "knee" in picked["reason"]
    (remembered,) = autonas.read_study("small").attributes["promotions"]
    assert (remembered["trial"], remembered["folder"], remembered["steps"]) == (knee["trial"], str(run), STEPS)
    loaded = autonas.load(run, device="cpu")
    assert loaded.spec.fingerprint == knee["fingerprint"]


def test_a_calibrated_rate_is_the_runs(study: Path) -> None:
    record = autonas.read_study("small")
    calibrated = dataclasses.replace(record, attributes={**record.attributes, "calibration": {"chosen": 3e-3}})
    plan = plan_promotion(calibrated, preference(None), study_folder=study, steps=STEPS)
    assert plan.job.training.learning_rate == 3e-3
    assert plan_promotion(record, preference(None), study_folder=study).job.training.learning_rate == 1.5e-3


def test_a_dry_run_says_what_would_be_done_and_does_nothing(study: Path, run: Run) -> None:
    before = sorted(str(path) for path in study.rglob("*"))
    code, out, _ = run("promote", "small", "--engine", "inline", "--steps", "2000", "--dry-run")
    assert code == 0
    assert "is the knee" in out
    assert "2,000 steps, 1.02 M tokens" in out
    assert "epochs over the corpus" in out
    assert "on this machine" in out
    code, out, _ = run("promote", "small", "--engine", "inline", "--dry-run", "--json", "--select", "val_loss")
    said = json.loads(out)
    assert said["method"] == "val_loss"
    assert said["steps"] == 50_000
    assert said["tokens"] == 50_000 * STEP
    assert said["seconds"] > 0
    best = min(autonas.front("small"), key=lambda entry: entry["scores"]["val_loss"]["value"])
    assert said["trial"] == best["trial"]
    assert sorted(str(path) for path in study.rglob("*") if path.name != "lease") == [p for p in before if "lease" not in p]


def test_the_predicted_time_follows_the_steps(study: Path) -> None:
    seconds = [autonas.propose_promotion("small", steps=steps, engine=INLINE).seconds for steps in (10_000, 20_000, 40_000)]
    assert all(value is not None for value in seconds)
    short, middle, long = [value for value in seconds if value is not None]
    assert (long - middle) == pytest.approx(2 * (middle - short))
    shutil.rmtree(study / "metrics")  # searched on another machine: the study's own forecast stands in
    fallen_back = [autonas.propose_promotion("small", steps=steps, engine=INLINE).seconds for steps in (10_000, 20_000)]
    assert fallen_back[0]
    assert fallen_back[1] == pytest.approx(2 * fallen_back[0])


def test_the_command_trains_and_its_run_writes_code(study: Path, run: Run) -> None:
    code, out, err = run("promote", "small", "--engine", "inline", "--steps", str(STEPS), "--out", "winner")
    assert code == 0, err
    assert err.index("is the knee") < err.index("100%"), "the reason comes first"
    assert "val_loss" in out
    assert "run: winner" in out
    code, out, _ = run("generate", "winner", "--prompt", "def f(", "--max-tokens", "8")
    assert code == 0
    assert out.startswith("def f(")
    code, out, _ = run("promote", "small", "--engine", "inline", "--out", "winner", "--resume", "--json")
    assert code == 0
    assert json.loads(out)["run"] == "winner"


def test_tokens_are_written_as_they_come(study: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    autonas.promote("small", steps=STEPS, engine=INLINE, run="winner")
    from autonas.model.rows import Rows

    written: list[str] = []
    advance = Rows.advance
    seen: list[int] = []

    def watched(rows: Rows) -> list[Any]:
        seen.append(len("".join(written)))
        return list(advance(rows))

    monkeypatch.setattr(Rows, "advance", watched)
    monkeypatch.setattr(sys.stdout, "write", written.append)
    assert cli.main(["generate", "winner", "--prompt", "def f(", "--max-tokens", "20", "--temperature", "0"]) == 0
    assert seen[0] == len("def f(")
    assert sum(later > earlier for earlier, later in itertools.pairwise(seen)) > 5, "text grows between two tokens"


def state_told(*parts: str) -> bool:
    command = [sys.executable, "-m", "autonas", "status", "small"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    unwrapped = " ".join(told.replace("\\\n", " ").split())
    return all(part in unwrapped for part in parts)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_promotion_killed_in_the_middle_and_resumed_is_the_whole_one(study: Path, run: Run, number: int) -> None:
    steps = 500
    whole = autonas.promote("small", steps=steps, engine=INLINE, run="whole")
    command = [sys.executable, "-m", "autonas", "promote", "small", "--engine", "inline", "--steps", str(steps)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        logs = list(study.glob("runs/*/metrics.jsonl"))
        if logs and logs[0].stat().st_size > 8_000:
            break
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130, err
        assert "go on with: autonas promote small --engine inline --resume" in err
        assert list(study.glob("runs/*/checkpoints/last.safetensors")), "the last step was saved"
    assert state_told(f"interrupted, in {study / 'runs'}", "autonas promote small --resume --out ")
    told: list[int] = []
    resumed = autonas.promote("small", resume=True, engine=INLINE, on_progress=lambda step, total: told.append(step.tokens))
    assert state_told("ended, in ")
    if number == signal.SIGINT:
        assert told[0] > STEP, "it did not begin again"
    assert scores(resumed) == scores(whole)


def test_a_resumed_run_cannot_change(study: Path) -> None:
    def interrupt(step: JobProgress, total: int) -> None:
        if step.tokens >= 5 * STEP:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        autonas.promote("small", steps=STEPS, engine=INLINE, on_progress=interrupt)
    for changes, complaint in (
        ({"steps": 31}, r"begun with --steps 30 and cannot go on with 31"),
        ({"trial": 99}, r"begun with --trial \d+ and cannot go on with 99"),
        ({"select": "params"}, "leave out --select"),
        ({"limits": {"params": 1e6}}, "leave out --select"),
        ({"run": "nowhere"}, "nowhere holds no run to go on with"),
    ):
        with pytest.raises(StudyError, match=complaint):
            autonas.promote("small", resume=True, engine=INLINE, **changes)
    with pytest.raises(StudyError, match="holds a run already"):
        autonas.promote("small", steps=STEPS, engine=INLINE)
    assert autonas.promote("small", resume=True, steps=STEPS, engine=INLINE)
    with pytest.raises(StudyError, match="holds no run to go on with"):
        autonas.promote("small", resume=True, engine=INLINE)


def test_of_several_unfinished_runs_one_must_be_named(study: Path) -> None:
    def interrupt(step: JobProgress, total: int) -> None:
        raise KeyboardInterrupt

    for steps in (30, 31):
        with pytest.raises(KeyboardInterrupt):
            autonas.promote("small", steps=steps, engine=INLINE, on_progress=interrupt)
    with pytest.raises(StudyError, match=r"several runs have not ended: .*-30, .*-31\. Name one with --out"):
        autonas.promote("small", resume=True, engine=INLINE)


def test_a_corpus_that_has_changed_is_refused(study: Path) -> None:
    record = autonas.read_study("small")
    data = {**record.attributes["data"], "fingerprint": "other"}
    changed = dataclasses.replace(record, attributes={**record.attributes, "data": data})
    with pytest.raises(StudyError, match="corpus of the study 'small' has changed: it was other"):
        plan_promotion(changed, preference(None), study_folder=study)


def test_a_study_at_work_elsewhere_is_left_alone(study: Path) -> None:
    said: list[str] = []
    with study_lease("small", study):
        run = autonas.promote("small", steps=STEPS, engine=INLINE, say=said.append)
    assert (run / "promotion.json").exists()
    assert "promotions" not in autonas.read_study("small").attributes
    assert any("at work in another process" in line for line in said)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["none"], "no study"),
        (["small", "--trial", "77"], "--trial 77: the study 'small' has"),
        (["small", "--trial", "-1"], "not the number of a trial"),
        (["small", "--trial", "x"], "not the number of a trial"),
        (["small", "--trial", "0", "--select", "params", "--dry-run"], "leave out --trial"),
        (["small", "--trial", "0", "--weight", "val_loss=2", "--dry-run"], "leave out --trial"),
        (["small", "--select", "speed"], "choose knee or an objective"),
        (["small", "--limit", "params"], "write a name and a number"),
        (["small", "--limit", "params=1KB"], "suffix"),
        (["small", "--limit", "parms=1M"], "did you mean 'params'"),
        (["small", "--limit", "params=1M", "--limit", "params=2M"], "given twice"),
        (["small", "--limit", "params=-5"], "out of range"),
        (["small", "--limit", "params=10"], "nearest is trial"),
        (["small", "--weight", "val_loss=nan"], "not a finite number"),
        (["small", "--weight", "latency=2"], "is no objective of the study"),
        (["small", "--steps", "0"], "at least 1"),
        (["small", "--resume", "--dry-run"], "leave out --resume"),
        (["small", "--device", "cuda:99", "--steps", "1"], "cuda"),
        (["../small"], "cannot be the name of a folder"),
        (["small", "--out", "small.yaml/run", "--steps", "1"], "small.yaml/run"),
    ],
)
def test_wrong_requests_are_one_message(study: Path, run: Run, arguments: list[str], complaint: str) -> None:
    code, out, err = run("promote", *arguments, "--engine", "inline")
    assert code == 2
    assert out == ""
    last = err.strip().splitlines()[-1]
    assert last.startswith("autonas: ")
    assert complaint in last
    assert "Traceback" not in err


def test_a_search_with_a_promotion_ends_in_a_run(study: Path, run: Run) -> None:
    text = Path("small.yaml").read_text() + f"promote: {{select: params, steps: {STEPS}}}\n"
    Path("small.yaml").write_text(text)
    again = ("search", "--space", "small.yaml", "--engine", "inline", "--resume")
    code, out, err = run(*again, "--no-promote")
    assert code == 0, err
    assert not (study / "runs").exists()
    assert f"promotion: Trial {autonas.propose_promotion('small', engine=INLINE).pick.trial} is the best in params" in out
    assert "start it with: autonas promote small --engine inline" in out
    code, out, err = run(*again)
    assert code == 0, err
    (folder,) = (study / "runs").iterdir()
    assert json.loads((folder / "promotion.json").read_text())["method"] == "params"
    assert f"run: {folder}" in out
    before = (folder / "model.safetensors").stat().st_mtime_ns
    code, out, err = run(*again)
    assert code == 0
    assert "was promoted before" in err
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_search_goes_on_with_its_promotion(study: Path) -> None:
    recipe = load_recipe("small.yaml")
    Path("small.yaml").write_text(Path("small.yaml").read_text() + f"promote: {{steps: {STEPS}}}\n")
    recipe = load_recipe("small.yaml")

    def interrupt(step: JobProgress, total: int) -> None:
        raise KeyboardInterrupt

    (study / "marker").touch()
    with pytest.raises(KeyboardInterrupt):
        autonas.promote("small", steps=STEPS, engine=INLINE, on_progress=interrupt)
    record = autonas.search(recipe, resume=True, engine=INLINE)
    (folder,) = (study / "runs").iterdir()
    assert (folder / "evaluation.json").exists()
    assert len(record.attributes["promotions"]) == 1


def test_a_search_without_a_promotion_says_what_one_would_do(study: Path, run: Run) -> None:
    code, out, _ = run("search", "--space", "small.yaml", "--engine", "inline", "--resume")
    assert code == 0
    assert "promotion: Trial" in out
    assert "50,000 steps" in out
    assert not (study / "runs").exists()
    code, out, _ = run("search", "--space", "small.yaml", "--engine", "inline", "--resume", "--json")
    assert json.loads(out), "one document and nothing else"


def test_the_command_that_goes_on_with_a_promotion_names_where_its_study_is_kept(study: Path, run: Run) -> None:
    url = f"sqlite:///{Path.cwd()}/study.db"
    recipe = load_recipe("small.yaml", trials=1)
    autonas.search(recipe, study="kept", storage=url, out="else where", engine=INLINE)
    Path("run").mkdir()
    Path("run/run.json").touch()
    with contextlib.closing(Ledger.open("kept", Path("else where/kept"), url)) as ledger:
        ledger.set_attribute("promotions", [{"trial": 0, "steps": 5, "folder": "run"}])
    code, out, err = run("status", "kept", "--storage", url, "--out", "else where")
    assert code == 0, err
    told = " ".join(out.replace("\\\n", " ").split())
    assert "autonas promote kept --resume --out run --trials-dir 'else where' --storage URL" in told
    assert promote_command("kept") == "autonas promote kept"
    inline = EngineSettings(name="inline", device="cpu")
    assert promote_command("kept", engine=inline) == "autonas promote kept --engine inline --device cpu"


def test_a_cancelled_promotion_of_a_study_in_a_database_says_so(job: Job) -> None:
    class Cancelled(InlineEngine):
        def start(self, job: Job) -> None:
            Path(job.folder).mkdir()
            request_cancel(Path(job.folder))

        def wait(self) -> list[Outcome]:
            raise KeyboardInterrupt

    with pytest.raises(TrialFailure, match=r"autonas promote small --resume --out \S+ --trials-dir kept --storage URL$"):
        carry_out(job, Cancelled(), storage="sqlite://", trials_dir=Path("kept"))


def test_a_space_of_one_architecture_needs_no_spec(study: Path, run: Run, code_corpus: Path) -> None:
    one = {"layers": 1, "width": 16, "heads": 2, "residual_dropout": 0.1}
    write_space(Path("one.yaml"), code_corpus, space=None, rules=[])
    values = yaml.safe_load(Path("one.yaml").read_text())
    Path("one.yaml").write_text(yaml.safe_dump({**values, "space": one}))
    code, _, err = run("train", "--space", "one.yaml", "--steps", "3", "--out", "alone")
    assert code == 0, err
    spec = json.loads(Path("alone/spec.json").read_text())
    assert {name: spec[name] for name in one} == one
    code, _, err = run("train", "--space", "small.yaml", "--steps", "3")
    assert code == 2
    assert "describes a space of many architectures (layers, width, heads, kv_heads, norm)" in err


def test_a_search_prefers_what_its_promotion_will_pick_by(study: Path) -> None:
    text = Path("small.yaml").read_text()
    for asked, expected in [
        ("", {}),
        ("promote: true\n", {}),
        ("promote: {limits: {params: 1M}}\n", {}),
        ("promote: {weights: {val_loss: 1}}\n", {}),
        ("promote: {select: params}\n", {"params": 1.0}),
        ("promote: {weights: {val_loss: 3}}\n", {"val_loss": 3.0, "params": 1.0}),
    ]:
        Path("preferring.yaml").write_text(text + asked)
        recipe = load_recipe("preferring.yaml")
        others = recipe.objectives if "val_loss" in expected else ()
        assert recipe.problem.preference == {**dict.fromkeys(others, 1.0), **expected}


def test_limits_and_weights_of_the_space_file_are_the_defaults(study: Path) -> None:
    settings = PromoteSettings(limits={"params": 5.0}, weights={"val_loss": 3.0})
    assert preference(settings) == Preference(limits={"params": 5.0}, weights={"val_loss": 3.0})
    assert preference(settings, limits={"memory": 1.0}, trial=None).limits == {"memory": 1.0}
    assert preference(settings, select="params") == Preference(select="params", limits={"params": 5.0})


def test_weights_that_are_given_are_the_knees_whatever_the_space_file_selects() -> None:
    settings = PromoteSettings(select="params", limits={"params": 5.0})
    assert preference(settings, weights={"val_loss": 2.0}) == Preference(limits={"params": 5.0}, weights={"val_loss": 2.0})
    both = preference(settings, select="params", weights={"val_loss": 2.0})
    assert both == Preference(select="params", limits={"params": 5.0}, weights={"val_loss": 2.0}), "select.py refuses these"


def test_a_trial_that_is_named_needs_no_selection_and_may_have_none_beside_it() -> None:
    settings = PromoteSettings(select="params", limits={"params": 5.0})
    assert preference(settings, trial=0, weights={}) == Preference(trial=0, limits={"params": 5.0})
    weighted = PromoteSettings(weights=dict.fromkeys(("val_loss", "params"), 0.0))
    assert preference(weighted, trial=3, limits={"params": 1.0}) == Preference(trial=3, limits={"params": 1.0})
    for given in ({"select": "params"}, {"select": "knee"}, {"weights": {"params": 2.0}}):
        with pytest.raises(StudyError, match="--trial 0: --select and --weight have no say"):
            preference(None, trial=0, **given)


def test_the_command_weighs_and_names_trials_beside_a_promote_section(study: Path, run: Run) -> None:
    Path("small.yaml").write_text(Path("small.yaml").read_text() + f"promote: {{select: params, steps: {STEPS}}}\n")
    assert run("search", "--space", "small.yaml", "--engine", "inline", "--resume", "--no-promote")[0] == 0
    ask = ("promote", "small", "--engine", "inline", "--dry-run", "--json")
    code, out, err = run(*ask, "--weight", "val_loss=2")
    assert code == 0, err
    assert json.loads(out)["method"] == "weights"
    number = autonas.front("small")[0]["trial"]
    code, out, err = run(*ask, "--trial", str(number))
    assert code == 0, err
    assert (json.loads(out)["method"], json.loads(out)["trial"]) == ("trial", number)


def test_a_job_counts_its_tokens_in_whole_steps(job: Job) -> None:
    assert run_tokens(job) == STEPS * STEP
