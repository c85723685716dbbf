"""From C to functions: compiled by the system's C compiler for this very processor, kept in a cache, loaded once."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from autonas.errors import ResourceError
from autonas.machine import cache_folder, processor_flags

# Sums in any order only where the source allows it; no assumption that a number is finite, or a broken model would look well.
_FLAGS: Final = (
    "-std=c11",
    "-O3",
    "-march=native",
    "-fopenmp",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fPIC",
    "-shared",
)
_WIDE: Final = "-mprefer-vector-width=512"  # where there are such vectors: compilers of today still avoid them
_COMPILE_S: Final = 120.0
_FOLDER: Final = Path(__file__).parent
_SOURCES: Final = ("training.c", "decode.c")

_INT, _SIZE, _REAL, _POINTER = ctypes.c_int, ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


class Dropout(ctypes.Structure):
    """common.h's Dropout: `below` of 2^32 elements are dropped, element 0 has index `first`."""

    _fields_ = (
        ("below", ctypes.c_uint32),
        ("key0", ctypes.c_uint32),
        ("key1", ctypes.c_uint32),
        ("first", ctypes.c_uint32),
        ("scale", ctypes.c_double),
    )


class Decoder(ctypes.Structure):
    """decode.c's Decoder: sizes, and addresses of weights that somebody else keeps."""

    _fields_ = (
        *((name, _SIZE) for name in ("layers", "width", "heads", "kv_heads", "head_width", "inner", "gated", "kind")),
        ("vocabulary", _SIZE),
        ("epsilon", _REAL),
        *((name, _POINTER) for name in ("embedding", "position", "cosine", "sine", "slopes", "head")),
        *((name, _POINTER) for name in ("matrices", "norm_weights", "norm_biases")),
    )


class Cache(ctypes.Structure):
    """decode.c's Cache: addresses of keys and values that somebody else keeps."""

    _fields_ = (("rows", _SIZE), ("room", _SIZE), ("keys", _POINTER), ("values", _POINTER))


_DROP = ctypes.POINTER(Dropout)
# What follows the number of threads, as in training.c and decode.c.
_ARGUMENTS: Final[dict[str, tuple[type, ...]]] = {
    "embed": (_SIZE,) * 3 + (_POINTER,) * 4,
    "embed_backward": (_SIZE,) * 3 + (_POINTER,) * 4,
    "add_norm": (_SIZE,) * 2 + (_POINTER,) * 5 + (_REAL,) + (_POINTER,) * 2 + (_DROP,),
    "norm_backward": (_SIZE,) * 2 + (_POINTER,) * 7 + (_INT, _POINTER, _DROP, _POINTER),
    "split_heads": (_SIZE,) * 5 + (_POINTER,) * 6 + (_REAL,),
    "split_heads_backward": (_SIZE,) * 5 + (_POINTER,) * 6 + (_REAL,),
    "swap_heads": (_SIZE,) * 4 + (_POINTER,) * 2,
    "attention_weights": (_SIZE,) * 3 + (_POINTER,) * 3 + (_DROP,),
    "attention_weights_backward": (_SIZE,) * 2 + (_POINTER,) * 3 + (_DROP,),
    "activation": (_SIZE,) * 2 + (_INT,) * 2 + (_POINTER,) * 2 + (_DROP,),
    "activation_backward": (_SIZE,) * 2 + (_INT,) * 2 + (_POINTER,) * 3 + (_DROP,),
    "cross_entropy": (_SIZE,) * 2 + (_POINTER,) * 2 + (_REAL,) * 2 + (_POINTER,),
    "accumulate": (_SIZE,) + (_POINTER,) * 2 + (_INT,),
    "read_tokens": (_POINTER, _SIZE) + (_POINTER,) * 3 + (_SIZE,) + (_POINTER,) * 3,
    "choose": (_SIZE, _SIZE, _POINTER, _REAL, _SIZE, _POINTER, _POINTER),
    "pack": (_SIZE,) * 2 + (_POINTER,) * 2,
}


class Kernels:
    """The functions of training.c and decode.c for `bits` bits, as attributes; the number of threads comes first."""

    def __init__(self, library: Path, bits: int) -> None:
        self.bits = bits
        self.library = library
        loaded = ctypes.CDLL(str(library))
        for name, arguments in _ARGUMENTS.items():
            function = getattr(loaded, name)
            function.argtypes = (_INT, *arguments)
            function.restype = None
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Callable[..., None]:
        raise AttributeError(f"the kernels have no function {name}")


@functools.cache
def find_kernels(bits: int) -> tuple[Kernels | None, str]:
    """The kernels for activations of 16 (bfloat16), 32 or 64 bits; or None, and why there are none.

    Compiling takes two seconds, once for each machine, version and format: what was compiled lies in the cache.
    """
    assert bits in (16, 32, 64), bits
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None, "there is no C compiler; install gcc, or set CC"
    try:
        library = _compiled(compiler, bits)
        return Kernels(library, bits), ""
    except (OSError, subprocess.SubprocessError, AttributeError, ValueError, ResourceError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return None, f"{compiler} could not compile them: {said.strip().splitlines()[0] if said.strip() else error!r}"


def _compiled(compiler: str, bits: int) -> Path:
    source = "".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("common.h", *_SOURCES))
    flags = [*_FLAGS, f"-DREAL_BITS={bits}"]
    processor = processor_flags()
    if "avx512f" in processor.split():
        flags.append(_WIDE)
    called = shlex.split(compiler)  # CC may be "ccache gcc"
    version = _run([*called, "--version"])
    key = hashlib.sha256("\0".join((source, version, processor, sys.platform, *flags)).encode()).hexdigest()[:16]
    folder = cache_folder() / "kernels"
    library = folder / f"real{bits}-{key}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Built beside its place and moved there in one step: other workers find it whole or not at all.
        unfinished = folder / f".{library.name}.{os.getpid()}.{secrets.token_hex(4)}"
        command = [*called, *flags, *(str(_FOLDER / name) for name in _SOURCES), "-o", str(unfinished), "-lm"]
        try:
            _run(command)
            # On the disk before it has its name: a library cut short by a power cut would kill whoever loads it, for ever.
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
            unfinished.replace(library)
        finally:
            unfinished.unlink(missing_ok=True)
    return library


def _run(command: list[str]) -> str:
    """What `command` prints. Raises OSError or SubprocessError when it cannot be run, fails or takes too long."""
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=_COMPILE_S, check=True, stdin=subprocess.DEVNULL
    ).stdout
