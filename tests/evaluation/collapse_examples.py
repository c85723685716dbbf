"""Builds the generated part of the labelled collapse set anew: `python -m tests.evaluation.collapse_examples`.

Texts written by hand and texts that models wrote stay in autonas/evaluation/labelled_collapse.jsonl as they stand. The rule by
which all labels were decided is in autonas/bench/detectors.py.
"""

from __future__ import annotations

import base64
import json
import random
import string
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from autonas.bench.detectors import LABELLED

SEED: Final = 6
_BLOCKS: Final = (
    ("def add(a, b):\n    return a + b\n\n"),
    ("    def get(self):\n        return self.value\n\n"),
    ("    if x is None:\n        raise ValueError('x')\n"),
    ("    for i in range(n):\n        total += i\n"),
    ("for (int i = 0; i < n; i++) {\n    sum += a[i];\n}\n"),
    ("    def __init__(self, name, value):\n        self.name = name\n        self.value = value\n\n"),
    (
        "class Node:\n"
        "    def __init__(self, data):\n"
        "        self.data = data\n"
        "        self.next = None\n\n"
        "    def __repr__(self):\n"
        "        return repr(self.data)\n\n"
    ),
    (
        "try:\n"
        "    with open(path) as file:\n"
        "        data = json.load(file)\n"
        "except OSError as error:\n"
        "    log.warning('no %s: %s', path, error)\n"
        "    data = {}\n"
    ),
    ("public int getSize() {\n    return this.size;\n}\n\n"),
    ('    """Return the name of the object.\n\n    The name is the one that was given.\n    """\n'),
    ('<tr>\n  <td class="a">the name</td>\n  <td class="b">the value</td>\n</tr>\n'),
    ("func (s *Stack) Push(x int) {\n\ts.items = append(s.items, x)\n\ts.size++\n}\n\n"),
    "It was the day that the man went to the town to see the people who had been there before. ",
    "The function returns the value of the key, or the default. ",
    ("self.assertRaises(ValueError, parse, 'x')\nself.assertEqual(parse('1'), 1)\n"),
    (
        "low, high = 0, len(items) - 1\n"
        "while low <= high:\n"
        "    middle = (low + high) // 2\n"
        "    if items[middle] < target:\n"
        "        low = middle + 1\n"
        "    else:\n"
        "        high = middle - 1\n"
    ),
)


@cache
def written(family: str) -> list[str]:
    """The texts of a family that was written by hand, in the file's order."""
    return [row["text"] for row in read_rows() if row["family"] == family and row["origin"] == "written"]


def read_rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]


def _name(rng: random.Random) -> str:
    roots = [
        "node",
        "item",
        "user",
        "path",
        "line",
        "name",
        "file",
        "size",
        "count",
        "index",
        "value",
        "start",
        "stop",
        "left",
        "right",
        "key",
        "table",
        "cell",
        "token",
        "word",
        "page",
        "task",
    ]
    return "_".join(rng.sample(roots, rng.choice((1, 1, 2))))


