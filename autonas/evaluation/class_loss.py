"""Loss by token class: what a model is better at than counting, and whether that is more than blanks and brackets.

A mean over all tokens hides what it is a mean of: with padding or indentation in plenty it falls while nothing that a reader
would call code is learnt. So each class of tokens (data/token_classes.py) has its own loss here, with its document-clustered
interval, beside what unigram and bigram counts of the very tokens shown in training have on the same tokens. A third count is
told the kind of each token that comes and nothing more: a model that is no better has learnt form and no content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autonas.data.dataset import Dataset
from autonas.data.token_classes import BLANK, CLASSES, CONTENT, STRUCTURAL, TokenClasses, token_classes
from autonas.evaluation.baselines import BigramCounts, bigram_probabilities, unigram_probabilities
from autonas.evaluation.intervals import ratio_estimate, t_quantile
from autonas.evaluation.passes import token_nats
from autonas.evaluation.scored import ScoredTokens, scored_tokens
from autonas.model.transformer import Transformer, eval_mode
from autonas.trial import EvaluationSettings, Finding, Score

CHECK: Final = "loss_by_class"
# Measured on a dozen tiny honest models of the standard library, with 257 to 2,048 entries, at some 70 moments of their first
# 262 K tokens, and at some up to a million:
# of the scored tokens .08 to .25 were blank;
MOST_BLANK: Final = 0.5
# where they were better than the unigram by .25 nats a token and more, .07 to .30 of that was on blank tokens, and the gain
# of a content token was .42 to 1.13 times that of any token;
CLEAR_GAIN: Final = 0.35
MOST_OF_GAIN: Final = 0.5
LEAST_CONTENT: Final = 0.1
# and while content tokens were no better than by the count of kinds, structural ones had .87 and more of the bigram's loss
# (.87 in a model that had seen 60 K tokens seventeen times, .92 elsewhere).
FORM_LEARNT: Final = 0.7
_AS_GOOD_AS: Final = 0.05  # nats

_GROUPS: Final = {"structural": STRUCTURAL, "blank": BLANK, "content": CONTENT, "all": CLASSES}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLoss:
    """The scored tokens of one class, or of a group of classes. Losses and gain are in nats per token of it."""

    name: str
    tokens: int
    share: float  # of all scored tokens
    loss_share: float  # of the summed loss
    loss: Score
    unigram: float
    bigram: float
    kind: float  # of a unigram that is told of each token its class and whether a blank stands before it
    gain: Score  # unigram − loss


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLosses:
    """Loss by token class on one split: of the `classes` that occur, and of the `groups` structural, blank, content and all."""

    split: str
    classes: tuple[ClassLoss, ...]
    groups: tuple[ClassLoss, ...]
    how: str = ""  # the losses were computed, where that was not the plain pass in float32

    def group(self, name: str) -> ClassLoss | None:
        """The named group; None where no scored token is of it."""
        return next((group for group in self.groups if group.name == name), None)

    def lines(self) -> list[str]:
        """For people, a line for each class."""
        columns = f"{'tokens':>10}{'share':>8}{'of loss':>9}{'nats/token':>12}{'95 %':>16}"
        head = f"  {'class':<12}{columns}{'unigram':>9}{'bigram':>8}{'kind':>7}"
        lines = [f"loss by token class ({self.split}{', ' + self.how if self.how else ''})", head]
        for each in (*self.classes, *self.groups):
            interval = f"{each.loss.low:.2f}–{each.loss.high:.2f}"
            lines.append(
                f"  {each.name:<12}{each.tokens:>10,}{each.share:>8.1%}{each.loss_share:>9.1%}{each.loss.value:>12.3f}"
                f"{interval:>16}{each.unigram:>9.2f}{each.bigram:>8.2f}{each.kind:>7.2f}"
            )
        return lines


def class_losses(
    model: Transformer,
    dataset: Dataset,
    settings: EvaluationSettings,
    counts: BigramCounts,
    split: str = "validation",
    *,
    make_way: Callable[[], object] = lambda: None,
) -> ClassLosses:
    """Loss by token class on the same tokens, and by the same passes, as `evaluate_loss`.

    `counts` are those of the training windows shown (`count_bigrams`). `make_way` is called between batches.

    Raises:
        CorpusError: the split has no document.
    """
    scored = scored_tokens(dataset, split, settings.validation_tokens)
    with eval_mode(model):
        nats, how = token_nats(model, scored, make_way)
    return losses_by_class(nats, scored, token_classes(dataset.tokenizer, settings.language), counts, split, how=how)


def losses_by_class(
    nats: NDArray[np.float64],
    scored: ScoredTokens,
    table: TokenClasses,
    counts: BigramCounts,
    split: str = "validation",
    *,
    how: str = "",
) -> ClassLosses:
    """As `class_losses`, of losses that are there already: `nats` are (tokens,), in the order of the targets."""
    classes = table.of(scored.targets)
    unigram = -np.log(unigram_probabilities(counts, scored.targets))
    bigram = -np.log(bigram_probabilities(counts, scored.inputs, scored.targets))
    kind = -np.log(_kind_probabilities(table, counts)[scored.targets])
    owners = np.repeat(np.arange(scored.num_documents), np.diff(scored.starts))
    places = owners * len(CLASSES) + classes
    shape = (scored.num_documents, len(CLASSES))

    def by_document(values: NDArray[np.float64] | None) -> NDArray[np.float64]:
        return np.bincount(places, weights=values, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    tables = tuple(map(by_document, (None, nats, unigram, bigram, kind)))
    return ClassLosses(
        split=split,
        classes=_summaries({name: (name,) for name in CLASSES}, tables),
        groups=_summaries(_GROUPS, tables),
        how=how,
    )


def class_finding(losses: ClassLosses) -> Finding | None:
    """An alarm when the mean loss is mostly one of blanks, or is better than counting in blanks or in form alone.

    Blank are newlines, indentation and end-of-text; form is structural tokens; content is names, words, keywords and numbers.
    """
    found = _mostly_blank(losses) or _gain_elsewhere(losses) or _only_form(losses)
    return Finding(check=CHECK, severity="alarm", text=found) if found else None


def _mostly_blank(losses: ClassLosses) -> str:
    every, blank = losses.group("all"), losses.group("blank")
    if every is None or blank is None or blank.share < MOST_BLANK:
        return ""
    rest = (every.loss.value - blank.loss.value * blank.share) / (1 - blank.share) if blank.share < 1 else 0.0
    return (
        f"{blank.share:.0%} of the scored tokens are newlines, indentation or end-of-text: padding, as it seems. They have "
        f"{blank.loss.value:.3f} nats a token and all others {rest:.3f}, together {every.loss.value:.3f}"
    )


def _gain_elsewhere(losses: ClassLosses) -> str:
    every, blank, content = (losses.group(name) for name in ("all", "blank", "content"))
    if every is None or every.gain.value < CLEAR_GAIN:
        return ""
    gain = every.gain.value
    by_blank = blank.share * blank.gain.value / gain if blank else 0.0
    by_content = content.gain.value if content else 0.0
    if by_blank >= MOST_OF_GAIN and blank is not None:
        return (
            f"better than the unigram by {gain:.2f} nats a token, {by_blank:.0%} of it by newlines, indentation and "
            f"end-of-text, which are {blank.share:.0%} of the tokens"
        )
    if by_content < LEAST_CONTENT * gain:
        return (
            f"better than the unigram by {gain:.2f} nats a token, but names, words, keywords and numbers by {by_content:.2f}: "
            "what was learnt is not content"
        )
    return ""


def _only_form(losses: ClassLosses) -> str:
    form, content = losses.group("structural"), losses.group("content")
    if form is None or content is None or form.loss.value >= FORM_LEARNT * form.bigram:
        return ""
    if content.loss.value < content.kind - _AS_GOOD_AS:
        return ""
    return (
        f"structural tokens have {form.loss.value:.2f} nats, where the bigram's have {form.bigram:.2f}; but names, words, "
        f"keywords and numbers, with {content.loss.value:.2f}, are no better than a count that is told when one comes "
        f"({content.kind:.2f}): what was learnt is form"
    )


def _kind_probabilities(table: TokenClasses, counts: BigramCounts) -> NDArray[np.float64]:
    """P(token | its kind), (V,), add-one. A kind is a class, with a blank before it or not: " self" and "self" differ."""
    blank = np.array([text[:1].isspace() for text in table.texts])
    kinds = table.alone.astype(np.int64) * 2 + blank
    shown = counts.targets + 1.0
    return shown / np.bincount(kinds, weights=shown)[kinds]  # type: ignore[no-any-return]


_Tables = tuple[NDArray[np.float64], ...]  # of tokens, nats, unigram, bigram and kind: (documents, classes) each


def _summaries(groups: dict[str, tuple[str, ...]], tables: _Tables) -> tuple[ClassLoss, ...]:
    found = []
    for name, members in groups.items():
        columns = [CLASSES.index(member) for member in members]
        tokens, nats, unigram, bigram, kind = (table[:, columns].sum(axis=1) for table in tables)
        if tokens.any():
            total = tokens.sum()
            found.append(
                ClassLoss(
                    name=name,
                    tokens=int(total),
                    share=float(total / tables[0].sum()),
                    loss_share=float(nats.sum() / max(tables[1].sum(), 1e-300)),
                    loss=_score(nats, tokens),
                    unigram=float(unigram.sum() / total),
                    bigram=float(bigram.sum() / total),
                    kind=float(kind.sum() / total),
                    gain=_score(unigram - nats, tokens),
                )
            )
    return tuple(found)


def _score(sums: NDArray[np.float64], sizes: NDArray[np.float64]) -> Score:
    """The mean with its 95 % interval, clustered by document; of one document, an interval as wide as the mean."""
    present = sizes > 0
    value, error = ratio_estimate(sums[present], sizes[present].astype(np.int64))
    count = int(present.sum())
    reach = t_quantile(count - 1) * error if count > 1 else abs(value)
    return Score(value=value, low=value - reach, high=value + reach, unit="nats/token", n=count)
