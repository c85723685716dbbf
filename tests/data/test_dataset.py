from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, list_datasets, prepare, train_tokenizer
from autonas.errors import CorpusError, ResourceError, TokenizerError
from tests.data.conftest import source_text

SMALL = TokenizerSettings(vocab_size=300)


def stages(settings: CorpusSettings, tokenizer: TokenizerSettings, cache: Path) -> tuple[Dataset, list[str]]:
    """The data set, and the first words of the stages that making it took."""
    said: list[str] = []
    dataset = prepare(settings, tokenizer, cache, said.append)
    return dataset, [stage.split()[0] for stage in said]


def test_a_request_made_before_reads_nothing(settings: CorpusSettings, tmp_path: Path) -> None:
    first, built = stages(settings, SMALL, tmp_path / "cache")
    again, repeated = stages(settings, SMALL, tmp_path / "cache")
    assert built == ["reading", "training", "tokenising"]
    assert repeated == []
    assert again.fingerprint == first.fingerprint


def test_touched_files_are_read_and_not_tokenised_again(settings: CorpusSettings, tmp_path: Path) -> None:
    first, _ = stages(settings, SMALL, tmp_path / "cache")
    os.utime(tmp_path / "code/project0/src/file0.txt", (1, 1))
    again, repeated = stages(settings, SMALL, tmp_path / "cache")
    assert repeated == ["reading"]
    assert again.fingerprint == first.fingerprint


def test_changed_files_make_another_data_set(settings: CorpusSettings, tmp_path: Path) -> None:
    first, _ = stages(settings, SMALL, tmp_path / "cache")
    with (tmp_path / "code/project0/src/file0.txt").open("a", encoding="utf-8") as file:
        file.write("one_more = 1\n")
    again, repeated = stages(settings, SMALL, tmp_path / "cache")
    assert repeated == ["reading", "training", "tokenising"]
    assert again.fingerprint != first.fingerprint
    assert again.corpus_fingerprint != first.corpus_fingerprint


def test_another_vocabulary_or_seed_makes_another_data_set(settings: CorpusSettings, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    settings = dataclasses.replace(settings, validation_share=0.2, test_share=0.2)  # room for one of several projects
    variants = [
        prepare(settings, SMALL, cache),
        prepare(settings, TokenizerSettings(vocab_size=301), cache),
        prepare(dataclasses.replace(settings, seed=1), SMALL, cache),
    ]
    assert len({dataset.fingerprint for dataset in variants}) == 3
    assert [dataset.vocab_size for dataset in variants] == [300, 301, 300]
    assert {dataset.fingerprint for dataset in list_datasets(cache)} == {dataset.fingerprint for dataset in variants}


def test_the_same_corpus_has_the_same_fingerprint_elsewhere(settings: CorpusSettings, tmp_path: Path) -> None:
    here = prepare(settings, SMALL, tmp_path / "one")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "code").rename(tmp_path / "elsewhere" / "code")
    there = prepare(CorpusSettings(paths=(f"{tmp_path}/elsewhere/code/**/*.txt",)), SMALL, tmp_path / "two")
    assert here.fingerprint == there.fingerprint
    for path in here.folder.iterdir():
        assert path.read_bytes() == (there.folder / path.name).read_bytes(), path.name


def test_the_tokenizer_is_trained_on_the_train_split_alone(settings: CorpusSettings, tmp_path: Path) -> None:
    dataset = prepare(settings, SMALL, tmp_path / "cache")
    held_out = dataset.documents("validation").names[0]
    path = tmp_path / held_out
    text = path.read_text(encoding="utf-8")
    # Of the same length, or the split might be another; and frequent enough to have entries of its own if it were seen.
    path.write_text(("quokka " * len(text))[: len(text)], encoding="utf-8")
    again = prepare(settings, SMALL, tmp_path / "cache")
    assert held_out in again.documents("validation").names
    assert again.fingerprint != dataset.fingerprint
    assert again.tokenizer.fingerprint == dataset.tokenizer.fingerprint


def test_ones_own_tokenizer_is_used_as_it_is(settings: CorpusSettings, tmp_path: Path) -> None:
    own = train_tokenizer(settings, 290, tmp_path / "own.json")
    wanted = TokenizerSettings(file=str(tmp_path / "own.json"))
    dataset, built = stages(settings, wanted, tmp_path / "cache")
    assert built == ["reading", "tokenising"]
    assert dataset.tokenizer.fingerprint == own.fingerprint
    assert dataset.vocab_size == 290
    assert stages(settings, wanted, tmp_path / "cache")[1] == []


