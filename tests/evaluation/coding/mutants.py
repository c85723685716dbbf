"""Every way in which a small program can be wrong by one change: what good asserts have to notice."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_OPERATORS: dict[type[ast.operator], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Add, ast.Pow),
    ast.Mod: (ast.FloorDiv,),
}


def mutants(program: str) -> Iterator[str]:
    """`program` with one change each: an operator, a constant, a name, a condition, or a statement less."""
    tree = ast.parse(program)
    names = sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)})
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    names += [argument.arg for argument in function.args.args]
    for place, node in enumerate(ast.walk(tree)):
        for field, value in _changes(node, names):
            changed = copy.deepcopy(tree)
            target = list(ast.walk(changed))[place]
            setattr(target, field, value)
            text = ast.unparse(ast.fix_missing_locations(changed))
            if text != ast.unparse(tree):
                yield text


def _changes(node: ast.AST, names: list[str]) -> Iterator[tuple[str, Any]]:
    if isinstance(node, ast.Compare):
        yield from (("ops", [other()]) for other in _COMPARISONS.get(type(node.ops[0]), ()))
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        yield from (("op", other()) for other in _OPERATORS.get(type(node.op), ()))
    elif isinstance(node, ast.UnaryOp):
        yield "op", ast.UAdd()
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield "value", not node.value
        elif isinstance(node.value, int):
            yield from (("value", node.value + step) for step in (-1, 1))
        elif isinstance(node.value, str):
            yield from (("value", node.value[:place] + node.value[place + 1 :]) for place in range(len(node.value)))
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
        yield from (("id", other) for other in names)
    elif isinstance(node, ast.Return):
        yield "value", None
    elif isinstance(node, ast.If):
        yield "test", ast.UnaryOp(op=ast.Not(), operand=node.test)
    if isinstance(node, ast.FunctionDef | ast.For | ast.If | ast.While):
        for place in range(len(node.body)):
            if not (isinstance(node, ast.FunctionDef) and place == 0):  # the docstring
                yield "body", [*node.body[:place], ast.Pass(), *node.body[place + 1 :]]
