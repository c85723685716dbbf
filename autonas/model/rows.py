"""Completions of many prompts, a token of each at a time, with how likely the model thought it: for those who look on.

decode.py's `generate` gives whole completions, and may ask for many steps at once.

Shapes: B rows, T tokens of a prompt, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autonas.model.decode import COMPACT_BELOW, begin
from autonas.model.native_decode import MOST_BFLOAT16_ROWS, NativeDecoder, doubt, native_decoder
from autonas.model.plan import Plan
from autonas.model.prompts import Tokens
from autonas.model.sampling import Sampling
from autonas.model.steps import PATHS
from autonas.model.transformer import Transformer, eval_mode

Likely = tuple[tuple[int, float], ...]  # tokens with their log-probabilities, the likeliest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A token of a row. Log-probabilities are the model's own: without temperature, penalties, bias or cuts."""

    row: int
    token: int
    log_probability: float | None = None  # None where none was asked for, and of a prompt's first token
    likeliest: Likely = ()


class Ready:
    """A model's weights made ready once for many calls, and again after they have changed."""

    def __init__(self, model: Transformer) -> None:
        self._model = model
        self._state: tuple[tuple[int, int], ...] = ()
        self._decoder: NativeDecoder | None = None
        self._plan: Plan | None = None

    def weights(self, num_rows: int) -> Plan | NativeDecoder:
        """As the fastest path for so many rows wants them; our own kernels are believed only after a look."""
        state = tuple((weight.data_ptr(), weight._version) for weight in self._model.parameters())
        if state != self._state:
            self._plan, self._decoder, self._state = None, native_decoder(self._model), state
            reason = doubt(self._decoder, Plan(self._model, pack=False), (0,)) if self._decoder is not None else ""
            if reason:
                PATHS.reasons[reason] += 1
                self._decoder = None
        many = self._model.embedding.weight.dtype == torch.bfloat16 and num_rows > MOST_BFLOAT16_ROWS
        if self._decoder is not None and not many:
            return self._decoder
        if self._plan is None:
            self._plan = Plan(self._model)
        return self._plan


class Rows:
    """What each of `prompts` goes on to; `advance` gives the next token of every row that has not ended.

    Prompts are of the model's vocabulary, and fit its context beside the new tokens. Rows of `uniforms` (B, max_new_tokens)
    decide where sampling draws. With `num_likeliest`, log-probabilities come along, also of so many alternatives.
    """

    @torch.inference_mode()
    def __init__(
        self,
        ready: Ready,
        prompts: Sequence[Tokens],
        *,
        max_new_tokens: int,
        sampling: Sampling,
        uniforms: np.ndarray | None,
        num_likeliest: int | None = None,
    ) -> None:
        self._num_likeliest = num_likeliest
        self._max_new_tokens = max_new_tokens
        weights = ready.weights(len(prompts))
        draws = uniforms if sampling.draws else None
        self._steps = begin(weights, prompts, max_new_tokens, sampling, draws, graphs=num_likeliest is None)
        self._rows = list(range(len(prompts)))  # who is where
        self._ended: set[int] = set()
        self._told = 0

    @property
    def done(self) -> bool:
        return self._told == self._max_new_tokens or len(self._ended) == len(self._rows)

    def end(self, row: int) -> None:
        """This row has said enough."""
        self._ended.add(row)

    @torch.inference_mode()
    def advance(self) -> list[Said]:
        """The next token of each row that has not ended."""
        assert not self.done
        if self._told == self._steps.count:
            self._leave_out_ended()
            self._steps.step()
        tokens: list[int] = self._steps.made[self._told, : len(self._rows)].tolist()
        self._told += 1
        places = [place for place, row in enumerate(self._rows) if row not in self._ended]
        if self._num_likeliest is None:
            return [Said(row=self._rows[place], token=tokens[place]) for place in places]
        likely = torch.log_softmax(self._logits()[places].double(), dim=-1)  # (rows, V)
        chosen = torch.tensor([tokens[place] for place in places], device=likely.device)
        return _said([self._rows[place] for place in places], chosen, likely, self._num_likeliest)

    def _logits(self) -> Tensor:
        steps = self._steps
        assert hasattr(steps, "logits"), "steps of graphs keep no logits"
        logits: Tensor = steps.logits
        return logits

    def _leave_out_ended(self) -> None:
        running = [place for place, row in enumerate(self._rows) if row not in self._ended]
        if len(running) == len(self._rows):
            return
        kept = self._steps.worth_keeping(running)
        if len(kept) <= COMPACT_BELOW * len(self._rows):
            self._steps.select(kept)
            self._rows = [self._rows[place] for place in kept]
            self._ended &= set(self._rows)


@torch.inference_mode()
def read(model: Transformer, prompt: Tokens, row: int, num_likeliest: int) -> list[Said]:
    """The tokens of a prompt, each with its log-probability after those before it; the first has none."""
    tokens = torch.tensor(prompt, device=model.embedding.weight.device)
    with eval_mode(model):
        logits: Tensor = model(tokens[None])[0, :-1]  # (T - 1, V)
    likely = torch.log_softmax(logits.double(), dim=-1)
    return [Said(row=row, token=prompt[0]), *_said([row] * (len(prompt) - 1), tokens[1:], likely, num_likeliest)]


def _said(rows: Sequence[int], tokens: Tensor, likely: Tensor, num_likeliest: int) -> list[Said]:
    """Tokens (N) of `rows` with what `likely` (N, V) says of them."""
    own: list[float] = likely.gather(1, tokens[:, None])[:, 0].tolist()
    best = likely.topk(min(num_likeliest, likely.shape[1]), dim=-1)
    alternatives = [tuple(zip(*pair, strict=True)) for pair in zip(best.indices.tolist(), best.values.tolist(), strict=True)]
    made: list[int] = tokens.tolist()
    return [
        Said(row=row, token=token, log_probability=value, likeliest=others)
        for row, token, value, others in zip(rows, made, own, alternatives, strict=True)
    ]
