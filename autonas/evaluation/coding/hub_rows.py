"""Rows of a data set of the hub whole, as tasks need them: with lists and numbers, where a corpus takes columns of text alone.

As for a corpus (data/hub.py), the library is used in a process of its own. Task sets are small: its own cache is enough.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autonas.data.processes import apart
from autonas.errors import CorpusError

_MOST_ROWS: Final = 20_000  # of a set of tasks; more is a corpus named by mistake
# As in data/hub.py: each of these would be imported, to read a little text.
_ENVIRONMENT: Final = {"USE_TORCH": "0", "USE_TF": "0", "USE_JAX": "0", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HubTasks:
    """Which rows: of a data set of the hub, or of a folder in its format."""

    dataset: str
    config: str | None = None
    split: str = "test"

    @classmethod
    def of(cls, source: str) -> HubTasks:
        """Of "name", "name:config" or "name:config:split"; an empty part is the default.

        Raises:
            CorpusError: too many parts, or no name.
        """
        name, *rest = source.split(":")
        if not name.strip() or len(rest) > 2 or "\0" in source:
            raise CorpusError(f'{source!r}: no set of tasks; write a path, "owner/name" or "owner/name:config:split"')
        config, split = (*rest, "", "")[:2]
        return cls(
            dataset=str(Path(name).expanduser()) if name[0] in "~./" else name, config=config or None, split=split or "test"
        )


def hub_rows(wanted: HubTasks) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with its place.

    Raises:
        CorpusError: `datasets` is not installed, or the data set, its configuration or split cannot be had.
    """
    if importlib.util.find_spec("datasets") is None:
        raise CorpusError(
            f"{wanted.dataset}: no such file, and a data set of the hub needs datasets; pip install 'autonas[hub]'"
        )
    for number, line in enumerate(apart(_read, wanted, _ENVIRONMENT)):
        yield f"{wanted.dataset}/{wanted.split}: row {number}", json.loads(line)


def _read(wanted: HubTasks) -> list[str]:
    """In the process apart: each row as JSON."""
    import datasets

    try:
        stream = datasets.load_dataset(wanted.dataset, wanted.config, split=wanted.split, streaming=True)
        rows = [json.dumps(dict(row)) for row in stream.take(_MOST_ROWS + 1)]
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CorpusError(
            f"{wanted.dataset}: no file of tasks here, and as a data set (config {wanted.config or 'default'}, "
            f"split {wanted.split}) it cannot be read: {reason}; check the names, the connection, and whether it needs a login"
        ) from error
    if len(rows) > _MOST_ROWS:
        raise CorpusError(f"{wanted.dataset}: has more than {_MOST_ROWS:,} rows; name a set of tasks, not a corpus")
    return rows
