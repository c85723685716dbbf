"""What the columns of a table of finished trials mean: the YAML file of `autonas bench search --table-spec`, read strictly.

Knows no table: whether the columns exist, and whether their values lie in the domains, is found by table_file.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from autonas.errors import RecipeError
from autonas.objective import Objective
from autonas.space.domains import Choice, Domain, Fixed, Float, Int, Value
from autonas.space.node import Node, Section
from autonas.space.reading import parse_yaml

_KEYS = ("name", "where", "parameters", "sizes", "effort", "objectives", "cost", "curves", "budgets", "goals")
_DOMAINS = ("int", "float", "choice")
_EXAMPLE = "{int: [2, 16]}, {float: [0.0, 1.0]}, {choice: [2, 4]} or {list: {separator: '-', choice: [2, 4], length: 12}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A column that describes a candidate; with `separator` a list, each of whose positions is a dimension."""

    name: str
    column: str
    domain: Domain  # of each position, where it is a list
    separator: str | None = None
    length: str | int | None = None  # of a list: a number, or the parameter that says; None: as each row has it
    counted: str | None = None  # the value is how often this text stands in the column

    @property
    def is_list(self) -> bool:
        return self.separator is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredColumn:
    """A column that holds an objective, and how its values become ones to minimise."""

    objective: Objective
    column: str
    maximize: bool
    costly: bool

    def minimised(self, value: float) -> float:
        """The value as one to minimise: signs flip here and nowhere else. A logarithm's sign flips with the reciprocal.

        Raises:
            ValueError: not a number, or not positive where a logarithm is to be taken.
        """
        if not -float("inf") < value < float("inf"):
            raise ValueError("is not a finite number")
        if self.objective.logarithmic and value <= 0:
            raise ValueError("is not positive, and its logarithm is compared (scale: log)")
        if not self.maximize:
            return value
        return 1.0 / value if self.objective.logarithmic else -value


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one full training costs; values above the quantile are replaced by it."""

    column: str
    clip_quantile: float | None = None
    unit: str = ""
    divide_by: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Learning curves in a second file, one line for each row and step. `cost` is what came since the line before."""

    file: str
    node: Node  # for complaints
    key: tuple[str, ...]
    step: str
    values: Mapping[str, str]  # objective -> column
    cost: str | None = None
    unit: str = ""
    divide_by: float = 1.0
    rungs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is hoped of a replay: of the first sampler alone (`most`), or of a peer's budget over its own (`least`)."""

    name: str
    regime: Literal["trainings", "compute"]
    share: float  # of the hypervolume, such as .95
    against: str | None
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSpec:
    name: str
    parameters: tuple[Parameter, ...]
    objectives: tuple[ScoredColumn, ...]
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # column -> texts of the rows that are kept
    sizes: tuple[str, ...] | None = None  # columns; None: the objectives known by arithmetic whose logarithms are compared
    effort: str | None = None  # a column that says before training what it will cost, in any unit
    cost: Cost | None = None
    curves: Curves | None = None
    budgets: tuple[int, ...] = ()  # in full trainings
    goals: tuple[Goal, ...] = ()


def read_table_spec(path: Path) -> TableSpec:
    """The spec in the file at `path`.

    Raises:
        RecipeError: it cannot be read or is wrong; names file, line, value and remedy.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise RecipeError(
            f"{path}: there is no such file; name the YAML file that says what the table's columns mean"
        ) from error
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path}: cannot be read as a text in UTF-8 ({error}); name a YAML file") from error
    if not text.strip():
        raise RecipeError(f"{path}: is empty; write at least `parameters:` and `objectives:`")
    return table_spec(parse_yaml(text, str(path)), name=path.stem)


def table_spec(root: Node, name: str) -> TableSpec:
    """As `read_table_spec`, of what stands in the file."""
    section = root.section(_KEYS)
    named, effort = section.get("name"), section.get("effort")
    objectives = _objectives(section)
    return TableSpec(
        name=name if named is None else named.text(),
        where={column: _texts(node) for column, node in section.child("where", _any(section, "where")).node.entries().items()},
        parameters=_parameters(section),
        sizes=None if section.get("sizes") is None else section.texts("sizes"),
        effort=None if effort is None else effort.text(),
        objectives=objectives,
        cost=_cost(section),
        curves=_curves(section, objectives),
        budgets=_budgets(section),
        goals=_goals(section),
    )


def _any(section: Section, key: str) -> tuple[str, ...]:
    """Every key that stands there: their names are the table's."""
    node = section.get(key)
    return () if node is None else tuple(node.entries())


