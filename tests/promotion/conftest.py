"""A finished small study to promote from, the command line, and the job of a full run."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import autonas
from autonas import cli
from autonas.engine.choice import EngineSettings
from autonas.promotion.promote import full_job
from autonas.recipe import load_recipe
from autonas.trial import DataRef, Job
from tests.studies import SMALL_SPEC, write_space

INLINE = EngineSettings(name="inline", device="cpu")
STEPS = 30
STEP = 512
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def searched(code_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study `small`, whose promotions have one candidate, and whose file has no promotion."""
    folder = tmp_path_factory.mktemp("promotion")
    write_space(folder / "small.yaml", code_corpus)
    with contextlib.chdir(folder):
        text = Path("small.yaml").read_text()
        Path("small.yaml").write_text(text + "promote: {retest: 0}\n")
        autonas.search("small.yaml", engine=INLINE, promote=False)
        Path("small.yaml").write_text(text)
    return folder


@pytest.fixture
def study(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study in a folder of the test's own, which is the working directory."""
    shutil.copytree(searched, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return Path("trials/small")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            code = cli.main(list(arguments))
        except SystemExit as error:
            code = int(error.code or 0)
        finally:
            signal.signal(signal.SIGTERM, handler)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def job(tmp_path: Path, code_corpus: Path) -> Job:
    recipe = load_recipe(str(write_space(tmp_path / "small.yaml", code_corpus)))
    return full_job(
        recipe,
        SMALL_SPEC,
        DataRef(folder="", fingerprint=""),
        study="small",
        trial=0,
        steps=STEPS,
        training=recipe.training,
        seed=1,
        data_seed=2,
        folder=tmp_path / "run",
        device="cpu",
        threads=1,
    )
