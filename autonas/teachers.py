"""Models that others learn from: a run of our own, or a causal model of Hugging Face.

One with the student's tokens teaches by its predictions (`load_teaching`); any other writes texts to learn from
(`write_texts`; Kim and Rush, arXiv 1606.07947). `transformers` is imported when such a teacher is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from autonas.curriculum import Teacher
from autonas.data.batches import permutation
from autonas.data.cache import write_file
from autonas.data.dataset import Dataset
from autonas.data.pairs import training_pairs
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CorpusError, RecipeError, ResourceError
from autonas.evaluation.detectors import is_collapsed
from autonas.evaluation.latency import resolve_device
from autonas.model.decode import Sampling, StopRule, generate
from autonas.run_data import other_tokens
from autonas.training.checkpoint import load_model
from autonas.training.distillation import Teaching

Writer = Callable[[Sequence[str], int, float, int], list[str]]  # prompts, most tokens, temperature, seed -> what follows each
_PROMPTS_AT_ONCE: Final = 32
_FIRST_LINES: Final = 6  # of a document that is no Python
_PROBE: Final = "def add(a, b=0x1F):\n\treturn a + b  # Grüße, 你好\n" + "    x = 'it''s'\r\n" * 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a teacher wrote: whole texts, and how many were left out as collapsed."""

    texts: int
    collapsed: int
    characters: int


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


def write_texts(
    name: str,
    dataset: Dataset,
    file: Path,
    *,
    count: int,
    max_tokens: int = 120,
    temperature: float = 0.8,
    seed: int = 0,
    device: str = "cpu",
    say: Callable[[str], None] = lambda text: None,
) -> Written:
    """Let a teacher finish `count` beginnings of the training split, and write them as JSON Lines for `curriculum.texts`.

    A beginning is a function's signature and docstring, or of other languages the first lines of a document. Texts that loop
    are left out. The same seed writes the same file, on one machine.

    Raises:
        RecipeError: there is no such model.
        CorpusError: the corpus has no beginnings.
        ResourceError: the file cannot be written, or `transformers` is not installed.
    """
    begins = beginnings(dataset, count, seed)
    own = (Path(name) / "spec.json").exists()
    finish = _own_writer(Path(name), device) if own else _hugging_face_writer(name, device)
    lines, collapsed, characters = [], 0, 0
    for first in range(0, len(begins), _PROMPTS_AT_ONCE):
        prompts = begins[first : first + _PROMPTS_AT_ONCE]
        for number, (prompt, made) in enumerate(
            zip(prompts, finish(prompts, max_tokens, temperature, seed + first), strict=True)
        ):
            if is_collapsed(made):
                collapsed += 1
                continue
            text = prompt + made
            characters += len(text)
            lines.append(json.dumps({"text": text, "name": f"{name}:{first + number}"}))
        say(f"{min(first + _PROMPTS_AT_ONCE, len(begins)):,} of {len(begins):,} texts")
    write_file(file, "".join(f"{line}\n" for line in lines).encode())
    return Written(texts=len(lines), collapsed=collapsed, characters=characters)


def beginnings(dataset: Dataset, count: int, seed: int) -> list[str]:
    """What texts of the training split begin with: `count` of them, or all, in an order drawn by `seed`."""
    found = [pair.head for pair in training_pairs(dataset)]
    if not found:
        texts = (dataset.text("train", number) for number in range(len(dataset.documents("train"))))
        found = ["".join(text.splitlines(keepends=True)[:_FIRST_LINES]) for text in texts]
    found = [text for text in dict.fromkeys(found) if text.strip()]
    if not found:
        raise CorpusError("the training split has no text to begin with; give a larger corpus")
    return [found[number] for number in permutation((seed,), len(found))[:count]]


def _own_writer(folder: Path, device: str) -> Writer:
    if not (folder / "model.safetensors").exists():
        raise RecipeError(f"{folder}: the run has not ended; end it with --resume, or name another")
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    model, _ = load_model(folder / "model.safetensors", resolve_device(device))

    def finish(prompts: Sequence[str], max_tokens: int, temperature: float, seed: int) -> list[str]:
        room = min(max_tokens, model.spec.context_length - 1)
        draws = np.random.default_rng(seed).random((len(prompts), room)) if temperature else None
        made = generate(
            model,
            tokenizer.encode_batch(prompts),
            max_new_tokens=room,
            sampling=Sampling(temperature=temperature, top_k=model.spec.vocab_size),
            uniforms=draws,
            stop=StopRule(token=tokenizer.end_of_text),
        )
        return [tokenizer.decode(tokens) for tokens in made]

    return finish


def _hugging_face_writer(name: str, device: str) -> Writer:
    theirs, model = _load_hugging_face(name, resolve_device(device))
    theirs.padding_side = "left"
    if theirs.pad_token_id is None:
        theirs.pad_token = theirs.eos_token

    def finish(prompts: Sequence[str], max_tokens: int, temperature: float, seed: int) -> list[str]:
        torch.manual_seed(seed)
        inputs = theirs(list(prompts), return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
        inputs.pop("token_type_ids", None)
        chosen: dict[str, Any] = (
            {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        )
        with torch.no_grad():
            made = model.generate(**inputs, max_new_tokens=max_tokens, pad_token_id=theirs.pad_token_id, **chosen)
        texts: list[str] = theirs.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return texts

    return finish


def _own(folder: Path, tokenizer: Tokenizer, device: torch.device) -> Callable[[Tensor], Tensor]:
    weights = folder / "model.safetensors"
    if not weights.exists():
        raise RecipeError(f"teacher.model: the run in {folder} has not ended; end it with --resume, or name another")
    if Tokenizer.load(folder / "tokenizer.json").fingerprint != tokenizer.fingerprint:
        raise other_tokens(str(folder))
    model, _ = load_model(weights, device)
    model.eval()
    return model


def _hugging_face(name: str, tokenizer: Tokenizer, device: torch.device) -> Callable[[Tensor], Tensor]:
    theirs, model = _load_hugging_face(name, device)
    ids = theirs(_PROBE, add_special_tokens=False)["input_ids"]
    rows = model.get_output_embeddings().weight.shape[0]
    if ids != tokenizer.encode(_PROBE) or not _same_vocabulary(theirs, tokenizer) or rows < tokenizer.vocab_size:
        raise other_tokens(name)
    return lambda tokens: model(tokens).logits[..., : tokenizer.vocab_size]


def _load_hugging_face(name: str, device: torch.device) -> tuple[Any, Any]:
    """Its tokenizer and itself."""
    try:
        import transformers
    except ImportError as error:
        raise ResourceError(
            f"teacher: {name} is no run's folder, and for a model of Hugging Face transformers is not installed; "
            "pip install 'autonas[peers]'"
        ) from error
    try:
        theirs = transformers.AutoTokenizer.from_pretrained(name)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    # Its loaders raise what they like: OSError for a name that is none, ValueError for a configuration, and others.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RecipeError(
            f"teacher: {name!r} is neither a run's folder nor a causal model that Hugging Face can load ({reason})"
        ) from error
    return theirs, model.to(device).eval()


def _same_vocabulary(theirs: Any, tokenizer: Tokenizer) -> bool:
    ours = json.loads(tokenizer.to_bytes())["model"]["vocab"]
    special = set(theirs.all_special_tokens)  # a token for padding, say, that no text is made of
    known = {token: number for token, number in theirs.get_vocab().items() if token in ours or token not in special}
    return bool(known == ours)
