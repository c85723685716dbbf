from __future__ import annotations

from typing import Any

import pytest

from autonas.errors import RecipeError
from autonas.space.domains import Choice, Fixed, Float, Int
from autonas.space.loading import describe_space, read_space
from autonas.space.node import Section, from_values
from autonas.space.reading import parse_yaml
from autonas.space.space import Space
from tests.space.small import price


def load(space: str, rest: str = "", *, sample: bool = False) -> Space:
    """The space of `layers: 2`, `width: 64`, `heads: 4` and the lines of `space` (which may replace them)."""
    lines = {line.split(":")[0].strip(): line for line in ("  layers: 2", "  width: 64", "  heads: 4", *space.splitlines())}
    text = "space:\n" + "\n".join(lines.values()) + "\n" + rest
    root = Section(node=parse_yaml(text, "s.yaml"))
    return read_space(root, name="s", vocab_size=300, context_length=32, sample_horizon_bound=sample, price=price)


def complaint(space: str, rest: str = "") -> str:
    with pytest.raises(RecipeError) as caught:
        load(space, rest)
    message = str(caught.value)
    assert message.startswith("s.yaml:")
    assert "\n" not in message
    return message


def test_every_kind_of_dimension_is_read() -> None:
    space = load(
        "  layers: {int: [2, 8], step: 2}\n  width: {int: [32, 64], log: true}\n  heads: {choice: [2]}\n"
        "  kv_heads: {choice: [1, heads]}\n  ffn_multiplier: {choice: [2, 2.5]}\n  norm: layernorm\n"
        "  tied_embeddings: {choice: [true, false]}\n  attention_dropout: {float: [0, 0.2], default: 0.1}\n"
        "  learning_rate: {float: [1e-4, 1e-2], log: true}\n  batch_tokens: {int: [32, 128], step: 32}\n"
    )
    assert space.domains["layers"] == Int(low=2, high=8, step=2)
    assert space.domains["width"] == Int(low=32, high=64, log=True)
    assert space.domains["heads"] == Fixed(value=2)
    assert space.domains["kv_heads"] == Choice(options=(1, "heads"))
    assert space.domains["ffn_multiplier"] == Choice(options=(2.0, 2.5))
    assert space.domains["norm"] == Fixed(value="layernorm")
    assert space.domains["tied_embeddings"] == Choice(options=(True, False))
    assert space.domains["attention_dropout"] == Float(low=0.0, high=0.2)
    assert space.domains["learning_rate"] == Float(low=1e-4, high=1e-2, log=True)
    assert space.held["attention_dropout"] == 0.1
    assert "learning_rate" not in space.held
    assert space.structural == ("layers", "width", "kv_heads", "ffn_multiplier", "tied_embeddings")


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ("  widht: 3", "widht: 'widht' is an unknown key; did you mean 'width'?"),
        ("  layers: [1, 2]", "space.layers: is a list; write {choice: [...]}"),
        ("  layers: two", "space.layers: is two, not a whole number"),
        ("  layers: 0", "whole number from 1"),
        ("  layers: -3", "out of range"),
        ("  layers: 2.5", "not a whole number"),
        ("  layers: 5000", "from 1 to 1,024"),
        ("  layers: '2'", "without quotes"),
        ("  layers: true", "not a whole number"),
        ("  layers:", "is empty"),
        ("  layers: {}", "exactly one of choice, int, float"),
        ("  layers: {int: [1, 2], choice: [1]}", "exactly one"),
        ("  layers: {ints: [1, 2]}", "did you mean 'int'"),
        ("  layers: {int: [1]}", "write two, [low, high]"),
        ("  layers: {int: [4, 2]}", "smaller one first"),
        ("  layers: {int: [1, 8], step: 2}", "write 7 as the high end"),
        ("  layers: {int: [1, 8], step: 0}", "step"),
        ("  layers: {int: [1, 8], step: 7, log: true}", "do not go together"),
        ("  layers: {int: [1, 8], log: maybe}", "true or false"),
        ("  layers: {int: 3}", "not a list"),
        ("  layers: {float: [1, 8]}", "no range that layers can have"),
        ("  layers: {choice: []}", "no options"),
        ("  layers: {choice: [1, 2, 1]}", "twice"),
        ("  layers: {choice: [1, [2]]}", "choice[1]: is a list"),
        ("  layers: {choice: [1, 2], step: 1}", "only for {int"),
        ("  layers: {choice: [1, 2], log: true}", "only for ranges"),
        ("  layers: {choice: [1, 2], default: 1}", "remove it"),
        ("  norm: {choice: [rmsnorm, layrenorm]}", "did you mean 'layernorm'"),
        ("  norm: {int: [1, 2]}", "no range that norm can have"),
        ("  norm: 3", "unknown norm"),
        ("  norm: no", "is no, an unknown norm"),
        ("  tied_embeddings: yes", "write true or false"),
        ("  tied_embeddings: {choice: [true, 1]}", "neither true nor false"),
        ("  kv_heads: head", "not a whole number"),
        ("  attention_dropout: 1.0", "less than 1"),
        ("  attention_dropout: {float: [0.1, 0.2]}", "write the `default:`"),
        ("  attention_dropout: {float: [0, 0.2], default: 0.3}", "not in the range"),
        ("  attention_dropout: .nan", "finite"),
        ("  learning_rate: 0", "more than 0"),
        ("  attention_dropout: {float: [0, 0.2], log: true}", "logarithmic"),
        ("  batch_tokens: 48", "not a multiple of context_length 32; write"),
        ("  batch_tokens: {int: [32, 64]}", "not a multiple of context_length 32"),
        ("  layers: {choice: [" + ", ".join(map(str, range(1, 300))) + "]}", "at most 256"),
        ("  heads: 7", "space.heads: holds 7, which divides no width"),
        ("  heads: {choice: [2, 7]}", "space.heads: holds 7, which divides no width"),
        ("  kv_heads: {choice: [1, 3]}", "space.kv_heads: holds 3, which divides no heads"),
        ("  width: 12\n  position: rope", "rope needs an even head width"),
    ],
)
def test_a_wrong_dimension_is_refused_with_place_and_remedy(space: str, says: str) -> None:
    assert says in complaint(space)


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        ("rules: width % heads == 0\n", "rules: is width % heads == 0, not a list"),
        ("rules:\n  - width % heads == 0\n  - layers > 3\n", "s.yaml:7: rules[1]: `layers > 3` is impossible"),
        ("rules: ['__import__(\"os\")']\n", "a call"),
        ("rules: [learning_rate > 0]\n", "has no value in this space"),
        ("rules: [{a: b}]\n", "rules[0]: is a mapping"),
        ("rules: [3]\n", "not a condition"),
        ("rules: [" + ", ".join(["layers > 0"] * 51) + "]\n", "at most 50"),
        ("limits: {params: 30M}\n", "write {max: 30M}"),
        ("limits: {parms: {max: 30M}}\n", "did you mean 'params'"),
        ("limits: {params: {most: 30M}}\n", "unknown key"),
        ("limits: {params: {max: 30 MB}}\n", "suffix"),
        ("limits: {params: {min: 3M, max: 2M}}\n", "min 3,000,000 above max 2,000,000"),
        ("limits: {params: {max: 1K}}\n", "limits.params.max: is 1,000, but even the smallest architecture has params"),
        ("limits: {memory: {min: 1G}}\n", "limits.memory.min: is 1,000,000,000, but even the largest"),
        ("limits: {latency: {min: 1 ms}}\n", "unknown key"),
        ("limits: {latency: {max: 0}}\n", "more than 0"),
        ("limits: {latency: {max: 8 parsecs}}\n", "suffix"),
        ("limits: {val_loss: {max: 3}}\n", "known only after training"),
        ("limits: []\n", "not a mapping"),
    ],
)
def test_wrong_rules_and_limits_are_refused_with_place_and_remedy(rest: str, says: str) -> None:
    assert says in complaint("", rest)