def _texts(node: Node) -> tuple[str, ...]:
    return tuple(item.text() for item in (node.items() if isinstance(node.content, tuple) else (node,)))


def _parameters(section: Section) -> tuple[Parameter, ...]:
    entries = section.need("parameters", f"write the columns that describe a candidate, such as {_EXAMPLE}").entries()
    if not entries:
        raise section.need("parameters", "").complaint("is empty; write the columns that describe a candidate")
    found = tuple(_parameter(name, node) for name, node in entries.items())
    for parameter in found:
        if isinstance(parameter.length, str) and not any(
            other.name == parameter.length and isinstance(other.domain, Int | Choice | Fixed) and not other.is_list
            for other in found
        ):
            raise entries[parameter.name].complaint(
                f"has the length {parameter.length!r}, which is no parameter with whole numbers; name one, or write the number"
            )
    return found


def _parameter(name: str, node: Node) -> Parameter:
    section = node.section((*_DOMAINS, "log", "list", "column", "count"))
    column, counted = section.get("column"), section.get("count")
    if section.get("list") is None:
        return Parameter(
            name=name,
            column=name if column is None else column.text(),
            domain=_domain(section),
            counted=None if counted is None else counted.text(),
        )
    if clash := next((key for key in (*_DOMAINS, "log", "count") if section.get(key) is not None), None):
        raise node.complaint(f"has a list and `{clash}` beside it; move `{clash}` into the list, or leave it out")
    inner = section.child("list", (*_DOMAINS, "log", "separator", "length"))
    separator, length = inner.need("separator", "write the text between two values, such as '-'"), inner.get("length")
    return Parameter(
        name=name,
        column=name if column is None else column.text(),
        domain=_domain(inner),
        separator=separator.text(),
        length=None if length is None else _length(length),
    )


def _length(node: Node) -> str | int:
    text = node.text()
    return node.whole(least=1, most=4096) if text.isdecimal() else text


def _domain(section: Section) -> Domain:
    given = [kind for kind in _DOMAINS if section.get(kind) is not None]
    if len(given) != 1:
        raise section.node.complaint(f"needs exactly one of {', '.join(_DOMAINS)}, list; write {_EXAMPLE}")
    node, log = section.need(given[0], ""), section.flag("log", False)
    items = node.items()
    if given[0] == "choice":
        options = tuple(option(item) for item in items)
        if not options or len({(type(value), value) for value in options}) < len(options):
            raise node.complaint("has no options, or one twice; write each option once")
        return Choice(options=options) if len(options) > 1 else Fixed(value=options[0])
    if len(items) != 2:
        raise node.complaint(f"has {len(items)} entries; write two, [low, high]")
    low, high = (item.number() if given[0] == "float" else item.whole(least=-(10**15)) for item in items)
    if low > high or (log and low <= 0):
        raise node.complaint("is no range; write the smaller number first, and one above 0 where it is logarithmic")
    if low == high:
        return Fixed(value=low)
    if given[0] == "float":
        return Float(low=float(low), high=float(high), log=log)
    return Int(low=int(low), high=int(high), log=log)


def option(node: Node) -> Value:
    """One option: true or false, a number, or a text."""
    text = node.text()
    if node.plain and text in ("true", "True", "false", "False"):
        return node.flag()
    try:
        number = node.number()
    except RecipeError:
        return text
    return int(number) if number.is_integer() and not any(mark in text for mark in ".eE") else number


def _objectives(section: Section) -> tuple[ScoredColumn, ...]:
    node = section.need("objectives", "write two to five columns, such as {val_loss: {direction: minimize, costly: true}}")
    curved = _curved(section)
    found = tuple(_objective(name, entry, curved) for name, entry in node.entries().items())
    if not 2 <= len(found) <= 5:
        raise node.complaint(f"has {len(found)} entries; write two to five")
    if not any(scored.objective.known == "trained" for scored in found):
        raise node.complaint("has none that training improves; write `costly: true` where a value needs training")
    return found


def _curved(section: Section) -> tuple[str, ...] | None:
    """The objectives that have curves; None where the table has none."""
    node = section.get("curves")
    if node is None:
        return None
    values = node.entries().get("values")
    return () if values is None else tuple(values.entries())


