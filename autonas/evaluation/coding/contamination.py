"""Which tasks stand in the texts that a model learns from, and where. Streaming, in one pass over the texts. No torch.

Three ways in which a text gives a task away:

    prompt    at least half of the 13-grams of the prompt stand in it, word for word
    solution  at least half of the 13-grams of the reference stand in it, word for word
    function  a function in it is the reference whatever its names: equal but for identifiers, annotations, docstring, comments
              and layout. `self` is no parameter here, so methods count too.

N-grams are of lexemes (words, numbers, single signs); 13 is what Brown et al. (2020, arXiv 2005.14165, appendix C) take for
words. Texts in JSON are seen through their escapes.

`return a + b` is the body of a task, and of any function that adds. A reference of fewer than 13 lexemes is a commonplace:
anybody would write it, and it is told, with the name of the function that has it, but apart. Not covered: paraphrases, the same
function in another language, and references whose statements stand in another order.
"""

from __future__ import annotations

import builtins
import dataclasses
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.data.duplicates import WordHashes
from autonas.evaluation.coding.tasks import CodingTask, builtin_tasks
from autonas.trial import Finding

LEXEMES: Final = 13
_ENOUGH: Final = 0.5  # of a task's n-grams, in one text
_LEAKED: Final = 0.25  # of the twenty tasks; 200 MB of libraries have two of them, a textbook's, without anybody's doing
_LEXEME: Final = re.compile(r"\w+|[^\w\s]")
# Of a function: comments, strings, beginnings of lines that say something, and lexemes.
_CODE: Final = re.compile(
    r'#[^\n]*|[rRbBuUfF]{0,2}(?:"""(?:[^\\"]|\\.|"(?!""))*"""|\'\'\'(?:[^\\\']|\\.|\'(?!\'\'))*\'\'\''
    r'|"(?:[^\\"\n]|\\.)*"|\'(?:[^\\\'\n]|\\.)*\')|\n[ \t]*(?=[^\s#])|\w+|->|[^\w\s]',
    re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_MEANT: Final = {"n": "\n", "t": "\t"}
_DEFINITION: Final = re.compile(r"def[ \t]+(\w+)[ \t]*\(")  # begins with letters, which is what makes a search quick
_KNOWN_NAMES: Final = frozenset(keyword.kwlist) | frozenset(dir(builtins))
_MULTIPLIERS: Final = np.random.Philox(13).random_raw(LEXEMES).astype(np.uint64) | np.uint64(1)
_TABLE_BITS: Final = 20  # of a first look that most n-grams do not pass; a table of a megabyte stays in the cache

_LOOKS: Final = (4, 8, 12, 16, 24, 32)  # lexemes after which a function is compared with the beginnings of all forms

Kind = Literal["prompt", "solution", "function"]
Form = tuple[str, ...]
Beginnings = Mapping[int, set[Form]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """One task in one text."""

    task: str
    kind: Kind
    document: str
    share: float  # of the task's n-grams; 1 of a function
    function: str = ""  # its name there
    commonplace: bool = False  # a function so short that anybody would write it


def training_texts(dataset: Dataset, split: str = "train") -> Iterator[tuple[str, str]]:
    """Name and text of each document of a split, for `contaminated`."""
    for number, name in enumerate(dataset.documents(split).names):
        yield name, dataset.text(split, number)


def contaminated(tasks: Sequence[CodingTask], texts: Iterable[tuple[str, str]]) -> tuple[Contamination, ...]:
    """Every task in every text, given by name and content, that holds it: by task, then in the texts' order."""
    index = _Index(tasks)
    found = [each for name, text in texts for each in index.search(name, text)]
    order = {task.name: place for place, task in enumerate(tasks)}
    return tuple(sorted(found, key=lambda each: order[each.task]))


def contamination_findings(tasks: Sequence[CodingTask], found: Sequence[Contamination]) -> tuple[Finding, ...]:
    """An alarm for tasks that the texts give away, and a note of commonplace bodies."""
    findings = []
    given = [each for each in found if not each.commonplace]
    if given:
        names = list(dict.fromkeys(each.task for each in given))
        first = given[0]
        text = (
            f"{len(names)} of {len(tasks)} tasks stand in the training texts ({', '.join(names[:5])}; such as the {first.kind} "
            f"of {first.task} in {first.document}): their scores show memory"
        )
        findings.append(Finding(check="benchmark_in_corpus", severity="alarm", text=text))
    common = [each for each in found if each.commonplace]
    if common:
        names = list(dict.fromkeys(each.task for each in common))
        text = f"the training texts have the commonplace bodies of {len(names)} tasks ({', '.join(names[:5])})"
        findings.append(Finding(check="commonplace_tasks", severity="note", text=text))
    return tuple(findings)


def corpus_findings(dataset: Dataset) -> tuple[Finding, ...]:
    """What training texts give away of the twenty tasks where none is scored: an alarm from a quarter of them on, or a note.

    A second for 10 MB.

    Raises:
        CorpusError: the data set is damaged.
    """
    tasks = builtin_tasks()
    found = contaminated(tasks, training_texts(dataset))
    leaked = len({each.task for each in found if not each.commonplace}) >= _LEAKED * len(tasks)
    findings = contamination_findings(tasks, found)
    return findings if leaked else tuple(dataclasses.replace(finding, severity="note") for finding in findings)


class _Index:
    """What to look for, prepared once for all texts."""

    def __init__(self, tasks: Sequence[CodingTask]) -> None:
        self._words = WordHashes()
        self._wanted: list[tuple[str, Kind]] = []
        parts: list[NDArray[np.uint64]] = []  # the distinct n-grams of each; a text of fewer lexemes has none
        self._functions: dict[Form, list[tuple[str, bool]]] = {}
        for task in tasks:
            for kind, text in (("prompt", task.prompt), ("solution", task.solution)):
                grams = np.unique(self._grams(text))
                if len(grams):
                    self._wanted.append((task.name, "prompt" if kind == "prompt" else "solution"))
                    parts.append(grams)
            size = len(_LEXEME.findall(task.solution))
            for name, form in _functions(task.program, {}):
                if name == task.entry_point:
                    self._functions.setdefault(form, []).append((task.name, size < LEXEMES))
        self._all = np.concatenate([*parts, np.zeros(0, dtype=np.uint64)])
        self._owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        self._sizes = np.maximum([len(part) for part in parts], 1)
        self._table = np.zeros(1 << _TABLE_BITS, dtype=bool)
        self._table[self._all >> np.uint64(64 - _TABLE_BITS)] = True
        # Most functions are given up after a few lexemes, which no task begins with.
        self._beginnings = {size: {form[:size] for form in self._functions} for size in _LOOKS}
        self._beginnings[max(map(len, self._functions), default=0) + 1] = set()

    def search(self, document: str, text: str) -> Iterator[Contamination]:
        text = _unescaped(text)
        grams = self._grams(text)
        grams = grams[self._table[grams >> np.uint64(64 - _TABLE_BITS)]]
        if len(grams):
            owners = self._owners[np.isin(self._all, grams)]
            shares = np.bincount(owners, minlength=len(self._wanted)) / self._sizes
            for place in np.flatnonzero(shares >= _ENOUGH):
                task, kind = self._wanted[place]
                yield Contamination(task=task, kind=kind, document=document, share=float(shares[place]))
        told = set()
        for name, form in _functions(text, self._beginnings):
            for task, commonplace in self._functions.get(form, ()):
                if (task, name) not in told:
                    told.add((task, name))
                    yield Contamination(
                        task=task, kind="function", document=document, share=1.0, function=name, commonplace=commonplace
                    )

    def _grams(self, text: str) -> NDArray[np.uint64]:
        """Hashes of the text's 13-grams, (n,), in order."""
        lexemes = _LEXEME.findall(text)
        if len(lexemes) < LEXEMES:
            return np.zeros(0, dtype=np.uint64)
        hashes = np.fromiter(map(self._words.__getitem__, lexemes), dtype=np.uint64, count=len(lexemes))
        mixed = np.zeros(len(lexemes) - LEXEMES + 1, dtype=np.uint64)
        for offset in range(LEXEMES):
            mixed += hashes[offset : offset + len(mixed)] * _MULTIPLIERS[offset]  # modulo 2^64
        return mixed


def _unescaped(text: str) -> str:
    """A text that is mostly escaped line breaks, as JSON Lines are, with its breaks, tabs and quotes as they are meant."""
    if text.count("\\n") <= text.count("\n"):
        return text
    return _ESCAPE.sub(_meant, text)


def _meant(escape: re.Match[str]) -> str:
    what = escape.group(1)
    if len(what) > 1:
        letter = chr(int(what[1:], 16))
        return letter if letter.isprintable() else " "  # half of a pair, among others
    return _MEANT.get(what, what)


def _functions(text: str, beginnings: Beginnings) -> Iterator[tuple[str, Form]]:
    """Name and form of each function in `text` that may be one of those with these beginnings."""
    for found in _DEFINITION.finditer(text):
        line = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
        if line.strip() not in ("", "async") and line[-1] not in "\"'`":  # or at the beginning of a string
            continue
        indent = line[: len(line) - len(line.lstrip())] if line[-1:].isspace() else ""
        form = _form(text, found.end(), len(indent.expandtabs()), found.group(1), beginnings)
        if form:
            yield found.group(1), form


def _form(text: str, start: int, indent: int, name: str, beginnings: Beginnings) -> Form | None:
    """What a function is beside its names: lexemes without commas, with names numbered in the order of their coming.

    None as soon as it has another beginning than those asked for, by its length. `text` from `start` is what follows the
    bracket of its parameters.
    """
    names: dict[str, str] = {name: "itself"}
    form: list[str] = []
    depth, part, before = 1, "parameters", "("
    for found in _CODE.finditer(text, start):
        lexeme = found.group()
        if lexeme[0] == "#":
            continue
        if lexeme[0] == "\n":
            if depth == 0 and len(lexeme[1:].expandtabs()) <= indent:
                break
            continue
        opens, closes = lexeme in ("(", "[", "{"), lexeme in (")", "]", "}")
        depth += opens - closes
        if part == "annotation" and (depth == 0 or (depth == 1 and lexeme in (",", "="))):
            part = "parameters"
        if part == "parameters":
            if depth == 0:
                part = "result"
            elif depth == 1 and lexeme == ":":
                part = "annotation"
                continue
            elif depth == 1 and before in ("(", ",", "*") and lexeme.isidentifier():
                before = lexeme
                if lexeme not in ("self", "cls"):
                    names.setdefault(lexeme, f"name {len(names)}")
                    form.append(names[lexeme])
                continue
        elif part == "result":
            part = "docstring" if depth == 0 and lexeme == ":" else part
            continue
        elif part == "annotation":
            continue
        elif part == "docstring":
            part = "body"
            if lexeme[-1] in "\"'":
                continue
        if lexeme.isidentifier() and before != "." and (lexeme not in _KNOWN_NAMES or lexeme in names):
            form.append(names.setdefault(lexeme, f"name {len(names)}"))
        elif lexeme != ",":
            form.append(lexeme)
        before = lexeme
        if len(form) in beginnings and tuple(form) not in beginnings[len(form)]:
            return None
    return tuple(form) if part == "body" else None
