from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from autonas.data.tokenizer import END_OF_TEXT, Tokenizer
from autonas.errors import CorpusError, ResourceError, TokenizerError
from tests.data.conftest import source_text

TEXTS = [source_text(seed) for seed in range(30)]
SMALL = Tokenizer.train(TEXTS, 320)


@given(st.text())
def test_every_text_comes_back_exactly(text: str) -> None:
    assert SMALL.decode(SMALL.encode(text)) == text


@given(st.lists(st.sampled_from([END_OF_TEXT, "<|", "endoftext", "|>", " ", "\n", "é", "<|endoftext|"]), max_size=12))
def test_the_spelling_of_end_of_text_is_ordinary_text(parts: list[str]) -> None:
    text = "".join(parts)
    ids = SMALL.encode(text)
    assert SMALL.end_of_text not in ids
    assert SMALL.decode(ids) == text


def test_a_batch_is_encoded_as_its_texts_one_by_one() -> None:
    texts = [*TEXTS[:5], "", END_OF_TEXT, "🦊\0\r\n"]
    assert SMALL.encode_batch(texts) == [SMALL.encode(text) for text in texts]


def test_the_vocabulary_has_exactly_the_size_asked_for() -> None:
    for size in (257, 300, 320):
        tokenizer = Tokenizer.train(TEXTS, size)
        assert tokenizer.vocab_size == size
        assert max(max(ids) for ids in tokenizer.encode_batch(TEXTS)) < size


def test_training_on_the_same_texts_gives_the_same_tokenizer_in_every_process(tmp_path: Path) -> None:
    program = (
        "import json, sys; from autonas.data.tokenizer import Tokenizer; "
        "print(Tokenizer.train(iter(json.load(open(sys.argv[1]))), 320).fingerprint)"
    )
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS), encoding="utf-8")
    command = [sys.executable, "-c", program, str(tmp_path / "texts.json")]
    for threads in ("1", "4"):
        environment = {**os.environ, "PYTHONHASHSEED": threads, "RAYON_NUM_THREADS": threads}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert run.stdout.strip() == SMALL.fingerprint


def test_other_texts_or_sizes_give_other_fingerprints() -> None:
    others = [Tokenizer.train(TEXTS, 319), Tokenizer.train(["x y z " * 9000, *TEXTS], 320), SMALL]
    assert len({tokenizer.fingerprint for tokenizer in others}) == 3


def test_a_saved_tokenizer_is_the_same_one(tmp_path: Path) -> None:
    SMALL.save(tmp_path / "new" / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "new" / "tokenizer.json")
    assert (loaded.fingerprint, loaded.vocab_size, loaded.end_of_text) == (SMALL.fingerprint, 320, SMALL.end_of_text)
    assert loaded.encode_batch(TEXTS) == SMALL.encode_batch(TEXTS)
    assert loaded.encode(END_OF_TEXT) == SMALL.encode(END_OF_TEXT)


def test_a_vocabulary_below_the_bytes_is_refused() -> None:
    with pytest.raises(TokenizerError, match="at least 257"):
        Tokenizer.train(TEXTS, 256)


def test_a_corpus_too_small_for_the_vocabulary_says_what_it_could_fill() -> None:
    with pytest.raises(CorpusError, match=r"vocab_size is 50,000.* ask for at most [\d,]+") as caught:
        Tokenizer.train(TEXTS, 50_000)
    most = int(str(caught.value).split("ask for at most ")[1].split(", or")[0].replace(",", ""))
    assert Tokenizer.train(TEXTS, most).vocab_size == most


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(TokenizerError, match="Unicode"):
        SMALL.encode("a\ud800")


def test_saving_where_nothing_can_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ResourceError):
        SMALL.save(tmp_path / "file" / "tokenizer.json")


