"""Whether an exported model, in its own runtime, computes what the trained one computes: the check that every export passes.

Logits of whole windows are compared, every second window read in two pieces, so that the cache is checked too; greedy
continuations token by token, by our decoder and by the runtime's own loop; and the tokenizer on texts, there and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.data.tokenizer import END_OF_TEXT
from autonas.errors import ExportError
from autonas.evaluation.python_prompts import BARE_PROMPTS, FEW_SHOT_PROMPTS
from autonas.exporting.plain import OwnRuntime
from autonas.loaded_run import LoadedRun

NEW_TOKENS: Final = 32
# Of the largest logit, which is at least taken as 1, and with rope for every 128 tokens of context. On random models whose
# logits reach 10, onnxruntime, llama.cpp and transformers were up to 4e-6 of it off at 64 tokens; the two that compute angles
# in float32, up to 1.6e-5 at 512 and 6e-5 at 2,048. An epsilon of 1e-6 for 1e-5 in the norms moved logits of a trained model by
# 1.8e-4.
TOLERANCE: Final = 2e-5
_TOLERANCE_CONTEXT: Final = 128
_NUM_PROMPTS: Final = 8
_SHARES: Final = (1.0, 1.0, 0.5, 0.5, 0.25, 0.25)  # lengths of windows, of the context; beside 1, 2, 3 and 5 tokens
_SEED: Final = 20250103
_TEXTS: Final = (
    "def add(a: int, b: int = 2) -> int:\n    return a + b\n",
    "\tif (x != 0)\r\n\t{ y[i] <<= 3; }  // C , . ! 'll n't\r",
    "Grüße, 你好, 🦊👩‍👩‍👧, e\u0301 é \u00a0\u2028",
    f"print('{END_OF_TEXT}')<pad><unk><s>[CLS]",
)


class Runtime(Protocol):
    """An exported model in the program that it is for."""

    name: str  # with its version

    def logits(self, tokens: Sequence[int], cut: int = 0) -> NDArray[np.float32]:
        """(T, V) after each of `tokens`, of which the first `cut` are read first and kept in the cache."""

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """The `count` likeliest tokens after `prompt`, by the runtime's own loop, where it has one."""

    def encode(self, text: str) -> list[int]: ...

    def decode(self, tokens: Sequence[int]) -> str: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What is asked of both models."""

    windows: tuple[tuple[int, ...], ...]
    prompts: tuple[tuple[int, ...], ...]
    new_tokens: int
    texts: tuple[str, ...]
    source: str  # where windows and prompts are from, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the trained model answers."""

    probe: Probe
    logits: tuple[NDArray[np.float32], ...]
    completions: tuple[list[int], ...]
    encoded: tuple[list[int], ...]
    own: OwnRuntime

    @property
    def tolerance(self) -> float:
        """The most that a logit may differ by."""
        spec = self.own.spec
        length = max(1.0, spec.context_length / _TOLERANCE_CONTEXT) if spec.position == "rope" else 1.0
        return TOLERANCE * length * max(1.0, *(float(np.abs(each).max()) for each in self.logits))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """What the check found, JSON-ready: parity.json."""

    runtime: str
    largest_difference: float  # of a logit
    tolerance: float
    windows: int
    positions: int  # whose logits were compared
    prompts: int
    new_tokens: int  # asked for after each prompt
    tokens_compared: int
    # Where the runtime chose another token whose logit, in our model, is within twice the tolerance of the best: rounding
    # decides there. What follows such a token is not compared.
    near_ties: tuple[Mapping[str, Any], ...]
    texts: int  # encoded to the same ids, and decoded to the same text
    source: str
    note: str = field(default="")


