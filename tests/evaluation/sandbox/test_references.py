"""The reference solutions of public benchmarks pass, where their files are: walls that fail right programs are of no use."""

from __future__ import annotations

import ast
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from autonas.evaluation.sandbox import Limits, Sandbox

DATA = Path(__file__).parents[4] / "shared" / "data"
Case = tuple[str, str, str | None]


def rows(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    found: list[dict[str, Any]] = (
        json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    )
    return found


def human_eval() -> dict[str, Case]:
    return {
        row["task_id"]: (
            row["prompt"] + row["canonical_solution"],
            f"{row['test']}\ncheck({row['entry_point']})\n",
            row["entry_point"],
        )
        for row in rows("HumanEval.jsonl.gz")
    }


def mbpp(name: str) -> dict[str, Case]:
    cases: dict[str, Case] = {}
    for row in rows(name):
        before = [row.get("test_setup_code", ""), *row.get("test_imports", [])]
        defined = {node.name for node in ast.walk(ast.parse(row["code"])) if isinstance(node, ast.FunctionDef)}
        calls = [node.func for node in ast.walk(ast.parse(row["test_list"][0])) if isinstance(node, ast.Call)]
        entry_point = next(call.id for call in calls if isinstance(call, ast.Name) and call.id in defined)
        tests = [*before, *row["test_list"], *row.get("challenge_test_list", [])]
        cases[str(row["task_id"])] = (row["code"], "\n".join(tests), entry_point)
    return cases


def failing(sandbox: Sandbox, cases: dict[str, Case]) -> dict[str, str]:
    verdicts = sandbox.check_all(list(cases.values()))
    return {name: str(verdict) for name, verdict in zip(cases, verdicts, strict=True) if not verdict.passed}


@pytest.mark.parametrize("every", [16, pytest.param(1, marks=pytest.mark.slow)])
def test_human_eval(every: int, sandbox: Sandbox) -> None:
    cases = human_eval()
    assert len(cases) == 164
    assert failing(sandbox, dict(list(cases.items())[::every])) == {}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:invalid escape")  # in the references
@pytest.mark.parametrize(("name", "count"), [("mbpp.jsonl", 974), ("sanitized-mbpp.json", 427)])
def test_mbpp(name: str, count: int, sandbox: Sandbox, nothing_left: None) -> None:
    cases = mbpp(name)
    assert len(cases) == count
    # One reference (task 123) computes for seconds.
    assert failing(sandbox.with_limits(Limits(seconds=60.0, cpu_s=60.0)), cases) == {}


def test_a_solution_of_another_task_fails(sandbox: Sandbox) -> None:
    cases = list(human_eval().values())[:12]
    others = [program for program, _, _ in cases[1:] + cases[:1]]
    verdicts = sandbox.check_all([(program, tests, entry) for program, (_, tests, entry) in zip(others, cases, strict=True)])
    assert not any(verdict.passed for verdict in verdicts)
