"""Whether examples give away tasks that the tuned model may be scored on. No torch.

As training texts are searched for tasks (evaluation/coding/contamination.py), and by equality of prompts, which may be too
short for that. A body that anybody would write (`return a + b`) is told and does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autonas.errors import CorpusError
from autonas.evaluation.coding.contamination import contaminated
from autonas.evaluation.coding.loading import load_tasks
from autonas.trial import Finding
from autonas.tuning.examples import Example

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A task that an example gives away, and by what."""

    task: str
    example: str
    how: str  # "prompt", "solution" or "function"
    commonplace: bool = False


def given_tasks(examples: Sequence[Example], sources: Sequence[str]) -> tuple[Given, ...]:
    """Every task of `sources` (as `load_tasks` takes them) in every example that holds it.

    Raises:
        CorpusError: a source is none.
    """
    tasks = [task for source in sources for task in load_tasks(source)]
    asked = {_bare(task.prompt): task.name for task in tasks}
    found = [
        Given(task=asked[_bare(each.prompt)], example=each.id, how="prompt") for each in examples if _bare(each.prompt) in asked
    ]
    known = {(one.task, one.example) for one in found}
    for each in contaminated(tasks, ((example.id, example.text + "\n") for example in examples)):
        if (each.task, each.document) not in known:
            found.append(Given(task=each.task, example=each.document, how=each.kind, commonplace=each.commonplace))
            if not each.commonplace:
                known.add((each.task, each.document))
    return tuple(found)


def refuse_contamination(found: Sequence[Given], data: str) -> None:
    """Raises CorpusError when examples give away tasks, and says which."""
    harmful = [each for each in found if not each.commonplace]
    if harmful:
        raise CorpusError(
            f"{data}: {_told(harmful)}. What is tuned on them can no longer be scored by them: leave them out, or give "
            "--allow-contamination, which the run will say"
        )


def tuning_findings(found: Sequence[Given]) -> tuple[Finding, ...]:
    """An alarm for tasks that were tuned on, and a note of commonplace bodies."""
    harmful = [each for each in found if not each.commonplace]
    common = sorted({each.task for each in found if each.commonplace} - {each.task for each in harmful})
    findings = []
    if harmful:
        text = f"{_told(harmful)}: their scores show memory"
        findings.append(Finding(check="benchmark_in_tuning", severity="alarm", text=text))
    if common:
        text = f"the examples have the commonplace bodies of {len(common)} tasks ({', '.join(common[:_SHOWN])})"
        findings.append(Finding(check="commonplace_tasks", severity="note", text=text))
    return tuple(findings)


def _told(harmful: Sequence[Given]) -> str:
    tasks = list(dict.fromkeys(each.task for each in harmful))
    first = harmful[0]
    return (
        f"{len({each.example for each in harmful})} examples give away {len(tasks)} tasks ({', '.join(tasks[:_SHOWN])}; such "
        f"as the {first.how} of {first.task} in {first.example!r})"
    )


def _bare(text: str) -> str:
    return " ".join(text.split())
