"""The page that lays studies side by side: what it draws, what it refuses, what it is to a screen reader, hostile names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import autonas
from autonas.cli import main
from autonas.figures import theme
from autonas.figures.comparison import SYMBOLS, comparison_figures, look
from autonas.pages.compare_page import render, write_comparison
from autonas.reporting.finals import finals
from autonas.reporting.side_by_side import compare
from autonas.trial import StudyRecord
from tests.pages.ledgers import keep
from tests.pages.test_run_page import HOSTILE, Outline, figures_in, numbers
from tests.reporting.runs import CURVE, write_run
from tests.reporting.studies import make_study
from tests.reporting.test_comparison import PLANTED, better, renamed, told, with_attributes, with_recipe


@pytest.fixture(scope="module")
def one() -> StudyRecord:
    return renamed(told(make_study(seed=0)), "one")


@pytest.fixture(scope="module")
def other(one: StudyRecord) -> StudyRecord:
    return renamed(with_recipe(better(one, 0.1), budget={"seed": 1}), "other")


@pytest.fixture(scope="module")
def page(one: StudyRecord, other: StudyRecord) -> str:
    return render(compare([one, other]))


def test_fronts_are_drawn_in_every_pair_with_the_scores_of_the_ledger(page: str, one: StudyRecord, other: StudyRecord) -> None:
    figures = figures_in(page)
    fronts = {name: figure for name, figure in figures.items() if name.startswith("front-")}
    assert len(fronts) == 6, "four objectives have six pairs"
    known = [{trial.number: trial for trial in finals(study)} for study in (one, other)]
    found = compare([one, other])
    for name, figure in fronts.items():
        x, y = (found.objectives[int(place)].name for place in name.split("-")[1:])
        seen = set()
        for trace in figure["data"]:
            for point, across, up in zip(trace["customdata"], trace["x"], trace["y"], strict=True):
                study, number = map(int, point[0].split(":"))
                assert trace["meta"] == {"kind": f"study-{study}"}
                seen.add((study, number))
                scores = known[study][number].scores
                assert (across, up) == pytest.approx((scores[x].value, scores[y].value), rel=1e-5)
        assert seen == {(study, number) for study in (0, 1) for number in known[study]}, "every final trial, once"


def test_the_volumes_drawn_are_those_of_the_table_and_the_text(page: str, one: StudyRecord, other: StudyRecord) -> None:
    found, figures = compare([one, other]), figures_in(page)
    for number, volumes in enumerate(found.volumes):
        (line,) = (t for t in figures["volume-flops"]["data"] if t.get("name") == ("one", "other")[number])
        assert line["y"][-1] == pytest.approx(volumes.end.value, rel=1e-5)
        assert line["x"] == pytest.approx([0.0, *(point.flops for point in volumes.points)], rel=1e-5)
        assert volumes.at_flops is not None and f"{volumes.at_flops.value:.3f} (" in page
    (shape,) = figures["volume-flops"]["layout"]["shapes"]
    assert shape["x0"] == pytest.approx(found.budget_flops, rel=1e-5)
    assert "other is ahead with a chance of" in page


def test_losses_of_other_data_are_an_alarm_on_top_and_nowhere_drawn(one: StudyRecord, other: StudyRecord) -> None:
    page = render(compare([one, PLANTED["the validation text"][0](other)]))
    main = page.partition("<main>")[2]
    assert main.index('<p class="alarm"><strong>Alarm: Validation loss is not compared.') < main.index("<h2>")
    titles = [f["layout"][a]["title"]["text"] for f in figures_in(page).values() for a in ("xaxis", "yaxis")]
    assert not [title for title in titles if "loss" in title.lower()]
    assert "nats" not in page.partition('id="fronts"')[2].partition('id="recipe"')[0]


def test_nothing_in_common_is_said_and_nothing_drawn(one: StudyRecord, other: StudyRecord) -> None:
    page = render(compare([with_recipe(one, objectives=["val_loss"]), with_recipe(other, objectives=["params"])]))
    assert figures_in(page) == {} and "Nothing of these studies can be compared" in page
    empty = dataclasses.replace(other, trials=())
    page = render(compare([one, empty]))
    assert figures_in(page) == {} and "other has no final trial" in page
    single = [with_recipe(study, objectives=["val_loss"]) for study in (one, other)]
    page = render(compare(single))
    assert "A single objective is compared" in page and "volume-flops" in figures_in(page)


def test_what_cannot_be_told_says_why(one: StudyRecord, other: StudyRecord) -> None:
    page = render(compare([one, with_attributes(other, environment={"processor": "another"})]))
    assert "volume-seconds" not in figures_in(page) and "the machines differ: processor AMD EPYC 9R14 and another" in page
    bare = [renamed(make_study(seed=0), name) for name in "ab"]
    page = render(compare(bare))
    assert "volume-flops" not in figures_in(page) and "does not say how many tokens" in page


def test_three_studies_have_colours_symbols_and_rows_of_their_own(one: StudyRecord, other: StudyRecord) -> None:
    third = renamed(with_recipe(better(one, -0.2), budget={"seed": 2}), "third")
    found = compare([one, other, third])
    page = render(found)
    assert len(found.duels) == 3 and len(found.coverages) == 6
    rows = [attributes.get("data-study") for attributes in Outline(page).of("tr")]
    assert {"study-0", "study-1", "study-2"} <= set(rows)
    assert len({look(side)[0] for side in range(6)}) == len({look(side)[1] for side in range(6)}) == 6
    assert all(colour in theme.LIGHT for colour, _, _ in map(look, range(8))) and set(SYMBOLS)
    kinds = [attributes["value"] for attributes in Outline(page).of("input")]
    assert kinds == ["study-0", "study-1", "study-2"]


def test_hostile_names_and_texts_are_text_everywhere(one: StudyRecord, other: StudyRecord) -> None:
    hostile = with_attributes(
        with_recipe(renamed(other, HOSTILE), training={HOSTILE: HOSTILE}, name=HOSTILE),
        environment={HOSTILE: HOSTILE},
        closed=HOSTILE,
        data={"fingerprint": HOSTILE},
    )
    page = render(compare([one, hostile]))
    outline = Outline(page)
    assert outline.of("img") == [] and outline.of("b") == []
    assert "\x1b" not in page and "\u202e" not in page
    assert not [attributes for _, attributes in outline.elements if any(name.startswith("on") for name in attributes)]
    page = render(compare([one, renamed(other, HOSTILE)]))
    for figure in figures_in(page).values():
        for trace in figure["data"]:
            assert "<" not in trace.get("name", "") and "%{" not in trace.get("name", "")
        assert "<b>" not in str(figure["layout"]) and "<img" not in str(figure["layout"])


def test_a_reader_of_the_screen_finds_names_for_everything(page: str) -> None:
    outline = Outline(page)
    drawn = [attributes for attributes in outline.of("div") if attributes.get("class") == "plotly"]
    assert {attributes["data-figure"] for attributes in drawn} == set(figures_in(page))
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in drawn)
    assert len(outline.of("caption")) == len(outline.of("table")) >= 8
    assert all("scope" in attributes for attributes in outline.of("th"))
    regions = [attributes for attributes in outline.of("div") if attributes.get("class") == "scroll"]
    assert all(attributes["tabindex"] == "0" and attributes["aria-label"] for attributes in regions)
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {str(attributes["href"])[1:] for attributes in outline.of("a")} <= set(ids)


def test_the_same_studies_give_the_same_bytes_of_finite_numbers(page: str, one: StudyRecord, other: StudyRecord) -> None:
    assert render(compare([one, other])) == page
    figures = {name: figure.to_plotly_json() for name, figure in comparison_figures(compare([one, other])).items()}
    assert set(figures) == set(figures_in(page))
    assert all(abs(number) < 1e18 for number in numbers(figures_in(page)))


def test_it_is_written_whole_into_a_new_folder(tmp_path: Path, one: StudyRecord, other: StudyRecord) -> None:
    path = write_comparison([one, other], tmp_path / "new" / "page.html")
    assert path.read_text().rstrip().endswith("</html>") and [p.name for p in path.parent.iterdir()] == ["page.html"]


def test_what_is_thinned_is_said_and_no_front_is() -> None:
    many = renamed(told(make_study(seed=0, trials=900, survivors=700, documents=4, curve_points=4, samples=8)), "many")
    found = compare([many, renamed(with_recipe(better(many, 0.05), budget={"seed": 1}), "more")])
    page = render(found)
    for number, side in enumerate(found.sides):
        off = len(side.trials) - len(side.front)
        assert off > 400 and f"of {side.name} 400 of {off} final trials off its front are drawn" in page
        drawn = [trace for trace in figures_in(page)["front-0-1"]["data"] if trace["meta"]["kind"] == f"study-{number}"]
        assert sorted(len(trace["x"]) for trace in drawn) == sorted([400, len(side.front)])
    assert f"The first 200 of {len(found.common)} are listed." in page
    assert f"of {len(found.common)} differences may be nothing" in page, "what is said of all is of all"


# By their names


@pytest.fixture(scope="module")
def kept(one: StudyRecord, other: StudyRecord, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both studies as ledgers, and a run."""
    folder = tmp_path_factory.mktemp("kept")
    for study in (one, other):
        keep(study, folder / "trials")
    write_run(folder / "run", CURVE)
    return folder


