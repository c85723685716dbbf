"""A recipe, a trial and its outcomes, small and made up: a ledger keeps them and asks nothing of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from autonas.arch import ArchSpec
from autonas.ledger import Ledger
from autonas.trial import DocumentLosses, Outcome, Sample, Score

Made = Callable[[Ledger], Ledger]  # registers a ledger to be closed at the end of the test
SPEC = ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=300, context_length=32)
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "layers": IntDistribution(1, 4),
    "kv_heads": CategoricalDistribution((1, 2, "heads")),
}
PARAMS = {"layers": 1, "kv_heads": "heads"}
RECIPE: dict[str, Any] = {"objectives": ["val_loss", "params"], "budget": {"rungs": [10, 20]}}
EXACT = {"params": Score.exact(1234, "parameters")}


def outcome(trial: int, rung: int) -> Outcome:
    return Outcome(
        kind="train",
        trial=trial,
        attempt=1,
        rung=rung,
        seconds=1.25,
        scores={"val_loss": Score(value=3.0 - rung, low=2.9 - rung, high=3.1 - rung, unit="nats/token", n=4)},
        tokens=12,
        documents=DocumentLosses(nats=(1.5, 0.1), tokens=(3, 4), bytes=(9, 11)),
        baselines={"unigram": 5.0},
        curve=((4, 5.5), (8, 5.0)),
        samples=(Sample(prompt="def f(", text="</script>\n\u2028\x00 é", kind="bare", detectors=("prior:x",)),),
        checks={"leak": "fine"},
    )


def begin(ledger: Ledger) -> int:
    return ledger.begin(PARAMS, DISTRIBUTIONS, SPEC, EXACT, sampler_state={"note": [1, 2]})
