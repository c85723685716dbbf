"""What a run is shown: sources by name, functions, files of texts without copies of held-out documents, and difficulty."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autonas.curriculum import Curriculum, Judge, Stage, Teacher
from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.data.stages import StagedWindows
from autonas.data.tokenizer import Tokenizer
from autonas.difficulty import document_difficulty, rank_documents
from autonas.errors import CorpusError, RecipeError, StudyError
from autonas.run_data import check_shown, curriculum_sources, plan_lines, run_windows
from tests.studies import small_job


@pytest.fixture(scope="module")
def dataset(code_corpus: Path) -> Dataset:
    corpus = CorpusSettings(paths=(f"{code_corpus}/[a-i]*/**/*.py", f"{code_corpus}/[j-z]*/**/*.py"))
    return prepare(corpus, TokenizerSettings(vocab_size=300))


def of(*sources: tuple[str, float], **changes: object) -> Curriculum:
    return Curriculum(stages=(Stage(share=1.0, sources=sources),), **changes)  # type: ignore[arg-type]


def test_sources_are_the_corpus_and_hold_each_training_token_once(dataset: Dataset) -> None:
    sources = curriculum_sources(dataset, Curriculum(stages=(Stage(share=1.0),)))
    assert all(source.of_corpus for source in sources.values())
    every = np.concatenate([source.tokens for source in sources.values()])
    assert sorted(every.tolist()) == sorted(dataset.tokens("train").tolist())
    for source in sources.values():
        assert set(source.tokens[source.starts[1:] - 1].tolist()) == {dataset.tokenizer.end_of_text}


def test_an_unknown_source_is_refused_with_the_known_ones(dataset: Dataset) -> None:
    for look in (
        lambda: curriculum_sources(dataset, of(("stdlib", 1.0))),
        lambda: check_shown(dataset, of(("stdlib", 1.0)), None),
    ):
        with pytest.raises(RecipeError, match=r"stages\[0\].sources: there is no source 'stdlib'; the corpus has .*pairs"):
            look()


def test_a_teacher_whose_run_has_not_ended_is_told_before_a_search(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{}")
    with pytest.raises(RecipeError, match="has not ended"):
        check_shown(dataset, None, Teacher(model=str(tmp_path)))
    (tmp_path / "model.safetensors").write_bytes(b"")
    Tokenizer.train(["def f(): pass\n"] * 9, 257).save(tmp_path / "tokenizer.json")
    with pytest.raises(RecipeError, match=r"another tokenizer .*autonas teach"):
        check_shown(dataset, None, Teacher(model=str(tmp_path)))
    dataset.tokenizer.save(tmp_path / "tokenizer.json")
    check_shown(dataset, None, Teacher(model=str(tmp_path)))


def test_functions_are_a_source_that_decodes_to_functions(dataset: Dataset) -> None:
    source = curriculum_sources(dataset, of(("pairs", 1.0)))["pairs"]
    assert not source.of_corpus
    first = dataset.tokenizer.decode(source.tokens[: source.starts[1] - 1].tolist())
    assert first.split("(")[0].split()[-2:-1] == ["def"] or first.startswith("@")


def texts_file(folder: Path, *texts: str) -> str:
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return str(path)


def test_texts_that_held_out_documents_hold_are_left_out(dataset: Dataset, tmp_path: Path) -> None:
    """Planted: a file of texts with a validation document among them, as a teacher that knows it by heart would write it."""
    own = "def f(a, b, c):\n    total = a * b + c\n    for i in range(10):\n        total += i ** 2\n    return [total, a, b]\n"
    leaked = dataset.text("validation", 0)
    file = texts_file(tmp_path, own, leaked, own.replace("total", "result"))
    source = curriculum_sources(dataset, of(("made", 1.0), texts=(("made", file),)))["made"]
    assert len(source.starts) - 1 == 2
    assert dataset.tokenizer.decode(source.tokens[: source.starts[1] - 1].tolist()) == own
    only = texts_file(tmp_path, leaked)
    with pytest.raises(CorpusError, match=r"every text .* is a copy of held-out documents"):
        curriculum_sources(dataset, of(("made", 1.0), texts=(("made", only),)))
    with pytest.raises(CorpusError, match="cannot be read"):
        curriculum_sources(dataset, of(("made", 1.0), texts=(("made", str(tmp_path / "none.jsonl")),)))


def test_a_judge_finds_noise_harder_than_code_and_is_the_same_again(dataset: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = "".join(map(chr, rng.integers(33, 1000, 400)))
    easy = "def f(self):\n    return self.x\n" * 12
    curriculum = of(("made", 1.0), texts=(("made", texts_file(tmp_path, easy, noise)),))
    sources = curriculum_sources(dataset, curriculum)
    found = document_difficulty(dataset, sources, Judge(layers=1, width=32, tokens=30_000))
    assert found["made"][0] < found["made"][1] - 0.5
    assert all(len(found[name]) == len(source.starts) - 1 for name, source in sources.items())
    again = document_difficulty(dataset, sources, Judge(layers=1, width=32, tokens=30_000))
    for name, values in found.items():
        np.testing.assert_array_equal(values, again[name])


def test_a_ranked_run_keeps_what_it_ranked_by_and_its_difficulty_rises(dataset: Dataset, tmp_path: Path) -> None:
    stages = tuple(Stage(share=1 / 3, difficulty=bounds) for bounds in ((0.0, 0.4), (0.3, 0.7), (0.6, 1.0)))
    curriculum = Curriculum(stages=stages, judge=Judge(layers=1, width=32, tokens=20_000))
    job = small_job(dataset.ref, tmp_path / "run", kind="run", curriculum=curriculum)
    (tmp_path / "run").mkdir()
    with pytest.raises(StudyError, match=r"difficulty\.json"):
        run_windows(dataset, job)
    rank_documents(job, dataset)
    windows = run_windows(dataset, job)
    assert isinstance(windows, StagedWindows)
    told = [plan.difficulty for plan in windows.plans]
    assert told[0] is not None and told[1] is not None and told[2] is not None and told[0] < told[1] < told[2]
    assert [line.partition(":")[0] for line in plan_lines(windows.plans)] == ["stage 1", "stage 2", "stage 3"]
    before = (tmp_path / "run" / "difficulty.json").read_bytes()
    rank_documents(job, dataset)
    assert (tmp_path / "run" / "difficulty.json").read_bytes() == before
