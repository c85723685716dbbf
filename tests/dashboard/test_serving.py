"""The dashboard: it shows what a study is, to this machine alone, and changes nothing."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna_dashboard import wsgi

from autonas.cli import main
from autonas.dashboard.serving import guarded, loopback_address
from autonas.errors import RequestError, StorageError, StudyError
from autonas.ledger import JOURNAL, Ledger
from autonas.ledger.shelf import Shelf
from autonas.trial import Failure
from tests.browsing import CHROMEDRIVER, CHROMIUM, browser
from tests.ledger.examples import DISTRIBUTIONS, EXACT, PARAMS, RECIPE, SPEC, begin, outcome

__all__ = ["browser"]  # a fixture

VALUES = ([3.0, 100.0], [2.0, 200.0], [2.5, 300.0])  # the last one is dominated
COMPLETE, STOPPED, FAILED, INFEASIBLE, RETRY, LIVE = 0, 3, 4, 5, 6, 7


def write_study(name: str, out: Path, url: str | None = None) -> None:
    """A study with a trial of every kind."""
    with contextlib.closing(Ledger.create(name, out / name, url, RECIPE, RECIPE["objectives"])) as ledger:
        ledger.set_attribute("calibration", {"points": [1.5] * 50})
        for values in VALUES:
            number = begin(ledger)
            ledger.finish_rung(outcome(number, 0))
            ledger.finish_rung(outcome(number, 1))
            ledger.complete(number, values)
        assert [begin(ledger), begin(ledger)] == [STOPPED, FAILED]
        ledger.finish_rung(outcome(STOPPED, 0))
        ledger.stop(STOPPED)
        ledger.fail(FAILED, Failure(kind="diverged", message="the loss rose to 11.2 nats"))
        ledger.add_infeasible(PARAMS, DISTRIBUTIONS, rule="width % heads == 0", reason="width is 3", nearest=None)
        ledger.begin(PARAMS, DISTRIBUTIONS, SPEC, EXACT, retry_of=FAILED)
        begin(ledger)
        ledger.retry(LIVE, Failure(kind="preempted", message="the node went away"))


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dashboard") / "trials"
    write_study("first", folder)
    write_study("second", folder)
    return folder


@contextlib.contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`autonas dashboard` on a free port, and the address that it prints."""
    command = [sys.executable, "-m", "autonas", "dashboard", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            address = process.stdout.readline().strip()
            assert address, process.stderr.read()
            yield process, address
        finally:
            process.kill()


@pytest.fixture(scope="module")
def address(trials: Path) -> Iterator[str]:
    with served("first", "--out", str(trials)) as (_, address):
        yield address


def ask(address: str, path: str, method: str = "GET", host: str | None = None, body: str | None = None) -> tuple[int, bytes]:
    place = address.split("/")[2]
    connection = http.client.HTTPConnection(place, timeout=30)
    headers = {"Content-Type": "application/json", **({} if host is None else {"Host": host})}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def api(address: str, path: str) -> Any:
    status, content = ask(address, f"/api/{path}")
    assert status == 200
    return json.loads(content)


def fingerprints(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


# What it shows


def test_everything_of_a_study_is_named_and_the_study_is_untouched(trials: Path) -> None:
    before = fingerprints(trials)
    with served("first", "--out", str(trials)) as (_, address):
        assert address.endswith("/dashboard/studies/0")
        assert [study["study_name"] for study in api(address, "studies")["study_summaries"]] == ["first"]
        study = api(address, "studies/0")
        assert ask(address, "/csv/0")[0] == 200
        assert api(address, "studies/0/param_importances")
    assert fingerprints(trials) == before
    assert study["objective_names"] == ["val_loss", "params"]
    assert [trial["number"] for trial in study["best_trials"]] == [0, 1]
    assert "every objective is minimised" in study["note"]["body"].lower()
    states = ["Complete"] * 3 + ["Pruned", "Fail", "Pruned", "Running", "Running"]
    assert [trial["state"] for trial in study["trials"]] == states
    assert [trial["constraints"] for trial in study["trials"]] == [[0.0]] * 5 + [[1.0]] + [[0.0]] * 2
    assert study["directions"] == ["minimize", "minimize"]
    notes = {trial["number"]: trial["note"]["body"] for trial in study["trials"]}
    assert all(notes.values())
    assert "11.2 nats" in notes[FAILED] and f"Trial {RETRY} takes its place" in notes[FAILED]
    assert f"place of trial {FAILED}" in notes[RETRY] and "node went away" in notes[LIVE]
    assert study["trials"][STOPPED]["intermediate_values"] == [{"step": 12, "value": 3}]
    shown = {a["key"]: a["value"] for a in study["trials"][STOPPED]["user_attrs"]}
    assert (shown["rung 0 · val_loss"], shown["stopped at"]) == ("3", "rung 0, 12 tokens")
    longest = max(len(a["value"]) for trial in study["trials"] for a in trial["user_attrs"])
    assert longest < 250 and not [a for a in study["user_attrs"] if a["key"] == "calibration"]


def test_without_a_name_all_studies_are_there_and_those_that_begin_later(trials: Path, tmp_path: Path) -> None:
    shutil.copytree(trials, tmp_path / "trials")
    with served("--out", str(tmp_path / "trials")) as (_, address):
        assert address.endswith("/dashboard")
        names = {study["study_name"]: study["study_id"] for study in api(address, "studies")["study_summaries"]}
        assert set(names) == {"first", "second"}
        assert {api(address, f"studies/{number}")["name"] for number in names.values()} == {"first", "second"}
        write_study("third", tmp_path / "trials")
        again = {study["study_name"]: study["study_id"] for study in api(address, "studies")["study_summaries"]}
        assert again.items() > names.items() and "third" in again


def test_a_database_is_shown_too_and_foreign_studies_are_not(tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path}/studies.db"
    write_study("first", tmp_path, url)
    storage = optuna.storages.RDBStorage(url)
    optuna.create_study(study_name="foreign", storage=storage)
    storage.remove_session()
    storage.engine.dispose()
    before = (tmp_path / "studies.db").read_bytes()
    with served("--storage", url) as (_, address):
        (only,) = api(address, "studies")["study_summaries"]
        assert only["study_name"] == "first"
        assert len(api(address, f"studies/{only['study_id']}")["trials"]) == 8
    assert (tmp_path / "studies.db").read_bytes() == before


def _write(folder: Path) -> None:
    ledger = Ledger.open("first", folder, None)
    while True:
        number = begin(ledger)
        ledger.finish_rung(outcome(number, 0))
        ledger.stop(number)


def test_a_study_that_is_being_written_is_read_whole_and_grows(trials: Path, tmp_path: Path) -> None:
    shutil.copytree(trials / "first", tmp_path / "first")
    shelf = Shelf(tmp_path, None, "first")
    process = multiprocessing.get_context("fork").Process(target=_write, args=(tmp_path / "first",))
    process.start()
    try:
        counts = []
        until = time.monotonic() + 2
        while time.monotonic() < until:
            (study,) = shelf.get_all_studies()
            found = shelf.get_all_trials(study._study_id)
            assert [trial.number for trial in found] == list(range(len(found)))
            assert all("autonas:spec" in trial.system_attrs for trial in found)
            counts.append(len(found))
    finally:
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
    assert counts == sorted(counts) and counts[-1] > counts[0] + 10
    assert len(Ledger.open("first", tmp_path / "first", None).read().trials) >= counts[-1]


def test_a_study_that_was_begun_anew_is_another_one(trials: Path, tmp_path: Path) -> None:
    shutil.copytree(trials / "first", tmp_path / "first")
    shelf = Shelf(tmp_path, None, "first")
    before = shelf.names()["first"]
    Ledger.open("first", tmp_path / "first", None).discard()
    assert shelf.names() == {}
    (tmp_path / "another").write_text("takes the place on the disk that became free")
    Ledger.create("first", tmp_path / "first", None, RECIPE, RECIPE["objectives"])
    after = shelf.names()["first"]
    assert after != before and shelf.get_all_trials(after) == []


def test_of_several_studies_a_damaged_one_is_left_out_and_told(trials: Path, tmp_path: Path) -> None:
    shutil.copytree(trials, tmp_path / "trials")
    damaged = tmp_path / "trials" / "second" / JOURNAL
    lines = damaged.read_bytes().splitlines(keepends=True)
    damaged.write_bytes(b"".join([*lines[:4], b"\x00garbage\n", *lines[4:]]))
    shelf = Shelf(tmp_path / "trials", None)
    assert set(shelf.names()) == {"first"} and "second" in shelf.unreadable[damaged]
    with pytest.raises(StorageError, match="second"):
        Shelf(tmp_path / "trials", None, "second")


def test_what_is_not_there_is_named_and_not_made(trials: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"no study in .*other"):
        Shelf(trials, None, "other")
    with pytest.raises(StudyError, match="there is no study in"):
        Shelf(tmp_path, None)
    with pytest.raises(StudyError, match="there is no study in sqlite"):
        Shelf(tmp_path, f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "recipe.yaml").touch()
    with pytest.raises(StudyError, match="--storage URL"):
        Shelf(tmp_path, None, "elsewhere")


# What it refuses


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.4", "::", "example.org", "", "127.0.0.1.example.org"])
def test_it_is_served_to_no_other_machine(host: str) -> None:
    with pytest.raises(RequestError, match="ssh -L"):
        loopback_address(host)


def test_the_loopback_interface_has_several_names() -> None:
    assert [loopback_address(host) for host in ("localhost", "127.0.0.1", "127.0.0.2", "::1")] == [
        "127.0.0.1",
        "127.0.0.1",
        "127.0.0.2",
        "::1",
    ]


def test_a_wrong_host_or_port_is_one_message(trials: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(trials)]
    assert main(["dashboard", "first", "--host", "0.0.0.0", *out]) == 2
    assert "ssh -L" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["dashboard", "first", "--port", port, *out]) == 2
    assert f"--port {port} is in use" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["dashboard", "--port", "70000", *out])


