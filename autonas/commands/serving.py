"""The command `serve`."""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path

from autonas.commands import OK, note


def serve(options: argparse.Namespace) -> int:
    from autonas.evaluation.latency import resolve_device
    from autonas.service.guard import TOKEN_VARIABLE, find_token
    from autonas.service.serving import read_runs, serve

    token, is_new = find_token(Path(options.token_file) if options.token_file else None)
    served = read_runs(options.run, str(resolve_device(options.device)))

    def ready(url: str) -> None:
        note(f"serving {', '.join(served)} to those who bear the token. Ctrl-C ends this.")
        if is_new:
            note(f"the token of this time: {token}  (set {TOKEN_VARIABLE}, or give --token-file, to have one that stays)")
        if not _is_loopback(options.host):
            note(
                f"{options.host} can be reached from other machines, and the token and all texts travel unencrypted: "
                "put a proxy with TLS before it, or serve on 127.0.0.1 and make a tunnel"
            )
        print(url, flush=True)

    serve(served, token, host=options.host, port=options.port, threads=options.threads or 1, ready=ready)
    return OK


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
