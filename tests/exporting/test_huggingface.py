"""Every architecture of the space in `transformers`: logits, greedy generation, the tokenizer, and the way back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import autonas
from autonas.errors import CheckpointError
from autonas.exporting import huggingface
from autonas.exporting.native_classes import NATIVE_CLASSES, native_class
from autonas.exporting.parity import check_parity
from autonas.space.exports import broken_exports
from tests.exporting.conftest import EVERY, LLAMA, Make, asked, named


@pytest.mark.parametrize("choices", EVERY, ids=named)
def test_logits_and_greedy_tokens_are_ours_and_the_weights_come_back(
    make: Make, tmp_path: Path, choices: dict[str, Any]
) -> None:
    loaded = make(**choices)
    told = huggingface.write(loaded, tmp_path)
    parity = check_parity(asked(loaded), huggingface.TransformersRuntime(tmp_path))
    assert parity.tokens_compared == 8 * 24 and not parity.near_ties
    assert parity.largest_difference < parity.tolerance / 3, "the tolerance leaves room"
    assert told["native"] == (native_class(loaded.spec) is not None) == (not broken_exports("hf-native", loaded.spec))
    back = autonas.load(tmp_path)
    assert back.spec == loaded.spec
    ours = loaded.model.state_dict()
    assert all(torch.equal(weight, ours[name]) for name, weight in back.model.state_dict().items())


def test_the_classes_that_the_issue_names(make: Make) -> None:
    found = {native.architecture for choices in EVERY if (native := native_class(make(**choices).spec))}
    assert found == {each.architecture for each in NATIVE_CLASSES.values()}
    neox = {"norm": "layernorm", "activation": "gelu", "position": "rope", "tied_embeddings": True, "kv_heads": 6}
    assert native_class(make(**neox).spec) is NATIVE_CLASSES["gpt_neox"]
    assert native_class(make(**LLAMA).spec) is NATIVE_CLASSES["llama"]


ALIBI = {"norm": "rmsnorm", "activation": "geglu", "position": "alibi", "tied_embeddings": True, "kv_heads": 2}


@pytest.mark.parametrize("choices", [LLAMA, ALIBI], ids=named)
def test_rows_of_other_lengths_may_be_padded_on_their_left(make: Make, tmp_path: Path, choices: dict[str, Any]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = make(**choices)
    huggingface.write(loaded, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(str(tmp_path), trust_remote_code=True)
    model: Any = AutoModelForCausalLM.from_pretrained(str(tmp_path), trust_remote_code=True)
    texts = ["def add(a, b):", "for i in range(10): print(i)", "x"]
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    made = model.generate(**batch, max_new_tokens=12, do_sample=False, eos_token_id=None)
    runtime = huggingface.TransformersRuntime(tmp_path)
    for text, row in zip(texts, made[:, batch["input_ids"].shape[1] :].tolist(), strict=True):
        assert row == runtime.greedy(runtime.encode(text), 12)


def test_code_that_comes_along_needs_no_autonas(make: Make, tmp_path: Path) -> None:
    huggingface.write(make(**ALIBI), tmp_path)
    script = f"""
import sys
sys.modules["autonas"] = None  # an import of it fails
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained({str(tmp_path)!r}, trust_remote_code=True)
import torch
print(model.generate(torch.tensor([[5, 6]]), max_new_tokens=4, do_sample=False).shape)
out = model(torch.tensor([[5, 6, 7]]), labels=torch.tensor([[5, 6, 7]]))
out.loss.backward()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/", timeout=120)
    assert "torch.Size([1, 6])" in done.stdout, done.stderr


def test_a_damaged_or_foreign_folder_is_one_message(make: Make, tmp_path: Path) -> None:
    huggingface.write(make(**LLAMA), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({name: value for name, value in config.items() if name != "autonas"}))
    with pytest.raises(CheckpointError, match="autonas did not write it"):
        autonas.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is damaged"):
        autonas.load(tmp_path)
