from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autonas.arch import ArchSpec
from autonas.errors import InfeasibleArch, RecipeError, ResourceError
from autonas.evaluation.latency_cache import (
    LatencyResult,
    load_table,
    look_up,
    read_cached,
    table_entry,
    write_cached,
)
from autonas.trial import Score

SPEC = ArchSpec(layers=1, width=8, heads=1, kv_heads=1)
OTHER = ArchSpec(layers=2, width=8, heads=1, kv_heads=1)
STAMPS = {"device": "a board", "context": "256", "batch": "1"}


def result_of(value: float = 1.5, stamps: dict[str, str] = STAMPS) -> LatencyResult:
    score = Score(value=value, low=value * 0.9, high=value * 1.1, unit="ms/token", n=21, note="x")
    return LatencyResult(decode=score, prefill=Score.exact(9.0, "ms"), prefill_short=None, stamps=stamps)


def test_an_answer_is_found_by_its_question_alone(own_cache: Path) -> None:
    question = {"spec": "a", "device": "b"}
    assert read_cached(question) is None
    write_cached(question, result_of())
    assert read_cached(dict(reversed(question.items()))) == result_of()
    assert read_cached({**question, "device": "c"}) is None
    assert own_cache.exists()


def test_an_entry_torn_at_any_byte_counts_as_absent_and_is_overwritten(own_cache: Path) -> None:
    question = {"spec": "a"}
    write_cached(question, result_of())
    (path,) = own_cache.glob("latency/arch-*.json")
    whole = path.read_bytes()
    for length in range(len(whole) - 1):
        path.write_bytes(whole[:length])
        assert read_cached(question) is None
    path.write_bytes(b"\xff\xfe" + whole)
    assert read_cached(question) is None
    path.write_text(json.dumps({"question": question, "answer": {"decode": 3}}))
    assert read_cached(question) is None
    write_cached(question, result_of())
    assert read_cached(question) == result_of()


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("AUTONAS_CACHE", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match="file"):
        write_cached({"spec": "a"}, result_of())


def written(tmp_path: Path, values: Any) -> Path:
    path = tmp_path / "table.json"
    path.write_text(values if isinstance(values, str) else json.dumps(values))
    return path


def test_a_table_answers_for_every_spec_of_the_same_inference(tmp_path: Path) -> None:
    path = written(tmp_path, [table_entry(SPEC, result_of(1.0)), table_entry(OTHER, result_of(2.0))])
    table = load_table(path)
    with_dropout = ArchSpec(layers=2, width=8, heads=1, kv_heads=1, residual_dropout=0.3)
    assert look_up(table, with_dropout, path) == result_of(2.0)
    assert load_table(written(tmp_path, table_entry(SPEC, result_of()))) == {SPEC.inference_fingerprint: result_of()}
    with pytest.raises(InfeasibleArch, match="autonas latency --spec") as caught:
        look_up(table, ArchSpec(layers=3, width=8, heads=1, kv_heads=1), path)
    assert caught.value.rule == "latency table"


def changed(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    entry = table_entry(SPEC, result_of())
    change(entry)
    return entry


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ("{", "not JSON"),
        ("[]", "empty"),
        ("3", "entry 0 is not an object"),
        ([{"spec": {}}], "entry 0 is not an object"),
        ([changed(lambda entry: entry["spec"].update(heads=3))], "entry 0: width 8 is not a multiple"),
        ([changed(lambda entry: entry["spec"].update(colour=3))], "colour"),
        ([changed(lambda entry: entry["latency"].pop("decode"))], "lacks 'decode'"),
        ([changed(lambda entry: entry["latency"]["decode"].update(value="fast"))], "'fast'"),
        ([changed(lambda entry: entry["latency"]["decode"].update(value=0, low=0))], "cannot be"),
        ([changed(lambda entry: entry["latency"]["decode"].update(low=7.0))], "interval"),
        ([table_entry(SPEC, result_of()), table_entry(SPEC, result_of())], "entry 1 is an architecture the table already has"),
        (
            [table_entry(SPEC, result_of()), table_entry(OTHER, result_of(stamps={**STAMPS, "batch": "8"}))],
            "entry 1 was measured with batch '8', the first with '1'",
        ),
    ],
)
def test_a_wrong_table_is_one_message_that_names_file_and_entry(tmp_path: Path, values: Any, word: str) -> None:
    path = written(tmp_path, values)
    with pytest.raises(RecipeError) as caught:
        load_table(path)
    assert word in str(caught.value) and str(path) in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.json"):
        load_table(tmp_path / "none.json")


def test_needs_no_torch() -> None:
    code = "import sys, autonas.evaluation.latency_cache; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
