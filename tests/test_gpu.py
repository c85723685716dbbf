"""The worker on a CUDA device: the same checks as on a processor, and results that agree with its own. Run with `-m gpu`."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autonas.arch import ArchSpec
from autonas.data.batches import Windows
from autonas.data.dataset import CorpusSettings, TokenizerSettings, prepare
from autonas.engine.inline import InlineEngine
from autonas.errors import TrialFailure
from autonas.evaluation.latency import measure_latency
from autonas.evaluation.leak import leak_test
from autonas.model.decode import PATHS, Sampling, StopRule, generate
from autonas.model.rows import Ready, Rows
from autonas.model.transformer import build_model
from autonas.training.checkpoint import load, save
from autonas.training.cross_entropy import best_loss, torch_loss_
from autonas.training.graphs import GraphStep, Way, capture
from autonas.training.loop import train
from autonas.training.state import TrainState, new_state
from autonas.training.steps import EagerStep
from autonas.training.streams import own_stream
from autonas.training.together import Gain, remember_gains, train_together
from autonas.trial import Budget, EvaluationSettings, Job, LatencySettings, Outcome, TrainingSettings
from autonas.worker import run_job
from tests.studies import SMALL_SPEC
from tests.training.test_cross_entropy import check_low_precision

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device"),
]


@pytest.fixture
def job(code_corpus: Path, tmp_path: Path) -> Job:
    dataset = prepare(CorpusSettings(paths=(f"{code_corpus}/**/*.py",)), TokenizerSettings(vocab_size=300))
    return Job(
        kind="train",
        study="gpu",
        trial=0,
        attempt=1,
        spec=SMALL_SPEC,
        budget=Budget(rung=0, tokens=24_000, cooldown_tokens=6_000),
        seed=1,
        data_seed=2,
        data=dataset.ref,
        training=TrainingSettings(batch_tokens=512, warmup_tokens=2_048, precision="float32"),
        evaluation=EvaluationSettings(validation_tokens=4_000, prompts_per_kind=3, samples_per_prompt=2, new_tokens=8),
        latency=LatencySettings(device="cuda", context=32),
        objectives=("val_loss", "collapse_rate"),
        folder=str(tmp_path),
        device="cuda",
        threads=1,
    )


def test_a_job_on_the_device_reaches_the_loss_of_the_processor(job: Job, tmp_path: Path) -> None:
    there = run_job(job)
    here = run_job(dataclasses.replace(job, device="cpu", folder=str(tmp_path / "cpu")))
    assert there.ok, there.failure
    assert there.scores["val_loss"].value == pytest.approx(here.scores["val_loss"].value, abs=0.02)


def test_bfloat16_costs_little_loss(job: Job, tmp_path: Path) -> None:
    full = run_job(job)
    training = dataclasses.replace(job.training, precision="bfloat16")
    half = run_job(dataclasses.replace(job, training=training, folder=str(tmp_path / "half")))
    assert half.scores["val_loss"].value == pytest.approx(full.scores["val_loss"].value, abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("position", ["rope", "alibi", "learned"])
def test_no_architecture_leaks_on_the_device(dtype: torch.dtype, position: str) -> None:
    model = build_model(dataclasses.replace(SMALL_SPEC, position=position), 0, "cuda", dtype)
    assert "max" in leak_test(model)


def test_greedy_tokens_are_those_of_the_processor() -> None:
    prompts = [[5, 6, 7], [9] * 11]
    made = [generate(build_model(SMALL_SPEC, 0, device), prompts, max_new_tokens=16) for device in ("cpu", "cuda")]
    assert made[0] == made[1]


@pytest.mark.parametrize("position", ["rope", "alibi", "learned"])
def test_recorded_steps_make_the_tokens_of_the_processor(position: str) -> None:
    """Rows are padded to a bucket, prompts are of different lengths, and nearly every step is a replay."""
    spec = dataclasses.replace(SMALL_SPEC, position=position)
    prompts = [[5, 6, 7], [9] * 11, [5, 6, 7], [4]]
    made = {}
    for device in ("cpu", "cuda"):
        PATHS.clear()
        made[device] = generate(build_model(spec, 0, device), prompts, max_new_tokens=20)
    assert made["cpu"] == made["cuda"]
    assert PATHS.steps["graph"] >= 17 and not PATHS.reasons


def test_sampling_in_the_graph_chooses_as_on_the_processor() -> None:
    how = Sampling(temperature=0.8, top_k=20, top_p=0.95, repetition_penalty=1.2)
    uniforms = np.random.default_rng(0).random((6, 24))
    prompts = [[5, 6, 7], [9] * 11] * 3
    made = []
    for device in ("cpu", "cuda"):
        model = build_model(SMALL_SPEC, 0, device, torch.float64)
        made.append(generate(model, prompts, max_new_tokens=24, sampling=how, uniforms=uniforms, stop=StopRule(token=3)))
    assert made[0] == made[1]


def test_a_recording_that_fails_is_counted_and_changes_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(SMALL_SPEC, 0, "cuda")
    expected = generate(model, [[5, 6, 7]], max_new_tokens=16)

    def refuse(*arguments: object, **named: object) -> None:
        raise RuntimeError("no recording today")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    PATHS.clear()
    assert generate(model, [[5, 6, 7]], max_new_tokens=16) == expected
    assert PATHS.steps == {"static": 15} and PATHS.reasons == {"recording failed: no recording today": 1}


def test_a_token_at_a_time_on_the_device_is_that_of_the_processor() -> None:
    def written(device: str) -> list[int]:
        ready = Ready(build_model(SMALL_SPEC, 0, device))
        rows = Rows(ready, [(5, 6, 7)], max_new_tokens=16, sampling=Sampling(temperature=0.0), uniforms=None)
        return [said.token for _ in range(16) for said in rows.advance()]

    assert written("cuda") == written("cpu")


def test_latency_is_measured_on_the_device() -> None:
    result = measure_latency(SMALL_SPEC, LatencySettings(device="cuda", context=32))
    assert result.decode.value > 0
    assert "cuda" in result.stamps["driver"]


@contextlib.contextmanager
def room(num_bytes: int) -> Iterator[None]:
    """So much memory beyond what is in use, and not a byte more."""
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + num_bytes) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_window_that_does_not_fit_alone_is_a_failure_of_the_trial(job: Job) -> None:
    with room(0):
        outcome = run_job(job)
    assert outcome.failure is not None
    assert outcome.failure.kind == "out_of_memory"


SPEC = ArchSpec(layers=3, width=64, heads=4, kv_heads=2, vocab_size=512, context_length=64)
DROPPING = dataclasses.replace(SPEC, attention_dropout=0.2, residual_dropout=0.2, label_smoothing=0.1)
WINDOWS = 16
STEP = WINDOWS * SPEC.context_length


def walk(length: int = 200_000) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """The next token is mostly the last one plus three."""
    rng = np.random.default_rng(0)
    return (np.cumsum(np.where(rng.random(length) < 0.9, 3, rng.integers(0, 512, length))) % 512).astype(np.uint16)


def state_of(spec: ArchSpec = SPEC, *, seed: int = 1, tokens: Any = None, plain: bool = False, **changes: Any) -> TrainState:
    values: dict[str, Any] = {"batch_tokens": STEP, "warmup_tokens": 8 * STEP, "precision": "bfloat16"}
    settings = TrainingSettings(**(values | changes))
    windows = Windows(walk() if tokens is None else tokens, spec.context_length, 0)
    state = new_state(build_model(spec, seed, "cuda"), windows, settings, seed=seed)
    if plain:
        state.step = EagerStep()
    return state


def curve_of(state: TrainState, steps: int) -> list[float]:
    """The loss of every step until so many have been taken in all."""
    curve = []
    while state.tokens < steps * STEP:
        curve += [progress.loss for progress in train(state, until_tokens=state.tokens + STEP)]
    return curve


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("position", ["rope", "alibi", "learned"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_graph_trains_as_the_plain_path_does(precision: str, position: str, tied: bool) -> None:
    spec = dataclasses.replace(SPEC, position=position, tied_embeddings=tied, label_smoothing=0.1)
    graph, plain = state_of(spec, precision=precision), state_of(spec, precision=precision, plain=True)
    found, expected = curve_of(graph, 50), curve_of(plain, 50)
    assert found == pytest.approx(expected, abs=2e-3 if precision == "float32" else 0.05)
    assert set(graph.paths) == {"graph"}, graph.checks()
    assert set(plain.paths) == {"eager"}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_graph_ends_within_the_seed_spread_of_float32_after_300_steps(precision: str) -> None:
    def ends(plain: bool, precision: str) -> list[float]:
        return [sum(curve_of(state_of(seed=seed, plain=plain, precision=precision), 300)[-20:]) / 20 for seed in range(4)]

    reference, found = ends(True, "float32"), ends(False, precision)
    spread = max(statistics.stdev(reference), 0.005)
    assert abs(statistics.fmean(found) - statistics.fmean(reference)) <= 2.0 * spread
    assert leaks_nothing(state_of(precision=precision))


def leaks_nothing(state: TrainState) -> bool:
    curve_of(state, 30)
    return "max" in leak_test(state.model)


@pytest.mark.parametrize("stop", [1, 16, 64, 70])
def test_a_resumed_graph_is_bitwise_the_one_that_never_stopped(stop: int, tmp_path: Path) -> None:
    plain, first = state_of(DROPPING), state_of(DROPPING)
    expected = curve_of(plain, 80)
    found = curve_of(first, stop)
    save(tmp_path / "file", first)
    torch.rand(7, device="cuda")
    resumed = state_of(DROPPING)
    load(tmp_path / "file", resumed)
    assert found + curve_of(resumed, 80) == expected
    assert torch.equal(resumed.optimizer.flat.weights, plain.optimizer.flat.weights)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("position", ["rope", "alibi"])
def test_a_resumed_graph_of_many_key_blocks_is_bitwise_the_same(
    position: str, dropout: float, precision: str, tmp_path: Path
) -> None:
    """A context of 512: gradients of queries are sums over blocks of keys, whose order only the strict mode gives."""
    spec = dataclasses.replace(
        SPEC, context_length=512, position=position, attention_dropout=dropout, residual_dropout=dropout, kv_heads=4
    )

    def begin() -> TrainState:
        return state_of(spec, batch_tokens=16 * 512, precision=precision)

    def go_on(state: TrainState, steps: int) -> list[float]:
        return [progress.loss for progress in train(state, until_tokens=steps * state.step_tokens)]

    plain, first = begin(), begin()
    go_on(plain, 64)
    go_on(first, 16)
    save(tmp_path / "file", first)
    resumed = begin()
    load(tmp_path / "file", resumed)
    go_on(resumed, 64)
    assert torch.equal(resumed.optimizer.flat.weights, plain.optimizer.flat.weights)
    assert set(plain.paths) == set(resumed.paths) == {"graph"}, plain.checks()


def test_streams_of_their_own_are_used_again_and_never_shared() -> None:
    device = torch.device("cuda")
    with own_stream(device):
        first = torch.cuda.current_stream()
        with own_stream(device):
            assert torch.cuda.current_stream() != first
    for _ in range(40):
        with own_stream(device):
            one = torch.cuda.current_stream()
            with own_stream(device):
                assert torch.cuda.current_stream() != one


def test_a_stream_of_its_own_waits_for_what_was_begun_before() -> None:
    big = torch.ones(4096, 4096, device="cuda")
    for _ in range(20):
        big = (big @ big).clamp_(max=1.0)
    with own_stream(torch.device("cuda")):
        copy = big.clone()
    assert torch.equal(copy, big)


def test_masks_of_dropout_differ_between_steps_and_are_those_of_the_seed() -> None:
    """Where all windows are alike and nothing is learnt, losses differ by the masks alone."""
    same = np.tile(np.arange(64, dtype=np.uint16), 400)
    state = state_of(DROPPING, tokens=same, learning_rate=1e-12)
    before = torch.cuda.get_rng_state()
    curve = curve_of(state, 6)
    assert torch.equal(before, torch.cuda.get_rng_state()), "the global random state is left alone"
    assert len(set(curve)) == 6
    assert curve_of(state_of(DROPPING, tokens=same, learning_rate=1e-12), 6) == curve
    other = state_of(DROPPING, tokens=same, learning_rate=1e-12)
    other.seed = 2
    assert not set(curve_of(other, 6)) & set(curve)


def test_no_step_waits_for_the_device() -> None:
    state = state_of(DROPPING)
    curve_of(state, 1)
    assert state.step is not None
    measured = []
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(70):  # over a refill of the table
            measured.append(state.step(state))
            state.tokens += STEP
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(measured) == 70
    assert state.step.path == "graph"


def test_a_batch_that_does_not_fit_is_trained_in_smaller_parts() -> None:
    # Logits of a step: 4,096 windows of 64, 512 wide, in bfloat16, are 268 MB; activations some times as much.
    roomy, short = (state_of(batch_tokens=4096 * 64) for _ in range(2))
    expected = [progress.loss for progress in train(roomy, until_tokens=4 * roomy.step_tokens)]
    roomy.step = None
    with room(600 << 20):
        found = [progress.loss for progress in train(short, until_tokens=4 * short.step_tokens)]
    assert short.shortages >= 1
    assert "micro-batches" in short.checks()
    assert set(short.paths) == {"graph"}
    assert found == pytest.approx(expected, abs=0.02)


def test_a_planted_lack_of_memory_leads_to_a_graph_of_smaller_parts() -> None:
    calls = []

    def record(body: Callable[[], None], device: torch.device) -> Callable[[], object]:
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("planted: out of memory")
        return capture(body, device)

    state, whole = state_of(), state_of()
    state.step = GraphStep(record=record)
    assert curve_of(state, 20) == pytest.approx(curve_of(whole, 20), abs=0.05)
    assert (state.micro_windows, state.shortages) == (WINDOWS // 2, 1)


def test_compiled_blocks_train_alike_and_are_counted() -> None:
    compiled, graph = state_of(DROPPING), state_of(dataclasses.replace(DROPPING, attention_dropout=0.0, residual_dropout=0.0))
    compiled.step = GraphStep(way=Way(compiled=True))
    curve_of(compiled, 20)
    assert set(compiled.paths) == {"graph+compile"}, compiled.checks()
    still = dataclasses.replace(DROPPING, attention_dropout=0.0, residual_dropout=0.0)
    without = state_of(still)
    without.step = GraphStep(way=Way(compiled=True))
    assert curve_of(without, 40) == pytest.approx(curve_of(graph, 40), abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocabulary", [3, 301, 4096, 8192, 8200])
def test_the_fused_loss_follows_float64(dtype: torch.dtype, vocabulary: int) -> None:
    loss = best_loss(torch.device("cuda"))
    assert loss is not torch_loss_, "Triton comes with torch for CUDA"
    for smoothing in (0.0, 0.1):
        check_low_precision(loss, dtype, vocabulary, smoothing, "cuda")


@pytest.mark.parametrize("count", [2, 4])
def test_models_trained_at_once_are_bitwise_those_trained_one_after_the_other(count: int) -> None:
    """Over many more streams than torch has, so that some are handed out twice."""
    specs = [SPEC, dataclasses.replace(SPEC, layers=1), dataclasses.replace(SPEC, tied_embeddings=False), SPEC]
    for _ in range(5):
        apart, beside = ([state_of(spec, seed=n) for n, spec in enumerate(specs[:count])] for _ in range(2))
        expected = [list(train(state, until_tokens=96 * STEP)) for state in apart]
        found = train_together(beside, [96 * STEP] * count)
        for one, other, curve, reference in zip(found, apart, beside, expected, strict=True):
            assert not isinstance(one, BaseException), one
            assert [(p.tokens, p.loss) for p in one] == [(p.tokens, p.loss) for p in reference]
            assert torch.equal(other.optimizer.flat.weights, curve.optimizer.flat.weights)
            assert set(curve.paths) == {"graph"}, curve.checks()


def test_a_model_that_fails_leaves_the_one_beside_it_as_it_would_be() -> None:
    alone, beside, spoiled = state_of(), state_of(), state_of()
    spoiled.optimizer.flat.weights.fill_(float("nan"))
    expected = [progress.loss for progress in train(alone, until_tokens=64 * STEP)]
    found, failure = train_together([beside, spoiled], [64 * STEP] * 2)
    assert isinstance(failure, TrialFailure) and failure.kind == "nan"
    assert not isinstance(found, BaseException) and [progress.loss for progress in found] == expected


def test_jobs_at_once_have_the_scores_that_they_have_one_after_the_other(job: Job, tmp_path: Path) -> None:
    remember_gains(torch.device("cuda"), [Gain(width=256, step_tokens=2048, at_once=4, gain=2.0)])
    jobs = [dataclasses.replace(job, trial=number, seed=number) for number in range(3)]
    single = [run_job(dataclasses.replace(one, folder=str(tmp_path / "apart"))) for one in jobs]
    outcomes: dict[int, Outcome] = {}
    with contextlib.closing(InlineEngine()) as engine:
        for one in jobs:
            engine.start(one)  # which the table has to have room for
        while len(outcomes) < len(jobs):
            outcomes |= {outcome.trial: outcome for outcome in engine.wait()}
    for expected in single:
        assert outcomes[expected.trial].scores == expected.scores
        assert outcomes[expected.trial].checks == expected.checks


def test_a_job_says_that_it_was_trained_by_a_graph(job: Job) -> None:
    assert run_job(job).checks["training path"].startswith("graph ")
