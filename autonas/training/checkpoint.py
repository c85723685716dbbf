"""A whole TrainState, or a model alone, as one file. Which to keep is not decided here; how they are sealed is in seal.py."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autonas.arch import ArchSpec
from autonas.data.batches import Windows
from autonas.errors import CheckpointError
from autonas.model.transformer import Transformer, build_model
from autonas.training.optimizers import moments, set_moments
from autonas.training.schedule import Schedule
from autonas.training.seal import read_sealed, write_sealed
from autonas.training.snapshot import Kept, Snapshot, copy_all, memory
from autonas.training.state import Rollback, TrainState
from autonas.trial import TrainingSettings, from_json, to_json


def save(path: str | os.PathLike[str], state: TrainState) -> None:
    """Write `state` to `path`, all or nothing: whatever happens meanwhile, `path` is the old file or the new one.

    A process killed while it writes leaves a temporary `.<name>.<pid>.tmp` beside it, which may be deleted.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written.
    """
    tensors = {f"model.{name}": value for name, value in _weights(state.model).items()}
    tensors.update({f"optimizer.{name}": value for name, value in moments(state.optimizer)})
    copies = {} if state.kept is None else state.kept.by_name()
    for name, copy in copies.items():
        tensors.update({f"{name}.{number}": value for number, value in enumerate(copy.tensors)})
    about = _identity(state) | {
        "tokens": state.tokens,
        "schedule": to_json(state.schedule),
        "guard": state.guard.state(),
        "watch": state.watch.state(),
        "paths": dict(state.paths),
        "probes": state.probes,
        "rollbacks": to_json(state.rollbacks),
        "copies": {name: {"tokens": copy.tokens, "notes": copy.notes} for name, copy in copies.items()},
    }
    write_sealed(Path(path), tensors, about)


def load(path: str | os.PathLike[str], state: TrainState) -> None:
    """Put what `save` wrote to `path` into `state`, which was made for the same model, data, settings and seeds.

    The schedule comes from the file too: a fork goes on as a fork. `state` is untouched when this raises.

    Raises:
        CheckpointError: the file is missing, damaged, of another version, architecture, data set, seed or settings.
    """
    about, tensors = read_sealed(Path(path))
    _expect_kind(path, about, "training")
    identity = json.loads(json.dumps(_identity(state)))
    found = {**about, "settings": _with_defaults(about.get("settings"))}
    for name, expected in identity.items():
        if found.get(name) != expected:
            raise CheckpointError(
                f"{path}: {_difference(name, found.get(name), expected)}. Remove it, or ask for what it holds."
            )
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    _check_shapes(path, state.model, weights)
    schedule = from_json(Schedule, about["schedule"])
    kept = _kept(path, state, about.get("copies", {}), tensors)
    _put_weights(state.model, weights)
    set_moments(
        state.optimizer,
        {name.removeprefix("optimizer."): value for name, value in tensors.items() if name.startswith("optimizer.")},
    )
    state.schedule = schedule
    state.guard.restore(about["guard"])
    state.tokens = about["tokens"]
    # A file of an earlier version does not say the rest.
    state.paths = Counter(about.get("paths", {}))
    if "watch" in about:
        state.watch.restore(about["watch"])
    state.probes = [(tokens, loss) for tokens, loss in about.get("probes", [])]
    state.rollbacks = [from_json(Rollback, values) for values in about.get("rollbacks", [])]
    state.kept = kept


def save_model(path: str | os.PathLike[str], model: Transformer, note: Mapping[str, Any] | None = None) -> None:
    """Write the weights of `model` with its spec, and `note` (JSON values), as `save` does.

    Raises:
        ResourceError: the disk is full, or the folder cannot be written.
    """
    tensors = {f"model.{name}": value for name, value in _weights(model).items()}
    write_sealed(Path(path), tensors, {"kind": "model", "spec": model.spec.to_dict(), "note": dict(note or {})})


def load_model(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> tuple[Transformer, dict[str, Any]]:
    """The model that `save_model` or `save` wrote, on `device`, and the note that was saved with it.

    Raises:
        CheckpointError: the file is missing, damaged or of another version.
    """
    about, tensors = read_sealed(Path(path))
    model = build_model(ArchSpec.from_dict(about["spec"]), seed=0)
    weights = {name.removeprefix("model."): value for name, value in tensors.items() if name.startswith("model.")}
    _check_shapes(path, model, weights)
    _put_weights(model, weights)
    return model.to(device), dict(about.get("note", {}))


def load_note(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The note that was saved with a model.

    Raises:
        CheckpointError: the file is missing, damaged or of another version.
    """
    about, _ = read_sealed(Path(path))
    return dict(about.get("note", {}))


