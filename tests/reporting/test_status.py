"""Where studies stand, in words: all that is given is told, within 80 columns, in an order that stays."""

from __future__ import annotations

import copy
import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.reporting.columns import WIDTH, columns_of
from autonas.reporting.front import build_report
from autonas.reporting.progress import progress_json
from autonas.reporting.status import text_status, text_statuses
from tests.reporting.studies import make_study, with_controls

REPORT = build_report(with_controls(make_study(trials=40, survivors=40)))


def status(name: str = "quickstart", state: str = "ended", **changes: Any) -> dict[str, Any]:
    states = {"live": 0, "complete": 12, "stopped": 20, "infeasible": 3, "failed": 2}
    return {
        "study": name,
        "state": state,
        "closed": "all 40 trials have ended" if state == "ended" else None,
        "trials": {**states, "begun": 40, "wanted": 40, "repeats": 2},
        "rungs": [40, 14],
        "failures": {"diverged": 2},
        "front": 7,
        **copy.deepcopy(progress_json(REPORT)),
        "retries": 3,
        "promotions": [
            {
                "trial": 4,
                "steps": 50_000,
                "folder": "trials/quickstart/runs/4-0f1e2d3c-50000",
                "state": "running",
                "progress": {"tokens": 1e6, "total_tokens": 4e6, "val_loss": 3.21, "left_s": 640.0},
            }
        ],
        "second_looks": [{"candidates": [4, 5], "steps": 900, "folder": "trials/x", "state": "interrupted"}],
        "spent_s": 754.2,
        "left_s": 3721.0,
        **changes,
    }


def test_one_study_is_told_fact_by_fact_in_one_column() -> None:
    lines = text_status(status()).splitlines()
    assert lines[0] == "quickstart: ended (all 40 trials have ended)"
    text = " ".join(" ".join(lines).split())
    for part in (
        "40 of 40 begun and 2 repeated",
        "2 diverged",
        "3 jobs were tried again",
        "12 min 34 s so far",
        "about 1 h 02 min",
    ):
        assert part in text
    for part in ("hypervolume 0.", "search alone would have", "more training would add", "trial 4, 50,000 steps: running"):
        assert part in text
    assert "25%, validation loss 3.210, about 10 min 40 s left" in text and "second look interrupted" in text
    starts = {len(line) - len(line[2:].lstrip()) for line in lines[1:] if line[2] != " "}
    names = [line for line in lines[1:] if line[2] != " "]
    assert starts == {2} and len({len(line) - len(line[2:].split(" ", 1)[1].lstrip()) for line in names}) == 1


def test_all_studies_are_one_table_in_the_order_given_and_what_is_unfinished_has_its_command() -> None:
    statuses = [
        status("b", "running"),
        status("a", "interrupted"),
        status("c" * 60, left_s=None, hypervolume=None, spent_s=None),
    ]
    lines = text_statuses(statuses, {"a": ["autonas search --space FILE --study a --resume"]}).splitlines()
    assert [line.split()[0][:1] for line in lines[2:5]] == ["b", "a", "c"]
    assert lines[2].split() == [
        "b",
        "running",
        "40/40",
        "2",
        "7",
        f"{REPORT.hypervolume[-1].value:.3f}",
        "13",
        "min",
        "62",
        "min",
    ]
    assert lines[-2:] == ["To go on with a:", "  autonas search --space FILE --study a --resume"]


NAMES = st.text(st.characters(exclude_characters="/\\\0\n", exclude_categories=["Cs"]), min_size=1, max_size=200)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(
    st.lists(st.tuples(NAMES, st.sampled_from(["running", "ended", "interrupted"])), min_size=1, max_size=5),
    st.floats(0, 1e8),
    st.integers(0, 100_000),
    st.sampled_from([60, WIDTH]),
)
def test_no_line_is_wider_than_a_terminal(named: list[tuple[str, str]], seconds: float, count: int, width: int) -> None:
    counts = {"live": count, "complete": count, "stopped": count, "infeasible": count, "failed": count}
    trials = {**counts, "begun": count, "wanted": count, "repeats": count}
    made = [status(name, state, trials=trials, front=count, spent_s=seconds, left_s=seconds) for name, state in named]
    commands = {name: [shlex.join(["autonas", "search", "--study", name])] for name, _ in named}
    texts = [text_statuses(made, commands, width)]
    texts += [text_status(each, [("To go on", commands[each["study"]][0])], width) for each in made]
    for text in texts:
        assert all(columns_of(line) <= width and line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize(("seconds", "shown"), [(0, "0 s"), (99, "99 s"), (100, "2 min"), (6000, "1.7 h"), (5e5, "6 d")])
def test_a_table_tells_time_in_one_unit(seconds: float, shown: str) -> None:
    assert f"  {shown}  " in text_statuses([status(spent_s=seconds)], {})
