"""What a model writes for a request, as the choices of OpenAI's API: pieces with their log-probabilities, one by one or joined.

Offsets are in characters of a choice's `text`, which begins with the prompt where it is echoed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autonas.data.tokenizer import Tokenizer
from autonas.errors import RequestError, ServiceError
from autonas.loaded_run import REPLACEMENT, LoadedRun, Piece, drawn
from autonas.model.rows import Said
from autonas.service.completion_request import CompletionRequest, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one choice got in one turn; `num_tokens` were made for it, and `num_prompt_tokens` were read."""

    index: int
    text: str
    finish_reason: str | None = None
    logprobs: dict[str, list[Any]] | None = None
    num_tokens: int = 0
    num_prompt_tokens: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"text": self.text, "index": self.index, "logprobs": self.logprobs, "finish_reason": self.finish_reason}


def written(run: LoadedRun, asked: CompletionRequest) -> Iterator[list[Part]]:
    """The choices of a request, a turn of the model at a time; choice `i * n + k` is the k-th of prompt i.

    Choice k of a prompt is what the seed `seed + k` alone gives.

    Raises:
        ServiceError: a prompt is no text, of another vocabulary, or too long. From the first turn.
    """
    prompts = [_tokens_of(run, prompt, place, asked) for place, prompt in enumerate(asked.prompts)]
    choices = [_Choice(run.tokenizer, place * asked.n + k, asked) for place in range(len(prompts)) for k in range(asked.n)]
    began: list[Part] = []
    for place, prompt in enumerate(prompts):
        shown = asked.prompts[place]
        text = shown if isinstance(shown, str) and asked.truncate_prompt_tokens is None else run.tokenizer.decode(prompt)
        said = run.read(prompt, place, asked.logprobs) if asked.echo and asked.logprobs is not None else []
        for k in range(asked.n):
            part = choices[place * asked.n + k].begin(text, said)
            began.append(part if k else _counted(part, len(prompt)))
    yield began
    if asked.max_tokens == 0:
        return
    turns = run.pieces(
        [prompt for prompt in prompts for _ in range(asked.n)],
        max_tokens=asked.max_tokens,
        sampling=asked.sampling,
        stop=asked.stop,
        uniforms=drawn([(asked.seed + k) % 2**64 for _ in prompts for k in range(asked.n)], asked.max_tokens)
        if asked.sampling.draws
        else None,
        num_likeliest=asked.logprobs,
    )
    for pieces in turns:
        yield [choices[piece.row].add(piece) for piece in pieces]


def joined(parts: Sequence[Part]) -> Part:
    """All parts of one choice as a whole."""
    logprobs: dict[str, list[Any]] | None = None
    for part in parts:
        if part.logprobs is not None:
            logprobs = logprobs or {name: [] for name in part.logprobs}
            for name, values in part.logprobs.items():
                logprobs[name].extend(values)
    return Part(
        index=parts[0].index,
        text="".join(part.text for part in parts),
        finish_reason=parts[-1].finish_reason,
        logprobs=logprobs,
        num_tokens=sum(part.num_tokens for part in parts),
        num_prompt_tokens=sum(part.num_prompt_tokens for part in parts),
    )


def _counted(part: Part, num_prompt_tokens: int) -> Part:
    return Part(
        index=part.index,
        text=part.text,
        finish_reason=part.finish_reason,
        logprobs=part.logprobs,
        num_prompt_tokens=num_prompt_tokens,
    )


