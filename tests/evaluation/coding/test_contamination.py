from __future__ import annotations

import gzip
import json
import textwrap
from pathlib import Path

import pytest

from autonas.data.dataset import CorpusSettings, Dataset, TokenizerSettings, prepare
from autonas.evaluation.coding.contamination import (
    Contamination,
    contaminated,
    contamination_findings,
    corpus_findings,
    training_texts,
)
from autonas.evaluation.coding.loading import load_tasks
from autonas.evaluation.coding.tasks import CodingTask, builtin_tasks, make_task
from tests.data.conftest import source_text

TASKS = builtin_tasks()
SHORT = {"add", "multiply", "max_value", "abs_value", "is_even", "reverse_list", "is_palindrome", "string_reverse"}


def task(name: str) -> CodingTask:
    return next(each for each in TASKS if each.name == name)


def found_in(*texts: str, tasks: tuple[CodingTask, ...] = TASKS) -> tuple[Contamination, ...]:
    return contaminated(tasks, [(f"text {number}", text) for number, text in enumerate(texts)])


@pytest.mark.parametrize("name", [each.name for each in TASKS])
def test_a_task_that_stands_in_a_text_is_found_there_and_nowhere_else(name: str) -> None:
    planted = f"{source_text(1)}\n\n{task(name).program}\n\n{source_text(2)}"
    found = found_in(source_text(3), planted, source_text(4))
    assert {each.document for each in found} == {"text 1"}
    assert name in {each.task for each in found}
    whole = next(each for each in found if each.task == name and each.kind == "function")
    assert whole.function == name and whole.commonplace == (name in SHORT)
    # The two tasks that reverse have one body.
    assert {each.task for each in found} - {name} <= {"reverse_list", "string_reverse"}


def test_a_clean_corpus_has_none(dataset: Dataset) -> None:
    hard = [each for each in contaminated(TASKS, training_texts(dataset)) if not each.commonplace]
    assert hard == []


RENAMED = '''
class Tools:
    def greatest(self, x: int, y: "int" = 2) -> int:  # by Euclid
        """Something else.

        Over lines.
        """
        # round and round
        while y:

            x, y = (
                y), x % y
        return x

    other = 1
'''


def test_a_reference_is_found_under_other_names_as_a_method_with_annotations_and_comments() -> None:
    plain = RENAMED.replace("(\n                y), x", "y, x").replace(" = 2)", ")")
    (found,) = found_in(plain)
    assert (found.task, found.kind, found.function, found.commonplace) == ("gcd", "function", "greatest", False)
    assert found_in(RENAMED) == (), "another default and brackets are another program to us"


@pytest.mark.parametrize("change", [("x % y", "y % x"), ("while", "if"), ("return x", "return y"), ("x, y = ", "y, x = ")])
def test_another_program_is_not_the_reference(change: tuple[str, str]) -> None:
    plain = RENAMED.replace("(\n                y), x", "y, x").replace(" = 2)", ")")
    assert found_in(plain.replace(*change)) == ()


def test_a_prompt_alone_is_found_word_for_word() -> None:
    long = task("fibonacci")
    found = found_in(f"# {long.prompt}\n    raise NotImplementedError\n")
    assert [(each.task, each.kind) for each in found] == [("fibonacci", "prompt")] and found[0].share == 1.0
    assert found_in(long.prompt.replace("first two", "last three").replace("Fibonacci", "Lucas")) == ()


