from __future__ import annotations

import ast
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autonas.errors import CorpusError
from autonas.evaluation.coding.hub_rows import HubTasks
from autonas.evaluation.coding.loading import load_tasks
from autonas.evaluation.coding.syntax import is_valid
from autonas.evaluation.coding.tasks import builtin_tasks
from autonas.evaluation.sandbox import Sandbox

EVALUATED = {
    "task_id": "Mine/0",
    "prompt": 'import math\n\n\ndef twice(a):\n    """Twice a."""\n    return 2 * a\n\n\ndef area(r):\n    """Area.\n    """\n',
    "entry_point": "area",
    "canonical_solution": "    return math.pi * r * r\n",
    "test": "def check(candidate):\n    assert abs(candidate(twice(1)) - 12.566) < 0.01\n",
}
BASIC: dict[str, Any] = {
    "task_id": 7,
    "text": 'Write a function to say "a\\b".',
    "code": "import re\r\nK = 2\r\ndef say(x,\r\n        y=(1, 2)):\r\n\t# why\r\n\treturn help_(x)\r\n"
    "def help_(x):\r\n\treturn x * K",
    "test_list": ["assert say(1) == 2", "assert say(2) == 4"],
    "test_setup_code": "",
    "challenge_test_list": [],
}
SANITIZED: dict[str, Any] = {
    "task_id": 8,
    "prompt": "Write a function.",
    "code": "def root(x): return math.isqrt(x)",
    "test_imports": ["import math"],
    "test_list": ["assert math.isclose(root(9), 3)"],
}


def write_lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_shipped_ones_are_called_builtin() -> None:
    assert load_tasks("builtin") == builtin_tasks()


@pytest.mark.parametrize("packed", [False, True])
def test_human_eval_is_read_packed_or_not(tmp_path: Path, packed: bool) -> None:
    path = write_lines(tmp_path / "own.jsonl", EVALUATED)
    if packed:
        (tmp_path / "own.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / "own.jsonl.gz"
    (task,) = load_tasks(str(path))
    assert (task.name, task.entry_point, task.source) == ("Mine/0", "area", path.name)
    assert task.program == EVALUATED["prompt"] + EVALUATED["canonical_solution"]
    assert task.tests.endswith("check(area)\n") and "def twice" in task.tests, (
        "what the tests use is not the answer's to change"
    )


def test_mbpp_gets_a_signature_a_docstring_and_one_test(tmp_path: Path) -> None:
    (task,) = load_tasks(str(write_lines(tmp_path / "mbpp.jsonl", BASIC)))
    assert task.name == "MBPP/7" and task.entry_point == "say"
    assert task.solution == "\n\t# why\n\treturn help_(x)\n"
    before, signature, docstring = task.prompt.partition("def say(x,\n        y=(1, 2)):\n")
    assert before.startswith("import re\nK = 2\n") and "def help_(x):" in before and signature
    body = ast.parse(f"def f():\n{docstring}").body[0]
    assert isinstance(body, ast.FunctionDef)
    assert ast.get_docstring(body) == 'Write a function to say "a\\b".\nassert say(1) == 2'
    assert "assert say(2)" not in task.prompt and "assert say(2) == 4" in task.tests
    assert is_valid(task.prompt, task.solution)


def test_sanitized_mbpp_is_a_list_with_imports_of_the_tests(tmp_path: Path, sandbox: Sandbox) -> None:
    path = tmp_path / "sanitized.json"
    path.write_text(json.dumps([SANITIZED, {**SANITIZED, "task_id": 9, "code": "import math\n" + SANITIZED["code"]}]))
    bare, task = load_tasks(str(path))
    assert task.solution == "\n    return math.isqrt(x)\n" and task.tests.startswith("import math\n")
    # The reference of the first one lacks the import that its tests have.
    verdicts = sandbox.check_all([(each.program, each.tests, each.entry_point) for each in (bare, task)])
    assert [verdict.passed for verdict in verdicts] == [False, True]


@pytest.mark.parametrize(
    ("row", "change", "complaint"),
    [
        (EVALUATED, {"prompt": ""}, "`prompt` is ''"),
        (EVALUATED, {"entry_point": 3}, "`entry_point` is 3"),
        (EVALUATED, {"test": "assert 1"}, "check"),
        (EVALUATED, {"canonical_solution": "    return (\n"}, "reference of 'Mine/0' is no Python"),
        (EVALUATED, {"canonical_solution": "   \n"}, "`canonical_solution` is"),
        (EVALUATED, {"prompt": "def f():\n    '''\ud800'''\n"}, "not valid Unicode"),
        (BASIC, {"test_list": []}, "needs a test"),
        (BASIC, {"test_list": "assert"}, "write a list of texts"),
        (BASIC, {"test_list": ["assert other(1)"]}, "calls no function"),
        (BASIC, {"code": "def say(:"}, "calls no function"),
        (BASIC, {"test_setup_code": "x = ("}, "tests of 'MBPP/7' is no Python"),
    ],
)
def test_a_wrong_task_is_named_with_file_and_line(
    tmp_path: Path, row: dict[str, Any], change: dict[str, Any], complaint: str
) -> None:
    path = write_lines(tmp_path / "own.jsonl", {**row, "task_id": "First"}, {**row, **change})
    with pytest.raises(CorpusError, match=complaint) as caught:
        load_tasks(str(path))
    assert f"{path}:2: " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "holds no task"),
        (b"{", "own.jsonl:1: not JSON"),
        (b"\n\n[1]\n", "own.jsonl:3: .* no JSON object"),
        (b'{"a": 1}', "own.jsonl:1: has the keys a"),
        (b"\xff\xfe", "not UTF-8"),
        (b"\x1f\x8bnot gzip", "cannot be read"),
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_one_message(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "own.jsonl").write_bytes(content)
    with pytest.raises(CorpusError, match=complaint):
        load_tasks(str(tmp_path / "own.jsonl"))


