"""An exported folder read back: what `autonas.load` does with one. Of the formats with weights by name, safetensors and hf.

The folder holds `config.json`, `model.safetensors` and `tokenizer.json`. In `config.json`, `autonas.spec` is the architecture
with the space file's names, and `autonas.tuned` says whether the model is asked as a tuned one. In a safetensors export the
weights have the names of `autonas.model.transformer.Transformer`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file

from autonas.arch import ArchSpec
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CheckpointError, InfeasibleArch
from autonas.evaluation.latency import resolve_device
from autonas.exporting.native_classes import NATIVE_CLASSES
from autonas.exporting.parts import join_parts
from autonas.loaded_run import LoadedRun
from autonas.model.transformer import Transformer

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"


def is_export(folder: Path) -> bool:
    """Whether `folder` holds an export that `load_export` reads."""
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file() and not (folder / "run.json").exists()


def load_export(folder: Path, device: str = "cpu") -> LoadedRun:
    """The model, tokenizer and spec of an exported folder, with the very weights that were exported.

    Raises:
        CheckpointError: the folder is damaged, or was not written by autonas.
        TokenizerError: its tokenizer is damaged.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        spec = ArchSpec.from_dict(config["autonas"]["spec"])
        tensors = load_file(folder / WEIGHTS)
        tuned = bool(config["autonas"].get("tuned", False))
        native = NATIVE_CLASSES.get(config.get("model_type"))
        weights = tensors if native is None else join_parts(spec, native.parts(spec, tensors))
        model = Transformer(spec)
        model.load_state_dict(weights)
    except KeyError as error:
        raise CheckpointError(f"{folder}: lacks {error}: autonas did not write it; give one that it exported") from error
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError, InfeasibleArch) as error:
        raise CheckpointError(f"{folder}: is damaged ({error}); export the run again") from error
    tokenizer = Tokenizer.load(folder / TOKENIZER)
    return LoadedRun(model=model.to(resolve_device(device)), tokenizer=tokenizer, spec=spec, tuned=tuned)


def write_json(path: Path, value: Any) -> None:
    """Into a folder that is put in place as a whole later."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
