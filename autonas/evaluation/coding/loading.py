"""Coding tasks by name: the shipped ones, files of HumanEval and MBPP as they are published, or a data set of the hub.

HumanEval (Chen et al. 2021) has prompts of its own. MBPP (Austin et al. 2021, arXiv 2108.07732) has a sentence, asserts and a
reference: a base model is given the reference's signature with a docstring of the sentence and the first assert, much as in
Fried et al. (2022, arXiv 2204.05999). What else the reference has at column 0 (imports, constants, helper functions) goes
before the signature, so that an answer is the body of one function: MBPP so put is easier than the sentence alone.
"""

from __future__ import annotations

import ast
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from autonas.errors import CorpusError
from autonas.evaluation.coding.hub_rows import HubTasks, hub_rows
from autonas.evaluation.coding.signature import signature_end
from autonas.evaluation.coding.syntax import parsed
from autonas.evaluation.coding.tasks import CodingTask, builtin_tasks, make_task

BUILTIN: Final = "builtin"
_ENDINGS: Final = (".json", ".jsonl", ".gz")
Row = tuple[str, Mapping[str, Any]]  # where it stands, and what it holds


def load_tasks(source: str) -> tuple[CodingTask, ...]:
    """The tasks of `source`: "builtin", a `.jsonl`, `.jsonl.gz` or `.json` file, or a data set of the hub, as
    "owner/name", "owner/name:config" or "owner/name:config:split" (default split: test), which needs the extra `hub`.

    Raises:
        CorpusError: it cannot be had, or a task in it is wrong; the message names file and line, value and remedy.
    """
    if source == BUILTIN:
        return builtin_tasks()
    path = Path(source).expanduser()
    if path.is_file():
        rows, name = _file_rows(path), path.name
    elif source.endswith(_ENDINGS):
        raise CorpusError(f'{source}: no such task file; check the path, or name "{BUILTIN}"')
    elif "/" not in source:
        raise CorpusError(f'{source}: no such task file; name "{BUILTIN}", a file, or a data set of the hub as owner/name')
    else:
        wanted = HubTasks.of(source)
        rows, name = hub_rows(wanted), wanted.dataset.rpartition("/")[2]
    tasks = tuple(_task(row, place, name) for place, row in rows)
    if not tasks:
        raise CorpusError(f"{source}: holds no task; name a file of HumanEval or MBPP")
    seen: set[str] = set()
    for task in tasks:
        if task.name in seen:
            raise CorpusError(f"{source}: task {task.name!r} is there twice; leave one out")
        seen.add(task.name)
    return tasks


