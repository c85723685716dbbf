"""The record of truth of a study: trial records in an Optuna storage. The only home of persistence.

A trial is one Optuna trial with the same number. It is written in whole records, each of them atomic: its beginning (params,
spec, exact scores), each finished rung (the outcome, as one attribute), its end (the state). What is not written has not
happened: after a crash the study goes on from what stands here.

    live        RUNNING   begun and not ended; its rungs so far are attributes rung:0, rung:1, …
    complete    COMPLETE  scored at the last rung; values are the objectives there
    stopped     PRUNED    did not go on from a rung; no values, so that nothing can compare it across budgets
    infeasible  PRUNED    breaks a rule or a limit (attribute `rule`); a constraint above 0 tells samplers so
    failed      FAIL      attribute `failure` holds kind and message
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autonas.arch import ArchSpec
from autonas.errors import StorageError, StudyError, resource_error
from autonas.trial import Failure, Outcome, Score, StudyRecord, TrialRecord, from_json, to_json

JOURNAL = "ledger.journal"
_FORMAT = 1
# Attributes of ours among Optuna's own, where dashboards do not list them.
_OURS = "autonas:"
_RETRY = f"{_OURS}retry:"
_STATES = {TrialState.RUNNING: "live", TrialState.COMPLETE: "complete", TrialState.FAIL: "failed", TrialState.PRUNED: "stopped"}


class Ledger:
    """One study in its storage, open for reading and, by one process at a time, for writing.

    Raises:
        StudyError: the study does not exist (`open`), exists already (`create`), or is not one of autonas.
        StorageError: the storage cannot be reached, read or written.
    """

    def __init__(self, storage: BaseStorage, study_id: int, name: str, repaired: str = "", journal: Path | None = None) -> None:
        self._storage = storage
        self._journal = journal
        self._study_id = study_id
        self._ended: dict[int, TrialRecord] = {}
        self.name = name
        self.repaired = repaired  # what was cut from a torn journal, in words

    @classmethod
    def create(cls, name: str, folder: Path, url: str | None, recipe: Mapping[str, Any], objectives: Sequence[str]) -> Ledger:
        """A new study with this resolved recipe."""
        with _translated(url or str(folder / JOURNAL)):
            storage, repaired = _open_storage(folder, url, create=True)
            with _disposed_on_failure(storage):
                if _find(storage, name) is not None:
                    raise StudyError(
                        f"the study {name!r} exists already. Go on with it (--resume) or give another --study name."
                    )
                study_id = storage.create_new_study([StudyDirection.MINIMIZE] * len(objectives), name)
                storage.set_study_system_attr(study_id, "study:metric_names", list(objectives))
                # Last and as one record: a study without it was cut off while it was being created, and can be taken over.
                storage.set_study_user_attr(study_id, "autonas", {"format": _FORMAT, "recipe": dict(recipe)})
        return cls(storage, study_id, name, repaired, None if url else folder / JOURNAL)

    @classmethod
    def open(cls, name: str, folder: Path, url: str | None) -> Ledger:
        """An existing study."""
        with _translated(url or str(folder / JOURNAL)):
            storage, repaired = _open_storage(folder, url, create=False)
            with _disposed_on_failure(storage):
                study_id = _find(storage, name)
                if study_id is None:
                    known = sorted(study.study_name for study in storage.get_all_studies())
                    listed = f" It holds {', '.join(known)}." if known else ""
                    raise StudyError(f"there is no study {name!r} in {url or folder}.{listed} Start one with `autonas search`.")
                mark = storage.get_study_user_attrs(study_id).get("autonas")
                if not isinstance(mark, dict) or mark.get("format") != _FORMAT:
                    raise StudyError(f"the study {name!r} in {url or folder} was not written by this version of autonas.")
        return cls(storage, study_id, name, repaired, None if url else folder / JOURNAL)

    def read(self) -> StudyRecord:
        """Everything that is known of the study."""
        with _translated(self.name):
            attributes = self._storage.get_study_user_attrs(self._study_id)
            frozen = self._storage.get_all_trials(self._study_id, deepcopy=False)
        trials = []
        for trial in frozen:
            if trial.number not in self._ended:
                record = _record(trial)
                if record.state == "live":
                    trials.append(record)
                    continue
                self._ended[trial.number] = record
            trials.append(self._ended[trial.number])
        ends = sorted((t.datetime_complete, t.number) for t in frozen if t.datetime_complete is not None)
        return StudyRecord(
            name=self.name,
            recipe=attributes["autonas"]["recipe"],
            attributes={key: value for key, value in attributes.items() if key != "autonas"},
            trials=tuple(trials),
            timeline=tuple((number, ended.astimezone(datetime.UTC).isoformat()) for ended, number in ends),
        )

    def close(self) -> None:
        """Give the storage's connections back. What was written stays; the ledger is of no use afterwards."""
        _dispose(self._storage)

    def discard(self) -> None:
        """Delete the whole study; its embedded journal too, which holds nothing else."""
        with _translated(self.name):
            self._storage.delete_study(self._study_id)
            if self._journal is not None:
                self._journal.unlink(missing_ok=True)

    def set_attribute(self, key: str, value: Any) -> None:
        """Remember a fact of the study as a whole, as JSON values."""
        assert key != "autonas"
        with _translated(self.name):
            self._storage.set_study_user_attr(self._study_id, key, value)

    def extend_budget(self, recipe: Mapping[str, Any]) -> None:
        """Replace the resolved recipe by one that differs in its budget only (the caller has checked)."""
        with _translated(self.name):
            self._storage.set_study_user_attr(self._study_id, "autonas", {"format": _FORMAT, "recipe": dict(recipe)})

    def begin(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        spec: ArchSpec,
        scores: Mapping[str, Score],
        *,
        repeat_of: int | None = None,
        retry_of: int | None = None,
        sampler_state: Mapping[str, Any] | None = None,
    ) -> int:
        """A trial begins to train; returns its number. With `retry_of` it takes the place of that trial, which has failed."""
        assert retry_of is None or self._trial(retry_of).state == TrialState.FAIL, f"trial {retry_of} has not failed"
        attributes = {"spec": to_json(spec), "scores": to_json(scores), "repeat_of": repeat_of, "retry_of": retry_of}
        return self._add(TrialState.RUNNING, params, distributions, attributes, dict(sampler_state or {}))

    def add_infeasible(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        *,
        rule: str,
        reason: str,
        nearest: Mapping[str, Any] | None,
        spec: ArchSpec | None = None,
        scores: Mapping[str, Score] | None = None,
    ) -> int:
        """A candidate that breaks a rule or a limit, and was not trained; returns its number."""
        attributes = {
            "rule": rule,
            "reason": reason,
            "nearest": nearest,
            "spec": None if spec is None else to_json(spec),
            "scores": to_json(scores or {}),
        }
        return self._add(TrialState.PRUNED, params, distributions, attributes, {"constraints:legal": 1.0})

    def _add(
        self,
        state: TrialState,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        attributes: dict[str, Any],
        system_attributes: dict[str, Any],
    ) -> int:
        now = datetime.datetime.now()
        template = FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=None,
            datetime_start=now,
            datetime_complete=None if state == TrialState.RUNNING else now,
            params={name: params[name] for name in distributions},
            distributions=dict(distributions),
            user_attrs={**attributes, "params": dict(params)},
            system_attrs=system_attributes,
            intermediate_values={},
        )
        with _translated(self.name):
            trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
            return self._storage.get_trial_number_from_id(trial_id)

    def finish_rung(self, outcome: Outcome) -> None:
        """A trial was scored at its next rung."""
        assert outcome.ok, "a failed job does not finish a rung"
        trial = self._live(outcome.trial)
        assert outcome.rung == _num_rungs(trial), f"trial {outcome.trial}: rung {outcome.rung} is not its next"
        with _translated(self.name):
            self._storage.set_trial_user_attr(trial._trial_id, f"rung:{outcome.rung}", to_json(outcome))

    def retry(self, number: int, failure: Failure) -> None:
        """A job of a trial ended badly, and is tried again: the trial lives on."""
        trial = self._live(number)
        key = f"{_RETRY}{_num_retries(trial)}"
        with _translated(self.name):
            self._storage.set_trial_system_attr(trial._trial_id, key, to_json(failure))

    def complete(self, number: int, values: Sequence[float]) -> None:
        """A trial was scored at the last rung, with these objectives in the study's order."""
        self._end(number, TrialState.COMPLETE, list(values))

    def stop(self, number: int) -> None:
        """A trial does not go on from the rung it has reached."""
        self._end(number, TrialState.PRUNED)

    def reject(self, number: int, rule: str, reason: str) -> None:
        """A trained trial turns out infeasible."""
        trial_id = self._live(number)._trial_id
        with _translated(self.name):
            self._storage.set_trial_user_attr(trial_id, "reason", reason)
            self._storage.set_trial_system_attr(trial_id, "constraints:legal", 1.0)
            self._storage.set_trial_user_attr(trial_id, "rule", rule)
        self._end(number, TrialState.PRUNED)

    def fail(self, number: int, failure: Failure) -> None:
        """A trial ended badly."""
        with _translated(self.name):
            self._storage.set_trial_user_attr(self._live(number)._trial_id, "failure", to_json(failure))
        self._end(number, TrialState.FAIL)

    def _end(self, number: int, state: TrialState, values: list[float] | None = None) -> None:
        trial = self._live(number)
        with _translated(self.name):
            self._storage.set_trial_state_values(trial._trial_id, state, values)

    def _trial(self, number: int) -> FrozenTrial:
        with _translated(self.name):
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
            return self._storage.get_trial(trial_id)

    def _live(self, number: int) -> FrozenTrial:
        trial = self._trial(number)
        assert trial.state == TrialState.RUNNING, f"trial {number} has ended already, as {trial.state.name}"
        return trial


