"""How long the collapse test's sampling takes, found out with an untrained model and a few of its tokens."""

from __future__ import annotations

import time
from typing import Final

import numpy as np
import torch

from autonas.arch import ArchSpec
from autonas.evaluation.prompts import KINDS
from autonas.model.decode import Sampling, generate
from autonas.model.transformer import build_model
from autonas.trial import EvaluationSettings

_PROMPT_TOKENS: Final = 64  # of a usual prompt
_FEW, _MORE = 2, 8  # new tokens


def measure_sampling(spec: ArchSpec, settings: EvaluationSettings, *, device: torch.device, threads: int) -> float:
    """Seconds of the whole test: two lengths of continuations are timed, and the line through them followed to the last token.

    No continuation ends before its last token, as some of a trained model do: an upper bound.
    """
    torch.set_num_threads(threads)
    model = build_model(spec, 0, device)
    count = settings.prompts_per_kind * len(KINDS) * settings.samples_per_prompt
    length = max(min(_PROMPT_TOKENS, spec.context_length - settings.new_tokens), 1)
    prompts = [[number % spec.vocab_size] * length for number in range(count)]

    def sample(tokens: int) -> float:
        begun = time.perf_counter()
        generate(
            model,
            prompts,
            max_new_tokens=tokens,
            sampling=Sampling(temperature=settings.temperature, top_k=min(settings.top_k, spec.vocab_size)),
            uniforms=np.full((count, tokens), 0.5) if settings.temperature > 0 else None,
        )
        return time.perf_counter() - begun

    few, more = min(_FEW, settings.new_tokens), min(_MORE, settings.new_tokens)
    sample(few)  # fills caches
    short, long = sample(few), sample(more)
    return short + max(long - short, 0.0) / max(more - few, 1) * (settings.new_tokens - few)
