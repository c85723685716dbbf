"""What tests need of a program, and which asserts have to run."""

from __future__ import annotations

import pytest

from autonas.evaluation.sandbox.asserts import BadTests, prepare


def test_names_are_those_that_the_tests_read() -> None:
    found = prepare("import copy\nfrom math import floor\nx = 1\nassert f(x) == copy.copy(y) + re.I + len(z)\n", None)
    assert {"f", "y", "z"} <= set(found["names"])
    assert found["modules"] == ["re"]  # used as a module, imported by nobody: the tests get their own
    assert "len" not in found["names"]
    assert "len" in prepare("assert len(3)\n", "len")["names"]
    assert "re" in prepare("assert re.x\n", "re")["names"]


@pytest.mark.parametrize(
    ("tests", "lines"),
    [
        ("assert f()\nassert g()\n", [1, 2]),
        ("def check(c):\n    assert c()\n    for i in c():\n        assert i\ncheck(f)\n", [2, 4]),
        ("try:\n    assert f()\nexcept ValueError:\n    assert g()\nfinally:\n    assert h()\n", [2, 6]),
        ("assert f()\nif f():\n    assert g()\nelse:\n    assert h()\nwhile f():\n    assert g()\n", [1]),
        ("assert f()\ntry:\n    g()\n    assert False, 'no error'\nexcept ValueError:\n    pass\n", [1]),
        ("with f():\n    assert g()\nclass T:\n    assert f()\n    def m(self):\n        assert g()\n", [2, 4, 6]),
    ],
)
def test_asserts_that_are_sure_to_run_are_required(tests: str, lines: list[int]) -> None:
    assert prepare(tests, None)["required"] == lines


def test_an_escape_that_is_none_is_no_fault_of_the_program() -> None:
    assert prepare(r"assert f('\d') is 1", None)["required"] == [1]


@pytest.mark.parametrize("tests", ["", "f()\n", "if f():\n    assert g()\n", "assert f(\n", "return 1\nassert f()\n", "\0"])
def test_tests_that_could_judge_nothing_are_refused(tests: str) -> None:
    with pytest.raises(BadTests, match="tests"):
        prepare(tests, None)
