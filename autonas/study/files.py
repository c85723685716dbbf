"""A study's folder: recipe.yaml, environment.json, jobs/, outcomes/, checkpoints/, metrics/. The ledger is not here."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from autonas.engine.choice import CLUSTER_MARK
from autonas.errors import resource_error

_PARTS = ("jobs", "outcomes", "checkpoints", "metrics")
_CANCEL = "cancel"
EVENTS = "tensorboard"  # where the event files of trials lie, if they are asked for and nothing else is said
EMBEDDED, ELSEWHERE = "embedded", "in another storage"


def clear(folder: Path) -> None:
    """Remove what another study of this name left in the folder: its checkpoints are not this one's."""
    for part in (*_PARTS, EVENTS):
        shutil.rmtree(folder / part, ignore_errors=True)
    (folder / _CANCEL).unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Remove what a study has written in the folder, but for its ledger and its lease: full runs stay.

    A folder that was made for the study goes with its lease, if nothing else is in it.
    """
    clear(folder)
    for name in ("recipe.yaml", "environment.json", CLUSTER_MARK):
        (folder / name).unlink(missing_ok=True)


def write_provenance(folder: Path, recipe: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """Make the folder, with the resolved recipe and what it runs on.

    Raises:
        ResourceError: no space or no permission.
    """
    try:
        for part in _PARTS:
            (folder / part).mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
        (folder / "recipe.yaml").write_text(text, encoding="utf-8")
        (folder / "environment.json").write_text(json.dumps(environment, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise resource_error(error, error.filename or folder) from error


def ledger_is_elsewhere(folder: Path) -> bool:
    """Whether the folder says that it is of a study whose ledger is in another storage."""
    try:
        return bool(json.loads((folder / "environment.json").read_text(encoding="utf-8")).get("ledger") == ELSEWHERE)
    except (OSError, ValueError, AttributeError):
        return False


def trial_folder(folder: Path, number: int) -> Path:
    """Where a trial's checkpoints lie."""
    return folder / "checkpoints" / f"{number:05d}"


def request_cancel(folder: Path) -> None:
    """Ask whoever runs the study in `folder`, on whichever machine, to stop. Raises ResourceError."""
    try:
        (folder / _CANCEL).touch()
    except OSError as error:
        raise resource_error(error, folder / _CANCEL) from error


def cancel_requested(folder: Path) -> bool:
    """Whether the study was asked to stop."""
    return (folder / _CANCEL).exists()


def forget_cancel(folder: Path) -> None:
    """The request was heard, or came too late."""
    with contextlib.suppress(OSError):
        (folder / _CANCEL).unlink(missing_ok=True)
