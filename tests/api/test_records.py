"""`autonas.front`: a list of dictionaries as before, which shows itself and becomes a data frame."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from typing import Any

import pytest

import autonas
from autonas.errors import RequestError
from autonas.reporting.columns import WIDTH, columns_of
from autonas.reporting.front import build_report, front_json
from tests.reporting.studies import make_study

STUDY = make_study(trials=30, survivors=25)
HOSTILE = "<script>alert(1)</script>&\"'\x1b[2J\u202e漢"


def test_it_is_the_list_that_the_command_prints() -> None:
    front = autonas.front(STUDY)
    assert isinstance(front, autonas.Front) and isinstance(front, Sequence)
    assert front == front_json(STUDY)
    assert json.loads(json.dumps(front)) == json.loads(json.dumps(front_json(STUDY)))
    assert [entry["trial"] for entry in front] == [standing.number for standing in build_report(STUDY).front]
    assert front.study == "quickstart" and front.knee is not None and front.knee["knee"]


def test_a_slice_is_a_front_and_knows_whether_it_has_the_knee() -> None:
    front = autonas.front(STUDY)
    knee = next(place for place, entry in enumerate(front) if entry["knee"])
    assert front[knee] == front.knee and front[-1] == front_json(STUDY)[-1]
    for part, numbers in ((front[1:], list(front)[1:]), (front[::-1], list(front)[::-1]), (front[:0], [])):
        assert isinstance(part, autonas.Front) and list(part) == numbers
        assert (part.knee is None) == (not any(entry["knee"] for entry in numbers))
        assert [line for line in repr(part).splitlines() if "×" in line] == [
            line for number in part for line in repr(front).splitlines() if "×" in line and f" {number['trial']} " in line[:9]
        ]


def test_it_survives_copies_and_pickles() -> None:
    front = autonas.front(STUDY)
    for again in (copy.deepcopy(front), pickle.loads(pickle.dumps(front))):
        assert isinstance(again, autonas.Front)
        assert again == front and repr(again) == repr(front) and again[:1].study == front.study


def test_as_text_it_is_a_table_of_80_columns() -> None:
    lines = repr(autonas.front(STUDY)).splitlines()
    assert max(map(columns_of, lines)) <= WIDTH
    assert lines[0] == f"Front of quickstart: {len(front_json(STUDY))} of {len(front_json(STUDY))} trials"
    assert "no trial" in repr(autonas.front(dataclasses.replace(STUDY, trials=())))


def test_a_data_frame_has_a_row_for_each_trial_and_the_scores_of_the_objectives() -> None:
    front = autonas.front(STUDY)
    frame = front.to_frame()
    assert list(frame["trial"]) == [entry["trial"] for entry in front]
    for name in STUDY.recipe["objectives"]:
        for column, key in ((name, "value"), (f"{name}_low", "low"), (f"{name}_high", "high")):
            assert list(frame[column]) == [entry["scores"][name][key] for entry in front]
    for dimension in front[0]["spec"]:
        assert list(frame[dimension]) == [entry["spec"][dimension] for entry in front]
    assert list(frame.columns[-3:]) == ["probability", "knee", "seeds"] and int(frame["knee"].sum()) == 1
    assert frame.attrs["units"]["val_loss"] == "nats/token"
    assert len(front[:2].to_frame()) == 2 and len(front[:0].to_frame()) == 0


def test_without_pandas_the_message_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(RequestError, match="pip install pandas"):
        autonas.front(STUDY).to_frame()


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_as_html_it_is_a_table_whatever_the_study_is_called() -> None:
    front = autonas.front(dataclasses.replace(STUDY, name=HOSTILE))
    page: Any = _Tags()
    page.feed(front._repr_html_())
    assert set(page.tags) == {"table", "caption", "tr", "th", "td"} and page.attributes == {"style"}
    assert page.tags.count("tr") == 1 + len(front)
    assert "<script>alert(1)</script>&\"'␛[2J" in page.text and "\u202e" not in page.text
    assert f"{front[0]['scores']['val_loss']['value']:.2f}" in page.text
    assert "\x1b" not in repr(front) and "\u202e" not in repr(front)


def test_neither_pandas_nor_torch_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, autonas; assert 'numpy' not in sys.modules; autonas.front; "
    code += "sys.exit(any(name in sys.modules for name in ('pandas', 'torch', 'jinja2', 'plotly')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