def test_requests_under_another_name_are_refused(address: str) -> None:
    for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "", "10.0.0.1"):
        assert ask(address, "/api/studies", host=host)[0] == 403, host
    for host in ("localhost", "LOCALHOST:9000", "127.0.0.1:1", "[::1]:8080"):
        assert ask(address, "/api/studies", host=host)[0] == 200, host


def test_a_file_of_a_trial_is_inert_and_for_this_origin_alone(address: str) -> None:
    trials = {trial["number"]: trial for trial in api(address, "studies/0")["trials"]}
    files = {file["filename"]: file["artifact_id"] for file in trials[COMPLETE]["artifacts"]}
    assert set(files) == {"curve.svg", "curve.csv", "samples.txt"} and trials[FAILED]["artifacts"] == []
    for name, artifact in files.items():
        connection = http.client.HTTPConnection(address.split("/")[2], timeout=30)
        place = f"/artifacts/0/{trials[COMPLETE]['trial_id']}/{artifact}"
        connection.request("GET", place, headers={"Origin": "https://evil.example"})
        answer = connection.getresponse()
        content, headers = answer.read().decode(), {key.lower(): value for key, value in answer.getheaders()}
        assert answer.status == 200 and content
        assert headers["content-type"].partition(";")[0] in ("image/svg+xml", "text/csv", "text/plain"), name
        assert headers["x-content-type-options"] == "nosniff" and "sandbox" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin" and "access-control-allow-origin" not in headers
        assert ("</script>" in content) == (name == "samples.txt") and "\x00" not in content
    for path in ("/artifacts/0/0/0-0-9", f"/artifacts/0/{FAILED}/0-{FAILED:x}-0", "/artifacts/0/0-0-0", "/artifacts/0/1/0-0-0"):
        assert ask(address, path)[0] == 404, path


