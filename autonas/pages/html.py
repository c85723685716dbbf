"""What all pages are made of: templates with everything escaped, texts of our own, and JSON that cannot act."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import json
from typing import Any

import jinja2
from markupsafe import Markup

from autonas.reporting import quantities, tables
from autonas.reporting.generations import printable


def embedded_json(value: Any) -> Markup:
    """JSON that can stand inside a script element: ASCII, without any character that HTML could take for its own."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@functools.cache
def page_environment() -> jinja2.Environment:
    """Templates of this folder, with everything that is shown escaped and made printable."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "tokens": quantities.tokens_text,
        "duration": quantities.duration_text,
        "spec": quantities.spec_text,
        "reached": tables.reached,
        "message": tables.message,
        "facts": tables.facts,
        "share": lambda value: f"{100 * value:.0f} %",
        "rate": lambda value: f"{value:g}",
    }
    return environment


def _finalize(value: Any) -> Any:
    """Every text that is shown is made printable first, wherever it comes from."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@functools.cache
def asset(name: str) -> str:
    """The text of a file of this folder."""
    return importlib.resources.files("autonas.pages").joinpath(name).read_text(encoding="utf-8")


def content_digest(text: str) -> str:
    """A content security policy's name for exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
