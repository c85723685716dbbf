"""Tests, made ready to run: what they need of the program, and a mark behind each assert that says it ran and held."""

from __future__ import annotations

import ast
import builtins
import functools
import marshal
import sys
import threading
import warnings
from typing import Any

_MARK = "__held__"
_WARNINGS = threading.Lock()  # filters are the process's, and several threads check at once


class BadTests(Exception):
    """No program could be judged by these tests."""


@functools.lru_cache(maxsize=1024)  # many programs are tried on the same tests
def prepare(text: str, entry_point: str | None) -> dict[str, Any]:
    """What the process that runs the tests is given, as plain data.

    `code`: the tests compiled. `names`: what may be the program's. `modules`: those of the standard library that the tests use
    by their names; they are imported for the tests, whatever the program calls so. `required`: the lines of asserts that must
    have run. An assert under an `if`, a `while` or an `except` may be left out, and one that always fails too.

    Raises:
        BadTests: they are no Python, or hold no assert that is sure to run.
    """
    # What the compiler warns of (an escape that is none) concerns whoever wrote the tests.
    with _WARNINGS, warnings.catch_warnings(action="ignore"):
        return _prepare(text, entry_point)


def _prepare(text: str, entry_point: str | None) -> dict[str, Any]:
    try:
        tree = ast.parse(text, "<tests>")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadTests(f"the tests do not parse: {error}") from None
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    owned = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in sys.stdlib_module_names
    }
    modules = owned - _bound(tree) - {entry_point}
    # A built-in function keeps its meaning, whatever the program calls by its name, unless it is what is asked for.
    names = read - modules - (set(dir(builtins)) - {entry_point}) - {_MARK}
    required = _required(tree.body)
    if not required:
        raise BadTests("the tests hold no assert that is sure to run")
    lines = text.splitlines()
    marked = ast.fix_missing_locations(_Marking().visit(tree))
    try:
        code = compile(marked, "<tests>", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadTests(f"the tests do not compile: {error}") from None
    return {
        "code": marshal.dumps(code),
        "mark": _MARK,
        "names": sorted(names | ({entry_point} - {None})),
        "modules": sorted(modules),
        "random": "random" in modules or any(_imports_random(node) for node in ast.walk(tree)),
        "required": sorted(required),
        "lines": [line.strip()[:500] for line in lines],
        "entry_point": entry_point,
    }


class _Marking(ast.NodeTransformer):
    def visit_Assert(self, node: ast.Assert) -> list[ast.stmt]:
        held = ast.Expr(ast.Call(ast.Name(_MARK, ast.Load()), [ast.Constant(node.lineno)], []))
        return [node, ast.copy_location(held, node)]


def _bound(tree: ast.Module) -> set[str]:
    """The names that the tests bind themselves, anywhere."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    return names


def _imports_random(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "random"
    return isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names)


def _required(body: list[ast.stmt]) -> set[int]:
    lines: set[int] = set()
    for node in body:
        if isinstance(node, ast.Assert):
            if not (isinstance(node.test, ast.Constant) and not node.test.value):
                lines.add(node.lineno)
        elif isinstance(node, ast.For | ast.AsyncFor | ast.With | ast.AsyncWith | ast.FunctionDef | ast.ClassDef):
            lines |= _required(node.body)
        elif isinstance(node, ast.Try):
            lines |= _required(node.body) | _required(node.finalbody)
    return lines