def _objective(name: str, node: Node, curved: tuple[str, ...] | None) -> ScoredColumn:
    section = node.section(("direction", "scale", "costly", "known", "column", "unit", "title"))
    direction = section.one_of("direction", "minimize", ("minimize", "maximize"))
    scale = section.one_of("scale", "linear", ("linear", "log"))
    costly = section.need("costly", "say whether it needs training: true or false").flag()
    known = section.one_of("known", "arithmetic", ("arithmetic", "measured"))
    if costly and section.get("known") is not None:
        raise node.complaint("is costly, and known before training; leave out one of them")
    judged: Literal["trained", "final"] = "trained" if curved is None or name in curved else "final"
    column, unit, title = section.get("column"), section.get("unit"), section.get("title")
    return ScoredColumn(
        objective=Objective(
            name=name,
            unit="" if unit is None else unit.text(),
            known=judged if costly else "arithmetic" if known == "arithmetic" else "measured",
            title=name if title is None else title.text(),
            log=scale == "log",
        ),
        column=name if column is None else column.text(),
        maximize=direction == "maximize",
        costly=costly,
    )


def _cost(section: Section) -> Cost | None:
    node = section.get("cost")
    if node is None:
        return None
    if isinstance(node.content, str):
        return Cost(column=node.text())
    inner = node.section(("column", "clip_quantile", "unit", "divide_by"))
    quantile, unit = inner.get("clip_quantile"), inner.get("unit")
    return Cost(
        column=inner.need("column", "name the column").text(),
        clip_quantile=None if quantile is None else quantile.number(above=0.0, most=1.0),
        unit="" if unit is None else unit.text(),
        divide_by=inner.number("divide_by", 1.0, above=0.0),
    )


def _curves(section: Section, objectives: tuple[ScoredColumn, ...]) -> Curves | None:
    node = section.get("curves")
    if node is None:
        return None
    inner = node.section(("file", "key", "step", "values", "cost", "unit", "divide_by", "rungs"))
    costly = tuple(scored.objective.name for scored in objectives if scored.costly)
    values = inner.need("values", "write objective: column, for each that the curves hold").section(costly)
    cost, unit = inner.get("cost"), inner.get("unit")
    if cost is not None and section.get("cost") is not None:
        raise cost.complaint("is given here and at `cost`; keep one of them")
    rungs = inner.get("rungs")
    steps = () if rungs is None else tuple(item.whole(least=1) for item in rungs.items())
    if rungs is not None and (not steps or list(steps) != sorted(set(steps))):
        raise rungs.complaint("is not a list of rising steps; write such as [1, 3, 10, 50]")
    file = inner.need("file", "name the CSV file with the curves")
    return Curves(
        file=file.text(),
        node=file,
        key=_texts(inner.need("key", "name the column, or columns, that both files have")),
        step=inner.need("step", "name the column that counts training").text(),
        values={name: entry.text() for name, entry in values.node.entries().items()},
        cost=None if cost is None else cost.text(),
        unit="" if unit is None else unit.text(),
        divide_by=inner.number("divide_by", 1.0, above=0.0),
        rungs=steps,
    )


def _budgets(section: Section) -> tuple[int, ...]:
    node = section.get("budgets")
    if node is None:
        return ()
    budgets = tuple(item.whole(least=1) for item in node.items())
    if not budgets or list(budgets) != sorted(set(budgets)):
        raise node.complaint("is not a list of rising numbers of full trainings; write such as [16, 32, 64]")
    return budgets


def _goals(section: Section) -> tuple[Goal, ...]:
    node = section.get("goals")
    return () if node is None else tuple(_goal(item) for item in node.items())


def _goal(node: Node) -> Goal:
    section = node.section(("name", "regime", "share", "against", "least", "most"))
    against, least, most = section.get("against"), section.get("least"), section.get("most")
    if (against is None) != (least is None) or (least is None) == (most is None):
        raise node.complaint("needs `most:` (a budget), or `against:` (a sampler) with `least:` (how many times its budget)")
    regime = section.one_of("regime", "trainings", ("trainings", "compute"))
    return Goal(
        name=section.need("name", "write how the goal is called").text(),
        regime="trainings" if regime == "trainings" else "compute",
        share=section.number("share", 0.95, above=0.0, most=1.0),
        against=None if against is None else against.text(),
        least=None if least is None else least.number(above=0.0),
        most=None if most is None else most.number(above=0.0),
    )
