"""Rows of a Hugging Face data set, copied once into the cache as JSON Lines; from there on they are read as such. The home of
`datasets`, an extra.

The library is used in a process of its own: reading rows, it imports torch where that is installed. A copy is known by what the
data set is (the commit of a data set of the hub, size and time of each file of a folder), so a row that changes is copied anew.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from autonas.data.cache import key_of, recall, remember, write_stream
from autonas.data.files import FoundFile, found_file, printable
from autonas.data.processes import apart
from autonas.data.records import HubSettings
from autonas.errors import CorpusError
from autonas.trial import to_json

_FORMAT = 1  # of the copy
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TIMEOUT_S = 20.0
# Each of these would bring its own library, torch 3 s of import, into a process that only reads text.
_ENVIRONMENT = {"USE_TORCH": "0", "USE_TF": "0", "USE_JAX": "0", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}


def find_rows(settings: HubSettings, cache: Path) -> FoundFile:
    """The file in `cache` that holds the rows asked for; they are fetched when it is not there.

    Without a connection the latest copy of the same request is used.

    Raises:
        CorpusError: `datasets` is not installed, or the data set, its configuration, split or a column cannot be had.
        ResourceError: the cache cannot be written.
    """
    version = _folder_version(settings) or _hub_version(settings, cache)
    path = _place(settings, cache, version)
    if not path.exists():
        _need_library(settings)
        apart(_copy, (settings, version, path), _ENVIRONMENT)
    label = printable(f"{Path(settings.dataset).name if is_folder(settings) else settings.dataset}/{settings.split}")
    return found_file(path, name=label, project=label, jsonl=True, literal=True)


def is_near(settings: HubSettings, cache: Path) -> bool:
    """Whether `find_rows` would take rows from this machine: a folder's, or a copy's. Raises as `find_rows`."""
    return is_folder(settings) or _place(settings, cache, _hub_version(settings, cache)).exists()


def count_rows(settings: HubSettings) -> int | None:
    """How many rows were asked for, as the hub states it without sending them; None where it does not say."""
    _need_library(settings)
    stated = apart(_stated_rows, settings, _ENVIRONMENT)
    limit = settings.max_documents
    return stated if limit is None or stated is None else min(stated, limit)


def is_folder(settings: HubSettings) -> bool:
    """Whether the data set is a folder here."""
    try:
        return Path(settings.dataset).expanduser().is_dir()
    except (OSError, RuntimeError):
        return False


def _place(settings: HubSettings, cache: Path, version: Any) -> Path:
    return cache / "hub" / f"{key_of(_FORMAT, to_json(settings), version)}.jsonl"


def _folder_version(settings: HubSettings) -> list[Any] | None:
    """Name, size and time of each file of a data set that is a folder."""
    if not is_folder(settings):
        return None
    root = Path(settings.dataset).expanduser()
    files = sorted(path for path in root.rglob("*") if path.is_file())
    named = [(path.relative_to(root).as_posix(), path.stat()) for path in files]
    return [[printable(name), status.st_size, status.st_mtime_ns] for name, status in named]


def _hub_version(settings: HubSettings, cache: Path) -> str:
    """The commit that the revision is at; of a hub that is out of reach, the one that it was at the last time."""
    if settings.revision is not None and _COMMIT.fullmatch(settings.revision):
        return settings.revision
    hint = key_of("hub", settings.dataset, settings.revision)
    _need_library(settings)
    try:
        commit = apart(_commit, settings, _ENVIRONMENT)
    except ConnectionError as error:
        if (known := recall(cache, hint)) is None:
            raise CorpusError(
                f"corpus.hub: {settings.dataset!r} is no folder here, and the hub cannot be reached ({error}); "
                "check the name and the connection, or download the data set and name its folder"
            ) from error
        return known
    remember(cache, hint, commit)
    return commit


def _need_library(settings: HubSettings) -> None:
    if importlib.util.find_spec("datasets") is None:
        raise CorpusError(f"corpus.hub: {settings.dataset!r} needs the package datasets; pip install 'autonas[hub]'")


# In the process apart


def _commit(settings: HubSettings) -> str:
    """Raises ConnectionError when the hub does not answer, CorpusError when it has no such data set."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return str(HfApi().dataset_info(settings.dataset, revision=settings.revision, timeout=_TIMEOUT_S).sha)
    except (HfHubHTTPError, ValueError) as error:
        # A server that answers says more than that it is out of reach.
        if getattr(getattr(error, "response", None), "status_code", 500) < 500 or isinstance(error, ValueError):
            raise _refused(settings, error) from error
        raise ConnectionError(_first_line(error)) from error
    except Exception as error:
        raise ConnectionError(_first_line(error)) from error


