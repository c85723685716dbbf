"""Copies planted in real code, each kind of them, and controls in which there are none."""

from __future__ import annotations

import dataclasses
import random
import re
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autonas.data.overlap import COPIED, SPAN, DocumentOverlap, Overlap, find_overlap, overlap_finding
from autonas.data.records import CorpusReport, Document, Split
from autonas.data.store import Dataset, write_dataset
from autonas.data.token_classes import vocabulary_texts
from autonas.data.tokenizer import Tokenizer

LIBRARY = Path(sysconfig.get_path("stdlib"))
PROJECTS = ("json", "email", "logging", "http", "urllib", "concurrent/futures", "importlib", "multiprocessing")
# Of other packages, so that nothing of them stands in those.
HELD_OUT = ("argparse.py", "ast.py", "bisect.py", "calendar.py", "configparser.py", "csv.py", "fractions.py", "heapq.py")
APACHE = (
    '# Licensed under the Apache License, Version 2.0 (the "License");\n# you may not use this file except in compliance '
    "with the License.\n# You may obtain a copy of the License at\n#\n#     http://www.apache.org/licenses/LICENSE-2.0\n#\n# "
    "Unless required by applicable law or agreed to in writing, software\n# distributed under the License is distributed on an "
    '"AS IS" BASIS,\n# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.\n# See the License for the '
    "specific language governing permissions and\n# limitations under the License.\n"
)
WORD = re.compile(r"\w+|[^\w\s]+|\s+")


def read(name: str) -> str:
    return (LIBRARY / name).read_text(encoding="utf-8")


TRAIN = {
    str(path.relative_to(LIBRARY)): path.read_text(encoding="utf-8") for p in PROJECTS for path in (LIBRARY / p).glob("*.py")
}
TRAIN = {name: text for name, text in sorted(TRAIN.items()) if text.strip()}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(list(TRAIN.values()), 1024)


def build(folder: Path, tokenizer: Tokenizer, train: dict[str, str], validation: dict[str, str]) -> Dataset:
    def documents(texts: dict[str, str], split: Split) -> list[Document]:
        return [Document(name=name, project=name.split("/")[0], text=text, split=split) for name, text in texts.items()]

    folder.mkdir()
    members = [*documents(train, "train"), *documents(validation, "validation"), *documents({"t": "x = 1\n"}, "test")]
    write_dataset(folder, members, tokenizer, CorpusReport(documents={}, bytes={}, projects={}), "0" * 64)
    return Dataset.open(folder)


def edited(text: str, share: float, draw: random.Random) -> str:
    """`text` with so many of its words and marks, drawn by lot, replaced by others of it."""
    pieces = WORD.findall(text)
    words = [piece for piece in pieces if not piece.isspace()]
    return "".join(draw.choice(words) if not piece.isspace() and draw.random() < share else piece for piece in pieces)


def line_edited(text: str, share: float, draw: random.Random) -> str:
    return "".join(edited(line, 0.5, draw) if draw.random() < share else line for line in text.splitlines(keepends=True))


VICTIM = "logging/config.py"
PLANTS: dict[str, Callable[[str, random.Random], str]] = {
    "exact": lambda text, draw: text,
    "other header": lambda text, draw: APACHE + '"""A module of our own."""\n' + text.split('"""', 2)[2],
    "indented": lambda text, draw: "class Wrapped:\n" + "".join(f"    {line}" for line in text.splitlines(keepends=True)),
    "a tenth of the lines edited": lambda text, draw: line_edited(text, 0.1, draw),
    "a tenth of the words edited": lambda text, draw: edited(text, 0.1, draw),
    "renamed": lambda text, draw: re.sub(r"\bself\b", "this", text.replace("config", "settings")),
}


@pytest.mark.parametrize("plant", list(PLANTS))
def test_a_copy_is_found_with_its_source_however_it_was_changed(tokenizer: Tokenizer, tmp_path: Path, plant: str) -> None:
    copy = PLANTS[plant](TRAIN[VICTIM], random.Random(0))
    validation = {name: read(name) for name in HELD_OUT} | {"mine/copy.py": copy}
    overlap = find_overlap(build(tmp_path / "data", tokenizer, TRAIN, validation))
    assert [(d.name, d.source) for d in overlap.copies] == [("mine/copy.py", VICTIM)]
    first = overlap.documents[0]
    assert first.is_copy and first.source_share > 1.2 * COPIED, first
    assert plant != "exact" or (first.source_share == first.share == 1 and first.verbatim == first.tokens)
    finding = overlap_finding(overlap)
    assert finding is not None and finding.severity == "alarm"
    assert "mine/copy.py" in finding.text and VICTIM in finding.text


