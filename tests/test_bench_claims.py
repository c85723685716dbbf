"""`autonas bench claims`: planted effects are told, luck is not, and the trainings behind them are real and not repeated."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autonas.bench.claims import CLAIMS, SPACE, conditions_of, measure, rows_of, treatments_of
from autonas.bench.claims_contrasts import (
    CONTRASTS,
    RATES,
    VIEWS,
    Claim,
    Estimate,
    Verdict,
    decide,
    estimate,
    judge,
    over_seeds,
)
from autonas.bench.claims_trainings import (
    DROPOUT,
    EPOCHS,
    SMOOTHING,
    Experiment,
    Result,
    Treatment,
    run_trainings,
    sizes,
    smoothed_loss,
)
from autonas.cli import main
from autonas.data.dataset import prepare
from autonas.engine.choice import EngineSettings
from autonas.engine.inline import InlineEngine
from autonas.errors import RequestError
from autonas.evaluation.calibration import Calibration
from autonas.evaluation.loss import evaluate_loss, loss_scores
from autonas.evaluation.profile import ProfileRow
from autonas.evaluation.rates import pooled_rate
from autonas.model.smoothing import smoothing_floor
from autonas.model.transformer import build_model
from autonas.recipe import load_recipe
from autonas.trial import Failure, Job, Outcome, Score
from tests.studies import write_space

PROMPTS, SAMPLES = 32, 4
BY_NAME = {claim.name: claim for claim in CLAIMS}


class World:
    """Models whose degeneration is known: a base rate, so much more or less by treatment, prompts and view, and luck."""

    def __init__(self, effects: Mapping[str, float], *, seeds: int = 4, luck: float = 0.02, at: int = 0) -> None:
        self.seeds, self.luck, self.effects = seeds, luck, effects
        self.rng = np.random.default_rng(at)

    def results(self) -> list[Result]:
        places = itertools.product(range(self.seeds), range(2), (False, True), (False, True))
        return [
            self._result(Treatment(size=size, smoothing=smoothing, dropout=dropout, seed=seed))
            for seed, size, smoothing, dropout in places
        ]

    def _result(self, treatment: Treatment) -> Result:
        rate = 0.45 + self.rng.normal(0, self.luck) + self._effect("everywhere", True)
        rate += self._effect("smoothing", treatment.smoothing) + self._effect("dropout", treatment.dropout)
        rate += self._effect("size", treatment.size == 1)
        rate += self._effect("together", treatment.smoothing and treatment.dropout)
        rate += self._effect("strong_large", treatment.smoothing and treatment.dropout and treatment.size == 1)
        rows = []
        for kind, fair in itertools.product(("few_shot", "bare"), (False, True)):
            own = rate + self._effect("bare", kind == "bare")
            own -= self._effect("smoothing", fair and treatment.smoothing and "only_at_equal_temperature" in self.effects)
            rows.append(self._row(kind, fair, min(max(own, 0.0), 1.0)))
        loss = 4.0 + self._effect("loss_of_strong", treatment.smoothing and treatment.dropout) + self.rng.normal(0, 0.02)
        loss += self.effects.get("loss_by_rate", 0.0) * rate
        return Result(treatment=treatment, leak="passed", calibration=_calibration(loss), smoothed_loss=loss, rows=tuple(rows))

    def _effect(self, name: str, has: bool) -> float:
        return self.effects.get(name, 0.0) if has else 0.0

    def _row(self, kind: str, fair: bool, rate: float) -> ProfileRow:
        hits = self.rng.random((PROMPTS, SAMPLES)) < rate
        return ProfileRow(
            prompts=kind,
            context_tokens=None,
            temperature=0.6 if fair else 0.7,
            matched_entropy=1.5 if fair else None,
            rates=dict.fromkeys(RATES, pooled_rate([hits.tolist()])),
            hits=dict.fromkeys(RATES, tuple("".join("01"[hit] for hit in row) for row in hits.astype(int))),
            empty=0.0,
            asked=kind,
        )


def _calibration(loss: float) -> Calibration:
    def score(value: float) -> Score:
        return Score.exact(value, "nats/token")

    return Calibration(
        raw=score(loss),
        calibrated=score(loss - 0.1),
        gain=score(0.1),
        temperatures=(1.1, 1.1),
        entropy=loss,
        excess_entropy=0.0,
    )


@pytest.mark.parametrize(
    ("name", "effects", "verdict"),
    [
        ("strong regularisation", {"smoothing": -0.12, "dropout": -0.12}, "survives"),
        ("strong regularisation", {"smoothing": 0.12, "dropout": 0.12}, "reversed"),
        ("label smoothing", {"smoothing": -0.2}, "survives"),
        ("label smoothing", {"smoothing": -0.2, "only_at_equal_temperature": 1.0}, "does not survive"),
        ("dropout", {"dropout": -0.2}, "survives"),
        ("dropout", {"dropout": 0.2}, "reversed"),
        ("both are needed", {"together": -0.3}, "survives"),
        ("bare prompts", {"bare": 0.2}, "survives"),
        ("bare prompts", {"bare": -0.2}, "reversed"),
        ("bare prompts, far more", {"bare": 0.2}, "does not survive"),
        ("bare prompts, far more", {"bare": 0.52}, "survives"),
        ("size", {"size": -0.2}, "survives"),
        ("size", {"size": 0.2}, "reversed"),
        ("size needs regularisation", {"strong_large": -0.4}, "survives"),
        ("regularisation and loss", {"loss_of_strong": -0.2}, "survives"),
        ("regularisation and loss", {"loss_of_strong": 0.2}, "reversed"),
        ("loss tells collapse", {"dropout": 0.3, "loss_by_rate": 3.0}, "survives"),
        ("loss tells collapse", {"dropout": 0.3, "loss_by_rate": -3.0}, "reversed"),
        ("five points are real", {}, "does not survive"),
    ],
)
def test_a_planted_effect_is_told(name: str, effects: dict[str, float], verdict: Verdict) -> None:
    found = judge(BY_NAME[name], World(effects, seeds=6).results())
    assert found.verdict == verdict, found


def test_a_contrast_is_the_planted_effect_in_the_mean_of_many_worlds() -> None:
    effects = {"smoothing": -0.1, "dropout": 0.15, "size": 0.05, "bare": 0.2, "together": -0.08}
    expected = {
        "smoothing - none": -0.1 - 0.08 / 2,
        "dropout - none": 0.15 - 0.08 / 2,
        "both - neither": -0.1 + 0.15 - 0.08,
        "both beyond the sum": -0.08,
        "large - small": 0.05,
        "both - neither, large - small": 0.0,
        "bare - few-shot": 0.2,
        "bare - few-shot, both": 0.2,
    }
    assert expected.keys() == CONTRASTS.keys()
    worlds = [World(effects, at=at).results() for at in range(40)]
    for name, value in expected.items():
        claim = Claim(name=name, statement="", contrast=name, direction=1)
        found = [estimate(claim, results, "fair") for results in worlds]
        values = np.array([each.value for each in found if each is not None])
        assert values.mean() == pytest.approx(value, abs=4 * values.std() / np.sqrt(len(values))), name


@pytest.mark.slow
def test_without_any_effect_few_claims_are_told() -> None:
    """Both views must tell a claim, and an interval of 95 % misses nothing on the claimed side in one of forty cases."""
    claims = [claim for claim in CLAIMS if claim.threshold == 0.0 and claim.has_opposite]
    worlds = [World({}, at=at).results() for at in range(40)]
    verdicts = [judge(claim, results).verdict for results in worlds for claim in claims]
    assert verdicts.count("survives") / len(verdicts) <= 0.025
    assert verdicts.count("reversed") / len(verdicts) <= 0.05
    assert {"not told apart", "does not survive"} <= set(verdicts)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    claim = BY_NAME["dropout"]
    held = []
    for at in range(120):
        found = estimate(claim, World({"dropout": 0.1}, at=at, luck=0.05).results(), "fair")
        assert found is not None and found.low <= found.value <= found.high
        held.append(found.low <= 0.1 <= found.high)
    assert 0.9 <= np.mean(held) <= 0.99


def test_the_smallest_effect_is_told_in_four_of_five_experiments() -> None:
    rng = np.random.default_rng(0)
    smallest = np.mean([over_seeds(rng.normal(0, 1, 4).tolist(), comparisons=4).smallest for _ in range(2000)])
    told = [over_seeds((smallest + rng.normal(0, 1, 4)).tolist(), comparisons=4).low > 0 for _ in range(2000)]
    assert 0.7 <= np.mean(told) <= 0.9


def at(low: float, high: float) -> Estimate:
    return Estimate(value=(low + high) / 2, low=low, high=high, smallest=0.1, by_seed=(low, high), comparisons=2)


@pytest.mark.parametrize(
    ("theirs", "fair", "lost", "verdict"),
    [
        ((-0.3, -0.1), (-0.2, -0.01), (-0.1, 0.1), "survives"),
        ((-0.3, 0.1), (-0.2, -0.01), (-0.1, 0.1), "not told apart"),
        ((-0.3, -0.1), (-0.2, 0.01), (-0.1, 0.1), "not told apart"),
        ((-0.3, -0.1), (-0.2, 0.01), (-0.1, -0.02), "does not survive"),  # most of what is told is the temperature's
        ((-0.3, 0.1), (-0.2, 0.01), (-0.1, -0.02), "not told apart"),
        ((-0.3, 0.1), (-0.04, 0.01), (-0.1, 0.1), "does not survive"),  # nothing as large as five points is left
        ((-0.3, -0.1), (0.01, 0.2), (-0.4, -0.2), "reversed"),
        ((0.1, 0.3), (-0.2, 0.2), (-0.1, 0.1), "not told apart"),
        ((0.1, 0.3), (0.1, 0.3), (-0.1, 0.1), "reversed"),
    ],
)
def test_the_rule_of_verdicts(
    theirs: tuple[float, float], fair: tuple[float, float], lost: tuple[float, float], verdict: Verdict
) -> None:
    claim = Claim(name="c", statement="", contrast="smoothing - none", direction=-1)
    assert decide(claim, at(*theirs), at(*fair), at(*lost))[0] == verdict
    mirrored = Claim(name="c", statement="", contrast="smoothing - none", direction=1)
    turned = [at(-high, -low) for low, high in (theirs, fair, lost)]
    assert decide(mirrored, *turned)[0] == verdict


def test_a_claim_of_a_size_needs_that_size() -> None:
    claim = Claim(name="c", statement="", contrast="bare - few-shot", direction=1, threshold=0.36)
    lost = at(-0.1, 0.1)
    assert decide(claim, at(0.4, 0.5), at(0.4, 0.5), lost)[0] == "survives"
    assert decide(claim, at(0.4, 0.5), at(0.2, 0.5), lost)[0] == "not told apart"
    assert decide(claim, at(0.4, 0.5), at(0.2, 0.3), lost)[0] == "does not survive"
    assert decide(claim, at(0.4, 0.5), at(-0.3, -0.2), lost)[0] == "reversed"


def test_a_failed_training_is_left_out_with_its_pair_alone() -> None:
    whole = World({"smoothing": -0.2}).results()
    gone = Treatment(size=0, smoothing=True, dropout=False, seed=1)
    results = [Result(treatment=gone, failure="diverged: at 100 tokens") if each.treatment == gone else each for each in whole]
    claim = BY_NAME["label smoothing"]
    before, after = estimate(claim, whole, "fair"), estimate(claim, results, "fair")
    assert before is not None and after is not None
    assert (before.comparisons, after.comparisons) == (16, 15)
    assert before.by_seed[0] == after.by_seed[0] and before.by_seed[1] != after.by_seed[1]
    of_dropout = estimate(BY_NAME["dropout"], results, "fair")
    assert of_dropout is not None and of_dropout.comparisons == 15
    assert sum(each["seeds"] for each in treatments_of(results)) == 31


def test_with_too_few_seeds_nothing_is_told() -> None:
    results = World({"smoothing": -0.3}, seeds=1).results()
    found = judge(BY_NAME["label smoothing"], results)
    assert found.verdict == "not told apart" and found.views == dict.fromkeys(VIEWS)
    rows = rows_of([found], results)
    assert all(row.ours is None and row.note.startswith("not measured") for row in rows)


@pytest.mark.parametrize("everywhere", [-9.0, 9.0])
def test_a_rate_that_is_the_same_everywhere_is_not_known_exactly(everywhere: float) -> None:
    found = estimate(BY_NAME["label smoothing"], World({"everywhere": everywhere}).results(), "fair")
    assert found is not None and found.value == 0.0
    assert found.high == -found.low == pytest.approx(1 / (2 * PROMPTS))


def test_a_difference_on_few_prompts_alone_has_a_large_p_value() -> None:
    """The seeds agree on it, and on other prompts there might be none."""
    results = []
    for seed, size, smoothing, dropout in itertools.product(range(4), range(2), (False, True), (False, True)):
        treatment = Treatment(size=size, smoothing=smoothing, dropout=dropout, seed=seed)
        rows = []
        for kind, fair in itertools.product(("few_shot", "bare"), (False, True)):
            hits = np.zeros((PROMPTS, SAMPLES), dtype=bool)
            hits[:3] = smoothing
            row = World({})._row(kind, fair, 0.0)
            rates = {name: pooled_rate([hits.tolist()]) for name in RATES}
            texts = tuple("".join("01"[hit] for hit in row) for row in hits.astype(int))
            rows.append(
                ProfileRow(
                    prompts=kind,
                    context_tokens=None,
                    temperature=0.7,
                    matched_entropy=row.matched_entropy,
                    rates=rates,
                    hits=dict.fromkeys(RATES, texts),
                    empty=0.0,
                    asked="",
                )
            )
        results.append(Result(treatment=treatment, leak="", calibration=_calibration(4.0), smoothed_loss=4.0, rows=tuple(rows)))
    few_shot = Claim(name="c", statement="", contrast="smoothing - none", direction=1, kinds=("few_shot",))
    found = estimate(few_shot, results, "fair")
    assert found is not None and found.low > 0 and found.p_value == pytest.approx(2 * 0.5**3)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, code_corpus: Path) -> Path:
    """Two decoders of some thousand parameters."""
    sections: dict[str, Any] = {
        "name": "claims",
        "context_length": 96,
        "space": {"layers": 1, "width": {"choice": [8, 16]}, "heads": 2, "kv_heads": 2, "norm": "rmsnorm"},
        "rules": ["width % heads == 0"],
        "objectives": ["val_loss", "degeneration"],
        "budget": {"trials": 1, "rungs": ["8K"], "repeats": 0, "batch_tokens": 384, "sampler": "autonas"},
        "horizon": {"seeds": 3},
        "training": {"warmup": "1K", "learning_rate": 4e-3},
        "evaluation": {"validation_tokens": "4K", "prompts_per_kind": 3, "samples_per_prompt": 2, "new_tokens": 16},
    }
    return write_space(tmp_path_factory.mktemp("space") / "claims.yaml", code_corpus, **sections)


@pytest.fixture(scope="module")
def folder(space: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bench has run once, with two seeds."""
    out = tmp_path_factory.mktemp("claims")
    assert main(["bench", "claims", "--space", str(space), "--seeds", "2", "--engine", "inline", "--out", str(out)]) == 0
    return out


