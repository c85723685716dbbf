"""Commands of instruction tuning: `finetune`, and `tasks`, which writes what it is tuned on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autonas.commands import OK, note, print_json
from autonas.errors import RequestError

if TYPE_CHECKING:
    from autonas.engine.base import JobProgress

_SHARES = {"stops": "ends by itself", "exact_match": "is the solution", "passes": "passes its tests"}


def finetune(options: argparse.Namespace) -> int:
    from autonas import api
    from autonas.run_folder import read_evaluation

    run = api.finetune(
        options.run,
        options.data,
        method=options.method,
        out=options.out,
        resume=options.resume,
        space=options.space,
        device=options.device,
        threads=options.threads,
        epochs=options.epochs,
        steps=options.steps,
        rate=options.rate,
        batch=options.batch,
        rank=options.rank,
        alpha=options.alpha,
        dropout=options.dropout,
        targets=tuple(name for name in options.targets.split(",") if name),
        validation_share=options.validation_share,
        patience=options.patience or None,
        tasks=options.tasks,
        allow_contamination=options.allow_contamination,
        seed=options.seed,
        say=note,
        on_progress=_Progress(),
    )
    values = read_evaluation(run)
    if options.json:
        print_json({**values, "run": str(run)})
        return OK
    for line in summary(values):
        print(line)
    print(f"run: {run}")
    return OK


class _Progress:
    """Tells how far a tuning is, a line for every twentieth of it."""

    def __init__(self) -> None:
        self._shown = -1.0

    def __call__(self, step: JobProgress, total_tokens: int) -> None:
        from autonas.reporting.quantities import duration_text

        share = min(step.tokens / total_tokens, 1.0)
        if share - self._shown >= 0.05:
            self._shown = share
            left = duration_text((1 - share) * total_tokens / max(step.tokens_per_s, 1e-9))
            note(f"{share:4.0%}  loss of solutions {step.loss:.3f}  at most about {left} left")


def summary(values: dict[str, Any]) -> list[str]:
    """The tuned model beside its base, a line for each figure."""
    about, scores = values["tuning"], values["scores"]
    base = about["base"]
    rows = [("", "base", "tuned")]
    if "solution_loss" in scores:
        rows.append(("loss of solutions, nats/token", _number(base["solution_loss"]), _number(scores["solution_loss"])))
        rows += [
            (f"answer {text}", _share(base[name]), _share(scores[name])) for name, text in _SHARES.items() if name in scores
        ]
    rows.append(("corpus val_loss, nats/token", _number(base["val_loss"]), _number(scores["val_loss"])))
    lines = [f"{what:30} {before:26} {after}".rstrip() for what, before, after in rows]
    change = about["corpus_loss_change"]
    lines.append(
        f"corpus loss {change['value']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f}); " + values["checks"]["tuning"]
    )
    lines += [f"{finding['severity']}: {finding['text']}" for finding in values["findings"]]
    lines += [f"{name}: not measured: {why}" for name, why in about.get("missing", {}).items()]
    return lines


def _number(score: dict[str, Any]) -> str:
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def _share(score: dict[str, Any]) -> str:
    return f"{score['value']:.0%} ({score['low']:.0%} to {score['high']:.0%}, n {score['n']})"


def tasks(options: argparse.Namespace) -> int:
    from autonas.tuning.examples import write_examples

    if options.action == "convert":
        _refuse(options, "space", "count", "held_out")
        from autonas.tuning.converters import examples_of_tasks

        if options.source is None:
            raise RequestError("tasks convert: name a file of HumanEval or MBPP")
        found = examples_of_tasks(options.source)
    elif options.action == "functions":
        _refuse(options, "source", "held_out")
        from autonas.api import read_recipe
        from autonas.data.dataset import prepare
        from autonas.tuning.converters import examples_of_functions

        if options.space is None:
            raise RequestError("tasks functions: name the recipe whose corpus is read, with --space FILE")
        recipe = read_recipe(options.space)
        found = examples_of_functions(prepare(recipe.corpus, recipe.tokenizer, say=note), options.count)
    else:
        _refuse(options, "source", "space")
        from autonas.tuning.examples import example_of, write_rows
        from autonas.tuning.templates import COUNT, HELD_OUT, human_eval_row, templated_tasks

        made = templated_tasks(options.count or COUNT, HELD_OUT if options.held_out else 0, options.seed)
        found = tuple(map(example_of, made.training))
        if options.held_out:
            write_rows(options.held_out, map(human_eval_row, made.held_out))
            note(f"{len(made.held_out)} held-out tasks: {options.held_out}")
    write_examples(Path(options.out), found)
    note(f"{len(found)} examples: {options.out}")
    return OK


def _refuse(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(options, name) is not None:
            flag = "FILE" if name == "source" else f"--{name.replace('_', '-')}"
            raise RequestError(f"tasks {options.action} has no use for {flag}; leave it out")
