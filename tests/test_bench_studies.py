"""`autonas bench studies`: real searches with each sampler in turn, compared at equal compute."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from autonas import cost, pareto
from autonas.arch import ArchSpec
from autonas.bench.studies import Grown, rows_of, spent
from autonas.cli import main
from autonas.objective import OBJECTIVES
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord
from tests.studies import write_space

SPEC = ArchSpec(layers=1, width=16, heads=2, kv_heads=2, vocab_size=300, context_length=64)
PAIR = (OBJECTIVES["val_loss"], OBJECTIVES["params"])


def study(*trials: tuple[float, float]) -> StudyRecord:
    """Finished trials of one rung with these losses and parameters."""
    records = []
    for number, (loss, params) in enumerate(trials):
        outcome = Outcome(
            kind="train", trial=number, attempt=1, rung=0, seconds=1.0, scores={"val_loss": Score.exact(loss, "nats/token")}
        )
        scores = {"params": Score.exact(params, "parameters")}
        records.append(TrialRecord(number=number, state="complete", params={}, spec=SPEC, scores=scores, rungs=(outcome,)))
    return StudyRecord(name="s", recipe={"budget": {"rungs": [100]}}, attributes={}, trials=tuple(records))


def grown(*trials: tuple[float, float], pace: float) -> Grown:
    """One trial complete after every `pace`."""
    count = len(trials)
    return Grown(
        spent=tuple(pace * (i + 1) for i in range(count)),
        complete=tuple(tuple(range(i + 1)) for i in range(count)),
        study=study(*trials),
    )


def test_who_needs_half_the_compute_has_as_much_at_half_of_it_as_the_other_at_its_end() -> None:
    trials = [(4.0, 1e6), (5.0, 1e5), (4.4, 3e5), (6.0, 1e4)]
    rows = rows_of({"autonas": [grown(*trials, pace=1.0)], "random": [grown(*trials, pace=2.0)]}, PAIR)
    at = {(row.metric.split(":")[0], row.metric.split(" at ")[1]): row.ours for row in rows}
    assert at["random", "the end of its studies"] == pytest.approx(at["autonas", "4 FLOPs"])
    # The least that a study has spent is 4: autonas has all of its trials by then, and random the first two.
    points = [(0.0, 1.0), (0.5, 0.5)]
    early = pareto.hypervolume(points, (1.1, 1.1)) / 1.1**2
    assert at["random", "4 FLOPs"] == pytest.approx(early)
    assert at["autonas", "2 FLOPs"] == pytest.approx(early)
    assert at["autonas above random", "4 FLOPs"] == pytest.approx(at["autonas", "4 FLOPs"] - early)  # type: ignore[operator]


def test_differences_are_paired_by_seed() -> None:
    hard, easy = [(5.0, 1e6), (5.5, 1e5)], [(4.0, 1e5), (4.5, 1e4)]
    ours = [grown(*hard, pace=1.0), grown(*easy, pace=1.0)]
    rows = rows_of({"autonas": ours, "random": list(ours)}, PAIR)
    above = [row for row in rows if " above " in row.metric]
    assert above and all(row.ours == row.low == row.high == 0.0 for row in above)


def test_a_study_in_which_nothing_was_finished_has_nothing() -> None:
    nothing = Grown(spent=(3.0,), complete=((),), study=study())
    rows = rows_of({"autonas": [grown((4.0, 1e5), (5.0, 1e4), pace=1.5)], "random": [nothing]}, PAIR)
    values = {row.metric: row.ours for row in rows}
    assert values["random: hypervolume at 3 FLOPs"] == 0.0 and values["autonas: hypervolume at 3 FLOPs"] > 0  # type: ignore[operator]


def test_what_was_trained_is_paid_for_and_repeats_are_not() -> None:
    record = study((4.0, 1e5), (4.1, 1e5))
    outcomes = [dataclasses.replace(trial.rungs[0], new_tokens=500) for trial in record.trials]
    trials = [
        dataclasses.replace(record.trials[0], rungs=(outcomes[0],)),
        dataclasses.replace(record.trials[1], rungs=(outcomes[1],), repeat_of=0),
    ]
    assert spent(dataclasses.replace(record, trials=tuple(trials))) == 500 * cost.training_flops_per_token(SPEC)


@pytest.mark.slow
def test_real_searches_take_turns_and_what_has_ended_is_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code_corpus: Path
) -> None:
    space = write_space(tmp_path / "small.yaml", code_corpus, budget={"trials": 4, "repeats": 0})
    command = ["bench", "studies", "--space", str(space), "--samplers", "autonas,random", "--seeds", "2", "--engine", "inline"]
    command += ["--out", str(tmp_path / "trials"), "--json"]
    whole = [sys.executable, "-m", "autonas", *command]
    with subprocess.Popen(whole, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as killed:
        assert killed.stderr is not None
        next(line for line in killed.stderr if b"seed 1" in line)  # one round has ended
        killed.kill()
    first = (tmp_path / "trials" / "small-autonas-0" / "trace.jsonl").read_text()
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert (tmp_path / "trials" / "small-autonas-0" / "trace.jsonl").read_text() == first
    values = [row["ours"] for row in found["rows"] if row["metric"].startswith("autonas: ")]
    assert len(values) == 4 and values[-1] > 0
    # What a killed process had begun to write is passed over; without any of it there is nothing to compare.
    trace = tmp_path / "trials" / "small-autonas-0" / "trace.jsonl"
    trace.write_text(first + '\n{"spent": 1e')
    assert main(command) == 0
    assert [row["ours"] for row in json.loads(capsys.readouterr().out)["rows"]] == [row["ours"] for row in found["rows"]]
    trace.unlink()
    assert main(command) == 2
    assert "trace.jsonl cannot be read" in capsys.readouterr().err
    trace.write_text(first)
    other = write_space(tmp_path / "small.yaml", code_corpus, budget={"trials": 5, "repeats": 0})
    assert main([*command[:3], str(other), *command[4:]]) == 2
    assert "another space file or budget" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samplers", "autonas,moasha"], "'moasha' is no sampler of a search; there are autonas, tpe"),
        (["--samplers", "autonas"], "name two or more"),
        (["--table", "x.csv"], "has no use for --table"),
    ],
)
def test_a_wrong_request_is_one_message(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "studies", *options]) == 2
    assert message in capsys.readouterr().err
