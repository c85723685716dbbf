"""Texts of a study inside Plotly's own, which reads a small subset of HTML in titles, labels and hover texts."""

from __future__ import annotations

import html

from autonas.reporting.generations import printable


def plain(text: str, most: int | None = None) -> str:
    """A text from outside that shows as it stands: no markup, control characters as pictures, cut to `most` characters."""
    shown = printable(text).replace("\n", "␤").replace("\t", "␉")
    if most is not None and len(shown) > most:
        shown = shown[: most - 1] + "…"
    # A brace of Plotly's templates opens with %, which an entity hides.
    return html.escape(shown, quote=False).replace("%{", "%&#123;")
