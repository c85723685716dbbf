"""Small models whose every weight matters, a small finished run, and what is asked of exports of both."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from autonas.arch import ACTIVATIONS, NORMS, POSITIONS, ArchSpec
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.data.tokenizer import Tokenizer
from autonas.exporting.parity import Reference, make_probe, reference
from autonas.loaded_run import LoadedRun
from autonas.model.transformer import build_model
from autonas.run_folder import run_budget
from autonas.worker import run_job
from tests.studies import small_job

EVERY = tuple(
    {"norm": norm, "activation": activation, "position": position, "tied_embeddings": tied, "kv_heads": kv_heads}
    for norm, activation, position, tied, kv_heads in itertools.product(NORMS, ACTIVATIONS, POSITIONS, (True, False), (1, 2, 6))
)
# Six heads: ALiBi's slopes of a count that is no power of two.
SHAPE: dict[str, Any] = {"layers": 2, "width": 48, "heads": 6, "ffn_multiplier": 2.5, "context_length": 48}
LLAMA: dict[str, Any] = {"norm": "rmsnorm", "activation": "swiglu", "position": "rope", "tied_embeddings": False, "kv_heads": 2}
Make = Callable[..., LoadedRun]


def named(choices: dict[str, Any]) -> str:
    tied = "tied" if choices["tied_embeddings"] else "untied"
    return f"{choices['norm']}-{choices['activation']}-{choices['position']}-{tied}-{choices['kv_heads']}"


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["def add(a, b):\n    return a + b\n" * 3, "for i in range(10): print(i)\n" * 3], 270)


@pytest.fixture(scope="session")
def make(tokenizer: Tokenizer) -> Make:
    """Random models with large weights, norms that are no identities and biases that are not zero."""

    def loaded(**choices: Any) -> LoadedRun:
        spec = ArchSpec(**{**SHAPE, "vocab_size": tokenizer.vocab_size, **choices})
        model = build_model(spec, seed=1)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:
                    weight.normal_(0.0, 0.3, generator=generator)
                else:
                    weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
        return LoadedRun(model=model, tokenizer=tokenizer, spec=spec)

    return loaded


def asked(loaded: LoadedRun) -> Reference:
    return reference(loaded, make_probe(loaded, None))


@pytest.fixture(scope="session")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


@pytest.fixture(scope="session")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the shape of Llama."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    spec = ArchSpec(layers=2, width=32, heads=4, vocab_size=300, context_length=64, **LLAMA)
    job = small_job(dataset.ref, folder)
    job = dataclasses.replace(job, kind="run", spec=spec, budget=run_budget(spec, job.training, 60, 0.2))
    assert run_job(job).ok
    return folder


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, and a home for the code that comes with exported models."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", os.environ.get("TOKENIZERS_PARALLELISM", "false"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def said_by_card(folder: Path) -> str:
    """What the code of an export's card prints, run in its folder."""
    found = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    said = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(said):
        exec(compile(found.group(1), str(folder), "exec"), {})
    return said.getvalue()
