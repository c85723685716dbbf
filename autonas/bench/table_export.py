"""A finished study of curves as a table that others can replay: two CSV files, how to read them, and where they are from.

`decoders.csv` has a row for each training, `decoders_curves.csv` one for each rung of it; `decoders.yaml` says what the columns
mean to `autonas bench search --table-spec`; `provenance.json` says how each number came about. The same study gives the same
bytes. Floats have six significant digits, counts all of theirs.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autonas import cost
from autonas.arch import HORIZON_BOUND, STRUCTURAL
from autonas.data.cache import write_file
from autonas.errors import RequestError
from autonas.objective import OBJECTIVES, Objective
from autonas.recipe import Recipe
from autonas.space.domains import Choice, Domain, Float, Int
from autonas.trial import Outcome, Score, StudyRecord, TrialRecord

LICENCE = "Apache-2.0"
TABLE, CURVES, SPEC, PROVENANCE = "decoders.csv", "decoders_curves.csv", "decoders.yaml", "provenance.json"
_HOW = {
    "trial": "the study's number of the training",
    "seed": "0: the study's first training of the architecture; from 1 on: declared repeats, with other weights and data order",
    "fingerprint": "12 digits of SHA-256 over the architecture: the same in every row of one architecture",
    "params": "weights and biases, counted",
    "memory": "bytes of the weights and of the key-value cache at full context, by arithmetic",
    "flops": "of one token's inference, by arithmetic",
    "training_flops": "of one token's training, by arithmetic",
    "latency": "milliseconds for a token of the answer, by the study's latency settings; timed once, before training",
    "prefill_latency": "milliseconds until the first token of an answer; timed once, before training",
    "val_loss": "nats for a token of held-out documents, each scored once, at the last rung after its cooldown",
    "bits_per_byte": "the same loss in bits for a byte of text",
    "degeneration": "share of generations that fall into repetition or are unlike real text, at the last rung",
    "collapse_rate": "share of generations that fall into repetition, at the last rung",
    "collapse_prior": "the same by an older set of rules",
    "unigram": "val_loss of a unigram model of the tokens that the training was shown",
    "bigram": "val_loss of a bigram model of these tokens",
    "tokens": "that the scored model was shown, cooldown included",
    "new_tokens": "trained since the rung before, cooldown included",
    "seconds": "of training and scoring on one worker, of the rung or (in decoders.csv) of all rungs",
    "train_loss": "mean training loss in nats over the points of the rung's own stretch, before its cooldown",
    "low, high": "95 % interval: of losses over the choice of documents, of shares over samples, of latencies over blocks",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written: trainings that are in the table, and those that are not, with the reason."""

    folder: Path
    trainings: tuple[TrialRecord, ...]
    left_out: tuple[tuple[int, str], ...]


def export(study: StudyRecord, folder: Path) -> Exported:
    """Write the table of a study into `folder`. Trainings that have not all rungs are left out, and named.

    Raises:
        RequestError: the study stops trials early, or has no training with all its rungs.
        ResourceError: the folder cannot be written.
    """
    recipe = Recipe.from_resolved(study.recipe)
    if recipe.search.scheduler != "curves":
        raise RequestError(
            f"the study {study.name!r} has the scheduler {recipe.search.scheduler}: its trials do not all have every rung. "
            "Search with `scheduler: curves` in budget, as search_spaces/curves.yaml does."
        )
    trainings = whole(study)
    left_out = tuple(
        (trial.number, f"{trial.state}{f': {trial.reason}' if trial.reason else ''}")
        for trial in study.trials
        if trial not in trainings and (trial.rungs or trial.state != "infeasible")
    )
    if not trainings:
        raise RequestError(f"the study {study.name!r} has no training with all its rungs yet; go on with it")
    write_file(folder / TABLE, table_text(study, trainings).encode())
    write_file(folder / CURVES, curves_text(trainings).encode())
    write_file(folder / SPEC, spec_text(recipe).encode())
    write_file(folder / PROVENANCE, provenance_text(study, trainings, left_out).encode())
    return Exported(folder=folder, trainings=trainings, left_out=left_out)


