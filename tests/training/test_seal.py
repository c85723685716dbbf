from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.errors import CheckpointError, ResourceError
from autonas.training.seal import read_sealed, write_sealed

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3, dtype=torch.int64), "c": torch.zeros(0)}
ABOUT = {"kind": "test", "nested": {"rate": 0.1, "text": "naïve \" '"}}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("sealed") / "file"
    write_sealed(path, TENSORS, ABOUT)
    return path.read_bytes()


def assert_damaged(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        read_sealed(path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_sealed(tmp_path / "new" / "file", TENSORS, ABOUT)
    about, tensors = read_sealed(tmp_path / "new" / "file")
    assert {name: about[name] for name in ABOUT} == ABOUT
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype for name, value in TENSORS.items())


def test_views_and_transposes_are_written_as_they_look(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    write_sealed(tmp_path / "file", {"turned": base.t(), "row": base[1], "again": base}, {})
    _, tensors = read_sealed(tmp_path / "file")
    assert torch.equal(tensors["turned"], base.t())
    assert torch.equal(tensors["row"], base[1])


def test_a_sealed_file_is_an_ordinary_safetensors_file(tmp_path: Path) -> None:
    write_sealed(tmp_path / "file", TENSORS, ABOUT)
    assert safetensors.torch.load_file(tmp_path / "file").keys() == TENSORS.keys()


def test_a_file_cut_anywhere_is_damaged(sealed: bytes, tmp_path: Path) -> None:
    for length in range(len(sealed)):
        assert_damaged(tmp_path / "file", sealed[:length])


def test_a_longer_file_is_damaged(sealed: bytes, tmp_path: Path) -> None:
    assert_damaged(tmp_path / "file", sealed + b"\0")


def test_every_flipped_bit_is_found(sealed: bytes, tmp_path: Path) -> None:
    for place in range(len(sealed)):
        altered = bytearray(sealed)
        altered[place] ^= 1 << (place % 8)
        assert_damaged(tmp_path / "file", bytes(altered))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_altered_stretches_are_found(sealed: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(sealed) - 1))
    stretch = data.draw(st.binary(min_size=1, max_size=32))
    altered = sealed[:start] + stretch + sealed[start + len(stretch) :]
    if altered != sealed:
        assert_damaged(tmp_path_factory.getbasetemp() / "altered", altered)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_noise_is_damaged(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    assert_damaged(tmp_path_factory.getbasetemp() / "noise", noise)
    assert_damaged(tmp_path_factory.getbasetemp() / "noise", len(noise).to_bytes(8, "little") + noise)


def test_other_safetensors_files_are_refused(tmp_path: Path) -> None:
    safetensors.torch.save_file(TENSORS, tmp_path / "file")
    with pytest.raises(CheckpointError):
        read_sealed(tmp_path / "file")
    safetensors.torch.save_file(TENSORS, tmp_path / "file", {"sha256": "", "about": "{}"})
    with pytest.raises(CheckpointError):
        read_sealed(tmp_path / "file")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint"):
        read_sealed(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_sealed(tmp_path)


def test_another_version_is_named(tmp_path: Path) -> None:
    write_sealed(tmp_path / "file", TENSORS, {"version": 99})
    with pytest.raises(CheckpointError, match="version 99"):
        read_sealed(tmp_path / "file")


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "no space"), (errno.EACCES, "no permission"), (errno.EIO, "cannot")]
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str, call: str
) -> None:
    path = tmp_path / "file"
    write_sealed(path, {"a": torch.zeros(1)}, {})

    def fails(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", fails) if call == "fsync" else (Path, "replace", fails)))
        with pytest.raises(ResourceError, match=words):
            write_sealed(path, TENSORS, ABOUT)
    assert [child.name for child in tmp_path.iterdir()] == ["file"]
    assert read_sealed(path)[1].keys() == {"a"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_is_full_is_one_message(tmp_path: Path) -> None:
    (tmp_path / f".file.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(ResourceError, match="no space left"):
        write_sealed(tmp_path / "file", TENSORS, ABOUT)


def test_a_file_in_the_place_of_the_folder_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("")
    with pytest.raises(ResourceError):
        write_sealed(tmp_path / "folder" / "file", TENSORS, ABOUT)


WRITER = """
import sys
from pathlib import Path
import torch
from autonas.training.seal import write_sealed
for count in range(1, 10**6):
    write_sealed(Path(sys.argv[1]), {"count": torch.full((100_000,), float(count))}, {"count": count})
    print(count, flush=True)
"""


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for pause in (0.0, 0.0007, 0.0031):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout:
            said = [int(process.stdout.readline()) for _ in range(3)]
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
            said += [int(line) for line in process.stdout]
        process.wait()
        about, tensors = read_sealed(path)
        # what was reported as written is on disk; at most one more may be there
        assert about["count"] - said[-1] in (0, 1)
        assert torch.equal(tensors["count"], torch.full((100_000,), float(about["count"])))