def test_jsonl_documents_become_a_data_set(tmp_path: Path) -> None:
    lines = [json.dumps({"text": source_text(number), "project": f"p{number % 5}"}) for number in range(20)]
    (tmp_path / "data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    dataset = prepare(CorpusSettings(jsonl=(str(tmp_path / "*.jsonl"),)), SMALL, tmp_path / "cache")
    assert sum(dataset.report["documents"].values()) == 20
    assert sum(dataset.report["projects"].values()) == 5


def test_a_damaged_data_set_is_refused_until_it_is_deleted(settings: CorpusSettings, tmp_path: Path) -> None:
    dataset = prepare(settings, SMALL, tmp_path / "cache")
    tokens = dataset.folder / "tokens-train.bin"
    tokens.write_bytes(tokens.read_bytes()[:-2])
    with pytest.raises(CorpusError, match="delete this folder"):
        prepare(settings, SMALL, tmp_path / "cache")
    assert list_datasets(tmp_path / "cache") == []
    for path in dataset.folder.iterdir():
        path.unlink()
    with pytest.raises(CorpusError, match=r"dataset\.json is missing"):
        prepare(settings, SMALL, tmp_path / "cache")
    dataset.folder.rmdir()
    assert prepare(settings, SMALL, tmp_path / "cache").fingerprint == dataset.fingerprint


def test_a_lost_or_damaged_index_costs_time_and_nothing_else(settings: CorpusSettings, tmp_path: Path) -> None:
    dataset = prepare(settings, SMALL, tmp_path / "cache")
    for content in (b"", b"\xff\xff", b"0123456789abcdef"):
        for hint in (tmp_path / "cache" / "index").iterdir():
            hint.write_bytes(content)
        assert prepare(settings, SMALL, tmp_path / "cache").fingerprint == dataset.fingerprint


def test_a_missing_tokenizer_is_noticed_before_the_corpus_is_read(settings: CorpusSettings, tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(TokenizerError, match=r"none\.json"):
        prepare(settings, TokenizerSettings(file=str(tmp_path / "none.json")), tmp_path / "cache", said.append)
    assert said == []


def test_a_corpus_too_small_for_the_vocabulary_leaves_no_cache(settings: CorpusSettings, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="vocab_size"):
        prepare(settings, TokenizerSettings(vocab_size=60_000), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_made_is_one_message(settings: CorpusSettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ResourceError, match="file"):
        prepare(settings, SMALL, tmp_path / "file" / "cache")


def prepare_at_once(settings: CorpusSettings, cache: Path, start: object, answers: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    dataset = prepare(settings, SMALL, cache)
    dataset.verify()
    answers.put((dataset.fingerprint, dataset.text("train", 0)))  # type: ignore[attr-defined]


def test_processes_that_build_at_once_all_get_one_whole_data_set(settings: CorpusSettings, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(4), context.Queue()
    cache = tmp_path / "cache"
    builders = [context.Process(target=prepare_at_once, args=(settings, cache, start, answers)) for _ in range(4)]
    for builder in builders:
        builder.start()
    results = {answers.get(timeout=50) for _ in builders}
    for builder in builders:
        builder.join()
        assert builder.exitcode == 0
    assert len(results) == 1
    assert [path.name for path in (cache / "datasets").iterdir()] == [results.pop()[0]]


def test_a_killed_build_leaves_nothing_that_is_taken_for_a_data_set(settings: CorpusSettings, tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; import autonas.data.store as store; from autonas.data import dataset\n"
        "store.json.dumps = lambda *a, **k: os._exit(9)\n"  # dies between tokens and documents of a split
        "settings = dataset.CorpusSettings(paths=(sys.argv[1],)), dataset.TokenizerSettings(vocab_size=300)\n"
        "dataset.prepare(*settings, Path(sys.argv[2]))"
    )
    cache = tmp_path / "cache"
    run = subprocess.run([sys.executable, "-c", program, settings.paths[0], str(cache)], check=False)
    assert run.returncode == 9
    dataset = prepare(settings, SMALL, cache)
    dataset.verify()
    assert [found.fingerprint for found in list_datasets(cache)] == [dataset.fingerprint]


def test_nothing_here_needs_torch_optuna_or_scipy_to_open_a_data_set(settings: CorpusSettings, tmp_path: Path) -> None:
    prepare(settings, SMALL, tmp_path / "cache")
    program = (
        "import sys; from pathlib import Path; from autonas.data.dataset import list_datasets; import autonas.data.batches\n"
        "(data,) = list_datasets(Path(sys.argv[1])); data.text('train', 0)\n"
        "print([name for name in ('torch', 'optuna', 'scipy', 'ray') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
