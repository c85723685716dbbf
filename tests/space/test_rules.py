from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autonas.errors import RecipeError
from autonas.space.domains import Value
from autonas.space.rules import KINDS, MAX_LENGTH, parse_rule

VALUES: dict[str, Value] = {
    "layers": 4,
    "width": 128,
    "heads": 4,
    "kv_heads": 2,
    "ffn_multiplier": 2.5,
    "norm": "rmsnorm",
    "activation": "swiglu",
    "position": "rope",
    "tied_embeddings": True,
    "attention_dropout": 0.0,
    "residual_dropout": 0.1,
    "label_smoothing": 0.0,
    "learning_rate": 1e-3,
    "weight_decay": 0.1,
    "batch_tokens": 1024,
    "vocab_size": 2048,
    "context_length": 256,
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("width % heads == 0", True),
        ("width / heads >= 33", False),
        ("2 <= layers < 5 <= width", True),
        ("2 <= layers < 4", False),
        ("heads in [2, 4]", True),
        ("heads not in (2, 4)", False),
        ("norm in ['layernorm']", False),
        ("norm == 'rmsnorm' and not tied_embeddings", False),
        ("norm != 'rmsnorm' or tied_embeddings", True),
        ("tied_embeddings == true", True),
        ("tied_embeddings", True),
        ("-layers + 8 // 3 * 2 == 0", True),
        ("width * layers <= 512", True),
        ("ffn_multiplier in [2.5]", True),
        ("vocab_size > context_length", True),
        ("width / (layers - 4) > 1", False),
        ("layers > 3 or width / (layers - 4) > 1", True),
        ("width % (layers - 4) == 0", False),
        ("layers in [-1, 4]", True),
    ],
)
def test_rules_mean_what_they_say(text: str, holds: bool) -> None:
    assert parse_rule(text).holds(VALUES) is holds


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('ls')",
        "(lambda: width)() > 1",
        "width.__class__ == 1",
        "[x for x in (1, 2)] == 1",
        "width[0] == 1",
        "width ** 99 > 1",
        "width << 9 > 1",
        "f'{width}' == 'a'",
        "exec('1')",
        "(width := 3) > 2",
        "1 if tied_embeddings else 0",
        "width is heads",
        "{1: 2} == width",
        "...",
        "None == width",
        "1j > width",
        "b'a' == norm",
        "await width",
        "yield",
        "import os",
        "width; heads",
        "*width",
        "print",
        "width % heads",
        "",
        "1 == 1",
        "True",
        "width >",
        "'a' * 999999 == norm",
        "norm < 'z'",
        "norm == 3",
        "norm == 'rmsnrom'",
        "norm == rmsnorm",
        "tied_embeddings + 1 > 0",
        "not width",
        "width and heads",
        "heads in width",
        "heads in []",
        "heads in [layers]",
        "heads in 'abc'",
        "params < 30",
        "1e999 > width",
        "width > " + "9" * 400,
        "(" * 300 + "width" + ")" * 300 + " > 1",
        "not " * 100 + "tied_embeddings",
        "-" * 480 + "1 > width",
        "width > 1 and " * 60 + "width > 1",
        "width\0 > 1",
        "'\\d' == norm",
    ],
)
def test_code_and_nonsense_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_rule(text)
    assert str(caught.value).startswith("the rule")
    assert len(str(caught.value)) < 400


def test_refusals_name_the_remedy() -> None:
    for text, remedy in {
        "widht > 3": "did you mean 'width'",
        "norm == rmsnorm": "put it in quotes",
        "norm == 'rmsnrom'": "did you mean 'rmsnorm'",
        "params < 30": "limits:",
        "x" * (MAX_LENGTH + 1): str(MAX_LENGTH),
    }.items():
        with pytest.raises(RecipeError, match=remedy):
            parse_rule(text)


def test_a_dimension_without_a_value_cannot_be_named() -> None:
    known = {name: kind for name, kind in KINDS.items() if name != "learning_rate"}
    with pytest.raises(RecipeError, match="has no value in this space"):
        parse_rule("learning_rate > 0", known)


NAMES = st.sampled_from(sorted(KINDS))
NUMBERS = st.one_of(
    NAMES.filter(lambda name: KINDS[name] == "number"), st.integers(0, 9).map(str), st.sampled_from(["0.5", "1e3"])
)
ARITHMETIC = st.recursive(
    NUMBERS,
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(lambda t: f"({' '.join(t)})"),
    max_leaves=6,
)
COMPARISONS = st.tuples(ARITHMETIC, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), ARITHMETIC).map(" ".join)
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({' '.join(t)})"),
    max_leaves=4,
)


@given(CONDITIONS.filter(lambda text: len(text) <= MAX_LENGTH and any(name in text for name in KINDS)))
def test_a_rule_agrees_with_python(text: str) -> None:
    try:
        expected = bool(eval(text, {"__builtins__": {}}, dict(VALUES)))
    except ZeroDivisionError:
        expected = False
    assert parse_rule(text).holds(VALUES) is expected


@given(st.text(max_size=60))
@example("\U0001e95e\ud800".encode("utf-8", "replace").decode())
def test_any_text_is_a_rule_or_a_refusal(text: str) -> None:
    with contextlib.suppress(RecipeError):
        assert parse_rule(text).holds(VALUES) in (True, False)
