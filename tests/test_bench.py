"""`autonas bench`: what it prints is measured, whole and of the documented form. How large it is gates nothing."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autonas.arch import ArchSpec
from autonas.bench import BENCHES, Row, run_bench, train
from autonas.bench.decode import _agreement
from autonas.bench.device import resolve
from autonas.bench.draws import EQUALS, draw_specs
from autonas.bench.gemm import layer_shapes
from autonas.bench.generators import Workload
from autonas.bench.shapes import SHAPES, Style, shape
from autonas.bench.statistics import coefficient_of_variation, paired_ratio, spearman, spread
from autonas.bench.trainers import PEERS, Task
from autonas.bench.turns import OURS, Block, Contest, Turns
from autonas.cli import main
from autonas.commands.bench import _TAKES
from autonas.cost import count_params, forward_flops_per_token, training_flops_per_token
from autonas.errors import AutonasError, RequestError

KEYS = {field.name for field in dataclasses.fields(Row)}
STYLES: tuple[Style, ...] = ("own", "llama", "gpt")


@pytest.mark.slow
def test_overhead_is_that_of_real_trials_on_warm_workers() -> None:
    command = [sys.executable, "-m", "autonas", "bench", "overhead", "--seconds", "1", "--trials-per-worker", "3"]
    command += ["--workers", "1", "--device", "cpu", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["name"] == "overhead" and found["environment"]["packages"]["torch"]
    assert all(row.keys() == KEYS for row in found["rows"])
    rows = {row["metric"]: row for row in found["rows"]}
    share = rows["overhead until the work ran out"]
    assert 0 < share["low"] <= share["ours"] <= share["high"] < 1
    assert share["met"] == (share["ours"] <= share["goal"])
    assert rows["trials"]["ours"] == 3 and rows["workers"]["ours"] == 1
    # The share and the times are of one measurement.
    lost, trial = rows["lost per trial, 95th percentile"]["ours"], rows["trial, median"]["ours"]
    assert 0 < rows["lost per trial, median"]["ours"] <= lost
    assert share["ours"] <= lost / (lost + trial) * 1.5 + 0.01


# A checkout of nanoGPT, as far as the bench knows it.
STAND_IN = """
from dataclasses import dataclass
import torch
from torch import nn
from torch.nn import functional as F

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool

class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)

class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads = c.n_head
        self.c_attn = nn.Linear(c.n_embd, 3 * c.n_embd, bias=False)
        self.c_proj = nn.Linear(c.n_embd, c.n_embd, bias=False)
    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.c_attn(x).chunk(3, -1))
        return self.c_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d))

class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c_fc = nn.Linear(c.n_embd, 4 * c.n_embd, bias=False)
        self.c_proj = nn.Linear(4 * c.n_embd, c.n_embd, bias=False)
    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x)))

class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.ln_1, self.attn, self.ln_2, self.mlp = Norm(c.n_embd), Attention(c), Norm(c.n_embd), MLP(c)
    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))

class GPT(nn.Module):
    def __init__(self, c):
        super().__init__()
        print("a peer may print what it likes")
        wte, wpe = nn.Embedding(c.vocab_size, c.n_embd), nn.Embedding(c.block_size, c.n_embd)
        blocks = nn.ModuleList(Block(c) for _ in range(c.n_layer))
        self.transformer = nn.ModuleDict(dict(wte=wte, wpe=wpe, h=blocks, ln_f=Norm(c.n_embd)))
    def forward(self, x, y):
        parts = self.transformer
        h = parts.wte(x) + parts.wpe.weight[: x.shape[1]]
        for block in parts.h:
            h = block(h)
        logits = F.linear(parts.ln_f(h), parts.wte.weight)
        return logits, F.cross_entropy(logits.float().flatten(0, 1), y.flatten())
    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        return torch.optim.AdamW(self.parameters(), lr=learning_rate, betas=betas, weight_decay=weight_decay)
"""


@pytest.fixture(scope="module")
def trained(code_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `bench train` prints of a tiny shape, beside every kind of peer."""
    checkout = tmp_path_factory.mktemp("nanogpt")
    (checkout / "model.py").write_text(STAND_IN)
    found = run_bench(
        "train",
        shape_name="tiny",
        peers=("hf", "hf-tuned", "loop", "llama", "nanogpt"),
        peer_dir=str(checkout),
        compile_peers=False,
        device="cpu",
        threads=1,
        seconds=0.3,
        paths=(f"{code_corpus}/**/*.py",),
    )
    again: dict[str, Any] = json.loads(json.dumps(found))
    return again


