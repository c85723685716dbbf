"""`autonas finetune` and `autonas tasks` from the command line: what is printed, what is refused, what the files hold."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from autonas.cli import main
from autonas.evaluation.coding.loading import load_tasks
from autonas.loaded_run import load_run
from autonas.tuning.converters import examples_of_tasks
from autonas.tuning.examples import Example, read_examples

SHARED = Path(os.environ.get("AUTONAS_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
FILES = ("HumanEval.jsonl.gz", "mbpp.jsonl", "sanitized-mbpp.json")


def test_a_run_is_tuned_asked_and_gone_on_with(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tuned"
    command = ["finetune", str(base), "--data", str(data), "--method", "lora", "--steps", "3", "--out", str(out)]
    assert main([*command, "--json", "--device", "cpu", "--threads", "1"]) == 0
    printed = capsys.readouterr()
    values = json.loads(printed.out)
    assert values["run"] == str(out)
    assert "to tune on" in printed.err
    assert main([*command, "--device", "cpu", "--threads", "1"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "--resume", "--device", "cpu", "--threads", "1"]) == 0
    told = capsys.readouterr().out
    assert "loss of solutions" in told and f"run: {out}" in told
    assert main(["status", str(out), "--json"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["state"] == "ended" and status["tokens"] == status["total_tokens"], "of the tuning, and not of its base"
    assert main(["status", str(out)]) == 0
    assert "step 3 of 3" in capsys.readouterr().out
    assert load_run(out).tuned and not load_run(base).tuned
    asked = ["generate", str(out), "--prompt", "def add_7(x):\n", "--temperature", "0", "--max-tokens", "5", "--json"]
    assert main([*asked, "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["prompt"] == "def add_7(x):"


def test_the_default_folder_is_named_after_the_method(
    base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").symlink_to(base)
    monkeypatch.chdir(tmp_path)
    command = ["finetune", "run", "--data", str(data), "--method", "sft", "--steps", "1", "--device", "cpu"]
    assert main([*command, "--validation-share", "0"]) == 0
    assert (tmp_path / "run-sft" / "model.safetensors").exists()
    assert "no validation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "nowhere.jsonl", "--method", "lora"], "nowhere.jsonl: cannot be read"),
        (["--data", "DATA", "--method", "magic"], "--method 'magic'"),
        (["--data", "DATA", "--method", "lora", "--targets", "heads"], "--targets 'heads'"),
    ],
)
def test_a_wrong_request_is_one_message(
    base: Path, data: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert main(["finetune", str(base), *(str(data) if each == "DATA" else each for each in options)]) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_templates_are_written_with_their_held_out_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, held = tmp_path / "train.jsonl", tmp_path / "held.jsonl"
    assert main(["tasks", "templates", "--count", "50", "--out", str(out), "--held-out", str(held)]) == 0
    assert len(read_examples(out)) == 50
    asked = {task.entry_point for task in load_tasks(str(held))}
    assert not asked & {each.entry_point for each in read_examples(out)}


@pytest.mark.parametrize(
    "options",
    [["convert"], ["functions"], ["templates", "FILE"], ["convert", "x.jsonl", "--space", "quickstart.yaml"]],
    ids=lambda options: options[0],
)
def test_what_an_action_has_no_use_for_or_lacks_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert main(["tasks", *options, "--out", str(tmp_path / "out.jsonl")]) == 2
    assert f"tasks {options[0]}" in capsys.readouterr().err


@pytest.mark.parametrize("name", FILES)
def test_a_benchmark_file_becomes_examples_with_its_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not on this machine")
    out = tmp_path / "examples.jsonl"
    assert main(["tasks", "convert", str(SHARED / name), "--out", str(out)]) == 0
    examples, tasks = read_examples(out), load_tasks(str(SHARED / name))
    assert examples == examples_of_tasks(str(SHARED / name))
    assert [each.text for each in examples] == [task.program for task in tasks]
    assert all(each.tests for each in examples)


def test_what_a_model_is_asked_with_does_not_depend_on_white_space_behind_the_prompt(base: Path) -> None:
    tokenizer = load_run(base).tokenizer
    example = Example(id="1", prompt="def f(a):", solution="\n    return a\n")
    assert tokenizer.encode_prompt(example.prompt) == tokenizer.encode_prompt(example.prompt + "\n    ")