def test_nothing_can_be_changed(address: str, trials: Path) -> None:
    before = fingerprints(trials)
    changes = (
        ("DELETE", "/api/studies/0", None),
        ("POST", "/api/studies", '{"study_name": "x", "directions": ["minimize"]}'),
        ("POST", "/api/studies/0/rename", '{"study_name": "x"}'),
        ("POST", f"/api/trials/{LIVE}/tell", '{"state": "Fail"}'),
        ("POST", f"/api/trials/{LIVE}/user-attrs", '{"user_attrs": {"a": 1}}'),
        ("PUT", "/api/studies/0/note", '{"body": "x", "version": 2}'),
        ("POST", f"/api/artifacts/0/{LIVE}", '{"file": "data:text/html,x", "filename": "x.html"}'),
        ("DELETE", "/api/artifacts/0/0/0-0-0", None),
    )
    for method, path, body in changes:
        status, content = ask(address, path, method, body=body)
        assert status == 405 and "changes nothing" in json.loads(content)["reason"], path
    assert fingerprints(trials) == before


def test_every_route_of_the_dashboard_that_does_not_read_is_refused(trials: Path) -> None:
    dashboard: Any = wsgi(Shelf(trials, None))
    methods = {route.method for route in dashboard.routes}
    assert {"GET", "POST", "PUT", "DELETE"} <= methods
    reached = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        reached.append(environ["REQUEST_METHOD"])
        return []

    for method in methods | {"HEAD", "PATCH", "OPTIONS", "TRACE", "get"}:
        environ: Any = {"REQUEST_METHOD": method, "HTTP_HOST": "localhost"}
        guarded(app)(environ, lambda *values: None)  # type: ignore[arg-type]
    assert sorted(reached) == ["GET", "HEAD"]


