"""Where a model degenerates: by kind of prompt, temperature, entropy and length of context, and against another model.

Each row is a condition with its rates; the hits behind them are kept by prompt, so that two models' profiles can be compared
row by row without sampling again. Beside the models stands the real text that follows the same contexts: what the detectors
say of that is their own error.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.errors import CorpusError
from autonas.evaluation.calibration import MATCHED_ENTROPY, matched_temperature
from autonas.evaluation.collapse import COUNTED, continuations, judged, real_range
from autonas.evaluation.degeneration import RANGE_VERSION, TokenRange
from autonas.evaluation.detectors import SUITE_VERSION
from autonas.evaluation.prompts import KINDS, choose_prompts
from autonas.evaluation.rates import PairedDifference, Rate, paired_difference, pooled_rate
from autonas.model.transformer import Transformer
from autonas.trial import EvaluationSettings

_CONTEXT_SEED: Final = 20250104
_REACHED: Final = 0.01  # nats: a model that has no temperature of the asked entropy has no such condition
REAL: Final = "real text"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSettings:
    """What a profile is made of. Greedy decoding (temperature 0) is sampled once: its samples are all alike."""

    temperatures: tuple[float, ...] = (0.0, 0.3, 0.7, 1.0)
    seeds: int = 2
    samples: int = 2  # of each prompt and seed
    prompts: int = 32  # of each kind
    contexts: tuple[int, ...] = (8, 32, 96)  # tokens, and all that fit; none: no prompts of kind "context", and no real text
    entropy: float = MATCHED_ENTROPY


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    """One condition. `hits` has for each name in COUNTED a string of 0 and 1 for each prompt, a sample a character."""

    prompts: str  # "few_shot", "bare", "context", or "real text" behind the same contexts
    context_tokens: int | None  # of prompts of kind "context"; None: the prompts' own
    temperature: float | None  # None for real text
    matched_entropy: float | None  # nats: the temperature is the one that has it
    rates: Mapping[str, Rate]
    hits: Mapping[str, tuple[str, ...]]
    empty: float  # share of samples without a token
    asked: str  # names the very prompts, settings and random numbers: rows of the same are paired

    @property
    def title(self) -> str:
        at = "" if self.temperature is None or self.matched_entropy is not None else f", T {self.temperature:.2f}"
        matched = "" if self.matched_entropy is None else f", entropy {self.matched_entropy:g}"
        context = "" if self.context_tokens is None else f" of {self.context_tokens} tokens"
        return f"{self.prompts.replace('_', '-')}{context}{at}{matched}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One condition of two models: of `name`, the first one's share less the second's."""

    title: str
    name: str
    difference: PairedDifference


def collapse_profile(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    seed: int,
    profile: ProfileSettings | None = None,
    *,
    make_way: Callable[[], object] = lambda: None,
    done: Callable[[int, int], object] = lambda finished, total: None,
) -> tuple[ProfileRow, ...]:
    """Rates of every kind of prompt at every temperature and at one entropy, and by length of context at the settings' own.

    `settings` say what the prompts are, how long continuations are and how many candidates there are. `done` is told how many
    conditions of how many are finished.

    Raises:
        CorpusError: the prompts cannot be had.
        RequestError: the new tokens do not fit the context beside a prompt.
    """
    profile = profile or ProfileSettings()
    settings = dataclasses.replace(settings, prompts_per_kind=profile.prompts, samples_per_prompt=profile.samples)
    known = real_range(dataset, settings, needed=False)
    temperature, reached = matched_temperature(model, dataset, settings, profile.entropy, make_way=make_way)
    matched = temperature if abs(reached - profile.entropy) <= _REACHED else None
    rows: list[ProfileRow] = []
    conditions = list(_conditions(model, dataset, settings, profile, matched))
    for number, condition in enumerate(conditions):
        rows.append(_row(model, dataset, condition, settings, seed, profile, known, make_way))
        done(number + 1, len(conditions))
    real = _real_row(dataset, model.spec.context_length, settings, known, profile) if profile.contexts else None
    return (*rows, *([real] if real else []))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Condition:
    prompts: str
    encoded: tuple[tuple[int, ...], ...]
    context_tokens: int | None
    temperature: float
    matched: bool


def _conditions(
    model: Transformer, dataset: Dataset, settings: EvaluationSettings, profile: ProfileSettings, matched: float | None
) -> Iterator[_Condition]:
    end, encode = dataset.tokenizer.end_of_text, dataset.tokenizer.encode
    chosen = choose_prompts(dataset, settings)
    room = model.spec.context_length - settings.new_tokens
    temperatures = sorted({*profile.temperatures, settings.temperature})
    at = [(temperature, False) for temperature in temperatures] + ([] if matched is None else [(matched, True)])
    for kind in KINDS:
        encoded = tuple((end, *encode(prompt.text)) for prompt in chosen if prompt.kind == kind)
        for temperature, is_matched in at if encoded else ():
            yield _Condition(prompts=kind, encoded=encoded, context_tokens=None, temperature=temperature, matched=is_matched)
    places = _places(dataset, room, settings.new_tokens, profile.prompts) if profile.contexts else []
    lengths = sorted({length for length in profile.contexts if length < room} | {room})
    for length, (temperature, is_matched) in itertools.product(lengths if places else (), at):
        if length == room or temperature == settings.temperature:
            encoded = tuple(tuple(before[-length:]) for before, _ in places)
            yield _Condition(
                prompts="context", encoded=encoded, context_tokens=length, temperature=temperature, matched=is_matched
            )