def make_probe(loaded: LoadedRun, dataset: Dataset | None) -> Probe:
    """Held-out tokens of the run's data set, or, where that is gone, prompts of the collapse suite."""
    context = loaded.spec.context_length
    rng = np.random.default_rng(_SEED)
    if dataset is not None and len(dataset.tokens("validation")) > context:
        tokens = np.asarray(dataset.tokens("validation"))
        source = f"validation tokens of the data set {dataset.fingerprint}"
    else:
        tokens = np.array(loaded.tokenizer.encode("\n".join((*FEW_SHOT_PROMPTS, *BARE_PROMPTS))))
        tokens = np.tile(tokens, 1 + context // len(tokens))
        source = "the prompts of the collapse suite, since the run's data set is not on this machine"

    def take(length: int) -> tuple[int, ...]:
        start = int(rng.integers(0, len(tokens) - length + 1))
        return tuple(tokens[start : start + length].tolist())

    lengths = [1, 2, 3, 5, *(round(context * share) for share in _SHARES)]
    new_tokens = min(NEW_TOKENS, context // 2)
    longest = context - new_tokens
    prompt_lengths = np.linspace(1, longest, _NUM_PROMPTS).round().astype(int).tolist()
    windows = tuple(take(min(max(length, 1), context)) for length in lengths)
    texts = tuple(loaded.tokenizer.decode(window) for window in windows[4:])
    return Probe(
        # End-of-text begins a document: it is asked for too.
        windows=(*windows, (loaded.tokenizer.end_of_text, *take(min(8, context - 1)))),
        prompts=tuple(take(length) for length in prompt_lengths),
        new_tokens=new_tokens,
        texts=(*_TEXTS, *texts),
        source=source,
    )


def reference(loaded: LoadedRun, probe: Probe) -> Reference:
    """The trained model's answers."""
    own = OwnRuntime(loaded)
    return Reference(
        probe=probe,
        logits=tuple(own.logits(window) for window in probe.windows),
        completions=tuple(own.greedy(prompt, probe.new_tokens) for prompt in probe.prompts),
        encoded=tuple(own.encode(text) for text in probe.texts),
        own=own,
    )


def check_parity(wanted: Reference, runtime: Runtime, *, tolerance: float | None = None, note: str = "") -> Parity:
    """Hold the runtime's answers to the trained model's.

    Raises:
        ExportError: they differ by more than rounding; the message says in what, and by how much.
    """
    probe = wanted.probe
    allowed = wanted.tolerance if tolerance is None else tolerance
    largest = 0.0
    for number, (window, ours) in enumerate(zip(probe.windows, wanted.logits, strict=True)):
        theirs = runtime.logits(window, len(window) // 2 if number % 2 else 0)
        if theirs.shape != ours.shape:
            raise ExportError(f"{runtime.name} gives logits of shape {theirs.shape}, and the model of {ours.shape}")
        difference = float(np.abs(theirs - ours).max())
        largest = max(largest, difference) if np.isfinite(difference) else float("inf")
    if not largest <= allowed:
        raise ExportError(
            f"{runtime.name} computes something else than the trained model: logits differ by up to {largest:.3g}, and "
            f"{allowed:.3g} is allowed"
        )
    compared, ties = 0, []
    for number, (prompt, ours_made) in enumerate(zip(probe.prompts, wanted.completions, strict=True)):
        made = runtime.greedy(prompt, probe.new_tokens)
        same, tie = _agreement(wanted, prompt, ours_made, made, allowed)
        compared += same
        if tie is not None:
            ties.append({"prompt": number, **tie})
    for text, ids in zip(probe.texts, wanted.encoded, strict=True):
        if runtime.encode(text) != ids:
            raise ExportError(f"{runtime.name} encodes {text[:40]!r} to other ids than the model was trained on")
        if runtime.decode(ids) != wanted.own.decode(ids):
            raise ExportError(f"{runtime.name} decodes the ids of {text[:40]!r} to another text")
    return Parity(
        runtime=runtime.name,
        largest_difference=largest,
        tolerance=allowed,
        windows=len(probe.windows),
        positions=sum(map(len, probe.windows)),
        prompts=len(probe.prompts),
        new_tokens=probe.new_tokens,
        tokens_compared=compared,
        near_ties=tuple(ties),
        texts=len(probe.texts),
        source=probe.source,
        note=note,
    )


def _agreement(
    wanted: Reference, prompt: tuple[int, ...], ours: list[int], theirs: list[int], allowed: float
) -> tuple[int, dict[str, Any] | None]:
    """How many tokens are the same, and the near tie that ended that."""
    if len(theirs) != len(ours):
        raise ExportError(f"the runtime made {len(theirs)} tokens where {len(ours)} were asked for")
    place = next((place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]), None)
    if place is None:
        return len(ours), None
    logits = wanted.own.logits((*prompt, *ours[:place]))[-1]
    margin = float(logits.max() - logits[theirs[place]])
    if margin > 2 * allowed:
        raise ExportError(
            f"greedy decoding differs: token {place + 1} after a prompt of {len(prompt)} is {theirs[place]} and not "
            f"{ours[place]}, whose logit is {margin:.3g} larger; {2 * allowed:.3g} would be a tie"
        )
    return place, {"token": place, "margin": margin}
