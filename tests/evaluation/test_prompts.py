from __future__ import annotations

import ast
import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from autonas.data.dataset import Dataset
from autonas.data.tokenizer import Tokenizer
from autonas.errors import CorpusError
from autonas.evaluation.prompts import Prompt, choose_prompts, held_out_prompts, read_prompts
from autonas.evaluation.python_prompts import BARE_PROMPTS, FEW_SHOT_PROMPTS
from autonas.trial import EvaluationSettings

PRIOR_ELEVEN = (
    *("subtract", "divide", "max_value", "factorial", "is_even"),
    *("Timer", "Stack", "Queue"),
    *("linear_search", "bubble_sort", "reverse_list"),
)
OTHER = EvaluationSettings(language="other", prompts_per_kind=4)


def test_the_prior_systems_eleven_come_first_after_their_own_examples() -> None:
    for prompt, name in zip(FEW_SHOT_PROMPTS, PRIOR_ELEVEN, strict=False):
        assert name in prompt.rstrip("\n").rsplit("\n", 1)[-1]
    for prompts, examples in ((FEW_SHOT_PROMPTS[:5], ("add", "multiply")), (FEW_SHOT_PROMPTS[5:8], ("Counter",))):
        assert all(f" {example}" in prompt for prompt in prompts for example in examples)
    assert all("binary_search" in prompt for prompt in FEW_SHOT_PROMPTS[8:11])


def test_there_are_enough_prompts_and_no_two_are_alike() -> None:
    assert len(set(FEW_SHOT_PROMPTS)) == len(FEW_SHOT_PROMPTS) >= 41
    assert len(set(BARE_PROMPTS)) == len(BARE_PROMPTS) >= 40
    assert all("\n" not in prompt for prompt in BARE_PROMPTS)


@pytest.mark.parametrize("prompt", FEW_SHOT_PROMPTS, ids=lambda prompt: prompt.strip().rsplit("\n", 1)[-1])
def test_every_few_shot_prompt_is_python_that_waits_for_a_body(prompt: str) -> None:
    head = prompt.rstrip("\n").rsplit("\n", 1)[-1]
    indent = len(head) - len(head.lstrip())
    last = ast.parse(prompt + " " * (indent + 4) + "pass\n").body[-1]
    assert isinstance(last, ast.FunctionDef | ast.ClassDef), "the body that is wanted belongs to a function or a class"


def test_every_prompt_leaves_room_for_60_tokens_in_a_context_of_256_with_a_vocabulary_of_2048() -> None:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[::4]
    tokenizer = Tokenizer.train([file.read_text(encoding="utf-8") for file in files], 2048)
    lengths = [1 + len(ids) for ids in tokenizer.encode_batch([*FEW_SHOT_PROMPTS, *BARE_PROMPTS])]
    assert max(lengths) <= 256 - 60


@pytest.mark.parametrize("count", [1, 5, 11, 32, 1000])
def test_python_studies_answer_the_embedded_prompts_equally_many_of_each_kind(dataset: Dataset, count: int) -> None:
    chosen = choose_prompts(dataset, EvaluationSettings(prompts_per_kind=count))
    few_shot = [prompt.text for prompt in chosen if prompt.kind == "few_shot"]
    assert few_shot == list(FEW_SHOT_PROMPTS[:count])
    assert len(chosen) - len(few_shot) == min(count, len(BARE_PROMPTS))


def test_other_languages_answer_beginnings_and_lines_of_held_out_documents(dataset: Dataset) -> None:
    chosen = choose_prompts(dataset, OTHER)
    assert chosen == choose_prompts(dataset, OTHER)
    texts = [dataset.text("test", number) for number in range(len(dataset.documents("test")))]
    for prompt in chosen:
        assert prompt.text.strip()
        if prompt.kind == "few_shot":
            assert prompt.text.endswith("\n") and any(text.startswith(prompt.text) for text in texts)
            assert len(dataset.tokenizer.encode(prompt.text)) <= 121
        else:
            assert "\n" not in prompt.text and any(prompt.text in text.split("\n") for text in texts)
    kinds = [prompt.kind for prompt in chosen]
    assert kinds.count("few_shot") == kinds.count("bare") == min(4, len(texts))


def test_validation_documents_serve_where_there_are_no_test_documents(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_split = dataset.documents
    none = of_split("test")
    without = type(none)(starts=none.starts[:1], bytes=none.bytes[:0], names=(), projects=())
    monkeypatch.setattr(dataset, "documents", lambda split: without if split == "test" else of_split(split))
    first = held_out_prompts(dataset, 1)[0].text
    assert any(dataset.text("validation", n).startswith(first) for n in range(len(of_split("validation"))))
    monkeypatch.setattr(dataset, "documents", lambda split: without)
    with pytest.raises(CorpusError, match="prompts_file"):
        held_out_prompts(dataset, 1)


def test_a_file_holds_strings_and_objects_and_its_kinds_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    lines = ["fn main() {", "fn a() {}\n\nfn b() {", {"prompt": "x\ny", "kind": "bare"}, {"prompt": "let x"}]
    path.write_text("\n\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    assert read_prompts(path) == [
        Prompt(text="fn main() {", kind="bare"),
        Prompt(text="fn a() {}\n\nfn b() {", kind="few_shot"),
        Prompt(text="x\ny", kind="bare"),
        Prompt(text="let x", kind="bare"),
    ]


def test_of_a_long_file_prompts_are_taken_from_all_over(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(json.dumps(f"line {number}") for number in range(100)), encoding="utf-8")
    chosen = choose_prompts(dataset, EvaluationSettings(prompts_file=str(path), prompts_per_kind=4))
    assert [prompt.text for prompt in chosen] == ["line 0", "line 25", "line 50", "line 75"]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("def add(a, b):", "not JSON"),
        ("[1]", "no prompt"),
        ('""', "no prompt"),
        ('{"kind": "bare"}', "no prompt"),
        ('{"prompt": "x", "kind": "long"}', "kind is 'long'"),
        ('{"prompt": "x", "kind": ["bare"]}', "kind is"),
        ('{"prompt": "x", "colour": 1}', "'colour'"),
        ('"\\ud800"', "surrogate"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_wrong_line_is_one_message_that_names_file_and_line(tmp_path: Path, line: str, word: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'"x = 1"\n\n{line}\n', encoding="utf-8")
    with pytest.raises(CorpusError) as caught:
        read_prompts(path)
    assert word in str(caught.value) and f"{path}:3" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"), [(b"", "empty"), (b"\n \n", "empty"), (b"\xff\xfe", "UTF-8"), (None, "cannot be read")]
)
def test_a_wrong_file_is_one_message(tmp_path: Path, content: Any, word: str) -> None:
    path = tmp_path / "prompts.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorpusError, match=word):
        read_prompts(path)


def test_needs_no_torch() -> None:
    code = "import sys, autonas.evaluation.prompts, autonas.evaluation.baselines; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
