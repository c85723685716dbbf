"""Functions of the training split, each a document of its own: what comes before a body, and the body. For Python alone.

A model that is asked for a function is asked at the beginning of a text; in a file a function stands hundreds of tokens behind
it.
"""

from __future__ import annotations

import ast
import functools
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from autonas.data.dataset import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A function, its indentation taken off. `head` + `body` is its text; the document it is from is number `document`."""

    name: str
    head: str  # decorators, signature and docstring, with the last line's end
    body: str  # the rest, with its indentation
    docstring: str  # empty where there is none
    document: int
    line: int  # of the document, that it begins on


def training_pairs(dataset: Dataset) -> tuple[Pair, ...]:
    """Every function and method of the training split that says something; of equal bodies the first."""
    return _training_pairs(str(dataset.folder), dataset.fingerprint)


@functools.lru_cache(maxsize=1)  # a run asks for them again and again, and a large corpus takes a minute
def _training_pairs(folder: str, fingerprint: str) -> tuple[Pair, ...]:
    dataset = Dataset.open(folder, fingerprint)
    seen: set[str] = set()
    found = []
    for number in range(len(dataset.documents("train"))):
        for pair in pairs_of(dataset.text("train", number), number):
            if pair.body not in seen:
                seen.add(pair.body)
                found.append(pair)
    return tuple(found)


def pairs_of(text: str, document: int = 0) -> Iterator[Pair]:
    """The functions of one source text, in order; none of a text that is no Python. Functions within functions are left out."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of others' escapes
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    lines = text.splitlines(keepends=True)
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pair = _pair(node, lines, document)
            if pair is not None:
                yield pair
        else:
            pending.extend(reversed(list(ast.iter_child_nodes(node))))


def _pair(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str], document: int) -> Pair | None:
    docstring = ast.get_docstring(node)
    statements = node.body if docstring is None else node.body[1:]
    if node.end_lineno is None or all(map(_is_empty, statements)):
        return None
    first = min([node.lineno, *(one.lineno for one in node.decorator_list)]) - 1
    # Comments before the first statement belong to the body.
    top = _signature_end(node, lines) if docstring is None else node.body[0].end_lineno
    if top is None or top >= statements[0].lineno:
        return None  # all on one line
    own = textwrap.dedent("".join(lines[first : node.end_lineno])).splitlines(keepends=True)
    head, body = "".join(own[: top - first]), "".join(own[top - first :])
    if head[:1].isspace():
        return None  # a string of several lines has kept the indentation from being taken off
    body = body if body.endswith("\n") else body + "\n"
    return Pair(name=node.name, head=head, body=body, docstring=docstring or "", document=document, line=first + 1)


def _is_empty(statement: ast.stmt) -> bool:
    """Whether it leaves the work to others: `pass`, `...`, a text, or `raise NotImplementedError`."""
    if isinstance(statement, ast.Raise):
        raised = statement.exc.func if isinstance(statement.exc, ast.Call) else statement.exc
        return isinstance(raised, ast.Name) and raised.id == "NotImplementedError"
    return isinstance(statement, ast.Pass) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))


def _signature_end(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int | None:
    """How many lines end with the signature's colon; None where the body begins on it."""
    ends = [node.lineno, *(one.end_lineno or 0 for one in (*node.args.args, *node.args.kwonlyargs, node.args.vararg) if one)]
    ends += [one.end_lineno or 0 for one in (node.args.kwarg, node.returns) if one]
    for number in range(max(ends) - 1, node.body[0].lineno - 1):
        if lines[number].partition("#")[0].rstrip().endswith(":"):
            return number + 1
    return None
