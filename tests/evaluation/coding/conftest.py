"""The real sandbox, a model that knows the answers, and where the published benchmarks lie on machines that have them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from autonas.arch import ArchSpec
from autonas.data.dataset import Dataset
from autonas.errors import ResourceError
from autonas.evaluation.coding.tasks import builtin_tasks
from autonas.evaluation.sandbox import Limits, Sandbox
from autonas.model.transformer import Transformer, build_model


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Models of this size are faster on one, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    try:
        opened = Sandbox.open(limits=Limits(seconds=20.0))  # the machine may be busy
    except ResourceError as error:
        pytest.skip(f"no sandbox here: {error}")
    with opened:
        yield opened


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder with the files of HumanEval and MBPP."""
    folder = Path(os.environ.get("AUTONAS_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (folder / "HumanEval.jsonl.gz").is_file():
        pytest.skip(f"{folder} has no HumanEval and MBPP")
    return folder


@pytest.fixture(scope="module")
def by_heart(dataset: Dataset, one_thread: None) -> Transformer:
    """A model that has learnt nothing but the twenty programs, each followed by end-of-text."""
    torch.manual_seed(0)
    spec = ArchSpec(layers=2, width=64, heads=2, kv_heads=2, vocab_size=dataset.vocab_size, context_length=192)
    model = build_model(spec, seed=1).train()
    tokenizer = dataset.tokenizer
    end = tokenizer.end_of_text
    asked = [[end, *tokenizer.encode(task.prompt)] for task in builtin_tasks()]
    texts = [before + tokenizer.encode(task.solution.rstrip()) for before, task in zip(asked, builtin_tasks(), strict=True)]
    longest = max(map(len, texts))
    tokens = torch.tensor([text + [end] * (longest + 1 - len(text)) for text in texts])
    answered = torch.tensor(
        [[len(before) - 1 <= place < len(text) for place in range(longest)] for before, text in zip(asked, texts, strict=True)]
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(110):
        logits = model.head(model.features(tokens[:, :-1])[answered])
        loss = F.cross_entropy(logits, tokens[:, 1:][answered])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.item() < 0.1
    return model.eval()
