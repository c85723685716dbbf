"""What a run is shown: the windows of its job, from its data set, its curriculum and the files of both.

`difficulty.json` in the run's folder holds how difficult each document is; difficulty.py makes it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autonas.curriculum import PAIRS, Curriculum, Teacher
from autonas.data.batches import Windows, training_windows
from autonas.data.cache import write_file
from autonas.data.dataset import Dataset
from autonas.data.files import found_file
from autonas.data.grams import distinct, token_grams, token_hashes
from autonas.data.pairs import training_pairs
from autonas.data.sources import read_documents
from autonas.data.stages import Source, StagedWindows, StagePlan
from autonas.data.statistics import sources_of
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CorpusError, RecipeError, StudyError
from autonas.run_folder import run_tokens
from autonas.trial import Job

DIFFICULTY_FILE: Final = "difficulty.json"
COPIED: Final = 0.3  # of a text's runs of 13 tokens that held-out documents hold, from which on it is not shown
_made: dict[tuple[Any, ...], Windows] = {}


def run_windows(dataset: Dataset, job: Job) -> Windows:
    """The windows that the job's run is shown, in their order.

    Raises:
        RecipeError: a stage asks for what there is none of.
        CorpusError: fewer tokens than one window, or a file of texts cannot be read.
        StudyError: the run's folder does not say how difficult its documents are.
    """
    if job.curriculum is None:
        return training_windows(dataset, job.spec.context_length, job.data_seed, job.unique_tokens)
    key = (dataset.fingerprint, job.curriculum, job.spec.context_length, job.data_seed, run_tokens(job), job.folder)
    if key not in _made:
        _made.clear()
        sources = curriculum_sources(dataset, job.curriculum)
        if job.curriculum.is_ranked:
            sources = _ranked(sources, read_difficulty(Path(job.folder)))
        _made[key] = StagedWindows(sources, job.curriculum, job.spec.context_length, job.data_seed, run_tokens(job))
    return _made[key]


def curriculum_sources(dataset: Dataset, curriculum: Curriculum) -> dict[str, Source]:
    """Those of the training split by name, then the functions in them (if they are asked for), then the files of texts.

    Raises:
        RecipeError: a stage names a source that is not there.
        CorpusError: a file of texts cannot be read, or holds nothing that may be shown.
    """
    found = _of_corpus(dataset)
    _check_names(curriculum, tuple(found))
    if curriculum.wants_pairs:
        pairs = training_pairs(dataset)
        if not pairs:
            raise RecipeError(f"curriculum: the corpus has no Python functions to make {PAIRS!r} of; leave that source out")
        found[PAIRS] = _encoded(dataset, [pair.head + pair.body for pair in pairs])
    for name, file in curriculum.texts:
        found[name] = _texts(dataset, name, Path(file))
    return found


def check_shown(dataset: Dataset, curriculum: Curriculum | None, teacher: Teacher | None) -> None:
    """See that what a full run is to be shown is there, before a search is spent on who will be shown it.

    Raises:
        RecipeError: a stage names a source that is not there, or the teacher's run has not ended or speaks other tokens.
        TokenizerError: the teacher's tokenizer cannot be read.
    """
    if curriculum is not None:
        _check_names(curriculum, tuple(dict.fromkeys(sources_of(dataset.documents("train").names))))
        for name, file in curriculum.texts:
            if not Path(file).is_file():
                raise RecipeError(f"curriculum.texts.{name}: {file} is no file here; name one that exists")
    folder = None if teacher is None else Path(teacher.model)
    if folder is not None and (folder / "spec.json").exists():  # else it is of Hugging Face, and asked when the run begins
        if not (folder / "model.safetensors").exists():
            raise RecipeError(f"teacher.model: the run in {folder} has not ended; end it with --resume, or name another")
        if Tokenizer.load(folder / "tokenizer.json", check=False).fingerprint != dataset.tokenizer.fingerprint:
            raise other_tokens(str(folder))


def other_tokens(name: str) -> RecipeError:
    """What is said of a teacher whose predictions are of other tokens."""
    return RecipeError(
        f"teacher.model: {name} has another tokenizer than the student, so its predictions cannot be compared token by token; "
        "let it write texts instead (`autonas teach`), and name them in `curriculum.texts`"
    )


def _check_names(curriculum: Curriculum, corpus: tuple[str, ...]) -> None:
    texts = [name for name, _ in curriculum.texts]
    for name in texts:
        if name in corpus:
            raise RecipeError(f"curriculum.texts: {name!r} is a source of the corpus already; give the texts another name")
    for number, stage in enumerate(curriculum.stages):
        for name, _ in stage.sources:
            if name not in (*corpus, PAIRS, *texts):
                raise RecipeError(
                    f"curriculum.stages[{number}].sources: there is no source {name!r}; the corpus has "
                    f"{', '.join(corpus)}, beside which there are {PAIRS} and the names of curriculum.texts"
                )


def plan_lines(plans: tuple[StagePlan, ...]) -> list[str]:
    """Stages for people, one a line."""
    lines = []
    for number, plan in enumerate(plans, 1):
        streams = ", ".join(
            f"{one.source} {one.windows / sum(other.windows for other in plan.streams):.0%} "
            f"({one.documents:,} documents, {one.epochs:.2g} epochs)"
            for one in plan.streams
        )
        hard = "" if plan.difficulty is None else f"; difficulty {plan.difficulty:.2f} nats a token"
        lines.append(f"stage {number}: tokens {plan.begins:,} to {plan.ends:,}: {streams}{hard}")
    return lines


def read_difficulty(folder: Path) -> dict[str, NDArray[np.float64]]:
    """Of every document by source, as `difficulty.json` has it.

    Raises:
        StudyError: it cannot be read.
    """
    path = folder / DIFFICULTY_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["nats_per_token"]
        return {name: np.array(found, dtype=np.float64) for name, found in values.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"{path}: cannot be read ({error}). Restore it, or train the run anew.") from error


def keep_difficulty(base: Path, folder: Path) -> None:
    """Let the run in `folder` know what the run in `base`, which it goes out from, was shown.

    Raises:
        ResourceError: it cannot be written.
    """
    path = base / DIFFICULTY_FILE
    if path.exists():
        write_file(folder / DIFFICULTY_FILE, path.read_bytes())


def _ranked(sources: Mapping[str, Source], difficulty: Mapping[str, NDArray[np.float64]]) -> dict[str, Source]:
    ranked = {}
    for name, source in sources.items():
        values = difficulty.get(name)
        if values is None or len(values) != len(source.starts) - 1:
            raise StudyError(f"{DIFFICULTY_FILE} is not of this corpus: it does not know {name!r}. Train the run anew.")
        ranked[name] = dataclasses.replace(source, difficulty=values)
    return ranked


def _of_corpus(dataset: Dataset) -> dict[str, Source]:
    tokens, documents = dataset.tokens("train"), dataset.documents("train")
    owners = np.array(sources_of(documents.names))
    names = list(dict.fromkeys(owners.tolist()))
    if len(names) == 1:
        return {names[0]: Source(tokens=tokens, starts=documents.starts)}
    found = {}
    for name in names:
        numbers = np.flatnonzero(owners == name)
        parts = [tokens[documents.starts[number] : documents.starts[number + 1]] for number in numbers]
        starts = np.concatenate(([0], np.cumsum([len(part) for part in parts])))
        found[name] = Source(tokens=np.concatenate(parts), starts=starts)
    return found


def _encoded(dataset: Dataset, texts: list[str]) -> Source:
    """Texts as documents of the data set's tokenizer, each with its end-of-text."""
    end = dataset.tokenizer.end_of_text
    ids = [np.array([*tokens, end], dtype=dataset.tokens("train").dtype) for tokens in dataset.tokenizer.encode_batch(texts)]
    starts = np.concatenate(([0], np.cumsum([len(one) for one in ids])))
    return Source(tokens=np.concatenate(ids), starts=starts, of_corpus=False)


