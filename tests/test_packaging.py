"""What is installed is what is in the tree, and importing it is light."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_every_package_is_listed_to_be_shipped() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "autonas").rglob("__init__.py")}
    assert listed == found | {"autonas.search_spaces"}


def test_every_constraint_is_exact_and_every_dependency_is_constrained() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all("==" in line for line in lines)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    wanted = config["options"]["install_requires"].split("\n") + config["options.extras_require"]["test"].split("\n")
    names = {line.split()[0].split("[")[0].lower().replace("_", "-") for line in wanted if line.strip()}
    assert names <= pinned


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import autonas", ("torch", "optuna", "numpy")),
        ("import autonas; autonas.search", ("torch",)),
        ("from autonas.cli import main; main([])", ("torch", "optuna", "numpy")),
        ("import autonas.study, autonas.plan, autonas.terminal, autonas.pages.study_page", ("torch", "scipy")),
        ("import autonas.worker, autonas.full_run, autonas.engine.inline", ("optuna", "ray", "sqlalchemy")),
    ],
)
def test_what_is_not_needed_is_not_imported(code: str, absent: tuple[str, ...]) -> None:
    script = f"{code}\nimport sys\nprint(*[name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.slow
def test_the_wheel_has_the_space_files_and_runs_outside_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("search_spaces/quickstart.yaml", "search_spaces/code_lm.yaml", "py.typed", "pages/study.html"):
        assert f"autonas/{name}" in names
    assert not any(name.startswith("tests/") for name in names)
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    script = (
        "import sys; sys.path.insert(0, 'installed'); import autonas; from autonas.recipe import load_recipe; "
        "assert 'installed' in autonas.__file__, autonas.__file__; print(load_recipe('quickstart').name)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "quickstart\n"