def experiment(space: Path, out: Path) -> Experiment:
    recipe = load_recipe(str(space))
    dataset = prepare(recipe.corpus, recipe.tokenizer)
    return Experiment(recipe=recipe, specs=sizes(recipe, str(space)), dataset=dataset, seed=0, device="cpu", threads=1, out=out)


def test_real_models_are_trained_measured_and_not_trained_again(
    space: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "claims", "--space", str(space), "--seeds", "2", "--engine", "inline", "--out", str(folder)]
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert len([path for path in files if path.parent.name == "models"]) == 16
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    done = capsys.readouterr()
    assert "16 of 16 trainings have ended before" in done.err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == files
    found = json.loads(done.out)
    assert found["name"] == "claims" and not found["conditions"]["failed"]
    assert [claim["name"] for claim in found["conditions"]["claims"]] == list(BY_NAME)
    assert found["conditions"]["epochs"] == pytest.approx(EPOCHS, rel=0.05)
    for row in found["rows"]:
        assert row["ours"] is None or row["low"] <= row["ours"] <= row["high"]
    losses = {(each["size"], each["smoothing"], each["dropout"]): each for each in found["conditions"]["treatments"]}
    # What a smoothed loss says is far above what the model's loss is.
    assert (
        losses[1, True, False]["reported_loss"]
        > losses[1, True, False]["raw_loss"]
        > losses[1, True, False]["calibrated_loss"] - 0.01
    )
    assert losses[1, False, False]["reported_loss"] == pytest.approx(losses[1, False, False]["raw_loss"], abs=1e-4)
    assert main(command) == 0
    text = capsys.readouterr().out
    assert all(claim.statement[:30] in " ".join(text.split()) for claim in CLAIMS)
    assert max(map(len, text.split("\n"))) <= 100


