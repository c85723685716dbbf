"""A run as a folder that `transformers` loads unmodified: a class of its own where one is exact, else code that comes along."""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from autonas.arch import ArchSpec
from autonas.exporting.loading import CONFIG, WEIGHTS, write_json
from autonas.exporting.native_classes import native_class
from autonas.exporting.parts import split_parts
from autonas.loaded_run import LoadedRun
from autonas.model.blocks import NORM_EPSILON
from autonas.model.positions import ROPE_BASE

CODE: Final = ("configuration_autonas.py", "modeling_autonas.py")


def write(loaded: LoadedRun, folder: Path) -> dict[str, Any]:
    """Write what `from_pretrained` reads into an existing folder; returns what is to be told of it."""
    spec, end = loaded.spec, loaded.tokenizer.end_of_text
    native = native_class(spec)
    common = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": None,
        "dtype": "float32",
        "use_cache": True,
        "autonas": {"spec": spec.to_dict(), "tuned": loaded.tuned},
    }
    state = loaded.model.state_dict()
    if native is None:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
        architecture, model_type, own = "AutonasForCausalLM", "autonas", _custom_config(spec)
        for name in CODE:
            shutil.copy(Path(__file__).parent / "custom" / name, folder / name)
    else:
        tensors = native.tensors(spec, split_parts(spec, state))
        architecture, model_type, own = native.architecture, native.model_type, native.config(spec)
    config = {"architectures": [architecture], "model_type": model_type, **own, **common}
    (folder / WEIGHTS).write_bytes(save(tensors, metadata={"format": "pt"}))
    write_json(folder / CONFIG, config)
    generation = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "do_sample": False}
    write_json(folder / "generation_config.json", generation)
    _write_tokenizer(loaded, folder)
    return {"class": architecture, "native": native is not None}


def _custom_config(spec: ArchSpec) -> dict[str, Any]:
    names = ("layers", "width", "heads", "kv_heads", "norm", "activation", "position", "context_length", "vocab_size")
    return {
        "auto_map": {
            "AutoConfig": "configuration_autonas.AutonasConfig",
            "AutoModelForCausalLM": "modeling_autonas.AutonasForCausalLM",
        },
        **{name: getattr(spec, name) for name in names},
        "ffn_width": spec.ffn_width,
        "norm_epsilon": NORM_EPSILON,
        "rope_base": ROPE_BASE,
        "attention_dropout": spec.attention_dropout,
        "residual_dropout": spec.residual_dropout,
        "tie_word_embeddings": spec.tied_embeddings,
    }


def _write_tokenizer(loaded: LoadedRun, folder: Path) -> None:
    """tokenizer.json as it is, and beside it what a fast tokenizer is told: nothing is added to a text or tidied up in it."""
    tokenizer = loaded.tokenizer
    (folder / "tokenizer.json").write_bytes(tokenizer.to_bytes())
    end = tokenizer.describe()["end_of_text_token"]
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": end,
        "eos_token": end,
        "pad_token": end,
        "model_max_length": loaded.spec.context_length,
        "padding_side": "left",  # a decoder goes on at the right
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        # A text that spells a special token is text here, as it was in training.
        "split_special_tokens": True,
    }
    write_json(folder / "tokenizer_config.json", settings)


class TransformersRuntime:
    """The folder as a user of `transformers` has it."""

    def __init__(self, folder: Path) -> None:
        transformers = importlib.import_module("transformers")
        transformers.logging.disable_progress_bar()
        self.name = f"transformers {transformers.__version__}"
        custom = (folder / CODE[1]).exists()
        options = {"local_files_only": True, "trust_remote_code": custom}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=DeprecationWarning)
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **options)
            self._model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), **options).eval()

    def logits(self, tokens: Sequence[int], cut: int = 0) -> NDArray[np.float32]:
        found, cache = [], None
        with torch.no_grad():
            for piece in filter(len, (tokens[:cut], tokens[cut:])):
                out = self._model(torch.tensor([list(piece)]), past_key_values=cache, use_cache=True)
                found.append(out.logits[0])
                cache = out.past_key_values
        return torch.cat(found).float().numpy()

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        ids = torch.tensor([list(prompt)])
        with torch.no_grad():
            out = self._model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, eos_token_id=None
            )
        made: list[int] = out[0, len(prompt) :].tolist()
        return made

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, verbose=False)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens)))

    def close(self) -> None:
        pass
