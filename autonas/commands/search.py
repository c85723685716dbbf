"""`search`."""

from __future__ import annotations

import argparse

from autonas.commands import FAILED, OK, engine_settings, note, print_json


def search(options: argparse.Namespace) -> int:
    from autonas.api import read_recipe, report, search, study_folder
    from autonas.commands.painting import print_text, screen_width
    from autonas.commands.promotion import after_search
    from autonas.reporting.front import front_json
    from autonas.reporting.text import text_front
    from autonas.study import CANCELLED, Watcher
    from autonas.study.files import EVENTS
    from autonas.terminal import StudyDisplay

    recipe = read_recipe(options.space, options.trials, options.max_hours, options.sampler, options.seed)
    name = options.study or recipe.name
    options.folder = study_folder(name, options.out)  # for the hint that an interruption ends with
    with StudyDisplay(name, recipe, quiet=options.quiet) as display:
        study = search(
            recipe,
            study=name,
            storage=options.storage,
            resume=options.resume,
            retry_failed=options.retry_failed,
            warm_start=options.warm_start,
            engine=engine_settings(options),
            out=options.out,
            tensorboard=options.folder / EVENTS if options.tensorboard == "" else options.tensorboard,
            promote=False,  # here, below the front, and with a progress of its own
            watcher=Watcher(say=display.say, changed=display.changed),
            on_progress=display.progress,
        )
    written = report(name, storage=options.storage, out=options.out)
    front = front_json(study)
    if options.json:
        print_json(front)
    else:
        print_text(text_front(study, width=screen_width()))
        print(f"\nreport: {written}", flush=True)
    if not front:
        return FAILED
    if study.attributes.get("closed") == CANCELLED:
        note(f"{name} was cancelled; go on with it by the same command and --resume")
        return FAILED
    after_search(options, name, recipe)
    return OK