def test_half_of_a_solution_is_enough_and_a_quarter_is_not() -> None:
    lines = task("bubble_sort").solution.strip("\n").split("\n")
    most, few = "\n".join(lines[1:-1]), "\n".join(lines[-2:])
    assert [(each.task, each.kind) for each in found_in(most)] == [("bubble_sort", "solution")]
    assert 0.5 <= found_in(most)[0].share < 1.0
    assert found_in(few[: len(few) // 2]) == ()


def test_tasks_in_json_are_seen_through_its_escapes() -> None:
    rows = "\n".join(json.dumps({"prompt": each.prompt, "solution": each.program}) for each in TASKS)
    found = found_in(rows)
    given = {each.task for each in found if not each.commonplace}
    assert given >= {each.name for each in TASKS} - SHORT


def test_every_published_task_is_found_in_the_file_as_it_is_published(published: Path) -> None:
    path = published / "HumanEval.jsonl.gz"
    tasks = load_tasks(str(path))
    found = contaminated(tasks, [("file", gzip.decompress(path.read_bytes()).decode())])
    assert {each.task for each in found if each.kind == "prompt"} >= {each.name for each in tasks if len(each.prompt) > 300}
    assert {each.task for each in found} == {each.name for each in tasks}


def test_escapes_in_the_strings_of_a_program_stay_what_they_are() -> None:
    own = make_task(
        name="lines",
        prompt='def lines(texts):\n    """Join."""',
        entry_point="lines",
        solution='\n    joined = "\\n".join(texts)\n    return joined + "\\t" + str(len(texts))\n',
        tests="pass",
        source="here",
    )
    other = own.program.replace("str(len(texts))", "repr(len(texts))")
    assert [each.kind for each in found_in(own.program, tasks=(own,))] == ["prompt", "solution", "function"]
    assert "function" not in {each.kind for each in found_in(other, tasks=(own,))}
    assert "function" in {each.kind for each in found_in(json.dumps(own.program), tasks=(own,))}


def test_an_alarm_for_what_is_given_away_and_a_note_of_what_anybody_writes() -> None:
    found = found_in("def plus(left, right):\n    return left + right\n", task("gcd").program)
    alarm, note = contamination_findings(TASKS, found)
    assert (alarm.severity, note.severity) == ("alarm", "note") and (alarm.check, note.check) == (
        "benchmark_in_corpus",
        "commonplace_tasks",
    )
    assert "1 of 20 tasks" in alarm.text and "gcd" in alarm.text and "text 1" in alarm.text
    assert "1 tasks (add)" in note.text
    assert contamination_findings(TASKS, ()) == ()


def test_methods_at_any_indent_and_several_in_one_text_are_found() -> None:
    body = textwrap.indent(task("factorial").program, "        ")
    text = f"class A:\n    if True:\n{body}\n{body.replace('factorial', 'again')}\n\nclass B:\n{source_text(5)}"
    assert [each.function for each in found_in(text) if each.kind == "function"] == ["factorial", "again"]


def test_a_corpus_with_planted_tasks_raises_the_alarm_and_names_the_file(tmp_path: Path) -> None:
    root = tmp_path / "code"
    for number in range(12):
        path = root / f"project{number}" / "file.py"
        path.parent.mkdir(parents=True)
        path.write_text(source_text(number) + (task("linear_search").program if number % 4 == 0 else ""), encoding="utf-8")
    corpus = prepare(CorpusSettings(paths=(f"{root}/**/*.py",)), TokenizerSettings(vocab_size=300), tmp_path / "cache")
    names = corpus.documents("train").names
    planted = {name for number, name in enumerate(names) if "def linear_search" in corpus.text("train", number)}
    found = contaminated(TASKS, training_texts(corpus))
    assert planted and {each.document for each in found} == planted and {each.task for each in found} == {"linear_search"}
    (alarm,) = contamination_findings(TASKS, found)
    assert alarm.severity == "alarm"


@pytest.mark.parametrize(("number", "severity"), [(3, "note"), (6, "alarm")])
def test_a_few_textbook_functions_are_a_note_where_no_task_is_scored(tmp_path: Path, number: int, severity: str) -> None:
    hard = [each for each in TASKS if each.name not in SHORT][:number]
    root = tmp_path / "code"
    for place in range(12):
        path = root / f"project{place}" / "file.py"
        path.parent.mkdir(parents=True)
        planted = "\n\n".join(each.program for each in hard)
        path.write_text(f"{source_text(place)}\n\n{planted if place % 2 else ''}\n", encoding="utf-8")
    corpus = prepare(CorpusSettings(paths=(f"{root}/**/*.py",)), TokenizerSettings(vocab_size=300), tmp_path / "cache")
    (found,) = corpus_findings(corpus)
    assert (found.check, found.severity) == ("benchmark_in_corpus", severity) and f"{number} of 20 tasks" in found.text


def test_published_tasks_are_found_in_their_own_file_and_not_in_one_another(published: Path) -> None:
    tasks = load_tasks(str(published / "HumanEval.jsonl.gz"))
    texts = [("itself", "\n\n\n".join(each.program for each in tasks)), ("ours", "\n\n\n".join(each.program for each in TASKS))]
    found = contaminated(tasks, texts)
    assert {each.task for each in found if each.document == "itself"} == {each.name for each in tasks}
    across = {(each.task, each.commonplace) for each in found if each.document == "ours"}
    assert len(across) <= 5
