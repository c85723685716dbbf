"""The tokens that all contestants train on: the standard library's source, as every study would read it."""

from __future__ import annotations

import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from autonas.arch import ArchSpec
from autonas.bench.device import Bench
from autonas.bench.trainers import Task
from autonas.data.dataset import CorpusSettings, TokenizerSettings, prepare
from autonas.data.tokenizer import Tokenizer


@contextmanager
def task_on_text(spec: ArchSpec, batch_tokens: int, here: Bench, paths: Sequence[str] = ()) -> Iterator[tuple[Task, str]]:
    """Training `spec` on the text, whose tokens lie in a folder until the block ends; and what they are, in words."""
    with tempfile.TemporaryDirectory(prefix="autonas-bench-") as folder:
        tokens_file = Path(folder, "tokens.npy")
        text = write_tokens(tokens_file, spec.vocab_size, paths)
        yield (
            Task(spec=spec, batch_tokens=batch_tokens, tokens_file=str(tokens_file), device=here.device, threads=here.threads),
            text,
        )


def write_tokens(path: Path, vocab_size: int, paths: Sequence[str] = ()) -> str:
    """Write the train split to `path`, a .npy of uint16; what it is made of, in words. `paths`: other files, as globs."""
    corpus = CorpusSettings(paths=tuple(paths)) if paths else CorpusSettings(sources=("python-stdlib",))
    try:
        dataset = prepare(corpus, TokenizerSettings(algorithm="bpe", vocab_size=vocab_size))
    except ImportError:
        # A bare GPU machine has torch and tokenizers, and not what finds near-duplicates.
        tokens = _plain_tokens(vocab_size)
        where = "standard library, duplicates not removed"
    else:
        tokens = np.asarray(dataset.tokens("train"))
        where = f"{'given files' if paths else 'standard library'}, data set {dataset.fingerprint[:12]}"
    np.save(path, tokens.astype(np.uint16))
    return f"{where}: {len(tokens):,} tokens, vocabulary {vocab_size}"


def _plain_tokens(vocab_size: int) -> np.ndarray:
    folder = Path(sysconfig.get_path("stdlib"))
    files = sorted(path for path in folder.rglob("*.py") if "site-packages" not in path.parts)
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
    tokenizer = Tokenizer.train(texts, vocab_size)
    return np.concatenate([np.asarray(tokenizer.encode(text), dtype=np.uint16) for text in texts])
