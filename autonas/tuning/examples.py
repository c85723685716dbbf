"""Examples to tune on, as files of JSON Lines: `{"id", "prompt", "solution"}`, read strictly. No torch.

`tests` (asserts) and `entry_point` (the function that they call) may be there too: then a solution can be run, and not only be
compared. Where a prompt ends in white space, that belongs to the solution: a byte-level BPE makes one token of a line break and
the indent that follows, which a prompt that ends in the break would cut in two. `autonas evaluate` asks in the same way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autonas.data.cache import write_file
from autonas.errors import CorpusError
from autonas.evaluation.coding.tasks import CodingTask

_TEXTS: Final = ("prompt", "solution")
_CHECKS: Final = ("tests", "entry_point")
_SHOWN: Final = 5  # bad lines that a message names


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A prompt, which never ends in white space, and what should follow it."""

    id: str
    prompt: str
    solution: str
    tests: str = ""
    entry_point: str = ""

    def __post_init__(self) -> None:
        assert self.prompt.strip() and self.prompt == self.prompt.rstrip(), f"{self.id}: a prompt ends in its last word"
        assert self.solution.strip(), f"{self.id}: a solution says something"
        assert bool(self.tests) == bool(self.entry_point), f"{self.id}: tests and the function that they call go together"

    @property
    def text(self) -> str:
        """Prompt and solution."""
        return self.prompt + self.solution

    @property
    def task(self) -> CodingTask | None:
        """The example as a task whose answers can be run; None where it has no tests."""
        if not self.tests:
            return None
        return CodingTask(
            name=self.id,
            prompt=self.prompt,
            entry_point=self.entry_point,
            solution=self.solution,
            tests=self.tests,
            source="examples",
        )


def make_example(name: str, *, prompt: str, solution: str, tests: str = "", entry_point: str = "") -> Example:
    """An example whose prompt may end in white space, which goes over to the solution."""
    kept = prompt.rstrip()
    return Example(id=name, prompt=kept, solution=prompt[len(kept) :] + solution, tests=tests, entry_point=entry_point)


def example_of(task: CodingTask) -> Example:
    """A coding task as an example, with its tests."""
    return Example(id=task.name, prompt=task.prompt, solution=task.solution, tests=task.tests, entry_point=task.entry_point)


def read_examples(path: str | Path) -> tuple[Example, ...]:
    """The examples of a file, in its order; blank lines do not count, and keys that are not known are left unread.

    Raises:
        CorpusError: the file cannot be read or holds none, or lines of it are wrong: each is named with what is wrong.
    """
    lines = _lines(Path(path))
    examples: list[Example] = []
    wrong: list[str] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        found = _example(line, place)
        if isinstance(found, str):
            wrong.append(found)
        elif found.id in seen:
            wrong.append(f"{place}: the id {found.id!r} is that of line {seen[found.id]}; give each example its own")
        else:
            seen[found.id] = number
            examples.append(found)
    if wrong:
        more = f"\n… and {len(wrong) - _SHOWN} more of {len(wrong)} wrong lines" if len(wrong) > _SHOWN else ""
        raise CorpusError("\n".join(wrong[:_SHOWN]) + more)
    if not examples:
        raise CorpusError(f'{path}: holds no example; write lines such as {{"id": "1", "prompt": "…", "solution": "…"}}')
    return tuple(examples)


def write_examples(path: str | Path, examples: Iterable[Example]) -> None:
    """The inverse of `read_examples`, all or nothing.

    Raises:
        ResourceError: the file cannot be written.
    """
    write_rows(path, ({name: value for name, value in _row(each).items() if value} for each in examples))


def write_rows(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON Lines, all or nothing. Raises ResourceError."""
    write_file(Path(path), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def digest_of(examples: Sequence[Example]) -> str:
    """Of all that the examples hold, in their order: another file with the same examples has the same."""
    return hashlib.sha256(json.dumps([_row(each) for each in examples]).encode()).hexdigest()[:16]


def _row(example: Example) -> dict[str, str]:
    return {
        "id": example.id,
        "prompt": example.prompt,
        "solution": example.solution,
        "tests": example.tests,
        "entry_point": example.entry_point,
    }


def _lines(path: Path) -> list[str]:
    try:
        data = path.expanduser().read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error}); name a file of JSON Lines") from error
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    decoded = []
    for number, line in enumerate(lines, 1):
        try:
            decoded.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{path}:{number}: byte {error.start + 1} of the line is not UTF-8 ({error.reason}); write the file in UTF-8"
            ) from error
    return decoded


def _example(line: str, place: str) -> Example | str:
    """The example of a line, or what is wrong with it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"{place}: not JSON ({error}); an example is one object on one line"
    if not isinstance(row, Mapping):
        return f'{place}: {line.strip()[:40]!r} is no JSON object; write {{"id": "…", "prompt": "…", "solution": "…"}}'
    if "id" not in row or isinstance(row["id"], bool) or not isinstance(row["id"], str | int) or not str(row["id"]).strip():
        return f"{place}: `id` is {_shown(row, 'id')}; give a text or a whole number, different in each line"
    for name in (*_TEXTS, *_CHECKS):
        if name in _CHECKS and name not in row:
            continue
        value = row.get(name)
        if not isinstance(value, str) or not value.strip():
            return f"{place}: `{name}` is {_shown(row, name)}; write a text that is not blank"
        if any("\ud800" <= sign <= "\udfff" for sign in value):
            return f"{place}: `{name}` is not valid Unicode (half of a surrogate pair); mend it, or leave the example out"
    if ("tests" in row) != ("entry_point" in row):
        return f"{place}: `tests` and `entry_point` go together; give both, or neither"
    values = {name: row[name] for name in (*_TEXTS, *_CHECKS) if name in row}
    return make_example(str(row["id"]), **values)


def _shown(row: Mapping[str, Any], name: str) -> str:
    return f"{row[name]!r}"[:60] if name in row else "not there"
