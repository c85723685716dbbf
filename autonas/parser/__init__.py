"""What can be asked on the command line: every command with its options. Calls nothing."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

import autonas
from autonas.commands import WRONG_REQUEST
from autonas.parser.data import add_bench, add_data
from autonas.parser.runs import add_export, add_runs, add_serving, add_tuning
from autonas.parser.studies import add_promote, add_reading, add_search


class _Parser(argparse.ArgumentParser):
    """Complains in one message, as every wrong request does."""

    def error(self, message: str) -> NoReturn:
        print(f"autonas: {message}. See `{self.prog} --help`.", file=sys.stderr)
        sys.exit(WRONG_REQUEST)


def make_parser() -> argparse.ArgumentParser:
    """The parser of `autonas`. Parsed options hold `home`, a module of commands/, and `command`, its function.

    A command that can be gone on with after an interruption has `resume_hint`, which makes the text that says how.
    """
    parser = _Parser(prog="autonas", description="Multi-objective neural architecture search for small code language models.")
    parser.add_argument("--version", action="version", version=f"autonas {autonas.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)

    def command(name: str, home: str, text: str, example: str) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = commands.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"example:  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=name, home=home)
        return sub

    add_search(command)
    add_reading(command)
    add_promote(command)
    add_runs(command)
    add_tuning(command)
    add_serving(command)
    add_export(command)
    add_data(command)
    add_bench(command)
    return parser