def test_a_list_that_is_none_and_a_task_that_is_there_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"code": 1}')
    with pytest.raises(CorpusError, match="not a list of tasks"):
        load_tasks(str(tmp_path / "own.json"))
    with pytest.raises(CorpusError, match="'MBPP/7' is there twice"):
        load_tasks(str(write_lines(tmp_path / "own.jsonl", BASIC, BASIC)))
    with pytest.raises(CorpusError, match="no such task file"):
        load_tasks(str(tmp_path / "missing.jsonl"))


# Published files


def test_published_files_are_read_whole(published: Path) -> None:
    counts = {
        name: len(load_tasks(str(published / name))) for name in ("HumanEval.jsonl.gz", "mbpp.jsonl", "sanitized-mbpp.json")
    }
    assert counts == {"HumanEval.jsonl.gz": 164, "mbpp.jsonl": 974, "sanitized-mbpp.json": 427}


def test_published_references_are_valid_and_prompts_name_the_entry_point(published: Path) -> None:
    for name in ("HumanEval.jsonl.gz", "mbpp.jsonl", "sanitized-mbpp.json"):
        for task in load_tasks(str(published / name)):
            assert is_valid(task.prompt, task.solution) and f"def {task.entry_point}" in task.prompt, task.name
            assert not is_valid(task.prompt, ""), task.name


def test_some_published_references_pass_in_the_sandbox(published: Path, sandbox: Sandbox) -> None:
    tasks = [*load_tasks(str(published / "HumanEval.jsonl.gz"))[30:42], *load_tasks(str(published / "mbpp.jsonl"))[:12]]
    verdicts = sandbox.check_all([(task.program, task.tests, task.entry_point) for task in tasks])
    assert {task.name: verdict for task, verdict in zip(tasks, verdicts, strict=True) if not verdict.passed} == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["HumanEval.jsonl.gz", "sanitized-mbpp.json"])
def test_all_published_references_pass_in_the_sandbox(published: Path, sandbox: Sandbox, name: str) -> None:
    tasks = load_tasks(str(published / name))
    verdicts = sandbox.check_all([(task.program, task.tests, task.entry_point) for task in tasks])
    assert {task.name: verdict for task, verdict in zip(tasks, verdicts, strict=True) if not verdict.passed} == {}


# Data sets of the hub


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set in the hub's format, read offline by the real library."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    root = tmp_path / "tasks"
    (root / "full").mkdir(parents=True)
    (root / "README.md").write_text(
        "---\nconfigs:\n- {config_name: full, default: true, data_files: [{split: test, path: 'full/*'}]}\n---\n"
    )
    program = (
        "import json, sys, pyarrow, pyarrow.parquet; "
        "pyarrow.parquet.write_table(pyarrow.Table.from_pylist(json.load(sys.stdin)), sys.argv[1])"
    )
    rows = [{**BASIC, "task_id": number} for number in range(3)]
    path = root / "full" / "test-00000-of-00001.parquet"
    subprocess.run([sys.executable, "-c", program, str(path)], input=json.dumps(rows), text=True, check=True)
    return root


def test_a_data_set_of_the_hub_is_the_same_tasks(folder: Path, tmp_path: Path) -> None:
    tasks = load_tasks(str(folder))
    assert [task.name for task in tasks] == ["MBPP/0", "MBPP/1", "MBPP/2"] and {task.source for task in tasks} == {"tasks"}
    (own,) = load_tasks(str(write_lines(tmp_path / "own.jsonl", BASIC)))
    assert (tasks[0].prompt, tasks[0].solution, tasks[0].tests) == (own.prompt, own.solution, own.tests)
    assert load_tasks(f"{folder}:full:test") == tasks


def test_a_data_set_that_is_not_there_is_one_message(folder: Path) -> None:
    for source in (f"{folder}:full:train", f"{folder}:half", "somebody/tasks"):
        with pytest.raises(CorpusError, match=r"cannot be read.*check the names") as caught:
            load_tasks(source)
        assert "\n" not in str(caught.value)


def test_a_row_of_a_data_set_that_is_wrong_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "full" / "test-00000-of-00001.parquet").unlink()
    write_lines(folder / "full" / "rows.jsonl", {**BASIC, "task_id": 0}, {**BASIC, "task_id": 1, "code": "x"})
    with pytest.raises(CorpusError, match="tasks/test: row 1: `test_list` calls no function"):
        load_tasks(str(folder))


def test_without_the_extra_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CorpusError, match=r"pip install 'autonas\[hub\]'"):
        load_tasks("somebody/tasks")


def test_a_name_says_configuration_and_split() -> None:
    assert HubTasks.of("a/b") == HubTasks(dataset="a/b")
    assert HubTasks.of("a/b:c:d") == HubTasks(dataset="a/b", config="c", split="d")
    assert HubTasks.of("a/b::d") == HubTasks(dataset="a/b", split="d")
    for wrong in ("", ":c", "a:b:c:d", "a\0"):
        with pytest.raises(CorpusError, match="no set of tasks"):
            HubTasks.of(wrong)


def test_loading_needs_no_torch() -> None:
    program = (
        "import sys; from autonas.evaluation.coding import contamination, loading, ngram, passk, records, syntax; "
        "print([name for name in ('torch', 'ray', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
