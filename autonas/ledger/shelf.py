"""Studies of autonas, wherever they are kept, as one Optuna storage that can only be read.

Journals are neither locked nor repaired, so that a study may be looked at while it runs, and a damaged one as it is.
"""

from __future__ import annotations

import glob
import threading
from collections.abc import Container
from pathlib import Path
from typing import Any, NoReturn

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from autonas.errors import ResourceError, StorageError, StudyError
from autonas.ledger.reading import MARK
from autonas.ledger.storage import JOURNAL, dispose, no_study_in, open_reader, open_url, translated, without_password


class Shelf(BaseStorage):
    """The named study, or all studies in the folders of `out` (in the database at `url`), those that begin later included.

    Studies of several journals are numbered anew; trials keep their ids, which are unique within a study only.

    Raises:
        StudyError: there is no such study, or none at all.
        StorageError: the storage, or the journal of the named study, cannot be read.
    """

    def __init__(self, out: Path, url: str | None, name: str | None = None) -> None:
        self._out, self._name = out, name
        self._lock = threading.Lock()
        self._journals: dict[Path, tuple[int, BaseStorage]] = {}  # with the inode: a new file of this name is another study
        self._database: BaseStorage | None = None
        self._places: list[tuple[BaseStorage, int]] = []  # by study id here: the storage, and the id there
        self.unreadable: dict[Path, str] = {}
        if url is not None:
            with translated(url):
                self._database = open_url(url, create=False)
        with translated(url or str(out)):
            known = self.names()
        if name is not None and self.unreadable:
            raise StorageError(next(iter(self.unreadable.values())))
        if not known and url is None:
            raise no_study_in(out / (name or ""))
        if not known:
            named = f"{name!r} " if name else ""
            raise StudyError(f"there is no study {named}in {without_password(url or '')}. Start one with `autonas search`.")

    def close(self) -> None:
        """Give a database's connections back."""
        if self._database is not None:
            dispose(self._database)

    def names(self) -> dict[str, int]:
        """The studies by name, with their ids here."""
        return {study.study_name: study._study_id for study in self.get_all_studies()}

    def get_all_studies(self) -> list[FrozenStudy]:
        with self._lock:
            if self._database is not None:
                return self._ours(self._database, self._name)
            folder = "*" if self._name is None else glob.escape(self._name)
            paths = sorted(self._out.glob(f"{folder}/{JOURNAL}"))
            self._journals = {path: entry for path, entry in self._journals.items() if path in paths}
            self.unreadable = {}
            found = []
            for path in paths:
                try:
                    with translated(str(path)):
                        found += self._ours(self._journal(path), path.parent.name)
                except StorageError as error:
                    self.unreadable[path] = str(error)
                except ResourceError as error:
                    self.unreadable[path] = f"{path}: cannot be read ({getattr(error.__cause__, 'strerror', error)})."
            return found

    def _journal(self, path: Path) -> BaseStorage:
        inode = path.stat().st_ino
        if path not in self._journals or self._journals[path][0] != inode:
            self._journals[path] = (inode, open_reader(path))
        return self._journals[path][1]

    def _ours(self, storage: BaseStorage, name: str | None) -> list[FrozenStudy]:
        """The studies of autonas in a storage, or the named one of them, with their ids here."""
        found = [s for s in storage.get_all_studies() if MARK in s.user_attrs and name in (None, s.study_name)]
        for study in found:
            study._study_id = self._id_of(storage, study._study_id)
        return found

    def _id_of(self, storage: BaseStorage, inner: int) -> int:
        if (storage, inner) not in self._places:
            self._places.append((storage, inner))
        return self._places.index((storage, inner))

    def _place(self, study_id: int) -> tuple[BaseStorage, int]:
        if not 0 <= study_id < len(self._places):
            raise KeyError(f"there is no study {study_id}")
        return self._places[study_id]

    def get_study_id_from_name(self, study_name: str) -> int:
        return self.names()[study_name]

    def get_study_name_from_id(self, study_id: int) -> str:
        storage, inner = self._place(study_id)
        return storage.get_study_name_from_id(inner)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        storage, inner = self._place(study_id)
        return storage.get_study_directions(inner)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        storage, inner = self._place(study_id)
        return storage.get_study_user_attrs(inner)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        storage, inner = self._place(study_id)
        return storage.get_study_system_attrs(inner)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        storage, inner = self._place(study_id)
        return storage.get_all_trials(inner, deepcopy, states)

    def get_trial(self, trial_id: int) -> NoReturn:
        raise KeyError("the id of a trial says nothing here without its study")

    def _refuse(self, *values: Any, **named: Any) -> NoReturn:
        raise AssertionError("a reader does not write")

    create_new_study = delete_study = set_study_user_attr = set_study_system_attr = _refuse
    create_new_trial = set_trial_param = set_trial_state_values = set_trial_intermediate_value = _refuse
    set_trial_user_attr = set_trial_system_attr = _refuse
