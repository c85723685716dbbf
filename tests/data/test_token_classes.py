from __future__ import annotations

import json
import keyword
import re
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from autonas.data.token_classes import BLANK, CLASSES, CONTENT, STRUCTURAL, is_word_character, token_classes
from autonas.data.tokenizer import Tokenizer

LIBRARY = Path(sysconfig.get_path("stdlib"))
TEXTS = [(LIBRARY / name).read_text(encoding="utf-8") for name in ("ast.py", "argparse.py", "json/decoder.py", "heapq.py")]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXTS, 900)


def classes_in(tokenizer: Tokenizer, text: str, language: str = "python") -> list[tuple[str, str]]:
    """Each token's text and class."""
    ids = np.array(tokenizer.encode(text))
    table = token_classes(tokenizer, language)
    return [(table.texts[number], CLASSES[found]) for number, found in zip(ids, table.of(ids), strict=True)]


def test_every_entry_has_one_class_and_its_own_text(tokenizer: Tokenizer) -> None:
    table = token_classes(tokenizer)
    assert len(table.alone) == len(table.texts) == tokenizer.vocab_size
    assert CLASSES[table.alone[tokenizer.end_of_text]] == "special"
    assert [i for i, text in enumerate(table.texts) if not text] == [tokenizer.end_of_text]
    ids = tokenizer.encode(TEXTS[0])
    assert "".join(table.texts[number] for number in ids) == TEXTS[0], "no entry's text depends on its neighbours"
    assert set(STRUCTURAL) | set(BLANK) | set(CONTENT) <= set(CLASSES) and not set(CONTENT) & {*STRUCTURAL, *BLANK}


def test_a_piece_of_code_is_classed_as_a_reader_would(tokenizer: Tokenizer) -> None:
    found = classes_in(tokenizer, "def xy_qq(self, k):\n    return self.zz[10] + 'aé'  # for\n")
    by_class: dict[str, str] = dict.fromkeys(CLASSES, "")
    for text, name in found:
        by_class[name] += text
    assert by_class["keyword"].split() == ["def", "return", "for"]
    assert by_class["number"] == "10"
    assert by_class["comment"].strip() == "#"
    assert by_class["newline"].count("\n") == 2
    assert by_class["quote"].count("'") == 2
    assert set(by_class["punctuation"]) <= set("(,):.[]+ ") and by_class["other"] == "\ufffd\ufffd"
    assert by_class["special"] == ""


def test_words_run_on_over_tokens_exactly_as_letters_do(tokenizer: Tokenizer) -> None:
    """Of every word of real code, in all its tokens: the first begins it and the others go on with it."""
    table = token_classes(tokenizer)
    for text in TEXTS:
        ids = np.array(tokenizer.encode(text))
        found = [CLASSES[each] for each in table.of(ids)]
        before = ""
        for number, name in zip(ids, found, strict=True):
            piece = table.texts[number]
            goes_on = is_word_character(before[-1:]) and is_word_character(piece[:1])
            if name in ("word", "keyword"):
                assert not goes_on, (before, piece)
            elif name == "subword":
                assert goes_on, (before, piece)
            before = piece


def test_keywords_are_counted_as_they_stand_in_code(tokenizer: Tokenizer) -> None:
    """Where the vocabulary has the keyword whole, with a blank before it and without."""
    table = token_classes(tokenizer)
    whole = {word for word in keyword.kwlist if {word, f" {word}"} <= set(table.texts)}
    assert len(whole) >= 8
    text = "".join(line + "\n" for source in TEXTS for line in source.splitlines() if not re.search(r"[#'\"]", line))
    code = re.compile(r"[^\x00-\x7f]").sub("", text)
    expected: Counter[str] = Counter(word for word in re.findall(r"\w+", code) if word in whole)
    counted: Counter[str] = Counter()
    for piece, name in classes_in(tokenizer, code):
        if name == "keyword":
            counted[piece.strip()] += piece.strip() in whole
    assert +counted == expected


def test_a_keyword_inside_a_word_is_none(tokenizer: Tokenizer) -> None:
    for text in ("x forx", "x_for", "inx"):
        assert "keyword" not in [name for _, name in classes_in(tokenizer, text)], text
    assert "keyword" not in [name for _, name in classes_in(tokenizer, "for x in y", "other")]


def test_mixed_tokens_are_of_the_first_class_that_fits() -> None:
    """Tokenizers without our pre-tokenizer have tokens over all borders."""
    text = '):\n    return self.x\n# a\n#\n"":\n  =1\n) \t' * 20
    own = Tokenizer.train([text], 260)
    values = json.loads(own.to_bytes())
    vocabulary = values["model"]["vocab"]
    mixed = {
        "):Ċ": "newline", "ĊĊĠĠ": "newline", "Ġ": "whitespace", "ĠĉĠ": "whitespace", "):": "punctuation", ".x": "word",
        "Ġif": "keyword", "ifĊ": "keyword", "=1": "number", '")': "quote", "Ġ##": "comment", "#:": "punctuation", "x1": "word",
        "1x": "word", "_": "word", "Ċreturn": "keyword", "ĊĠreturnĠ1": "word", "Ã": "other", "ĠÃ": "other", "Ã©": "word",
    }  # fmt: skip
    for name in mixed:
        vocabulary.setdefault(name, len(vocabulary))
    backend = Tokenizer._from_backend(__import__("tokenizers").Tokenizer.from_str(json.dumps(values)), "here")
    table = token_classes(backend)
    found = {name: CLASSES[table.alone[vocabulary[name]]] for name in mixed}
    assert found == mixed


def test_parts_are_those_of_the_whole_row(tokenizer: Tokenizer) -> None:
    ids = np.array(tokenizer.encode(TEXTS[1]))
    table = token_classes(tokenizer)
    whole = table.of(ids)
    for size in (1, 7, 1000, len(ids) + 5):
        assert np.array_equal(np.concatenate(list(table.parts(ids, size))), whole)
    assert np.array_equal(table.count(ids), np.bincount(whole, minlength=len(CLASSES)))
    assert table.count(ids[:0]).sum() == 0


def test_end_of_text_joins_no_words(tokenizer: Tokenizer) -> None:
    table = token_classes(tokenizer)
    word = tokenizer.encode("self")
    assert len(word) == 1
    ids = np.array([*word, tokenizer.end_of_text, *word])
    assert [CLASSES[each] for each in table.of(ids)] == ["word", "special", "word"]
