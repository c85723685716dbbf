"""What a reader of coding scores has to be told: a benchmark that cannot be believed, figures that say nothing. No torch."""

from __future__ import annotations

from collections.abc import Sequence

from autonas.evaluation.coding.choices import Question
from autonas.evaluation.coding.records import AuthorScores
from autonas.trial import Finding


def coding_findings(
    scores: Sequence[AuthorScores], failing: Sequence[str], asked: Sequence[Question], no_ngrams: bool
) -> tuple[Finding, ...]:
    """Alarms and notes on `scores`, the model's first; `failing` are tasks whose reference fails."""
    found = []
    if failing:
        text = f"the reference fails for {len(failing)} tasks ({', '.join(failing[:5])}): no model can pass them"
        found.append(Finding(check="coding_references", severity="alarm", text=text))
    model, *baselines = scores
    for baseline in baselines:
        if baseline.name.startswith("copies") and baseline.pass_at["1"].value > 0:
            text = f"a baseline that {baseline.name} passes {baseline.pass_at['1'].value:.1%}: the tests tell too little"
            found.append(Finding(check="coding_baselines", severity="alarm", text=text))
    best = max(baselines, key=lambda baseline: baseline.syntax.value)
    if model.syntax.value <= best.syntax.value:
        text = (
            f"{model.syntax.value:.1%} of the model's answers are valid, and {best.syntax.value:.1%} of those of a baseline "
            f"({best.name}): validity says nothing here"
        )
        found.append(Finding(check="coding_syntax", severity="note", text=text))
    for baseline in baselines:
        ours, theirs = model.nats_per_token, baseline.nats_per_token
        if ours is not None and theirs is not None and ours.value >= theirs.value:
            text = (
                f"a token of the references costs the model {ours.value:.2f} nats, and a {baseline.name} model of its training "
                f"tokens {theirs.value:.2f}"
            )
            found.append(Finding(check="coding_likelihood", severity="note", text=text))
    if model.token_limit.value > 0.5:
        text = f"{model.token_limit.value:.0%} of the answers were cut at the token limit"
        found.append(Finding(check="coding_token_limit", severity="note", text=text))
    if not asked:
        text = "no two tasks have as many parameters, so there are no multiple-choice questions"
        found.append(Finding(check="coding_choices", severity="note", text=text))
    if no_ngrams:
        text = "the training tokens were not given, so there is no n-gram model beside the figures"
        found.append(Finding(check="coding_baselines", severity="note", text=text))
    return tuple(found)
