"""One small real data set for the whole folder: a few files of the interpreter's own library, tokenised."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from autonas.arch import ArchSpec
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.model.transformer import Transformer, build_model

PROJECTS = ("json", "email", "logging", "unittest", "html", "urllib", "concurrent", "importlib", "xml/dom", "wsgiref")


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    library = Path(sysconfig.get_path("stdlib"))
    corpus = CorpusSettings(
        paths=tuple(str(library / name / "*.py") for name in PROJECTS), validation_share=0.15, test_share=0.1
    )
    return prepare(corpus, TokenizerSettings(vocab_size=1024), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def spec(dataset: Dataset) -> ArchSpec:
    return ArchSpec(layers=2, width=32, heads=2, kv_heads=1, vocab_size=dataset.vocab_size, context_length=96)


@pytest.fixture
def model(spec: ArchSpec) -> Transformer:
    return build_model(spec, seed=1)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of this test alone."""
    monkeypatch.setenv("AUTONAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
