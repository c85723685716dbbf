"""Colours that people tell apart, and styles that every figure has."""

from __future__ import annotations

import itertools
import re

import pytest

from autonas.figures import theme

# Linear RGB as people without one kind of cone see it (Viénot, Brettel and Mollon 1999; tritanopia: Brettel 1997, one half).
BLINDNESS = {
    "none": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deuteranopia": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
    "tritanopia": ((1.01277, 0.13548, -0.14826), (-0.01243, 0.86812, 0.14431), (0.07589, 0.80500, 0.11911)),
}


def linear(colour: str) -> tuple[float, float, float]:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return red, green, blue


def lab(rgb: tuple[float, ...]) -> tuple[float, float, float]:
    """CIE L*a*b* of linear sRGB under D65."""
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    white = (0.95047, 1.0, 1.08883)
    scaled = [max(sum(a * b for a, b in zip(row, rgb, strict=True)), 0.0) / w for row, w in zip(rows, white, strict=True)]
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in scaled)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def apart(one: str, other: str, kind: str) -> float:
    """ΔE*ab between two colours as seen with this kind of blindness; 2.3 is just noticed."""
    seen = []
    for colour in (one, other):
        rgb = linear(colour)
        seen.append(lab(tuple(sum(a * b for a, b in zip(row, rgb, strict=True)) for row in BLINDNESS[kind])))
    return float(sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5)


@pytest.mark.parametrize("kind", BLINDNESS)
@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_marks_are_told_apart_by_everyone(colours: dict[str, str], kind: str) -> None:
    told = ("front", "knee", "pick", "final")
    for one, other in itertools.combinations(told, 2):
        symbols = {theme.MARKS[name][1] for name in (one, other) if name in theme.MARKS}
        far = apart(colours[one], colours[other], kind)
        # The pick is a ring around a mark; all others differ in their symbols, too.
        assert far > (12 if "pick" in (one, other) or len(symbols) == 2 else 20), (one, other, far)


def test_no_two_marks_share_a_symbol_and_a_colour() -> None:
    assert len({(colour, symbol) for colour, symbol, _ in theme.MARKS.values()}) == len(theme.MARKS)
    assert {colour for colour, _, _ in theme.MARKS.values()} <= set(theme.LIGHT)


def test_light_and_dark_have_the_same_names_and_a_colour_means_one_thing() -> None:
    assert set(theme.LIGHT) == set(theme.DARK)
    assert len(set(theme.LIGHT.values())) == len(theme.LIGHT), "a page finds the dark colour by the light one"
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in (*theme.LIGHT.values(), *theme.DARK.values()))


def _contrast(one: str, other: str) -> float:
    weights = (0.2126, 0.7152, 0.0722)
    dark, light = sorted(sum(w * p for w, p in zip(weights, linear(colour), strict=True)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_text_can_be_read_on_its_paper(colours: dict[str, str]) -> None:
    for ink in ("ink", "soft", "front", "knee", "pick", "alarm"):
        for paper in ("paper", "raised"):
            assert _contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    assert _contrast(colours["ink"], colours["alarm-paper"]) >= 4.5
    assert _contrast(colours["alarm"], colours["alarm-paper"]) >= 4.5


@pytest.mark.parametrize("colours", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_marks_can_be_seen_on_their_paper(colours: dict[str, str]) -> None:
    for colour in ("front", "knee", "pick", "final", "alarm", "second"):
        assert _contrast(colours[colour], colours["paper"]) >= 3.0, colour


def test_a_colour_seen_through_is_the_colour_and_two_digits() -> None:
    assert theme.rgba("front", 0.5) == theme.LIGHT["front"] + "80" and theme.rgba("ink", 1.0).endswith("ff")


def test_no_figure_brings_a_template_or_a_title() -> None:
    layout = theme.figure([], x=theme.axis("a"), y=theme.axis("b", unit="share")).to_plotly_json()["layout"]
    assert len(str(layout["template"])) < 100, "Plotly's own template is 7 kB in each figure"
    assert "title" not in layout and layout["yaxis"]["tickformat"] == ".0%" and not layout["showlegend"]
