"""Models that others learn from: a run of our own, or a causal model of Hugging Face that speaks the same tokens.

The home of `transformers` on this side: it is imported when such a teacher is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autonas.curriculum import Teacher
from autonas.data.tokenizer import Tokenizer
from autonas.errors import RecipeError, ResourceError
from autonas.training.checkpoint import load_model
from autonas.training.distillation import Teaching

_PROBE = "def add(a, b=0x1F):\n\treturn a + b  # Grüße, 你好\n" + "    x = 'it''s'\r\n" * 2


def load_teaching(teacher: Teacher, tokenizer: Tokenizer, device: torch.device) -> Teaching:
    """The teacher's predictions, on `device`.

    Raises:
        RecipeError: there is no such model, or it speaks other tokens than the student.
        CheckpointError: its weights are damaged.
        ResourceError: `transformers` is not installed.
    """
    folder = Path(teacher.model)
    own = (folder / "spec.json").exists()
    logits = _own(folder, tokenizer, device) if own else _hugging_face(teacher.model, tokenizer, device)
    return Teaching(logits=logits, weight=teacher.weight, temperature=teacher.temperature)


def _own(folder: Path, tokenizer: Tokenizer, device: torch.device) -> Callable[[Tensor], Tensor]:
    weights = folder / "model.safetensors"
    if not weights.exists():
        raise RecipeError(f"teacher.model: the run in {folder} has not ended; end it with --resume, or name another")
    if Tokenizer.load(folder / "tokenizer.json").fingerprint != tokenizer.fingerprint:
        raise _other_tokens(str(folder))
    model, _ = load_model(weights, device)
    model.eval()
    return model


def _hugging_face(name: str, tokenizer: Tokenizer, device: torch.device) -> Callable[[Tensor], Tensor]:
    try:
        import transformers
    except ImportError as error:
        raise ResourceError(
            f"teacher.model: {name} is no run's folder, and for a model of Hugging Face transformers is not installed; "
            "pip install 'autonas[peers]'"
        ) from error
    try:
        theirs = transformers.AutoTokenizer.from_pretrained(name)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    # Its loaders raise what they like: OSError for a name that is none, ValueError for a configuration, and others.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RecipeError(
            f"teacher.model: {name!r} is neither a run's folder nor a causal model that Hugging Face can load ({reason})"
        ) from error
    ids = theirs(_PROBE, add_special_tokens=False)["input_ids"]
    if ids != tokenizer.encode(_PROBE) or not _same_vocabulary(theirs, tokenizer):
        raise _other_tokens(name)
    rows = model.get_output_embeddings().weight.shape[0]
    if rows < tokenizer.vocab_size:
        raise _other_tokens(name)
    model.to(device).eval()
    return lambda tokens: model(tokens).logits[..., : tokenizer.vocab_size]


def _same_vocabulary(theirs: Any, tokenizer: Tokenizer) -> bool:
    ours = json.loads(tokenizer.to_bytes())["model"]["vocab"]
    vocabulary = theirs.get_vocab()
    return all(vocabulary.get(token) == number for token, number in ours.items())


def _other_tokens(name: str) -> RecipeError:
    return RecipeError(
        f"teacher.model: {name} has another tokenizer than the student, so its predictions cannot be compared token by token; "
        "let it write texts instead (`autonas teach`), and name them in `curriculum.texts`"
    )
