"""Notes in Markdown for Optuna Dashboard: what a study is, and what became of a trial, in words.

The dashboard keeps the notes of a study and of its trials as system attributes of the study, in parts and with a version. That
format is written here, so that a ledger does not need the dashboard; a test holds it to the dashboard's own reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from autonas.errors import FailureKind
from autonas.objective import OBJECTIVES
from autonas.trial import Failure

_PART = 2045  # characters: the dashboard's own size of a part
_KINDS: Mapping[FailureKind, str] = {
    "nan": "its loss was no number",
    "diverged": "its loss grew out of bounds",
    "out_of_memory": "it did not fit into memory",
    "timeout": "it took longer than it may",
    "preempted": "its worker went away",
    "leak": "the model saw what it was to predict",
    "error": "its job ended in an error",
}


def note_attributes(known: Mapping[str, Any], trial_id: int | None, text: str) -> dict[str, Any]:
    """System attributes of a study, `known` before, that make `text` the note of a trial, or of the study itself (None).

    The version is last: the dashboard reads no note without it.
    """
    place = "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    earlier = sum(key.startswith(f"{place}note_str:") for key in known)
    parts += [""] * (earlier - len(parts))
    attributes: dict[str, Any] = {f"{place}note_str:{index}": part for index, part in enumerate(parts)}
    return {**attributes, f"{place}note_ver": int(known.get(f"{place}note_ver", 0)) + 1}


def note_text(known: Mapping[str, Any], trial_id: int) -> str:
    """The note of a trial in a study's system attributes; empty where it has none."""
    place = f"dashboard:{trial_id}:note_str:"
    if f"dashboard:{trial_id}:note_ver" not in known:
        return ""
    return "".join(known[f"{place}{index}"] for index in range(sum(key.startswith(place) for key in known)))


def failed_note(failure: Failure, retries: Sequence[Failure], retried_as: int | None = None) -> str:
    """A trial that failed: how, after which retries, and which trial takes its place."""
    lines = [f"**Failed: {_KINDS[failure.kind]}** ({failure.kind}).", "", *_quoted(failure.message)]
    lines += ["", *_retry_lines(retries)] if retries else []
    lines += ["", f"Trial {retried_as} takes its place."] if retried_as is not None else []
    return "\n".join(lines)


def retried_note(retries: Sequence[Failure]) -> str:
    """A trial that lives on, or lived on, after jobs of it had failed."""
    return "\n".join(_retry_lines(retries))


def retry_note(original: int, failure: Failure) -> str:
    """A trial that takes the place of one that failed."""
    return f"Takes the place of trial {original}, which failed: {_KINDS[failure.kind]} ({failure.kind})."


def rejected_note(rule: str, reason: str) -> str:
    """A trial that was trained and turned out infeasible."""
    return f"**Infeasible after training: {rule}.** {reason[:1].upper()}{reason[1:]}. It is on no front."


def study_note(name: str, recipe: Mapping[str, Any], objectives: Sequence[str], storage: str) -> str:
    """What the study is, on which data, how its scores are measured, and which commands read it and go on with it.

    `storage` is what the commands need to find it, in words of the command line; empty for the embedded ledger.
    """
    lines = [f"**{name}** searches for small code language models. Every objective is minimised.", ""]
    lines += ["| objective | unit | known |", "|---|---|---|", *(_objective_row(objective) for objective in objectives), ""]
    lines += [f"- **Data:** {_data(recipe)}.", f"- **Budget:** {_budget(recipe)}."]
    lines += [f"- **How scores are measured:** {_measures(recipe, objectives)}."]
    lines += [
        "- **States:** Complete was scored at the last rung. Pruned stopped at an earlier rung (`stopped at`) or breaks a rule "
        "or a limit (`rule`, `reason`). Fail says why in its note.",
        "- The front here is drawn from single measurements; `autonas report` shows intervals.",
        "",
        "```sh",
        f"autonas status {name}{storage}",
        f"autonas front {name}{storage}",
        f"autonas report {name}{storage}",
        f"autonas search --space FILE --study {name}{storage} --resume",
        f"autonas promote {name}{storage}",
        "```",
    ]
    return "\n".join(lines)


