"""From a study to a model in other tools, by the commands a user types: the same greedy tokens at every stop."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import autonas
from tests.exporting.conftest import said_by_card

NEW = 32
PROMPTS = ("def add(a, b):", "class Stack:\n    def push(self, item):", "import os\n\n\ndef read(path):")
SHORT: dict[str, Any] = {
    "name": "journey",
    "export": "gguf",
    "objectives": ["val_loss", "params"],
    "budget": {"trials": 3, "rungs": ["32K", "96K"], "batch_tokens": 1024, "min_survivors": 2, "repeats": 0},
    "promote": {"steps": 200, "retest": 2, "seeds": 1},
    "calibration": False,
    "training": {"warmup": "4K"},
    "evaluation": {"validation_tokens": "16K", "prompts_per_kind": 4, "samples_per_prompt": 2},
}

pytestmark = pytest.mark.slow


def command(folder: Path, *words: str) -> str:
    """What a command says on standard output; it must end well."""
    found = subprocess.run(
        [sys.executable, "-m", "autonas", *words], cwd=folder, capture_output=True, text=True, timeout=900, check=False
    )
    assert found.returncode == 0, f"autonas {' '.join(words)}: {found.stderr[-2000:]}"
    return found.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a space file: the quickstart's with fewer and shorter trials, confined to what GGUF can hold."""
    folder = tmp_path_factory.mktemp("journey")
    quickstart = Path(__file__).parent.parent / "search_spaces" / "quickstart.yaml"
    values = yaml.safe_load(quickstart.read_text(encoding="utf-8")) | SHORT
    (folder / "journey.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return folder


def greedy_in_transformers(folder: Path, prompts: Sequence[list[int]]) -> list[list[int]]:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__name__ == "LlamaForCausalLM", "no code of ours is needed"
    found = []
    for prompt in prompts:
        made = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=NEW,
            do_sample=False,
        )
        found.append(made[0, len(prompt) :].tolist())
    return found


def greedy_in_onnxruntime(folder: Path, prompts: Sequence[list[int]], end: int) -> list[list[int]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]
    shapes = {each.name: each.shape for each in session.get_inputs()}
    found = []
    for prompt in prompts:
        past = {n: np.zeros((1, s[1], 0, s[3]), np.float32) for n, s in shapes.items() if n.startswith("past")}
        made: list[int] = []
        ids, seen = np.array([prompt]), 0
        while len(made) < NEW and (not made or made[-1] != end):
            seen += ids.shape[1]
            feeds = {"input_ids": ids, "attention_mask": np.ones((1, seen), dtype=np.int64), **past}
            said = dict(zip(outputs, session.run(outputs, feeds), strict=True))
            made.append(int(said["logits"][0, -1].argmax()))
            past = {name: said[name.replace("past_key_values", "present")] for name in past}
            ids = np.array([[made[-1]]])
        found.append(made)
    return found


def greedy_in_llama_cpp(folder: Path, prompts: Sequence[list[int]], end: int) -> list[list[int]]:
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed; `make test-slow` installs it")
    model = llama_cpp.Llama(str(folder / "model-f32.gguf"), n_ctx=256, verbose=False, n_threads=1)
    found = []
    for prompt in prompts:
        made: list[int] = []
        for token in model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
            made.append(int(token))
            if len(made) == NEW or token == end:
                break
        found.append(made)
    return found


def test_a_study_becomes_a_model_that_other_tools_load(folder: Path) -> None:
    command(folder, "search", "--space", "journey.yaml", "--workers", "1", "--no-promote", "--quiet")
    front = json.loads(command(folder, "front", "journey", "--json"))
    assert front and all(trial["spec"]["norm"] == "rmsnorm" and trial["spec"]["position"] == "rope" for trial in front)
    promoted = json.loads(command(folder, "promote", "journey", "--workers", "1", "--json"))
    base = Path(promoted["run"])
    evaluated = json.loads(command(folder, "evaluate", str(base), "--only", "loss", "--only", "collapse", "--json"))
    assert set(evaluated["suite"]) == {"loss", "collapse"}

    command(folder, "tasks", "templates", "--out", "tasks.jsonl", "--held-out", "held.jsonl", "--count", "120")
    command(folder, "finetune", str(base), "--data", "tasks.jsonl", "--method", "lora", "--epochs", "2", "--out", "tuned")
    assert (folder / "tuned" / "adapter" / "adapter_config.json").exists()
    command(folder, "export", "tuned", "--format", "all", "--out", "exported")

    tuned = autonas.load(folder / "tuned", device="cpu")
    plain = autonas.load(folder / base, device="cpu")
    prompts = [tuned.encode(prompt) for prompt in PROMPTS]
    end = tuned.tokenizer.end_of_text

    def ours(run: Any) -> list[list[int]]:
        return [list(run.complete(prompt, max_tokens=NEW, temperature=0.0).tokens) for prompt in PROMPTS]

    expected = ours(tuned)
    assert all(len(tokens) == NEW or tokens[-1] == end for tokens in expected)
    logits = [run.model.eval()(torch.tensor([prompts[0]])) for run in (tuned, plain)]
    assert not torch.equal(*logits), "the merged adapters say something else than their base"

    for name in ("safetensors", "hf"):
        again = autonas.load(folder / "exported" / name, device="cpu")
        assert [again.encode(prompt) for prompt in PROMPTS] == prompts, "it is asked as it was tuned"
    with torch.no_grad():
        assert torch.equal(again.model.eval()(torch.tensor([prompts[0]])), logits[0])
    assert greedy_in_transformers(folder / "exported" / "hf", prompts) == expected
    assert greedy_in_onnxruntime(folder / "exported" / "onnx", prompts, end) == expected
    for name in ("safetensors", "hf", "onnx", "gguf"):
        parity = json.loads((folder / "exported" / name / "parity.json").read_text(encoding="utf-8"))
        assert parity["tokens"]["compared"] > 0 if isinstance(parity.get("tokens"), dict) else parity
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder / "exported" / "hf")
    assert [[theirs.eos_token_id, *theirs(prompt)["input_ids"]] for prompt in PROMPTS] == prompts, "as the card says"
    written = tuned.complete("def add(a, b):", max_tokens=32, temperature=0.0).text
    for name in ("safetensors", "hf", "onnx", "gguf"):
        assert said_by_card(folder / "exported" / name).strip() == f"def add(a, b):{written}".strip(), name
    card = (folder / "exported" / "hf" / "README.md").read_text(encoding="utf-8")
    assert "adapters of rank 16 beside qkv, out, up, down, merged" in card and "tuned on prompts and their solutions" in card
    assert greedy_in_llama_cpp(folder / "exported" / "gguf", prompts, end) == expected
