"""`autonas bench table`: what is written is what was trained, can be replayed, and compares with longer trainings."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonas.arch import ArchSpec
from autonas.bench import Findings, Row
from autonas.bench import table as table_module
from autonas.bench.ranks import agreement, of_equal_size
from autonas.bench.sentinels import BAND, choose
from autonas.bench.table import close_share, measure
from autonas.bench.table_export import export, seed_index, shown, spec_text
from autonas.bench.table_file import read_table
from autonas.cli import main
from autonas.cost import count_params
from autonas.engine.choice import EngineSettings
from autonas.errors import RequestError, StudyError
from autonas.recipe import Recipe, load_recipe
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord
from tests.studies import write_space

INLINE = EngineSettings(name="inline", device="cpu")
RUNGS = ("3K", "6K", "12K")
BUDGET = {"trials": 5, "rungs": list(RUNGS), "scheduler": "curves", "sampler": "random", "repeats": 2}


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_metric(findings: Findings) -> dict[str, Row]:
    return {row.metric: row for row in findings.rows}


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, code_corpus: Path) -> Path:
    return write_space(tmp_path_factory.mktemp("space") / "small.yaml", code_corpus, budget=BUDGET)


@pytest.fixture(scope="module")
def made(space: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Findings, StudyRecord, Path]:
    """A table, the study that it was written from, and where both are."""
    out = tmp_path_factory.mktemp("made")
    findings = measure(space=str(space), out=out, table_out=out / "table", engine=INLINE)
    return findings, table_module.read("small", out / "small"), out


# The table


def test_every_training_is_a_row_and_every_rung_of_it_a_row_of_curves(made: tuple[Findings, StudyRecord, Path]) -> None:
    findings, study, out = made
    rows, curves = lines(out / "table" / "decoders.csv"), lines(out / "table" / "decoders_curves.csv")
    complete = [trial for trial in study.trials if trial.state == "complete"]
    assert [int(row["trial"]) for row in rows] == [trial.number for trial in complete]
    assert [(int(row["trial"]), int(row["rung"])) for row in curves] == [(t.number, r) for t in complete for r in range(3)]
    assert sum(row["seed"] == "1" for row in rows) == 2 and {row["seed"] for row in rows} == {"0", "1"}
    found = by_metric(findings)
    assert found["cells"].ours == 5 and found["trainings, other seeds included"].ours == len(rows) == 7


def test_the_files_hold_the_ledgers_numbers_to_six_digits(made: tuple[Findings, StudyRecord, Path]) -> None:
    _, study, out = made
    for row in lines(out / "table" / "decoders.csv"):
        trial = study.trials[int(row["trial"])]
        last = trial.rungs[-1]
        assert trial.spec is not None
        assert int(row["params"]) == count_params(trial.spec) and row["fingerprint"] == trial.spec.fingerprint
        assert int(row["width"]) == trial.spec.width and int(row["kv_heads"]) == trial.spec.kv_heads
        assert row["tied_embeddings"] == str(trial.spec.tied_embeddings).lower()
        for name in ("val_loss", "collapse_rate"):
            score = last.scores[name]
            for suffix, value in (("", score.value), ("_low", score.low), ("_high", score.high)):
                assert float(row[name + suffix]) == pytest.approx(value, rel=5e-6)
        assert float(row["unigram"]) == pytest.approx(last.baselines["unigram"], rel=5e-6)
        assert float(row["seconds"]) == pytest.approx(sum(outcome.seconds for outcome in trial.rungs), rel=5e-6)
    for row in lines(out / "table" / "decoders_curves.csv"):
        outcome = study.trials[int(row["trial"])].rungs[int(row["rung"])]
        assert (int(row["tokens"]), int(row["new_tokens"])) == (outcome.tokens, outcome.new_tokens)
        assert float(row["val_loss"]) == pytest.approx(outcome.scores["val_loss"].value, rel=5e-6)


def test_a_repeat_differs_from_its_original_in_its_training_alone(made: tuple[Findings, StudyRecord, Path]) -> None:
    _, study, out = made
    rows = {row["trial"]: row for row in lines(out / "table" / "decoders.csv")}
    repeats = [trial for trial in study.trials if trial.repeat_of is not None]
    assert repeats
    for trial in repeats:
        repeat, original = rows[str(trial.number)], rows[str(trial.repeat_of)]
        assert repeat["val_loss"] != original["val_loss"]
        for name in ("fingerprint", "params", "flops", "layers", "norm"):
            assert repeat[name] == original[name]


def test_training_losses_are_those_of_the_rungs_own_stretch(made: tuple[Findings, StudyRecord, Path]) -> None:
    _, study, out = made
    for row in lines(out / "table" / "decoders_curves.csv"):
        rungs, rung = study.trials[int(row["trial"])].rungs, int(row["rung"])
        before = len(rungs[rung - 1].curve) if rung else 0
        first = max(tokens for tokens, _ in rungs[rung - 1].curve) if rung else 0
        own = [loss for tokens, loss in rungs[rung].curve if tokens > first]
        assert own and (rung == 0 or len(rungs[rung].curve) > before)
        assert float(row["train_loss"]) == pytest.approx(np.mean(own), rel=5e-6)


def test_the_same_study_gives_the_same_bytes(made: tuple[Findings, StudyRecord, Path], tmp_path: Path) -> None:
    _, study, out = made
    export(study, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"decoders.csv", "decoders_curves.csv", "decoders.yaml", "provenance.json"}
    for name in names:
        assert (tmp_path / name).read_bytes() == (out / "table" / name).read_bytes()
    again = measure(study="small", out=out, table_out=tmp_path / "again")
    assert (tmp_path / "again" / "decoders.csv").read_bytes() == (tmp_path / "decoders.csv").read_bytes()
    assert by_metric(again)["cells"].ours == 5


def test_a_search_can_be_replayed_on_it(made: tuple[Findings, StudyRecord, Path]) -> None:
    _, study, out = made
    table = read_table(out / "table" / "decoders.csv", out / "table" / "decoders.yaml")
    originals = [trial for trial in study.trials if trial.state == "complete" and trial.repeat_of is None]
    assert len(table) == len(originals) and table.steps == tuple(outcome.tokens for outcome in originals[0].rungs)
    assert [objective.name for objective in table.objectives] == list(study.recipe["objectives"])
    losses = [[outcome.scores["val_loss"].value for outcome in trial.rungs] for trial in originals]
    assert np.allclose(table.scores[:, :, 0], losses, rtol=5e-6)
    assert table.has_costs and np.allclose(table.spent[:, -1], [sum(o.seconds for o in t.rungs) for t in originals], rtol=1e-5)


def test_provenance_says_where_the_numbers_are_from(made: tuple[Findings, StudyRecord, Path]) -> None:
    _, study, out = made
    told = json.loads((out / "table" / "provenance.json").read_text())
    assert told["licence"] == "Apache-2.0" and told["commit"] == study.attributes["environment"]["commit"]
    assert told["data"]["fingerprint"] == study.attributes["data"]["fingerprint"]
    assert Recipe.from_resolved(told["space_file"]).fingerprint == Recipe.from_resolved(study.recipe).fingerprint
    assert (told["architectures"], told["trainings"], told["left_out"]) == (5, 7, [])
    header = set(lines(out / "table" / "decoders.csv")[0]) | set(lines(out / "table" / "decoders_curves.csv")[0])
    described = {name.removesuffix("_low").removesuffix("_high") for name in header}
    dimensions = {"layers", "width", "heads", "kv_heads", "ffn_multiplier", "norm", "activation", "position", "tied_embeddings"}
    assert described - dimensions - {"rung"} <= set(told["columns"])


def test_what_has_not_every_rung_is_left_out_and_named(made: tuple[Findings, StudyRecord, Path], tmp_path: Path) -> None:
    _, study, _ = made
    cut = [t.number for t in study.trials if t.state == "complete"][:2]
    trials = tuple(
        dataclasses.replace(trial, state="live", rungs=trial.rungs[:1]) if trial.number == cut[0]
        else dataclasses.replace(trial, state="failed", reason="no memory", rungs=()) if trial.number == cut[1]
        else trial
        for trial in study.trials
    )  # fmt: skip
    exported = export(dataclasses.replace(study, trials=trials), tmp_path)
    assert exported.left_out == ((cut[0], "live"), (cut[1], "failed: no memory"))
    assert not {str(number) for number in cut} & {row["trial"] for row in lines(tmp_path / "decoders.csv")}
    named = json.loads((tmp_path / "provenance.json").read_text())["left_out"]
    assert [entry["trial"] for entry in named] == cut


def test_a_study_that_stops_trials_early_is_no_table(made: tuple[Findings, StudyRecord, Path], tmp_path: Path) -> None:
    _, study, _ = made
    budget = {**study.recipe["budget"], "scheduler": "pareto"}
    with pytest.raises(RequestError, match="scheduler: curves"):
        export(dataclasses.replace(study, recipe={**study.recipe, "budget": budget}), tmp_path)
    with pytest.raises(RequestError, match="no training with all its rungs"):
        export(dataclasses.replace(study, trials=()), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_table_goes_on_and_is_the_same(
    made: tuple[Findings, StudyRecord, Path], space: Path, tmp_path: Path
) -> None:
    _, _, out = made

    def interrupt(text: str) -> None:
        if text.startswith("2 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(space=str(space), out=tmp_path, engine=INLINE, say=interrupt)
    with pytest.raises(StudyError, match="exists already"):
        measure(space=str(space), out=tmp_path, engine=INLINE)
    measure(space=str(space), out=tmp_path, engine=INLINE, resume=True)
    for name in ("decoders.csv", "decoders_curves.csv"):
        ours, whole = (lines(path / name) for path in (tmp_path / "small" / "table", out / "table"))
        for row in (*ours, *whole):
            del row["seconds"]
        assert ours == whole


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_floats_keep_six_digits(value: float) -> None:
    assert float(shown(value)) == pytest.approx(value, rel=5e-6, abs=0.0)


@given(st.integers(0, 2**53 - 1))
def test_counts_keep_all_their_digits(value: int) -> None:
    assert int(shown(value)) == value == int(shown(float(value)))


def test_the_spec_that_is_shipped_is_the_one_of_the_shipped_space() -> None:
    shipped = Path(__file__).parent.parent / "benchmarks" / "decoders.yaml"
    assert shipped.read_text(encoding="utf-8").startswith(spec_text(load_recipe("curves.yaml")))


# Studies that are made up


def decoder(number: int, spec: ArchSpec, loss: float, **changes: Any) -> TrialRecord:
    outcome = Outcome(
        kind="train",
        trial=number,
        attempt=1,
        rung=0,
        seconds=1.0,
        tokens=100,
        scores={"val_loss": Score(value=loss, low=loss, high=loss, unit="nats/token")},
    )
    return TrialRecord(number=number, state="complete", params={}, spec=spec, rungs=(outcome,), **changes)


def study_of(trials: Sequence[TrialRecord]) -> StudyRecord:
    return StudyRecord(name="made-up", recipe={"budget": {"rungs": [100]}}, attributes={}, trials=tuple(trials))


def many(count: int) -> StudyRecord:
    rng = np.random.default_rng(count)
    widths = rng.permutation(count)
    specs = [ArchSpec(layers=1, width=16 + 2 * int(width), heads=1, kv_heads=1, vocab_size=300) for width in widths]
    return study_of([decoder(number, spec, 4.0 + float(rng.random())) for number, spec in enumerate(specs)])


def test_a_retried_repeat_has_the_seed_of_the_one_it_replaces() -> None:
    spec = ArchSpec(layers=1, width=16, heads=1, kv_heads=1)
    trials = [
        decoder(0, spec, 4.0),
        decoder(1, spec, 4.0, repeat_of=0),
        decoder(2, spec, 4.0, repeat_of=0),
        decoder(3, spec, 4.0, repeat_of=0, retry_of=1),
        decoder(4, spec, 4.0, retry_of=0),
    ]
    assert [seed_index(study_of(trials), trial) for trial in trials] == [0, 1, 2, 1, 0]


@pytest.mark.parametrize(("count", "of"), [(2, 2), (3, 40), (12, 12), (12, 40), (12, 112), (13, 112), (40, 40)])
def test_sentinels_are_so_many_different_decoders_of_all_sizes(count: int, of: int) -> None:
    study = many(of)
    chosen = choose(study, count)
    assert len({trial.number for trial in chosen}) == len(chosen) == count
    assert [trial.number for trial in chosen] == sorted(trial.number for trial in chosen)
    sizes = sorted(count_params(t.spec) for t in study.trials if t.spec is not None)
    of_chosen = [count_params(t.spec) for t in chosen if t.spec is not None]
    if count >= 12:
        for low, high in ((0.0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0)):
            floor, ceiling = sizes[int(low * (of - 1))], sizes[int(high * (of - 1))]
            assert any(floor <= size <= ceiling for size in of_chosen), "a quarter of the sizes has no sentinel"


def test_within_a_band_sentinels_reach_from_the_best_loss_to_the_worst() -> None:
    specs = [ArchSpec(layers=1, width=64 + 2 * i, heads=1, kv_heads=1, vocab_size=300) for i in range(6)]
    losses = [4.3, 4.9, 4.1, 4.5, 4.2, 4.4]
    chosen = choose(study_of([decoder(i, s, loss) for i, (s, loss) in enumerate(zip(specs, losses, strict=True))]), 3)
    found = sorted(trial.rungs[-1].scores["val_loss"].value for trial in chosen)
    near = [i for i in range(6) if count_params(specs[i]) / count_params(specs[3]) <= BAND**0.5]
    assert len(near) >= 3 and found[0] == 4.1 and found[-1] == 4.9


@pytest.mark.parametrize("count", [1, 6])
def test_more_sentinels_than_decoders_are_refused(count: int) -> None:
    with pytest.raises(RequestError, match="write 2 to 5"):
        choose(many(5), count)


def test_repeats_are_no_sentinels() -> None:
    spec = ArchSpec(layers=1, width=16, heads=1, kv_heads=1)
    others = [dataclasses.replace(spec, width=16 * width) for width in (2, 3)]
    trials = [decoder(0, spec, 4.0), *(decoder(n, s, 4.0) for n, s in enumerate(others, 1)), decoder(3, spec, 4.0, repeat_of=0)]
    assert [trial.number for trial in choose(study_of(trials), 3)] == [0, 1, 2]


# Long trainings


def test_a_sentinel_of_the_same_length_is_the_same_training(made: tuple[Findings, StudyRecord, Path], tmp_path: Path) -> None:
    _, study, out = made
    found = by_metric(measure(study="small", out=out, table_out=tmp_path, sentinel_count=3, factor=1.0, engine=INLINE))
    rows = lines(tmp_path / "sentinels.csv")
    assert len(rows) == 3
    for row in rows:
        last = study.trials[int(row["trial"])].rungs[-1]
        assert float(row["long_val_loss"]) == float(row["val_loss"]) == pytest.approx(last.scores["val_loss"].value, rel=5e-6)
        assert int(row["long_tokens"]) == int(row["tokens"]) == last.tokens
        assert float(row["long_collapse_rate"]) == pytest.approx(last.scores["collapse_rate"].value, rel=5e-6)
    overall = found["agreement of the last rung's losses with those of long trainings"]
    assert overall.ours == 1.0 and overall.met
    assert found["regret of the best at the last rung, among decoders of equal size"].ours == 0.0
    for name in ("val_loss", "collapse_rate"):  # of what was to be expected of no more tokens
        inside = found[f"long trainings' {name} inside its 95% interval"]
        assert inside.ours == 1.0 and inside.note.startswith("3 of 3")


def test_longer_trainings_go_on_where_they_were_interrupted(
    made: tuple[Findings, StudyRecord, Path], space: Path, tmp_path: Path
) -> None:
    _, study, _ = made
    measure(space=str(space), out=tmp_path, engine=INLINE)

    def interrupt(text: str) -> None:
        if text.startswith("1 of"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure(study="small", out=tmp_path, sentinel_count=2, factor=2.0, engine=INLINE, say=interrupt)
    with pytest.raises(StudyError, match="exists already"):
        measure(study="small", out=tmp_path, sentinel_count=2, factor=2.0, engine=INLINE)
    with pytest.raises(StudyError, match=r"budget\.rungs|other architectures|budget\.trials"):
        measure(study="small", out=tmp_path, sentinel_count=3, factor=3.0, engine=INLINE, resume=True)
    measure(study="small", out=tmp_path, sentinel_count=2, factor=2.0, engine=INLINE, resume=True)
    rows = lines(tmp_path / "small" / "table" / "sentinels.csv")
    last = study.trials[0].rungs[-1].tokens
    assert len(rows) == 2 and all(1.9 < int(row["long_tokens"]) / last < 2.1 for row in rows)
    jobs = [json.loads(path.read_text()) for path in sorted((tmp_path / "small-sentinels" / "jobs").glob("*-train-0.json"))]
    before = {
        json.dumps(job["spec"]): job
        for path in (tmp_path / "small" / "jobs").glob("*-train-2.json")
        if study.trials[(job := json.loads(path.read_text()))["trial"]].repeat_of is None
    }
    assert len(jobs) == 2
    for job in jobs:
        table_job = before[json.dumps(job["spec"])]
        assert (job["seed"], job["data_seed"], job["training"], job["data"]) == tuple(
            table_job[key] for key in ("seed", "data_seed", "training", "data")
        )


# Ranks


def plain_tau(first: Sequence[float], second: Sequence[float], near: np.ndarray) -> float:
    signs = [
        float(np.sign(first[i] - first[j]) * np.sign(second[i] - second[j]))
        for i in range(len(first))
        for j in range(i)
        if near[i, j]
    ]
    return sum(signs) / len(signs)


@given(st.integers(0, 10_000), st.integers(3, 9))
def test_agreement_is_kendalls_tau_over_the_pairs_that_count(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(6, size=count).astype(float), rng.random(count)
    sizes = list(10 ** rng.random(count))
    for near in (np.ones((count, count), dtype=bool), of_equal_size(sizes, 2.0)):
        found = agreement(first, second, near)
        pairs = sum(bool(near[i, j]) for i in range(count) for j in range(i))
        if found is None:
            assert pairs == 0
        else:
            assert found.pairs == pairs
            assert found.tau == pytest.approx(plain_tau(list(first), list(second), near))
            assert -1.0 <= found.low <= found.high <= 1.0


def test_equal_and_opposite_rankings_agree_wholly_and_not_at_all() -> None:
    values = [3.0, 1.0, 2.0, 5.0]
    same, opposite = agreement(values, values), agreement(values, [-value for value in values])
    assert same is not None and opposite is not None
    assert (same.tau, same.low, same.high) == (1.0, 1.0, 1.0) and (opposite.tau, opposite.high) == (-1.0, -1.0)


def test_the_share_of_close_cells_looks_at_cells_of_their_size_and_smaller() -> None:
    sizes, losses = np.array([100.0, 105.0, 200.0, 1000.0]), np.array([4.0, 4.6, 3.0, 3.2])
    # 4.6 is beyond a tenth above the 4.0 at its size; 3.2 is within a tenth of the 3.0 of a smaller one.
    assert close_share(sizes, losses) == 0.75


def test_seed_noise_is_pooled_within_architectures() -> None:
    specs = [ArchSpec(layers=1, width=16 * width, heads=1, kv_heads=1) for width in (1, 2, 3)]
    trials = [decoder(n, spec, loss) for n, (spec, loss) in enumerate(zip(specs, (4.0, 5.0, 6.0), strict=True))]
    trials += [decoder(3, specs[0], 4.2, repeat_of=0), decoder(4, specs[1], 5.4, repeat_of=1)]
    row = table_module._seed_row(trials)
    assert row.ours == pytest.approx(((0.1**2 * 2 + 0.2**2 * 2) / 2) ** 0.5)
    assert row.low is not None and row.high is not None and row.low <= row.ours <= row.high  # type: ignore[operator]
    assert table_module._seed_row(trials[:3]).ours is None


# Requests


def test_wrong_requests_are_one_message(
    made: tuple[Findings, StudyRecord, Path], space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, out = made
    halving = tmp_path / "halving.yaml"
    halving.write_text(space.read_text().replace("scheduler: curves", "scheduler: pareto"))
    for arguments, complaint in (
        (["--space", str(halving)], "scheduler: curves"),
        (["--study", "a/b"], "cannot be the name of a folder"),
        (["--study", "nowhere"], "there is no study"),
        (["--study", "small", "--resume"], "give --space FILE too"),
        (["--study", "small", "--sentinels", "99"], "write 2 to 5"),
        (["--study", "small", "--archs", "3"], "has no use for --archs"),
    ):
        assert main(["bench", "table", "--out", str(out), "--engine", "inline", *arguments]) == 2
        written = capsys.readouterr()
        assert complaint in written.err.splitlines()[-1] and "Traceback" not in written.err and not written.out
