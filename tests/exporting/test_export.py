"""`autonas export`: whole folders or none, their records and cards, what is refused, and that the card's code runs."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import autonas
from autonas import cli
from autonas.errors import CheckpointError, CorpusError, ExportError, InfeasibleArch, RequestError, StudyError
from autonas.exporting import export as exporting
from autonas.exporting import formats, gguf_file, plain
from autonas.loaded_run import load_run
from autonas.run_folder import EXPORTS, read_exports
from tests.exporting.conftest import LLAMA, Make, said_by_card

ALL = ("safetensors", "hf", "onnx", "gguf")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def command(*arguments: str) -> tuple[int, str, str]:
        handler = signal.getsignal(signal.SIGTERM)
        try:
            code = cli.main(["export", *arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        finally:
            signal.signal(signal.SIGTERM, handler)
        out, err = capsys.readouterr()
        return code, out, err

    return command


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every format, with int8 where there is one. Without llama.cpp, installed or not: it has a slow test of its own."""
    out = tmp_path_factory.mktemp("exported") / "all"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf_file, "has_llama", lambda: False)
        autonas.export(run, format="all", out=out, int8=True)
    return out


def test_every_format_has_its_record_and_its_card(exported: Path, run: Path) -> None:
    assert sorted(each.name for each in exported.iterdir()) == sorted(ALL)
    validation = json.loads((run / "evaluation.json").read_text())["scores"]["val_loss"]["value"]
    for name in ALL:
        record = json.loads((exported / name / "parity.json").read_text())
        parity = record["parity"]
        assert record["format"] == name and parity["largest_difference"] <= parity["tolerance"]
        assert parity["tokens_compared"] >= 8 * 32 - 32 * len(parity["near_ties"])
        assert parity["source"].startswith("validation tokens of the data set")
        assert (record["int8"] is not None) == (name in ("onnx", "gguf"))
        for file, size in record["files"].items():
            assert (exported / name / file).stat().st_size == size
        card = (exported / name / "README.md").read_text()
        _, head, body = card.split("---\n", 2)
        assert yaml.safe_load(head)["pipeline_tag"] == "text-generation"
        assert yaml.safe_load(head)["license"] == "unknown"
        for section in ("How to use", "Data", "Training", "Scores", "Alarms and notes", "Parity"):
            assert f"\n## {section}\n" in body, section
        assert f"| val_loss | {validation:.4g} |" in body
        assert "unknown (" in body or "PSF-2.0 (" in body, "the licences of the corpus are told"
        assert f"{parity['tokens_compared']:,} greedy tokens" in body
    assert "LlamaForCausalLM" in (exported / "hf" / "README.md").read_text()


@pytest.mark.parametrize("name", ["onnx", "gguf"])
def test_the_loss_of_int8_is_measured_beside_that_of_float32(exported: Path, run: Path, name: str) -> None:
    small = json.loads((exported / name / "parity.json").read_text())["int8"]
    assert small["bytes"] == (exported / name / small["file"]).stat().st_size < small["float_bytes"]
    validation = json.loads((run / "evaluation.json").read_text())["scores"]["val_loss"]
    assert small["float_val_loss"]["value"] == pytest.approx(validation["value"], abs=2e-3), "the run's own, on the same tokens"
    difference = small["difference"]
    assert difference["value"] == pytest.approx(small["val_loss"]["value"] - small["float_val_loss"]["value"], abs=1e-9)
    assert difference["low"] < difference["value"] < difference["high"] and difference["value"] != 0.0


def test_parity_says_where_llama_cpp_was_not_run(exported: Path) -> None:
    record = json.loads((exported / "gguf" / "parity.json").read_text())
    assert "llama.cpp was not run" in record["parity"]["note"] and "was not run" in record["parity"]["runtime"]
    assert "llama.cpp was not run" in (exported / "gguf" / "README.md").read_text()


@pytest.mark.parametrize("name", ["safetensors", "hf"])
def test_what_was_exported_is_loaded_again_bit_by_bit(exported: Path, run: Path, name: str) -> None:
    ours, theirs = load_run(run), autonas.load(exported / name)
    assert theirs.spec == ours.spec and theirs.tokenizer.fingerprint == ours.tokenizer.fingerprint
    window = list(range(60))
    np.testing.assert_array_equal(plain.OwnRuntime(ours).logits(window), plain.OwnRuntime(theirs).logits(window))


@pytest.mark.parametrize("name", ["safetensors", "hf", "onnx"])
def test_the_code_of_the_card_runs_and_completes_as_we_do(exported: Path, run: Path, name: str) -> None:
    loaded = load_run(run)
    prompt = loaded.tokenizer.encode("def add(a, b):")
    made = plain.OwnRuntime(loaded).greedy(prompt, 32)
    made = made[: made.index(loaded.tokenizer.end_of_text)] if loaded.tokenizer.end_of_text in made else made
    assert said_by_card(exported / name).startswith(loaded.tokenizer.decode([*prompt, *made])[:60])


