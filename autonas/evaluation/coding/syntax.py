"""Whether an answer is a program at all. No torch.

An empty answer to a prompt with a docstring compiles: the docstring is a body. So an answer is valid only if it compiles and
adds a statement; a comment alone adds none. Lines copied from the prompt may be valid, which is why the rate of a model that
copies stands beside it.
"""

from __future__ import annotations

import ast
import warnings


def parsed(program: str) -> ast.Module | None:
    """The syntax tree of `program`, None if it has none. Warnings of the compiler are not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(program)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # a null byte; an expression nested too deeply
            return None


def is_valid(prompt: str, answer: str) -> bool:
    """Whether `prompt + answer` compiles and the answer adds a statement to the prompt."""
    if not answer.strip():
        return False
    tree = parsed(prompt + answer)
    if tree is None:
        return False
    before = parsed(prompt + "\n")
    return before is None or _num_nodes(tree) > _num_nodes(before)


def _num_nodes(tree: ast.Module) -> int:
    return sum(1 for _ in ast.walk(tree))
