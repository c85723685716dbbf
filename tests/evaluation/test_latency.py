"""The protocol's logic is tested in test_timing.py on recorded times; here real ones are taken and need only be sane."""

from __future__ import annotations

import dataclasses
import gc
import json
import re
from pathlib import Path

import pytest
import torch

from autonas.arch import ArchSpec
from autonas.errors import DeviceError, InfeasibleArch
from autonas.evaluation import latency
from autonas.evaluation.latency import latency_stamps, measure_latency, measured_latency, resolve_device, resolve_dtype
from autonas.evaluation.latency_cache import LatencyResult, load_table, table_entry
from autonas.model.transformer import build_model
from autonas.trial import LatencySettings, Score, to_json

SMALL = ArchSpec(layers=1, width=16, heads=2, kv_heads=1, vocab_size=128, context_length=96)
LARGE = ArchSpec(layers=6, width=128, heads=4, kv_heads=4, vocab_size=512, context_length=96)
SETTINGS = LatencySettings(device="cpu", context=96)


def test_a_measurement_is_sane_and_leaves_the_process_as_it_was(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # One attempt, however noisy this machine is at the moment.
    monkeypatch.setattr(latency, "_CPU", dataclasses.replace(latency._CPU, repeats=0))
    threads = torch.get_num_threads()
    small, large = measure_latency(SMALL, SETTINGS), measure_latency(LARGE, SETTINGS)
    for result in (small, large):
        assert 0 < result.decode.low <= result.decode.value <= result.decode.high < 1000
        assert result.prefill_short is not None and result.prefill_short.unit == result.prefill.unit == "ms"
        assert result.stamps["dtype"] == "float32" and result.stamps["context"] == "96"
    assert large.decode.value > small.decode.value  # six times the layers, eight times the width
    assert torch.get_num_threads() == threads and gc.isenabled() and torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    # The reference's time is stored once for each of the three things that are timed.
    assert len(list(own_cache.glob("latency/reference-*.json"))) == 3


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[ArchSpec]:
    """The architectures really measured; the measuring itself is done once."""
    measured: list[ArchSpec] = []

    def measure(spec: ArchSpec, settings: LatencySettings) -> LatencyResult:
        measured.append(spec)
        score = Score.exact(float(len(measured)), "ms")
        return LatencyResult(decode=score, prefill=score, stamps=latency_stamps(spec, settings))

    monkeypatch.setattr(latency, "_measure", measure)
    return measured


def test_an_architecture_is_measured_once_whatever_its_regularisation(own_cache: Path, counted: list[ArchSpec]) -> None:
    first = measured_latency(SMALL, SETTINGS)
    assert measured_latency(dataclasses.replace(SMALL, residual_dropout=0.2, learning_rate=1e-3), SETTINGS) == first
    assert len(counted) == 1
    measured_latency(dataclasses.replace(SMALL, tied_embeddings=False), SETTINGS)
    assert len(counted) == 2


@pytest.mark.parametrize("change", [{"threads": 2}, {"batch": 4}, {"context": 64}, {"dtype": "bfloat16"}])
def test_other_settings_are_another_question(own_cache: Path, counted: list[ArchSpec], change: dict[str, object]) -> None:
    measured_latency(SMALL, SETTINGS)
    measured_latency(SMALL, dataclasses.replace(SETTINGS, **change))  # type: ignore[arg-type]
    assert len(counted) == 2


def test_a_table_answers_and_nothing_is_measured(own_cache: Path, tmp_path: Path, counted: list[ArchSpec]) -> None:
    made = measured_latency(SMALL, SETTINGS)
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table_entry(SMALL, made)))
    from_table = dataclasses.replace(SETTINGS, table=str(path), device="cuda:7")
    assert to_json(measured_latency(SMALL, from_table)) == to_json(made)
    with pytest.raises(InfeasibleArch, match=r"table\.json"):
        measured_latency(LARGE, from_table)
    assert len(counted) == 1


def test_one_step_attends_to_the_whole_context_every_time() -> None:
    model = build_model(SMALL, 0).eval()
    with torch.inference_mode():
        steps = latency._DecodeSteps(model, batch=2, context=96)
        assert steps(7) > 0 and steps(3) > 0
    assert steps._cache.longest == 96


def test_prefill_starts_from_an_empty_cache_every_time() -> None:
    with torch.inference_mode():
        prefills = latency._Prefills(build_model(SMALL, 0).eval(), batch=2, tokens=40)
        assert prefills(5) > 0
    assert prefills._cache.longest == 40


@pytest.mark.parametrize("position", ["rope", "alibi", "learned"])
def test_every_kind_of_position_can_be_timed(position: str) -> None:
    model = build_model(dataclasses.replace(SMALL, position=position), 0).eval()
    with torch.inference_mode():
        assert latency._DecodeSteps(model, batch=1, context=96)(2) > 0
        assert latency._Prefills(model, batch=1, tokens=96)(2) > 0


def test_the_context_is_no_longer_than_the_model_s() -> None:
    assert latency_stamps(SMALL, LatencySettings(device="cpu", context=4096))["context"] == "96"


def test_a_context_without_room_for_a_token_is_infeasible(own_cache: Path) -> None:
    with pytest.raises(InfeasibleArch, match="at least 2"):
        measure_latency(SMALL, dataclasses.replace(SETTINGS, context=1))


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:99", ""])
def test_a_device_that_is_not_here_is_named(name: str) -> None:
    with pytest.raises(DeviceError, match=f"device '{name}'"):
        resolve_device(name)


def test_auto_is_float32_on_a_processor() -> None:
    cpu = torch.device("cpu")
    assert resolve_dtype("auto", cpu) is torch.float32 and resolve_dtype("bfloat16", cpu) is torch.bfloat16


def test_a_measurement_says_at_what_clock_and_a_table_takes_another(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "_CPU", dataclasses.replace(latency._CPU, repeats=0, watch_s=0.1))
    result = measure_latency(SMALL, LatencySettings(device="cpu", context=32))
    assert re.fullmatch(r"\d+( MHz|–\d+ MHz)|unknown", result.stamps["clock"])
    table = tmp_path / "table.json"
    other = dataclasses.replace(result, stamps={**result.stamps, "clock": "1 MHz"})
    entries = [table_entry(SMALL, result), table_entry(dataclasses.replace(SMALL, layers=SMALL.layers + 1), other)]
    table.write_text(json.dumps(entries))
    assert len(load_table(table)) == 2
