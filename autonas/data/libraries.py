"""The Python source that every machine has: the interpreter's own library, and the distributions installed beside it.

What is left out (tests, tables written by programs, copies of other distributions) is returned too, with the reason, so that
the report can count it.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import itertools
import os
import re
import sysconfig
from collections.abc import Collection, Iterator
from pathlib import Path

import autonas
from autonas.data.files import FoundFile, found_file, printable
from autonas.errors import CorpusError

_NOT_LIBRARY = ("site-packages", "dist-packages", "__pycache__", "lib-dynload", "config-*")
_NOT_SOURCE = ("__pycache__", "*.dist-info", "*.egg-info", "*.data", ".*")
_TEST_FOLDERS = frozenset({"test", "tests", "idle_test"})
_TEST_FILES = ("test_*.py", "*_test.py", "conftest.py")
# Copies of other distributions, which would be learnt twice and lie on both sides of the split.
_VENDOR_FOLDERS = frozenset({"_vendor", "_vendored", "vendor", "vendored", "third_party", "thirdparty", "thirdparty_files"})
# Tables written by programs. All of encodings/ goes: its few written modules are not worth a list of the 115 that are not.
_GENERATED = ("encodings/*", "pydoc_data/*", "_sysconfigdata*", "html/entities.py")
_GENERATED_FILES = ("*_pb2.py", "*_pb2_grpc.py", "_version.py", "__config__.py")
_LONGEST_LICENCE = 80  # characters: some distributions put the whole text where the name belongs


def find_stdlib() -> list[FoundFile]:
    """The library of the running interpreter; a project is a top-level module or package.

    Raises:
        CorpusError: it has no source here.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for path in _python_files(root, _NOT_LIBRARY):
        relative = path.relative_to(root)
        found.append(
            found_file(
                path,
                name=printable(f"python-stdlib/{relative.as_posix()}"),
                project=printable(relative.parts[0].removesuffix(".py")),
                dropped=_left_out_of_library(relative),
                licence="PSF-2.0",
            )
        )
    if not found:
        raise CorpusError(f"python-stdlib: no source files in {root}; install Python's library as source, or give `paths:`")
    return found


def find_site_packages() -> list[FoundFile]:
    """What is installed in the running environment but autonas; a project is a distribution.

    Files that no distribution claims belong to the project of their topmost folder.

    Raises:
        CorpusError: nothing is installed.
    """
    schemes = sysconfig.get_paths()
    roots = list(dict.fromkeys(os.path.realpath(schemes[key]) for key in ("purelib", "platlib")))
    owners = _owners(roots)
    own_package = os.path.realpath(Path(autonas.__file__).parent)
    found = []
    for root in map(Path, roots):
        for path in _python_files(root, _NOT_SOURCE):
            relative = path.relative_to(root)
            owner = owners.get(str(path))
            if os.path.realpath(path).startswith(own_package + os.sep) or (owner is not None and owner[0] == "autonas"):
                continue  # a corpus that changed with every version of this program would be of no use to compare by
            project, licence = owner or (relative.parts[0].removesuffix(".py"), "")
            found.append(
                found_file(
                    path,
                    name=printable(f"site-packages/{relative.as_posix()}"),
                    project=printable(f"site-packages/{project}"),
                    dropped=_left_out_of_packages(relative),
                    licence=printable(licence),
                )
            )
    if not found:
        raise CorpusError(f"site-packages: no source files in {', '.join(roots)}; install packages there, or give `paths:`")
    return found


def _python_files(root: Path, without: Collection[str]) -> Iterator[Path]:
    """Every .py file under `root`, in the order of its path, entering no folder that matches one of `without`."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not any(fnmatch.fnmatch(name, pattern) for pattern in without))
        for name in sorted(files):
            path = Path(folder, name)
            if name.endswith(".py") and path.is_file():
                yield path


def _owners(roots: list[str]) -> dict[str, tuple[str, str]]:
    """(distribution, licence) of every source file installed in `roots`. Of several claimants the first by name owns it."""
    owners: dict[str, tuple[str, str]] = {}
    named = [(_canonical(distribution), distribution) for distribution in importlib.metadata.distributions(path=roots)]
    for name, distribution in sorted((pair for pair in named if pair[0]), key=lambda pair: pair[0]):
        owner = (name, _licence(distribution.metadata))
        base = os.path.realpath(str(distribution.locate_file("")))
        for file in distribution.files or ():
            if file.name.endswith(".py"):
                owners.setdefault(os.path.normpath(os.path.join(base, file)), owner)  # noqa: PTH118 — five times as fast
    return owners


def _canonical(distribution: importlib.metadata.Distribution) -> str:
    """Its name as an index compares names; empty where the metadata is damaged."""
    return re.sub(r"[-_.]+", "-", _field(distribution.metadata, "Name")).lower()


def _licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """The licence that a distribution gives itself: an SPDX expression, else a short name, else its classifiers."""
    if expression := _field(metadata, "License-Expression"):
        return expression
    text = _field(metadata, "License")
    if text and text != "UNKNOWN" and "\n" not in text and len(text) <= _LONGEST_LICENCE:
        return text
    classifiers = metadata.get_all("Classifier") or []
    names = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License :: OSI Approved :: ")]
    return " OR ".join(sorted(names))


def _field(metadata: importlib.metadata.PackageMetadata, name: str) -> str:
    return (metadata[name] or "").strip() if name in metadata else ""


def _left_out_of_library(relative: Path) -> str:
    if not _TEST_FOLDERS.isdisjoint(relative.parts[:-1]):
        return "test suite"
    if any(fnmatch.fnmatch(relative.as_posix(), pattern) for pattern in _GENERATED):
        return "generated"
    return ""


def _left_out_of_packages(relative: Path) -> str:
    folders, name = relative.parts[:-1], relative.name
    if not _VENDOR_FOLDERS.isdisjoint(folders):
        return "vendored"
    if not _TEST_FOLDERS.isdisjoint(folders) or any(fnmatch.fnmatch(name, pattern) for pattern in _TEST_FILES):
        return "test suite"
    # torch and others keep what only their tests use outside test folders.
    if any(pair == ("testing", "_internal") for pair in itertools.pairwise(folders)):
        return "test suite"
    if any(fnmatch.fnmatch(name, pattern) for pattern in _GENERATED_FILES):
        return "generated"
    return ""
