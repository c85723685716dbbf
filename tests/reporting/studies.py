"""Makes study records with plausible numbers: what a search on the standard library's source leaves, without running one."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autonas.arch import ArchSpec
from autonas.trial import DocumentLosses, JobSpan, Outcome, Sample, Score, StudyRecord, TrialRecord, to_json

RUNGS = (262_144, 1_048_576)
OBJECTIVES = ("val_loss", "params", "latency", "collapse_rate")
_START = datetime.datetime(2026, 3, 14, 9, 26, 53, tzinfo=datetime.UTC)

_GOOD_TEXTS = (
    "    if b == 0:\n        raise ValueError('division by zero')\n    return a / b\n\n\ndef name(self):\n    return self",
    "    def close(self):\n        self._file = None\n        self.flush()\n\n    def read(self, size=-1):\n        data =",
    "\n        try:\n            value = self._get_value(name)\n        except KeyError:\n            return default\n",
    "    return n * factorial(n - 1)\n\n\nclass TestCase(unittest.TestCase):\n\n    def test_path(self):\n        self.",
)
_BAD_TEXTS = (
    "    return self.self.self.self.self.self.self.self.self.self.self.self.self.self.self.self",
    "    return a\n    return a\n    return a\n    return a\n    return a\n    return a\n    return a\n    return a\n",
    " = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0",
)
_PROMPTS = ("def divide(a, b):\n", "def factorial(n):\n", "class Reader:\n", "def is_even(n):\n    ", "import os\n\ndef main(")


def make_study(
    *,
    trials: int = 15,
    survivors: int = 6,
    repeats: int = 2,
    infeasible: int = 6,
    failures: int = 1,
    documents: int = 40,
    curve_points: int = 60,
    samples: int = 64,
    objectives: Sequence[str] = OBJECTIVES,
    seed: int = 0,
) -> StudyRecord:
    """A finished study of so many trained trials. The first `survivors` by rank at rung 0 reach the last rung."""
    maker = _Maker(documents=documents, curve_points=curve_points, samples=samples, seed=seed)
    records: list[TrialRecord] = []
    for index in range(infeasible + failures + trials):
        if index % 3 == 1 and sum(r.state == "infeasible" for r in records) < infeasible:
            records.append(maker.infeasible(len(records)))
        elif index > 4 and sum(r.state == "failed" for r in records) < failures:
            records.append(maker.failed(len(records)))
        elif sum(r.state == "stopped" for r in records) < trials:
            records.append(maker.trained(len(records), maker.spec(), rungs=1, state="stopped"))
    stopped = [record for record in records if record.state == "stopped"]
    chosen = sorted(stopped, key=lambda r: r.rungs[0].scores["val_loss"].value + 0.1 * (r.number % 4))[:survivors]
    for record in chosen:
        records[record.number] = maker.trained(record.number, record.spec, rungs=2, state="complete")
    for original in chosen[:repeats]:
        again = maker.trained(len(records), original.spec, rungs=2, state="complete", repeat_of=original.number)
        records.append(dataclasses.replace(again, scores=records[original.number].scores))
    records = _with_spans(records)
    return StudyRecord(
        name="quickstart",
        recipe=recipe(objectives, trials),
        attributes=attributes(),
        trials=tuple(records),
        timeline=_timeline(records),
    )


def with_controls(study: StudyRecord, every: int = 2) -> StudyRecord:
    """The study as a policy leaves it that draws every so many-th of its trials at random."""
    trials = tuple(
        dataclasses.replace(trial, sampler_state={"control": True} if i % every == 0 else {})
        for i, trial in enumerate(study.trials)
    )
    return dataclasses.replace(study, trials=trials)


def with_losses(study: StudyRecord, losses: Mapping[int, float]) -> StudyRecord:
    """The study with these losses at the last rung of these trials, the same on every document."""
    changed = []
    for trial in study.trials:
        if trial.number in losses and trial.rungs:
            last, loss = trial.rungs[-1], losses[trial.number]
            assert last.documents is not None
            nats = tuple(tokens * loss for tokens in last.documents.tokens)
            score = Score(value=loss, low=loss - 0.1, high=loss + 0.1, unit="nats/token", n=len(nats))
            last = dataclasses.replace(
                last,
                scores={**last.scores, "val_loss": score},
                documents=dataclasses.replace(last.documents, nats=nats),
            )
            trial = dataclasses.replace(trial, rungs=(*trial.rungs[:-1], last))
        changed.append(trial)
    return dataclasses.replace(study, trials=tuple(changed))


def recipe(objectives: Sequence[str] = OBJECTIVES, trials: int = 15) -> dict[str, Any]:
    return {
        "name": "quickstart",
        "corpus": {"sources": ["python-stdlib"], "max_bytes": 20_000_000, "seed": 0},
        "tokenizer": {"algorithm": "bpe", "vocab_size": 2048},
        "context_length": 256,
        "space": {"layers": {"int": [1, 4]}, "width": {"choice": [32, 64, 96, 128, 160]}, "heads": {"choice": [2, 4, 8]}},
        "rules": ["width % heads == 0", "heads % kv_heads == 0"],
        "limits": {"params": {"max": 1_500_000}},
        "objectives": list(objectives),
        "budget": {
            "trials": trials,
            "rungs": list(RUNGS),
            "scheduler": "pareto",
            "cooldown_share": 0.2,
            "repeats": 2,
            "seed": 0,
        },
        "training": {"learning_rate": 1.5e-3, "batch_tokens": 1024},
    }


def attributes() -> dict[str, Any]:
    small = ArchSpec(layers=2, width=64, heads=4, kv_heads=2, vocab_size=2048).to_dict()
    large = ArchSpec(layers=4, width=160, heads=8, kv_heads=4, vocab_size=2048).to_dict()
    losses = {1e-3: (5.31, 4.86), 2e-3: (5.12, 4.71), 4e-3: (5.06, 4.79)}
    return {
        "environment": {
            "autonas": "0.1.0",
            "commit": "3f2a9c17d0b64e5f8a1b2c3d4e5f60718293a4b5",
            "python": "3.11.2",
            "platform": "Linux 6.1.0 x86_64",
            "processor": "AMD EPYC 9R14",
            "cores": 2,
            "memory_bytes": 8_216_000_000,
            "packages": {"torch": "2.13.0", "optuna": "5.0.0", "numpy": "2.4.6"},
        },
        "data": {
            "fingerprint": "9d1c5e0b7a42",
            "report": {
                "found": 1812,
                "documents": {"train": 1385, "validation": 71, "test": 70},
                "bytes": {"train": 18_230_112, "validation": 921_004, "test": 905_118},
                "tokens": {"train": 5_934_201, "validation": 301_442, "test": 297_820},
                "projects": {"train": 166, "validation": 14, "test": 13},
                "dropped": {"near duplicate": 183, "generated": 81, "empty": 22},
                "dropped_examples": {"near duplicate": ["idlelib/idle_test/test_a.py"], "generated": ["encodings/cp1250.py"]},
                "licences": {"PSF-2.0": 1526},
                "split_by": "project",
            },
        },
        "calibration": {
            "points": [
                {
                    "shape": shape,
                    "rate": rate,
                    "val_loss": pair[i],
                    "failure": None,
                    "tokens": 157_286,
                    "seconds": 4.0 + 4 * i,
                    "span": to_json(_span(i, [0.0, 4.2, 8.4][place] if i == 0 else 8.2 * place, 4.0 + 4 * i)),
                }
                for i, shape in enumerate((small, large))
                for place, (rate, pair) in enumerate(losses.items())
            ],
            "chosen": 2e-3,
            "regret": {"a1b2c3d4e5f6": 0.06, "0f1e2d3c4b5a": 0.0},
            "note": "base rate 0.002; each shape's own best: 0.004, 0.002; costs at most 0.060 nats",
        },
        "started_at": _START.isoformat(),
        "ended_at": (_START + datetime.timedelta(seconds=452)).isoformat(),
        "spent_s": 452.0,
        "closed": "all 15 trials have ended",
    }


def without_spans(study: StudyRecord) -> StudyRecord:
    """The study as earlier versions left it: nobody knows when and where its jobs ran."""
    trials = tuple(
        dataclasses.replace(
            trial,
            measured=None,
            failed=None,
            rungs=tuple(dataclasses.replace(outcome, span=None) for outcome in trial.rungs),
            retries=tuple(dataclasses.replace(failure, span=None) for failure in trial.retries),
        )
        for trial in study.trials
    )
    calibration = study.attributes["calibration"]
    points = [{key: point[key] for key in ("shape", "rate", "val_loss")} for point in calibration["points"]]
    attributes = {**study.attributes, "calibration": {**calibration, "points": points}}
    return dataclasses.replace(study, trials=trials, attributes=attributes)


def make_waiting_study(
    *, trials: int = 12, survivors: int = 12, repeats: int = 0, seed: int = 0, clocks: Mapping[str, float] | None = None
) -> StudyRecord:
    """A study on two hosts in which all first rungs are trained before any second one, so that trials wait between them.

    Jobs tell their tokens. Spans of each host are by a clock that is so many seconds off that of the timeline.
    """
    small: dict[str, Any] = {"infeasible": 0, "failures": 0, "documents": 4, "curve_points": 4, "samples": 8}
    study = make_study(trials=trials, survivors=survivors, repeats=repeats, seed=seed, **small)
    off = {"a": 0.0, "b": 0.0} if clocks is None else clocks
    free = dict.fromkeys(off, 0.0)
    made = {trial.number: trial for trial in study.trials}
    over: dict[int, float] = {}
    for repeat, rung in itertools.product((False, True), range(len(RUNGS))):
        for number, trial in made.items():
            if (trial.repeat_of is not None) != repeat or rung >= len(trial.rungs):
                continue
            host = min(free, key=lambda name: (free[name], name))
            outcome = trial.rungs[rung]
            began = (_START + datetime.timedelta(seconds=free[host] + off[host])).isoformat()
            span = JobSpan(worker=f"{host}:7", began_at=began, seconds=outcome.seconds)
            over[number] = free[host] + outcome.seconds + 0.05  # word of it has come
            free[host] += outcome.seconds + 0.5
            told = dataclasses.replace(outcome, span=span, new_tokens=1000 * (rung + 1) + number)
            made[number] = dataclasses.replace(trial, rungs=(*trial.rungs[:rung], told, *trial.rungs[rung + 1 :]))
    order = sorted(over, key=lambda number: over[number])
    timeline = tuple((number, (_START + datetime.timedelta(seconds=over[number])).isoformat()) for number in order)
    return dataclasses.replace(study, trials=tuple(made.values()), timeline=timeline)


def _span(worker: int, begin_s: float, seconds: float) -> JobSpan:
    """A job on one of two workers, so many seconds after the study began."""
    began = (_START + datetime.timedelta(seconds=begin_s)).isoformat(timespec="milliseconds")
    return JobSpan(worker=f"node-1:{4001 + worker}", began_at=began, seconds=seconds)


def _with_spans(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The records with when and where their jobs ran: rung by rung in trial order, each on the worker that is free first."""
    free = [25.0, 25.0]  # the calibration is over

    def placed(seconds: float) -> JobSpan:
        worker = free.index(min(free))
        span = _span(worker, free[worker], seconds)
        free[worker] += seconds + 0.25
        return span

    made = list(records)
    for repeats in (False, True):
        for rung in range(len(RUNGS)):
            for i, record in enumerate(made):
                if (record.repeat_of is not None) != repeats:
                    continue
                if rung == 0 and "latency" in record.scores and not repeats:
                    record = dataclasses.replace(record, measured=placed(1.5))
                if rung == 0 and record.state == "failed":
                    record = dataclasses.replace(record, failed=placed(6.0))
                if rung < len(record.rungs):
                    outcome = dataclasses.replace(record.rungs[rung], span=placed(record.rungs[rung].seconds))
                    record = dataclasses.replace(record, rungs=(*record.rungs[:rung], outcome, *record.rungs[rung + 1 :]))
                made[i] = record
    return made


