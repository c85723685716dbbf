"""Plausibility checks: what says of a number that it should not be believed. Their findings go with the trial or run.

Each check is a function of values that gives a `Finding` or None; findings.py calls those of an outcome, and those of a run.
Losses are judged in losses.py, the gap to training in gap.py (which needs torch), generations in generations.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Every name that a finding may have, what a report calls it, and what it catches. Some are made elsewhere: by the watch over a
# training's steps (training/watch.py), from the data (data/overlap.py, evaluation/class_loss.py), from the coding tasks.
_ALL: Final = (
    ("leak", "The model sees the future", "a model whose earlier logits move with later tokens; it fails before it is trained"),
    (
        "loss_floor",
        "Too good to be true",
        "a loss far below what an n-gram model and a compressor make of the same tokens: leaked or known targets",
    ),
    (
        "smoothing_floor",
        "Training loss at the smoothing floor",
        "a training loss at or below what label smoothing leaves to a model that knows every target",
    ),
    (
        "gap",
        "Training and validation loss do not go together",
        "validation loss below training loss by more than the texts explain, or far above it",
    ),
    ("constant", "A metric never moves", "a metric that is the same number while others move: it is not measured"),
    ("constant_loss", "Training loss stands still", "a training loss that is the same number for many steps"),
    ("rising_loss", "Training loss rises", "a training loss that rises within an epoch by more than noise does"),
    ("gradient_norm", "Gradients out of bounds", "a gradient norm above ten times its running median"),
    ("rollback", "Training went back", "a training that diverged and went on from an earlier state at a lower rate"),
    ("early_stopping", "Training ended early", "a run that ended before its tokens did"),
    (
        "best_weights",
        "Best weights instead of the last",
        "a run whose last weights are worse than some on its way: overfitting",
    ),
    (
        "collapse_while_falling",
        "Loss falls, generation collapses",
        "loss that falls while more and more of what the model writes degenerates",
    ),
    (
        "diversity",
        "Ever fewer different tokens",
        "generations that use ever fewer different tokens, and far fewer than real text",
    ),
    ("loss_by_class", "Loss of blanks and form", "a loss that is mostly one of blanks, padding or form"),
    ("held_out_in_training", "Validation text in training", "validation documents that stand in training, nearly or exactly"),
    ("corpus_repetition", "Repetition in the corpus", "a corpus much of which is the same text over and over"),
    ("corpus_balance", "One source outweighs the others", "a corpus most of which comes from one project or source"),
    ("commonplace_tasks", "Commonplace tasks", "coding tasks so short that their bodies stand in any text"),
    ("benchmark_in_corpus", "Benchmark tasks in training", "coding tasks that stand in the training text"),
    ("benchmark_in_tuning", "Benchmark tasks tuned on", "coding tasks that the examples of a tuning give away"),
    ("few_examples", "Few examples", "a tuning on so few examples that its validation loss is rough"),
    ("no_validation", "Tuned without validation", "a tuning of which nothing says whether it went too far"),
    ("too_long", "Examples left out", "examples of a tuning that are longer than the context"),
    ("tuning_gain", "Tuning gained nothing", "validation solutions that are no likelier after a tuning than before"),
    ("forgetting", "The corpus is forgotten", "a tuning after which the corpus's own validation loss is higher"),
    ("coding_references", "A benchmark that cannot be passed", "coding tasks whose own reference solution fails"),
    ("coding_baselines", "Coding tasks beside baselines", "coding tasks that a copier passes, or no baseline beside them"),
    ("coding_syntax", "Valid syntax says nothing", "a model whose answers are valid no more often than a baseline's"),
    ("coding_token_limit", "Answers cut short", "coding answers that mostly end at the token limit"),
    ("coding_likelihood", "Likelihoods no better than a baseline's", "references no likelier to the model than to a baseline"),
    ("coding_choices", "No multiple choice", "coding tasks of which no questions can be made"),
)
CHECKS: Final[Mapping[str, str]] = {name: catches for name, _, catches in _ALL}
TITLES: Final[Mapping[str, str]] = {name: title for name, title, _ in _ALL}


def title_of(check: str) -> str:
    """What reports and pages call a check; one of another version by its name."""
    return TITLES.get(check, check.replace("_", " ").capitalize())