def _file_rows(path: Path) -> Iterator[Row]:
    """Each row with its place: of a line its number, of a list the number of its item."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path}: the task file cannot be read ({error}); check it, or download it again") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: the task file is not UTF-8 ({error.reason}); download it again") from error
    if path.suffix == ".json":
        values = _json(text, f"{path}:1")
        if not isinstance(values, list):
            raise CorpusError(f"{path}:1: a {type(values).__name__}, not a list of tasks; write one, or JSON Lines as .jsonl")
        yield from ((f"{path}: task {number}", _row(value, f"{path}: task {number}")) for number, value in enumerate(values, 1))
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"{path}:{number}"
            yield place, _row(_json(line, place), place)


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{place}: not JSON ({error}); download the file again, or mend the line") from error


def _row(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CorpusError(f"{place}: {str(value)[:60]!r} is no JSON object; a task is one")
    return value


def _task(row: Mapping[str, Any], place: str, source: str) -> CodingTask:
    if "canonical_solution" in row:
        task = _human_eval(row, place, source)
    elif "code" in row:
        task = _mbpp(row, place, source)
    else:
        keys = ", ".join(sorted(map(str, row))[:8])
        raise CorpusError(f"{place}: has the keys {keys}; HumanEval has `canonical_solution`, and MBPP `code`")
    for what, program in (("the reference", task.program), ("the tests", task.tests)):
        if parsed(program) is None:
            raise CorpusError(f"{place}: {what} of {task.name!r} is no Python; mend it, or leave the task out")
    return task


def _human_eval(row: Mapping[str, Any], place: str, source: str) -> CodingTask:
    entry_point = _text(row, "entry_point", place)
    tests = _text(row, "test", place)
    if "def check(" not in tests:
        raise CorpusError(f"{place}: `test` is {tests[:40]!r}; HumanEval's defines `check(candidate)`")
    prompt = _text(row, "prompt", place)
    tests = f"{_helpers(prompt, entry_point, tests)}{tests.rstrip()}\n\ncheck({entry_point})\n"
    return make_task(
        name=_text(row, "task_id", place),
        prompt=prompt,
        entry_point=entry_point,
        solution=_text(row, "canonical_solution", place),
        tests=tests,
        source=source,
    )


def _mbpp(row: Mapping[str, Any], place: str, source: str) -> CodingTask:
    sentence = _text(row, "text" if "text" in row else "prompt", place)
    code = _text(row, "code", place).replace("\r\n", "\n")
    asserts = _texts(row, "test_list", place)
    if not asserts:
        raise CorpusError(f"{place}: `test_list` is empty; a task needs a test")
    function = _tested_function(code, asserts)
    if function is None:
        raise CorpusError(
            f"{place}: `test_list` calls no function that `code` defines; mend one of them, or leave the task out"
        )
    before, signature, body = _split(code, function)
    indent = next(line[: len(line) - len(line.lstrip())] for line in body.split("\n") if line[:1].isspace() and line.strip())
    lines = (*sentence.strip().split("\n"), *asserts[0].strip().split("\n"))
    docstring = "\n".join(f"{indent}{_quotable(line)}".rstrip() for line in ('"""', *lines, '"""'))
    setup = str(row.get("test_setup_code") or "").replace("\r\n", "\n")
    tests = "\n".join(part for part in (*_texts(row, "test_imports", place), setup, *asserts) if part.strip()) + "\n"
    return make_task(
        name=f"MBPP/{row.get('task_id')}",
        prompt=f"{before}{signature}\n{docstring}\n",
        entry_point=function.name,
        solution=body,
        tests=_helpers(before, function.name, tests) + tests,
        source=source,
    )


def _helpers(before: str, entry_point: str, tests: str) -> str:
    """What the tests use of a prompt beside the entry point, to be defined anew before them: no answer can change it there."""
    tree, after = parsed(before), parsed(tests)
    if tree is None or after is None:
        return ""
    used = {node.id for node in ast.walk(after) if isinstance(node, ast.Name)}
    others = [node for node in tree.body if getattr(node, "name", None) != entry_point]
    given = {name for node in others for name in _defined(node)}
    return "\n\n".join(ast.unparse(node) for node in others) + "\n\n" if given & used else ""


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _quotable(line: str) -> str:
    """As it may stand in a docstring."""
    return line if line == '"""' else line.replace("\\", "\\\\").replace('"""', "'''")


def _tested_function(code: str, asserts: Iterable[str]) -> ast.FunctionDef | None:
    """The function of `code` that the asserts call first."""
    tree, tests = parsed(code), parsed("\n".join(asserts))
    if tree is None or tests is None:
        return None
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    calls = [node.func for node in ast.walk(tests) if isinstance(node, ast.Call)]
    return next((functions[call.id] for call in calls if isinstance(call, ast.Name) and call.id in functions), None)


def _split(code: str, function: ast.FunctionDef) -> tuple[str, str, str]:
    """What `code` has beside the function, the function's signature, and its body, each but the signature with a line break."""
    lines = code.split("\n")
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)]) - 1
    assert function.end_lineno is not None
    last = function.end_lineno
    others = "\n".join((*lines[:first], *lines[last:])).strip()
    text = "\n".join(lines[function.lineno - 1 : last])
    row, column, alone = signature_end(text)
    own = text.split("\n")
    signature = "\n".join((*lines[first : function.lineno - 1], *own[: row - 1], own[row - 1][:column]))
    body = "\n".join(own[row:]) if alone else f"    {own[row - 1][column:].strip()}\n" + "\n".join(own[row:])
    return f"{others}\n\n\n" if others else "", signature, body.rstrip() + "\n"


def _text(row: Mapping[str, Any], key: str, place: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise CorpusError(f"{place}: `{key}` is {value!r}; write a text that is not blank")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(f"{place}: `{key}` is not valid Unicode (a lone surrogate); remove it") from error
    return value


def _texts(row: Mapping[str, Any], key: str, place: str) -> list[str]:
    value = row.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise CorpusError(f"{place}: `{key}` is {str(value)[:60]!r}; write a list of texts")
    return value
