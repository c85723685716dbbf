"""Mutated space files: each loads, or is refused in one line that names the file. No other exception ever leaves."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from autonas.errors import RequestError
from autonas.recipe import Recipe, load_recipe

SPACES = Path(__file__).parent.parent / "search_spaces"
SCALARS = (
    *("", "~", "null", "true", "no", "on", "0", "-1", "1", "2", "7", "012", "0x1F", "1e-3", "1e999", "-1e999", ".inf", ".nan"),
    *(
        "9" * 50,
        "1e18",
        "30M",
        "8 ms",
        "1.5G",
        "1:30",
        "2024-01-01",
        "'x'",
        '"4"',
        "heads",
        "width",
        "rope",
        "[]",
        "{}",
        "[1, 2]",
    ),
    *(
        "{int: [1, 4]}",
        "{int: [4, 1]}",
        "{choice: [1, heads]}",
        "{float: [0, 1]}",
        "{choice: []}",
        "{max: 1}",
        "{int: [1, 1024]}",
    ),
    *(
        "!!python/object/apply:os.system [ls]",
        "&a 1",
        "*a",
        "!x",
        "<<",
        "? 1",
        "|",
        ">",
        "@",
        "`",
        "%",
        "\\",
        "#",
        '"\\UFFFFFFFF"',
    ),
    *("width % heads == 0", "__import__('os')", "heads > 99", "'a' * 99 == norm", "layers / 0 > 1", "~nobody/x", "é", "\u202e"),
)
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 7, 2.5, 1e-9, 1e300, 10**30),
    *("", " ", "x", "heads", "30M", "8 ms", "no", "\0", "\x1b[31m", "\ud7ff", "x" * 5000),
    *([], {}, [None], [[]], [1, 2], ["val_loss", "params"], [0] * 300, {"": 1}, {"max": 0}, {"x": {"y": {"z": 1}}}),
    *({"int": [1, 2]}, {"int": [1, 1000]}, {"int": ["1", "2"], "log": 1}, {"float": [1, 0]}),
    *({"choice": [1, 1.0, True]}, {"choice": ["heads"]}),
)


def bases() -> list[str]:
    """The shipped spaces without their comments, in block and in flow style."""
    plain = [yaml.safe_load(path.read_text()) for path in sorted(SPACES.glob("*.yaml"))]
    return [yaml.safe_dump(values, sort_keys=False, default_flow_style=style) for values in plain for style in (False, None)]


def drop_line(rng: random.Random, lines: list[str]) -> None:
    del lines[rng.randrange(len(lines))]


def double_line(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))


def swap_lines(rng: random.Random, lines: list[str]) -> None:
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]


def replace_scalar(rng: random.Random, lines: list[str]) -> None:
    index = rng.randrange(len(lines))
    head, colon, _ = lines[index].partition(":")
    lines[index] = (
        f"{head}{colon} {rng.choice(SCALARS)}" if colon else f"{head[: len(head) - len(head.lstrip())]}- {rng.choice(SCALARS)}"
    )


def rename_key(rng: random.Random, lines: list[str]) -> None:
    index = rng.randrange(len(lines))
    lines[index] = lines[index].replace(rng.choice("aeiorst"), rng.choice("aeiorst "), 1)


def indent(rng: random.Random, lines: list[str]) -> None:
    index = rng.randrange(len(lines))
    lines[index] = rng.choice([" ", "  ", "\t", "- ", "? "]) + lines[index]


def spoil_characters(rng: random.Random, lines: list[str]) -> None:
    index = rng.randrange(len(lines))
    place = rng.randrange(len(lines[index]) + 1)
    lines[index] = (
        lines[index][:place] + rng.choice("[]{},:#&*!|>'\"%@`~-?\\\0\x85\u2028 0é") + lines[index][place + rng.randrange(2) :]
    )


def truncate(rng: random.Random, lines: list[str]) -> None:
    del lines[rng.randrange(1, len(lines) + 1) :]
    lines[-1] = lines[-1][: rng.randrange(len(lines[-1]) + 1)]


def nest(rng: random.Random, lines: list[str]) -> None:
    index, depth = rng.randrange(len(lines)), rng.choice([3, 31, 33, 2000])
    opening, closing = rng.choice([("[", "]"), ("{a: ", "}")])
    head, _, _ = lines[index].partition(":")
    lines[index] = f"{head}: {opening * depth}1{closing * rng.choice([depth, 0])}"


TEXT_MUTATIONS: tuple[Callable[[random.Random, list[str]], None], ...] = (
    *(drop_line, double_line, swap_lines, replace_scalar, replace_scalar, replace_scalar, rename_key, indent, spoil_characters),
    *(truncate, nest),
)


def check(path: Path, content: bytes) -> str:
    """Load the file; "loaded", or the kind of refusal once its message is found fit to print."""
    path.write_bytes(content)
    try:
        recipe = load_recipe(str(path))
    except RequestError as refusal:
        message = str(refusal)
        assert message.startswith(str(path)), (message, content)
        assert "\n" not in message and message.isprintable(), (message, content)
        assert 10 < len(message) - len(str(path)) < 1000, (message, content)
        return type(refusal).__name__
    assert Recipe.from_resolved(recipe.resolved) == recipe, content
    assert recipe.space.nearest_legal({}) is not None, content
    return "loaded"


@pytest.mark.parametrize("seed", range(5))
def test_mutated_texts_load_or_are_refused_in_one_line(seed: int, tmp_path: Path) -> None:
    rng, texts, seen = random.Random(seed), bases(), Counter[str]()
    for _ in range(500):
        lines = rng.choice(texts).splitlines()
        for _ in range(rng.choice([1, 1, 1, 2, 4])):
            if lines:
                rng.choice(TEXT_MUTATIONS)(rng, lines)
        seen[check(tmp_path / "mutant.yaml", "\n".join(lines).encode("utf-8", "replace"))] += 1
    assert len(seen) >= 2, seen  # the mutations are neither all fatal nor all harmless


def test_random_bytes_are_refused_in_one_line(tmp_path: Path) -> None:
    rng, texts = random.Random(0), bases()
    for _ in range(300):
        content = bytearray(rng.choice(texts).encode())
        for _ in range(rng.choice([1, 3, 30])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        check(tmp_path / "mutant.yaml", bytes(content))
        check(tmp_path / "mutant.yaml", rng.randbytes(rng.randrange(200)))


def places(values: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) within nested lists and mappings."""
    keys = list(values) if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else []
    return [pair for key in keys for pair in [(values, key), *places(values[key])]]


@pytest.mark.parametrize("seed", range(4))
def test_values_of_any_type_anywhere_load_or_are_refused_in_one_line(seed: int, tmp_path: Path) -> None:
    rng, seen = random.Random(seed), Counter[str]()
    originals = [json.loads(json.dumps(dict(load_recipe(str(path)).resolved))) for path in sorted(SPACES.glob("*.yaml"))]
    for _ in range(400):
        values = copy.deepcopy(rng.choice(originals))
        for _ in range(rng.choice([1, 1, 2, 3])):
            container, key = rng.choice(places(values))
            other, other_key = rng.choice(places(values))
            container[key] = copy.deepcopy(rng.choice([rng.choice(JUNK), other[other_key]]))
        seen[check(tmp_path / "mutant.yaml", json.dumps(values, ensure_ascii=False).encode("utf-8", "replace"))] += 1
    assert len(seen) >= 2, seen
