"""A small data set in the hub's format, made here and read offline by the real library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from autonas.data import hub
from autonas.data.cache import write_stream
from autonas.data.corpus import collect, corpus_fingerprint
from autonas.data.dataset import TokenizerSettings, prepare
from autonas.data.hub import at_most, count_rows, find_rows, is_near
from autonas.data.records import CorpusSettings, HubSettings
from autonas.data.sources import find_files, read_documents
from autonas.errors import CorpusError
from tests.data.conftest import source_text

CARD = """---
configs:
- config_name: default
  data_files:
  - {split: train, path: "data/train-*"}
  - {split: test, path: "data/test-*"}
- config_name: other
  data_files:
  - {split: train, path: "other/*"}
---
"""


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "content": source_text(seed + number),
            "repo": f"repo{number % 6}",
            "file": f"f{number}.py",
            "kind": "MIT",
            "stars": number,
        }
        for number in range(count)
    ]


def write_parquet(path: Path, values: list[dict[str, Any]]) -> None:
    # In a process of its own, as the library is: nothing here imports pyarrow.
    program = (
        "import json, sys, pyarrow, pyarrow.parquet; "
        "pyarrow.parquet.write_table(pyarrow.Table.from_pylist(json.load(sys.stdin)), sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], input=json.dumps(values), text=True, check=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Parquet, as the hub keeps it, in two configurations."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    root = tmp_path / "snippets"
    for path in (root / "data", root / "other"):
        path.mkdir(parents=True)
    for split, count, seed in (("train", 24, 0), ("test", 6, 500)):
        write_parquet(root / "data" / f"{split}-00000-of-00001.parquet", rows(count, seed))
    write_parquet(root / "other" / "rows.parquet", [{**row, "repo": None} for row in rows(9, 900)])
    (root / "README.md").write_text(CARD, encoding="utf-8")
    return root


def texts(settings: HubSettings, cache: Path) -> list[tuple[str, str]]:
    return [(document.data.decode(), document.project) for document in read_documents(find_rows(settings, cache))]


def test_rows_become_documents_in_their_order(folder: Path, tmp_path: Path) -> None:
    settings = HubSettings(dataset=str(folder), project_column="repo", name_column="file", licence_column="kind")
    documents = list(read_documents(find_rows(settings, tmp_path)))
    assert [document.data.decode() for document in documents] == [row["content"] for row in rows(24)]
    assert [document.project for document in documents[:3]] == ["repo0", "repo1", "repo2"]
    assert (documents[5].name, documents[5].licence) == ("f5.py", "MIT")


def test_config_split_and_number_of_rows_are_chosen(folder: Path, tmp_path: Path) -> None:
    test = texts(HubSettings(dataset=str(folder), split="test"), tmp_path)
    assert [text for text, _ in test] == [row["content"] for row in rows(6, 500)]
    other = texts(HubSettings(dataset=str(folder), config="other", project_column="repo"), tmp_path)
    assert [text for text, _ in other] == [row["content"] for row in rows(9, 900)]
    assert len({project for _, project in other}) == 9, "without a name every row is a project of its own"
    few = HubSettings(dataset=str(folder), max_documents=5)
    assert texts(few, tmp_path) == texts(HubSettings(dataset=str(folder)), tmp_path)[:5]
    assert at_most(few, 9).max_documents == 5
    assert at_most(few, 2).max_documents == 2


def test_a_folder_of_json_lines_is_a_data_set_too(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "lines"
    root.mkdir()
    (root / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows(7)), encoding="utf-8")
    found = texts(HubSettings(dataset=str(root), project_column="repo"), tmp_path)
    assert found == [(row["content"], row["repo"]) for row in rows(7)]


def test_rows_are_fetched_once_and_again_when_they_change(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = HubSettings(dataset=str(folder), config="other")
    first = texts(settings, tmp_path)

    def fetch(*_: object) -> None:
        raise AssertionError("fetched again")

    with monkeypatch.context() as patch:
        patch.setattr(hub, "apart", fetch)
        assert texts(settings, tmp_path) == first
    write_parquet(folder / "other" / "rows.parquet", [*rows(9, 900), {**rows(1)[0], "content": "new = 1\n"}])
    assert [text for text, _ in texts(settings, tmp_path)] == [*(text for text, _ in first), "new = 1\n"]


def test_the_same_rows_are_the_same_corpus_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "snippets"
    shutil.copytree(folder, elsewhere)
    for path in elsewhere.rglob("*"):
        os.utime(path, (1, 1))
    prints = set()
    for root in (folder, elsewhere):
        settings = CorpusSettings(hub=HubSettings(dataset=str(root), project_column="repo"))
        documents, report = collect(settings, find_files(settings, tmp_path / "cache"))
        prints.add(corpus_fingerprint(documents))
        assert report.found == 24
        assert report.split_by == "project"
    assert len(prints) == 1


def test_a_prepared_corpus_is_found_again_without_being_read(folder: Path, tmp_path: Path) -> None:
    settings = CorpusSettings(hub=HubSettings(dataset=str(folder), project_column="repo"))
    said: list[str] = []
    first = prepare(settings, TokenizerSettings(vocab_size=300), tmp_path / "cache", said.append)
    assert said
    said.clear()
    assert (
        prepare(settings, TokenizerSettings(vocab_size=300), tmp_path / "cache", said.append).fingerprint == first.fingerprint
    )
    assert said == []


def test_neither_the_library_nor_torch_comes_into_this_process(folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from autonas.data.hub import find_rows; "
        "from autonas.data.records import HubSettings; "
        f"print(find_rows(HubSettings(dataset={str(folder)!r}), Path({str(tmp_path)!r})).num_bytes > 0,"
        "[name for name in ('torch', 'datasets', 'pyarrow', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"split": "nope"}, r"split nope.*train.*test"),
        ({"config": "nope"}, r"config nope.*default"),
        ({"column": "text"}, r"no column 'text'; its columns are content, repo, file, kind, stars"),
        ({"project_column": "owner"}, r"no column 'owner'"),
        ({"column": "stars"}, r"column 'stars' .* holds a int in row 0, not a text"),
    ],
)
def test_what_is_not_there_is_one_message(folder: Path, tmp_path: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CorpusError, match=complaint) as caught:
        find_rows(HubSettings(**{"dataset": str(folder), **change}), tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.jsonl"))


def test_a_folder_that_is_no_data_set_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="cannot be read"):
        find_rows(HubSettings(dataset=str(tmp_path / "empty")), tmp_path / "cache")


def test_without_the_extra_the_message_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CorpusError, match=r"pip install 'autonas\[hub\]'"):
        find_rows(HubSettings(dataset=str(folder)), tmp_path)


def test_out_of_reach_the_latest_copy_is_used_and_else_it_is_one_message(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = HubSettings(dataset="somebody/snippets")
    with pytest.raises(CorpusError, match="hub cannot be reached"):
        find_rows(settings, tmp_path)  # HF_HUB_OFFLINE is set

    def online(function: Any, item: Any, environment: Any) -> Any:
        if function is hub._commit:
            return "c" * 40
        assert function is hub._copy
        write_stream(item[2], [b'{"text": "x = 1"}\n'])
        return None

    with monkeypatch.context() as patch:
        patch.setattr(hub, "apart", online)
        assert not is_near(settings, tmp_path)
        copy = find_rows(settings, tmp_path)
        assert is_near(settings, tmp_path)
    assert find_rows(settings, tmp_path) == copy
    pinned = HubSettings(dataset="somebody/snippets", revision="c" * 40)
    with pytest.raises(CorpusError, match="cannot be read"):
        find_rows(pinned, tmp_path)  # needs no look at the hub to know that there is no copy of this request


def test_rows_without_text_are_dropped_and_counted(tmp_path: Path, folder: Path) -> None:
    write_parquet(folder / "other" / "rows.parquet", [*rows(9, 900), {**rows(1)[0], "content": None}])
    settings = CorpusSettings(hub=HubSettings(dataset=str(folder), config="other"))
    _, report = collect(settings, find_files(settings, tmp_path / "cache"))
    assert report.dropped == {"empty": 1}


def test_the_number_of_rows_is_asked_of_the_hub_only_where_it_states_it(folder: Path) -> None:
    assert count_rows(HubSettings(dataset=str(folder))) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"dataset": " "},
        {"split": "train[:10%]"},
        {"column": ""},
        {"max_documents": 0},
        {"max_documents": True},
        {"config": "a\0"},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(CorpusError, match=r"corpus\.hub\."):
        HubSettings(**{"dataset": "a/b", **wrong})
