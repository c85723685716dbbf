"""The command line as people meet it: a whole journey, every help text, and wrong requests that are one clear message."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import autonas
from autonas.cli import main
from autonas.parser import make_parser
from tests.studies import write_space

COMMANDS = (
    "search",
    "plan",
    "status",
    "front",
    "report",
    "cancel",
    "clean",
    "dashboard",
    "promote",
    "train",
    "generate",
    "serve",
    "latency",
    "corpus",
    "tokenizer",
    "bench",
)
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(arguments)
        except SystemExit as exit_code:
            code = int(exit_code.code or 0)
        written = capsys.readouterr()
        return code, written.out, written.err

    return command


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, code_corpus: Path) -> Path:
    """A folder with a space file and one finished study."""
    folder = tmp_path_factory.mktemp("workplace")
    space = write_space(folder / "small.yaml", code_corpus, objectives=["val_loss", "params", "latency", "collapse_rate"])
    (folder / "arch.yaml").write_text("layers: 1\nwidth: 16\nheads: 2\nkv_heads: 1\n")
    command = [sys.executable, "-m", "autonas", "search", "--space", str(space), "--tensorboard"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=dict(os.environ))
    (folder / "search.out").write_text(done.stdout)
    (folder / "search.err").write_text(done.stderr)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert f"example:  autonas {name}" in out


def test_all_commands_are_listed(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"    {name}" in out for name in COMMANDS)


WHERE = (
    "--engine ray --ray-address h:6379 --gpus-per-worker 0.5 --workers 2 --device cuda",
    "--engine inline --threads 3 --device cpu",
)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    "command",
    [
        "promote kept --trials-dir 'my trials' --out 'a run'",
        "search --space my.yaml --out 'my trials'",
        "search --space my.yaml --tensorboard",
    ],
)
def test_the_command_that_goes_on_has_the_options_that_say_where(command: str, where: str) -> None:
    options = make_parser().parse_args(shlex.split(f"{command} {where}"))
    told = shlex.split(options.resume_hint(options))
    again = make_parser().parse_args([*told[1:], *([] if "--resume" in told else ["--resume"])])
    assert told[0] == "autonas"
    assert {**vars(again), "resume": False} == vars(options)


def test_the_examples_of_the_help_texts_parse() -> None:
    import shlex

    for name in COMMANDS:
        text = subprocess.run(
            [sys.executable, "-m", "autonas", name, "--help"], capture_output=True, text=True, check=True
        ).stdout
        example = text.split("example:  autonas ")[1].strip()
        assert make_parser().parse_args(shlex.split(example)).command == name


def test_a_search_ends_with_its_front_and_its_report(workplace: Path) -> None:
    out = (workplace / "search.out").read_text()
    assert "val_loss" in out
    assert "report: reports/small.html" in out
    assert "<html" in (workplace / "reports" / "small.html").read_text()[:300].lower()
    err = (workplace / "search.err").read_text()
    assert "trial 0 at rung 0" in err
    assert "Traceback" not in err


def test_the_study_can_be_read(workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    code, out, _ = run("status", "small")
    assert code == 0
    assert "5 of 5 begun" in out
    code, out, _ = run("status", "--json")
    assert code == 0
    assert [status["study"] for status in json.loads(out)] == ["small"]
    code, out, _ = run("status", "small", "--json")
    assert json.loads(out)["trials"]["wanted"] == 5
    code, out, _ = run("front", "small", "--json")
    front = json.loads(out)
    assert code == 0
    assert front
    for entry in front:
        assert {"trial", "fingerprint", "spec", "scores", "rung", "seeds"} <= set(entry)
        for score in entry["scores"].values():
            assert {"value", "low", "high", "unit"} <= set(score)
        assert {"val_loss", "params", "latency", "collapse_rate"} <= set(entry["scores"])
    code, out, _ = run("front", "small")
    assert code == 0
    assert all(len(line) <= 80 for line in out.splitlines()) and out.endswith("\n  autonas promote small\n")
    written = sorted(path.name for path in Path("trials/small/tensorboard").iterdir())
    assert written == [f"trial-{trial.number:05d}" for trial in autonas.read_study("small").trials if trial.rungs]
    assert autonas.write_trial_events("small", "events") == Path("events")
    assert sorted(path.name for path in Path("events").iterdir()) == written
    code, out, _ = run("report", "small", "--out", "elsewhere/report.html")
    assert code == 0
    assert Path("elsewhere/report.html").exists()
    code, out, _ = run("clean")
    assert code == 0
    assert "small: freed" in out


def test_a_trial_on_the_front_writes_code(workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    trial = json.loads(run("front", "small", "--json")[1])[0]["trial"]
    arguments = ("generate", f"small:{trial}", "--prompt", "def f(", "--max-tokens", "12", "--seed", "3")
    code, out, _ = run(*arguments)
    assert code == 0
    assert out.startswith("def f(")
    assert run(*arguments)[1] == out
    code, out, _ = run(*arguments, "--json")
    assert json.loads(out)["prompt"] == "def f("
    code, _, err = run("generate", "small:77", "--prompt", "x")
    assert code == 2
    assert "has no trial 77" in err


def test_a_run_is_trained_resumed_and_used(workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    arguments = ("train", "--spec", "arch.yaml", "--space", "small.yaml", "--steps", "20", "--out", "run")
    code, out, err = run(*arguments)
    assert code == 0, err
    assert "val_loss" in out
    for name in ("spec.json", "model.safetensors", "tokenizer.json", "metrics.jsonl", "evaluation.json"):
        assert (Path("run") / name).exists(), name
    evaluation = json.loads(Path("run/evaluation.json").read_text())
    assert evaluation["tokens"] == 20 * 512
    assert {"val_loss", "bits_per_byte", "params", "latency", "collapse_rate"} <= set(evaluation["scores"])
    assert evaluation["baselines"]["bigram"] < evaluation["baselines"]["unigram"]
    code, _, err = run(*arguments)
    assert code == 2
    assert "holds a run already" in err
    code, out, err = run("generate", "run", "--prompt", "class A:\n", "--temperature", "0", "--max-tokens", "10")
    assert code == 0, err
    assert out.startswith("class A:\n")
    code, _, err = run(*arguments[:-3], "30", "--out", "run", "--resume")
    assert code == 2
    assert "steps was 20, is 30" in err


@pytest.mark.slow
def test_a_run_is_evaluated_and_compared(workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    if not Path("run").exists():
        arguments = ("train", "--spec", "arch.yaml", "--space", "small.yaml", "--steps", "20", "--out", "run")
        assert run(*arguments)[0] == 0
    parts = ("--only", "loss", "--only", "collapse", "--only", "plausibility")
    code, out, err = run("evaluate", "run", *parts)
    assert code == 0, err
    assert "Loss: unsmoothed" in out and "few-shot" in out and "leak test" in out
    assert "evaluation.html" in out and Path("run/evaluation.html").read_text().startswith("<!DOCTYPE html>")
    code, out, err = run("evaluate", "run", *parts, "--against", "run", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["comparisons"]["run"]["val_loss"]["value"] == 0 and set(told["suite"]) == set(parts[1::2])
    assert err.count("done before") == 3
    for wrong, message in (
        (("evaluate", "nowhere"), "nowhere: is no run"),
        (("evaluate", "run", "--only", "weather"), "there is no such part"),
        (("evaluate", "run", "--tasks", "nothing.jsonl"), "nothing.jsonl: no such task file"),
        (("evaluate", "run", *parts, "--against", "nowhere"), "nowhere: its loss has not been evaluated"),
    ):
        code, _, err = run(*wrong)
        assert code == 2 and message in err and "Traceback" not in err


@pytest.mark.slow
def test_a_latency_measured_here_serves_as_a_table(workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    Path("whole.yaml").write_text(Path("arch.yaml").read_text() + "vocab_size: 300\ncontext_length: 64\n")
    code, out, err = run("latency", "--spec", "whole.yaml", "--space", "small.yaml", "--json")
    assert code == 0, err
    Path("table.json").write_text(out)
    space = {"layers": 1, "width": 16, "heads": 2, "kv_heads": {"choice": [1, 2]}, "norm": "rmsnorm"}
    corpus = next(iter(json.loads(json.dumps(_yaml("small.yaml")["corpus"]["paths"])))).removesuffix("/**/*.py")
    write_space(
        Path("tabled.yaml"),
        Path(corpus),
        name="tabled",
        space=space,
        rules=[],
        latency={"table": "table.json"},
        objectives=["val_loss", "latency"],
        budget={"trials": 2, "rungs": ["3K"], "repeats": 0},
    )
    values = _yaml("tabled.yaml")
    values["space"] = space
    Path("tabled.yaml").write_text(json.dumps(values))
    code, out, err = run("search", "--space", "tabled.yaml", "--quiet", "--json")
    assert code in (0, 1), err
    _, out, _ = run("status", "tabled", "--json")
    counts = json.loads(out)["trials"]
    assert counts["begun"] == 1
    assert counts["infeasible"] >= 1, "the architecture that the table lacks is infeasible"


def _yaml(path: str) -> Any:
    import yaml

    return yaml.safe_load(Path(path).read_text())


def test_data_can_be_looked_at(workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    code, out, _ = run("corpus", "--space", "small.yaml", "--verify")
    assert code == 0
    assert "train" in out
    code, out, _ = run("corpus", "--space", "small.yaml", "--json")
    assert json.loads(out)["fingerprint"]
    code, out, err = run("tokenizer", "train", "own.json", "--space", "small.yaml", "--vocab-size", "280")
    assert code == 0, err
    code, out, _ = run("tokenizer", "check", "own.json", "--json")
    assert json.loads(out)["vocab_size"] == 280
    code, out, _ = run("tokenizer", "encode", "own.json", "--text", "def é():", "--json")
    assert json.loads(out)["num_bytes"] == 9


def test_a_corpus_and_a_run_are_looked_into(workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    code, out, err = run("corpus", "inspect", "--space", "small.yaml")
    assert code == 0, err
    for word in ("structural", "projects, worth", "in training", "longer than context"):
        assert word in out, word
    train = ("train", "--spec", "arch.yaml", "--space", "small.yaml", "--steps", "20", "--out", "inspected", "--json")
    code, trained, err = run(*train)
    assert code == 0, err
    code, out, err = run("corpus", "inspect", "--space", "small.yaml", "--run", "inspected", "--json")
    assert code == 0, err
    found, scores = json.loads(out), json.loads(trained)
    _, built, _ = run("corpus", "build", "--space", "small.yaml", "--json")
    assert found["fingerprint"] == json.loads(built)["fingerprint"]
    whole = next(group for group in found["losses"]["groups"] if group["name"] == "all")
    assert whole["loss"]["value"] == pytest.approx(scores["scores"]["val_loss"]["value"], rel=1e-9)
    assert (whole["unigram"], whole["bigram"]) == pytest.approx(tuple(scores["baselines"][n] for n in ("unigram", "bigram")))
    code, out, _ = run("corpus", "inspect", "--space", "small.yaml", "--run", "inspected")
    assert code == 0 and "loss by token class" in out
    other = _yaml("small.yaml")
    other["tokenizer"]["vocab_size"] = 290
    Path("other_tokens.yaml").write_text(json.dumps(other))
    code, _, err = run("corpus", "inspect", "--space", "other_tokens.yaml", "--run", "inspected")
    assert code == 2 and "the recipe that it was trained with" in err


def test_coding_tasks_in_a_corpus_are_told_before_anything_is_trained(tmp_path: Path, code_corpus: Path, run: Run) -> None:
    from autonas.evaluation.coding.tasks import builtin_tasks

    shutil.copytree(code_corpus, tmp_path / "corpus")
    for place, task in enumerate(builtin_tasks()):
        # Beside code, or the filter of short files would leave it out.
        for path in sorted((tmp_path / "corpus").glob("**/*.py"))[place::20]:
            path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{task.program}\n", encoding="utf-8")
    space = write_space(tmp_path / "tuned.yaml", tmp_path / "corpus", name="tuned")
    code, out, err = run("corpus", "inspect", "--space", str(space), "--json")
    assert code == 0, err
    (told,) = (finding for finding in json.loads(out)["findings"] if finding["check"] == "benchmark_in_corpus")
    assert told["severity"] == "alarm" and "of 20 tasks stand in the training texts" in told["text"]
    code, out, err = run("corpus", "inspect", "--space", str(space))
    assert code == 0 and f"alarm: {told['text']}" in out


def test_a_plan_is_made_before_anything_is_spent(workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    code, out, err = run("plan", "--space", "small.yaml", "--json")
    assert code == 0, err
    plan = json.loads(out)
    assert plan["space"]["size"] == 2 * 3 * 2 * 2 * 2
    assert 0 < plan["space"]["legal_share"] <= 1
    assert plan["params"]["min"] < plan["params"]["max"]
    assert [rung["trials"] for rung in plan["rungs"]] == [5 + 1, 2 + 1], "trials, survivors, and a declared repeat"
    assert plan["seconds"] > 0
    code, out, _ = run("plan", "--space", "small.yaml")
    assert code == 0
    assert "in all" in out


def test_a_space_of_one_architecture_needs_no_spec_to_plan_its_run(
    workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setattr("autonas.commands.plan._RUN_SECONDS", 0.5)
    one = yaml.safe_load((workplace / "small.yaml").read_text(encoding="utf-8"))
    one["space"] = {"layers": 1, "width": 16, "heads": 2}
    one.pop("rules", None)
    (workplace / "one.yaml").write_text(yaml.safe_dump(one), encoding="utf-8")
    code, out, err = run("plan", "--space", "one.yaml", "--steps", "10", "--json")
    assert code == 0, err
    assert json.loads(out)["steps"] == 10


WRONG = {
    "no command": ([], "usage"),
    "unknown command": (["dance"], "dance"),
    "missing option": (["search"], "--space"),
    "bad number": (["search", "--space", "small.yaml", "--trials", "many"], "'many' is not a whole number"),
    "a plan of a run of many architectures": (["plan", "--space", "small.yaml", "--steps", "5"], "many architectures"),
    "a plan of a run of no length": (["plan", "--space", "small.yaml", "--spec", "small.json"], "--spec needs --steps"),
    "zero trials": (["search", "--space", "small.yaml", "--trials", "0"], "at least 1"),
    "negative hours": (["search", "--space", "small.yaml", "--max-hours", "-1"], "positive number of hours"),
    "unknown space": (["search", "--space", "nowhere.yaml"], "nowhere.yaml"),
    "space is a folder": (["search", "--space", "tiny/"], "folder"),
    "unknown sampler": (["search", "--space", "small.yaml", "--sampler", "magic"], "magic"),
    "existing study": (["search", "--space", "small.yaml"], "exists already"),
    "unknown study to resume": (["search", "--space", "small.yaml", "--study", "other", "--resume"], "no study"),
    "study name": (["search", "--space", "small.yaml", "--study", "../up"], "'../up'"),
    "out is a file": (["search", "--space", "small.yaml", "--out", "arch.yaml"], "arch.yaml"),
    "storage": (["search", "--space", "small.yaml", "--study", "s", "--storage", "ftp://x"], "storage"),
    "storage down": (["front", "s", "--storage", "sqlite:////nowhere/x.db"], "nowhere"),
    "device": (["search", "--space", "small.yaml", "--study", "d", "--device", "toaster"], "toaster"),
    "no cuda": (["train", "--spec", "arch.yaml", "--space", "small.yaml", "--steps", "1", "--device", "cuda:99"], "cuda"),
    "retrying nothing": (["search", "--space", "small.yaml", "--study", "r", "--retry-failed"], "give --resume with it"),
    "spec of another tokenizer": (
        ["train", "--spec", "vocabulary.yaml", "--space", "small.yaml", "--steps", "1", "--out", "vocabulary"],
        "vocabulary.yaml: vocab_size is 999 and the tokenizer of small.yaml has 300 entries",
    ),
    "unknown study": (["front", "nothing"], "no study"),
    "unknown report": (["report", "nothing"], "no study"),
    "unknown spec": (["train", "--spec", "none.yaml", "--steps", "3"], "none.yaml"),
    "impossible spec": (["latency", "--spec", "bad.yaml"], "width 16 is not a multiple of 3 heads"),
    "resume without run": (
        ["train", "--spec", "arch.yaml", "--space", "small.yaml", "--steps", "3", "--out", "norun", "--resume"],
        "holds no run",
    ),
    "no run": (["generate", "norun", "--prompt", "x"], "is no run"),
    "tokenizer": (["tokenizer", "check", "arch.yaml"], "arch.yaml"),
    "missing corpus": (["corpus", "--space", "nocorpus.yaml"], "nowhere"),
    "run of a corpus that is not inspected": (["corpus", "--space", "small.yaml", "--run", "norun"], "corpus inspect"),
    "inspected run": (["corpus", "inspect", "--space", "small.yaml", "--run", "norun"], "is no run"),
    "tiny corpus": (["search", "--space", "tinycorpus.yaml"], "give a larger corpus"),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_a_wrong_request_is_one_message_and_exit_code_two(
    case: str, workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    Path("bad.yaml").write_text("layers: 1\nwidth: 16\nheads: 3\n")
    Path("vocabulary.yaml").write_text("layers: 1\nwidth: 16\nheads: 2\nvocab_size: 999\n")
    write_space(Path("nocorpus.yaml"), Path("/nowhere"))
    Path("tiny").mkdir(exist_ok=True)
    for number in range(3):
        (Path("tiny") / f"m{number}.py").write_text(f"def f{number}(x):\n    return x * {number} - {number}\n")
    write_space(Path("tinycorpus.yaml"), Path("tiny"), name="tinycorpus")
    arguments, expected = WRONG[case]
    code, out, err = run(*arguments)
    assert code == 2, (out, err)
    assert expected in err + out
    assert "Traceback" not in err
    if arguments:
        progress = ("autonas: preparing", "autonas: reading", "autonas: training", "autonas: tokenising", "autonas: note:")
        assert len([line for line in err.splitlines() if line and not line.startswith(progress)]) <= 2, err


def test_a_full_disk_or_a_forbidden_folder_is_one_message(workplace: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    code, _, err = run("search", "--space", "small.yaml", "--out", "/proc/nowhere")
    assert code == 2
    assert "/proc/nowhere" in err
    assert "Traceback" not in err
    if Path("/dev/full").exists():
        Path("full").mkdir(exist_ok=True)
        target = Path("full") / "report.html"
        target.unlink(missing_ok=True)
        code, _, err = run("report", "small", "--out", "/dev/full/report.html")
        assert code == 2
        assert "/dev/full" in err


def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(workplace: Path, code_corpus: Path) -> None:
    space = write_space(workplace / "long.yaml", code_corpus, name="long", budget={"rungs": ["400K", "900K"]})
    command = [sys.executable, "-m", "autonas", "search", "--space", space.name]
    with subprocess.Popen(
        command, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        ledger = workplace / "trials" / "long" / "ledger.journal"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (ledger.exists() and b'spec"' in ledger.read_bytes()):
            time.sleep(0.05)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "go on with: autonas search --space long.yaml --resume" in err
    assert "Traceback" not in err
    assert out == ""


def test_a_reader_that_goes_away_is_no_error(workplace: Path) -> None:
    script = f"{sys.executable} -m autonas front small --json | head -c 10"
    done = subprocess.run(
        ["bash", "-c", script], cwd=workplace, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.stderr == ""
