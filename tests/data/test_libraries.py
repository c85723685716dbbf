"""The standard library's own tests are in test_sources.py; here stand what is installed beside it, in a folder made for it."""

from __future__ import annotations

import random
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import autonas
from autonas.data.corpus import collect
from autonas.data.libraries import find_site_packages
from autonas.data.records import CorpusSettings
from autonas.errors import CorpusError
from tests.data.conftest import source_text

LICENCES = {
    "Alpha_Lib": "License-Expression: MIT OR Apache-2.0\nLicense: ignored\n",
    "beta.lib": "License: BSD\n",
    "gamma": "License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n",
    "delta": "License: The whole text of it,\n        over several lines\n",
}
EXPECTED = {"alpha-lib": "MIT OR Apache-2.0", "beta-lib": "BSD", "gamma": "MIT License", "delta": ""}


def write(path: Path, text: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source_text(random.Random(path.name).randrange(10**6)) if text is None else text, encoding="utf-8")


def install(root: Path, name: str, files: list[str], metadata: str = "") -> None:
    """What an installer leaves of a distribution."""
    for file in files:
        if not (root / file).exists():
            write(root / file)
    info = root / f"{name.replace('-', '_')}-1.0.dist-info"
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}")
    write(info / "RECORD", "".join(f"{file},,\n" for file in files))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "site-packages"
    for name, licence in LICENCES.items():
        package = name.lower().replace(".", "_")
        install(root, name, [f"{package}/a.py", f"{package}/sub/b.py", f"{package}/data.json"], licence)
    write(root / "lone.py")
    write(root / "unowned" / "deep" / "c.py")
    real = sysconfig.get_paths

    def paths(*arguments: Any) -> dict[str, str]:
        return {**real(*arguments), "purelib": str(root), "platlib": str(root)}

    monkeypatch.setattr(sysconfig, "get_paths", paths)
    return root


def by_name() -> dict[str, Any]:
    return {file.name.removeprefix("site-packages/"): file for file in find_site_packages()}


@pytest.mark.parametrize(("project", "licence"), EXPECTED.items())
def test_a_project_is_a_distribution_with_its_licence(site: Path, project: str, licence: str) -> None:
    files = [file for file in find_site_packages() if file.project == f"site-packages/{project}"]
    assert len(files) == 2
    assert {file.licence for file in files} == {licence}
    assert not any(file.dropped for file in files)


def test_files_that_nobody_claims_belong_to_their_top_folder(site: Path) -> None:
    files = by_name()
    assert files["unowned/deep/c.py"].project == "site-packages/unowned"
    assert files["lone.py"].project == "site-packages/lone"


def test_only_python_source_is_found(site: Path) -> None:
    write(site / "alpha_lib" / "__pycache__" / "a.py")
    write(site / ".hidden" / "a.py")
    assert all(name.endswith(".py") and "__pycache__" not in name and not name.startswith(".") for name in by_name())
    assert len(by_name()) == 2 * len(LICENCES) + 2


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("gamma/tests/a.py", "test suite"),
        ("gamma/sub/test/helpers.py", "test suite"),
        ("gamma/test_a.py", "test suite"),
        ("gamma/conftest.py", "test suite"),
        ("gamma/testing/_internal/a.py", "test suite"),
        ("gamma/_vendor/other/a.py", "vendored"),
        ("gamma/thirdparty/a.py", "vendored"),
        ("gamma/a_pb2.py", "generated"),
        ("gamma/_version.py", "generated"),
        ("gamma/testing/a.py", ""),
        ("gamma/latest.py", ""),
        ("gamma/version.py", ""),
    ],
)
def test_what_is_left_out_is_counted_with_its_reason(site: Path, file: str, reason: str) -> None:
    write(site / file)
    assert by_name()[file].dropped == reason


def test_this_program_is_never_in_its_own_corpus(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "autonas", ["autonas/a.py", "helper_of_autonas.py"])
    write(site / "another" / "__init__.py")
    monkeypatch.setattr(autonas, "__file__", str(site / "another" / "__init__.py"))
    assert not [name for name in by_name() if "autonas" in name or "another" in name]


def test_the_order_is_of_the_paths_and_of_nothing_else(site: Path, tmp_path: Path) -> None:
    before = find_site_packages()
    assert [file.name for file in before] == [file.name for file in find_site_packages()]
    # Written in another order: what a folder lists first differs then on most file systems.
    copies = {path.relative_to(site): path.read_bytes() for path in sorted(site.rglob("*"), reverse=True) if path.is_file()}
    shutil.rmtree(site)
    for path, content in copies.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
    assert [(file.name, file.project, file.licence) for file in find_site_packages()] == [
        (file.name, file.project, file.licence) for file in before
    ]


def test_another_package_is_another_corpus(site: Path) -> None:
    settings = CorpusSettings(sources=("site-packages",), validation_share=0.2, test_share=0.2)
    before, _ = collect(settings)
    again, _ = collect(settings)
    install(site, "epsilon", ["epsilon/new.py"], "License: MIT\n")
    after, report = collect(settings)
    assert before == again
    assert {document.name for document in after} - {document.name for document in before} == {"site-packages/epsilon/new.py"}
    assert report.licences["MIT"] == 1
    assert report.split_by == "project"


def test_an_environment_without_packages_is_one_message(site: Path) -> None:
    shutil.rmtree(site)
    with pytest.raises(CorpusError, match="site-packages: no source files"):
        find_site_packages()


def test_damaged_metadata_costs_a_name_and_nothing_else(site: Path) -> None:
    write(site / "beta_lib-1.0.dist-info" / "METADATA", "")
    shutil.rmtree(site / "beta.lib-1.0.dist-info")
    assert by_name()["beta_lib/a.py"].project == "site-packages/beta_lib"


def test_the_packages_of_this_environment_are_found() -> None:
    files = find_site_packages()
    projects = {file.project for file in files}
    assert {"site-packages/numpy", "site-packages/pytest"} <= projects
    assert not [file.name for file in files if file.name.startswith("site-packages/autonas/")]
