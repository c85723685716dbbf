"""A trained model that people use: loaded from its run's folder, it completes text.

`autonas generate`, `autonas.load` and the service all write through `LoadedRun.pieces`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict, Unpack

import numpy as np
import torch

from autonas.arch import ArchSpec
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CheckpointError, StudyError
from autonas.evaluation.latency import resolve_device
from autonas.model.prompts import batches, crop, window
from autonas.model.rows import Ready, Rows, Said, read
from autonas.model.sampling import Sampling
from autonas.model.stopping import TextStop
from autonas.model.transformer import Transformer
from autonas.run_folder import TRIALS, read_job
from autonas.training.checkpoint import load_model

FinishReason = Literal["stop", "length"]
# What a byte sequence that is no character, or the beginning of one, is decoded to.
REPLACEMENT = "\ufffd"


class Options(TypedDict, total=False):
    """How to complete a prompt, by keyword; what is left out is as `Wish` has it."""

    max_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    repetition_penalty: float
    stop: Sequence[str]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a prompt is completed: at most `max_tokens`, chosen as `sampling` says, up to the end of text or a text of `stop`.

    `seed` decides where sampling draws: the same seed, the same completion. Temperature 0 is greedy.
    """

    max_tokens: int = 120
    temperature: float = 0.7
    top_k: int | None = 40
    top_p: float | None = None
    repetition_penalty: float = 1.0
    stop: Sequence[str] = ()
    seed: int = 0

    @property
    def sampling(self) -> Sampling:
        """Raises RequestError for a value out of its range."""
        return Sampling(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model wrote after a prompt, and why it ended: "stop" at the end of text or at `stop`, "length" at the most tokens.

    `tokens` are all that were made: where a text ended them, they reach beyond `text`.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason
    stop: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A token of a row, and the text that has become certain with it, often none. The last piece of a row has its reason."""

    row: int
    text: str
    said: Said
    finish_reason: FinishReason | None = None
    stop: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRun:
    """A trained model with its tokenizer, ready to use.

    A prompt and its completion share the model's context: of a longer prompt the beginning is left out.
    """

    model: Transformer
    tokenizer: Tokenizer
    spec: ArchSpec
    tuned: bool = False  # on prompts and solutions: it is asked as its examples asked
    _ready: Ready = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ready", Ready(self.model))

    def complete(self, prompt: str, **options: Unpack[Options]) -> Completion:
        """What the model writes after `prompt`; the options are those of `Wish`.

        Raises:
            RequestError: an option is out of its range, or there is no room for so many tokens.
            TokenizerError: the prompt is no text.
        """
        stream = self.stream(prompt, **options)
        while True:
            try:
                next(stream)
            except StopIteration as ended:
                completion: Completion = ended.value
                return completion

    def stream(self, prompt: str, **options: Unpack[Options]) -> Generator[str, None, Completion]:
        """As `complete`, in pieces as they become certain; the generator's return value is the whole completion.

        A character is never in two pieces, and what may yet become a text to stop at is held back.

        Raises:
            RequestError, TokenizerError: as `complete`, at the call and not at the first piece.
        """
        wish = Wish(**options)
        pieces = self.pieces(
            [self.encode(prompt)],
            max_tokens=wish.max_tokens,
            sampling=wish.sampling,
            stop=wish.stop,
            uniforms=drawn([wish.seed], wish.max_tokens),
        )
        return _followed(pieces)

    def complete_all(self, prompts: Sequence[str], **options: Unpack[Options]) -> list[Completion]:
        """As `complete` for each of `prompts`, several at a time: each is as it would be alone.

        Raises:
            RequestError, TokenizerError: as `complete`.
        """
        wish = Wish(**options)
        sampling, room = wish.sampling, window(self.spec, wish.max_tokens)
        cropped = [crop(self.spec, self.encode(prompt), room, place) for place, prompt in enumerate(prompts)]
        written: list[list[Piece]] = [[] for _ in prompts]
        for rows in batches(cropped, wish.max_tokens):
            pieces = self.pieces(
                [cropped[row] for row in rows],
                max_tokens=wish.max_tokens,
                sampling=sampling,
                stop=wish.stop,
                uniforms=drawn([wish.seed] * len(rows), wish.max_tokens),
            )
            for some in pieces:
                for piece in some:
                    written[rows[piece.row]].append(piece)
        return [completion_of(pieces) for pieces in written]

    def encode(self, prompt: str) -> list[int]:
        """The tokens of `prompt`; an empty one begins with the end-of-text token, as every document does.

        A tuned model is asked as it was tuned: behind end-of-text, without white space at the prompt's end.
        """
        if self.tuned:
            return self.tokenizer.encode_prompt(prompt)
        return self.tokenizer.encode(prompt) or [self.tokenizer.end_of_text]

    def left_out(self, prompt: str, max_tokens: int) -> int:
        """How many tokens of the prompt's beginning do not fit the context beside `max_tokens` new ones."""
        return max(len(self.encode(prompt)) - window(self.spec, max_tokens), 0)

    def pieces(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        sampling: Sampling,
        stop: Sequence[str] = (),
        uniforms: np.ndarray | None = None,
        num_likeliest: int | None = None,
    ) -> Iterator[list[Piece]]:
        """Completions of all `prompts` at once: each turn gives a piece of every row that has not ended.

        `uniforms` (prompts, max_tokens) are as `drawn` makes them. With `num_likeliest` tokens come with their
        log-probabilities, and with those of so many alternatives.

        Raises:
            RequestError: an empty prompt or stop, a token outside the vocabulary, or no room. At the call.
        """
        room = window(self.spec, max_tokens)
        cropped = [crop(self.spec, prompt, room, place) for place, prompt in enumerate(prompts)]
        stops = (stop,) if isinstance(stop, str) else stop  # a text is a sequence of texts too
        texts = [_Text(self.tokenizer, stops) for _ in cropped]
        begun = Rows(
            self._ready,
            cropped,
            max_new_tokens=max_tokens,
            sampling=sampling,
            uniforms=uniforms,
            num_likeliest=num_likeliest,
        )
        return _pieces(begun, texts, max_tokens)

    def read(self, prompt: Sequence[int], row: int, num_likeliest: int) -> list[Said]:
        """The tokens of a prompt that fits the context, with their log-probabilities and `num_likeliest` alternatives."""
        return read(self.model, crop(self.spec, prompt, self.spec.context_length, row), row, num_likeliest)


def drawn(seeds: Sequence[int], max_tokens: int) -> np.ndarray:
    """The numbers (seeds, max_tokens) that decide where sampling draws: a row for each seed."""
    return np.stack([np.random.default_rng(seed).random(max_tokens) for seed in seeds])


def completion_of(pieces: Sequence[Piece]) -> Completion:
    """All of one row's pieces as a whole."""
    last = pieces[-1]
    assert last.finish_reason is not None
    return Completion(
        text="".join(piece.text for piece in pieces),
        tokens=tuple(piece.said.token for piece in pieces),
        finish_reason=last.finish_reason,
        stop=last.stop,
    )


def _pieces(rows: Rows, texts: Sequence[_Text], max_tokens: int) -> Iterator[list[Piece]]:
    count = 0
    while not rows.done:
        count += 1
        pieces = [texts[said.row].add(said, last=count == max_tokens) for said in rows.advance()]
        for piece in pieces:
            if piece.finish_reason is not None:
                rows.end(piece.row)
        yield pieces


def _followed(pieces: Iterator[list[Piece]]) -> Generator[str, None, Completion]:
    written = []
    for (piece,) in pieces:
        written.append(piece)
        if piece.text:
            yield piece.text
    return completion_of(written)


class _Text:
    """The text of one row as its tokens come."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stop = TextStop(stop)
        self._tokens: list[int] = []

    def add(self, said: Said, *, last: bool) -> Piece:
        """The piece that a token makes certain; `last` if there will be no other."""
        ended = said.token == self._tokenizer.end_of_text
        if not ended:
            self._tokens.append(said.token)
        text = self._tokenizer.decode(self._tokens)
        # A character may take several tokens: what ends in the beginning of one is held back, and left out at the last.
        whole = text if ended else text.rstrip(REPLACEMENT)
        new = self._stop.feed(whole, complete=ended or last) if ended or last or whole == text else ""
        reason: FinishReason | None = "stop" if ended or self._stop.ended else "length" if last else None
        return Piece(row=said.row, text=new, said=said, finish_reason=reason, stop=self._stop.found)


def load_run(run: Path, device: str = "cpu") -> LoadedRun:
    """The trained model in a run's folder.

    Raises:
        StudyError: there is no finished run.
        CheckpointError: its weights are damaged.
        TokenizerError: its tokenizer is damaged.
    """
    weights = run / "model.safetensors"
    if not weights.exists():
        state = "has not ended yet; go on with --resume" if (run / "run.json").exists() else "is no run"
        found = [
            path.parent
            for study in dict.fromkeys((run, TRIALS / run))
            for path in sorted(study.glob("runs/*/model.safetensors"))
        ]
        if found:
            raise StudyError(f"{run}: {state}, but a study with runs: {', '.join(map(str, found))}. Name one of these.")
        raise StudyError(f"{run}: {state}. `autonas promote STUDY` and `autonas train --spec FILE` make one.")
    model, _ = load_model(weights, resolve_device(device))
    tokenizer = Tokenizer.load(run / "tokenizer.json")
    if tokenizer.vocab_size != model.spec.vocab_size:
        raise CheckpointError(
            f"{run}: the tokenizer has {tokenizer.vocab_size} entries and the model {model.spec.vocab_size}. "
            "One of them is of another run; restore it."
        )
    tuned = (run / "run.json").exists() and read_job(run).kind == "tune"
    return LoadedRun(model=model, tokenizer=tokenizer, spec=model.spec, tuned=tuned)


def use_threads(threads: int) -> None:
    """Let models computed by this thread take so many cores."""
    torch.set_num_threads(threads)
