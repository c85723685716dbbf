"""The collapse detectors: right on the labelled set, and what holds for any text."""

from __future__ import annotations

import random
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from autonas.bench.detectors import GOAL, Labelled, confusion, read_labelled
from autonas.data.tokenizer import Tokenizer
from autonas.evaluation.detectors import (
    SUITE,
    detect,
    detect_prior,
    is_collapsed,
    is_collapsed_prior,
    measures,
)
from autonas.evaluation.detectors.loops import word_loop
from autonas.evaluation.detectors.reading import Reading
from tests.evaluation.collapse_examples import FAMILIES, read_rows, rebuilt

SAMPLES = read_labelled()
COLLAPSED = [sample.text for sample in SAMPLES if sample.collapsed]
CLEAN = [sample.text for sample in SAMPLES if not sample.collapsed]
# Texts of the set that the suite gets wrong, by family; every other family has none.
KNOWN_WRONG = {
    "tables": 1,
    "phrases": 1,
    "more code and data": 1,
    "model, temperature 0": 1,
    "model, temperature 0.7": 1,
    "model, any temperature": 1,
    "code, data and documents": 1,
    "loops of many kinds": 2,
}
# What stays detected whatever stands before it: it says enough by itself.
LOOPS = [
    "x = x + 1\n" * 12,
    "self.assertEqual(a, 1)\n" * 6,
    "of the name " * 10,
    "):" * 20,
    "return " * 9,
    "\n" * 40,
    "def add(a, b):\n    return a + b\n\n" * 5,
    "_name" * 12,
    "(" * 30,
    " value," * 15,
]
WORDS = [
    "self",
    "x",
    "=",
    "return",
    "(",
    ")",
    ".",
    "name",
    "value",
    "+",
    "if",
    "in",
    "the",
    "of",
    ":",
    "def",
    "path",
    "not",
    "key",
]


def test_the_labelled_set_is_large_and_balanced() -> None:
    assert len({sample.text for sample in SAMPLES}) == len(SAMPLES) >= 1000
    assert 0.4 < len(COLLAPSED) / len(SAMPLES) < 0.6
    assert {sample.part for sample in SAMPLES} == {"tuning", "held out", "fresh", "unseen 1", "unseen 2"}
    assert {sample.origin for sample in SAMPLES} == {"written", "generated", "drawn", "model"}
    assert all(sample.why for sample in SAMPLES)


def test_the_generated_part_of_the_labelled_set_can_be_rebuilt() -> None:
    rows = read_rows()
    assert rebuilt() == rows
    assert {row["family"] for row in rows if row["origin"] == "generated"} == set(FAMILIES)


@pytest.mark.parametrize("part", ["all", "tuning", "held out", "fresh", "unseen 1", "unseen 2"])
def test_precision_and_recall_on_the_labelled_set(part: str) -> None:
    found = confusion([sample for sample in SAMPLES if part in ("all", sample.part)], is_collapsed)
    for hits, total in (found.precision, found.recall):
        assert total > 50 and hits / total >= GOAL, found


@pytest.mark.parametrize("family", sorted({sample.family for sample in SAMPLES}))
def test_each_family_is_judged_right(family: str) -> None:
    wrong = [sample.text for sample in SAMPLES if sample.family == family and is_collapsed(sample.text) != sample.collapsed]
    assert len(wrong) <= KNOWN_WRONG.get(family, 0), wrong


def test_a_suite_without_loops_and_the_prior_rules_would_both_fail() -> None:
    statistics_only = [detector for detector in SUITE if not detector.name.startswith("loop:")]
    judges: list[Callable[[str], bool]] = [
        lambda text: any(detector.fires(Reading(text)) for detector in statistics_only),
        is_collapsed_prior,
        lambda text: word_loop(Reading(text)),
    ]
    for judge in judges:
        hits, total = confusion(SAMPLES, judge).recall
        assert hits / total < GOAL


def test_every_detector_catches_something_and_is_documented() -> None:
    fired = {name for text in COLLAPSED for name in detect(text)}
    assert fired == {detector.name for detector in SUITE} and len(fired) == len(SUITE)
    assert all(detector.definition and detector.threshold and detector.reason for detector in SUITE)
    assert all(detector.fires.__doc__ for detector in SUITE)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.family == "prior outputs"], ids=lambda s: repr(s.text)[:40])
def test_what_the_prior_system_stored_as_collapsed_is_detected(sample: Labelled) -> None:
    assert is_collapsed(sample.text)


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


def test_the_prior_rules_are_no_part_of_the_suite() -> None:
    for banner in (
        "#" * 79 + "\n# Constants\n" + "#" * 79 + "\n",
        "====  ====  ====\na     b     c\n",
        "0.0 0.0 0.0 0.0\n1.0 0.0 0.0 0.0\n",
    ):
        assert is_collapsed_prior(banner) and not is_collapsed(banner)


@given(st.sampled_from(LOOPS), st.sampled_from([text for text in CLEAN if len(text) < 400]))
def test_a_loop_is_found_behind_clean_text(loop: str, before: str) -> None:
    assert is_collapsed(f"{before}\n{loop}")


@given(st.sampled_from(COLLAPSED), st.sampled_from(LOOPS))
def test_appending_a_loop_never_undoes_a_detection(text: str, loop: str) -> None:
    assert is_collapsed(f"{text}\n{loop}")