def _timeline(records: Sequence[TrialRecord]) -> tuple[tuple[int, str], ...]:
    """Infeasible trials end at once, stopped ones in the middle, complete ones last."""
    order = {"infeasible": 0, "failed": 1, "stopped": 1, "complete": 2, "live": 3}
    ended = sorted((r for r in records if r.state != "live"), key=lambda r: (order[r.state], r.number))
    step = 440 / max(len(ended), 1)
    return tuple(
        (record.number, (_START + datetime.timedelta(seconds=step * (i + 1))).isoformat()) for i, record in enumerate(ended)
    )


class _Maker:
    """Draws trials; loss falls with size and tokens, latency rises with depth, collapse is highest half-way."""

    def __init__(self, *, documents: int, curve_points: int, samples: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._tokens = np.maximum(self._rng.lognormal(7.5, 0.8, size=documents), 40).astype(int)
        self._difficulty = self._rng.normal(0, 0.35, size=documents)
        self._curve_points = curve_points
        self._samples = samples

    def spec(self) -> ArchSpec:
        draw = self._rng
        heads = int(draw.choice([2, 4, 8]))
        return ArchSpec(
            layers=int(draw.integers(1, 5)),
            width=int(draw.choice([32, 64, 96, 128, 160])),
            heads=heads,
            kv_heads=int(draw.choice([1, 2, heads])),
            ffn_multiplier=float(draw.choice([2, 3, 4])),
            norm=str(draw.choice(["layernorm", "rmsnorm"])),
            activation=str(draw.choice(["gelu", "silu", "geglu", "swiglu"])),
            position=str(draw.choice(["rope", "alibi", "learned"])),
            tied_embeddings=bool(draw.random() < 0.7),
            vocab_size=2048,
        )

    def trained(
        self, number: int, spec: ArchSpec | None, *, rungs: int, state: Any, repeat_of: int | None = None
    ) -> TrialRecord:
        assert spec is not None
        params, scores = _params(spec), self._measured(spec, float(self._rng.choice([0.01, 0.02, 0.06])))
        seed_shift = float(self._rng.normal(0, 0.04))
        outcomes = tuple(self._outcome(number, spec, params, rung, seed_shift) for rung in range(rungs))
        return TrialRecord(
            number=number,
            state=state,
            params=_drawn(spec),
            spec=spec,
            scores=scores,
            rungs=outcomes,
            repeat_of=repeat_of,
            reason="not among the survivors of rung 0" if state == "stopped" else "",
        )

    def _measured(self, spec: ArchSpec, relative_spread: float) -> dict[str, Score]:
        """What is known before training."""
        params = _params(spec)
        latency = 0.11 + 0.083 * spec.layers + 2.4e-7 * params
        spread = latency * relative_spread
        return {
            "params": Score.exact(params, "parameters"),
            "memory": Score.exact(2 * params + 65_536 * spec.layers, "bytes"),
            "flops": Score.exact(2 * params, "FLOP/token"),
            "latency": Score(
                value=latency,
                low=latency - spread,
                high=latency + spread,
                unit="ms/token",
                n=5,
                note="noisy" if spread > 0.05 * latency else "",
            ),
        }

    def infeasible(self, number: int) -> TrialRecord:
        spec = self.spec()
        params = {**_drawn(spec), "heads": 3 if number % 2 else spec.heads}
        reason = (
            "width % heads == 0: width 64 is not a multiple of 3 heads" if number % 2 else "params: 1,804,288 exceed 1,500,000"
        )
        return TrialRecord(
            number=number,
            state="infeasible",
            params=params,
            spec=None if number % 2 else spec,
            scores={} if number % 2 else {"params": Score.exact(1_804_288, "parameters")},
            reason=reason,
            nearest={**params, "heads": 4, "width": 96},
        )

    def failed(self, number: int) -> TrialRecord:
        spec = self.spec()
        return TrialRecord(
            number=number,
            state="failed",
            params=_drawn(spec),
            spec=spec,
            scores=self._measured(spec, 0.02),
            failure="diverged",
            reason="the loss rose to 11.2 nats at 40,960 tokens and stayed there",
        )

    def _outcome(self, number: int, spec: ArchSpec, params: int, rung: int, seed_shift: float) -> Outcome:
        tokens = RUNGS[rung] + RUNGS[rung] // 5
        body = params - spec.vocab_size * spec.width
        loss = 2.2 + 26 / max(body, 1000) ** 0.28 * (3e5 / tokens) ** 0.19 + 0.6 * (params / 1e6) ** -0.15 + seed_shift
        documents = self._documents(loss)
        value = math.fsum(documents.nats) / sum(documents.tokens)
        per_byte = math.fsum(documents.nats) / math.log(2) / sum(documents.bytes)
        scores = {
            "val_loss": Score(value=value, low=value - 0.13, high=value + 0.13, unit="nats/token", n=len(documents.tokens)),
            "bits_per_byte": Score(value=per_byte, low=per_byte * 0.97, high=per_byte * 1.03, unit="bits/byte"),
        }
        samples: tuple[Sample, ...] = ()
        if rung == len(RUNGS) - 1:
            samples = self._sample(min(0.02 + 0.2 * max(value - 3.3, 0), 0.6))
            scores["collapse_rate"] = _share(samples)
            scores["degeneration"] = scores["collapse_rate"]
            scores["collapse_prior"] = _share([s for s in samples if not s.detectors or s.detectors[0].startswith("prior")])
        return Outcome(
            kind="train",
            trial=number,
            attempt=0,
            rung=rung,
            seconds=9.0 + 30 * rung + params / 1e5,
            scores=scores,
            tokens=tokens,
            documents=documents,
            baselines={"unigram": 6.41 - 0.05 * rung, "bigram": 4.86 - 0.52 * rung},
            curve=self._curve(value, rung, tokens),
            samples=samples,
            checks={"leak": "max |Δ| 2.4e-07 <= 1e-4"},
        )

    def _documents(self, loss: float) -> DocumentLosses:
        own = self._rng.normal(0, 0.05, size=len(self._tokens))
        nats = self._tokens * (loss + self._difficulty + own)
        return DocumentLosses(
            nats=tuple(float(x) for x in nats),
            tokens=tuple(int(x) for x in self._tokens),
            bytes=tuple(int(x * 3.1) for x in self._tokens),
        )

    def _curve(self, end: float, rung: int, tokens: int) -> tuple[tuple[int, float], ...]:
        first = 4096 if rung == 0 else RUNGS[rung - 1]
        at = np.unique(np.geomspace(first, tokens, self._curve_points).astype(int))
        stable = end + 0.16 + (7.6 - end) * (at / 4096) ** -0.42 - 0.1 * (at / tokens)
        cooled = np.where(at > RUNGS[rung], (at - RUNGS[rung]) / (tokens - RUNGS[rung]) * 0.18, 0)
        noise = self._rng.normal(0, 0.05, size=len(at))
        return tuple((int(t), float(x)) for t, x in zip(at, stable - cooled + noise, strict=True))

    def _sample(self, rate: float) -> tuple[Sample, ...]:
        made = []
        for i in range(self._samples):
            bad = bool(self._rng.random() < rate)
            text = str(self._rng.choice(_BAD_TEXTS if bad else _GOOD_TEXTS))
            names = ("prior:repeat",) if i % 2 else ("word_loop",)
            made.append(
                Sample(
                    prompt=_PROMPTS[i % len(_PROMPTS)],
                    text=text,
                    kind="few_shot" if i % 2 else "bare",
                    detectors=names if bad else (),
                )
            )
        return tuple(made)


def _share(samples: Sequence[Sample]) -> Score:
    """Collapsed share with Wilson's interval."""
    count = len(samples)
    share = sum(bool(sample.detectors) for sample in samples) / count
    centre, spread = (share + 1.92 / count) / (1 + 3.84 / count), math.sqrt(share * (1 - share) / count + 0.96 / count**2)
    reach = 1.96 * spread / (1 + 3.84 / count)
    return Score(
        value=share, low=max(min(centre - reach, share), 0.0), high=min(max(centre + reach, share), 1.0), unit="share", n=count
    )


def _params(spec: ArchSpec) -> int:
    attention = spec.width * spec.width * 2 + 2 * spec.width * spec.head_width * spec.kv_heads
    feed_forward = spec.width * spec.ffn_width * (3 if spec.gated else 2)
    return spec.layers * (attention + feed_forward) + spec.vocab_size * spec.width * (1 if spec.tied_embeddings else 2)


def _drawn(spec: ArchSpec) -> Mapping[str, Any]:
    names = ("layers", "width", "heads", "kv_heads", "ffn_multiplier", "norm", "activation", "position", "tied_embeddings")
    return {name: getattr(spec, name) for name in names}