@pytest.mark.parametrize("missing", ["layers", "width", "heads"])
def test_required_dimensions_may_not_be_left_out(missing: str) -> None:
    values = {name: 4 for name in ("layers", "width", "heads") if name != missing}
    root = Section(node=from_values({"space": values}, "s.yaml"))
    with pytest.raises(RecipeError, match=f"lacks `{missing}`"):
        read_space(root, name="s", vocab_size=300, context_length=32, sample_horizon_bound=False, price=price)


def test_limits_are_read_with_their_units() -> None:
    limits = load("", "limits: {params: {min: 10, max: 1.5M}, memory: {max: 60MB}, latency: {max: 8 ms}}\n").limits
    assert (limits.params_min, limits.params_max, limits.memory_max) == (10, 1_500_000, 60_000_000)
    assert limits.latency_max_ms == 8.0


@pytest.mark.parametrize("sample", [True, False])
def test_a_described_space_is_read_again_as_the_same(sample: bool) -> None:
    rest = "rules:\n  - width % heads == 0\n  - norm in ['rmsnorm']\nlimits: {params: {max: 9M}, latency: {max: 0.5 s}}\n"
    space = load(
        "  layers: {int: [1, 9], step: 4}\n  heads: {choice: [2, 4]}\n  kv_heads: {choice: [1, heads]}\n"
        "  attention_dropout: {float: [0, 0.2], default: 0.05}\n  learning_rate: {float: [1e-5, 1e-2], log: true}\n",
        rest,
        sample=sample,
    )
    described: dict[str, Any] = describe_space(space)
    root = Section(node=from_values(described, "again"))
    again = read_space(root, name="s", vocab_size=300, context_length=32, sample_horizon_bound=sample, price=price)
    assert again == space
    assert describe_space(again) == described


def test_the_order_of_dimensions_in_the_file_does_not_matter() -> None:
    one = load("  layers: {int: [1, 3]}\n  norm: {choice: [rmsnorm, layernorm]}\n")
    two = load("  norm: {choice: [rmsnorm, layernorm]}\n  layers: {int: [1, 3]}\n")
    assert one == two
    assert list(one.domains) == list(two.domains)