def _row(
    model: Transformer,
    dataset: Dataset,
    condition: _Condition,
    settings: EvaluationSettings,
    seed: int,
    profile: ProfileSettings,
    known: TokenRange | None,
    make_way: Callable[[], object],
) -> ProfileRow:
    end = dataset.tokenizer.end_of_text
    greedy = condition.temperature == 0.0
    asked = dataclasses.replace(
        settings, temperature=condition.temperature, samples_per_prompt=1 if greedy else settings.samples_per_prompt
    )
    found: list[list[tuple[str, tuple[str, ...]]]] = [[] for _ in condition.encoded]
    for number in range(1 if greedy else profile.seeds):
        made = continuations(model, condition.encoded, asked, seed + number, end=end, make_way=make_way)
        for row, new in zip(found, judged(dataset, known, condition.encoded, made), strict=True):
            row += new
    return _counted(
        found,
        known,
        prompts=condition.prompts,
        context_tokens=condition.context_tokens,
        temperature=condition.temperature,
        matched_entropy=profile.entropy if condition.matched else None,
        asked=_digest(condition, asked, seed, profile),
    )


def _counted(
    found: Sequence[Sequence[tuple[str, tuple[str, ...]]]],
    known: TokenRange | None,
    *,
    prompts: str,
    context_tokens: int | None,
    temperature: float | None,
    matched_entropy: float | None,
    asked: str,
) -> ProfileRow:
    names = [name for name in COUNTED if known is not None or name != "degeneration"]
    hits = {name: [[COUNTED[name][0](detectors) for _, detectors in row] for row in found] for name in names}
    return ProfileRow(
        prompts=prompts,
        context_tokens=context_tokens,
        temperature=temperature,
        matched_entropy=matched_entropy,
        rates={name: pooled_rate([rows]) for name, rows in hits.items()},
        hits={name: tuple("".join("01"[hit] for hit in row) for row in rows) for name, rows in hits.items()},
        empty=float(np.mean([not text for row in found for text, _ in row])),
        asked=asked,
    )


def _digest(condition: _Condition, settings: EvaluationSettings, seed: int, profile: ProfileSettings) -> str:
    """At a matched entropy the temperature is the model's own affair; everything else must be the same."""
    temperature = f"entropy {profile.entropy}" if condition.matched else condition.temperature
    parts = [condition.prompts, condition.encoded, temperature, settings.new_tokens, settings.top_k]
    parts += [settings.samples_per_prompt, profile.seeds, seed, SUITE_VERSION, RANGE_VERSION]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _real_row(
    dataset: Dataset, context: int, settings: EvaluationSettings, known: TokenRange | None, profile: ProfileSettings
) -> ProfileRow | None:
    """The text that really follows the contexts, as if a model had written it."""
    room = context - settings.new_tokens
    places = _places(dataset, room, settings.new_tokens, profile.prompts)
    if not places:
        return None
    before = [tokens for tokens, _ in places]
    return _counted(
        judged(dataset, known, before, [[after] for _, after in places]),
        known,
        prompts=REAL,
        context_tokens=room,
        temperature=None,
        matched_entropy=None,
        asked=REAL,
    )


def _places(dataset: Dataset, room: int, new_tokens: int, count: int) -> list[tuple[list[int], list[int]]]:
    """Of at most `count` places in held-out documents, the `room` tokens before and the `new_tokens` behind.

    Test documents before validation ones; places are drawn from all that have so many tokens on both sides.
    """
    if room < 1:
        return []
    for split in ("test", "validation"):
        tokens, starts = dataset.tokens(split), dataset.documents(split).starts
        inside = [np.arange(start + room, max(end - new_tokens, start + room)) for start, end in itertools.pairwise(starts)]
        places: NDArray[np.int64] = np.concatenate([np.zeros(0, np.int64), *inside])
        if len(places) >= count:
            # By sorting raw bits: NumPy promises these to stay the same in later versions.
            order = np.argsort(np.random.Philox(_CONTEXT_SEED).random_raw(len(places)), kind="stable")[:count]
            return [(tokens[p - room : p].tolist(), tokens[p : p + new_tokens].tolist()) for p in places[order].tolist()]
    return []


def compare_profiles(first: Sequence[ProfileRow], second: Sequence[ProfileRow]) -> tuple[Comparison, ...]:
    """Two models, condition by condition, on the same prompts with the same random numbers.

    Raises:
        CorpusError: no condition is the same in both.
    """
    others = {row.asked: row for row in second if row.prompts != REAL}
    found = [
        Comparison(title=row.title, name=name, difference=paired_difference(_bits(hits), _bits(others[row.asked].hits[name])))
        for row in first
        if row.asked in others
        for name, hits in row.hits.items()
        if name in others[row.asked].hits
    ]
    if not found:
        raise CorpusError(
            "the two profiles have no condition in common: they were made on other prompts, data or settings, or with another "
            "version of the detectors; evaluate both again"
        )
    return tuple(found)


def _bits(hits: Sequence[str]) -> list[list[bool]]:
    return [[hit == "1" for hit in row] for row in hits]