@pytest.mark.slow
def test_gguf_runs_in_llama_cpp_as_the_card_says(run: Path, tmp_path: Path) -> None:
    if not gguf_file.has_llama():
        pytest.skip("llama-cpp-python is not installed; `make test-slow` builds it")
    [record] = autonas.export(run, format="gguf", out=tmp_path / "out", int8=True)
    assert record["parity"]["runtime"].startswith("llama-cpp-python") and record["parity"]["note"] == ""
    assert record["int8"]["note"] == ""
    loaded = load_run(run)
    prompt = loaded.tokenizer.encode("def add(a, b):")
    made = plain.OwnRuntime(loaded).greedy(prompt, 32)
    assert said_by_card(tmp_path / "out")[:60] == loaded.tokenizer.decode([*prompt, *made])[:60]


def test_an_export_is_exported_again(exported: Path, tmp_path: Path) -> None:
    """Without a data set: prompts are asked instead, and that is said."""
    [record] = autonas.export(exported / "hf", format="onnx", out=tmp_path / "again")
    assert record["parity"]["source"].startswith("the prompts of the collapse suite")
    assert record["spec"] == json.loads((exported / "hf" / "parity.json").read_text())["spec"]


def test_what_fails_leaves_nothing_behind(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    def swapped(folder: Path) -> Any:
        runtime = plain.OwnRuntime.open(folder)
        with torch.no_grad():
            weight = runtime._model.get_parameter("blocks.0.attention.qkv.weight")
            weight[:32] = weight[:32].flip(0)
        return runtime

    broken = formats.Format(packages=(), write=formats.FORMATS["safetensors"].write, open=swapped)
    monkeypatch.setattr(exporting, "FORMATS", {**formats.FORMATS, "safetensors": broken})
    code, out, err = call(str(run), "--format", "hf,safetensors", "--out", str(tmp_path / "out"))
    assert code == 1 and out == "" and "computes something else than the trained model" in err
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ExportError):
        autonas.export(run, format="safetensors", out=tmp_path / "out")


def test_the_run_keeps_what_its_exports_were_found_to_compute(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(run, mine)
    (mine / EXPORTS).unlink(missing_ok=True)
    made = autonas.export(mine, format=["safetensors", "hf"], out=tmp_path / "out")
    kept = read_exports(mine)
    assert [each["format"] for each in kept] == ["safetensors", "hf"]
    assert [each["parity"] for each in kept] == [each["parity"] for each in made]
    assert all(each["environment"]["packages"]["torch"] and each["exported_at"] for each in kept)
    assert str(tmp_path) not in (mine / EXPORTS).read_text(), "where it lies is nobody's business"
    page = autonas.api.report_run(mine, file=tmp_path / "page.html").read_text()
    assert all(f"{each['parity']['largest_difference']:.1e}" in page and each["parity"]["runtime"] in page for each in made)
    before = sorted(path.name for path in (tmp_path / "out" / "hf").iterdir())
    autonas.export(tmp_path / "out" / "hf", format="safetensors", out=tmp_path / "again")
    assert sorted(path.name for path in (tmp_path / "out" / "hf").iterdir()) == before, "an export is no run"
    (mine / EXPORTS).unlink()
    (mine / EXPORTS).mkdir()
    said: list[str] = []
    assert autonas.api.export(mine, format="safetensors", out=tmp_path / "third", say=said.append)
    assert "could not be written" in said[-1], "the export is whole all the same"


def test_the_command_says_what_it_wrote(run: Path, tmp_path: Path, call: Call) -> None:
    code, out, _ = call(str(run), "--format", "safetensors", "--out", str(tmp_path / "a"))
    assert code == 0 and "greedy tokens identical" in out and str(tmp_path / "a") in out
    code, out, _ = call(str(run), "--format", "safetensors", "--out", str(tmp_path / "b"), "--json")
    assert code == 0 and json.loads(out)[0]["format"] == "safetensors"


def test_wrong_requests_are_one_message_each(run: Path, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    full, new = tmp_path / "full", tmp_path / "new"
    full.mkdir()
    (full / "file").write_text("")
    with pytest.raises(RequestError, match="there is no such format; choose of safetensors, hf, onnx, gguf, all"):
        autonas.export(run, format="tflite", out=new)
    with pytest.raises(RequestError, match="is there and not empty"):
        autonas.export(run, format="hf", out=full)
    with pytest.raises(RequestError, match="hf has no int8"):
        autonas.export(run, format="hf", out=new, int8=True)
    with pytest.raises(StudyError, match="is no run"):
        autonas.export(tmp_path / "none", format="hf", out=new)
    begun = Path(shutil.copytree(run, tmp_path / "begun"))
    (begun / "model.safetensors").unlink()
    with pytest.raises(StudyError, match="has not ended yet"):
        autonas.export(begun, format="hf", out=new)
    damaged = Path(shutil.copytree(run, tmp_path / "damaged"))
    (damaged / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(CheckpointError):
        autonas.export(damaged, format="hf", out=new)
    other = tmp_path / "other"
    other.mkdir()
    plain.write(make(**{**LLAMA, "norm": "layernorm", "position": "alibi"}), other)
    with pytest.raises(InfeasibleArch, match="export: gguf needs norm == 'rmsnorm'; export: gguf needs position == 'rope'"):
        autonas.export(other, format="gguf", out=new)
    with pytest.raises(CorpusError, match="not on this machine"):
        autonas.export(other, format="onnx", out=new, int8=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match="needs onnx, which is not installed: pip install"):
        autonas.export(run, format="onnx", out=new)
    assert not new.exists()
