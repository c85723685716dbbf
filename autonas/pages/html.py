"""What all pages are made of: templates with everything escaped, our own style and scripts, figures, and JSON that cannot act.

A page is one file. Its content security policy lets it load nothing from anywhere and run no script but those written here and
Plotly's, which are named by their digests; styles may stand in attributes, since Plotly writes some there.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from autonas.figures import theme
from autonas.figures.embedding import Figures, figure_json, packed_script, plotly_script
from autonas.reporting import quantities, tables
from autonas.reporting.generations import printable


def page(
    template: str, *, styles: Sequence[str], scripts: Sequence[str], figures: Figures, data: Mapping[str, Any], **values: Any
) -> str:
    """The HTML of a page from files of this folder. `data` and the figures are embedded as JSON for its scripts.

    The same values give the same bytes.
    """
    style = _palette() + "".join(map(asset, styles))
    script = "".join(map(asset, scripts))
    assert "</" not in style and "</script" not in script
    allowed = " ".join(f"'{content_digest(text)}'" for text in ([plotly_script()] if figures else []) + [script])
    embedded = {**data, "figures": {name: figure_json(figure) for name, figure in figures.items()}}
    return (
        page_environment()
        .get_template(template)
        .render(
            **values,
            policy=f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {allowed}",
            style=Markup(style),
            plotly=Markup(packed_script()) if figures else "",
            script=Markup(script),
            data=embedded_json({**embedded, "palette": {"light": theme.LIGHT, "dark": theme.DARK}}),
        )
    )


def embedded_json(value: Any) -> Markup:
    """JSON that can stand inside a script element: ASCII, without any character that HTML could take for its own."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
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


def _palette() -> str:
    """The figures' colours as style variables: as the reader's system has it, unless the page's own switch says otherwise."""
    light, dark = (
        "".join(f"--{name}: {colour}; " for name, colour in colours.items()).strip() for colours in (theme.LIGHT, theme.DARK)
    )
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f'@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {dark} }} }}\n'
        f':root[data-theme="light"] {{ color-scheme: light; }}\n:root[data-theme="dark"] {{ color-scheme: dark; {dark} }}\n'
    )
