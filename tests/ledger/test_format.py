"""What stands in the storage: both formats are read, and what Optuna and its dashboard show of a study is for people."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from autonas.ledger import JOURNAL, Ledger
from autonas.ledger.storage import open_reader
from autonas.trial import Failure
from tests.ledger.examples import DISTRIBUTIONS, EXACT, PARAMS, RECIPE, SPEC, Made, begin, outcome

# Format 1, whose records were user attributes


@pytest.fixture
def in_format_1(tmp_path: Path) -> Path:
    """The folder of the study of the first test, as it was written in format 1."""
    folder = tmp_path / "study"
    folder.mkdir()
    shutil.copyfile(Path(__file__).parent / "format_1.journal", folder / JOURNAL)
    return folder


def test_a_study_of_format_1_is_read(in_format_1: Path) -> None:
    study = Ledger.open("study", in_format_1, None).read()
    assert study.recipe == RECIPE
    assert study.attributes == {"calibration": {"points": [1.5, None]}, "spent_s": 2.5}
    states = ["complete", "stopped", "failed", "infeasible", "live", "infeasible", "live"]
    assert [trial.state for trial in study.trials] == states
    complete, _, failed, rejected, live, broken, repeat = study.trials
    assert complete.rungs == (outcome(0, 0), outcome(0, 1))
    assert (complete.params, complete.spec, complete.scores) == (PARAMS, SPEC, EXACT)
    assert complete.sampler_state == {"note": [1, 2]}
    assert (failed.failure, failed.reason) == ("nan", "the loss is no number")
    assert rejected.reason == "beats a unigram model: it does not"
    assert (broken.reason, broken.nearest) == ("width % heads == 0: it is 1", {"layers": 2, "kv_heads": 1})
    assert (repeat.repeat_of, live.retry_of, live.retries) == (0, None, ())


def test_a_study_of_format_1_goes_on_in_format_2(in_format_1: Path) -> None:
    ledger = Ledger.open("study", in_format_1, None)
    longer = {**RECIPE, "budget": {"rungs": [10, 20], "trials": 9}}
    ledger.extend_budget(longer)
    ledger.set_attribute("calibration", {"points": [1.5, 2.5]})
    ledger.set_attribute("spent_s", 3.5)
    live, repeat = 4, 6
    ledger.finish_rung(outcome(live, 1))
    ledger.complete(live, [2.0, 1234.0])
    ledger.fail(repeat, Failure(kind="error", message="x"))
    again = ledger.begin(PARAMS, DISTRIBUTIONS, SPEC, EXACT, repeat_of=0, retry_of=repeat)
    study = Ledger.open("study", in_format_1, None).read()
    assert study.recipe == longer
    assert study.attributes == {"calibration": {"points": [1.5, 2.5]}, "spent_s": 3.5}
    assert study.trials[live].state == "complete"
    assert study.trials[live].rungs == (outcome(live, 0), outcome(live, 1))
    assert (study.trials[repeat].state, study.trials[repeat].failure) == ("failed", "error")
    assert (study.trials[again].repeat_of, study.trials[again].retry_of) == (0, repeat)


# What Optuna and its dashboard see


def test_a_fact_is_read_as_it_was_last_written_whatever_its_kind(tmp_path: Path, url: str | None, made: Made) -> None:
    name = f"study-{tmp_path.name}"
    ledger = made(Ledger.create(name, tmp_path, url, RECIPE, RECIPE["objectives"]))
    for value in (None, {"run": 1}, None, "later", [1, 2], 3.5):
        ledger.set_attribute("promotion", value)
        assert made(Ledger.open(name, tmp_path, url)).read().attributes == {"promotion": value}


def test_records_are_hidden_and_what_people_see_is_short(tmp_path: Path) -> None:
    ledger = Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    ledger.set_attribute("calibration", {"points": [1.5] * 100})
    ledger.set_attribute("closed", "all 3 trials have ended")
    complete, stopped, failed = (begin(ledger) for _ in range(3))
    ledger.add_infeasible(
        PARAMS, DISTRIBUTIONS, rule="a <= b", reason="a is 3", nearest={**PARAMS, "layers": 2, "norm": "rmsnorm"}
    )
    for number, rung in ((complete, 0), (complete, 1), (stopped, 0)):
        ledger.finish_rung(outcome(number, rung))
    ledger.complete(complete, [2.0, 1234.0])
    ledger.stop(stopped)
    ledger.fail(failed, Failure(kind="nan", message="the loss is\nno number" * 100))

    storage = open_reader(tmp_path / JOURNAL)
    assert storage.get_study_user_attrs(0) == {"autonas": {"format": 2}, "closed": "all 3 trials have ended"}
    trials = storage.get_all_trials(0)
    known = {"architecture": "1 × 16, 2 heads, ffn 4 gelu, rmsnorm, rope, tied", "params": 1234}
    first = {"rung 0 · val_loss": 3, "rung 0 · tokens": 12}
    assert trials[0].user_attrs == {**known, **first, "rung 1 · val_loss": 2, "rung 1 · tokens": 12}
    assert trials[1].user_attrs == {**known, **first, "stopped at": "rung 0, 12 tokens"}
    assert trials[2].user_attrs["failure"].startswith("nan: the loss is no number")
    assert trials[3].user_attrs == {"rule": "a <= b", "reason": "a is 3", "nearest legal": "layers 2, norm rmsnorm"}
    assert all(len(str(value)) < 300 for trial in trials for value in trial.user_attrs.values())
    assert trials[1].intermediate_values == {12: 3.0} and trials[1].values is None


def test_constraints_are_there_in_both_formats_and_feasible_at_zero(tmp_path: Path, url: str | None, made: Made) -> None:
    import optuna

    name = f"study-{tmp_path.name}"
    ledger = made(Ledger.create(name, tmp_path, url, RECIPE, RECIPE["objectives"]))
    feasible, rejected = begin(ledger), begin(ledger)
    ledger.finish_rung(outcome(rejected, 0))
    ledger.reject(rejected, "beats a unigram model", "it does not")
    broken = ledger.add_infeasible(PARAMS, DISTRIBUTIONS, rule="a <= b", reason="a is 3", nearest=None)
    study = optuna.load_study(study_name=name, storage=ledger._storage)
    for number, value in ((feasible, 0.0), (rejected, 1.0), (broken, 1.0)):
        attributes = study.trials[number].system_attrs
        assert (attributes["constraints"], attributes["constraints:legal"]) == ([value], value)
        assert set(study.trials[number].constraints.values()) == {value}


def test_notes_are_what_the_dashboard_reads(tmp_path: Path, url: str | None, made: Made) -> None:
    import optuna
    from optuna_dashboard._note import get_note_from_system_attrs

    name = f"study-{tmp_path.name}"
    ledger = made(Ledger.create(name, tmp_path, url, RECIPE, RECIPE["objectives"]))
    retried, failed, rejected, live = (begin(ledger) for _ in range(4))
    ledger.retry(retried, Failure(kind="timeout", message="300 s"))
    ledger.retry(retried, Failure(kind="preempted", message="the worker is gone"))
    ledger.fail(failed, Failure(kind="error", message="KeyError: '__init__'\n```\n" + "x" * 5_000))
    ledger.finish_rung(outcome(rejected, 0))
    ledger.reject(rejected, "beats a unigram model", "its loss is too high")
    again = ledger.begin(PARAMS, DISTRIBUTIONS, SPEC, EXACT, retry_of=failed)

    study = optuna.load_study(study_name=name, storage=ledger._storage)
    attributes = ledger._storage.get_study_system_attrs(study._study_id)
    bodies = [get_note_from_system_attrs(attributes, trial._trial_id)["body"] for trial in study.trials]
    assert "2 jobs of this trial failed" in bodies[retried] and "the worker is gone" in bodies[retried]
    assert f"Trial {again} takes its place" in bodies[failed] and "x" * 5_000 in bodies[failed]
    assert "beats a unigram model" in bodies[rejected] and "too high" in bodies[rejected]
    assert f"place of trial {failed}" in bodies[again]
    assert bodies[live] == ""
    ledger.extend_budget({**RECIPE, "budget": {"rungs": [10, 20], "trials": 9}})
    study_note = get_note_from_system_attrs(ledger._storage.get_study_system_attrs(study._study_id), None)
    assert study_note["version"] == 2
    for words in ("`val_loss`", "nats/token", "9 trials", "rungs of 10, 20 tokens", f"autonas report {name}"):
        assert words in study_note["body"]
    assert ("--storage URL" in study_note["body"]) == (url is not None)


def test_a_reader_of_the_journal_never_changes_it_even_where_it_is_torn(tmp_path: Path) -> None:
    ledger = Ledger.create("study", tmp_path, None, RECIPE, RECIPE["objectives"])
    begin(ledger)
    path = tmp_path / JOURNAL
    whole = path.read_bytes()
    begin(ledger)
    torn = path.read_bytes()[:-7]
    path.write_bytes(torn)
    reader = open_reader(path)
    assert len(reader.get_all_trials(0)) == 1
    with path.open("ab") as file:
        file.write(b"x")
    assert len(reader.get_all_trials(0)) == 1
    assert path.read_bytes() == torn + b"x"
    with pytest.raises(AssertionError, match="does not write"):
        reader.set_study_user_attr(0, "key", 1)
    # What was torn is cut by whoever goes on with the study, and the reader follows.
    begin(Ledger.open("study", tmp_path, None))
    assert len(reader.get_all_trials(0)) == 2 and path.read_bytes().startswith(whole)
