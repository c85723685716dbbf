"""Event files read back by the description of their format, and held against metrics.jsonl."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog


def crc32c(data: bytes) -> int:
    """Castagnoli's polynomial, bit by bit (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def events(file: Path) -> Iterator[Any]:
    """Every event of a file whose sums are all right."""
    content = file.read_bytes()
    while content:
        (length,), (check,) = struct.unpack("<Q", content[:8]), struct.unpack("<I", content[8:12])
        data, (data_check,) = content[12 : 12 + length], struct.unpack("<I", content[12 + length : 16 + length])
        assert check == masked(content[:8])
        assert data_check == masked(data)
        yield Event.FromString(data)
        content = content[16 + length :]


def check_events(run: Path) -> None:
    """What TensorBoard will show of a run is what its metrics.jsonl says, point by point, and nothing beside it."""
    (file,) = (run / "tensorboard").iterdir()
    version, start, *told = events(file)
    assert version.file_version == "brain.Event:2"
    assert (start.session_log.status, start.step) == (SessionLog.START, 0)
    points = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [event.step for event in told] == [point["tokens"] for point in points]
    for event, point in zip(told, points, strict=True):
        values = {value.tag: value for value in event.summary.value}
        scalars = {tag: value.simple_value for tag, value in values.items() if not value.HasField("tensor")}
        expected = {
            "loss/training": point.get("loss"),
            "loss/validation": point.get("val_loss"),
            "loss/validation_low": point.get("val_low"),
            "loss/validation_high": point.get("val_high"),
            "training/learning_rate": point.get("learning_rate"),
            "training/gradient_norm": point.get("gradient_norm"),
            "training/tokens_per_s": point.get("tokens_per_s"),
        }
        look = dict(point.get("generation", {}))
        sample = look.pop("sample", None)
        for name in ("hits", "collapsed", "real", "variety"):
            look.pop(name, None)
        expected |= {f"generation/{name}": value for name, value in look.items()}
        assert scalars == pytest.approx({tag: value for tag, value in expected.items() if value is not None}, rel=1e-6)
        texts = {tag: value.tensor.string_val[0].decode() for tag, value in values.items() if value.HasField("tensor")}
        if sample is not None:
            shown = texts.pop("generation/sample/text_summary")
            assert [line[4:] for line in shown.splitlines()] == (sample["prompt"] + sample["text"]).splitlines()
        if "rollback" in point:
            assert texts.pop("rollback/text_summary") == point["rollback"]
        assert not texts