def _num_rungs(trial: FrozenTrial) -> int:
    return sum(key.startswith("rung:") for key in trial.user_attrs)


def _num_retries(trial: FrozenTrial) -> int:
    return sum(key.startswith(_RETRY) for key in trial.system_attrs)


def _record(trial: FrozenTrial) -> TrialRecord:
    attributes = trial.user_attrs
    # Written before the state: a crash between the two leaves one that did not come to count.
    failure = from_json(Failure, attributes["failure"]) if trial.state == TrialState.FAIL else None
    state = _STATES[trial.state]
    if trial.state == TrialState.PRUNED and "rule" in attributes:
        state = "infeasible"
    rungs = tuple(from_json(Outcome, attributes[f"rung:{rung}"]) for rung in range(_num_rungs(trial)))
    reason = ""
    if state == "infeasible":
        reason = f"{attributes['rule']}: {attributes['reason']}"
    elif state == "stopped":
        reason = f"stopped at rung {len(rungs) - 1}"
    elif failure is not None:
        reason = failure.message
    return TrialRecord(
        number=trial.number,
        state=state,  # type: ignore[arg-type]
        params=attributes.get("params", trial.params),
        spec=None if attributes.get("spec") is None else ArchSpec.from_dict(attributes["spec"]),
        repeat_of=attributes.get("repeat_of"),
        scores={name: from_json(Score, score) for name, score in attributes.get("scores", {}).items()},
        retry_of=attributes.get("retry_of"),
        rungs=rungs,
        retries=tuple(from_json(Failure, trial.system_attrs[f"{_RETRY}{i}"]) for i in range(_num_retries(trial))),
        reason=reason,
        failure=None if failure is None else failure.kind,
        nearest=attributes.get("nearest"),
        sampler_state={key: value for key, value in trial.system_attrs.items() if not key.startswith(_OURS)},
    )


