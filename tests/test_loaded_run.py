"""A model that people use: text in pieces and whole, where it ends, and what decides it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autonas.arch import ArchSpec
from autonas.data.tokenizer import Tokenizer
from autonas.errors import RequestError
from autonas.loaded_run import REPLACEMENT, LoadedRun, Options, Wish, _Text, drawn
from autonas.model.rows import Said
from autonas.model.sampling import GREEDY, Sampling
from tests.model.test_decode import lively_model

checked = settings(derandomize=True, deadline=None, max_examples=40)
SPEC = ArchSpec(layers=2, width=32, heads=4, kv_heads=2, vocab_size=300, context_length=64)
STOPS = st.lists(st.sampled_from(["\n", "e", "in", "self", "\x00", "é", "return x", "==", "()"]), max_size=3)


@pytest.fixture(scope="module")
def run(code_corpus: Path) -> LoadedRun:
    """A model that writes all kinds of bytes, on a tokenizer of real code."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(code_corpus.glob("json/*.py"))]
    return LoadedRun(model=lively_model(SPEC), tokenizer=Tokenizer.train(texts, 300), spec=SPEC)


def cut(text: str, stops: list[str]) -> str:
    """`text` up to the stop that is complete first."""
    ends = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(ends)[1]] if ends else text


def test_options_are_those_of_a_wish() -> None:
    assert set(Options.__annotations__) == {each.name for each in dataclasses.fields(Wish)}


@checked
@given(st.text(max_size=90), STOPS, st.sampled_from([0.0, 0.7, 1.5]), st.integers(0, 99), st.integers(1, 63))
def test_pieces_joined_are_the_whole_which_is_what_the_tokens_say(
    run: LoadedRun, prompt: str, stops: list[str], temperature: float, seed: int, most: int
) -> None:
    options: Options = {"max_tokens": most, "temperature": temperature, "stop": stops, "seed": seed}
    pieces = list(run.stream(prompt, **options))
    whole = run.complete(prompt, **options)
    assert "".join(pieces) == whole.text
    assert all(pieces)
    said = run.tokenizer.decode(whole.tokens)
    if whole.finish_reason == "length":
        assert whole.text == said.rstrip(REPLACEMENT)
        assert len(whole.tokens) == most
    else:
        assert whole.text == cut(said, stops)
        assert whole.tokens[-1] == run.tokenizer.end_of_text or whole.stop in stops
    assert not any(stop in whole.text for stop in stops)


def test_a_stop_that_spans_tokens_is_never_begun(run: LoadedRun) -> None:
    said = run.complete("def f(", max_tokens=50, temperature=0.0)
    for first in range(3, 20):
        stop = said.text[first : first + 9]
        ended = run.complete("def f(", max_tokens=50, temperature=0.0, stop=stop)
        assert ended.text == cut(said.text, [stop])
        assert (ended.finish_reason, ended.stop) == ("stop", stop)


@checked
@given(st.text(max_size=30), st.integers(0, 5))
def test_a_character_of_many_tokens_comes_whole_or_not_at_all(run: LoadedRun, text: str, missing: int) -> None:
    tokens = run.tokenizer.encode(f"{text}Grüße, 你好 🦊")
    kept = tokens[: len(tokens) - missing]
    row = _Text(run.tokenizer, ())
    pieces = [row.add(Said(row=0, token=token), last=place == len(kept) - 1) for place, token in enumerate(kept)]
    joined = "".join(piece.text for piece in pieces)
    assert f"{text}Grüße, 你好 🦊".startswith(joined)
    assert len(joined) >= len(text) + len("Grüße, 你好 ") - 2
    assert REPLACEMENT not in joined or REPLACEMENT in text


@checked
@given(
    st.lists(st.sampled_from(["", "def f(", "class A:\n", "é", "import os\n" * 30, "x = 1\n"]), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.8]),
    STOPS,
    st.integers(0, 9),
)
def test_in_a_batch_each_is_as_alone(
    run: LoadedRun, prompts: list[str], temperature: float, stops: list[str], seed: int
) -> None:
    options: Options = {"max_tokens": 20, "temperature": temperature, "stop": stops, "seed": seed}
    assert run.complete_all(prompts, **options) == [run.complete(prompt, **options) for prompt in prompts]


def test_seeds_decide_and_nothing_else_does(run: LoadedRun) -> None:
    said = [run.complete("def f(", max_tokens=30, temperature=1.0, seed=seed).text for seed in (1, 2, 1, 2)]
    assert said[0] == said[2] != said[1] == said[3]


def test_of_a_prompt_that_is_too_long_the_end_is_read(run: LoadedRun) -> None:
    tokens = run.tokenizer.encode("import os\n" * 40)
    kept = run.tokenizer.decode(tokens[-(64 - 10) :])
    assert run.encode(kept) == tokens[-54:]
    assert run.complete("import os\n" * 40, max_tokens=10) == run.complete(kept, max_tokens=10)
    assert run.left_out("import os\n" * 40, 10) == len(tokens) - 54
    assert run.left_out(kept, 10) == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"max_tokens": 64}, "ask for 1 to 63"),
        ({"max_tokens": 0}, "ask for 1 to 63"),
        ({"temperature": -1.0}, "temperature"),
        ({"stop": [""]}, "empty"),
        ({"top_k": 0}, "top_k"),
    ],
)
def test_a_wrong_wish_is_refused_at_the_call(run: LoadedRun, options: Any, complaint: str) -> None:
    options = {"max_tokens": 5, **options}
    for ask in (run.stream, run.complete):
        with pytest.raises(RequestError, match=complaint):
            ask("x", **options)
    with pytest.raises(RequestError, match=complaint):
        run.complete_all(["x"], **options)


def test_a_model_that_is_trained_on_writes_with_its_new_weights(code_corpus: Path, run: LoadedRun) -> None:
    model = lively_model(SPEC)
    own = LoadedRun(model=model, tokenizer=run.tokenizer, spec=SPEC)
    before = own.complete("def f(", max_tokens=30, temperature=0.0)
    with torch.no_grad():
        model.embedding.weight.add_(0.5 * torch.randn(300, 32, generator=torch.Generator().manual_seed(1)))
    after = own.complete("def f(", max_tokens=30, temperature=0.0)
    fresh = LoadedRun(model=model, tokenizer=run.tokenizer, spec=SPEC).complete("def f(", max_tokens=30, temperature=0.0)
    assert before != after == fresh


@pytest.fixture(params=["native", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "torch":
        monkeypatch.setattr("autonas.model.rows.native_decoder", lambda model: None)
    return str(request.param)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=0.9, top_k=20, repetition_penalty=1.3)])
def test_log_probabilities_are_those_of_a_full_pass(run: LoadedRun, path: str, sampling: Sampling) -> None:
    own = LoadedRun(model=run.model, tokenizer=run.tokenizer, spec=SPEC)
    prompts = [run.encode("def f("), run.encode("class A:\n    x"), run.encode("")]
    turns = list(
        own.pieces(prompts, max_tokens=25, sampling=sampling, uniforms=drawn([1, 2, 3], 25), num_likeliest=4, stop=["e"])
    )
    for row, prompt in enumerate(prompts):
        said = [piece.said for turn in turns for piece in turn if piece.row == row]
        tokens = (*prompt, *(one.token for one in said))
        with torch.no_grad():
            wanted = torch.log_softmax(run.model.eval()(torch.tensor([tokens]))[0].double(), dim=-1)
        for place, one in enumerate(said, start=len(prompt)):
            assert one.log_probability == pytest.approx(float(wanted[place - 1, one.token]), abs=1e-6)
            best = wanted[place - 1].topk(4).values.tolist()
            assert [value for _, value in one.likeliest] == pytest.approx(best, abs=1e-6)
        for place, one in enumerate(own.read(tokens, row, 4)):
            assert one.token == tokens[place]
            wish = None if place == 0 else pytest.approx(float(wanted[place - 1, one.token]), abs=1e-6)
            assert one.log_probability == wish


def test_how_often_a_token_was_said_counts_against_it(run: LoadedRun, path: str) -> None:
    """Held against the formula, one full pass a token: logits − frequency · count − presence · (count > 0) + bias."""
    own = LoadedRun(model=run.model, tokenizer=run.tokenizer, spec=SPEC)
    sampling = Sampling(frequency_penalty=4.0, presence_penalty=3.0, logit_bias=((5, 20.0), (40, 30.0), (7, -100.0)))
    prompt = [5, 5, 5, 40]  # counts are of the completion alone
    made = [turn[0].said.token for turn in own.pieces([prompt], max_tokens=20, sampling=sampling)]
    tokens, counts = list(prompt), torch.zeros(300, dtype=torch.float64)
    for token in made:
        with torch.no_grad():
            logits = run.model.eval()(torch.tensor([tokens]))[0, -1].double()
        logits = logits - 4.0 * counts - 3.0 * (counts > 0)
        for place, bias in sampling.logit_bias:
            logits[place] += bias
        assert token == int(logits.argmax())
        tokens.append(token)
        counts[token] += 1
    plain = [turn[0].said.token for turn in own.pieces([prompt], max_tokens=20, sampling=GREEDY)]
    assert made != plain
    with pytest.raises(RequestError, match="logit_bias has token 300"):
        own.pieces([prompt], max_tokens=5, sampling=Sampling(logit_bias=((300, 1.0),)))
