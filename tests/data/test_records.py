from __future__ import annotations

import json
from typing import Any

import pytest

from autonas.data.records import CorpusReport, CorpusSettings, TokenizerSettings
from autonas.errors import CorpusError, TokenizerError


def test_a_corpus_without_sources_is_the_interpreters_library() -> None:
    assert CorpusSettings().sources == ("python-stdlib",)
    assert CorpusSettings(paths=("*.c",)).sources == ()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"sources": ("stdlib",)}, "stdlib"),
        ({"paths": ("",)}, "paths"),
        ({"jsonl": ("a\0b",)}, "jsonl"),
        ({"validation_share": 0.0}, "validation_share"),
        ({"test_share": 0.9}, "test_share"),
        ({"test_share": float("nan")}, "test_share"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_bytes": True}, "max_bytes"),
        ({"seed": 0.5}, "seed"),
    ],
)
def test_corpus_settings_that_cannot_be_are_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(CorpusError, match=named):
        CorpusSettings(**values)


@pytest.mark.parametrize("values", [{"vocab_size": 256}, {"vocab_size": "8000"}, {"algorithm": "unigram"}, {"file": " "}])
def test_tokenizer_settings_that_cannot_be_are_refused_by_name(values: dict[str, Any]) -> None:
    with pytest.raises(TokenizerError, match=next(iter(values))):
        TokenizerSettings(**values)


def test_a_report_survives_json() -> None:
    report = CorpusReport(
        documents={"train": 3, "validation": 1, "test": 1},
        bytes={"train": 300, "validation": 10, "test": 11},
        projects={"train": 2, "validation": 1, "test": 1},
        tokens={"train": 90, "validation": 3, "test": 4},
        found=9,
        dropped={"empty": 4},
        dropped_examples={"empty": ("a.py", "b.py")},
        licences={"MIT": 5},
        split_by="folder",
    )
    assert CorpusReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_a_report_tells_people_every_number_it_holds() -> None:
    report = CorpusReport(
        documents={"train": 1234, "validation": 17, "test": 19},
        bytes={"train": 7_654_321, "validation": 10, "test": 11},
        projects={"train": 23, "validation": 3, "test": 5},
        found=2000,
        dropped={"empty": 29},
        dropped_examples={"empty": ("a.py",)},
        licences={"MIT": 1270},
        split_by="folder",
    )
    text = "\n".join(report.lines())
    for part in ("1,234", "7,654,321", "23", "2,000", "29  empty (such as a.py)", "MIT 1,270", "split is by folder"):
        assert part in text, part
