"""A run as safetensors and JSON: the weights by their names, and what they are. For autonas, and for who reads by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

import autonas
from autonas.exporting.loading import CONFIG, TOKENIZER, WEIGHTS, load_export, write_json
from autonas.loaded_run import LoadedRun
from autonas.model.blocks import NORM_EPSILON
from autonas.model.decode import generate, make_cache
from autonas.model.positions import ROPE_BASE
from autonas.model.transformer import eval_mode


def write(loaded: LoadedRun, folder: Path) -> dict[str, Any]:
    """Write weights, spec and tokenizer into an existing folder; returns what is to be told of it."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in loaded.model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(save(tensors))  # save_file makes files that only their owner may read
    spec = loaded.spec
    derived = {"head_width": spec.head_width, "ffn_width": spec.ffn_width}
    constants = {"norm_epsilon": NORM_EPSILON, "rope_base": ROPE_BASE, "end_of_text": loaded.tokenizer.end_of_text}
    write_json(folder / CONFIG, {"autonas": {"spec": spec.to_dict(), "tuned": loaded.tuned, **derived, **constants}})
    (folder / TOKENIZER).write_bytes(loaded.tokenizer.to_bytes())
    return {}


class OwnRuntime:
    """A model as autonas computes it, with its KV cache."""

    def __init__(self, loaded: LoadedRun, name: str = f"autonas {autonas.__version__}") -> None:
        self.name, self.spec = name, loaded.spec
        self._model, self._tokenizer = loaded.model, loaded.tokenizer

    @classmethod
    def open(cls, folder: Path) -> OwnRuntime:
        """The folder as `autonas.load` has it."""
        return cls(load_export(folder))

    def logits(self, tokens: Sequence[int], cut: int = 0) -> NDArray[np.float32]:
        """(T, V)."""
        cache = make_cache(self._model, 1, len(tokens)) if cut else None
        with eval_mode(self._model):
            pieces = [self._model(torch.tensor([piece]), cache)[0] for piece in (tokens[:cut], tokens[cut:]) if len(piece)]
        found: NDArray[np.float32] = torch.cat(pieces).float().numpy()
        return found

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        return generate(self._model, [prompt], max_new_tokens=count)[0]

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens)

    def close(self) -> None:
        pass
