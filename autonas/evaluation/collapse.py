"""How often a model's continuations degenerate: sampled at common random numbers, with an interval.

Every trial answers the same prompts with the same random numbers, so that differences are the models'. What counts as collapsed
is in detectors/, what real continuations are like in degeneration.py, the prompts are in prompts.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.errors import CorpusError
from autonas.evaluation.degeneration import RANGE_VERSION, TokenRange, token_range
from autonas.evaluation.detectors import SUITE_VERSION, detect, detect_prior
from autonas.evaluation.prompts import KINDS, Prompt, choose_prompts
from autonas.evaluation.python_continuations import CONTINUATIONS
from autonas.evaluation.rates import Rate, detectable_difference, pooled_rate
from autonas.model.decode import Sampling, StopRule, generate
from autonas.model.transformer import Transformer
from autonas.trial import EvaluationSettings, Sample, Score

_KEPT_SAMPLES: Final = 24


def measure_collapse(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    seed: int,
    *,
    wanted: Collection[str] = ("degeneration",),
    make_way: Callable[[], object] = lambda: None,
) -> tuple[dict[str, Score], tuple[Sample, ...]]:
    """`degeneration`, `collapse_rate` and `collapse_prior`, and about 24 samples of many prompts.

    Degenerate is a continuation that has collapsed (a detector of the whole suite fires), or whose tokens are outside the range
    of real continuations (degeneration.py); `collapse_rate` counts the first alone, `collapse_prior` the prior system's rules.
    `seed` is the study's, common to all its trials. A sample ends at end-of-text; one that ends at once is degenerate and has
    not collapsed. `make_way` is called between new tokens. Where degeneration is not `wanted` and there are too few held-out
    documents to know what real continuations are like, it is left out.

    Raises:
        CorpusError: the prompts cannot be had, or there are too few held-out documents for what is wanted.
        RequestError: the new tokens do not fit the context beside a prompt.
    """
    prompts = choose_prompts(dataset, settings)
    known = real_range(dataset, settings, needed="degeneration" in wanted)
    samples = draw_samples(model, dataset, prompts, settings, seed, known, make_way)  # (prompts, samples per prompt)
    scores = {}
    for name, (counts, what) in COUNTED.items():
        if name == "degeneration" and known is None:
            continue
        hits = [[counts(sample.detectors) for sample in row] for row in samples]
        by_kind = [[row for row, prompt in zip(hits, prompts, strict=True) if prompt.kind == kind] for kind in KINDS]
        empty = sum(not sample.text for row in samples for sample in row)
        scores[name] = _score(pooled_rate(by_kind), what, hits, empty)
    return scores, _representative(samples)


def draw_samples(
    model: Transformer,
    dataset: Dataset,
    prompts: Sequence[Prompt],
    settings: EvaluationSettings,
    seed: int,
    known: TokenRange | None = None,
    make_way: Callable[[], object] = lambda: None,
) -> list[list[Sample]]:
    """`samples_per_prompt` continuations of each prompt, held against the `known` range of real ones if there is one.

    Every prompt begins with end-of-text, as documents do.
    """
    encoded = [[dataset.tokenizer.end_of_text, *dataset.tokenizer.encode(prompt.text)] for prompt in prompts]
    made = continuations(model, encoded, settings, seed, end=dataset.tokenizer.end_of_text, make_way=make_way)
    return [
        [Sample(prompt=prompt.text, text=text, kind=prompt.kind, detectors=found) for text, found in row]
        for prompt, row in zip(prompts, judged(dataset, known, encoded, made), strict=True)
    ]


def continuations(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    settings: EvaluationSettings,
    seed: int,
    *,
    end: int,
    make_way: Callable[[], object] = lambda: None,
) -> list[list[list[int]]]:
    """The new tokens of `samples_per_prompt` continuations of each prompt of tokens, up to the token `end`."""
    room = model.spec.context_length - settings.new_tokens
    each = settings.samples_per_prompt
    cropped = [tokens[-room:] if room > 0 else tokens for tokens in prompts]  # generate complains when there is no room
    uniforms = [
        common_uniforms(seed, place, sample, settings.new_tokens) for place in range(len(prompts)) for sample in range(each)
    ]
    made = generate(
        model,
        [tokens for tokens in cropped for _ in range(each)],
        max_new_tokens=settings.new_tokens,
        sampling=Sampling(temperature=settings.temperature, top_k=settings.top_k),
        uniforms=np.stack(uniforms),
        stop=StopRule(token=end),
        make_way=make_way,
    )
    return [made[place * each : (place + 1) * each] for place in range(len(prompts))]


def real_range(dataset: Dataset, settings: EvaluationSettings, *, needed: bool = True) -> TokenRange | None:
    """The range of real continuations that samples of these settings are held against.

    Raises:
        CorpusError: it is `needed`, and the held-out documents are too few; None where it is not.
    """
    embedded = settings.prompts_file is None and settings.language == "python"
    try:
        return token_range(dataset, settings.new_tokens, tuple(CONTINUATIONS.items()) if embedded else ())
    except CorpusError:
        if needed:
            raise
        return None


def judged(
    dataset: Dataset, known: TokenRange | None, prompts: Sequence[Sequence[int]], made: Sequence[Sequence[Sequence[int]]]
) -> list[list[tuple[str, tuple[str, ...]]]]:
    """The text of each continuation, and what speaks against it: detectors that fire, and "range:…" outside the known range.

    The prior system's rules that fire are named too, as "prior:…"; they count in `collapse_prior` alone.
    """
    flat = [tokens for row in made for tokens in row]
    before = [prompt for prompt, row in zip(prompts, made, strict=True) for _ in row]
    outside = [""] * len(flat) if known is None else known.outside(before, flat)
    texts = [dataset.tokenizer.decode(tokens) for tokens in flat]
    found = iter(
        [
            (text, (*detect(text), *detect_prior(text), *filter(None, [reason])))
            for text, reason in zip(texts, outside, strict=True)
        ]
    )
    return [[next(found) for _ in row] for row in made]


def is_degenerate(detectors: Sequence[str]) -> bool:
    """Whether a continuation loops, or is unlike real text."""
    return any(not name.startswith("prior:") for name in detectors)


def has_collapsed(detectors: Sequence[str]) -> bool:
    """Whether a continuation loops."""
    return any(not name.startswith(("range:", "prior:")) for name in detectors)


def has_collapsed_prior(detectors: Sequence[str]) -> bool:
    """Whether a continuation loops by the prior system's rules."""
    return any(name.startswith("prior:") for name in detectors)


