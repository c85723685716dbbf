"""One study in its storage: what is written when, and the study as it stands."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from autonas.arch import ArchSpec
from autonas.errors import StorageError, StudyError
from autonas.ledger import notes, readable
from autonas.ledger.reading import MARK, RECIPE, Reading
from autonas.ledger.records import (
    FORMAT,
    FORMATS,
    OURS,
    constraint,
    failure_of,
    last_rung,
    num_rungs,
    ours,
    retries_of,
)
from autonas.ledger.storage import (
    JOURNAL,
    changed_trials,
    dispose,
    disposed_on_failure,
    open_storage,
    open_url,
    remove_journal,
    together,
    translated,
    without_password,
)
from autonas.trial import Failure, JobSpan, Outcome, Score, StudyRecord, to_json

_METRICS = "study:metric_names"  # Optuna's: the names of the objectives
_LARGEST_STEP = 2**31 - 1  # a database's integer


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
        self._reading = Reading(name)
        self.name = name
        self.repaired = repaired  # what was cut from a torn journal, in words

    @classmethod
    def create(cls, name: str, folder: Path, url: str | None, recipe: Mapping[str, Any], objectives: Sequence[str]) -> Ledger:
        """A new study with this resolved recipe. Whoever asks holds the study's lease."""
        with translated(url or str(folder / JOURNAL)):
            storage, repaired = open_storage(folder, url, create=True)
            with disposed_on_failure(storage):
                _check_free(storage, name, url or str(folder))
                if (blank := _find(storage, name, blank=True)) is not None:
                    storage.delete_study(blank)
                study_id = storage.create_new_study([StudyDirection.MINIMIZE] * len(objectives), name)
                note = notes.study_note(name, recipe, objectives, " --storage URL" if url else "")
                attributes = {_METRICS: list(objectives), RECIPE: dict(recipe), **notes.note_attributes({}, None, note)}
                with together(storage):
                    for key, value in attributes.items():
                        storage.set_study_system_attr(study_id, key, value)
                    # Last: a study without it was cut off while it was being created, and can be taken over.
                    storage.set_study_user_attr(study_id, MARK, {"format": FORMAT})
        return cls(storage, study_id, name, repaired, None if url else folder / JOURNAL)

    @classmethod
    def open(cls, name: str, folder: Path, url: str | None) -> Ledger:
        """An existing study."""
        with translated(url or str(folder / JOURNAL)):
            storage, repaired = open_storage(folder, url, create=False)
            with disposed_on_failure(storage):
                study_id, place = _find(storage, name), without_password(url or str(folder))
                if study_id is None:
                    known = sorted({study.study_name for study in storage.get_all_studies()} - {name})
                    listed = f" It holds {', '.join(known)}." if known else ""
                    raise StudyError(f"there is no study {name!r} in {place}.{listed} Start one with `autonas search`.")
                if not _is_readable(storage, study_id):
                    raise StudyError(f"the study {name!r} in {place} was not written by this version of autonas.")
        return cls(storage, study_id, name, repaired, None if url else folder / JOURNAL)

    def read(self) -> StudyRecord:
        """Everything that is known of the study. What has not changed since it was last read is the same object as then."""
        try:
            with translated(self.name):
                shown = self._storage.get_study_user_attrs(self._study_id)
                hidden = self._storage.get_study_system_attrs(self._study_id)
                return self._reading.take(shown, hidden, changed_trials(self._storage, self._study_id, len(self._reading)))
        except BaseException:
            self._reading = Reading(self.name)  # an interruption may have left half of what has changed unread
            raise

    def close(self) -> None:
        """Give the storage's connections back. What was written stays; the ledger is of no use afterwards."""
        dispose(self._storage)

    def discard(self) -> None:
        """Delete the whole study; its embedded journal and that one's lock too, which hold nothing else."""
        with translated(self.name):
            self._storage.delete_study(self._study_id)
            if self._journal is not None:
                remove_journal(self._journal)

    def set_attribute(self, key: str, value: Any) -> None:
        """Remember a fact of the study as a whole, as JSON values. What has structure is kept from people's view."""
        assert key != MARK and f"{OURS}{key}" != RECIPE
        with translated(self.name):
            structured = isinstance(value, Mapping | list | tuple)
            # One that was structured once is read from there, whatever it is now.
            if structured or f"{OURS}{key}" in self._storage.get_study_system_attrs(self._study_id):
                self._storage.set_study_system_attr(self._study_id, f"{OURS}{key}", value)
            else:
                self._storage.set_study_user_attr(self._study_id, key, value)

    def extend_budget(self, recipe: Mapping[str, Any]) -> None:
        """Replace the resolved recipe by one that differs in its budget only (the caller has checked)."""
        with translated(self.name):
            known = self._storage.get_study_system_attrs(self._study_id)
            objectives = known[_METRICS]
            note = notes.study_note(self.name, recipe, objectives, "" if self._journal else " --storage URL")
            with together(self._storage):
                self._storage.set_study_system_attr(self._study_id, RECIPE, dict(recipe))
                # A study of format 1 is one of format 2 from here on; its recipe was in the mark.
                self._storage.set_study_user_attr(self._study_id, MARK, {"format": FORMAT})
                for key, value in notes.note_attributes(known, None, note).items():
                    self._storage.set_study_system_attr(self._study_id, key, value)

    def begin(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        spec: ArchSpec,
        scores: Mapping[str, Score],
        *,
        repeat_of: int | None = None,
        retry_of: int | None = None,
        measured: JobSpan | None = None,
        sampler_state: Mapping[str, Any] | None = None,
    ) -> int:
        """A trial begins to train; returns its number. With `retry_of` it takes the place of that trial, which has failed."""
        original = None if retry_of is None else self._trial(retry_of)
        assert original is None or original.state == TrialState.FAIL, f"trial {retry_of} has not failed"
        record = {"spec": to_json(spec), "scores": to_json(scores), "repeat_of": repeat_of, "retry_of": retry_of}
        record |= _span_of(measured)
        shown = readable.of_beginning(spec, self._judged(scores), repeat_of, retry_of)
        number = self._add(
            TrialState.RUNNING, params, distributions, record, shown, {**(sampler_state or {}), **constraint(0.0)}
        )
        if original is not None:
            failure, retry = failure_of(original), self._trial(number)
            with translated(self.name), together(self._storage):
                self._note(retry, notes.retry_note(original.number, failure))
                self._note(original, notes.failed_note(failure, retries_of(original), retried_as=number))
        return number

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
        measured: JobSpan | None = None,
    ) -> int:
        """A candidate that breaks a rule or a limit, and was not trained; returns its number."""
        record = {
            "rule": rule,
            "reason": reason,
            "nearest": nearest,
            "spec": None if spec is None else to_json(spec),
            "scores": to_json(scores or {}),
            **_span_of(measured),
        }
        shown = readable.of_infeasible(rule, reason) | readable.of_beginning(spec, self._judged(scores or {}))
        shown |= readable.of_nearest(params, nearest) if nearest is not None else {}
        return self._add(TrialState.PRUNED, params, distributions, record, shown, constraint(1.0))

    def _judged(self, scores: Mapping[str, Score]) -> dict[str, Score]:
        """The scores that are objectives of the study."""
        with translated(self.name):
            objectives = self._storage.get_study_system_attrs(self._study_id)[_METRICS]
        return {name: score for name, score in scores.items() if name in objectives}

    def _add(
        self,
        state: TrialState,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        record: Mapping[str, Any],
        shown: Mapping[str, Any],
        others: Mapping[str, Any],
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
            user_attrs=dict(shown),
            system_attrs={**others, **ours({**record, "params": dict(params)})},
            intermediate_values={},
        )
        with translated(self.name):
            trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
            return self._storage.get_trial_number_from_id(trial_id)

    def finish_rung(self, outcome: Outcome) -> None:
        """A trial was scored at its next rung."""
        assert outcome.ok, "a failed job does not finish a rung"
        trial = self._live(outcome.trial)
        assert outcome.rung == num_rungs(trial), f"trial {outcome.trial}: rung {outcome.rung} is not its next"
        with translated(self.name), together(self._storage):
            self._show(trial, readable.of_rung(outcome))
            if "val_loss" in outcome.scores:
                step = min(outcome.tokens, _LARGEST_STEP)
                self._storage.set_trial_intermediate_value(
                    trial._trial_id, step, readable.rounded(outcome.scores["val_loss"].value)
                )
            # Last: this is what makes the rung one that has happened.
            self._keep(trial, {f"rung:{outcome.rung}": to_json(outcome)})

    def retry(self, number: int, failure: Failure) -> None:
        """A job of a trial ended badly, and is tried again: the trial lives on."""
        trial = self._live(number)
        retries = (*retries_of(trial), failure)
        with translated(self.name), together(self._storage):
            self._note(trial, notes.retried_note(retries))
            self._show(trial, readable.of_retries(len(retries)))
            self._keep(trial, {f"retry:{len(retries) - 1}": to_json(failure)})

    def complete(self, number: int, values: Sequence[float]) -> None:
        """A trial was scored at the last rung, with these objectives in the study's order."""
        trial = self._live(number)
        with translated(self.name):
            self._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, list(values))

    def stop(self, number: int) -> None:
        """A trial does not go on from the rung it has reached."""
        trial = self._live(number)
        last = last_rung(trial)
        with translated(self.name), together(self._storage):
            if last is not None:
                self._show(trial, readable.of_stop(*last))
            self._storage.set_trial_state_values(trial._trial_id, TrialState.PRUNED)

    def reject(self, number: int, rule: str, reason: str) -> None:
        """A trained trial turns out infeasible."""
        trial = self._live(number)
        with translated(self.name), together(self._storage):
            self._note(trial, notes.rejected_note(rule, reason))
            self._show(trial, readable.of_infeasible(rule, reason))
            for key, value in constraint(1.0).items():
                self._storage.set_trial_system_attr(trial._trial_id, key, value)
            self._keep(trial, {"reason": reason, "rule": rule})
            self._storage.set_trial_state_values(trial._trial_id, TrialState.PRUNED)

    def fail(self, number: int, failure: Failure) -> None:
        """A trial ended badly."""
        trial = self._live(number)
        with translated(self.name), together(self._storage):
            self._note(trial, notes.failed_note(failure, retries_of(trial)))
            self._show(trial, readable.of_failure(failure))
            self._keep(trial, {"failure": to_json(failure)})
            self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)

    def _keep(self, trial: FrozenTrial, record: Mapping[str, Any]) -> None:
        for key, value in ours(record).items():
            self._storage.set_trial_system_attr(trial._trial_id, key, value)

    def _show(self, trial: FrozenTrial, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            self._storage.set_trial_user_attr(trial._trial_id, key, value)

    def _note(self, trial: FrozenTrial, text: str) -> None:
        known = self._storage.get_study_system_attrs(self._study_id)
        for key, value in notes.note_attributes(known, trial._trial_id, text).items():
            self._storage.set_study_system_attr(self._study_id, key, value)

    def _trial(self, number: int) -> FrozenTrial:
        with translated(self.name):
            return self._storage.get_trial(self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number))

    def _live(self, number: int) -> FrozenTrial:
        trial = self._trial(number)
        assert trial.state == TrialState.RUNNING, f"trial {number} has ended already, as {trial.state.name}"
        return trial


