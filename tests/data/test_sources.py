from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from autonas.data.corpus import CorpusSettings
from autonas.data.files import FoundFile
from autonas.data.sources import find_files, read_documents
from autonas.errors import CorpusError


def write(path: Path, text: str = "x = 1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def names(*patterns: str) -> list[tuple[str, str]]:
    return [(file.name, file.project) for file in find_files(CorpusSettings(paths=patterns))]


def test_the_library_leaves_out_tests_tables_and_installed_packages() -> None:
    files = find_files(CorpusSettings(sources=("python-stdlib",)))
    kept = {file.name for file in files if not file.dropped}
    dropped = {file.name: file.dropped for file in files if file.dropped}
    assert {"python-stdlib/argparse.py", "python-stdlib/asyncio/tasks.py"} <= kept
    assert dropped["python-stdlib/encodings/cp1252.py"] == "generated"
    assert not [name for name in kept if "site-packages" in name or "/test/" in name or "/pydoc_data/" in name]
    assert {file.project for file in files if file.name in kept} >= {"argparse", "asyncio"}


def test_the_library_is_found_in_the_same_order_each_time() -> None:
    settings = CorpusSettings(sources=("python-stdlib",))
    assert find_files(settings) == find_files(settings)


def test_a_project_is_the_topmost_folder_under_the_fixed_prefix(tmp_path: Path) -> None:
    write(tmp_path / "work/alpha/deep/er/a.c")
    write(tmp_path / "work/beta/b.c")
    write(tmp_path / "work/lone.c")
    assert names(f"{tmp_path}/work/**/*.c") == [
        ("work/alpha/deep/er/a.c", "work/alpha"),
        ("work/beta/b.c", "work/beta"),
        ("work/lone.c", "work/lone"),
    ]


def test_names_do_not_depend_on_where_the_corpus_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for home in ("one", "two/three"):
        write(tmp_path / home / "src/pkg/a.py")
    absolute = [names(f"{tmp_path}/{home}/src/**/*.py") for home in ("one", "two/three")]
    monkeypatch.chdir(tmp_path / "one")
    assert absolute[0] == absolute[1] == names("src/**/*.py") == names("./src/*/*.py")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "code/a.py")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert names("~/code/*.py") == [("code/a.py", "code/a")]


def test_a_file_matched_twice_is_found_once(tmp_path: Path) -> None:
    write(tmp_path / "p/a.py")
    (tmp_path / "p/link.py").symlink_to(tmp_path / "p/a.py")
    assert len(names(f"{tmp_path}/**/*.py", f"{tmp_path}/p/*.py")) == 1


def test_hidden_folders_are_not_entered(tmp_path: Path) -> None:
    write(tmp_path / ".git/a.py")
    write(tmp_path / "b.py")
    assert [Path(name).name for name, _ in names(f"{tmp_path}/**/*.py")] == ["b.py"]


def test_a_file_with_a_bracket_in_its_name_can_be_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a[1].py")
    assert len(names(str(path))) == 1


def test_a_dangling_link_is_dropped_and_not_fatal(tmp_path: Path) -> None:
    write(tmp_path / "a.py")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere" / "b.py")
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    assert len([file for file in find_files(CorpusSettings(paths=(f"{tmp_path}/*.py",))) if not file.dropped]) == 1


@pytest.mark.parametrize("pattern", ["nothing/**/*.py", "missing.py", "~nobody-of-that-name/x.py", "x" * 5000])
def test_a_pattern_without_files_is_named(pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=r"corpus\.paths"):
        names(pattern)


def test_a_folder_is_answered_with_the_pattern_to_write(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"is a folder; name its files, such as '.*\*\*/\*\.py'"):
        names(str(tmp_path))


def test_bytes_that_are_not_utf8_in_a_name_do_not_hurt(tmp_path: Path) -> None:
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.py")).write_text("x = 1\n", encoding="utf-8")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    ((name, _),) = names(f"{tmp_path}/*.py")
    assert name.encode().endswith(b"a\\udcff.py")


def jsonl(tmp_path: Path, *lines: str) -> FoundFile:
    write(tmp_path / "data.jsonl", "\n".join(lines))
    (file,) = find_files(CorpusSettings(jsonl=(str(tmp_path / "data.jsonl"),)))
    return file


def test_jsonl_keys_give_text_project_and_name(tmp_path: Path) -> None:
    file = jsonl(
        tmp_path,
        json.dumps({"text": "a\u00e9", "project": "p", "name": "n", "license": "MIT", "stars": 3}),
        "",
        json.dumps({"content": "b", "repo": "q/r"}),
        json.dumps({"code": "c"}),
    )
    documents = list(read_documents(file))
    assert [document.data.decode() for document in documents] == ["aé", "b", "c"]
    assert [document.project for document in documents[:2]] == ["p", "q/r"]
    assert (documents[0].name, documents[0].licence) == ("n", "MIT")
    assert documents[2].name.endswith("data.jsonl:4")


@pytest.mark.parametrize(
    "line",
    ['{"text": "a"', "[1]", '"a"', "{}", '{"text": 3}', '{"text": "a", "project": []}', "[" * 100_000, "\ufffe", "9" * 10_000],
)
def test_a_bad_line_is_named_with_its_file_and_number(line: str, tmp_path: Path) -> None:
    file = jsonl(tmp_path, '{"text": "good"}', line)
    with pytest.raises(CorpusError, match=r"data\.jsonl:2: "):
        list(read_documents(file))


def test_a_lone_surrogate_in_jsonl_becomes_bytes_that_do_not_decode(tmp_path: Path) -> None:
    (document,) = read_documents(jsonl(tmp_path, '{"text": "\\ud800"}'))
    with pytest.raises(UnicodeDecodeError):
        document.data.decode()
