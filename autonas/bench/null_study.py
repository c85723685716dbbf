"""A study whose trainings cost nothing, and the same trials by Optuna alone: the contestants of ledger.py.

Ours is the policy and the embedded ledger in the loop of study/search.py, step by step, every record flushed to the disk as
there; outcomes have as much in them as a worker's. Jobs, checkpoints and measured latencies have no part in it.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna

from autonas import cost
from autonas.arch import ArchSpec
from autonas.ledger import Ledger
from autonas.objective import OBJECTIVES
from autonas.policy import sampler as samplers
from autonas.policy.policy import Complete, Policy, Propose, Step, Stop, Train
from autonas.policy.problem import SpaceProblem
from autonas.recipe import Recipe
from autonas.study.search import KEEP_TIME_S
from autonas.trial import DocumentLosses, Outcome, Score, StudyRecord

_DOCUMENTS, _CURVE = 26, 40  # of a worker's outcome, in a study of quickstart's size
_NAME = "null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One proposal after so many trials: seconds to decide on it, and until it stood in the ledger, reading included."""

    trials: int
    deciding_s: float
    seconds: float


class Contestant(Protocol):
    """A search that is gone on with block by block."""

    begun: int
    asks: list[Ask]

    def search(self, count: int, deadline: float = math.inf) -> None:
        """Go on until `count` more trials have begun, or until a moment of `time.monotonic`."""
        ...

    def fill(self, until: int) -> None:
        """Add trials drawn at random until there are so many."""
        ...


def null_loss(spec: ArchSpec, tokens: int) -> float:
    """A validation loss without training, smooth in the architecture: size and tokens count most, shape and parts a little."""
    size = cost.count_params(spec) / 1e6
    shape = math.log(spec.width / spec.layers / 40)
    parts = 0.02 * (spec.norm == "layernorm") + 0.03 * (spec.activation in ("gelu", "silu")) + 0.02 * (spec.position != "rope")
    return float(1.6 + 0.9 * size**-0.3 + 3.0 * (tokens / 1e6) ** -0.35 + 0.03 * shape**2 + parts)


def null_values(spec: ArchSpec, tokens: int) -> list[float]:
    """The objectives of the study, val_loss and params."""
    return [null_loss(spec, tokens), float(cost.count_params(spec))]