def _identity(state: TrainState) -> dict[str, Any]:
    """What must be the same for a training to go on as if it had never stopped."""
    return {
        "kind": "training",
        "spec": state.model.spec.to_dict(),
        "settings": _lasting(state.settings),
        "seed": state.seed,
        "data_fingerprint": state.data_fingerprint,
        "data_windows": state.windows.num_windows,
        "data_order": _order(state.windows),
    }


def _lasting(settings: TrainingSettings) -> dict[str, Any]:
    """What of the settings must be the same: all but the limits, which say nothing of what is learned."""
    return {name: value for name, value in to_json(settings).items() if name not in TrainingSettings.LIMITS}


def _with_defaults(settings: Any) -> Any:
    """Training settings as a file has them, with the defaults of what later versions have added: it was done so then."""
    try:
        return _lasting(from_json(TrainingSettings, settings))
    except ValueError:
        return settings


def _kept(
    path: str | os.PathLike[str], state: TrainState, notes: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Kept | None:
    """The copies to go back to that the file holds, on the model's device."""
    if "good" not in notes:
        return None
    now = memory(state.optimizer)
    copies = {}
    for name, about in notes.items():
        values = [tensors.get(f"{name}.{number}") for number in range(len(now))]
        if [None if value is None else value.shape for value in values] != [value.shape for value in now]:
            raise CheckpointError(f"{path}: the copies in it do not fit the architecture it names. Remove it.")
        there = [torch.empty_like(value) for value in now]
        copy_all((value for value in values if value is not None), there)
        copies[name] = Snapshot(tokens=about["tokens"], notes=about["notes"], tensors=there)
    return Kept(copies["good"], copies.get("recent"))


def _order(windows: Windows) -> str:
    """A digest of the first windows: another corpus, tokenizer, data seed or curriculum gives another one."""
    whole = windows.name.encode() if windows.content else b""
    return hashlib.sha256(windows.take(0, 8).tobytes() + whole).hexdigest()[:12]


def _difference(name: str, found: object, expected: object) -> str:
    """In words, the first thing in which the file is not what was asked for."""
    title = {"spec": "another architecture", "settings": "other training settings", "kind": "another kind of file"}
    text = title.get(name, "another training")
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in sorted(found.keys() | expected.keys()):
            if found.get(key) != expected.get(key):
                return f"a checkpoint of {text}: {key} is {found.get(key)!r} there and {expected.get(key)!r} here"
    return f"a checkpoint of {text}: {name} is {found!r} there and {expected!r} here"


def _expect_kind(path: str | os.PathLike[str], about: Mapping[str, Any], kind: str) -> None:
    if about["kind"] != kind:
        raise CheckpointError(f"{path}: holds a {about['kind']}, not a {kind}; it cannot be continued.")


def _weights(model: Transformer) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in model.named_parameters()}


def _check_shapes(path: str | os.PathLike[str], model: Transformer, weights: Mapping[str, Tensor]) -> None:
    expected = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    if {name: tuple(weight.shape) for name, weight in weights.items()} != expected:
        raise CheckpointError(
            f"{path}: its weights do not fit the architecture it names. Remove it; it was written by other code."
        )


@torch.no_grad()
def _put_weights(model: Transformer, weights: Mapping[str, Tensor]) -> None:
    for name, weight in model.named_parameters():
        weight.copy_(weights[name])