def _span_of(measured: JobSpan | None) -> dict[str, Any]:
    return {} if measured is None else {"measured": to_json(measured)}


def check_new(name: str, folder: Path, url: str | None) -> None:
    """See that `Ledger.create` may make the study. Leaves alone one that is being created meanwhile.

    Raises:
        StudyError: the name is taken there, by a study of autonas or of another user of the storage.
        StorageError: the storage cannot be reached or read.
    """
    if url is None and not (folder / JOURNAL).exists():
        return
    with translated(url or str(folder / JOURNAL)):
        storage, _ = open_storage(folder, url, create=False)
        try:
            _check_free(storage, name, url or str(folder))
        finally:
            dispose(storage)


def _check_free(storage: BaseStorage, name: str, place: str) -> None:
    study_id = _find(storage, name)
    if study_id is None:
        return
    if _is_readable(storage, study_id):
        raise StudyError(
            f"the study {name!r} exists already in {without_password(place)}. Go on with it (--resume) or give another "
            "--study name."
        )
    raise StudyError(
        f"the name {name!r} is taken in {without_password(place)}, by a study that this version of autonas did not write and "
        "cannot go on with. Give another --study name."
    )


def _find(storage: BaseStorage, name: str, *, blank: bool = False) -> int | None:
    """The id of the named study. One that is blank counts as not there, unless `blank` ones are looked for, and only they.

    A blank one was cut off while it was created, or is being created at this moment: only who creates may delete it.
    """
    try:
        study_id = storage.get_study_id_from_name(name)
        return study_id if _is_blank(storage, study_id) == blank else None
    except KeyError:  # also when whoever creates it has deleted it in between
        return None


