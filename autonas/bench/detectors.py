"""How often the collapse detectors are right, on a labelled set of texts: `autonas bench detectors`.

The rule by which a text was labelled. Collapsed: a reader sees that it has stopped going on, because the same is said over
again, exactly or with slips that bring nothing new. At least three times for words, lines and blocks (two and a half for a
block of forty tokens that the end cuts off), twice for a keyword, or hardly any two words in no order; and no program or
document would say it so. Clean: everything else. Nonsense that goes on is clean; so are rulers, drawings, tables, matrices,
padding, closing marks, and rows in which every turn has something new, if only a counter. Of what models wrote, what readers
would not agree about was left out.

A text's part says how it served: thresholds were set on "tuning"; the others were first scored unseen, then used as well.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from autonas.bench import Findings, Row, Say, not_measured
from autonas.evaluation import detectors
from autonas.evaluation.detectors import SUITE, SUITE_VERSION, detect, is_collapsed_prior
from autonas.evaluation.rates import wilson_interval

LABELLED = Path(detectors.__file__).parent.parent / "labelled_collapse.jsonl"
GOAL = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One text with its label. `family` is what it is an example of, `origin` who made it: a hand ("written"), a generator that
    is kept ("generated") or not ("drawn"), or a model."""

    text: str
    collapsed: bool
    family: str
    why: str
    origin: str
    part: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How many texts were called what."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def precision(self) -> tuple[int, int]:
        """Right of those called collapsed."""
        return self.true_positive, self.true_positive + self.false_positive

    @property
    def recall(self) -> tuple[int, int]:
        """Called collapsed of those that are."""
        return self.true_positive, self.true_positive + self.false_negative


def read_labelled(path: Path = LABELLED) -> list[Labelled]:
    """The labelled set that is shipped."""
    return [Labelled(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def confusion(samples: Sequence[Labelled], judge: Callable[[str], bool]) -> Confusion:
    """What `judge` makes of the samples."""
    calls = [(sample.collapsed, judge(sample.text)) for sample in samples]
    return Confusion(
        true_positive=calls.count((True, True)),
        false_positive=calls.count((False, True)),
        false_negative=calls.count((True, False)),
        true_negative=calls.count((False, False)),
    )


def measure(*, say: Say = lambda text: None) -> Findings:
    """Rows of precision and recall: of the suite beside the prior rules, by part, by family, of each detector alone."""
    samples = read_labelled()
    begun = time.perf_counter()
    calls = {sample.text: detect(sample.text) for sample in samples}
    microseconds = 1e6 * (time.perf_counter() - begun) / len(samples)

    def collapsed_by_suite(text: str) -> bool:
        return bool(calls[text])

    suite, prior = confusion(samples, collapsed_by_suite), confusion(samples, is_collapsed_prior)
    rows = _beside("precision", suite.precision, prior.precision) + _beside("recall", suite.recall, prior.recall)
    for part in sorted({sample.part for sample in samples}):
        inside = confusion([sample for sample in samples if sample.part == part], collapsed_by_suite)
        rows += [_share(f"precision, {part}", inside.precision), _share(f"recall, {part}", inside.recall)]
    for collapsed in (False, True):
        for family in sorted({sample.family for sample in samples if sample.collapsed == collapsed}):
            inside = confusion([s for s in samples if s.family == family and s.collapsed == collapsed], collapsed_by_suite)
            right = inside.true_positive + inside.true_negative
            rows.append(_share(f"right, {'collapsed' if collapsed else 'clean'}: {family}", (right, right + _wrong(inside))))
    for detector in SUITE:
        alone = confusion(samples, partial(_fires, calls, detector.name))
        rows.append(_share(f"recall of {detector.name} alone", alone.recall, f"{alone.false_positive} false positives"))
    rows.append(Row(metric="a text, mean", unit="us", ours=microseconds))
    conditions = {
        "device": "cpu",
        "threads": 1,
        "suite": SUITE_VERSION,
        "samples": len(samples),
        "collapsed": sum(sample.collapsed for sample in samples),
        "confusion": suite,
        "confusion_prior": prior,
        "detectors": {detector.name: f"{detector.definition}; {detector.threshold}" for detector in SUITE},
        "wrong": [
            {"text": sample.text, "collapsed": sample.collapsed, "family": sample.family, "detectors": calls[sample.text]}
            for sample in samples
            if collapsed_by_suite(sample.text) != sample.collapsed
        ],
    }
    return Findings(rows=rows, conditions=conditions)


def _fires(calls: Mapping[str, Sequence[str]], name: str, text: str) -> bool:
    return name in calls[text]


def _wrong(found: Confusion) -> int:
    return found.false_positive + found.false_negative


def _beside(metric: str, ours: tuple[int, int], prior: tuple[int, int]) -> list[Row]:
    """A figure of the suite, which has a goal, and of the prior system's rules on the same texts."""
    share, (low, high) = ours[0] / ours[1], wilson_interval(ours[0] / ours[1], ours[1])
    note = f"{ours[0]} of {ours[1]}"
    return [
        Row(metric=metric, unit="share", ours=share, low=low, high=high, goal=GOAL, met=share >= GOAL, note=note),
        _share(f"{metric} of the prior system's rules", prior),
    ]


def _share(metric: str, counts: tuple[int, int], note: str = "") -> Row:
    hits, total = counts
    said = f"{hits} of {total}" + (f"; {note}" if note else "")
    if not total:
        return not_measured(metric, "nothing to divide by", unit="share")
    low, high = wilson_interval(hits / total, total)
    return Row(metric=metric, unit="share", ours=hits / total, low=low, high=high, note=said)
