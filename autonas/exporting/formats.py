"""The formats that a run is exported to: what each needs, writes and is read by."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autonas.exporting.parity import Runtime
from autonas.loaded_run import LoadedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """A model with int8 weights, beside the whole one."""

    file: str
    runtime: Runtime
    whole: Runtime  # what its loss is compared with
    left: tuple[str, ...] = ()  # matrices that stayed in float32
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format. Its modules are imported when it is asked for: they need packages that not everybody has.

    `write` puts files into a folder and returns what is to be told of them; `open` reads them back in their own runtime.
    """

    packages: tuple[str, ...]  # to import, beside those of autonas
    write: Callable[[LoadedRun, Path], dict[str, Any]]
    open: Callable[[Path], Runtime]
    write_int8: Callable[[LoadedRun, Path], Small] | None = None
    note: Callable[[], str] = lambda: ""  # on what the check of parity could not do here


def _write(module: str) -> Callable[[LoadedRun, Path], dict[str, Any]]:
    def write(loaded: LoadedRun, folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = importlib.import_module(f"autonas.exporting.{module}").write(loaded, folder)
        return found

    return write


def _open_plain(folder: Path) -> Runtime:
    from autonas.exporting.plain import OwnRuntime

    return OwnRuntime.open(folder)


def _open_hf(folder: Path) -> Runtime:
    from autonas.exporting.huggingface import TransformersRuntime

    return TransformersRuntime(folder)


def _open_onnx(folder: Path) -> Runtime:
    from autonas.exporting.onnx_folder import OnnxRuntime

    return OnnxRuntime(folder)


def _small_onnx(loaded: LoadedRun, folder: Path) -> Small:
    from autonas.exporting.onnx_folder import INT8, OnnxRuntime, write_int8

    write_int8(loaded, folder)
    return Small(file=INT8, runtime=OnnxRuntime(folder, INT8), whole=OnnxRuntime(folder))


def _open_gguf(folder: Path) -> Runtime:
    from autonas.exporting.gguf_file import FLOAT, open_file

    return open_file(folder / FLOAT)


def _small_gguf(loaded: LoadedRun, folder: Path) -> Small:
    from autonas.exporting.gguf_file import FLOAT, INT8, has_llama, open_file, write_int8

    path, left = write_int8(loaded, folder)
    note = "" if has_llama() else "computed from dequantised weights; llama.cpp also quantises what they are multiplied with"
    return Small(file=INT8, runtime=open_file(path), whole=open_file(folder / FLOAT), left=left, note=note)


def _gguf_note() -> str:
    from autonas.exporting.gguf_file import has_llama

    return "" if has_llama() else "llama.cpp was not run: llama-cpp-python is not installed here"


FORMATS: Final[Mapping[str, Format]] = {
    "safetensors": Format(packages=(), write=_write("plain"), open=_open_plain),
    "hf": Format(packages=("transformers",), write=_write("huggingface"), open=_open_hf),
    "onnx": Format(packages=("onnx", "onnxruntime"), write=_write("onnx_folder"), open=_open_onnx, write_int8=_small_onnx),
    "gguf": Format(packages=("gguf",), write=_write("gguf_file"), open=_open_gguf, write_int8=_small_gguf, note=_gguf_note),
}