def test_its_storage_cannot_write(trials: Path) -> None:
    shelf = Shelf(trials, None)
    for name in (name for name in dir(shelf) if name.startswith(("set_", "create_", "delete_"))):
        with pytest.raises(AssertionError, match="does not write"):
            getattr(shelf, name)(0, "key", 1)


def test_an_interruption_ends_it_at_once_and_quietly(trials: Path) -> None:
    with served("first", "--out", str(trials)) as (process, address):
        assert ask(address, "/dashboard")[0] == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in err and err.strip().endswith("interrupted")


# In a browser


@pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="chromium and chromedriver are not on the PATH")
def test_a_person_finds_objectives_the_front_and_why_a_trial_failed(browser: Any, address: str) -> None:
    online = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", online)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 1400, "height": 2400, "deviceScaleFactor": 1, "mobile": False}
    )

    def text(page: str, *words: str) -> str:
        browser.get(address + page)
        until = time.monotonic() + 30
        while True:
            found = str(browser.find_element("tag name", "body").text)
            if all(word in found for word in words) or time.monotonic() > until:
                return found
            time.sleep(0.2)

    overview = (
        "Pareto Front",
        "val_loss",
        "params",
        "Best Trials",
        "Objective Values = [3, 100]",
        "Objective Values = [2, 200]",
    )
    found = text("", *overview)
    assert [word for word in overview if word not in found] == []
    assert "[2.5, 300]" not in found, "a trial that is dominated is not on the front"
    why = ("Failed: its loss grew out of bounds", "the loss rose to 11.2 nats", f"Trial {RETRY} takes its place")
    found = text(f"/trials?numbers={FAILED}", *why)
    assert [word for word in why if word not in found] == []
    shown = ("Scored at the last rung", "curve.svg", "curve.csv", "samples.txt")
    found = text(f"/trials?numbers={COMPLETE}", *shown)
    assert [word for word in shown if word not in found] == []
    width = "return [...document.images].find(i => i.src.includes('/artifacts/'))?.naturalWidth ?? 0"
    until = time.monotonic() + 20
    while not (drawn := browser.execute_script(width)) and time.monotonic() < until:
        time.sleep(0.2)
    assert drawn == 720, "the learning curve is drawn"
    note = ("Every objective is minimised", "autonas report first")
    found = text("/note", *note)
    assert [word for word in note if word not in found] == []