def test_the_command_writes_one_page_of_several_studies(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(kept)
    assert main(["report", "one", "other"]) == 0
    assert capsys.readouterr().out.strip() == str(Path("reports/one-vs-other.html"))
    page = (kept / "reports" / "one-vs-other.html").read_text()
    assert "one and other: studies side by side" in page and "volume-flops" in figures_in(page)
    assert main(["report", "other", "one", "--out", "pages/mine.html"]) == 0
    assert "other and one" in Path("pages/mine.html").read_text()
    assert main(["report", "one"]) == 0
    assert capsys.readouterr().out.strip().endswith(str(Path("reports/one.html"))), "one study stays as it is"
    assert autonas.report("one", "other", file="again.html") == Path("again.html")
    assert Path("again.html").read_text() == page, "from the ledgers, the same bytes"


WRONG = {
    "a run and a study": (["one", "run"], "run is a run"),
    "a study and a run": (["run", "one"], "run is a run"),
    "twice": (["one", "one"], "named twice"),
    "unknown": (["one", "nobody"], "no study"),
    "unknown with a run": (["nobody", "run"], "run is a run"),
    "no name": (["one", ".."], "cannot be the name of a folder"),
}


@pytest.mark.parametrize("which", WRONG)
def test_what_cannot_be_compared_is_one_message(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    monkeypatch.chdir(kept)
    names, words = WRONG[which]
    assert main(["report", *names, "--out", "wrong.html"]) == 2
    err = capsys.readouterr().err
    assert words in err and "Traceback" not in err
    assert not Path("wrong.html").exists()
