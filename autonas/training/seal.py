"""Tensors and JSON values in one file that proves its own integrity and appears all at once. What they mean: checkpoint.py.

The file is safetensors. Its metadata hold `about` (JSON) and `sha256`, the digest of the whole file with its own 64 digits
replaced by zeros: no byte, of header or tensors, can change unnoticed. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from autonas.errors import CheckpointError, resource_error

VERSION = 1
NO_DIGEST = b"0" * 64
LENGTH_BYTES = 8  # a safetensors file begins with the length of its JSON header, little-endian


def write_sealed(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write `path`, all or nothing: whatever happens meanwhile, it is the old file or the new one.

    A process killed while it writes leaves a temporary `.<name>.<pid>.tmp` beside it, which may be deleted.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written.
    """
    # Copies on the host: safetensors refuses views that share memory.
    plain = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    metadata = {"about": json.dumps({"version": VERSION, **about}, sort_keys=True), "sha256": NO_DIGEST.decode()}
    data = bytearray(safetensors.torch.save(plain, metadata))
    place = data.index(b'"sha256":"' + NO_DIGEST) + len('"sha256":"')
    data[place : place + len(NO_DIGEST)] = hashlib.sha256(data).hexdigest().encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _removed_on_failure(temporary):
            _write_through(temporary, data)
            temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as exc:
        raise resource_error(exc, path) from exc


def read_sealed(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write_sealed` wrote: (about, tensors on the host).

    Raises:
        CheckpointError: the file is missing, cut short, altered, or of another version of the format.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as exc:
        raise CheckpointError(f"{path}: there is no checkpoint. Start this training from its beginning.") from exc
    except OSError as exc:
        raise CheckpointError(f"{path}: cannot be read ({exc.strerror}).") from exc
    about = _verified(path, data)
    if about.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: written in version {about.get('version')} of the format; this autonas reads version {VERSION}. "
            "Use the autonas that wrote it, or start again."
        )
    try:
        return about, safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError) as exc:
        raise _damaged(path) from exc


def _verified(path: Path, data: bytes) -> dict[str, Any]:
    """What the file says about itself, once its digest has been found right."""
    try:
        header = data[LENGTH_BYTES : LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")]
        metadata = json.loads(header)["__metadata__"]
        digest, about = metadata["sha256"].encode(), json.loads(metadata["about"])
        place = LENGTH_BYTES + header.index(digest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as exc:
        raise _damaged(path) from exc
    view = memoryview(data)  # a checkpoint may be large: nothing is copied
    found = hashlib.sha256(view[:place])
    found.update(NO_DIGEST)
    found.update(view[place + len(NO_DIGEST) :])
    if found.hexdigest().encode() != digest or not isinstance(about, dict):
        raise _damaged(path)
    return about


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"{path}: damaged (cut short or altered). Remove it; an earlier one or a new start takes its place.")


def _write_through(path: Path, data: bytearray) -> None:
    """Write `data` and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _removed_on_failure(temporary: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """A rename is on disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
