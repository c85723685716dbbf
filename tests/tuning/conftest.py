"""A small base run, and examples to tune it on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.run_folder import run_budget
from autonas.trial import Job
from autonas.tuning.encoding import encode_examples
from autonas.tuning.examples import Example, example_of, write_examples
from autonas.tuning.templates import templated_tasks
from autonas.worker import run_job
from tests.studies import SMALL_SPEC, small_job


@pytest.fixture(scope="session")
def dataset(code_corpus: Path) -> Dataset:
    return prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))


@pytest.fixture(scope="session")
def base(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 24 steps."""
    job = small_job(dataset.ref, tmp_path_factory.mktemp("base") / "run")
    job = dataclasses.replace(job, kind="run", budget=run_budget(SMALL_SPEC, job.training, 24, 0.2))
    outcome = run_job(job)
    assert outcome.ok, outcome.failure
    return Path(job.folder)


@pytest.fixture(scope="session")
def examples(dataset: Dataset) -> tuple[Example, ...]:
    """Sixty that fit the base's context."""
    made = tuple(map(example_of, templated_tasks(200, 0).training))
    fitting = encode_examples(made, dataset.tokenizer, SMALL_SPEC.context_length)
    return tuple(made[number] for number in sorted(fitting)[:60])


@pytest.fixture(scope="session")
def data(examples: tuple[Example, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "examples.jsonl"
    write_examples(path, examples)
    return path


def begin(base: Path, data: Path, folder: Path, **settings: object) -> Job:
    """A tuning job of some steps, with a checkpoint wherever one may be."""
    from autonas.tuning.planning import plan_tuning

    given = {"method": "lora", "steps": 12, "device": "cpu", **settings}
    job, _ = plan_tuning(base, data, folder=folder, **given)  # type: ignore[arg-type]
    assert job.tuning is not None
    return dataclasses.replace(job, checkpoint_every_s=0.0)
