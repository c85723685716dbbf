"""From logits to tokens: greedy, or by inverse CDF from uniform numbers that the caller drew.

One uniform number decides one token: the candidates stand in order of falling probability (equal ones in order of their
index), and the one whose share of the cumulated probability covers the number is taken. Small changes of the logits
then rarely change the token, which is what makes common random numbers reduce the noise of a comparison.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from autonas.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a token is chosen. Temperature 0 takes the likeliest; otherwise one of the candidates is drawn.

    Candidates are the `top_k` likeliest, and of these the fewest whose probability, at this temperature, reaches `top_p`
    (nucleus sampling, Holtzman et al., arXiv 1904.09751). `repetition_penalty` divides the positive logits of tokens that
    the prompt or the completion has, and multiplies their negative ones (Keskar et al., CTRL, arXiv 1909.05858; 1.2 there).
    After that a token that the completion has c times loses `frequency_penalty` · c and, where c > 0, `presence_penalty` of its
    logit, and `logit_bias` is added, (token, bias) pairs: both as OpenAI's API defines them.

    Raises:
        RequestError: a value is out of its range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature < float("inf"):
            raise RequestError(f"temperature is {self.temperature}; give 0 (always the likeliest token) or a positive number.")
        if self.top_k is not None and self.top_k < 1:
            raise RequestError(f"top_k is {self.top_k}; give a whole number of at least 1, or leave it out.")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise RequestError(f"top_p is {self.top_p}; give a number above 0 and at most 1, or leave it out.")
        if not 0.0 < self.repetition_penalty < float("inf"):
            raise RequestError(
                f"repetition_penalty is {self.repetition_penalty}; give 1 (none) or a number above it, such as 1.2."
            )
        for name, value in (
            ("frequency_penalty", self.frequency_penalty),
            ("presence_penalty", self.presence_penalty),
            *((f"the logit_bias of token {token}", bias) for token, bias in self.logit_bias),
        ):
            if not math.isfinite(value):
                raise RequestError(f"{name} is {value}; give a finite number, or leave it out.")

    @property
    def draws(self) -> bool:
        """Whether random numbers are needed."""
        return self.temperature > 0.0

    @property
    def penalises(self) -> bool:
        return self.repetition_penalty != 1.0

    @property
    def counts(self) -> bool:
        """Whether it matters how often the completion has a token."""
        return self.frequency_penalty != 0.0 or self.presence_penalty != 0.0

    @property
    def reads_logits_as_they_are(self) -> bool:
        return not (self.penalises or self.counts or self.logit_bias)


GREEDY = Sampling()


def choose_tokens(
    logits: Tensor,
    sampling: Sampling,
    uniforms: Tensor | None,
    seen: Tensor | None = None,
    counts: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Tokens (B) int64 from `logits` (B, V).

    `uniforms` (B) in [0, 1) decide, and are not used at temperature 0. `seen` (B, V) says which tokens a row has already:
    needed for a penalty on repetition only. `counts` (B, V), how often its completion has each, is for the penalties on
    frequency and presence; `bias` (V) is `sampling.logit_bias`.
    """
    if sampling.penalises:
        assert seen is not None
        logits = penalised(logits, seen, sampling.repetition_penalty)
    if sampling.counts:
        assert counts is not None
        logits = logits - sampling.frequency_penalty * counts - sampling.presence_penalty * (counts > 0)
    if bias is not None:
        logits = logits + bias
    if not sampling.draws:
        return logits.argmax(dim=-1)  # the first of equal ones
    assert uniforms is not None
    num_kept = logits.shape[-1] if sampling.top_k is None else min(sampling.top_k, logits.shape[-1])
    values, tokens = _largest(logits.float(), num_kept)  # (B, k), falling
    # float64: with a small temperature the smallest shares still count, and u · total never rounds up to the total.
    shares = torch.softmax(values.double() / sampling.temperature, dim=-1).cumsum(dim=-1)
    total, last = shares[:, -1:], num_kept - 1
    if sampling.top_p is not None:
        nucleus = (shares < sampling.top_p * total).sum(dim=-1, keepdim=True).clamp_(max=last)  # (B, 1), its last rank
        total = shares.gather(1, nucleus)
        rank = (shares <= uniforms.double()[:, None] * total).sum(dim=-1, keepdim=True)
        return tokens.gather(1, torch.minimum(rank, nucleus))[:, 0]
    rank = (shares <= uniforms.double()[:, None] * total).sum(dim=-1, keepdim=True)
    return tokens.gather(1, rank.clamp_(max=last))[:, 0]


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """`logits` with those of `seen` tokens made smaller, whatever their sign."""
    smaller = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, smaller, logits)


def _largest(logits: Tensor, num_kept: int) -> tuple[Tensor, Tensor]:
    """The `num_kept` largest of each row and their indices, falling; equal ones in order of their index."""
    if num_kept == logits.shape[-1]:
        values, tokens = logits.sort(dim=-1, descending=True, stable=True)
        return values, tokens
    # topk may order and pick equal values as it likes. Made unique, they leave it no choice: the float's bits as an
    # integer that sorts like it, then the index.
    bits = (logits + 0.0).view(torch.int32)  # + 0.0 makes -0.0 the 0.0 that it equals
    ordered = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).to(torch.int64)
    indices = torch.arange(logits.shape[-1] - 1, -1, -1, device=logits.device)
    keys = (ordered << 32) | indices
    tokens = logits.shape[-1] - 1 - (keys.topk(num_kept, dim=-1).values & 0xFFFFFFFF)
    return logits.gather(1, tokens), tokens
