"""How often a model's continuations repeat themselves instead of going on: sampled at common random numbers, with an interval.

Every trial answers the same prompts with the same random numbers, so that differences are the models'. What counts as collapsed
is in detectors.py, the prompts are in prompts.py. Loss and collapse are different things: an untrained model does not collapse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.evaluation.detectors import SUITE_VERSION, detect
from autonas.evaluation.prompts import KINDS, Prompt, choose_prompts
from autonas.model.decode import Sampling, StopRule, generate
from autonas.model.transformer import Transformer
from autonas.trial import EvaluationSettings, Sample, Score

_Z_95: Final = 1.959964  # two-sided 95 %
_Z_80: Final = 0.841621  # 80 % power
_KEPT_SAMPLES: Final = 24
# Of samples of one prompt; measured 1 to 3. Taken where nothing, or everything, collapsed and it cannot be estimated.
_USUAL_DESIGN_EFFECT: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of collapsed samples, its 95 % interval, and the number of independent samples it is worth."""

    value: float
    low: float
    high: float
    effective: float
    design_effect: float
    per_kind: tuple[float, ...]


def measure_collapse(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    seed: int,
    *,
    make_way: Callable[[], object] = lambda: None,
) -> tuple[Score, Score, tuple[Sample, ...]]:
    """`collapse_rate` (the whole suite), `collapse_prior` (the prior system's rules) and about 24 samples of many prompts.

    `seed` is the study's, common to all its trials. A sample ends at end-of-text; one that ends at once is empty and has not
    collapsed, but the notes say how many did. `make_way` is called between new tokens.

    Raises:
        CorpusError: the prompts cannot be had.
        RequestError: the new tokens do not fit the context beside a prompt.
    """
    prompts = choose_prompts(dataset, settings)
    samples = draw_samples(model, dataset, prompts, settings, seed, make_way)  # (prompts, samples per prompt)
    suite = [[bool(sample.detectors) for sample in row] for row in samples]
    prior = [[any(name.startswith("prior:") for name in sample.detectors) for sample in row] for row in samples]
    empty = sum(not sample.text for row in samples for sample in row)
    scores = []
    for hits, what in ((suite, f"suite {SUITE_VERSION}"), (prior, "prior rules")):
        by_kind = [[row for row, prompt in zip(hits, prompts, strict=True) if prompt.kind == kind] for kind in KINDS]
        scores.append(_score(collapse_rate(by_kind), what, hits, empty))
    return scores[0], scores[1], _representative(samples)


def draw_samples(
    model: Transformer,
    dataset: Dataset,
    prompts: Sequence[Prompt],
    settings: EvaluationSettings,
    seed: int,
    make_way: Callable[[], object] = lambda: None,
) -> list[list[Sample]]:
    """`samples_per_prompt` continuations of each prompt. Every prompt begins with end-of-text, as documents do."""
    tokenizer = dataset.tokenizer
    room = model.spec.context_length - settings.new_tokens
    each = settings.samples_per_prompt
    encoded = [[tokenizer.end_of_text, *tokenizer.encode(prompt.text)] for prompt in prompts]
    cropped = [tokens[-room:] if room > 0 else tokens for tokens in encoded]  # generate complains when there is no room
    uniforms = [
        common_uniforms(seed, place, sample, settings.new_tokens) for place in range(len(prompts)) for sample in range(each)
    ]
    made = generate(
        model,
        [tokens for tokens in cropped for _ in range(each)],
        max_new_tokens=settings.new_tokens,
        sampling=Sampling(temperature=settings.temperature, top_k=settings.top_k),
        uniforms=np.stack(uniforms),
        stop=StopRule(token=tokenizer.end_of_text),
        make_way=make_way,
    )
    texts = [tokenizer.decode(tokens) for tokens in made]
    return [
        [
            Sample(prompt=prompt.text, text=text, kind=prompt.kind, detectors=detect(text))
            for text in texts[place * each : (place + 1) * each]
        ]
        for place, prompt in enumerate(prompts)
    ]


def common_uniforms(seed: int, prompt: int, sample: int, count: int) -> NDArray[np.float64]:
    """The random numbers of one sample, (count,) in [0, 1): the same for every model, whatever else is sampled."""
    bits = np.random.Philox(np.random.SeedSequence([seed, prompt, sample])).random_raw(count)
    uniforms: NDArray[np.float64] = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniforms


def collapse_rate(hits: Sequence[Sequence[Sequence[bool]]]) -> Rate:
    """The rate over kinds of prompts pooled equally, whatever their numbers. `hits` is (kinds, prompts, samples).

    Kinds without prompts are left out.

    Samples of one prompt are alike. A kind with n samples is worth n / deff, where deff is the variance of the prompts'
    means over that of means of independent samples, p(1 − p) / m, held between 1 and m (Kish 1965). k kinds together are
    worth k² / Σ (1 / n_eff); the interval is Wilson's (1927) with that number for n (as Korn & Graubard 1998). Kinds that
    differ make it a little too wide, never too narrow.
    """
    kinds = [np.array(kind, dtype=float) for kind in hits if len(kind)]
    assert kinds, "no prompts"
    rates = [float(kind.mean()) for kind in kinds]
    effects = [design_effect(kind) for kind in kinds]
    effective = len(kinds) ** 2 / sum(effect / kind.size for effect, kind in zip(effects, kinds, strict=True))
    rate = float(np.mean(rates))
    low, high = wilson_interval(rate, effective)
    return Rate(
        value=rate,
        low=low,
        high=high,
        effective=effective,
        design_effect=sum(kind.size for kind in kinds) / effective,
        per_kind=tuple(rates),
    )


def design_effect(hits: NDArray[np.float64]) -> float:
    """How many times over (prompts, samples) overstate the number of independent samples: between 1 and samples per prompt."""
    prompts, each = hits.shape  # a rate of one kind: every prompt has as many samples
    rate = float(hits.mean())
    if each == 1:
        return 1.0
    if prompts < 2 or rate in (0.0, 1.0):
        return min(float(each), _USUAL_DESIGN_EFFECT)
    between = float(hits.mean(axis=1).var(ddof=1))
    return float(min(each, max(1.0, between * each / (rate * (1 - rate)))))


def wilson_interval(rate: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `n` samples, which need not be a whole number."""
    z2 = _Z_95**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z_95 / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return max(0.0, min(rate, centre - reach)), min(1.0, max(rate, centre + reach))


def required_samples(base: float, other: float, design_effect: float = 1.0) -> int:
    """Samples of each of two models that tell rates `base` and `other` apart: two-sided 5 %, 80 % power (Fleiss 1981, 3.2).

    5 % and 8 % need 1,059; 5 % and 15 % need 141.
    """
    assert base != other
    middle = (base + other) / 2
    root = _Z_95 * math.sqrt(2 * middle * (1 - middle)) + _Z_80 * math.sqrt(base * (1 - base) + other * (1 - other))
    return math.ceil(design_effect * (root / (other - base)) ** 2)


def detectable_difference(n: int, design_effect: float = 1.0, base: float = 0.05) -> float:
    """The smallest rate that `n` samples of each model tell apart from `base`, by `required_samples`; 1 when none is."""
    low, high = base, 1.0
    if required_samples(base, high, design_effect) > n:
        return high
    for _ in range(40):
        middle = (low + high) / 2
        if middle > base and required_samples(base, middle, design_effect) <= n:
            high = middle
        else:
            low = middle
    return high


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
