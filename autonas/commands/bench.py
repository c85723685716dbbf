"""`bench`."""

from __future__ import annotations

import argparse

from autonas.commands import OK, engine_settings, note, print_json


def bench(options: argparse.Namespace) -> int:
    from autonas.bench import run_bench

    found = run_bench(
        options.name,
        seconds=options.seconds,
        trials_per_worker=options.trials_per_worker,
        engine=engine_settings(options),
        say=note,
    )
    if options.json:
        print_json(found)
        return OK
    for row in found["rows"]:
        interval = "" if row["low"] is None else f" ({row['low']:.4g} to {row['high']:.4g})"
        goal = "" if row["goal"] is None else f"; goal {row['goal']:g}: {'met' if row['met'] else 'not met'}"
        print(f"{row['metric']}: {row['ours']:.4g} {row['unit']}{interval}{goal}")
    return OK