def test_models_of_a_seed_share_their_beginning_and_differ_in_their_treatment(space: Path, tmp_path: Path) -> None:
    own = experiment(space, tmp_path)
    jobs = {treatment: own.job(treatment, number) for number, treatment in enumerate(own.treatments(2))}
    assert len(jobs) == 16 and len({job.spec for job in jobs.values()}) == 8
    for treatment, job in jobs.items():
        assert job.spec.label_smoothing == SMOOTHING * treatment.smoothing
        assert job.spec.attention_dropout == job.spec.residual_dropout == DROPOUT * treatment.dropout
        for other, its in jobs.items():
            assert (job.data_seed == its.data_seed) == (treatment.seed == other.seed)
            assert (job.seed == its.seed) == ((treatment.seed, treatment.size) == (other.seed, other.size))


@pytest.mark.slow
def test_more_seeds_train_only_what_is_new(space: Path, folder: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*/models/*")}
    measure(space=str(space), seeds=3, out=folder, engine=EngineSettings(name="inline", device="cpu"))
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("*/models/*")}
    assert len(after) == 24 and after.items() >= before.items()


def test_other_detectors_measure_again_and_train_nothing(space: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = experiment(space, folder)
    models = {path.name: path.stat().st_mtime_ns for path in folder.glob("*/models/*")}
    monkeypatch.setattr("autonas.bench.claims_trainings.JUDGED_BY", "suite of tomorrow")
    results = run_trainings(own, 1, InlineEngine(), lambda text: None)
    assert {result.judged_by for result in results} == {"suite of tomorrow"}
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*/models/*")} == models


class Failing(InlineEngine):
    """Some of whose trainings end badly."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.begun = number, 0

    def start(self, job: Job) -> None:
        self.begun += 1
        super().start(job)

    def wait(self) -> list[Outcome]:
        return [self._spoilt(outcome) for outcome in super().wait()]

    def _spoilt(self, outcome: Outcome) -> Outcome:
        if outcome.trial != self.number:
            return outcome
        failure = Failure(kind="diverged", message="the loss rose")
        return Outcome(kind="train", trial=outcome.trial, attempt=outcome.attempt, rung=0, seconds=1.0, failure=failure)


@pytest.mark.slow
def test_a_failed_training_is_named_and_not_repeated(space: Path, tmp_path: Path) -> None:
    own = experiment(space, tmp_path)
    engine = Failing(5)
    results = run_trainings(own, 1, engine, lambda text: None)
    assert engine.begun == 8
    (failed,) = [result for result in results if result.failure]
    assert failed.failure == "diverged: the loss rose" and failed.treatment == own.treatments(1)[5]
    again = Failing(-1)
    assert run_trainings(own, 1, again, lambda text: None) == results and again.begun == 0
    named = conditions_of(own, 1, [judge(claim, results) for claim in CLAIMS], results)["failed"]
    assert named == {"size1-dropout-seed0": "diverged: the loss rose"}


def test_the_smoothed_loss_has_the_floor_of_its_targets(space: Path, tmp_path: Path) -> None:
    own = experiment(space, tmp_path)
    for treatment in own.treatments(1)[:4]:
        spec = own.job(treatment, 0).spec
        model = build_model(spec, 0)
        found = smoothed_loss(model, own.dataset, 4000)
        assert found >= smoothing_floor(spec.label_smoothing, spec.vocab_size)
        if not treatment.smoothing:
            settings = own.recipe.evaluation
            plain = loss_scores(evaluate_loss(model, own.dataset, settings))["val_loss"].value
            assert found == pytest.approx(plain, rel=1e-4)


def test_the_shipped_space_has_two_sizes_and_is_read_as_often_as_the_prior_corpus() -> None:
    recipe = load_recipe(str(SPACE))
    small, large = sizes(recipe, str(SPACE))
    assert small.width < large.width and recipe.horizon.seeds >= 3
    assert small.label_smoothing == small.attention_dropout == small.residual_dropout == 0.0


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"space": {"width": 16}}, [], "has 1 legal architectures"),
        ({"space": {"width": {"choice": [4, 8, 16, 20, 24, 32]}}}, [], "leave 2 to 4"),
        ({"budget": {"rungs": ["200M"]}}, [], "passes need"),
        ({"training": {"schedule": "cosine"}}, [], "write wsd"),
        ({}, ["--seeds", "1"], "an interval over seeds takes two"),
        ({}, ["--samplers", "a,b"], "has no use for --samplers"),
    ],
)
def test_a_wrong_request_is_one_message(
    changes: dict[str, Any], options: list[str], message: str, space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    values = yaml.safe_load(space.read_text())
    for section, change in changes.items():
        values[section] |= change
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(values))
    assert main(["bench", "claims", "--space", str(own), "--engine", "inline", "--out", str(tmp_path), *options]) == 2
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err


def test_wrong_sizes_raise(space: Path) -> None:
    with pytest.raises(RequestError, match="leave 2 to 4"):
        sizes(load_recipe("quickstart.yaml"), "quickstart.yaml")
