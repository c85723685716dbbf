"""The documentation says what is there: its YAML loads, its keys and defaults are the readers', its commands and links exist.

What a text means is not checked, nor are the numbers of decisions.md and performance.md.
"""

from __future__ import annotations

import argparse
import ast
import functools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

import autonas
from autonas.arch import DIMENSIONS
from autonas.curriculum import Curriculum, Judge, Stage, Teacher
from autonas.data.records import CorpusSettings, HubSettings, TokenizerSettings
from autonas.data.tokenizer import Tokenizer
from autonas.errors import FAILURE_KINDS, RequestError
from autonas.evaluation.detectors import SUITE, SUITE_VERSION
from autonas.objective import OBJECTIVES
from autonas.parser import make_parser
from autonas.policy.settings import CalibrationSettings
from autonas.recipe import HorizonSettings, PromoteSettings, Recipe, load_recipe
from autonas.recipe.fields import fields_of
from autonas.recipe.recipe import SECTIONS
from autonas.recipe.search_sections import describe_budget
from autonas.recipe.worker_sections import describe_training
from autonas.space.limits import LIMITED
from autonas.space.reading import read_yaml
from autonas.space.spec_file import read_spec
from autonas.trial import EvaluationSettings, LatencySettings, TrainingSettings

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
_NAMES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(f"{name}/README.md" for name in ("docker", "reports", "search_spaces", "trials")),
)
PAGES = [*DOCS, *(ROOT / name for name in _NAMES)]
SPACES = sorted((ROOT / "search_spaces").glob("*.yaml"))
REFERENCE = (ROOT / "docs" / "space-file.md").read_text(encoding="utf-8")