def _names(rng: random.Random, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[_name(rng)] = None
    return list(found)


def _imports(rng: random.Random) -> Iterator[str]:
    modules = [
        "abc",
        "ast",
        "bisect",
        "cmath",
        "copy",
        "csv",
        "enum",
        "glob",
        "gzip",
        "heapq",
        "io",
        "json",
        "math",
        "os",
        "queue",
        "re",
        "socket",
        "ssl",
        "string",
        "sys",
        "time",
        "uuid",
        "zlib",
    ]
    yield "".join(f"import {name}\n" for name in sorted(rng.sample(modules, 9)))
    yield "".join(f"from .{name} import {name.title()}\n" for name in _names(rng, 7))
    yield "".join(f"import {name} as {name[:2]}\n" for name in rng.sample(modules, 6))
    yield "".join(f"use crate::{name}::{name.title()};\n" for name in _names(rng, 7))
    yield "".join(f"const {name} = require('./{name}');\n" for name in _names(rng, 7))
    yield "__all__ = [\n" + "".join(f'    "{name}",\n' for name in _names(rng, 12)) + "]\n"


def _rows_of_calls(rng: random.Random) -> Iterator[str]:
    for names in (_names(rng, 8), _names(rng, 6)):
        yield "".join(f"self.{n} = {n}\n" for n in names)
        yield "".join(f"        self.assertEqual(f({i}), {i * i})\n" for i in range(1, 9))
        yield "".join(f"assert {n}({rng.randrange(9)}) == {rng.randrange(99)}\n" for n in names)
        yield "".join(f"def {n}(self) -> None: ...\n" for n in names)
        yield "".join(f"@property\ndef {n}(self):\n    return self._{n}\n\n" for n in names)
        yield "".join(f"@overload\ndef f(x: {n}) -> {n}: ...\n" for n in ("int", "str", "float", "bytes", "bool"))
        yield "".join(f"{n.upper()} = {i}\n" for i, n in enumerate(names))
        yield "".join(f"    elif kind == '{n}':\n        return {n.title()}(value)\n" for n in names)
        yield "".join(f"class {n.title()}Error(Error):\n    pass\n\n\n" for n in names)
        yield "".join(f"def test_{n}():\n    assert {n}() is None\n\n\n" for n in names)
        yield "text = (\n" + "".join(f"    '{n}: ' + str({n}) + ', '\n" for n in names) + ")\n"
        yield "enum {\n" + "".join(f"    OP_{n.upper()},\n" for n in names) + "};\n"
        yield "".join(f"        case '{n[0]}': return '{n}';\n" for n in names)
        yield "".join(f"x{i} = {i}\n" for i in range(1, 16))
        yield "d = {" + ", ".join(f"'{n}': '{n}'" for n in names) + "}\n"
        yield "".join(f"logger.info('{n}: %s', {n})\n" for n in names)
        yield "".join(f"export {{ default as {n} }} from './{n}';\n" for n in names)


def _numbers(rng: random.Random) -> Iterator[str]:
    for width in (4, 6, 10):
        yield "".join(" ".join(f"{rng.random():8.4f}" for _ in range(width)) + "\n" for _ in range(6))
        yield "[" + ",\n ".join(str([rng.randrange(10) for _ in range(width)]) for _ in range(width)) + "]\n"
        yield "".join(",".join(str(rng.randrange(2)) for _ in range(width)) + "\n" for _ in range(8))
        yield "{" + ", ".join(f"0x{rng.randrange(256):02x}" for _ in range(5 * width)) + "}"
        yield "[" + ",\n ".join(str([int(i == j) for j in range(width)]) for i in range(width)) + "]\n"
        yield "\n".join("0.0 " * (width - 1) + f"{i}.5" for i in range(6)) + "\n"
        yield "weights = [" + ", ".join(f"{rng.gauss(0, 1):.6f}" for _ in range(4 * width)) + "]\n"
    yield "squares = " + str([i * i for i in range(25)])
    yield "maze = [\n" + "".join('    "' + "".join(rng.choice("#..") for _ in range(12)) + '",\n' for _ in range(8)) + "]\n"


def _blobs(rng: random.Random) -> Iterator[str]:
    for size in (30, 60, 120, 200):
        raw = rng.randbytes(size)
        yield base64.b64encode(raw).decode()
        yield raw.hex()
        yield "".join(f"\\x{byte:02x}" for byte in raw[:60])
        yield "\n".join(f'    b"{raw[i : i + 12].hex()}"' for i in range(0, size, 12))
        yield base64.b64encode(raw[: size // 2] + bytes(24)).decode()
        yield "".join(rng.choice(string.printable[:62]) for _ in range(size))
    yield (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )


def _long_texts(rng: random.Random) -> Iterator[str]:
    """Several thousand characters that go on."""
    pieces = [*written("python")[:12], *written("other languages")[:10], *written("documents")[:8]]
    for _ in range(6):
        yield "\n\n".join(rng.sample(pieces, 10))
    for count in (30, 60):
        names = [f"{a}_{b}" for a, b in zip(_names(rng, count), _names(rng, count), strict=True)]
        yield "".join(
            f"def get_{n}(self):\n    return self._{n}\n\ndef set_{n}(self, value):\n    self._{n} = value\n\n" for n in names
        )
        yield "".join(f'<string name="{n}">{n.replace("_", " ").title()}</string>\n' for n in names)
        yield "".join(f"INSERT INTO words VALUES ({i}, '{n}', {rng.randrange(99)});\n" for i, n in enumerate(names))
        yield "[\n" + "".join(f'  {{"id": {i}, "name": "{n}", "ok": true, "tags": []}},\n' for i, n in enumerate(names)) + "]\n"


def _cut(texts: Iterator[str], rng: random.Random) -> list[str]:
    """Cut as a generation of some sixty tokens is: anywhere."""
    return [text[: rng.randrange(80, 320)] for text in texts]


def _blocks(rng: random.Random) -> Iterator[str]:
    """Whole blocks again and again, 2½ to 5 times, cut anywhere."""
    for block in _BLOCKS:
        copies = rng.uniform(2.5, 4) if len(block) > 120 else rng.uniform(3.1, 5)
        yield (block * 6)[: round(copies * len(block))]
    for text in (*written("python")[:8], *written("other languages")[:4]):
        if len(text) > 100:
            yield (text * 4)[: round(rng.uniform(2.6, 3.6) * len(text))]


def _after_code(rng: random.Random) -> Iterator[str]:
    """A loop that begins after something good."""
    loops = [*written("symbols")[:6], *written("sub-words")[:8], *written("words")[:12], *written("lines")[:10]]
    good = [*written("python"), *written("other languages")]
    for loop in loops:
        before = rng.choice(good)
        yield before[: rng.randrange(20, 200)] + "\n" + loop


def _random_periods(rng: random.Random) -> Iterator[str]:
    """Random words of code in a loop of any period, from any place, cut anywhere."""
    words = [
        "self",
        "x",
        "=",
        "return",
        "(",
        ")",
        ",",
        ".",
        "name",
        "value",
        "+",
        "None",
        "if",
        "in",
        "for",
        "the",
        "of",
        "[",
        "]",
        ":",
        "def",
        "path",
        "==",
        "not",
        "i",
        "0",
        "key",
        "list",
        "len",
        "get",
    ]
    for period in (2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 60, 90):
        for spread in (" ", ""):
            unit = [rng.choice(words) for _ in range(period)]
            unit[0] = rng.choice(["self", "name", "value", "path"])
            text = spread.join(unit) + spread
            copies = 8 if period < 4 else 5 if period < 10 else 4
            start = rng.randrange(len(text))
            yield (text * (copies + 1))[start : start + copies * len(text) + rng.randrange(len(text))]


def _noisy(rng: random.Random) -> Iterator[str]:
    """Loops with a slip now and then, that brings nothing new."""
    for line in (
        "    return self.value",
        "x = x + 1",
        "self.name = name",
        "print(a, b)",
        "if x is None:",
        "import os",
        "// the value",
        "a = b",
    ):
        lines = [line] * 12
        for place in rng.sample(range(12), 3):
            lines[place] = rng.choice([f"    {line}", line[:-1], "", f"{line} "])
        yield "\n".join(lines)
    for unit in ("the value of ", "self.get(", "name, ", "x + y + ", "is not ", "foo.bar.", "and the ", "string, the "):
        pieces = [unit] * 16
        for place in rng.sample(range(16), 2):
            pieces[place] = unit.split(" ")[0] + " "
        yield "".join(pieces)
    for block in _BLOCKS[:6]:
        indented = block.replace("\n", "\n" + " " * rng.randrange(1, 8))
        yield (block + indented) * 3


def _few_lines(rng: random.Random) -> Iterator[str]:
    """Two or three lines over and over, in no order."""
    for lines in (
        ["    return self.value", "    self.value = value"],
        ["x = x + 1", "y = y + 1", "x = y"],
        ["print(a)", "print(b)"],
        ["self.name = name", "self.name = None", "self.name"],
        ["# the name of the file", "# the name of the path"],
        ["pass", "return None", "raise ValueError"],
        ["if x:", "    if y:", "    else:"],
        ['    """', "    return None"],
    ):
        yield "\n".join(rng.choice(lines) for _ in range(16))


def _tokens(rng: random.Random) -> Iterator[str]:
    """A very few words in no order."""
    for words in (
        "the of a",
        "self , .",
        "x = (",
        "return None None",
        "is not the",
        "a b",
        "get name _",
        "string of the",
        "} ) ;",
        "def ( ,",
    ):
        for count in (30, 60):
            text = " ".join(rng.choice(words.split()) for _ in range(count))
            yield text
            yield text.replace(" ", "") if count == 60 and any(c.isalpha() for c in words) else text[: 2 * count]


def _floods(rng: random.Random) -> Iterator[str]:
    """Data without end."""
    yield "[" + "0, " * 40
    yield "[" + "[0, 0], " * 30
    yield "b'" + "\\x00" * 60
    yield "None, " * 30
    yield "0.0," * 40
    yield "x = (" + "1, " * 50
    yield "'', " * 40
    yield "1 " * 60
    yield "%s" * 40
    yield "{} " * 40
    yield "0x00, " * 60
    yield "true, false, " * 20
    yield "<br>" * 30
    yield "&nbsp;" * 30
    yield "|---" * 60
    yield "-1, " * 40
    yield "[" * 12 + "0], [" * 40


def _long_loops(rng: random.Random) -> Iterator[str]:
    """Thousands of characters, most of them a loop."""
    for block in _BLOCKS[:10]:
        yield rng.choice(written("python")) + block * (2000 // len(block))
    for loop in (*written("words")[:6], *written("lines")[:6]):
        yield rng.choice(written("python")) + "\n".join([loop] * 30)


# family: its texts; whether it has collapsed, and why, stands with its texts in the file
FAMILIES: Final[dict[str, Callable[[random.Random], Iterator[str]]]] = {
    "imports": _imports,
    "rows of alike lines": _rows_of_calls,
    "rows cut short": lambda rng: iter(_cut(_rows_of_calls(rng), rng)),
    "numbers": _numbers,
    "blobs": _blobs,
    "long": _long_texts,
    "blocks": _blocks,
    "after code": _after_code,
    "any period": _random_periods,
    "noisy loops": _noisy,
    "few lines": _few_lines,
    "few words": _tokens,
    "floods of data": _floods,
    "long loops": _long_loops,
}


def generated(family: str) -> list[str]:
    """The texts of a family that is generated: the same for the same seed."""
    rng = random.Random(zlib.crc32(f"{SEED} {family}".encode()))
    return list(dict.fromkeys(FAMILIES[family](rng)))


def rebuilt() -> list[dict[str, Any]]:
    """All rows, those of generated families made anew where they stand; a text that another family has is left out."""
    rows, texts = read_rows(), dict[str, list[str]]()
    others = {row["text"] for row in rows if row["origin"] != "generated"}
    for family in FAMILIES:
        texts[family] = [text for text in generated(family) if text not in others]
        others.update(texts[family])
    queues = {family: iter(made) for family, made in texts.items()}
    return [{**row, "text": next(queues[row["family"]])} if row["origin"] == "generated" else row for row in rows]


if __name__ == "__main__":
    LABELLED.write_text("".join(json.dumps(row) + "\n" for row in rebuilt()), encoding="utf-8")
