"""Functions of the training split, each a document of its own: what comes before a body, and the body. For Python alone.

A model that is asked for a function is asked at the beginning of a text; in a file a function stands hundreds of tokens behind
it.
"""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from autonas.data.dataset import Dataset

_FEWEST_LINES = 2  # of a body without its docstring: what is shorter is mostly `pass` or `raise NotImplementedError`


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A function, its indentation taken off. `head` + `body` is its text; the document it is from is number `document`."""

    name: str
    head: str  # decorators, signature and docstring, with the last line's end
    body: str  # the rest, indented by four
    document: int


def training_pairs(dataset: Dataset) -> list[Pair]:
    """Every function and method of the training split that says something; of equal ones the first."""
    seen: set[str] = set()
    found = []
    for number in range(len(dataset.documents("train"))):
        for pair in pairs_of(dataset.text("train", number), number):
            if pair.body not in seen:
                seen.add(pair.body)
                found.append(pair)
    return found


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
    first = min(node.lineno, *(one.lineno for one in node.decorator_list)) - 1 if node.decorator_list else node.lineno - 1
    documented = ast.get_docstring(node, clean=False) is not None
    statements = node.body[1:] if documented else node.body
    if not statements or node.end_lineno is None:
        return None
    begin = (
        min(statements[0].lineno, *(one.lineno for one in getattr(statements[0], "decorator_list", [])), statements[0].lineno)
        - 1
    )
    before = node.body[0].end_lineno if documented else None
    # Comments before the first statement belong to the body; a body on the line of its signature is none.
    top = before if before is not None else _signature_end(node, begin, lines)
    if top is None or top > begin or node.end_lineno - begin < _FEWEST_LINES:
        return None
    whole = textwrap.dedent("".join(lines[first : node.end_lineno]))
    own = whole.splitlines(keepends=True)
    cut = top - first
    head, body = "".join(own[:cut]), "".join(own[cut:])
    if not body.endswith("\n"):
        body += "\n"
    try:
        ast.parse(head + body)
    except (SyntaxError, ValueError):
        return None  # a text whose indentation a multi-line string has broken
    return Pair(name=node.name, head=head, body=body, document=document)


def _signature_end(node: ast.FunctionDef | ast.AsyncFunctionDef, begin: int, lines: list[str]) -> int | None:
    """The line behind the signature's colon, from 0; None where the body begins on it."""
    last = max([node.lineno, *(one.end_lineno or 0 for one in ast.walk(node.args) if hasattr(one, "end_lineno"))])
    if node.returns is not None:
        last = max(last, node.returns.end_lineno or 0)
    for number in range(last - 1, begin):
        if lines[number].split("#")[0].rstrip().endswith(":"):
            return number + 1
    return None