# What is counted under each name, of the detectors that fired, and by what.
COUNTED: Final[Mapping[str, tuple[Callable[[Sequence[str]], bool], str]]] = {
    "degeneration": (is_degenerate, f"suite {SUITE_VERSION} and {RANGE_VERSION}"),
    "collapse_rate": (has_collapsed, f"suite {SUITE_VERSION}"),
    "collapse_prior": (has_collapsed_prior, "prior rules"),
}


def common_uniforms(seed: int, prompt: int, sample: int, count: int) -> NDArray[np.float64]:
    """The random numbers of one sample, (count,) in [0, 1): the same for every model, whatever else is sampled."""
    bits = np.random.Philox(np.random.SeedSequence([seed, prompt, sample])).random_raw(count)
    uniforms: NDArray[np.float64] = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniforms


def _score(rate: Rate, what: str, hits: Sequence[Sequence[bool]], empty: int) -> Score:
    total = sum(map(len, hits))
    shares = ", ".join(f"{share:.1%}" for share in rate.per_kind)
    # A user's file may hold prompts of one kind only.
    kinds = "few-shot and bare" if len(rate.per_kind) > 1 else "one kind of prompts"
    apart = detectable_difference(total, rate.design_effect)
    note = (
        f"{what}; {kinds}: {shares}; {total} samples of {len(hits)} prompts, worth {rate.effective:.0f} independent ones; "
        f"tells 5 % from {apart:.1%}; {empty / total:.1%} empty"
    )
    return Score(value=rate.value, low=rate.low, high=rate.high, unit="share", n=max(1, round(rate.effective)), note=note)


def _representative(samples: Sequence[Sequence[Sample]]) -> tuple[Sample, ...]:
    """One sample of each of at most 24 prompts, spread over all of them and over the samples of a prompt."""
    count = min(_KEPT_SAMPLES, len(samples))
    rows = [samples[place * len(samples) // count] for place in range(count)]
    return tuple(row[place % len(row)] for place, row in enumerate(rows))