@pytest.mark.slow
def test_a_training_is_compared_with_every_peer(trained: dict[str, Any]) -> None:
    rows = {row["peer_name"]: row for row in trained["rows"] if row["metric"] == "training"}
    assert rows.keys() == {peer.title for peer in PEERS.values()}
    for row in rows.values():
        assert row.keys() == KEYS
        assert row["ours"] > 0 and row["peer"] > 0 and row["spread"] >= 0 and row["peer_spread"] >= 0
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
    assert rows[PEERS["hf"].title]["goal"] == 2.0
    # A peer kept from compiling is not the one that the goal means.
    assert rows[PEERS["hf-tuned"].title]["goal"] is None
    assert trained["environment"]["packages"]["transformers"]


@pytest.mark.slow
def test_all_that_train_reach_the_same_loss(trained: dict[str, Any]) -> None:
    for style, said in trained["conditions"]["styles"].items():
        losses = {name: one["final_loss"] for name, one in said["contestants"].items()}
        assert max(losses.values()) - min(losses.values()) < train.TOLERANCE, (style, losses)
        # It is learning: a model that has learned nothing scores log V.
        assert losses[OURS] < math.log(2048) - 0.05, (style, losses)


def test_losses_that_differ_are_said_loudly_and_meet_no_goal() -> None:
    here = resolve("cpu", 1)
    task = Task(spec=shape("tiny"), batch_tokens=1024, tokens_file="", device="cpu", threads=1)
    blocks = {OURS: [Block(seconds=1.0, loss=5.0)] * 8, "hf": [Block(seconds=9.0, loss=5.1)] * 8}
    row = train._peer_row(task, "hf", blocks, 1, here)
    assert row.ratio == 9.0 and row.met is False and row.note.startswith("THE LOSSES DIFFER")
    same = {OURS: blocks[OURS], "hf": [Block(seconds=9.0, loss=5.01)] * 8}
    assert train._peer_row(task, "hf", same, 1, here).met is True


@pytest.mark.slow
def test_efficiencies_are_shares_of_rates_of_the_same_run(trained: dict[str, Any]) -> None:
    rows = [row for row in trained["rows"] if row["metric"] in ("MFU", "roofline efficiency")]
    assert len(rows) == 2 * len(STYLES)
    for said in trained["conditions"]["styles"].values():
        rates, spec = said["gemm"], ArchSpec.from_dict(said["spec"])
        assert 0 < rates["model"] <= max(rates["shapes"].values())
        flops = training_flops_per_token(spec) * trained["conditions"]["batch_tokens"]
        reached = flops / (said["contestants"][OURS]["step_ms"] / 1000)
        assert any(row["ours"] == pytest.approx(reached / rates["model"]) for row in rows)
        assert any(row["ours"] == pytest.approx(reached / rates["square"]) for row in rows)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", SHAPES)
def test_styles_of_a_shape_are_the_same_work(name: str, style: Style) -> None:
    spec = shape(name, style)
    products = sum(2 * inputs * outputs * times for inputs, outputs, times in layer_shapes(spec).values())
    attention = spec.layers * 2 * spec.width * (spec.context_length + 1)
    assert products + attention == forward_flops_per_token(spec)
    # nanoGPT's feed-forward is always four times as wide.
    if style == "llama":
        assert training_flops_per_token(spec) == pytest.approx(training_flops_per_token(shape(name)), rel=0.02)


def test_generation_is_compared_when_it_is_the_same(code_corpus: Path) -> None:
    options: dict[str, Any] = {"shape_name": "tiny", "device": "cpu", "threads": 1, "seconds": 0.5, "loads": ((3, 2, 8),)}
    found = run_bench("decode", **options, paths=(f"{code_corpus}/**/*.py",))
    json.dumps(found)
    assert [row["peer_name"] for row in found["rows"]] == ["generate, dynamic cache", "generate, static cache"]
    for row in found["rows"]:
        assert 0 < row["low"] <= row["ratio"] <= row["high"] and row["goal"] == 4.0
        assert row["note"].startswith("tokens identical in ")
    assert found["conditions"]["workloads"]["3 x 2 x 8"]["logits_apart"] < 1e-3


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", [{}, {"tied_embeddings": False}, {"kv_heads": 1}])
def test_our_weights_are_the_same_function_in_llama(change: dict[str, Any]) -> None:
    import torch

    from autonas.bench.llama import to_llama
    from autonas.model.transformer import build_model

    model = build_model(dataclasses.replace(shape("tiny", "llama"), **change), 0)
    tokens = torch.randint(2048, (2, 40), generator=torch.Generator().manual_seed(0))
    theirs = to_llama(model).eval()
    assert sum(weight.numel() for weight in theirs.parameters()) == count_params(model.spec)
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, model.eval()(tokens), rtol=1e-4, atol=1e-4)


