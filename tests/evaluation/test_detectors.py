from __future__ import annotations

import random
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autonas.data.tokenizer import Tokenizer
from autonas.evaluation.detectors import detect, detect_prior, is_collapsed, is_collapsed_prior
from tests.evaluation.collapse_examples import CLEAN, COLLAPSED, PRIOR_CLEAN, PRIOR_COLLAPSED


def test_the_labelled_set_is_large_enough() -> None:
    assert len(set(COLLAPSED + PRIOR_COLLAPSED)) >= 40 and len(set(CLEAN + PRIOR_CLEAN)) >= 60


@pytest.mark.parametrize("text", PRIOR_COLLAPSED + COLLAPSED, ids=lambda text: repr(text)[:40])
def test_a_collapsed_text_is_detected(text: str) -> None:
    assert is_collapsed(text)


@pytest.mark.parametrize("text", PRIOR_CLEAN + CLEAN, ids=lambda text: repr(text)[:40])
def test_code_that_only_looks_repetitive_is_clean(text: str) -> None:
    assert detect(text) == ()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("):" * 4, "prior:):"),
        ("::" * 4, "prior:::"),
        ("))))" * 4, "prior:))))"),
        ("((((" * 4, "prior:(((("),
        ("____" * 4, "prior:____"),
        ("def def def def def def def def", "prior:def def"),
        ("self self self self self self self self", "prior:self self"),
        ("return return return return return return return return", "prior:return return"),
        ("########" * 4, "prior:########"),
        (" " * 96, "prior:spaces"),
        ("of of of", "prior:word"),
    ],
)
def test_each_prior_rule_fires_at_its_threshold_and_not_before(text: str, rule: str) -> None:
    assert rule in detect_prior(f"x {text} y") or rule in detect_prior(text)
    shorter = text.rsplit(" ", 1)[0] if text.strip() and " " in text else text[:-1]
    assert rule not in detect_prior(shorter)


def test_the_prior_rules_are_blind_to_single_letters_and_to_lines() -> None:
    assert not is_collapsed_prior("b b b b b b b b")
    assert not is_collapsed_prior("x = x + 1\n" * 9)
    assert not is_collapsed_prior("3010101010101010")


@given(st.sampled_from(COLLAPSED), st.sampled_from(CLEAN))
def test_a_loop_is_found_behind_clean_code(loop: str, code: str) -> None:
    assert is_collapsed(code + "\n" + loop)


@given(
    st.text(alphabet="abcdefgh_.(", min_size=2, max_size=30).filter(
        lambda unit: len(set(unit)) > 2 and any(map(str.isalpha, unit))
    )
)
def test_any_unit_said_over_and_over_is_a_loop(unit: str) -> None:
    assert is_collapsed(unit * 12)


@given(st.lists(st.text(alphabet="abcxyz =+", min_size=6, max_size=20).filter(str.strip), min_size=1, max_size=5))
def test_any_lines_said_over_and_over_are_a_loop(lines: list[str]) -> None:
    assert is_collapsed("\n".join(lines * 8))


@given(st.text(max_size=300))
@example("\0" * 50)
@example("\ud800" * 30)
def test_every_text_gets_an_answer(text: str) -> None:
    names = detect(text)
    assert len(set(names)) == len(names)
    assert is_collapsed(text) == bool(names) and is_collapsed_prior(text) == bool(detect_prior(text))


def test_fewer_than_one_in_a_hundred_real_continuations_is_called_collapsed() -> None:
    library = Path(sysconfig.get_path("stdlib"))
    generator = random.Random(7)
    # The generated tables of encodings/ are no code, and the corpus leaves them out as well.
    files = [file for file in sorted(library.rglob("*.py")) if not {"site-packages", "encodings", "test"} & set(file.parts)]
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in generator.sample(files, 250)]
    tokenizer = Tokenizer.train(texts[:120], 2048)
    continuations = []
    for ids in tokenizer.encode_batch(texts):
        for _ in range(10 if len(ids) > 60 else 0):
            start = generator.randrange(len(ids) - 60)
            continuations.append(tokenizer.decode(ids[start : start + 60]))
    assert len(continuations) > 1500
    wrong = [text for text in continuations if is_collapsed(text)]
    assert len(wrong) < 0.01 * len(continuations), wrong


def test_needs_no_torch() -> None:
    code = "import sys, autonas.evaluation.detectors; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
