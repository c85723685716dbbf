"""Rules of a space file: conditions over its dimensions, such as `width % heads == 0`.

A rule looks like Python but is not run as Python. Its syntax tree is checked against a short list of allowed nodes, typed (so
that no text is multiplied and no number is compared with a name), and evaluated by walking it. There are no calls, attributes,
subscripts, powers or comprehensions, and a rule is short: its cost is bounded and it can reach nothing but the values given.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from autonas.arch import ACTIVATIONS, NORMS, POSITIONS
from autonas.errors import RecipeError
from autonas.space.domains import Value
from autonas.space.node import LARGEST_COUNT, closest

MAX_LENGTH = 500
MAX_TREE_DEPTH = 40

Kind = Literal["number", "text", "truth"]

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(("layers", "width", "heads", "kv_heads", "ffn_multiplier", "vocab_size", "context_length"), "number"),
    **dict.fromkeys(("attention_dropout", "residual_dropout", "label_smoothing"), "number"),
    **dict.fromkeys(("learning_rate", "weight_decay", "batch_tokens"), "number"),
    **dict.fromkeys(("norm", "activation", "position"), "text"),
    "tied_embeddings": "truth",
}
_TEXTS = {"norm": NORMS, "activation": ACTIVATIONS, "position": POSITIONS}
_LIMITED = ("params", "memory", "flops", "latency", "prefill_latency")

_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ORDER: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_EQUALITY: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
_SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition that every architecture of the space meets; `names` are the dimensions it speaks of."""

    text: str
    names: frozenset[str]
    tree: ast.expr = field(repr=False, compare=False)
    export: str = ""  # the format that the file's `export:` asks for; empty where the rule is one of its own

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether `values` meet the rule. One that cannot be computed (a division by zero) is not met."""
        try:
            return bool(_value(self.tree, values))
        except (ZeroDivisionError, OverflowError):
            return False


def parse_rule(text: str, names: Mapping[str, Kind] = KINDS) -> Rule:
    """The rule that `text` describes, over the dimensions `names`.

    Raises:
        RecipeError: it is no condition, uses more than rules may, or names something unknown; without a place.
    """
    shown = text if len(text) <= 80 else f"{text[:80]}…"
    if len(text) > MAX_LENGTH:
        raise RecipeError(f"the rule has {len(text)} characters; write at most {MAX_LENGTH}, or several rules")
    try:
        with warnings.catch_warnings():  # Python warns about odd but legal syntax, such as `1 is 1`, refused below
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
        checker = _Checker(names)
        kind = checker.kind(tree)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise RecipeError(f"the rule {shown!r} is not a condition; write one such as width % heads == 0") from error
    except _Refusal as refusal:
        raise RecipeError(f"the rule {shown!r} {refusal}") from refusal
    if kind != "truth":
        raise RecipeError(f"the rule {shown!r} is a {kind} and not a condition; compare it, as in width % heads == 0")
    if not checker.used:
        raise RecipeError(f"the rule {shown!r} names no dimension; use some of {', '.join(names)}")
    return Rule(text=text.strip(), names=frozenset(checker.used), tree=tree)


class _Refusal(Exception):
    """What is wrong with a rule; completed by `parse_rule`."""


class _Checker:
    """Finds the kind of every part of a rule, and refuses what is not on the list."""

    def __init__(self, names: Mapping[str, Kind]) -> None:
        self._names = names
        self.used: set[str] = set()

    def kind(self, node: ast.expr, depth: int = 0) -> Kind:
        if depth > MAX_TREE_DEPTH:
            raise _Refusal(f"is nested more than {MAX_TREE_DEPTH} deep; write several rules")
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self._name(node.id)
            case ast.BoolOp(values=values):
                self._want("truth", values, "and, or", depth)
                return "truth"
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self._want("truth", [operand], "not", depth)
                return "truth"
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
                self._want("number", [operand], "a sign", depth)
                return "number"
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                self._want("number", [left, right], "arithmetic", depth)
                return "number"
            case ast.Compare():
                self._comparison(node, depth)
                return "truth"
        raise _Refusal(
            f"uses {_describe(node)}, which rules may not; they have names, numbers, + - * / // %, < == in, and, or, not"
        )

    def _constant(self, node: ast.Constant) -> Kind:
        match node.value:
            case bool():
                return "truth"
            case int() | float():
                if not abs(node.value) <= LARGEST_COUNT:
                    raise _Refusal(f"holds a number beyond {LARGEST_COUNT:.0e}; write a smaller one")
                return "number"
            case str():
                return "text"
        raise _Refusal(f"holds {str(node.value)[:40]!r}, which is no number, text, True or False; remove it")

    def _name(self, name: str) -> Kind:
        if name in ("true", "false"):
            return "truth"
        if name in self._names:
            self.used.add(name)
            return self._names[name]
        if name in _LIMITED:
            raise _Refusal(f"names {name}, which is not a dimension; bound it under `limits:`")
        if any(name in texts for texts in _TEXTS.values()):
            raise _Refusal(f"names {name}, which is an option; put it in quotes: '{name}'")
        if name in KINDS:
            raise _Refusal(f"names {name}, which has no value in this space; put it under `space:`, or use another")
        raise _Refusal(f"names {name[:60]!r}, which is unknown{closest(name, tuple(self._names))}")

    def _comparison(self, node: ast.Compare, depth: int) -> None:
        operands = [node.left, *node.comparators]
        for left, op, right in zip(operands, node.ops, operands[1:], strict=False):
            if isinstance(op, ast.In | ast.NotIn):
                if not isinstance(right, ast.List | ast.Tuple | ast.Set) or not right.elts:
                    raise _Refusal("uses `in` without a list of constants after it; write as in heads in [2, 4, 8]")
                for element in right.elts:
                    if not isinstance(_unsigned(element), ast.Constant) and not _is_truth_name(element):
                        raise _Refusal("uses `in` with a list that is not of constants; write as in heads in [2, 4, 8]")
                    self._alike(left, element, depth)
            elif type(op) in _EQUALITY:
                self._alike(left, right, depth)
            elif type(op) in _ORDER:
                self._want("number", [left, right], "an order comparison", depth)
            else:
                raise _Refusal(f"uses {_describe(op)}, which rules may not; write == or !=")

    def _alike(self, left: ast.expr, right: ast.expr, depth: int) -> None:
        kinds = (self.kind(left, depth + 1), self.kind(right, depth + 1))
        if kinds[0] != kinds[1]:
            raise _Refusal(f"compares a {kinds[0]} with a {kinds[1]}; compare like with like")
        for name, constant in ((left, right), (right, left)):
            if isinstance(name, ast.Name) and isinstance(constant, ast.Constant) and name.id in _TEXTS:
                options = _TEXTS[name.id]
                if constant.value not in options:
                    raise _Refusal(
                        f"compares {name.id} with {constant.value!r}, which it never is{closest(constant.value, options)}"
                    )

    def _want(self, wanted: Kind, nodes: list[ast.expr], what: str, depth: int) -> None:
        for node in nodes:
            kind = self.kind(node, depth + 1)
            if kind != wanted:
                raise _Refusal(f"uses {what} on a {kind}; it needs a {wanted}")


def _is_truth_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("true", "false")


def _unsigned(node: ast.expr) -> ast.expr:
    return node.operand if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS else node


def _describe(node: ast.AST) -> str:
    words = {
        ast.Call: "a call",
        ast.Attribute: "an attribute",
        ast.Subscript: "a subscript",
        ast.Lambda: "a lambda",
        ast.IfExp: "if … else",
        ast.JoinedStr: "an f-string",
        ast.BinOp: "an operator",
        ast.UnaryOp: "an operator",
        ast.Is: "`is`",
        ast.IsNot: "`is not`",
        ast.NamedExpr: "an assignment",
    }
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return "a power"
    return words.get(type(node), f"a {type(node).__name__}")


def _value(node: ast.expr, values: Mapping[str, Value]) -> Any:
    """The value of a checked tree."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return name == "true" if name in ("true", "false") else values[name]
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_value(left, values), _value(right, values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _value(operand, values)
        case ast.UnaryOp(op=op, operand=operand):
            return _SIGNS[type(op)](_value(operand, values))
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_value(part, values) for part in parts)
        case ast.Compare():
            return _compare(node, values)
    raise AssertionError(f"an unchecked node: {ast.dump(node)}")


def _compare(node: ast.Compare, values: Mapping[str, Value]) -> bool:
    left = _value(node.left, values)
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            assert isinstance(comparator, ast.List | ast.Tuple | ast.Set), ast.dump(comparator)
            found = left in [_value(element, values) for element in comparator.elts]
            if found == isinstance(op, ast.NotIn):
                return False
            continue
        right = _value(comparator, values)
        if not {**_ORDER, **_EQUALITY}[type(op)](left, right):
            return False
        left = right
    return True