class _Says:
    """The end of a contestant that answers from a table."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    def ask(self, request: tuple[Any, ...]) -> Any:
        return self._answers[request[0]]


LOAD = Workload(name="2 x 3", prompts=((1, 2), (3,)), new_tokens=3)


@pytest.mark.parametrize(("gap", "same"), [(5e-4, True), (0.1, False)])
def test_tokens_may_part_at_a_near_tie_only(gap: float, same: bool) -> None:
    logits = np.zeros((2, 4))
    ours: Any = _Says({"logits": logits, "tokens": [[1, 2, 3], [1, 1, 1]]})
    judge: Any = _Says({"logits": logits + 1e-4, "tokens": [[1, 2, 3], [1, 2, 9]], "gap": gap})
    apart, words, found = _agreement(ours, judge, 0, LOAD)
    assert apart == pytest.approx(1e-4) and found == same
    assert words.startswith("tokens identical in 1 of 2 rows" if same else "THE TOKENS DIFFER: row 1 at 1")


def test_another_model_is_not_timed() -> None:
    ours: Any = _Says({"logits": np.zeros((2, 4))})
    judge: Any = _Says({"logits": np.full((2, 4), 0.01)})
    with pytest.raises(AutonasError, match="not the same model"):
        _agreement(ours, judge, 0, LOAD)


@pytest.mark.slow
def test_latencies_are_measured_again_in_fresh_processes() -> None:
    found = run_bench("latency", processes=2, archs=2, context=32, device="cpu", threads=1)
    json.dumps(found)
    rows = {row["metric"]: row for row in found["rows"]}
    middle = rows["CV over processes, median of architectures"]
    assert 0 < middle["ours"] <= rows["CV over processes, largest"]["ours"]
    assert middle["peer"] > 0 and middle["goal"] == 0.03
    assert -1 <= rows["Spearman between processes, median of pairs"]["ours"] <= 1
    assert 0 <= rows["flagged noisy"]["ours"] <= 1
    assert np.shape(found["conditions"]["decode_ms"]) == np.shape(found["conditions"]["naive_ms"]) == (2, 2)
    assert found["conditions"]["decode_ms"][0] != found["conditions"]["decode_ms"][1]


def test_beginnings_are_timed_in_a_warm_process_and_in_a_cold_one(code_corpus: Path) -> None:
    options: dict[str, Any] = {"archs": 2, "steps": 3, "batch_tokens": 256, "compiled_archs": 0, "device": "cpu", "threads": 1}
    found = run_bench("startup", **options, paths=(f"{code_corpus}/**/*.py",))
    json.dumps(found)
    rows = {row["metric"]: row for row in found["rows"]}
    assert len(found["conditions"]["lost_s"]) == 2
    low, high = rows["start of a new architecture, median"], rows["start of a new architecture, 95th percentile"]
    assert low["ours"] <= high["ours"] and low["goal"] == 2.0
    assert rows["process from its start to its first step"]["ours"] > low["ours"]
    assert rows["start of the same architectures"]["note"] == "not measured: kept from compiling"


# Contestants of our own, for what goes wrong.
def serve_echo(turns: Turns, name: str, log: str) -> None:
    turns.reply(name)
    for request in turns:
        with Path(log).open("a") as file:
            file.write(name)
        turns.reply((name, request))


def serve_failure(turns: Turns) -> None:
    turns.reply(None)
    for _ in turns:
        raise ValueError("no more")


def serve_sleep(turns: Turns) -> None:
    time.sleep(60)


@pytest.fixture
def contest(tmp_path: Path) -> Iterator[Contest]:
    with Contest() as contest:
        for name in (OURS, "b", "c"):
            contest.enter(name, serve_echo, name[0], str(tmp_path / "log"))
        assert contest.together() == {OURS: "a", "b": "b", "c": "c"}
        yield contest


def test_turns_are_taken_forth_and_back(contest: Contest, tmp_path: Path) -> None:
    answers = contest.interleave(7, rounds=3, seconds=60.0)
    assert (tmp_path / "log").read_text() == "abc" + "cba" + "abc"
    assert answers == {OURS: [("a", 7)] * 3, "b": [("b", 7)] * 3, "c": [("c", 7)] * 3}


def test_rounds_end_with_the_time_but_not_before_the_least(contest: Contest) -> None:
    assert len(contest.interleave(7, rounds=9, seconds=0.0, least=2)[OURS]) == 2


def test_a_peer_that_fails_costs_its_row_alone(contest: Contest) -> None:
    contest.enter("d", serve_failure)
    contest.running["d"].answer()
    answers = contest.interleave(7, rounds=2, seconds=60.0)
    assert answers.keys() == {OURS, "b", "c"}
    assert contest.failed["d"].startswith("ValueError: no more (test_bench.py:")


def test_without_ours_there_is_nothing_to_compare() -> None:
    with Contest() as contest:
        contest.enter(OURS, serve_failure)
        contest.together()
        with pytest.raises(AutonasError, match="autonas itself could not be measured: ValueError"):
            contest.in_turn(1)


def test_nothing_is_waited_for_behind_the_deadline() -> None:
    begun = time.monotonic()
    with Contest(begun + 0.5) as contest:
        contest.enter("slow", serve_sleep)
        assert contest.together() == {}
        assert contest.failed == {"slow": "no time left"}
    assert time.monotonic() - begun < 20


def test_the_interval_of_a_ratio_covers_the_true_one() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(60):
        machine = rng.lognormal(0.0, 0.5, 20)  # what slows the machine in a round slows both
        ours, peers = (machine * rng.lognormal(0.0, 0.05, 20) for _ in range(2))
        ratio = paired_ratio(ours.tolist(), (1.5 * peers).tolist(), seed)
        assert ratio.low <= ratio.value <= ratio.high and ratio.high - ratio.low < 0.2
        covered += ratio.low <= 1.5 <= ratio.high
    assert covered >= 52


def test_statistics_of_known_numbers() -> None:
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert coefficient_of_variation([9.0, 10.0, 11.0]) == pytest.approx(0.1)
    assert spearman([1, 2, 3], [10, 40, 90]) == pytest.approx(1.0)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    # Equal values share their mean rank: ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3.
    assert spearman([1, 5, 5, 9], [1, 2, 3, 4]) == pytest.approx(0.9486833)


def test_half_of_the_drawn_architectures_are_nearly_equally_large() -> None:
    specs = draw_specs(30)
    assert len({spec.inference_fingerprint for spec in specs}) == 30 and draw_specs(30) == specs != draw_specs(30, seed=1)
    params = [count_params(spec) for spec in specs[EQUALS]]
    assert len(params) == 15 and max(params) < 1.1 * min(params) * 1.006
    assert max(map(count_params, specs)) > 2 * min(map(count_params, specs))


@pytest.mark.parametrize("name", BENCHES)
def test_every_option_reaches_its_bench(name: str) -> None:
    measure = importlib.import_module(f"autonas.bench.{name}").measure
    read_before = {"out"} if name == "search" else set()  # where the study is that is replayed
    assert set(_TAKES[name].values()) - read_before <= set(inspect.signature(measure).parameters)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --peers word2vec", "there is no peer 'word2vec'"),
        ("train --peers nanogpt", "give its folder with --peer-dir"),
        ("train --peer-dir /nowhere", "there is no model.py in /nowhere"),
        ("train --shape huge", "choose of tiny, small, medium, large"),
        ("train --batch-tokens 100", "holds no window of --context 256"),
        ("train --archs 3", "bench train has no use for --archs"),
        ("train --smoothing 2 --peers loop", "label_smoothing"),
        ("decode --peers loop", "there is no peer 'loop'"),
        ("latency --processes 1", "give at least two of each"),
        ("startup --device cuda:77", "cuda:77"),
    ],
)
def test_a_wrong_request_is_one_message(arguments: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments.split()]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.err.count("\n") == 1 and not captured.out


def test_a_peer_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    specs: dict[Style, ArchSpec] = {style: shape("tiny", style) for style in STYLES}
    with pytest.raises(RequestError, match=r"transformers and accelerate not installed; pip install 'autonas\[peers\]'"):
        train.find_missing(("hf",), specs, None, True)
    missing = train.find_missing(None, specs, None, True)
    assert missing.keys() == {"hf", "hf-tuned", "llama", "nanogpt"}


def test_peers_that_cannot_smooth_are_left_out() -> None:
    specs: dict[Style, ArchSpec] = {style: shape("tiny", style, smoothing=0.1) for style in STYLES}
    assert train.find_missing(None, specs, None, True)["llama"] == "it does not smooth labels"


# The machine with the GPU has torch and transformers, and neither Ray nor Optuna.