def _tokens_of(run: LoadedRun, prompt: Prompt, place: int, asked: CompletionRequest) -> list[int]:
    try:
        tokens = run.encode(prompt) if isinstance(prompt, str) else list(prompt)
    except RequestError as error:
        raise ServiceError(400, str(error), param="prompt") from error
    wrong = next((token for token in tokens if not 0 <= token < run.spec.vocab_size), None)
    if wrong is not None:
        message = f"Prompt {place} has token {wrong}, and the vocabulary of this model {run.spec.vocab_size} entries."
        raise ServiceError(400, message, param="prompt")
    token = next((token for token, _ in asked.sampling.logit_bias if token >= run.spec.vocab_size), None)
    if token is not None:
        raise ServiceError(400, f"Token {token} is not of this model's {run.spec.vocab_size}.", param="logit_bias")
    context = run.spec.context_length
    room = context - asked.max_tokens
    if room < 1:
        message = f"max_tokens={asked.max_tokens} leave no room for a prompt in this model's context of {context} tokens."
        raise ServiceError(400, message, param="max_tokens", code="context_length_exceeded")
    if asked.truncate_prompt_tokens is not None:
        tokens = tokens[-(room if asked.truncate_prompt_tokens == -1 else asked.truncate_prompt_tokens) :]
    if len(tokens) > room:
        raise ServiceError(
            400,
            f"This model's context is {context} tokens. Prompt {place} has {len(tokens)} and max_tokens={asked.max_tokens}: "
            f"shorten one of them, or send truncate_prompt_tokens=-1 to have the prompt's end alone read.",
            param="prompt",
            code="context_length_exceeded",
        )
    return tokens


class _Choice:
    """One choice as it grows."""

    def __init__(self, tokenizer: Tokenizer, index: int, asked: CompletionRequest) -> None:
        self._tokenizer, self._index, self._asked = tokenizer, index, asked
        self._shown = self._base = 0  # characters
        self._tokens: list[int] = []
        self._held: list[tuple[Said, int]] = []  # tokens with their offsets, whose text is not certain yet

    def begin(self, prompt: str, said: Sequence[Said]) -> Part:
        """The part before the first new token: the prompt, where it is echoed."""
        text = prompt if self._asked.echo else ""
        ended = self._asked.max_tokens == 0
        found = [(one, self._offset(one)) for one in said]
        self._shown = self._base = len(text)
        self._tokens = []
        return Part(
            index=self._index,
            text=text,
            finish_reason="length" if ended else None,
            logprobs=None if self._asked.logprobs is None else self._logprobs(found),
        )

    def add(self, piece: Piece) -> Part:
        """The part that a piece makes."""
        self._shown += len(piece.text)
        logprobs = None
        if self._asked.logprobs is not None:
            if piece.said.token != self._tokenizer.end_of_text:
                self._held.append((piece.said, self._offset(piece.said)))
            # What a text to stop at cut off is not told; what only ended in half a character is.
            whole = piece.finish_reason is not None and piece.stop is None
            told = [pair for pair in self._held if whole or pair[1] < self._shown]
            self._held = self._held[len(told) :]
            logprobs = self._logprobs(told)
        return Part(
            index=self._index,
            text=piece.text,
            finish_reason=piece.finish_reason,
            logprobs=logprobs,
            num_tokens=1,
        )

    def _offset(self, said: Said) -> int:
        """Where the text of the next token begins: at the beginning of the character that it goes on with, if it does."""
        before = self._tokenizer.decode(self._tokens)
        self._tokens.append(said.token)
        after = self._tokenizer.decode(self._tokens)
        common = next((i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1]), len(before))
        return self._base + min(common, len(after.rstrip(REPLACEMENT)))

    def _logprobs(self, told: Sequence[tuple[Said, int]]) -> dict[str, list[Any]]:
        return {
            "tokens": [self._name(said.token) for said, _ in told],
            "token_logprobs": [said.log_probability for said, _ in told],
            "top_logprobs": [self._likeliest(said) for said, _ in told],
            "text_offset": [offset for _, offset in told],
        }

    def _likeliest(self, said: Said) -> dict[str, float] | None:
        """The likeliest tokens, and the one that stands there, if it is not among them."""
        if said.log_probability is None:
            return None
        return {self._name(token): value for token, value in (*said.likeliest, (said.token, said.log_probability))}

    def _name(self, token: int) -> str:
        """A token's text; its number where it has none of its own: a special one, or a part of a character."""
        text = self._tokenizer.decode([token])
        return text if text and REPLACEMENT not in text else f"token_id:{token}"
