"""Where space files lie: at a path, in ./search_spaces, or among those that came with autonas."""

from __future__ import annotations

from pathlib import Path

import autonas
from autonas.errors import RecipeError
from autonas.recipe.fields import is_file, is_folder
from autonas.space.node import closest

SPACE_FOLDER = "search_spaces"


def find_space(path_or_name: str) -> Path:
    """The space file meant: a path, or a bare name looked up in ./search_spaces and then among those that came with autonas.

    Raises:
        RecipeError: there is none; the message names those there are.
    """
    path = Path(path_or_name)
    if len(path.parts) != 1 or is_file(path):
        return path
    folders = [Path(SPACE_FOLDER), *_shipped_folders()]
    for folder in folders:
        for file_name in (path_or_name, f"{path_or_name}.yaml"):
            if is_file(folder / file_name):
                return folder / file_name
    if is_folder(path):
        return path  # for the complaint of whoever reads it
    known = sorted({file.name for folder in folders if is_folder(folder) for file in folder.glob("*.yaml")})
    raise RecipeError(f"{path_or_name[:100]!r}: there is no such space file{closest(path_or_name, known)}")


def _shipped_folders() -> tuple[Path, ...]:
    """In an installed package they lie within it; in a checkout beside it."""
    package = Path(autonas.__file__).resolve().parent
    return package / SPACE_FOLDER, package.parent / SPACE_FOLDER