def null_outcome(trial: int, spec: ArchSpec, rung: int, tokens: int) -> Outcome:
    """What a worker would have told of a rung."""
    loss = null_loss(spec, tokens)
    return Outcome(
        kind="train",
        trial=trial,
        attempt=1,
        rung=rung,
        seconds=0.0,
        scores={"val_loss": Score(value=loss, low=loss - 0.05, high=loss + 0.05, unit="nats/token", n=_DOCUMENTS)},
        tokens=tokens,
        new_tokens=tokens,
        documents=DocumentLosses(
            nats=tuple(loss * (3_000.0 + index) for index in range(_DOCUMENTS)),
            tokens=tuple(3_000 + index for index in range(_DOCUMENTS)),
            bytes=tuple(9_000 + index for index in range(_DOCUMENTS)),
        ),
        baselines={"unigram": 7.0, "bigram": 5.5},
        curve=tuple((tokens * (index + 1) // _CURVE, loss + 1.0 / (index + 1)) for index in range(_CURVE)),
        checks={"leak": "nothing was trained"},
    )


class OurStudy:
    """The study of ours. `spent` are the seconds of `search`, by what they were spent on."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        self._recipe, self._folder = recipe, folder
        self._problem = SpaceProblem(recipe.space, recipe.objectives)
        self._distributions = samplers.distributions(recipe.space.searched_domains)
        self._ledger = Ledger.create(_NAME, folder, None, recipe.resolved, recipe.objectives)
        self._policy = Policy(self._problem, recipe.search)
        self._kept_at = time.monotonic()
        self.begun = 0
        self.asks: list[Ask] = []
        self.spent = {"reading": 0.0, "deciding": 0.0, "writing": 0.0}

    def search(self, count: int, deadline: float = math.inf) -> None:
        """Go on until `count` more trials have begun, or until a moment of `time.monotonic`."""
        last = self.begun + count
        while self.begun < last and time.monotonic() < deadline:
            moments = [time.perf_counter()]
            study = self._ledger.read()
            moments.append(time.perf_counter())
            step = self._policy.next_step(study, running=frozenset())
            moments.append(time.perf_counter())
            trials = self.begun
            self._take(study, step)
            moments.append(time.perf_counter())
            if isinstance(step, Propose):
                self.asks.append(Ask(trials=trials, deciding_s=moments[2] - moments[1], seconds=moments[3] - moments[0]))
            self._ledger.read()  # as a search does, to show what has changed
            moments.append(time.perf_counter())
            for what, begun, ended in zip(("reading", "deciding", "writing", "reading"), moments, moments[1:], strict=False):
                self.spent[what] += ended - begun

    def read(self) -> StudyRecord:
        """The study as it stands."""
        return self._ledger.read()

    def fill(self, until: int) -> None:
        """Begin trials drawn at random until there are so many; of each rung one in three goes on, and the others stop."""
        rng = np.random.default_rng(until)
        last, keep = len(self._policy.rungs) - 1, 1 / self._recipe.search.reduction_factor
        while self.begun < until:
            for params in self._problem.draw(rng, min(until - self.begun, 100)):
                number = self._begin(params, {})
                spec = self._recipe.space.decode(params)
                reached = next((rung for rung in range(last) if rng.random() > keep), last)
                for rung in range(reached + 1):
                    self._train(number, spec, rung)
                if reached == last:
                    self._complete(number, spec)
                else:
                    self._ledger.stop(number)

    def go_on(self, trials: int) -> float:
        """Open the study anew, to go on with it up to so many trials, as a search does; the seconds until it was read."""
        self._ledger.close()
        begun = time.perf_counter()
        self._ledger = Ledger.open(_NAME, self._folder, None)
        self._ledger.read()
        seconds = time.perf_counter() - begun
        self._policy = Policy(self._problem, dataclasses.replace(self._recipe.search, trials=trials))
        return seconds

    def _take(self, study: StudyRecord, step: Step) -> None:
        if isinstance(step, Propose):
            self._begin(step.params, step.sampler_state)
        elif isinstance(step, Train):
            self._train(step.trial, study.trials[step.trial].spec, step.rung)
        elif isinstance(step, Stop):
            self._ledger.stop(step.trial)
        else:
            assert isinstance(step, Complete), step
            self._complete(step.trial, study.trials[step.trial].spec)

    def _begin(self, params: Mapping[str, Any], sampler_state: Mapping[str, Any]) -> int:
        spec = self._recipe.space.decode(params)
        scores = {name: Score.exact(v, OBJECTIVES[name].unit) for name, v in self._recipe.space.price(spec).items()}
        self.begun += 1
        return self._ledger.begin(params, self._distributions, spec, scores, sampler_state=sampler_state)

    def _train(self, number: int, spec: ArchSpec | None, rung: int) -> None:
        assert spec is not None
        self._ledger.finish_rung(null_outcome(number, spec, rung, self._policy.rungs[rung]))
        if time.monotonic() - self._kept_at >= KEEP_TIME_S:
            self._kept_at = time.monotonic()
            self._ledger.set_attribute("spent_s", round(self._kept_at, 3))

    def _complete(self, number: int, spec: ArchSpec | None) -> None:
        assert spec is not None
        self._ledger.complete(number, null_values(spec, self._policy.rungs[-1]))


class PeerStudy:
    """Optuna's: its default sampler and its journal file. Each trial is asked for, scored at the last rung and told."""

    def __init__(self, recipe: Recipe, path: Path) -> None:
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
            self._study = optuna.create_study(storage=storage, directions=["minimize"] * len(recipe.objectives))
        finally:
            optuna.logging.set_verbosity(verbosity)
        self.sampler = type(self._study.sampler).__name__
        self._recipe, self._problem = recipe, SpaceProblem(recipe.space, recipe.objectives)
        self._distributions = samplers.distributions(recipe.space.searched_domains)
        self.begun = 0
        self.asks: list[Ask] = []

    def search(self, count: int, deadline: float = math.inf) -> None:
        """Go on until `count` more trials have ended, or until a moment of `time.monotonic`."""
        last = self.begun + count
        while self.begun < last and time.monotonic() < deadline:
            begun = time.perf_counter()
            trial = self._study.ask(self._distributions)
            seconds = time.perf_counter() - begun
            self.asks.append(Ask(trials=self.begun, deciding_s=seconds, seconds=seconds))
            self._study.tell(trial, self._values(trial.params))
            self.begun += 1

    def fill(self, until: int) -> None:
        """Add finished trials drawn at random until there are so many."""
        rng = np.random.default_rng(until)
        while self.begun < until:
            drawn = self._problem.draw(rng, min(until - self.begun, 100))
            self._study.add_trials(
                [
                    optuna.trial.create_trial(
                        params=dict(params), distributions=self._distributions, values=self._values(params)
                    )
                    for params in drawn
                ]
            )
            self.begun += len(drawn)

    def _values(self, params: Mapping[str, Any]) -> list[float]:
        return null_values(self._recipe.space.decode(params), self._recipe.search.rungs[-1])
