"""The command `dashboard`."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from autonas.commands import OK, note


def dashboard(options: argparse.Namespace) -> int:
    from autonas.dashboard import serve_dashboard
    from autonas.ledger.shelf import Shelf

    def ready(url: str, shelf: Shelf) -> None:
        for reason in shelf.unreadable.values():
            note(reason)
        note(f"showing {', '.join(shelf.names())}, for looking only. Ctrl-C ends this.")
        print(url, flush=True)
        if options.open:
            webbrowser.open(url)

    out = Path(options.out)
    serve_dashboard(options.study, storage=options.storage, out=out, host=options.host, port=options.port, ready=ready)
    return OK
