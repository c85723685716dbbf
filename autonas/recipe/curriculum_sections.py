"""The sections of a space file that say what a full run is shown: `curriculum:` and `teacher:`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from autonas.curriculum import PAIRS, Curriculum, Judge, Stage, Teacher
from autonas.recipe.fields import fields_of, is_file
from autonas.space.node import Node, Section
from autonas.trial import to_json

_ROUNDING: Final = 1e-6


def read_curriculum(root: Section, context_length: int, at_edge: bool) -> Curriculum | None:
    """The stages; None where the section is left out. Files of texts must exist `at_edge`."""
    node = root.get("curriculum")
    if node is None:
        return None
    section = node.section(("stages", "texts", "judge"))
    items = section.need("stages", "write a list of stages, such as [{share: 0.5, difficulty: [0, 0.5]}, {}]").items()
    if not items:
        raise node.complaint("has no stage; write at least one, or leave the section out")
    texts = _texts(section, at_edge)
    shares = _shares(node, [item.section(fields_of(Stage)) for item in items])
    stages = tuple(_stage(item.section(fields_of(Stage)), share) for item, share in zip(items, shares, strict=True))
    named = {name for stage in stages for name, _ in stage.sources}
    for name, _ in texts:
        if name not in named:
            raise node.complaint(f"texts: no stage names {name!r} among its sources; name it in one, or leave the file out")
    judge, own = Judge(), section.child("judge", fields_of(Judge))
    return Curriculum(
        stages=stages,
        texts=texts,
        judge=Judge(
            layers=own.whole("layers", judge.layers, least=1, most=64),
            width=own.whole("width", judge.width, least=8, most=4096),
            tokens=own.whole("tokens", judge.tokens, least=10_000, most=10**12),
        ),
    )


def describe_curriculum(curriculum: Curriculum) -> dict[str, Any]:
    """As the file has it, with every default written out."""
    stages = []
    for stage in curriculum.stages:
        values = to_json(stage)
        stages.append({**values, "sources": dict(stage.sources) or None})
    return {"stages": stages, "texts": dict(curriculum.texts) or None, "judge": to_json(curriculum.judge)}


def read_teacher(root: Section) -> Teacher | None:
    node = root.get("teacher")
    if node is None:
        return None
    section = node.section(fields_of(Teacher))
    default = Teacher(model="")
    return Teacher(
        model=section.need("model", "write a run's folder, or the name of a Hugging Face model").text(),
        weight=section.number("weight", default.weight, above=0.0, most=1.0),
        temperature=section.number("temperature", default.temperature, above=0.0, most=100.0),
    )


def _shares(node: Node, sections: list[Section]) -> list[float]:
    """Of the stages; those that say nothing have what is left in equal parts."""
    given = [None if one.get("share") is None else one.number("share", 0.0, above=0.0, most=1.0) for one in sections]
    left = 1.0 - sum(share for share in given if share is not None)
    silent = given.count(None)
    if silent == 0 and not math.isclose(left, 0.0, abs_tol=_ROUNDING):
        raise node.complaint(f"stages: their shares add up to {1.0 - left:g} and not to 1; leave one share out, or mend them")
    if silent and left <= 0.0:
        raise node.complaint(
            f"stages: shares add up to {1.0 - left:g}, which leaves nothing for a stage without one; write less"
        )
    return [left / silent if share is None else share for share in given]


def _stage(section: Section, share: float) -> Stage:
    low, high = _difficulty(section)
    least = section.whole("min_tokens", 0)
    most, epochs = section.get("max_tokens"), section.get("max_epochs")
    found = section.get("sources")
    sources = (
        () if found is None else tuple((name, entry.number(above=0.0, most=1e9)) for name, entry in found.entries().items())
    )
    if found is not None and not sources:
        raise found.complaint("names no source; write some with their weights, or leave the line out")
    total = sum(weight for _, weight in sources)
    return Stage(
        share=share,
        sources=tuple((name, weight / total) for name, weight in sources),
        difficulty=(low, high),
        min_tokens=least,
        max_tokens=None if most is None else most.whole(least=max(least, 1)),
        max_epochs=None if epochs is None else epochs.number(above=0.0, most=1e9),
    )


def _difficulty(section: Section) -> tuple[float, float]:
    node = section.get("difficulty")
    if node is None:
        return 0.0, 1.0
    items = node.items()
    if len(items) != 2:
        raise node.complaint(f"has {len(items)} numbers; write two shares of the tokens, easiest first, such as [0, 0.5]")
    low, high = (item.number(least=0.0, most=1.0) for item in items)
    if low >= high:
        raise node.complaint(f"begins at {low:g} and ends at {high:g}; write a smaller number first")
    return low, high


def _texts(section: Section, at_edge: bool) -> tuple[tuple[str, str], ...]:
    node = section.get("texts")
    if node is None:
        return ()
    found = []
    for name, entry in node.entries().items():
        if name == PAIRS:
            raise entry.complaint(f"{PAIRS} is the name of the corpus's own functions; give the texts another")
        file = entry.text()
        if at_edge and not is_file(Path(file)):
            raise entry.complaint(f"is {entry.shown}, which is no file here; name a file of JSON Lines that exists")
        found.append((name, file))
    return tuple(found)