def _texts(dataset: Dataset, name: str, file: Path) -> Source:
    """The texts of a file, without those that held-out documents hold a good part of."""
    try:
        raw = list(read_documents(found_file(file, file.name, file.stem, jsonl=True)))
    except OSError as error:
        raise CorpusError(
            f"curriculum.texts.{name}: {file} cannot be read ({error.strerror}); name a file that exists"
        ) from error
    texts = [document.data.decode("utf-8", "replace") for document in raw]
    if not texts:
        raise CorpusError(f"curriculum.texts.{name}: {file} holds no text; fill it, or leave it out")
    source = _encoded(dataset, texts)
    table = token_hashes(dataset)
    held_out = np.concatenate(
        [token_grams(np.asarray(dataset.tokens(s)), dataset.documents(s).starts, table).grams for s in ("validation", "test")]
    )
    own = token_grams(source.tokens, source.starts, table)
    known = np.isin(own.grams, distinct(held_out))
    counts = np.bincount(own.owners, minlength=len(texts))
    copied = np.bincount(own.owners, weights=known, minlength=len(texts)) > COPIED * np.maximum(counts, 1)
    if copied.all():
        raise CorpusError(f"curriculum.texts.{name}: every text in {file} is a copy of held-out documents; leave it out")
    return (
        _encoded(dataset, [text for text, is_copy in zip(texts, copied, strict=True) if not is_copy])
        if copied.any()
        else source
    )