@given(st.sampled_from([sample.text for sample in SAMPLES if "\r" not in sample.text]))
def test_line_endings_make_no_difference(text: str) -> None:
    assert detect(text.replace("\n", "\r\n")) == detect(text)


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=60), st.sampled_from(["", " ", "\n"]), st.data())
def test_any_unit_said_over_and_over_is_a_loop_from_any_place_to_any_cut(
    unit: list[str], spread: str, data: st.DataObject
) -> None:
    assume(any(len(word) > 2 for word in unit))
    text = spread.join(unit) + (spread or " ")
    copies = 9 if len(unit) < 4 else 5 if len(unit) < 12 else 4
    begin = data.draw(st.integers(0, len(text) - 1))
    length = copies * len(text) + data.draw(st.integers(0, len(text) - 1))
    assert is_collapsed((text * (copies + 2))[begin : begin + length])


@given(
    st.text(alphabet="abcdefgh_.(", min_size=2, max_size=30).filter(
        lambda unit: len(set(unit)) > 2 and any(map(str.isalpha, unit))
    )
)
def test_any_characters_said_over_and_over_are_a_loop(unit: str) -> None:
    assert is_collapsed(unit * 12)


@given(st.lists(st.text(alphabet="abcxyz =+", min_size=6, max_size=20).filter(str.strip), min_size=1, max_size=5))
def test_any_lines_said_over_and_over_are_a_loop(lines: list[str]) -> None:
    assert is_collapsed("\n".join(lines * 26))


@pytest.mark.parametrize("tokens", [20, 60, 200])
def test_a_block_is_found_when_the_text_is_cut_in_its_third_copy(tokens: int) -> None:
    block = " ".join(f"name_{i} = value_{i * 7 % 11} ;" for i in range(tokens // 4))
    assert not is_collapsed(block)
    assert is_collapsed(f"{block}\n{block}\n{block[: len(block) // 2]}" if tokens > 20 else f"{block}\n" * 3)


@given(st.text(max_size=300))
@example("\0" * 50)
@example("\ud800" * 30)
def test_every_text_gets_an_answer(text: str) -> None:
    names = detect(text)
    assert len(set(names)) == len(names)
    assert is_collapsed(text) == bool(names) and is_collapsed_prior(text) == bool(detect_prior(text))
    found = measures(text)
    for share in (found.seq_rep_4, found.distinct_1, found.distinct_2, found.symbol_share, found.loop_share, found.space_share):
        assert 0 <= share <= 1
    assert found.compression > 0 and found.entropy >= 0 and found.characters <= len(text)


def test_measures_are_what_they_say() -> None:
    found = measures("a b c d a b c d")
    assert found.seq_rep_4 == pytest.approx(1 - 4 / 5)  # abcd bcda cdab dabc abcd
    assert found.distinct_1 == pytest.approx(4 / 8) and found.distinct_2 == pytest.approx(4 / 7)
    assert found.entropy == pytest.approx(2.0)
    assert found.symbol_share == pytest.approx(2 / 8) and found.space_share == pytest.approx(7 / 15)
    assert found.loop_share == 0 and measures("x " + "a b " * 4).loop_share == pytest.approx(8 / 9)
    nothing = measures("")
    assert (nothing.seq_rep_4, nothing.distinct_1, nothing.distinct_2, nothing.compression) == (0, 1, 1, 1)
    assert measures("ab" * 200).compression < 0.1 < measures("The quick brown fox jumps over the lazy dog").compression


def test_rows_that_count_are_no_babble_and_the_same_rows_without_the_counter_are() -> None:
    rows = [f"assert is_even({number}) is True" for number in range(2, 20, 2)]
    assert not is_collapsed("\n".join(rows))
    assert not is_collapsed("\n".join(f'{{"id": {number}, "on": false, "tags": []}},' for number in range(9)))
    assert is_collapsed("\n".join(rows[:1] * 9))


@pytest.mark.parametrize("marks", ["= (", ") ; }", "# /", "[ =="])
def test_marks_in_no_order_are_babble_and_a_table_of_data_is_not(marks: str) -> None:
    generator = random.Random(marks)
    babble = " ".join(generator.choice(marks.split()) for _ in range(40))
    assert "lexeme:entropy" in detect(babble)
    table = "\n".join(", ".join(generator.choice("01") for _ in range(8)) for _ in range(8))
    assert not is_collapsed(table) and not is_collapsed(f"mask = [\n{table}\n]\n")


def test_measures_tell_loops_from_code_on_average() -> None:
    def mean(texts: list[str], name: str) -> float:
        return sum(float(getattr(measures(text), name)) for text in texts) / len(texts)

    assert mean(COLLAPSED, "seq_rep_4") > 2.5 * mean(CLEAN, "seq_rep_4")
    assert mean(COLLAPSED, "loop_share") > 2.5 * mean(CLEAN, "loop_share")
    assert mean(COLLAPSED, "compression") < 0.7 * mean(CLEAN, "compression")


def test_thousands_of_characters_take_no_minutes() -> None:
    begun = time.process_time()
    for text in ("x = foo(a, b)\n" * 1000, " " * 20_000, "ab" * 8000, "".join(CLEAN)[:20_000]):
        detect(text)
    assert time.process_time() - begun < 20


@pytest.mark.slow
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
