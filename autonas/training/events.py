"""A run's curve as TensorBoard reads it: the lines of metrics.jsonl as an event file, by tokens. The home of tensorboardX.

Its format is TFRecord: length, masked CRC, an `Event`, masked CRC. There is always one file, which is whole: where a training
goes on or back, it is written anew, and begins by telling a TensorBoard that looks on to forget what it has read.
"""

from __future__ import annotations

import itertools
import math
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from autonas.data.cache import write_file

FOLDER: Final = "tensorboard"
# Names in a line of metrics.jsonl, and in TensorBoard. Steps are tokens.
SCALARS: Final = {
    "loss": "loss/training",
    "val_loss": "loss/validation",
    "val_low": "loss/validation_low",
    "val_high": "loss/validation_high",
    "solution_loss": "loss/validation_solutions",
    "solution_low": "loss/validation_solutions_low",
    "solution_high": "loss/validation_solutions_high",
    "learning_rate": "training/learning_rate",
    "gradient_norm": "training/gradient_norm",
    "tokens_per_s": "training/tokens_per_s",
}
GENERATION: Final = ("degeneration", "collapse_rate", "empty", "distinct_1", "distinct_2", "entropy")


class EventFile:
    """The event file in `run`/tensorboard: these points of metrics.jsonl to begin with, and those that are added."""

    def __init__(self, run: Path, points: Iterable[Mapping[str, Any]] = ()) -> None:
        """Nothing is written before there is a point to add: a run that cannot go on leaves what is there."""
        self._run, self._points = run, list(points)
        self.path: Path | None = None

    def add(self, point: Mapping[str, Any]) -> None:
        """One more point; it is in the file when this returns."""
        if self.path is None:
            self.path = self._begin([*self._points, point])
            self._points = []
            return
        with self.path.open("ab") as file:
            file.write(_record_of(point))

    def _begin(self, points: Iterable[Mapping[str, Any]]) -> Path:
        """A new file in the place of what there was."""
        return replace_events(self._run / FOLDER, map(_record_of, points))


def load_library() -> None:
    """Import tensorboardX without torch, which it would import for drawings of models: a controller does without."""
    left_out = "torch" not in sys.modules
    if left_out:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import tensorboardX  # noqa: F401
    finally:
        if left_out:
            del sys.modules["torch"]


def replace_events(folder: Path, records: Iterable[bytes]) -> Path:
    """An event file of these records, whole, in the place of what there was in `folder`; returns where."""
    folder.mkdir(parents=True, exist_ok=True)
    before = sorted(folder.glob("events.out.tfevents.*"))
    # TensorBoard goes through a folder's files in the order of their names, and does not go back.
    number = 1 + max((int(path.name.split(".")[3]) for path in before if path.name.split(".")[3].isdecimal()), default=0)
    path = folder / f"events.out.tfevents.{max(number, int(time.time())):010d}.autonas"
    write_file(path, b"".join(itertools.chain(_beginning(), records)))
    for earlier in before:
        earlier.unlink(missing_ok=True)
    return path


def scalars_record(tokens: int, values: Mapping[str, float]) -> bytes:
    """Numbers by their names in TensorBoard, at so many tokens."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    shown = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
    return _record(Event(wall_time=time.time(), step=tokens, summary=Summary(value=shown)))


def hparams_records(settings: Mapping[str, Any], metrics: Sequence[str], *, ended: bool) -> Iterator[bytes]:
    """The settings of one training and the names of the scalars that it is judged by, for TensorBoard's HPARAMS page."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import hparams

    experiment, begun, end = hparams(dict(settings), dict.fromkeys(metrics))
    for summary in (experiment, begun, *([end] if ended else [])):
        yield _record(Event(wall_time=time.time(), summary=summary))


def values_of(point: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a point of metrics.jsonl by their names in TensorBoard."""
    look = point.get("generation", {})
    found = {name: point.get(key) for key, name in SCALARS.items()}
    found |= {f"generation/{key}": look.get(key) for key in GENERATION}
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def texts_of(point: Mapping[str, Any]) -> dict[str, str]:
    """What a point says in words, as Markdown: a sample of what the model writes, or why the training went back."""
    found = {"rollback": point["rollback"]} if "rollback" in point else {}
    sample = point.get("generation", {}).get("sample")
    if sample is not None:
        lines = (sample["prompt"] + sample["text"]).splitlines()
        found["generation/sample"] = "\n".join(f"    {line}" for line in lines)  # as code
    return found


def _beginning() -> Iterator[bytes]:
    from tensorboardX.proto.event_pb2 import Event, SessionLog

    yield _record(Event(wall_time=time.time(), file_version="brain.Event:2"))
    # Purges what TensorBoard has read of steps from this one on.
    yield _record(Event(wall_time=time.time(), step=0, session_log=SessionLog(status=SessionLog.START)))


def _record_of(point: Mapping[str, Any]) -> bytes:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import text

    values = [Summary.Value(tag=name, simple_value=value) for name, value in values_of(point).items()]
    values += [value for name, words in texts_of(point).items() for value in text(name, words).value]
    return _record(Event(wall_time=time.time(), step=int(point["tokens"]), summary=Summary(value=values)))


def _record(event: Any) -> bytes:
    from tensorboardX.record_writer import masked_crc32c

    data: bytes = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join((length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data))))
