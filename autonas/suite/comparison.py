"""Two evaluated runs held against each other, from their files alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from autonas.errors import CorpusError, StudyError
from autonas.evaluation.intervals import t_quantile
from autonas.evaluation.loss import paired_difference
from autonas.evaluation.profile import ProfileRow, compare_profiles
from autonas.run_folder import read_evaluation
from autonas.trial import DocumentLosses, Score, from_json, to_json

_COMPARED: Final = ("loss", "collapse")


def evaluated_parts(run: Path) -> dict[str, Any]:
    """The parts of a run's evaluation, which hold what a comparison needs.

    Raises:
        StudyError: they do not.
    """
    suite = read_evaluation(run).get("suite", {})
    missing = [name for name in _COMPARED if name not in suite]
    if missing:
        raise StudyError(f"{run}: its {missing[0]} has not been evaluated; run `autonas evaluate {run}` first")
    if len({suite[name].get("weights") for name in _COMPARED}) > 1:
        raise StudyError(f"{run}: has other weights since part of it was evaluated; run `autonas evaluate {run}` again")
    return dict(suite)


def compare_runs(run: Path, other: Path) -> dict[str, Any]:
    """`run` less `other`: the validation loss paired by document, and collapse paired by prompt in every condition of both.

    Raises:
        StudyError: one of them has not been evaluated as it is.
        CorpusError: they were evaluated on other documents or prompts.
    """
    suites = [evaluated_parts(folder) for folder in (run, other)]
    documents = [from_json(DocumentLosses, suite["loss"]["result"]["splits"]["validation"]["documents"]) for suite in suites]
    if documents[0].tokens != documents[1].tokens or documents[0].bytes != documents[1].bytes:
        raise CorpusError(f"{run} and {other} were scored on other documents, or with another tokenizer: they have no pairs")
    value, error = paired_difference(documents[0], documents[1])
    reach = t_quantile(len(documents[0].nats) - 1) * error
    rows = [tuple(from_json(ProfileRow, row) for row in suite["collapse"]["result"]["rows"]) for suite in suites]
    loss = Score(
        value=value,
        low=value - reach,
        high=value + reach,
        unit="nats/token",
        n=len(documents[0].nats),
        note="paired by document; the seeds of the trainings are not in it",
    )
    return {
        "folder": os.path.relpath(other, run),
        "asked": [_asked(suite) for suite in suites],
        "val_loss": to_json(loss),
        "collapse": to_json(compare_profiles(rows[0], rows[1])),
    }


def renew_comparisons(run: Path, comparisons: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """The `comparisons` of `run`, made anew where either side has been evaluated again since.

    One with a run that is not there any more stays as it is while this run does; one that does not hold any more is dropped.
    """
    renewed = {}
    for title, found in comparisons.items():
        try:
            own = _asked(evaluated_parts(run))
            other = run / found["folder"]
            if other.is_dir():
                same = found["asked"] == [own, _asked(evaluated_parts(other))]
                renewed[title] = found if same else compare_runs(run, other)
            elif found["asked"][0] == own:
                renewed[title] = found
            else:
                say(f"the comparison with {title} is dropped: this run has been evaluated again, and that one is not there")
        except (StudyError, CorpusError, KeyError) as error:
            say(f"the comparison with {title} is dropped: {error}")
    return renewed


def _asked(suite: Mapping[str, Any]) -> list[str]:
    """What tells the results that are compared from those of another evaluation."""
    return [suite[name]["asked"] for name in _COMPARED]