def changed(change: Callable[[dict[str, Any]], object], path: Path) -> Path:
    values = json.loads(SMALL.to_bytes())
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(normalizer={"type": "Lowercase"}),
        lambda values: values.update(normalizer={"type": "NFC"}),
        lambda values: values.update(decoder=None),
        lambda values: values.update(pre_tokenizer={"type": "Whitespace"}),
        lambda values: values["pre_tokenizer"].update(add_prefix_space=True),
        lambda values: values["model"].update(vocab={k: v for k, v in values["model"]["vocab"].items() if k != "ó"}),
        lambda values: values["added_tokens"].append(
            {**values["added_tokens"][0], "id": 320, "content": "  ", "special": False, "lstrip": True, "rstrip": True}
        ),
        lambda values: values["added_tokens"][0].update(special=False),
    ],
    ids=["lowercase", "nfc", "no decoder", "whitespace", "prefix space", "byte missing", "stripping token", "not special"],
)
def test_a_tokenizer_that_loses_text_is_refused(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> None:
    with pytest.raises(TokenizerError):
        Tokenizer.load(changed(change, tmp_path / "t.json"))


def test_a_tokenizer_without_end_of_text_is_refused(tmp_path: Path) -> None:
    backend = tokenizers.Tokenizer.from_str(SMALL.to_bytes().decode().replace(END_OF_TEXT, "<|other|>"))
    backend.save(str(tmp_path / "t.json"))
    with pytest.raises(TokenizerError, match="no end-of-text token"):
        Tokenizer.load(tmp_path / "t.json")


def test_habits_of_another_model_are_dropped(tmp_path: Path) -> None:
    def add_habits(values: dict[str, Any]) -> None:
        values["truncation"] = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
        values["padding"] = {"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None} | {
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": END_OF_TEXT,
        }
        values["model"]["dropout"] = 0.5
        values["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": END_OF_TEXT, "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {END_OF_TEXT: {"id": END_OF_TEXT, "ids": [0], "tokens": [END_OF_TEXT]}},
        }

    loaded = Tokenizer.load(changed(add_habits, tmp_path / "t.json"))
    assert loaded.encode_batch(TEXTS) == SMALL.encode_batch(TEXTS)


def test_another_name_of_end_of_text_is_known(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(SMALL.to_bytes().decode().replace(END_OF_TEXT, "</s>"), encoding="utf-8")
    loaded = Tokenizer.load(tmp_path / "t.json")
    assert loaded.end_of_text == SMALL.end_of_text
    assert loaded.end_of_text not in loaded.encode("<s>text</s>")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\xfe", b'{"version": "1.0", "model": {"type": "BPE"}}', b"null"])
def test_a_file_that_is_no_tokenizer_is_one_message(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"t\.json"):
        Tokenizer.load(tmp_path / "t.json")


def test_a_missing_tokenizer_is_one_message(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(TokenizerError, match="cannot be read"):
            Tokenizer.load(path)


def test_a_damaged_file_never_makes_another_kind_of_error(tmp_path: Path) -> None:
    draw, content = random.Random(0), SMALL.to_bytes()
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(draw.choice((1, 3))):
            damaged[draw.randrange(min(len(damaged), draw.choice((2000, len(damaged)))))] = draw.randrange(256)
        (tmp_path / "t.json").write_bytes(damaged[: draw.choice((len(damaged), draw.randrange(len(damaged))))])
        try:
            tokenizer = Tokenizer.load(tmp_path / "t.json")
        except TokenizerError:
            continue
        assert tokenizer.decode(tokenizer.encode(TEXTS[0])) == TEXTS[0]


def test_a_fork_after_encoding_neither_warns_nor_hangs() -> None:
    program = (
        "import os; from autonas.data.tokenizer import Tokenizer\n"
        "t = Tokenizer.train(['a b c d ab ab cd cd'] * 50, 260); t.encode_batch(['ab cd'] * 100)\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    t.encode_batch(['ab cd'] * 100); t.encode('ab'); os._exit(0)\n"
        "print(os.waitpid(pid, 0)[1])"
    )
    environment = {key: value for key, value in os.environ.items() if key != "TOKENIZERS_PARALLELISM"}
    command = [sys.executable, "-W", "ignore", "-c", program]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=50)
    assert run.stdout.strip() == "0"
    assert run.stderr == ""
