"""The parts of a function's text, and the text of a body under other names. No torch, and nothing is run."""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass

from autonas.evaluation.coding.syntax import parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How a function begins: `text` from `def` to the colon, its name, and the names of its parameters in order."""

    text: str
    name: str
    parameters: tuple[str, ...]


def find_signature(program: str, name: str) -> Signature | None:
    """Of the last function `name` at column 0; None where there is none, or it takes any number of arguments."""
    tree = parsed(program)
    functions = [] if tree is None else [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name]
    if not functions or functions[-1].args.vararg or functions[-1].args.kwarg:
        return None
    function = functions[-1]
    arguments = function.args
    text = "\n".join(program.split("\n")[function.lineno - 1 : function.end_lineno])
    row, column, _ = signature_end(text)
    lines = text.split("\n")
    return Signature(
        text="\n".join((*lines[: row - 1], lines[row - 1][:column])),
        name=name,
        parameters=tuple(each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)),
    )


def signature_end(text: str) -> tuple[int, int, bool]:
    """Line (from 1) and column behind the colon of the signature that `text` begins with, and whether the line ends there."""
    depth = 0
    tokens = tokenize.generate_tokens(io.StringIO(text + "\n").readline)
    for token in tokens:
        if token.string in ("(", "[", "{"):
            depth += 1
        elif token.string in (")", "]", "}"):
            depth -= 1
        elif token.string == ":" and depth == 0:
            return *token.end, next(tokens).type in (tokenize.NEWLINE, tokenize.COMMENT)
    raise AssertionError("a function that was parsed has a colon")


def renamed(body: str, names: Mapping[str, str]) -> str:
    """`body` with names replaced; a name of its own that would collide takes the place of the one that drives it out.

    Attributes and the names of keyword arguments stay. What stands in strings stays too.
    """
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(f"def f():{body}\n").readline))
    except (tokenize.TokenError, SyntaxError):
        return body
    used = {token.string for token in tokens if token.type == tokenize.NAME and not keyword.iskeyword(token.string)}
    table = _permuted({old: new for old, new in names.items() if old != new}, used)
    lines = body.split("\n")
    depth = 0
    for place in range(len(tokens) - 1, 4, -1):  # from the end, so that earlier columns stay; without "def f():"
        token = tokens[place]
        depth += (token.string in (")", "]", "}")) - (token.string in ("(", "[", "{"))
        keyword_argument = depth > 0 and tokens[place + 1].string == "=" if place + 1 < len(tokens) else False
        if token.type == tokenize.NAME and token.string in table and tokens[place - 1].string != "." and not keyword_argument:
            row, column = token.start[0] - 1, token.start[1] - (len("def f():") if token.start[0] == 1 else 0)
            lines[row] = lines[row][:column] + table[token.string] + lines[row][column + len(token.string) :]
    return "\n".join(lines)


def _permuted(names: Mapping[str, str], used: set[str]) -> dict[str, str]:
    """`names` and, for each new name that is used already and not replaced, a name that has become free."""
    origins = {new: old for old, new in names.items()}
    table = dict(names)
    for new in names.values():
        if new in used and new not in names:
            free = new
            while free in origins:
                free = origins[free]
            table[new] = free
    return table
