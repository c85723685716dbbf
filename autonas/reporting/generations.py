"""The generations that a report shows, and how any text from outside is made fit to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autonas.reporting.marks import kind_of
from autonas.reporting.quantities import spec_text
from autonas.reporting.report import Report, Standing
from autonas.trial import Sample

# Generations take most of a report's bytes: so many a trial, and so many trials; of a larger front fewer a trial.
SAMPLES_PER_KIND = 4
COLLAPSED_EXTRA = 2
MAX_SAMPLED_TRIALS = 40
MAX_SAMPLE_CHARACTERS = 600
# Lone surrogates cannot be written as UTF-8; the bidirectional overrides would reorder the page around them.
_UNFIT = (*range(0xD800, 0xE000), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_PICTURES = dict.fromkeys(_UNFIT, "\ufffd") | {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSample:
    kind: str
    prompt: str
    text: str
    cut: bool
    detectors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generations:
    """Some of a trial's samples: evenly spaced ones of each kind, and a few degenerate ones if those show none."""

    number: int
    kind: str
    spec: str
    shown: tuple[ShownSample, ...]
    total: int
    collapsed: int


def generations(report: Report) -> tuple[Generations, ...]:
    """Generations of all of the front's trials, then of other final ones, as far as there is room."""
    shown = _shown(report)
    count = samples_per_kind(len(shown))
    return tuple(
        Generations(
            number=standing.number,
            kind=kind_of(standing),
            spec=spec_text(standing.trial.spec),
            shown=tuple(map(shown_sample, chosen_samples(standing.trial.outcome.samples, count))),
            total=len(standing.trial.outcome.samples),
            collapsed=sum(degenerate(sample.detectors) for sample in standing.trial.outcome.samples),
        )
        for standing in shown
    )


def left_out_text(report: Report) -> str:
    """Of which final trials no generations are shown, and why; "" where those of all are."""
    shown = {standing.number for standing in _shown(report)}
    there = [standing for standing in report.standings if standing.trial.outcome.samples]
    parts = []
    if left := len(there) - len(shown):
        parts.append(f"of {left:,} dominated final trial{'' if left == 1 else 's'} none are shown here, to keep the page small")
    if (without := len(report.standings) - len(there)) and there:
        parts.append(f"of {without:,} final trial{'' if without == 1 else 's'} none are on record")
    if len(shown) > MAX_SAMPLED_TRIALS:
        count = samples_per_kind(len(shown))
        parts.append(f"of each of the front's {len(shown)} trials {count} of each kind {'is' if count == 1 else 'are'} shown")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def samples_per_kind(num_trials: int) -> int:
    """How many samples of each kind are shown of each of so many trials: one at the least."""
    return max(SAMPLES_PER_KIND * MAX_SAMPLED_TRIALS // max(num_trials, MAX_SAMPLED_TRIALS), 1)


def _shown(report: Report) -> list[Standing]:
    """The final trials whose generations are shown: all of the front, whatever its size."""
    there = [standing for standing in report.standings if standing.trial.outcome.samples]
    front = [standing for standing in there if standing.on_front]
    others = [standing for standing in there if not standing.on_front]
    return [*front, *others[: max(MAX_SAMPLED_TRIALS - len(front), 0)]]


def chosen_samples(samples: Sequence[Sample], per_kind: int = SAMPLES_PER_KIND) -> list[Sample]:
    """Evenly spaced samples of each kind, not picked for what they say; degenerate ones are added where none came up."""
    chosen: list[int] = []
    for kind in ("few_shot", "bare"):
        own = [i for i, sample in enumerate(samples) if sample.kind == kind]
        count = min(per_kind, len(own))
        chosen += [own[i * len(own) // count] for i in range(count)]
    if not any(degenerate(samples[i].detectors) for i in chosen):
        extra = min(COLLAPSED_EXTRA, per_kind)
        chosen += [i for i, sample in enumerate(samples) if degenerate(sample.detectors)][:extra]
    return [samples[i] for i in chosen]


def degenerate(detectors: Sequence[str]) -> bool:
    """Whether a sample counts as degenerate; the prior system's rules do not."""
    return any(not name.startswith("prior:") for name in detectors)


def printable(text: str) -> str:
    """Control characters as their pictures (␀, ␛), so that what a model wrote can be seen and cannot act."""
    return text.translate(_PICTURES)


def shown_sample(sample: Sample) -> ShownSample:
    """A sample as a page shows it: cut to its length, with what speaks against it."""
    # Of a few-shot prompt the end is what the model goes on from.
    prompt = sample.prompt if len(sample.prompt) <= MAX_SAMPLE_CHARACTERS else "…" + sample.prompt[-MAX_SAMPLE_CHARACTERS:]
    return ShownSample(
        kind=sample.kind.replace("_", "-"),
        prompt=prompt,
        text=sample.text[:MAX_SAMPLE_CHARACTERS],
        cut=len(sample.text) > MAX_SAMPLE_CHARACTERS,
        detectors=tuple(name for name in sample.detectors if not name.startswith("prior:")),
    )