def _dispose(storage: BaseStorage) -> None:
    if isinstance(storage, optuna.storages.RDBStorage):
        storage.remove_session()
        storage.engine.dispose()


@contextlib.contextmanager
def _disposed_on_failure(storage: BaseStorage) -> Iterator[None]:
    try:
        yield
    except BaseException:
        _dispose(storage)
        raise


def _find(storage: BaseStorage, name: str) -> int | None:
    """The id of the named study; a study that was cut off while being created is deleted and counts as not there."""
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError:
        return None
    blank = not storage.get_study_user_attrs(study_id) and not storage.get_all_trials(study_id, deepcopy=False)
    if blank and storage.get_study_system_attrs(study_id).keys() <= {"study:metric_names"}:
        storage.delete_study(study_id)
        return None
    return study_id


def _open_storage(folder: Path, url: str | None, *, create: bool) -> tuple[BaseStorage, str]:
    # Its notes on each study it creates would stand in the middle of our own progress.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url is not None:
        return _open_url(url), ""
    path = folder / JOURNAL
    if not path.exists() and not create:
        if (folder / "recipe.yaml").exists():
            raise StudyError(f"the ledger of the study in {folder} is in another storage. Name it with --storage URL.")
        raise StudyError(f"there is no study in {folder}. Start one with `autonas search`.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise resource_error(error, path) from error
    repaired = _cut_torn_record(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return JournalStorage(JournalFileBackend(str(path), cast(Any, _ProcessLock(path)))), repaired


def _open_url(url: str) -> BaseStorage:
    # Psycopg 3 is what the extra installs; SQLAlchemy would look for its predecessor.
    if url.startswith(("postgresql://", "postgres://")):
        url = "postgresql+psycopg://" + url.split("://", 1)[1]
    try:
        return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except ImportError as error:
        raise StorageError(
            f"--storage {_without_password(url)}: its driver is not installed ({error}). "
            "For PostgreSQL: pip install 'autonas[postgresql]'."
        ) from error


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


class _ProcessLock:
    """A lock that dies with its process. Optuna's own leave a file behind after kill -9 and make the next process wait 30 s."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_suffix(".lock")
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


def is_running(name: str, folder: Path) -> bool:
    """Whether a process on this machine is at work on the study."""
    try:
        with study_lease(name, folder):
            return False
    except StudyError:
        return True


def study_names(out: Path, url: str | None) -> list[str]:
    """The studies of autonas in the storage, or else in the folders of `out`, by name.

    Raises:
        StorageError: the storage cannot be reached or read.
    """
    if url is None:
        return sorted(path.parent.name for path in out.glob(f"*/{JOURNAL}") if _may_hold(path.parent))
    with _translated(url):
        storage = _open_url(url)
        try:
            return sorted(s.study_name for s in storage.get_all_studies() if "autonas" in s.user_attrs)
        finally:
            _dispose(storage)


def _may_hold(folder: Path) -> bool:
    """Whether the folder's journal holds its study, or is damaged; one cut off while it was created holds none."""
    try:
        Ledger.open(folder.name, folder, None).close()
    except StudyError:
        return False
    except StorageError:
        return True  # whoever reads it is told
    return True


@contextlib.contextmanager
def study_lease(name: str, folder: Path) -> Iterator[None]:
    """The right to write a study, held by one process at a time on a machine and freed by its death.

    Raises:
        StudyError: another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lease").open("ab")
    except OSError as error:
        raise resource_error(error, folder) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StudyError(f"the study {name!r} is running in another process. Wait for it, or stop it first.") from error
        yield


@contextlib.contextmanager
def _translated(place: str) -> Iterator[None]:
    """Errors of the storage as ours, with the place and without a password."""
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        yield
    except OSError as error:
        raise resource_error(error, place) from error
    except ArgumentError as error:
        raise StorageError(
            f"--storage {_without_password(place)} is not a storage URL. Write one such as sqlite:///study.db or "
            "postgresql://user:password@host/name."
        ) from error
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0]
        raise StorageError(
            f"the storage {_without_password(place)} does not answer or refuses: {cause[:200]}. "
            "Nothing is lost; resume when it is back."
        ) from error
    except (json.JSONDecodeError, ValueError) as error:
        if isinstance(error, json.JSONDecodeError) or "Invalid log format" in str(error):
            raise StorageError(f"the storage {place} cannot be read: {error}") from error
        raise


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if not separator or "@" not in rest:
        return url
    user, _, host = rest.rpartition("@")
    return f"{scheme}://{user.split(':')[0]}:…@{host}"
