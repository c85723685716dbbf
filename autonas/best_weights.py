"""The weights with which a full run's validation loss was lowest on its way, and whether they or the last become its model.

The losses are those of the evaluations on the way, all of the same few documents. The lowest of many is low by luck too, so the
last weights stay unless the others are better by more than the 95 % interval of the difference, paired by document. What the
model scores in the end is measured on the whole validation split, by other code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from autonas.evaluation.intervals import t_quantile
from autonas.evaluation.loss import paired_difference
from autonas.model.transformer import Transformer
from autonas.training.checkpoint import load_note, save_model
from autonas.trial import DocumentLosses, from_json, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One evaluation on the way: the model after `tokens`, and what it made of the documents."""

    tokens: int
    documents: DocumentLosses

    @property
    def loss(self) -> float:
        return math.fsum(self.documents.nats) / max(sum(self.documents.tokens), 1)

    def is_of_the_same(self, other: Look) -> bool:
        """Whether both are of the same documents."""
        return self.documents.tokens == other.documents.tokens and self.documents.bytes == other.documents.bytes


class BestWeights:
    """The file of a run's best weights so far, which says itself how good they are and after how many tokens.

    So whoever goes on with a run knows them, from whatever checkpoint: the steps in between give the same weights again. Those
    from which a diverged training went back were good ones, and stay.

    Raises:
        CheckpointError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.look: Look | None = None
        if path.exists():
            note = load_note(path)
            documents = from_json(DocumentLosses, note["documents"])
            self.look = Look(tokens=int(note["tokens"]), documents=documents)

    def see(self, model: Transformer, look: Look) -> None:
        """Keep the weights of `model` if no earlier ones were as good.

        Raises:
            ResourceError: the disk is full, or the folder cannot be written.
        """
        best = self.look
        if best is None or not best.is_of_the_same(look) or look.loss < best.loss:
            save_model(self.path, model, {"tokens": look.tokens, "documents": to_json(look.documents)})
            self.look = look

    def verdict(self, last: Look) -> Verdict:
        """Whether the run's model should be these weights and not the `last` ones."""
        best = self.look
        if best is None or not best.is_of_the_same(last) or last.loss <= best.loss:
            return Verdict(best=False, text="the last: no evaluation on the way had a lower loss")
        value, error = paired_difference(last.documents, best.documents)
        count = len(last.documents.nats)
        among = f"on the {sum(last.documents.tokens):,} tokens of the evaluations on the way"
        if count < 2:
            return Verdict(best=False, text=f"the last: {among} is one document, and nothing is known of the error between two")
        reach = t_quantile(count - 1) * error
        difference = f"lower by {value:.4f} ± {reach:.4f} nats than the last ones' {among}, paired by document"
        if value > reach:
            return Verdict(best=True, text=f"those after {best.tokens:,} tokens: their loss is {difference}")
        text = f"the last: the lowest loss on the way, after {best.tokens:,} tokens, is {difference}, which may be luck"
        return Verdict(best=False, text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which weights become the model, and why."""

    best: bool
    text: str
