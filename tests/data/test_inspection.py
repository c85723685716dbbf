from __future__ import annotations

import json
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.data.inspection import Inspection, inspect_dataset, inspection_lines
from autonas.data.records import CorpusReport, Document, Split
from autonas.data.store import write_dataset
from autonas.data.tokenizer import Tokenizer
from autonas.trial import from_json, to_json
from tests.data.conftest import source_text

LIBRARY = Path(sysconfig.get_path("stdlib"))


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Real code of several packages."""
    paths = tuple(str(LIBRARY / name / "*.py") for name in ("json", "email", "logging", "html", "http", "urllib", "unittest"))
    return prepare(CorpusSettings(paths=paths), TokenizerSettings(vocab_size=800), tmp_path_factory.mktemp("cache"))


def planted(folder: Path, texts: dict[Split, dict[str, str]]) -> Dataset:
    documents = [
        Document(name=name, project=name.rpartition("/")[0], text=text, split=split)
        for split, members in texts.items()
        for name, text in members.items()
    ]
    folder.mkdir()
    tokenizer = Tokenizer.train([document.text for document in documents], 300)
    write_dataset(folder, documents, tokenizer, CorpusReport(documents={}, bytes={}, projects={}), "0" * 64)
    return Dataset.open(folder)


def checks(inspection: Inspection) -> list[str]:
    return [finding.check for finding in inspection.findings]


def test_it_is_a_record_that_comes_back(real: Dataset) -> None:
    inspection = inspect_dataset(real, context=128)
    assert from_json(Inspection, json.loads(json.dumps(to_json(inspection)))) == inspection
    assert inspection.fingerprint == real.fingerprint
    assert set(inspection.overlaps) == {"validation", "test"} and set(inspection.splits) == {"train", "validation", "test"}


def test_what_people_read_has_every_figure_that_matters(real: Dataset) -> None:
    inspection = inspect_dataset(real, context=128)
    text = "\n".join(lines := inspection_lines(inspection))
    assert max(map(len, lines)) <= 160 and all(line.isprintable() for line in lines)
    for word in ("structural", "newline", "longer than context", "Zipf", "sources", "projects", "duplicates", "word by word"):
        assert word in text, word
    assert f"{inspection.splits['train'].structural:.1%}" in text
    assert f"{inspection.splits['train'].tokens:,}" in text
    assert "longer than context" not in "\n".join(inspection_lines(inspect_dataset(real)))


def test_a_source_with_half_of_the_tokens_is_said(tmp_path: Path) -> None:
    def texts(large: int) -> dict[Split, dict[str, str]]:
        train = {f"large/p{n}/a.py": source_text(n) for n in range(large)}
        train |= {f"{name}/p{n}/a.py": source_text(1000 + 10 * i + n) for i, name in enumerate("abcd") for n in range(10)}
        return {"train": train, "validation": {"v/a.py": source_text(5000)}, "test": {"t/a.py": source_text(5001)}}

    assert checks(inspect_dataset(planted(tmp_path / "fair", texts(10)))) == []
    found = inspect_dataset(planted(tmp_path / "unfair", texts(40)))
    assert checks(found) == ["corpus_balance"]
    assert found.findings[0].severity == "note" and "large" in found.findings[0].text
    assert found.sources.count == 5 and found.sources.effective == pytest.approx(1 / (0.5**2 + 4 * 0.125**2), rel=0.05)


def test_a_copy_and_a_repeating_corpus_are_found(tmp_path: Path) -> None:
    train = {f"s{n % 5}/p{n}/a.py": source_text(n) for n in range(20)}
    train |= {f"s{n % 5}/q{n}/a.py": source_text(n) + source_text(900 + n) for n in range(20)}
    held_out = {"v/a.py": source_text(3), "v/b.py": source_text(5000)}
    found = inspect_dataset(planted(tmp_path / "data", {"train": train, "validation": held_out, "test": {"t": "x = 1\n"}}))
    assert checks(found) == ["held_out_in_training", "corpus_repetition"]
    assert [document.name for document in found.overlaps["validation"].copies] == ["v/a.py"]
    assert found.equal == {"train, validation": 1}
    text = "\n".join(inspection_lines(found))
    assert "alarm: 1 of 2 validation documents" in text and "100% of v/a.py in s3/p3/a.py" in text


def test_duplicates_that_the_build_dropped_are_told(make_tree: Callable[..., Path], tmp_path: Path) -> None:
    root = make_tree()
    first = next(root.rglob("*.txt"))
    (first.parent / "again.txt").write_text(first.read_text())
    settings = CorpusSettings(paths=(f"{root}/**/*.txt",))
    found = inspect_dataset(prepare(settings, TokenizerSettings(vocab_size=300), tmp_path / "cache"))
    assert found.dropped == {"exact duplicate": 1} and found.equal == {}
    assert any("left out: exact duplicate 1;" in line for line in inspection_lines(found))