def _objective_row(name: str) -> str:
    known = {
        "arithmetic": "computed from the architecture",
        "measured": "timed before training",
        "trained": "scored at every rung",
        "final": "scored at the last rung",
    }
    objective = OBJECTIVES[name]
    return f"| `{name}` {objective.title.lower()} | {objective.unit} | {known[objective.known]} |"


def _data(recipe: Mapping[str, Any]) -> str:
    corpus, tokenizer = recipe.get("corpus") or {}, recipe.get("tokenizer") or {}
    found = [str(place) for key in ("sources", "paths", "jsonl") for place in corpus.get(key) or ()]
    parts = [", ".join(f"`{place}`" for place in found) or "as in the recipe"]
    if tokenizer.get("vocab_size"):
        parts.append(f"{tokenizer.get('algorithm', '')} tokenizer with {tokenizer['vocab_size']:,} entries".strip())
    if recipe.get("context_length"):
        parts.append(f"context of {recipe['context_length']:,} tokens")
    return "; ".join(parts)


def _budget(recipe: Mapping[str, Any]) -> str:
    budget = recipe.get("budget") or {}
    rungs = [f"{int(tokens):,}" for tokens in budget.get("rungs") or ()]
    parts = [f"{budget['trials']:,} trials"] if budget.get("trials") else []
    parts += [f"rungs of {', '.join(rungs)} tokens" if len(rungs) > 1 else f"{rungs[0]} tokens each"] if rungs else []
    parts += [f"at most {budget['max_hours']:g} hours"] if budget.get("max_hours") else []
    parts += [f"sampler {budget['sampler']}, seed {budget.get('seed', 0)}"] if budget.get("sampler") else []
    return "; ".join(parts) or "as in the recipe"


def _measures(recipe: Mapping[str, Any], objectives: Sequence[str]) -> str:
    evaluation, latency = recipe.get("evaluation") or {}, recipe.get("latency") or {}
    parts = ["losses on whole held-out documents"]
    if evaluation.get("validation_tokens"):
        parts[0] += f", at most {int(evaluation['validation_tokens']):,} tokens"
    if any(name.startswith("collapse") for name in objectives) and evaluation.get("prompts_per_kind"):
        generations = 2 * evaluation["prompts_per_kind"] * evaluation.get("samples_per_prompt", 1)
        parts.append(f"collapse over {generations} generations, at temperature {evaluation.get('temperature', 0):g}")
    if any("latency" in name for name in objectives) and latency:
        named = ("runtime", "device", "dtype", "threads", "batch", "context")
        settings = ", ".join(f"{name} {latency[name]}" for name in named if name in latency)
        parts.append(f"latency from the table {latency['table']}" if latency.get("table") else f"latency with {settings}")
    return "; ".join(parts)


def _retry_lines(retries: Sequence[Failure]) -> list[str]:
    lines = [f"{len(retries)} {'jobs' if len(retries) > 1 else 'job'} of this trial failed and {_were(retries)} tried again:"]
    for number, failure in enumerate(retries, 1):
        lines += ["", f"{number}. {_KINDS[failure.kind]} ({failure.kind})", "", *_quoted(failure.message, indent="   ")]
    return lines


def _were(retries: Sequence[Failure]) -> str:
    return "were" if len(retries) > 1 else "was"


def _quoted(message: str, indent: str = "") -> list[str]:
    """A message as it is: Markdown would take the underscores and stars of a traceback for emphasis."""
    lines = message.replace("```", "'''").strip().splitlines() or ["(no message)"]
    return [f"{indent}{line}" for line in ("```text", *lines, "```")]
