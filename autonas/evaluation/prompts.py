"""Which prompts the collapse rate is measured on: the embedded Python ones, a user's file, or held-out documents. No torch.

Few samples of many prompts tell more than many of few. The choice depends on the settings and the data set alone: every trial
of a study answers the same prompts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np

from autonas.data.dataset import Dataset
from autonas.errors import CorpusError
from autonas.evaluation.python_prompts import BARE_PROMPTS, FEW_SHOT_PROMPTS
from autonas.trial import EvaluationSettings

Kind = Literal["few_shot", "bare"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Item = TypeVar("Item")

_PREFIX_TOKENS: Final = 120
_LONGEST_LINE: Final = 120  # characters of a bare prompt from a document
_HELD_OUT_SEED: Final = 20250102


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is asked to go on from: worked examples or the beginning of a document, or a single bare line."""

    text: str
    kind: Kind


def choose_prompts(dataset: Dataset, settings: EvaluationSettings) -> tuple[Prompt, ...]:
    """At most `prompts_per_kind` few-shot and as many bare prompts, few-shot first.

    From `prompts_file` if there is one; else the embedded ones for Python; else from test documents, or validation ones.

    Raises:
        CorpusError: the file is missing or wrong, or there are no held-out documents.
    """
    if settings.prompts_file is not None:
        prompts = read_prompts(settings.prompts_file)
    elif settings.language == "python":
        few_shot = [Prompt(text=text, kind="few_shot") for text in FEW_SHOT_PROMPTS]
        bare = [Prompt(text=text, kind="bare") for text in BARE_PROMPTS]
        # The prior system's eleven come first and are always among the chosen.
        return (*few_shot[: settings.prompts_per_kind], *bare[: settings.prompts_per_kind])
    else:
        prompts = held_out_prompts(dataset, settings.prompts_per_kind)
    return tuple(
        prompt
        for kind in KINDS
        for prompt in _evenly([prompt for prompt in prompts if prompt.kind == kind], settings.prompts_per_kind)
    )


def read_prompts(path: str | Path) -> list[Prompt]:
    """The prompts of a file with one JSON value a line: a string, or `{"prompt": …, "kind": "few_shot" or "bare"}`.

    Without a kind, a prompt of one line is bare and a longer one is few-shot. Empty lines are skipped.

    Raises:
        CorpusError: the file cannot be read, holds no prompt, or a line is wrong; the message names file and line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise CorpusError(f"{path}: the prompt file cannot be read ({error.strerror}); check `prompts_file`") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: the prompt file is not UTF-8 ({error.reason}); save it as UTF-8") from error
    prompts = [_read_prompt(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise CorpusError(f"{path}: the prompt file is empty; write one JSON string a line")
    return prompts


def _read_prompt(line: str, place: str) -> Prompt:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f'{place}: not JSON ({error}); write a string in double quotes, or {{"prompt": "…"}}') from error
    if isinstance(value, str):
        value = {"prompt": value}
    if not isinstance(value, dict) or not isinstance(value.get("prompt"), str) or not value["prompt"].strip():
        raise CorpusError(f'{place}: no prompt; write a JSON string that is not blank, or {{"prompt": "…"}}')
    unknown = sorted(set(value) - {"prompt", "kind"})
    if unknown:
        raise CorpusError(f"{place}: unknown key {unknown[0]!r}; a prompt has `prompt` and `kind`")
    text = value["prompt"]
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise CorpusError(f"{place}: the prompt is not valid Unicode (a lone surrogate); remove it") from error
    kind = value.get("kind", "few_shot" if "\n" in text.strip("\n") else "bare")
    if kind not in KINDS:
        raise CorpusError(f"{place}: kind is {kind!r}; choose one of {', '.join(KINDS)}")
    return Prompt(text=text, kind=kind)


def held_out_prompts(dataset: Dataset, count: int) -> list[Prompt]:
    """`count` of each kind from the test documents, or the validation ones when there are none.

    Few-shot: the first 120 tokens or so of a document, up to the end of a line. Bare: a line from anywhere in it.

    Raises:
        CorpusError: no held-out document has a line to begin with.
    """
    for split in ("test", "validation"):
        prompts = [prompt for pair in _of_documents(dataset, split, count) for prompt in pair]
        if prompts:
            return prompts
    raise CorpusError("the held-out documents have no text to take prompts from; give a larger corpus or a `prompts_file`")


def _of_documents(dataset: Dataset, split: str, count: int) -> Iterator[tuple[Prompt, Prompt]]:
    starts, tokens = dataset.documents(split).starts, dataset.tokens(split)
    # By raw bits: NumPy promises these to stay the same in later versions.
    bits = np.random.Philox(_HELD_OUT_SEED).random_raw(2 * (len(starts) - 1)).reshape(-1, 2) >> np.uint64(1)
    made = 0
    for number in np.argsort(bits[:, 0], kind="stable"):
        if made == count:
            return
        end = starts[number + 1] - 1  # without end-of-text
        head = dataset.tokenizer.decode(tokens[starts[number] : min(end, starts[number] + _PREFIX_TOKENS)].tolist())
        prefix = head[: head.rfind("\n") + 1]
        lines = [line for line in dataset.text(split, int(number)).split("\n") if line.strip() and len(line) <= _LONGEST_LINE]
        if prefix.strip() and lines:
            made += 1
            yield Prompt(text=prefix, kind="few_shot"), Prompt(text=lines[int(bits[number, 1]) % len(lines)], kind="bare")


def _evenly(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of `items`, from all over the list."""
    if len(items) <= count:
        return list(items)
    return [items[place * len(items) // count] for place in range(count)]
