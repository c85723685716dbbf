"""Which one to take: limits, weights and own picks, in a real browser, against promotion's own rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autonas.promotion.select import Preference, choose
from autonas.reporting.front import build_report
from tests.browsing import browser, needs_chromium, webdriver
from tests.pages.views import ESCAPE, marked, numbered, opened, wait_for
from tests.reporting.studies import make_study

__all__ = ["browser"]  # a fixture
pytestmark = needs_chromium

SET = """const form = document.getElementById("choice");
    for (const [name, value] of Object.entries(arguments[0])) form.elements[name].value = value;
    form.dispatchEvent(new Event("input"));
    const want = autonas.wanted(), found = autonas.choose(want);
    return {limits: want.limits, texts: want.texts, order: found.order.map((f) => autonas.data.choice.trials[f]),
        shares: [...found.shares].map(([f, n]) => [autonas.data.choice.trials[f], n]), none: found.none,
        told: document.getElementById("recommended").innerText,
        ringed: [...document.querySelectorAll(".front-table tr.recommended-trial")].map((r) => Number(r.dataset.trial))}"""


def preference_of(names: list[str], found: dict[str, Any], controls: dict[str, float | str]) -> Preference:
    """What the panel asks for, as `autonas promote` would read it from the command."""
    limits = {name: float(text) for name, text in zip(names, found["texts"], strict=True) if text is not None}
    weights = {key.removeprefix("weight-"): float(v) for key, v in controls.items() if key.startswith("weight-")}
    return Preference(select=str(controls.get("by", "knee")), limits=limits, weights=weights)


def test_the_recommended_trial_is_the_one_that_promote_would_pick(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=60, survivors=30, seed=3)
    report = build_report(study)
    opened(browser, study, tmp_path)
    names = [objective.name for objective in report.objectives]
    plain: dict[str, float | str] = {"by": "knee"}
    for name in names:
        plain |= {f"limit-{name}": 99, f"weight-{name}": 1}
    asked: list[dict[str, float | str]] = [{}, {"weight-params": 4, "weight-val_loss": 0.25}, {"weight-latency": 0}]
    asked += [{"limit-params": 3}, {"by": "latency"}]
    asked += [{"limit-val_loss": 2, "weight-collapse_rate": 3}, {"by": "val_loss", "limit-latency": 4}]
    for controls in asked:
        found = browser.execute_script(SET, plain | controls)
        pick = choose(report, preference_of(names, found, controls))
        assert found["order"][0] == pick.trial and found["ringed"] == [pick.trial], controls
        assert len(found["order"]) == pick.num_within
        assert f"Trial {pick.trial}" in found["told"] and "autonas promote quickstart" in found["told"]
        for name, text in zip(names, found["texts"], strict=True):
            assert (f"--limit {name}={text}" in found["told"]) == (text is not None)
        told = marked(browser, "scatter-val_loss-params")
        assert any(shape["path"].startswith("M13,0") for shape in told)


def test_every_limit_admits_what_promote_admits_and_its_shares_are_those_of_the_draws(browser: Any, tmp_path: Path) -> None:
    """A trial is within the limit that is its own value: on the page, in the command, and in every draw where it is exact."""
    import numpy as np

    from autonas.promotion.select import knee_distances

    study = make_study(trials=60, survivors=24, seed=4)
    report = build_report(study)
    opened(browser, study, tmp_path)
    names = [objective.name for objective in report.objectives]
    data = browser.execute_script("return autonas.data.choice")
    drawn, count = data["drawn"], data["num_draws"]
    values = np.repeat(np.array(data["values"])[None], count, axis=0)
    values[:, :, drawn] = np.array(data["draws"]).reshape(count, len(data["trials"]), len(drawn))
    distances = knee_distances(values, report.objectives, {})
    plain: dict[str, float | str] = {"by": "knee"} | {f"limit-{name}": 99 for name in names}
    for k, name in enumerate(names):
        for step, text in enumerate(data["steps"][k]):
            found = browser.execute_script(SET, plain | {f"limit-{name}": step})
            assert found["texts"][k] == text
            pick = choose(report, Preference(limits={name: float(text)}))
            assert (found["order"][0] == pick.trial and len(found["order"]) == pick.num_within == step + 1) or len(
                found["order"]
            ) == pick.num_within >= step + 1, (name, text)
            limit = np.log(float(text)) if report.objectives[k].logarithmic else float(text)
            inside = values[:, :, k] <= limit if k in drawn else np.array(data["scores"])[None, :, k] <= float(text)
            best = np.where(inside, distances, np.inf).argmin(axis=1)
            some = np.broadcast_to(inside, distances.shape).any(axis=1)
            wanted = {
                data["trials"][f]: int(n) for f, n in enumerate(np.bincount(best[some], minlength=len(data["trials"]))) if n
            }
            assert dict(found["shares"]) == wanted and found["none"] == int((~some).sum()), (name, text)


def test_a_limit_can_be_written_and_nonsense_is_marked(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=60, survivors=30, seed=3)
    report = build_report(study)
    opened(browser, study, tmp_path)
    most = int(sorted(standing.trial.scores["params"].value for standing in report.front)[5])
    write = """const field = document.getElementById("choice").elements["most-params"];
        field.value = arguments[0];
        field.dispatchEvent(new Event("change", {bubbles: true}));
        const told = document.getElementById("recommended").innerText;
        return [autonas.wanted().limits[1], field.getAttribute("aria-invalid") === "true", told]"""
    for text in (f"{most}", f"{most:,}", f"{most / 1e3}k", f"{most / 1e6} M", f"≤ {most}"):
        limit, invalid, told = browser.execute_script(write, text)
        assert limit == most and not invalid, text
        pick = choose(report, Preference(limits={"params": most}))
        assert f"Trial {pick.trial}" in told and f"--limit params={most}" in told
    assert browser.execute_script(write, "any")[:2] == [None, False]
    limit, invalid, told = browser.execute_script(write, "small")
    assert invalid and limit is None and "“small” is no limit of parameters" in told and "100k" in told
    browser.find_element("css selector", "#choice [type=reset]").click()
    assert wait_for(browser, "document.getElementById('recommended').innerText.startsWith('Trial')")
    assert not browser.find_elements("css selector", "#choice [aria-invalid]")
    shares = write.replace("most-params", "most-collapse_rate").replace("limits[1]", "limits[3]")
    assert browser.execute_script(shares, "20 %")[:2] == [0.2, False]
    assert browser.execute_script(shares, "20")[1], "of what is shown in per cent, 20 is no share"


def test_a_pick_of_ones_own_is_marked_until_it_is_taken_back(browser: Any, tmp_path: Path) -> None:
    study = make_study()
    number = build_report(study).front[0].number
    opened(browser, study, tmp_path)
    press = "document.querySelector('#inspector button.copy:not(.command *)').click()"
    browser.execute_script(f"document.querySelector('.front-table a[href=\"#trial-{number}\"]').click(); {press}")
    webdriver.ActionChains(browser).send_keys(ESCAPE).perform()
    read = "return [...document.querySelectorAll('.front-table tr.my-pick')].map((row) => Number(row.dataset.trial))"
    assert browser.execute_script(read) == [number]
    assert any(shape["path"].startswith("M17,0") for shape in marked(browser, "scatter-val_loss-params"))
    browser.execute_script(f"document.querySelector('.front-table a[href=\"#trial-{number}\"]').click(); {press}")
    assert browser.execute_script(read) == []


def test_of_a_small_front_all_are_numbered_where_there_is_room(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=30, survivors=12)
    report = build_report(study)
    front = {str(standing.number) for standing in report.front}
    assert report.knee is not None and 4 < len(front) <= 16
    opened(browser, study, tmp_path)
    for numbers in numbered(browser):
        assert set(numbers) <= front and len(numbers) > len(front) / 2 and str(report.knee.number) in numbers
    assert "numbered, where there is room: the front" in browser.find_element("class name", "legend").text


def test_the_knee_and_the_best_of_each_objective_are_numbered_in_the_figures(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=60, survivors=30)
    report = build_report(study)
    assert report.knee is not None
    opened(browser, study, tmp_path)
    wanted = {str(report.knee.number)}
    for objective in report.objectives:
        wanted.add(str(min(report.front, key=lambda s: (s.trial.scores[objective.name].value, s.number)).number))
    for numbers in numbered(browser):
        assert set(numbers) == wanted


def test_how_sure_a_pick_is_agrees_with_draws_of_our_own(browser: Any, tmp_path: Path) -> None:
    """The shares of the page's few draws against those of many, worked out here by promotion's own distances."""
    import numpy as np

    from autonas.promotion.select import knee_distances
    from autonas.reporting import history, uncertainty

    study = make_study(trials=40, survivors=12, seed=5)
    report = build_report(study)
    opened(browser, study, tmp_path)
    found = browser.execute_script(SET, {})
    trials = [standing.trial for standing in report.standings]
    at = [i for i, standing in enumerate(report.standings) if standing.on_front]
    draws = uncertainty.draw_scores(trials, report.objectives, report.seed_noise, 4000)[:, at]
    best = knee_distances(history.compared(draws, report.objectives), report.objectives, {}).argmin(axis=1)
    wanted = np.bincount(best, minlength=len(at)) / len(best)
    told = dict(found["shares"])
    count = sum(told.values())
    for place, standing in zip(range(len(at)), report.front, strict=True):
        share = told.get(standing.number, 0) / count
        assert abs(share - wanted[place]) < 4 * (wanted[place] * (1 - wanted[place]) / count) ** 0.5 + 0.02


def test_limits_that_leave_nothing_say_so(browser: Any, tmp_path: Path) -> None:
    study = make_study(trials=60, survivors=30)
    opened(browser, study, tmp_path)
    names = [objective.name for objective in build_report(study).objectives]
    found = browser.execute_script(SET, {f"limit-{name}": 0 for name in names})
    assert found["order"] == [] and "Raise one of them" in found["told"] and found["ringed"] == []
    nothing = {f"weight-{name}": 0 for name in names} | {f"limit-{name}": 99 for name in names}
    assert "leave one above 0" in browser.execute_script(SET, nothing)["told"]
