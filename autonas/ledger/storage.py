"""Storages of ledgers: the embedded journal and Optuna's databases, opened, locked, repaired; their errors as ours."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from autonas.errors import StorageError, StudyError, resource_error

JOURNAL = "ledger.journal"


class Journal(JournalFileBackend):
    """Optuna's journal file; records written `together` are one write and one flush to the disk.

    `touched` are the ids of trials that lines read since it was last emptied have changed.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), cast(Any, _ProcessLock(path)))
        self._path = path
        self._held: list[dict[str, Any]] | None = None
        self.touched: set[int] = set()
        self._seen = (-1, -1)  # how many lines were read, when the file had so many bytes

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self._held is None:
            super().append_logs(logs)
        else:
            self._held += logs

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        # Optuna reads after each of its writes. What is held back is not there yet, and reading is half of the time.
        # It reads before most of its answers too, and opening the file takes ten times as long as asking for its size.
        if self._held is not None or (log_number_from, size := self._path.stat().st_size) == self._seen:
            return
        count = log_number_from
        for log in super().read_logs(log_number_from):
            count += 1
            if "trial_id" in log:
                self.touched.add(log["trial_id"])
            yield log
        self._seen = count, size

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Hold back what is written until the end. A crash leaves the first of the records, never a later one alone."""
        assert self._held is None
        self._held = []
        try:
            yield
            held, self._held = self._held, None
            if held:
                super().append_logs(held)
        finally:
            self._held = None


class EmbeddedStorage(JournalStorage):
    """The storage in a study's own folder."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)
        super().__init__(self.journal)

    def changed_trials(self, study_id: int, known: int) -> list[FrozenTrial]:
        """The trials from number `known` on, and those before it that have changed since the last call, by their numbers."""
        touched = self.journal.touched
        if known == 0:
            touched.clear()
            return self.get_all_trials(study_id, deepcopy=False)
        changed = dict[int, FrozenTrial]()
        with contextlib.suppress(KeyError):  # there is no trial of the next number
            for number in itertools.count(known):
                touched.add(self.get_trial_id_from_study_id_trial_number(study_id, number))
        while touched:  # each look may touch more
            trial = self.get_trial(touched.pop())  # of this study: the journal holds no other
            changed[trial.number] = trial
        return [changed[number] for number in sorted(changed)]


def changed_trials(storage: BaseStorage, study_id: int, known: int) -> list[FrozenTrial]:
    """The trials of a study that are not as they were at the last call, which left `known` ones; all, where nobody can tell."""
    if isinstance(storage, EmbeddedStorage):
        return storage.changed_trials(study_id, known)
    return storage.get_all_trials(study_id, deepcopy=False)


def together(storage: BaseStorage) -> contextlib.AbstractContextManager[None]:
    """What is written until the end is one write where the storage can do that, and in the same order where it cannot."""
    return storage.journal.together() if isinstance(storage, EmbeddedStorage) else contextlib.nullcontext()


class ReadOnlyJournal(JournalFileBackend):
    """A journal that another process may be writing. A line that is not whole yet is left for the next reading."""

    def __init__(self, path: Path) -> None:
        assert path.exists(), "Optuna would create it"
        super().__init__(str(path), cast(Any, contextlib.nullcontext()))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise AssertionError("a reader does not write")


