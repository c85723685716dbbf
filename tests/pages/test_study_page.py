"""The HTML file: whole, self-contained, safe, and small enough."""

from __future__ import annotations

import base64
import dataclasses
import errno
import hashlib
import html.parser
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from autonas.errors import ResourceError
from autonas.figures.embedding import packed_script, plotly_script
from autonas.objective import OBJECTIVES
from autonas.pages.html import embedded_json
from autonas.pages.study_page import render, write_report
from autonas.reporting.front import build_report
from autonas.reporting.generations import chosen_samples, printable
from autonas.reporting.progress import control_text, hypervolume_text, prospect_text
from autonas.trial import Sample, StudyRecord
from tests.reporting.studies import make_study, with_controls

SVG = "http://www.w3.org/2000/svg"  # a name, not an address
VOID = {"meta", "link", "br", "img", "input", "hr"}
EVIL = "</script></pre></style><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}'\"&<!--"
EVIL += "\u2028\x00\x1b[31m\ud800\u202e 😀"


class Page(html.parser.HTMLParser):
    """What a browser would see: elements, attributes and text; an element closed in the wrong order is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-3:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts.append(data)
        elif self._open and self._open[-1] != "style":
            self.text.append(data)


@pytest.fixture(scope="module")
def page_text() -> str:
    return render(build_report(make_study()))


def poisoned() -> StudyRecord:
    """A study in which every text that comes from outside is hostile."""
    study = make_study()
    trials = []
    for trial in study.trials:
        rungs = tuple(
            dataclasses.replace(
                outcome,
                samples=tuple(Sample(prompt=EVIL, text=EVIL, kind="bare", detectors=(EVIL,)) for _ in range(3)),
                checks={**outcome.checks, EVIL: EVIL},
                scores={name: dataclasses.replace(score, note=EVIL) for name, score in outcome.scores.items()},
            )
            for outcome in trial.rungs
        )
        nearest = {EVIL: EVIL} if trial.nearest else None
        params = {**trial.params, EVIL: EVIL}
        trials.append(dataclasses.replace(trial, rungs=rungs, reason=f"{EVIL}: {EVIL}", nearest=nearest, params=params))
    report = {EVIL: EVIL, "documents": {EVIL: 1}, "dropped": {EVIL: 2}, "licences": {EVIL: 3}, "split_by": EVIL}
    attributes = {
        **study.attributes,
        "environment": {"processor": EVIL, "packages": {EVIL: EVIL}, EVIL: [EVIL]},
        "data": {"fingerprint": EVIL, "report": report},
        "calibration": {**study.attributes["calibration"], "note": EVIL},
        "closed": EVIL,
    }
    recipe = {**study.recipe, "name": EVIL, EVIL: [EVIL]}
    return dataclasses.replace(study, name=EVIL, trials=tuple(trials), attributes=attributes, recipe=recipe)


def test_the_page_is_well_formed_and_has_every_section(page_text: str) -> None:
    page = Page(page_text)
    sections = [attributes.get("id") for tag, attributes in page.elements if tag == "section"]
    wanted = ["front", "architectures", "search", "generations", "trust", "calibration", "corpus"]
    wanted += ["trials", "provenance"]
    assert [section for section in sections if section] == wanted
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert targets and all(target and target.removeprefix("#") in ids for target in targets)


def test_nothing_is_loaded_from_anywhere(page_text: str) -> None:
    page = Page(page_text)
    loading = {"src", "srcset", "data", "action", "poster", "xlink:href"}
    assert not [attributes for _, attributes in page.elements if loading & set(attributes)]
    assert not {tag for tag, _ in page.elements} & {"link", "iframe", "object", "embed", "base"}
    assert not re.search(r"url\(|@import|https?://|fetch\(|XMLHttpRequest|WebSocket|import\(", page_text.replace(SVG, ""))


def test_no_text_of_a_study_can_become_an_element_or_a_script() -> None:
    text = render(build_report(poisoned()))
    page = Page(text)
    assert len(page.scripts) == 3 and "alert(" not in page.scripts[2]
    assert "img" not in {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in text and "<!--" not in text
    json.loads(page.scripts[0])
    assert page.scripts[1] == packed_script()
    text.encode("utf-8")


def test_the_policy_allows_our_own_scripts_and_nothing_from_anywhere(page_text: str) -> None:
    page = Page(page_text)
    policy = next(
        a["content"] for tag, a in page.elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'" and rules.pop("img-src") == "data: blob:"
    assert rules.pop("style-src") == "'unsafe-inline'", "Plotly writes styles into attributes"
    digests = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in (plotly_script(), page.scripts[-1])]
    assert rules == {"script-src": " ".join(f"'sha256-{digest}'" for digest in digests)}
    assert not [attributes for _, attributes in page.elements if "style" in attributes]


def test_plotly_is_there_once_and_packed(page_text: str) -> None:
    assert page_text.count(packed_script()) == 1 and plotly_script()[:2000] not in page_text


@pytest.mark.parametrize("value", [EVIL, "<!--<script>", "\u2029", {"</script>": [None, 1.5, "é"]}])
def test_embedded_json_says_the_same_and_holds_nothing_that_html_would_read(value: Any) -> None:
    text = embedded_json(value)
    assert json.loads(text) == value
    assert text.isascii() and not set(text) & set("<>&")


def test_the_tables_tell_everything_without_scripts(page_text: str) -> None:
    report = build_report(make_study())
    words = " ".join(" ".join(Page(page_text).text).split())
    for standing in report.standings:
        assert f"Trial {standing.number}" in words
    for part in ("width % heads == 0", "heads 4", "diverged", "the loss rose to 11.2 nats", "AMD EPYC 9R14", "9d1c5e0b7a42"):
        assert part in words
    for part in ("3f2a9c17d0b64e5f8a1b2c3d4e5f60718293a4b5", "torch 2.13.0", "183 near duplicate", "5.060", "word_loop", "48"):
        assert part in words
    for paragraph in report.summary:
        assert paragraph in words


def test_the_page_tells_how_sure_it_is() -> None:
    report = build_report(with_controls(make_study(trials=40, survivors=40)))
    text = render(report)
    words = " ".join(" ".join(Page(text).text).split())
    for sentence in (hypervolume_text(report), control_text(report), prospect_text(report)):
        assert sentence and sentence in words
    assert "Ranks between rungs" in words and report.hypervolume_rule in words
    assert text.count('class="tag near"') == len(report.near) > 0


def test_the_same_report_gives_the_same_bytes() -> None:
    assert render(build_report(make_study())) == render(build_report(make_study()))


def test_five_hundred_trials_fit_into_six_megabytes() -> None:
    assert len(render(build_report(make_study(samples=700, curve_points=400))).encode()) < 3_500_000
    some = make_study(trials=420, survivors=130, infeasible=70, failures=10, documents=40)
    assert len(some.trials) >= 500 and len(render(build_report(some)).encode()) < 6_000_000


@pytest.mark.slow
def test_ten_thousand_trials_are_thinned_and_say_so() -> None:
    many = make_study(trials=8500, survivors=1200, infeasible=1500, documents=3, samples=4, curve_points=12)
    assert len(many.trials) >= 10_000
    text = render(build_report(many))
    assert len(text.encode()) < 20_000_000
    words = " ".join(" ".join(Page(text).text).split())
    assert "the first 500 are listed, the CSV has all" in words and "evenly chosen ones are drawn" in words


@pytest.mark.parametrize(
    "objectives", [("val_loss",), ("val_loss", "params"), ("val_loss", "bits_per_byte", "params", "memory", "flops")]
)
def test_any_number_of_objectives_can_be_shown(objectives: tuple[str, ...]) -> None:
    words = " ".join(Page(render(build_report(make_study(objectives=objectives)))).text)
    assert all(OBJECTIVES[name].title in words for name in objectives)


@pytest.mark.parametrize("survivors", [0, 1, 2])
def test_a_study_with_hardly_a_final_trial_can_be_shown(survivors: int) -> None:
    report = build_report(make_study(survivors=survivors, repeats=0))
    words = " ".join(Page(render(report)).text)
    assert ("there is no front" in words) == (not report.front)


def test_a_study_that_has_just_begun_can_be_shown() -> None:
    study = dataclasses.replace(make_study(), trials=(), timeline=(), attributes={})
    words = " ".join(Page(render(build_report(study))).text)
    assert "there is no front" in words
    points = make_study().attributes["calibration"]["points"]
    failed = {**points[0], "val_loss": None, "failure": "diverged"}
    Page(render(build_report(dataclasses.replace(study, attributes={"calibration": {"points": [failed, points[1]]}}))))


def test_samples_are_spread_over_all_and_a_collapsed_one_is_always_among_them() -> None:
    plain = [Sample(prompt="p", text=str(i), kind="bare" if i % 2 else "few_shot") for i in range(200)]
    chosen = chosen_samples(plain)
    assert [sample.kind for sample in chosen] == ["few_shot"] * 4 + ["bare"] * 4
    assert max(int(sample.text) for sample in chosen) > 100
    plain[3] = dataclasses.replace(plain[3], detectors=("word_loop",))
    assert any(sample.detectors for sample in chosen_samples(plain))
    assert chosen_samples([]) == []


def test_control_characters_are_shown_and_not_sent() -> None:
    assert printable("a\x00b\x1b[2J\tc\n") == "a␀b␛[2J\tc\n"
    printable(EVIL).encode("utf-8")


def test_a_report_is_written_whole_into_folders_made_for_it(tmp_path: Path) -> None:
    study = make_study()
    path = write_report(study, tmp_path / "reports" / "quickstart.html")
    assert path.read_text(encoding="utf-8") == render(build_report(study))
    write_report(study, path)
    assert [entry.name for entry in path.parent.iterdir()] == ["quickstart.html"]


def test_who_reads_the_former_report_meanwhile_reads_it_whole(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("the former report")
    with target.open() as reader:
        write_report(make_study(), target)
        assert reader.read() == "the former report"


def test_a_place_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match=r"file/report\.html"):
        write_report(make_study(), tmp_path / "file" / "report.html")


def test_a_full_disk_leaves_the_former_report_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    target.write_text("the former report")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="no space left"):
        write_report(make_study(), target)
    assert target.read_text() == "the former report"
    assert list(tmp_path.iterdir()) == [target]


def test_full_runs_have_a_row_each_and_their_alarms() -> None:
    study = make_study()
    score = {"value": 3.2, "low": 3.1, "high": 3.3, "unit": "nats/token", "n": 9, "note": ""}
    finding = {"check": "gap", "severity": "alarm", "text": EVIL}
    runs = {
        "7-0f1e": {"scores": {"val_loss": score}, "tokens": 1000, "findings": [finding]},
        "9-aa": {"scores": {}, "tokens": 5},
    }
    page = Page(render(build_report(study), runs))
    text = " ".join(page.text)
    assert "Full runs" in text and "7-0f1e" in text and "9-aa" in text and "3.200 (3.100–3.300)" in text
    assert "Alarm: Training and validation loss do not go together." in text and len(page.scripts) == len(
        Page(render(build_report(study))).scripts
    )
    assert "Full runs" not in " ".join(Page(render(build_report(study))).text)


def test_promotions_are_told_with_their_reason_and_how_they_ended() -> None:
    study = make_study()
    number = build_report(study).front[0].number
    known = {"trial": number, "steps": 5000, "folder": "runs/a", "reason": "It is <b>best</b>.", "probability": 0.71}
    promotions = [
        {**known, "failed": "it diverged"},
        {"trial": number, "steps": 6000, "folder": "runs/b", "reason": "Asked for."},
    ]
    page = render(build_report(dataclasses.replace(study, attributes={**study.attributes, "promotions": promotions})))
    assert '<section id="promotions">' in page and '<section id="promotions">' not in render(build_report(study))
    assert "It is &lt;b&gt;best&lt;/b&gt;. Its run made way for the next: it diverged (runs/a)" in page
    assert "<td>71 %</td>" in page and "Asked for. (runs/b)" in page