def _is_blank(storage: BaseStorage, study_id: int) -> bool:
    """Whether nothing but `Ledger.create` has written in the study, and has not come to its end."""
    if storage.get_study_user_attrs(study_id) or storage.get_all_trials(study_id, deepcopy=False):
        return False
    return all(key == _METRICS or key.startswith((OURS, "dashboard:")) for key in storage.get_study_system_attrs(study_id))


def _is_readable(storage: BaseStorage, study_id: int) -> bool:
    """Whether the study is one of autonas, in a format that this version reads."""
    mark = storage.get_study_user_attrs(study_id).get(MARK)
    return isinstance(mark, dict) and mark.get("format") in FORMATS


def study_names(out: Path, url: str | None) -> list[str]:
    """The studies of autonas in the storage, or else in the folders of `out`, by name.

    Raises:
        StorageError: the storage cannot be reached or read.
    """
    if url is None:
        return sorted(path.parent.name for path in out.glob(f"*/{JOURNAL}") if _may_hold(path.parent))
    with translated(url):
        storage = open_url(url)
        try:
            return sorted(s.study_name for s in storage.get_all_studies() if MARK in s.user_attrs)
        finally:
            dispose(storage)


def _may_hold(folder: Path) -> bool:
    """Whether the folder's journal holds its study, or is damaged; one cut off while it was created holds none."""
    try:
        Ledger.open(folder.name, folder, None).close()
    except StudyError:
        return False
    except StorageError:
        return True  # whoever reads it is told
    return True
