"""The bench of recipes: equal compute by arithmetic, and its rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from autonas import cost
from autonas.bench import recipes
from autonas.data.dataset import CorpusSettings


def test_every_way_is_measured_at_equal_compute(code_corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = dataclasses.replace(recipes.STUDENT, layers=1, width=16, heads=1, kv_heads=1, vocab_size=300)
    teacher = dataclasses.replace(student, width=32)
    for name, value in {
        "CORPUS": CorpusSettings(paths=(f"{code_corpus}/**/*.py",)),
        "STUDENT": student,
        "TEACHER": teacher,
        "TOKENS": 16_384,
        "TEACHER_TOKENS": 16_384,
        "JUDGE_TOKENS": 10_240,
    }.items():
        monkeypatch.setattr(recipes, name, value)
    found = recipes.measure(seeds=2, device="cpu", threads=1)
    tokens = found.conditions["tokens"]
    flops = cost.training_flops_per_token(student) + cost.forward_flops_per_token(teacher)
    assert tokens["distilled"] * flops == pytest.approx(tokens["plain"] * cost.training_flops_per_token(student), rel=1e-3)
    assert tokens["as few tokens, plain"] == tokens["distilled"] < tokens["plain"] == tokens["easy first"]
    assert [row.metric for row in found.rows[:3]] == [
        "loss on files: plain",
        "loss on files: easy first - plain",
        "loss on files: functions at the end - plain",
    ]
    assert len(found.rows) == 10
    for row in found.rows[1:5]:
        assert row.ours is not None and row.low is not None and row.high is not None and row.low <= row.ours <= row.high
