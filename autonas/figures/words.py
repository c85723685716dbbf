"""Foreign text in a drawing: Plotly reads a small HTML in its texts, and a study's name must not be any."""

from __future__ import annotations

from autonas.reporting.generations import printable

_LONGEST = 60


def plain(text: str, longest: int = _LONGEST) -> str:
    """The text as it is to be read: markup is no markup, control characters are their pictures, the far end is left out."""
    shown = text if len(text) <= longest else text[: longest - 1] + "…"
    escaped = printable(shown).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    # `%{…}` would be read as the place of a value.
    return escaped.replace("%{", "%&#123;").replace("\n", " ")
