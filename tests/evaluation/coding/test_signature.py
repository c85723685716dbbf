from __future__ import annotations

import pytest

from autonas.evaluation.coding.signature import Signature, find_signature, renamed, signature_end
from autonas.evaluation.coding.tasks import CodingTask, builtin_tasks


def test_a_signature_ends_at_its_own_colon() -> None:
    program = (
        "import os\n\n\ndef f(a: dict[str, int], b=lambda x: {1: x},\n      *, c: int = 3) -> list[int]:  # why\n    return a\n"
    )
    found = find_signature(program, "f")
    assert found is not None and found.parameters == ("a", "b", "c")
    assert found.text == "def f(a: dict[str, int], b=lambda x: {1: x},\n      *, c: int = 3) -> list[int]:"
    assert signature_end("def f(): return 1") == (1, 8, False)
    assert signature_end("def f():  # why\n  return 1") == (1, 8, True)


def test_the_last_of_equal_names_counts_and_any_number_of_arguments_none() -> None:
    assert find_signature("def f(a):\n  pass\ndef f(b):\n  pass", "f") == Signature(
        text="def f(b):", name="f", parameters=("b",)
    )
    assert find_signature("def f(*a):\n  pass", "f") is None
    assert find_signature("def g(a):\n  pass", "f") is None
    assert find_signature("def f(a:", "f") is None


@pytest.mark.parametrize(
    ("body", "names", "expected"),
    [
        ("\n    return a + b", {"a": "x", "b": "y"}, "\n    return x + y"),
        ("\n    return a + b", {"a": "b", "b": "a"}, "\n    return b + a"),
        # A local name that stands in the way takes the place that has become free.
        ("\n    n = 0\n    return items[n]", {"items": "n"}, "\n    items = 0\n    return n[items]"),
        ("\n    b = a\n    return b", {"a": "b", "c": "a"}, "\n    c = b\n    return c"),
        ("\n    return a.a(a=a, b=[a])", {"a": "x"}, "\n    return x.a(a=x, b=[x])"),
        ("\n    return 'a' + a  # a", {"a": "x"}, "\n    return 'a' + x  # a"),
        ("  # a\n    return a", {"a": "xyz"}, "  # a\n    return xyz"),
        ("\n    return aa(a, f(a))", {"a": "aa"}, "\n    return a(aa, f(aa))"),
        ("\n    return (", {"a": "x"}, "\n    return ("),
    ],
)
def test_names_are_replaced_and_nothing_else(body: str, names: dict[str, str], expected: str) -> None:
    assert renamed(body, names) == expected


@pytest.mark.parametrize("task", builtin_tasks(), ids=lambda task: task.name)
def test_a_renamed_reference_still_passes(task: CodingTask) -> None:
    signature = find_signature(task.program, task.entry_point)
    assert signature is not None
    # Names that collide with every local one of the references.
    for names in (("result", "n"), ("item", "index"), ("a", "count"), ("b", "a"), ("_", "number")):
        new = names[: len(signature.parameters)]
        body = renamed(task.solution, dict(zip(signature.parameters, new, strict=True)) | {task.entry_point: "f"})
        program = f"def f({', '.join(new)}):{body}\n{task.entry_point} = f\n"
        exec(program + task.tests, {})