def whole(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """The trainings of a study that went through every rung, declared repeats included."""
    rungs = len(study.recipe["budget"]["rungs"])
    return tuple(trial for trial in study.trials if trial.state == "complete" and len(trial.rungs) == rungs)


def seed_index(study: StudyRecord, trial: TrialRecord) -> int:
    """0 for an original, 1 and on for its declared repeats. What takes a failed one's place has its seeds."""
    if trial.repeat_of is None:
        return 0
    first = trial
    while first.retry_of is not None:
        first = study.trials[first.retry_of]
    others = (t for t in study.trials if t.repeat_of == trial.repeat_of and t.retry_of is None)
    return sum(other.number <= first.number for other in others)


def table_text(study: StudyRecord, trainings: Sequence[TrialRecord]) -> str:
    """The rows of decoders.csv."""
    dimensions = (*STRUCTURAL, *(name for name in HORIZON_BOUND if _differs(name, trainings)))
    before = _names(trial.scores for trial in trainings)
    after = _names(trial.rungs[-1].scores for trial in trainings)
    rows = []
    for trial in trainings:
        assert trial.spec is not None
        last = trial.rungs[-1]
        row: dict[str, Any] = {"trial": trial.number, "seed": seed_index(study, trial), "fingerprint": trial.spec.fingerprint}
        row |= {name: getattr(trial.spec, name) for name in dimensions}
        row["training_flops"] = cost.training_flops_per_token(trial.spec)
        for name in before:
            row |= _cells(name, trial.scores.get(name), interval=OBJECTIVES[name].known != "arithmetic")
        for name in after:
            row |= _cells(name, last.scores.get(name), interval=True)
        row |= {name: last.baselines.get(name) for name in ("unigram", "bigram")}
        row |= {"tokens": last.tokens, "seconds": sum(outcome.seconds for outcome in trial.rungs)}
        rows.append(row)
    return csv_text(rows)


def curves_text(trainings: Sequence[TrialRecord]) -> str:
    """The rows of decoders_curves.csv."""
    names = [name for name in _names(trial.rungs[0].scores for trial in trainings) if OBJECTIVES[name].known == "trained"]
    return csv_text(
        [
            {
                "trial": trial.number,
                "rung": outcome.rung,
                "tokens": outcome.tokens,
                "new_tokens": outcome.new_tokens,
                "seconds": outcome.seconds,
                "train_loss": _train_loss(trial.rungs, outcome.rung),
                **{key: v for name in names for key, v in _cells(name, outcome.scores.get(name), interval=True).items()},
            }
            for trial in trainings
            for outcome in trial.rungs
        ]
    )


def _train_loss(rungs: Sequence[Outcome], rung: int) -> float | None:
    before = rungs[rung - 1].curve[-1][0] if rung and rungs[rung - 1].curve else 0
    losses = [loss for tokens, loss in rungs[rung].curve if tokens > before]
    return float(np.mean(losses)) if losses else None


def _names(found: Iterable[Mapping[str, Score]]) -> list[str]:
    """The scores that any of them has, in the order of objective.py."""
    known = {name for scores in found for name in scores}
    return [name for name in OBJECTIVES if name in known]


def _differs(name: str, trainings: Sequence[TrialRecord]) -> bool:
    return len({getattr(trial.spec, name) for trial in trainings}) > 1


def _cells(name: str, score: Score | None, *, interval: bool) -> dict[str, float | None]:
    value, low, high = (None, None, None) if score is None else (score.value, score.low, score.high)
    return {name: value, f"{name}_low": low, f"{name}_high": high} if interval else {name: value}


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: shown(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def shown(value: Any) -> str:
    """A value as the files have it: nothing for None, true and false in small letters, numbers without needless digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 2**53):
        return str(int(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# The spec


def spec_text(recipe: Recipe) -> str:
    """The YAML file that describes the table of a study with this recipe to `autonas bench search`."""
    space = recipe.space
    lines = [
        "# What the columns of decoders.csv are to `autonas bench search --table decoders.csv --table-spec decoders.yaml`.",
        "# Written by `autonas bench table`, which trained the decoders and measured them; provenance.json says how.",
        "name: decoders",
        'where: {seed: "0"}  # each architecture once; further rows of it are trainings with other seeds',
        "parameters:",
        *(f"  {name}: {_domain_text(name, space.searched_domains)}" for name in space.searched),
        "sizes: [params]",
        "effort: training_flops",
        "objectives:",
        *(f"  {name}: {_objective_text(OBJECTIVES[name])}" for name in recipe.objectives),
        "curves:",
        f"  file: {CURVES}",
        "  key: trial",
        "  step: tokens",
        f"  values: {{{', '.join(f'{n}: {n}' for n in recipe.objectives if OBJECTIVES[n].known == 'trained')}}}",
        "  cost: seconds  # since the rung before",
        "  unit: s",
    ]
    return "\n".join(lines) + "\n"


def _objective_text(objective: Objective) -> str:
    parts = ["direction: minimize", f"scale: {'log' if objective.logarithmic else 'linear'}"]
    parts += [f"costly: {str(not objective.before_training).lower()}", f"unit: {objective.unit}"]
    parts += ["known: measured"] if objective.known == "measured" else []
    return f"{{{', '.join(parts)}}}"


def _domain_text(name: str, domains: Mapping[str, Domain]) -> str:
    domain = domains[name]
    if isinstance(domain, Int):
        return f"{{int: [{domain.low}, {domain.high}]}}"
    if isinstance(domain, Float):
        return f"{{float: [{domain.low:g}, {domain.high:g}]}}"
    assert isinstance(domain, Choice), domain
    options = {shown(option): option for option in domain.options}
    if options.pop("heads", None) is not None:  # as many as there are heads: the table has the number
        options |= {shown(number): number for number in domains["heads"].values(64)} if "heads" in domains else {}
        options = dict(sorted(options.items(), key=lambda item: float(item[0])))
    return f"{{choice: [{', '.join(options)}]}}"


# Provenance


def provenance_text(study: StudyRecord, trainings: Sequence[TrialRecord], left_out: Sequence[tuple[int, str]]) -> str:
    """The JSON document that says where the numbers come from."""
    attributes, budget = study.attributes, study.recipe["budget"]
    environment = dict(attributes.get("environment") or {})
    facts = {
        "licence": LICENCE,
        "study": study.name,
        "date": attributes.get("ended_at") or attributes.get("started_at"),
        "commit": environment.pop("commit", None),
        "environment": environment,
        "architectures": len({trial.spec.fingerprint for trial in trainings if trial.spec is not None}),
        "trainings": len(trainings),
        "left_out": [{"trial": number, "why": why} for number, why in left_out],
        "seeds": {
            "study": budget["seed"],
            "weights": "of a training: from the study's seed, the architecture and `seed`",
            "data": "its order: from the study's seed and `seed`, so that all trainings of one `seed` see the same tokens",
        },
        "columns": _HOW,
        "calibration": attributes.get("calibration"),
        "data": attributes.get("data"),
        "space_file": dict(study.recipe),
    }
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
