"""All that can be said of a prepared corpus before anything is trained on it: `autonas corpus inspect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from autonas.data.overlap import Overlap, find_overlap, overlap_finding
from autonas.data.records import SPLITS
from autonas.data.repetition import Repetition, equal_documents, find_repetition
from autonas.data.statistics import (
    Balance,
    SplitStatistics,
    Vocabulary,
    balance,
    count_tokens,
    sources_of,
    split_statistics,
    vocabulary_use,
)
from autonas.data.store import Dataset
from autonas.data.token_classes import CLASSES, token_classes
from autonas.trial import Finding

LARGEST_SOURCE: Final = 0.4  # share of the training tokens
LARGEST_PROJECT: Final = 0.4
_MOST_REPEATED: Final = 0.1  # share of stretches of 50 tokens; the standard library has .016
_SHOWN: Final = 8
_DUPLICATES: Final = ("exact duplicate", "near duplicate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A prepared corpus in figures. Frequency, balance and repetition are of the training split."""

    fingerprint: str
    splits: Mapping[str, SplitStatistics]
    vocabulary: Vocabulary
    sources: Balance
    projects: Balance
    dropped: Mapping[str, int]  # duplicates that the build left out, by kind
    equal: Mapping[str, int]  # documents that are still the same, by the two splits
    overlaps: Mapping[str, Overlap]  # of validation and test with training
    repetition: Repetition
    findings: tuple[Finding, ...]


def inspect_dataset(dataset: Dataset, language: str = "python", context: int | None = None, num_top: int = 40) -> Inspection:
    """The figures of a data set. `context`, in tokens, is what its documents' lengths are compared with.

    Raises:
        CorpusError: the data set is damaged.
    """
    classes = token_classes(dataset.tokenizer, language)
    train = dataset.documents("train")
    lengths = np.diff(train.starts)
    sources, projects = balance(sources_of(train.names), lengths), balance(train.projects, lengths)
    overlaps: dict[str, Overlap] = {split: find_overlap(dataset, split) for split in SPLITS if split != "train"}
    repetition = find_repetition(dataset, classes)
    dropped = dataset.report["dropped"]
    return Inspection(
        fingerprint=dataset.fingerprint,
        splits={split: split_statistics(dataset, split, classes, context) for split in SPLITS},
        vocabulary=vocabulary_use(count_tokens(dataset.tokens("train"), dataset.vocab_size), classes, num_top),
        sources=sources,
        projects=projects,
        dropped={kind: dropped[kind] for kind in _DUPLICATES if kind in dropped},
        equal=equal_documents(dataset),
        overlaps=overlaps,
        repetition=repetition,
        findings=tuple(_findings(sources, projects, overlaps, repetition)),
    )


def _findings(
    sources: Balance, projects: Balance, overlaps: Mapping[str, Overlap], repetition: Repetition
) -> Iterator[Finding]:
    for overlap in overlaps.values():
        if found := overlap_finding(overlap):
            yield found
    for what, found_balance, most in (("source", sources, LARGEST_SOURCE), ("project", projects, LARGEST_PROJECT)):
        name, share = next(iter(found_balance.largest.items()))
        # Who gave one source only knows.
        if found_balance.count > 1 and share > most:
            yield Finding(
                check="corpus_balance",
                severity="note",
                text=f"{share:.0%} of the training tokens are of one {what}, {name}; {found_balance.count} {what}s are worth "
                f"{found_balance.effective:.1f} of equal size",
            )
    if repetition.stretches > _MOST_REPEATED:
        yield Finding(
            check="corpus_repetition",
            severity="note",
            text=f"{repetition.stretches:.0%} of all stretches of 50 tokens in training stood there before",
        )


def inspection_lines(inspection: Inspection) -> list[str]:
    """For people."""
    return [
        f"data set {inspection.fingerprint}",
        *_split_lines(inspection),
        *_vocabulary_lines(inspection.vocabulary),
        *_balance_lines(inspection),
        *_copy_lines(inspection),
        *_repetition_lines(inspection.repetition),
        *(f"{finding.severity}: {finding.text}" for finding in inspection.findings),
    ]


