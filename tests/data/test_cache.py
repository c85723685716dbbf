from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from autonas.data.cache import building, key_of, recall, remember, write_file
from autonas.errors import ResourceError
from autonas.machine import cache_folder


def test_the_folder_is_chosen_by_the_environment_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("AUTONAS_CACHE", "~/own")
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("AUTONAS_CACHE")
    assert cache_folder() == Path("/xdg/autonas")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "autonas"


def test_a_written_file_is_whole_and_alone(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        write_file(tmp_path / "a" / "b", content)
        assert (tmp_path / "a" / "b").read_bytes() == content
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ResourceError, match="taken"):
        write_file(tmp_path / "taken", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_while_building_is_one_message_and_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with building(tmp_path / "final"), Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(ResourceError, match="no space left"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    final = tmp_path / "final"
    with building(final) as folder:
        (folder / "a").write_text("a", encoding="utf-8")
        assert not final.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["final"]
    with pytest.raises(RuntimeError), building(tmp_path / "other"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_the_first_of_two_builders_wins_and_the_second_does_not_mind(tmp_path: Path) -> None:
    final = tmp_path / "final"
    with building(final) as slow:
        (slow / "a").write_text("slow", encoding="utf-8")
        with building(final) as quick:
            (quick / "a").write_text("quick", encoding="utf-8")
    assert (final / "a").read_text(encoding="utf-8") == "quick"
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_what_killed_builders_left_is_removed_after_a_day(tmp_path: Path) -> None:
    for name, age_s in (("old", 100_000), ("new", 100)):
        folder = tmp_path / f".building-{name}"
        folder.mkdir()
        os.utime(folder, (time.time() - age_s,) * 2)
    with building(tmp_path / "final"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".building-new", "final"]


def test_a_hint_is_recalled_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    key = key_of("a", 1)
    assert recall(tmp_path, key) is None
    remember(tmp_path, key, "abc")
    assert recall(tmp_path, key) == "abc"
    (tmp_path / "index" / key).write_bytes(b"\xff")
    assert recall(tmp_path, key) is None


def test_keys_tell_values_apart_and_not_the_order_of_names() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert len({key_of("a", "b"), key_of("ab"), key_of(["a", "b"]), key_of("b", "a")}) == 4
