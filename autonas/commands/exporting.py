"""The command that gives a run to other tools: `export`."""

from __future__ import annotations

import argparse
from typing import Any

from autonas.commands import OK, note, print_json


def export(options: argparse.Namespace) -> int:
    from autonas import api

    records = api.export(options.run, format=options.format, out=options.out, int8=options.int8, say=note)
    if options.json:
        print_json(records)
        return OK
    for record in records:
        for line in _lines(record):
            print(line)
    return OK


def _lines(record: dict[str, Any]) -> list[str]:
    parity, small = record["parity"], record["int8"]
    kind = f", {record['class']}" if "class" in record else ""
    lines = [
        f"{record['format']:12} {record['folder']}{kind}",
        f"  parity     logits within {parity['largest_difference']:.1e} ({parity['tolerance']:.1e} is allowed), "
        f"{parity['tokens_compared']} greedy tokens identical, {parity['texts']} texts encoded alike; {parity['runtime']}",
    ]
    if parity["near_ties"]:
        lines.append(f"  ties       {len(parity['near_ties'])} continuations ended where rounding decides")
    if parity["note"]:
        lines.append(f"  note       {parity['note']}")
    if small:
        difference = small["difference"]
        lines.append(
            f"  int8       {small['file']}, {small['bytes'] / small['float_bytes']:.0%} of the size; loss "
            f"{difference['value']:+.4f} nats a token ({difference['low']:+.4f} to {difference['high']:+.4f})"
        )
    return lines
