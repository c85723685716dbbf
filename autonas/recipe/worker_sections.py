"""The sections of a space file that say how a trial is trained, scored and timed: `training:`, `evaluation:`, `latency:`."""

from __future__ import annotations

import re
import typing
from decimal import Decimal
from typing import Any

from autonas.data.records import CorpusSettings
from autonas.policy.settings import SearchSettings
from autonas.recipe.fields import fields_of, options_of, read_file, renamed
from autonas.space.node import Section
from autonas.trial import EvaluationSettings, LatencySettings, TrainingSettings, to_json

_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]{1,2})?")
_RENAMED = {"warmup_tokens": "warmup", "time_limit_s": "time_limit"}
_EARLY_STOPPING = ("patience", "min_delta")
# Keys of their own sections, and what the record calls them.
_MUON = {"momentum": "muon_momentum"}
_GROKFAST = {"lambda": "grokfast", "alpha": "grokfast_alpha"}
_SECONDS = {"s": Decimal(1), "min": Decimal(60), "h": Decimal(3600)}


def read_training(root: Section, search: SearchSettings, batch_tokens: int) -> TrainingSettings:
    section = root.child("training", describe_training(TrainingSettings()))
    default = TrainingSettings()
    warmup = section.whole("warmup", min(default.warmup_tokens, search.rungs[0] // 8))
    if warmup >= search.rungs[0]:
        node = section.need("warmup", "")
        raise node.complaint(f"is {node.shown}, not shorter than the first rung of {search.rungs[0]:,} tokens; write less")
    patience, min_delta = _read_early_stopping(section)
    time_limit, memory_limit = section.get("time_limit"), section.get("memory_limit")
    optimizer = section.one_of("optimizer", default.optimizer, options_of(TrainingSettings, "optimizer"))
    scaling = section.one_of("rate_scaling", default.rate_scaling, options_of(TrainingSettings, "rate_scaling"))
    if optimizer == "muon" and scaling == "none":
        node = section.need("rate_scaling", "")
        raise node.complaint("is none, and Muon's matrices have no rate in common with other weights; write shape")
    grokfast, grokfast_alpha = _read_grokfast(section)
    return TrainingSettings(
        learning_rate=section.number("learning_rate", default.learning_rate, above=0.0, most=1.0),
        weight_decay=section.number("weight_decay", default.weight_decay, most=10.0),
        batch_tokens=batch_tokens,
        warmup_tokens=warmup,
        optimizer=typing.cast(Any, optimizer),
        muon_momentum=_read_muon(section, optimizer),
        grokfast=grokfast,
        grokfast_alpha=grokfast_alpha,
        beta1=section.number("beta1", default.beta1, below=1.0),
        beta2=section.number("beta2", default.beta2, below=1.0),
        clip_norm=section.number("clip_norm", default.clip_norm, above=0.0),
        precision=typing.cast(Any, section.one_of("precision", default.precision, options_of(TrainingSettings, "precision"))),
        schedule=typing.cast(Any, section.one_of("schedule", default.schedule, options_of(TrainingSettings, "schedule"))),
        final_rate_share=section.number("final_rate_share", default.final_rate_share, most=1.0),
        rate_scaling=typing.cast(Any, scaling),
        rollbacks=section.whole("rollbacks", default.rollbacks, most=100),
        patience=patience,
        min_delta=min_delta,
        time_limit_s=None if time_limit is None else time_limit.number(above=0.0, most=1e9, units=_SECONDS),
        memory_limit=None if memory_limit is None else memory_limit.bytes(),
    )


def _read_muon(section: Section, optimizer: str) -> float:
    """Its momentum, which may be given where it is used."""
    default = TrainingSettings().muon_momentum
    node = section.get("muon")
    if node is None:
        return default
    if optimizer != "muon":
        raise node.complaint("stands beside `optimizer: adamw`, which has none of it; write `optimizer: muon`, or leave it out")
    return section.child("muon", _MUON).number("momentum", default, below=1.0)


def _read_grokfast(section: Section) -> tuple[float, float]:
    """Lambda and alpha of the gradients' filter; without the section there is none."""
    default = TrainingSettings()
    if section.get("grokfast") is None:
        return default.grokfast, default.grokfast_alpha
    own = section.child("grokfast", _GROKFAST)
    share = own.need("lambda", "write how often the slow part of the gradients is added to them, such as 2")
    return share.number(above=0.0, most=100.0), own.number("alpha", default.grokfast_alpha, below=1.0)


def _read_early_stopping(section: Section) -> tuple[int | None, float]:
    """Patience and min_delta; without the section no run ends early."""
    default = TrainingSettings()
    if section.get("early_stopping") is None:
        return default.patience, default.min_delta
    own = section.child("early_stopping", _EARLY_STOPPING)
    patience = own.need("patience", "write after how many evaluations without a gain a run ends, such as 5")
    return patience.whole(least=1, most=1000), own.number("min_delta", default.min_delta, most=100.0)


def read_evaluation(
    root: Section, corpus: CorpusSettings, context_length: int, vocab_size: int, at_edge: bool
) -> EvaluationSettings:
    section = root.child("evaluation", fields_of(EvaluationSettings))
    default = EvaluationSettings()
    python = not corpus.jsonl and corpus.hub is None and all(path.endswith((".py", ".pyi")) for path in corpus.paths)
    new_tokens = section.whole("new_tokens", min(default.new_tokens, context_length // 2), least=1)
    if new_tokens >= context_length:
        node = section.need("new_tokens", "")
        raise node.complaint(
            f"is {node.shown}, which leaves no room for a prompt in context_length {context_length:,}; write less"
        )
    return EvaluationSettings(
        validation_tokens=section.whole("validation_tokens", default.validation_tokens, least=context_length, most=10**12),
        prompts_file=read_file(section, "prompts_file", at_edge),
        language=typing.cast(Any, section.one_of("language", "python" if python else "other", ("python", "other"))),
        prompts_per_kind=section.whole("prompts_per_kind", default.prompts_per_kind, least=1, most=10**5),
        samples_per_prompt=section.whole("samples_per_prompt", default.samples_per_prompt, least=1, most=10**5),
        new_tokens=new_tokens,
        temperature=section.number("temperature", default.temperature, most=10.0),
        top_k=section.whole("top_k", default.top_k, least=1, most=vocab_size),
    )


def read_latency(root: Section, context_length: int, at_edge: bool) -> LatencySettings:
    section = root.child("latency", fields_of(LatencySettings))
    default = LatencySettings()
    device = section.get("device")
    if device is not None and not _DEVICE.fullmatch(device.text()):
        raise device.complaint(f"is {device.shown}, an unknown device; write auto, cpu, cuda or cuda:0")
    return LatencySettings(
        runtime=typing.cast(Any, section.one_of("runtime", default.runtime, options_of(LatencySettings, "runtime"))),
        device=default.device if device is None else device.text(),
        dtype=typing.cast(Any, section.one_of("dtype", default.dtype, options_of(LatencySettings, "dtype"))),
        threads=section.whole("threads", default.threads, least=1, most=1024),
        batch=section.whole("batch", default.batch, least=1, most=65_536),
        context=section.whole("context", min(default.context, context_length), least=1, most=context_length),
        table=read_file(section, "table", at_edge),
    )


def describe_training(training: TrainingSettings) -> dict[str, Any]:
    values = renamed(to_json(training), _RENAMED)
    del values["batch_tokens"]  # stands in the budget
    stopping = {key: values.pop(key) for key in _EARLY_STOPPING}
    values["early_stopping"] = None if training.patience is None else stopping
    muon, grokfast = ({key: values.pop(name) for key, name in keys.items()} for keys in (_MUON, _GROKFAST))
    values["muon"] = muon if training.optimizer == "muon" else None
    values["grokfast"] = grokfast if training.grokfast else None
    return values
