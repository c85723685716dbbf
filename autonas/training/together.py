"""How many trainings to run at once on one CUDA device: by a table of when that pays, and by memory.

A small model's step is so many short kernels that most of the device is idle; those of others fill it. A large one fills it
alone, and two of them only get into each other's way. The table is what `autonas bench gpu` measures, for that device and
version of torch; until then trainings follow one another. A gain below `LEAST_GAIN` is none, so that nothing is slower.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from autonas import cost
from autonas.arch import ArchSpec
from autonas.data.cache import key_of, write_file
from autonas.floor import Floor, at_once
from autonas.machine import cache_folder
from autonas.training.loop import Progress, train
from autonas.training.state import TrainState
from autonas.training.streams import own_stream
from autonas.trial import TrainingSettings, from_json, to_json

MEMORY_MARGIN: Final = 1.5  # over the estimate: a fork beside its trunk, workspaces, fragments
LEAST_GAIN: Final = 1.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Trainings of at most this width and so many tokens a step: so many at once."""

    width: int
    step_tokens: int
    at_once: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """What a training is by which it is judged."""

    spec: ArchSpec
    step_tokens: int
    training: TrainingSettings | None = None  # what else takes memory; None: AdamW without copies to go back to


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Measured: how many times as fast `at_once` trainings end together as one after the other."""

    width: int
    step_tokens: int
    at_once: int
    gain: float


Table = tuple[Row, ...]

UNMEASURED: Final[Table] = ()  # one at a time


def member(spec: ArchSpec, settings: TrainingSettings) -> Member:
    """The training of `spec` as `settings` have it."""
    windows = (spec.batch_tokens or settings.batch_tokens) // spec.context_length
    return Member(spec=spec, step_tokens=windows * spec.context_length, training=settings)


def together(members: Sequence[Member], free_bytes: int, table: Table = UNMEASURED) -> int:
    """How many of `members`, from the first, to train at once: as many as pay for each of them and fit; at least one.

    A model with dropout trains alone: graphs draw masks by the device's one generator, and up to torch 2.11 by one pair of
    seed and offset on the device, which the replays of another would overwrite.
    """
    count, taken, most = 0, 0.0, len(members)
    for one in members:
        drops = bool(one.spec.attention_dropout or one.spec.residual_dropout)
        most = min(most, 1 if drops else _at_once(one, table))
        taken += MEMORY_MARGIN * cost.training_bytes(one.spec, one.step_tokens, one.training)
        if count >= most or taken > free_bytes:
            break
        count += 1
    return max(count, 1)


def _at_once(one: Member, table: Table) -> int:
    """By the narrowest row that holds `one`; what is larger than all of them trains alone."""
    holding = [row for row in table if one.spec.width <= row.width and one.step_tokens <= row.step_tokens]
    return min(holding, key=lambda row: (row.width, row.step_tokens)).at_once if holding else 1


def train_together(
    states: Sequence[TrainState], until_tokens: Sequence[int], streams: Sequence[torch.cuda.Stream | None] = ()
) -> list[list[Progress] | BaseException]:
    """Train each state until so many tokens in all, step about; the progress of each, or how it failed.

    One that fails ends alone. `streams`, one for each state, are given again where the states were trained by them before.
    """
    asked = zip(states, until_tokens, streams or [None] * len(states), strict=True)
    return at_once([functools.partial(_train_beside, *each) for each in asked])


def _train_beside(state: TrainState, until_tokens: int, stream: torch.cuda.Stream | None, floor: Floor) -> list[Progress]:
    def pass_on() -> bool:
        floor.pass_on()
        return False

    with own_stream(state.device, stream):
        return list(train(state, until_tokens=until_tokens, stop=pass_on, aside=floor.aside))


def usable_bytes(device: torch.device) -> int:
    """What this process may have of a CUDA device's memory: what is free, and what it has already."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device)


def table_of(gains: Iterable[Gain]) -> Table:
    """For each shape that was measured the number with the largest gain; one where none is worth it."""
    best: dict[tuple[int, int], Gain] = {}
    for gain in gains:
        shape = (gain.width, gain.step_tokens)
        if shape not in best or gain.gain > best[shape].gain:
            best[shape] = gain
    return tuple(
        Row(width=width, step_tokens=step_tokens, at_once=gain.at_once if gain.gain >= LEAST_GAIN else 1)
        for (width, step_tokens), gain in sorted(best.items())
    )


def remember_gains(device: torch.device, gains: Sequence[Gain]) -> None:
    """Let `known_table` have what was measured on `device`. Raises ResourceError."""
    write_file(_path(device), json.dumps(to_json(gains), indent=1).encode())


def known_table(device: torch.device) -> Table:
    """By what was measured on such a device with this torch; `UNMEASURED` where nothing was."""
    with contextlib.suppress(OSError, ValueError):
        values = json.loads(_path(device).read_text(encoding="utf-8"))
        return table_of([from_json(Gain, value) for value in values])
    return UNMEASURED


def _path(device: torch.device) -> Path:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return cache_folder() / "together" / f"{key_of(name, torch.__version__)}.json"