def _stated_rows(settings: HubSettings) -> int | None:
    import datasets

    try:
        builder = datasets.load_dataset_builder(settings.dataset, settings.config, revision=settings.revision)
        number = (builder.info.splits or {})[settings.split].num_examples
    except KeyError:
        return None
    except Exception as error:
        raise _refused(settings, error) from error
    return int(number) or None


def _copy(request: tuple[HubSettings, Any, Path]) -> None:
    settings, version, path = request
    write_stream(path, (json.dumps(line).encode() + b"\n" for line in _lines(settings, version)))


def _lines(settings: HubSettings, version: Any) -> Iterator[dict[str, str]]:
    """Each row under the names of JSON Lines."""
    keys = {"text": settings.column, "name": settings.name_column}
    keys |= {"project": settings.project_column, "licence": settings.licence_column}
    columns = {key: column for key, column in keys.items() if column is not None}
    number = -1
    for number, row in enumerate(_rows(settings, version)):
        yield {key: _text(row.get(column), settings, column, number) for key, column in columns.items()}
    if number < 0:
        raise CorpusError(f"corpus.hub: the split {settings.split!r} of {settings.dataset!r} has no rows; name another")


def _text(value: Any, settings: HubSettings, column: str, number: int) -> str:
    if value is None:
        return ""  # as text dropped as empty and counted; as project or name left out
    if not isinstance(value, str):
        raise CorpusError(
            f"corpus.hub: column {column!r} of {settings.dataset!r} holds a {type(value).__name__} in row {number}, "
            "not a text; name another column"
        )
    return value


def _rows(settings: HubSettings, version: Any) -> Iterator[Mapping[str, Any]]:
    import datasets

    name = str(Path(settings.dataset).expanduser()) if is_folder(settings) else settings.dataset
    revision = version if isinstance(version, str) else None
    try:
        stream = datasets.load_dataset(name, settings.config, split=settings.split, revision=revision, streaming=True)
        rows: Iterable[Mapping[str, Any]] = stream
        known = stream.column_names
        if known is None:  # of formats that do not say: those of the first row
            first: Mapping[str, Any] = next(iter(stream.take(1)), {})
            known = list(first)
        missing = [column for column in settings.columns if column not in known]
        if known and missing:
            raise CorpusError(
                f"corpus.hub: {settings.dataset!r} has no column {missing[0]!r}; its columns are {', '.join(known)}"
            )
        # Of a table only these columns are fetched.
        rows = stream.select_columns(list(settings.columns)) if known else stream
        yield from itertools.islice(rows, settings.max_documents)
    except CorpusError:
        raise
    except Exception as error:
        raise _refused(settings, error) from error


def _refused(settings: HubSettings, error: Exception) -> CorpusError:
    return CorpusError(
        f"corpus.hub: {settings.dataset!r} (config {settings.config or 'default'}, split {settings.split}) cannot be read: "
        f"{_first_line(error)}; check these names, the connection, and whether it needs a login"
    )


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def at_most(settings: HubSettings, documents: int) -> HubSettings:
    """The same request for no more than so many rows."""
    return dataclasses.replace(settings, max_documents=min(documents, settings.max_documents or documents))