def test_a_copy_inside_a_longer_training_document_is_found(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Containment: the two are unlike as wholes, so that no near-duplicate rule would see them."""
    whole = read("heapq.py")
    longer = TRAIN["http/cookiejar.py"] + whole + TRAIN["http/client.py"]
    train = {**TRAIN, "vendor/all_in_one.py": longer}
    overlap = find_overlap(build(tmp_path / "data", tokenizer, train, {name: read(name) for name in HELD_OUT}))
    assert [(d.name, d.source) for d in overlap.copies] == [("heapq.py", "vendor/all_in_one.py")]
    assert overlap.documents[0].source_share > 0.99
    finding = overlap_finding(overlap)
    assert finding is not None and finding.severity == "alarm"


def test_part_of_a_training_document_is_found(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """The other way round: a held-out document that is a piece of a longer one."""
    piece = "".join(TRAIN["http/cookiejar.py"].splitlines(keepends=True)[300:420])
    validation = {name: read(name) for name in HELD_OUT} | {"mine/piece.py": piece}
    overlap = find_overlap(build(tmp_path / "data", tokenizer, TRAIN, validation))
    assert [(d.name, d.source) for d in overlap.copies] == [("mine/piece.py", "http/cookiejar.py")]


def test_documents_of_their_own_are_no_copies(tokenizer: Tokenizer, tmp_path: Path) -> None:
    overlap = find_overlap(build(tmp_path / "data", tokenizer, TRAIN, {name: read(name) for name in HELD_OUT}))
    assert overlap.copies == () and overlap_finding(overlap) is None
    assert max(document.source_share for document in overlap.documents) < COPIED / 3


def test_a_licence_that_everybody_has_is_no_copy(tokenizer: Tokenizer, tmp_path: Path) -> None:
    train = {name: APACHE + text for name, text in TRAIN.items()}
    validation = {name: APACHE + read(name) for name in HELD_OUT}
    validation["mine/__init__.py"] = APACHE + "from mine.other import everything\n"  # hardly more than the licence
    overlap = find_overlap(build(tmp_path / "data", tokenizer, train, validation))
    assert overlap.documents[0].name == "mine/__init__.py" and overlap.documents[0].source_share > 0.8
    assert overlap.documents[0].verbatim > SPAN > overlap.documents[0].verbatim_own
    assert overlap.copies == () and overlap_finding(overlap) is None


def test_a_document_that_very_many_training_documents_have_is_a_copy(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """What ten documents share counts as boilerplate, but not at that length."""
    text = read("heapq.py")
    train = TRAIN | {f"fork{number}/heapq.py": text + f"\nNUMBER = {number}\n" for number in range(12)}
    overlap = find_overlap(build(tmp_path / "data", tokenizer, train, {name: read(name) for name in HELD_OUT}))
    assert [document.name for document in overlap.copies] == ["heapq.py"]


def test_spans_word_by_word_are_counted_to_the_token(tokenizer: Tokenizer, tmp_path: Path) -> None:
    draw = random.Random(1)
    words = [f"{a}{b}" for a in ("ka", "lo", "mi", "ne", "ru") for b in ("bel", "dor", "fen", "gim", "har")]

    def line() -> str:
        return " ".join(draw.choice(words) for _ in range(400))

    shared = line()
    ids = tokenizer.encode(shared)
    short = tokenizer.decode(ids[: SPAN - 5])
    validation = {"long": f"{line()} {shared} {line()}", "short": f"{line()} {short} {line()}"}
    found = find_overlap(build(tmp_path / "data", tokenizer, {"a": shared, "b": line()}, validation))
    by_name = {document.name: document for document in found.documents}
    assert abs(by_name["long"].verbatim - len(ids)) <= 6, "chance may make a span a little longer"
    assert by_name["short"].verbatim == by_name["short"].verbatim_own == 0 < by_name["short"].share


def test_agrees_with_sets_of_runs_made_in_the_plain_way(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Shares by Python's own sets of tuples of texts."""
    validation = {"copy": edited(TRAIN[VICTIM], 0.1, random.Random(2)), "short": "x = 1\n", "heapq.py": read("heapq.py")}
    train = dict(list(TRAIN.items())[::5]) | {VICTIM: TRAIN[VICTIM]}
    dataset = build(tmp_path / "data", tokenizer, train, validation)
    texts = vocabulary_texts(tokenizer)

    def runs(text: str) -> set[tuple[str, ...]]:
        pieces = [texts[number].strip() for number in tokenizer.encode(text)]
        pieces = [piece for piece in pieces if piece]
        return {tuple(pieces[i : i + 13]) for i in range(len(pieces) - 12)}

    held = {name: runs(text) for name, text in train.items()}
    anywhere = set().union(*held.values())
    for document in find_overlap(dataset).documents:
        own = runs(validation[document.name])
        if not own:
            assert document.share == document.source_share == 0 and document.source == ""
            continue
        assert document.share == pytest.approx(len(own & anywhere) / len(own))
        assert document.source_share == pytest.approx(max(len(own & other) for other in held.values()) / len(own))


def test_chunks_of_training_change_nothing(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = build(tmp_path / "data", tokenizer, TRAIN, {"copy": TRAIN[VICTIM][:3000], "heapq.py": read("heapq.py")})
    whole = find_overlap(dataset)
    monkeypatch.setattr("autonas.data.grams._CHUNK", 10_000)
    assert find_overlap(dataset) == whole
    assert np.isfinite(whole.verbatim_share)


def test_a_small_copy_in_a_large_split_is_a_note() -> None:
    copy = DocumentOverlap(
        name="copy", project="p", tokens=300, share=1, source="s", source_share=1, source_grams=288, source_own=288,
        verbatim=300, verbatim_own=300,
    )  # fmt: skip
    clean = DocumentOverlap(name="clean", project="p", tokens=99_700, share=0.01)
    finding = overlap_finding(Overlap(split="validation", documents=(copy, clean)))
    assert finding is not None and finding.severity == "note"
    larger = dataclasses.replace(clean, tokens=20_000)
    finding = overlap_finding(Overlap(split="validation", documents=(copy, larger)))
    assert finding is not None and finding.severity == "alarm"
    spans = dataclasses.replace(clean, verbatim=6_000, verbatim_own=6_000)
    finding = overlap_finding(Overlap(split="validation", documents=(spans,)))
    assert finding is not None and finding.severity == "alarm" and "6.0%" in finding.text
