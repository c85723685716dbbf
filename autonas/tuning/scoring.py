"""What a model makes of examples: the loss of their solutions, what it writes to their prompts, and whether that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from autonas.data.tokenizer import Tokenizer
from autonas.errors import ResourceError
from autonas.evaluation.coding.answers import Answer, check_answers
from autonas.evaluation.coding.syntax import is_valid
from autonas.evaluation.coding.truncation import truncate
from autonas.evaluation.intervals import ratio_estimate, t_quantile
from autonas.evaluation.rates import wilson_interval
from autonas.evaluation.sandbox import Sandbox
from autonas.model.decode import StopRule, generate
from autonas.model.transformer import Transformer, eval_mode
from autonas.trial import Score
from autonas.tuning.encoding import Encoded, buckets
from autonas.tuning.examples import Example
from autonas.tuning.packed import Project, apply, lay_out, pack, solution_nats

_TOKENS_AT_ONCE: Final = 4096
_BEYOND: Final = 8  # new tokens beyond the longest solution: whoever has not stopped by then runs on
_FEW: Final = 30  # examples, below which an interval by Student's t is to be read with care


@dataclass(frozen=True, slots=True, kw_only=True)
class SolutionLosses:
    """Summed nats and number of targets of each example, (n,) each."""

    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]

    @property
    def mean(self) -> float:
        """Nats per target."""
        return float(self.nats.sum() / self.tokens.sum())

    @property
    def score(self) -> Score:
        """With its 95 % interval, clustered by example."""
        count = len(self.nats)
        note = f"targets of {count} examples, end-of-text counted, clustered by example"
        value, error = ratio_estimate(self.nats, self.tokens)
        if count < 2:
            return Score(value=value, low=0.0, high=2 * value, unit="nats/token", n=count, note=f"{note}: no error estimate")
        reach = t_quantile(count - 1) * error
        note += "; few examples, so a rough interval" if count < _FEW else ""
        return Score(value=value, low=max(0.0, value - reach), high=value + reach, unit="nats/token", n=count, note=note)

    def less(self, other: SolutionLosses) -> tuple[float, float]:
        """The loss here less the other's on the same examples, and the error of that."""
        return ratio_estimate(self.nats - other.nats, self.tokens)


def solution_losses(
    model: Transformer,
    examples: Sequence[Encoded],
    project: Project = apply,
    make_way: Callable[[], object] = lambda: None,
) -> SolutionLosses:
    """The losses of solutions given their prompts, in float32 and without dropout. `make_way` is called between batches."""
    nats = np.zeros(len(examples))
    with eval_mode(model):
        for numbers in buckets(examples, _TOKENS_AT_ONCE):
            make_way()
            layout = lay_out([examples[number] for number in numbers])
            found = solution_nats(model, pack(layout, model.embedding.weight.device), project)
            nats[numbers] = np.bincount(layout.owners, found.double().cpu().numpy(), minlength=len(numbers))
    return SolutionLosses(nats=nats, tokens=np.array([each.solution for each in examples], dtype=np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a model writes to a prompt, greedily: the text, and whether it ended it with end-of-text."""

    text: str
    ended: bool


def write_solutions(
    model: Transformer,
    tokenizer: Tokenizer,
    examples: Sequence[Example],
    encoded: Sequence[Encoded],
    make_way: Callable[[], object] = lambda: None,
) -> list[Written]:
    """Greedy answers to the prompts, up to end-of-text or a little longer than the longest solution."""
    longest = max(each.solution for each in encoded) + _BEYOND
    most = max(1, min(longest, model.spec.context_length - max(each.prompt for each in encoded)))
    made = generate(
        model,
        [tokenizer.encode_prompt(each.prompt) for each in examples],
        max_new_tokens=most,
        stop=StopRule(token=tokenizer.end_of_text),
        make_way=make_way,
    )
    return [Written(text=tokenizer.decode(tokens), ended=len(tokens) < most) for tokens in made]


def is_exact(example: Example, written: Written) -> bool:
    """Whether the answer is the solution, but for white space at its end, and stops where that does."""
    return written.ended and written.text.rstrip() == example.solution.rstrip()


def passes(examples: Sequence[Example], written: Sequence[Written]) -> list[bool] | None:
    """Whether each answer passes its example's tests, in the sandbox; None where none has tests.

    An answer is taken as it stands, up to the end of its function.

    Raises:
        ResourceError: there is no sandbox on this machine.
    """
    tasks = [each.task for each in examples]
    asked = [(task, answer) for task, answer in zip(tasks, written, strict=True) if task is not None]
    if not asked:
        return None
    answers = []
    for task, answer in asked:
        text = truncate(answer.text)
        answers.append([Answer(tokens=(), text=text, ending="end_of_text", valid=is_valid(task.prompt, text))])
    with Sandbox.open() as sandbox:
        _, passed, _ = check_answers([task for task, _ in asked], answers, sandbox)
    return [row[0] for row in passed]


def share(hits: Sequence[bool], what: str) -> Score:
    """A share of examples with Wilson's interval."""
    value = sum(hits) / len(hits)
    low, high = wilson_interval(value, len(hits))
    return Score(value=value, low=low, high=high, unit="share", n=len(hits), note=what)


def answer_scores(examples: Sequence[Example], written: Sequence[Written]) -> tuple[dict[str, Score], str]:
    """`stops`, `exact_match` and, where examples have tests, `passes`; and why the last is missing, where it is."""
    scores = {
        "stops": share([each.ended for each in written], "greedy answers that end with end-of-text"),
        "exact_match": share(
            [is_exact(example, answer) for example, answer in zip(examples, written, strict=True)],
            "greedy answers that are the solution and stop where it does",
        ),
    }
    try:
        passed = passes(examples, written)
    except ResourceError as error:
        return scores, str(error)
    if passed is not None:
        scores["passes"] = share(passed, "greedy answers that pass their example's tests")
    return scores, ""


def quick_look(examples: Sequence[Example], written: Sequence[Written]) -> dict[str, Any]:
    """Of an evaluation on the way: the same shares, without tests."""
    exact = [is_exact(example, answer) for example, answer in zip(examples, written, strict=True)]
    return {"stops": sum(each.ended for each in written) / len(written), "exact_match": sum(exact) / len(exact)}


def evenly(count: int, most: int) -> list[int]:
    """At most so many of `count` numbers, spread over all."""
    if count <= most:
        return list(range(count))
    return [place * count // most for place in range(most)]


def on_host(values: torch.Tensor) -> list[float]:
    """Numbers of a device, which is waited for."""
    found: list[float] = values.tolist()
    return found