# What a section that stands alone is completed with. Its rungs are long, so that no default is cut short by them.
REST = {
    "space": "space: {layers: {int: [1, 4]}, width: {choice: [64, 128]}, heads: {choice: [2, 4]}}",
    "budget": "budget: {trials: 4, rungs: [4M, 12M]}",
}
NAMED_FILE = re.compile(r"\b(?:file|table|prompts_file):\s*([\w./-]+)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: Path
    language: str
    text: str

    @property
    def name(self) -> str:
        first = next(iter(self.text.splitlines()), "")
        return f"{self.page.relative_to(ROOT)}: {first[:40]}"


def blocks(*languages: str) -> list[Block]:
    found = [Block(page, *match.groups()) for page in PAGES for match in FENCE.finditer(page.read_text(encoding="utf-8"))]
    return [block for block in found if block.language in languages]


def completed(text: str) -> str:
    """The sections of `text` with the space and the budget that a whole file needs."""
    given = re.findall(r"^(\w+):", text, re.MULTILINE)
    return "\n".join([text.rstrip(), *(line for key, line in REST.items() if key not in given)]) + "\n"


def load(text: str, folder: Path) -> Recipe:
    path = folder / "block.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(str(path))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# YAML


@pytest.mark.parametrize("block", blocks("yaml", "yml"), ids=lambda block: block.name)
def test_every_yaml_block_is_a_space_file_a_section_or_an_architecture(block: Block, folder: Path) -> None:
    for name in NAMED_FILE.findall(block.text):
        Tokenizer.train(["def f(): pass\n"] * 4, 257).save(folder / name)
    path = folder / "alone.yaml"
    path.write_text(block.text, encoding="utf-8")
    if set(read_yaml(path).entries()) <= set(SECTIONS):
        load(completed(block.text), folder)
    else:
        read_spec(path, {})


def test_the_smallest_file_of_the_reference_is_whole(folder: Path) -> None:
    first = next(block for block in blocks("yaml") if block.page.name == "space-file.md")
    assert completed(first.text) == first.text
    load(first.text, folder)


def refused() -> list[str]:
    _, _, rest = REFERENCE.partition("## What is refused")
    return re.findall(r"^\| `(.+?)` \|", rest, re.MULTILINE)


@pytest.mark.parametrize("text", refused())
def test_what_the_reference_says_is_refused_is_refused(text: str, folder: Path) -> None:
    with pytest.raises(RequestError):
        load(completed(text), folder)


def test_the_reference_refuses_something() -> None:
    assert len(refused()) > 20


# Keys and defaults


class Row(NamedTuple):
    section: str
    key: str
    default: str


def rows() -> Iterator[Row]:
    """The key tables of the reference: section, key, and the first literal of the third column."""
    for part in re.split(r"^## ", REFERENCE, flags=re.MULTILINE)[1:]:
        section = part.splitlines()[0].strip()
        for key, cell in re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|", part, re.MULTILINE):
            literal = re.match(r"\s*`([^`]+)`", cell)
            yield Row(section, key, literal.group(1) if literal else "")


@functools.cache
def accepted() -> dict[str, set[str]]:
    """Every key that a reader takes, by section."""
    search = load_recipe(str(SPACES[0])).search
    keys = {
        "Top level": set(SECTIONS),
        "corpus": set(fields_of(CorpusSettings)),
        "corpus.hub": set(fields_of(HubSettings)),
        "tokenizer": set(fields_of(TokenizerSettings)),
        "space": set(DIMENSIONS),
        "limits": set(LIMITED),
        "objectives": set(OBJECTIVES),
        "latency": set(fields_of(LatencySettings)),
        "budget": set(describe_budget(search, 1)),
        "training": set(describe_training(TrainingSettings())),
        "evaluation": set(fields_of(EvaluationSettings)),
        "calibration": set(fields_of(CalibrationSettings)),
        "horizon": set(fields_of(HorizonSettings)),
        "promote": set(fields_of(PromoteSettings)),
        "curriculum": set(fields_of(Curriculum)),
        "curriculum.stages": set(fields_of(Stage)),
        "curriculum.judge": set(fields_of(Judge)),
        "teacher": set(fields_of(Teacher)),
    }
    for space in SPACES:
        for section, values in load_recipe(str(space)).resolved.items():
            keys["Top level"].add(section)
            if isinstance(values, dict):
                keys[section] |= set(values)
    return keys


@pytest.mark.parametrize(("section", "keys"), accepted().items())
def test_the_reference_has_a_row_for_every_key_and_no_other(section: str, keys: set[str]) -> None:
    listed = [row.key for row in rows() if row.section == section]
    assert sorted(listed) == sorted(keys)


def defaults() -> list[Row]:
    return [row for row in rows() if row.default and row.section in {*accepted()} - {"limits", "objectives"}]


@pytest.mark.parametrize("row", defaults(), ids=lambda row: f"{row.section}.{row.key}")
def test_writing_a_stated_default_changes_nothing(row: Row, folder: Path) -> None:
    rest = {name: yaml.safe_load(line)[name] for name, line in REST.items()}
    values: dict[str, Any] = {**rest, "name": "block"}
    if row.section == "Top level":
        values[row.key] = yaml.safe_load(row.default)
    else:
        values[row.section] = {**values.get(row.section, {}), row.key: yaml.safe_load(row.default)}
    bare: dict[str, Any] = {**rest, "name": "block"}
    if row.section == "corpus.hub":
        hub = values.pop("corpus.hub")
        values["corpus"], bare["corpus"] = {"hub": {"dataset": "a/b", **hub}}, {"hub": {"dataset": "a/b"}}
    if row.section.startswith("curriculum."):
        values.pop(row.section)
        own = {row.key: yaml.safe_load(row.default)}
        values["curriculum"] = {"stages": [own]} if row.section.endswith("stages") else {"stages": [{}], "judge": own}
        bare["curriculum"] = {"stages": [{}]}
    if row.section == "teacher":
        values["teacher"]["model"] = "big"
        bare["teacher"] = {"model": "big"}
    if row.section == "promote":  # absent means none, so that its keys have defaults only beside another
        bare["promote"] = True
    # 1e-3 is a text to PyYAML's loader, and written in quotes again.
    text = re.sub(r"'([0-9.]+e-?[0-9]+)'", r"\1", yaml.safe_dump(values))
    assert load(text, folder).resolved == load(yaml.safe_dump(bare), folder).resolved


def test_every_failure_kind_is_in_the_ledgers_page() -> None:
    text = (ROOT / "docs" / "ledger.md").read_text(encoding="utf-8")
    assert [kind for kind in FAILURE_KINDS if f"`{kind}`" not in text] == []


# Commands, Python, links


def spoken_commands() -> Iterator[tuple[str, str]]:
    """(page, command) of every `autonas …` in a code block or a code span."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        code = [line for match in FENCE.finditer(text) if match.group(1) != "python" for line in match.group(2).splitlines()]
        code += re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
        for line in code:
            for part in re.split(r"&&|\|", line.split(" #")[0]):
                command = re.match(r"\s*(?:\$ )?(?:\w+=\S* )*autonas (?P<rest>.+)", part)
                if command:
                    yield str(page.relative_to(ROOT)), command["rest"].strip()


def subparsers() -> dict[str, argparse.ArgumentParser]:
    actions = [action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(actions[0].choices)


@pytest.mark.parametrize(("page", "command"), sorted(set(spoken_commands())))
def test_every_command_spoken_of_exists_with_its_flags(page: str, command: str) -> None:
    words = shlex.split(command.replace("…", " "))
    flags = {word.split("=")[0].strip("[]") for word in words if word.strip("[").startswith("--")}
    if words[0].startswith("-"):
        known = set(make_parser()._option_string_actions)
    else:
        assert words[0] in subparsers(), f"{page}: autonas {words[0]}"
        known = set(subparsers()[words[0]]._option_string_actions)
    assert flags <= known, f"{page}: autonas {command}"


def test_the_tutorial_speaks_of_every_command() -> None:
    spoken = {command.split()[0] for page, command in spoken_commands() if page == "docs/tutorial.md"}
    assert set(subparsers()) <= spoken


def test_every_flag_in_a_code_span_belongs_to_some_command() -> None:
    known = {option for parser in subparsers().values() for option in parser._option_string_actions} | {"--in-place"}
    for page in PAGES:
        spans = re.findall(r"`(--[\w-]+)", FENCE.sub("", page.read_text(encoding="utf-8")))
        assert set(spans) <= known, page


def test_every_make_target_spoken_of_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        spoken = re.findall(r"(?:^|`)make (?:PYTHON=\S+ )?([a-z][\w-]*)", text, re.MULTILINE)
        assert set(spoken) <= targets, page


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.name)
def test_python_blocks_parse_and_use_what_the_package_offers(block: Block) -> None:
    used = {
        node.attr
        for node in ast.walk(ast.parse(block.text))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "autonas"
    }
    assert used <= {*autonas.__all__, "__version__"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for link in links:
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (page.parent / path) if path else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_folder_of_somebodys_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.:/~])/(?:home|root|work|tmp|Users|mnt)/", text)


def test_the_detectors_are_told_as_they_are() -> None:
    text = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    for detector in SUITE:
        assert f"| `{detector.name}` | {detector.definition} | {detector.threshold} |" in text
    assert f"(`{SUITE_VERSION}`)" in text