def _split_lines(inspection: Inspection) -> Iterator[str]:
    splits = inspection.splits
    yield f"  {'':<22}" + "".join(f"{name:>14}" for name in splits)
    for label, name in (("documents", "documents"), ("tokens", "tokens"), ("bytes", "bytes")):
        yield f"  {label:<22}" + "".join(f"{getattr(split, name):>14,}" for split in splits.values())
    for label, name in (("bytes per token", "bytes_per_token"), ("characters per token", "characters_per_token")):
        yield f"  {label:<22}" + "".join(f"{getattr(split, name):>14.2f}" for split in splits.values())
    for quantile, label in (("10", "short ones (10 %)"), ("50", "document (median)"), ("90", "long ones (90 %)")):
        yield f"  {label:<22}" + "".join(f"{split.lengths[quantile]:>14,}" for split in splits.values())
    if all(split.over_context is not None for split in splits.values()):
        yield f"  {'longer than context':<22}" + "".join(f"{split.over_context or 0:>14.1%}" for split in splits.values())
    yield f"  {'structural':<22}" + "".join(f"{split.structural:>14.1%}" for split in splits.values())
    for name in CLASSES:
        yield f"    {name:<20}" + "".join(f"{split.classes[name]:>14.1%}" for split in splits.values())


def _vocabulary_lines(vocabulary: Vocabulary) -> Iterator[str]:
    yield (
        f"vocabulary of {vocabulary.size:,}: {vocabulary.never:,} never used in training, {vocabulary.rare:,} fewer than 100 "
        f"times; unigram entropy {vocabulary.entropy_bits:.2f} bits, Zipf exponent {vocabulary.zipf:.2f}"
    )
    # As Python writes them: blanks and line breaks must be seen.
    shown = [f"{each.text!r} {each.share:.1%}" for each in vocabulary.top[:24]]
    for first in range(0, len(shown), 6):
        yield "  " + "".join(f"{each:<20}" for each in shown[first : first + 6]).rstrip()


def _balance_lines(inspection: Inspection) -> Iterator[str]:
    for what, found in (("sources", inspection.sources), ("projects", inspection.projects)):
        largest = ", ".join(f"{name} {share:.1%}" for name, share in found.largest.items())
        yield f"{found.count:,} {what}, worth {found.effective:.1f} of equal size: {largest}"


def _copy_lines(inspection: Inspection) -> Iterator[str]:
    dropped = ", ".join(f"{kind} {count:,}" for kind, count in inspection.dropped.items()) or "none"
    equal = ", ".join(f"{count:,} ({pair})" for pair, count in inspection.equal.items()) or "none"
    yield f"duplicates that the build left out: {dropped}; equal documents that remain: {equal}"
    for split, overlap in inspection.overlaps.items():
        yield (
            f"{split} in training: {overlap.verbatim_share:.1%} of its tokens word by word in spans of 50 and more; "
            f"{len(overlap.copies)} of {len(overlap.documents)} documents copied in large part"
        )
        for document in overlap.documents[:_SHOWN]:
            if document.source_share >= 0.1:
                yield f"  {document.source_share:>5.0%} of {document.name} in {document.source}"


def _repetition_lines(repetition: Repetition) -> Iterator[str]:
    yield (
        f"repeated in training: {repetition.stretches:.1%} of stretches of 50 tokens; {repetition.boilerplate:.1%} of tokens "
        f"in lines that many documents share; {len(repetition.generated)} documents look generated"
    )
    for line in repetition.lines[:_SHOWN]:
        yield f"  {line.documents:>6,} documents {line.share:>6.2%}  {line.text[:80]}"
    for name in repetition.generated[:_SHOWN]:
        yield f"  looks generated: {name}"