def dispose(storage: BaseStorage) -> None:
    if isinstance(storage, optuna.storages.RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


@contextlib.contextmanager
def disposed_on_failure(storage: BaseStorage) -> Iterator[None]:
    try:
        yield
    except BaseException:
        dispose(storage)
        raise


def open_storage(folder: Path, url: str | None, *, create: bool) -> tuple[BaseStorage, str]:
    # Its notes on each study it creates would stand in the middle of our own progress.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url is not None:
        return open_url(url), ""
    path = folder / JOURNAL
    if not path.exists() and not create:
        raise no_study_in(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise resource_error(error, path) from error
    repaired = _cut_torn_record(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return EmbeddedStorage(path), repaired


def no_study_in(folder: Path) -> StudyError:
    """Why a folder without a journal cannot be read."""
    if (folder / "recipe.yaml").exists():
        return StudyError(f"the ledger of the study in {folder} is in another storage. Name it with --storage URL.")
    return StudyError(f"there is no study in {folder}. Start one with `autonas search`.")


def open_reader(path: Path) -> BaseStorage:
    """The journal at `path`, which exists, for reading alone: it is neither locked nor repaired."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return JournalStorage(ReadOnlyJournal(path))


def open_url(url: str, *, create: bool = True) -> BaseStorage:
    """The database at `url`. Without `create` nothing is made there, neither a file nor a table.

    Raises:
        StorageError: its driver is not installed.
        StudyError: without `create`, there is nothing to read.
    """
    # Psycopg 3 is what the extra installs; SQLAlchemy would look for its predecessor.
    if url.startswith(("postgresql://", "postgres://")):
        url = "postgresql+psycopg://" + url.split("://", 1)[1]
    try:
        if not create and not _has_tables(url):
            raise StudyError(f"there is no study in {without_password(url)}. Start one with `autonas search`.")
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True}, skip_table_creation=not create)
    except ImportError as error:
        raise StorageError(
            f"--storage {without_password(url)}: its driver is not installed ({error}). "
            "For PostgreSQL: pip install 'autonas[postgresql]'."
        ) from error


def _has_tables(url: str) -> bool:
    """Whether Optuna has been at work in the database."""
    import sqlalchemy

    place = sqlalchemy.make_url(url)
    if place.get_backend_name() == "sqlite" and place.database and not Path(place.database).exists():
        return False  # connecting would create it
    engine = sqlalchemy.create_engine(place)
    try:
        return bool(sqlalchemy.inspect(engine).has_table("alembic_version"))
    finally:
        engine.dispose()


def _cut_torn_record(path: Path) -> str:
    """Cut a journal back to its last whole record, as a crash in the middle of a write leaves a torn one; says what was cut.

    Optuna loads a torn journal once and then appends to the torn line, after which it cannot be read at all.
    """
    lock = _ProcessLock(path)
    lock.acquire()  # else the unfinished write of a process at work would look torn
    try:
        with path.open("r+b") as file:
            content = file.read()
            kept = content[: content.rfind(b"\n") + 1]
            if len(kept) < len(content):
                file.truncate(len(kept))
    finally:
        lock.release()
    torn = len(content) - len(kept)
    for number, line in enumerate(kept.splitlines(), 1):
        try:
            json.loads(line)
        except ValueError as error:
            raise StorageError(
                f"{path}:{number}: not a record of a study. The journal is damaged before its end, which no crash does; "
                "restore it from a backup or start the study under another name."
            ) from error
    return f"{path}: a torn last record of {torn} bytes was cut off; nothing that had finished is lost" if torn else ""


def remove_journal(path: Path) -> None:
    """Delete a journal that nobody writes any more, and its lock."""
    path.unlink(missing_ok=True)
    _lock_of(path).unlink(missing_ok=True)


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


class _ProcessLock:
    """A lock that dies with its process. Optuna's own leave a file behind after kill -9 and make the next process wait 30 s."""

    def __init__(self, path: Path) -> None:
        self._path = _lock_of(path)
        self._file: BinaryIO | None = None

    def acquire(self) -> bool:
        file = self._path.open("ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        self._file = file
        return True

    def release(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None


@contextlib.contextmanager
def translated(place: str) -> Iterator[None]:
    """Errors of the storage as ours, with the place and without a password."""
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        yield
    except OSError as error:
        raise resource_error(error, place) from error
    except ArgumentError as error:
        raise StorageError(
            f"--storage {without_password(place)} is not a storage URL. Write one such as sqlite:///study.db or "
            "postgresql://user:password@host/name."
        ) from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        raise StorageError(
            f"the storage {without_password(place)} does not answer or refuses: {cause[:200]}. "
            "Nothing is lost; resume when it is back."
        ) from error
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) or "Invalid log format" in str(error):
            raise StorageError(f"the storage {place} cannot be read: {error}") from error
        raise


def without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return url
    user, _, host = rest.rpartition("@")
    return f"{scheme}://{user.split(':')[0]}:…@{host}"
