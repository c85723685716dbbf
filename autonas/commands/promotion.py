"""`promote`, and what a search does about it at its end."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from autonas.commands import OK, engine_settings, note, print_json
from autonas.errors import RequestError

if TYPE_CHECKING:
    from autonas.promotion.promote import Promotion
    from autonas.promotion.retest import Retest
    from autonas.recipe import Recipe


def promote(options: argparse.Namespace) -> int:
    from autonas.api import promote, propose_promotion
    from autonas.commands.runs import print_evaluation
    from autonas.terminal import RunDisplay

    wanted = {
        "trial": options.trial,
        "select": options.select,
        "limits": _amounts("--limit", options.limit),
        "weights": _amounts("--weight", options.weight),
        "steps": options.steps,
        "storage": options.storage,
        "out": options.out,
        "run": options.run,
        "retest": options.retest,
        "retest_seeds": options.retest_seeds,
        "succession": False if options.no_succession else None,
        "engine": engine_settings(options),
    }
    if options.dry_run:
        if options.resume:
            raise RequestError("--dry-run says what a new run would be; leave out --resume")
        promotion = propose_promotion(options.study, **wanted, say=note)
        if options.json:
            print_json(_as_json(promotion))
        else:
            print(promotion.describe())
        return OK
    with RunDisplay() as display:
        run = promote(
            options.study, **wanted, resume=options.resume, say=display.say, on_run=display.begin, on_progress=display
        )
    print_evaluation(run, as_json=options.json)
    return OK


def after_search(options: argparse.Namespace, study: str, recipe: Recipe) -> None:
    """Promote the winner as the space file says, or else say what a promotion would do."""
    from autonas.api import promote_winner, propose_promotion
    from autonas.commands.runs import print_evaluation
    from autonas.promotion.execution import promote_command
    from autonas.terminal import RunDisplay

    where: dict[str, Any] = {"storage": options.storage, "out": options.out, "engine": engine_settings(options)}
    if recipe.promote is not None and not options.no_promote:
        with RunDisplay(quiet=options.quiet) as display:
            run = promote_winner(study, **where, say=display.say, on_run=display.begin, on_progress=display)
        if not options.json:
            print_evaluation(run, as_json=False)
        return
    if not options.json:
        print(f"\npromotion: {propose_promotion(study, **where).describe()}")
        command = promote_command(study, storage=options.storage, trials_dir=options.out, engine=engine_settings(options))
        print(f"start it with: {command}")


def _amounts(flag: str, given: list[str] | None) -> dict[str, float]:
    """`name=value` texts as numbers: limits in the units of their scores, as in a space file."""
    from autonas.objective import OBJECTIVES
    from autonas.recipe.search_sections import read_amount
    from autonas.space.node import Node, closest

    found: dict[str, float] = {}
    for text in given or ():
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise RequestError(f"{flag} {text!r}: write a name and a number, such as {flag} params=1M")
        if name not in OBJECTIVES:
            raise RequestError(f"{flag} {text!r}: {name!r} is no score{closest(name, OBJECTIVES)}")
        if name in found:
            raise RequestError(f"{flag} {text!r}: {name} is given twice; keep one")
        node = Node(content=value, place=f"{flag} {name}", source="", plain=True)
        found[name] = read_amount(node, name) if flag == "--limit" else node.number(least=0.0, most=1e9)
    return found


def _as_json(promotion: Promotion) -> Mapping[str, Any]:
    from autonas.plan import about_experiment
    from autonas.trial import to_json

    return {
        "study": promotion.study,
        **to_json(promotion.pick),
        "steps": promotion.steps,
        "tokens": promotion.tokens,
        "epochs": promotion.epochs,
        "seconds": promotion.seconds,
        "run": str(promotion.folder),
        "predicted": to_json(promotion.predicted),
        "overtaking": to_json(promotion.overtaking),
        "second_look": None if promotion.retest is None else _second_look(promotion.retest),
        "replicas": None if promotion.experiment is None else about_experiment(promotion.experiment),
    }


def _second_look(retest: Retest) -> Mapping[str, Any]:
    """What would be trained again, and what that can tell."""
    return {
        "candidates": [{"trial": pick.trial, "reason": pick.reason} for pick in retest.candidates],
        "seeds": retest.seeds,
        "trainings": retest.num_trainings,
        "tokens": retest.tokens,
        "seconds": retest.seconds,
        "succession": retest.succession,
        "apart": retest.apart,
        "reach": retest.reach,
    }
