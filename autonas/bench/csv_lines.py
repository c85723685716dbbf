"""The lines of a CSV file, read strictly, and complaints that say where: file, line, column, value, remedy."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autonas.errors import RequestError
from autonas.space.node import closest


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """The lines of a CSV file that are kept, with their numbers."""

    path: Path
    columns: tuple[str, ...]
    numbers: tuple[int, ...]
    cells: tuple[Mapping[str, str], ...]

    def need(self, column: str, what: str) -> str:
        """The column. Raises RequestError when there is none."""
        if column not in self.columns:
            raise RequestError(f"{self.path}: has no column {column!r}, the {what} of the spec{closest(column, self.columns)}")
        return column

    def complaint(self, index: int, column: str, message: str) -> RequestError:
        shown = self.cells[index][column]
        shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
        return RequestError(f"{self.path}:{self.numbers[index]}: {column}: is {shown!r}, which {message}")

    def number(self, index: int, column: str) -> float:
        """Raises RequestError when it is none; `nan` and nothing at all are NaN."""
        text = self.cells[index][column].strip()
        try:
            return float(text) if text else float("nan")
        except ValueError as error:
            raise self.complaint(index, column, "is no number; mend the line, or leave the column out of the spec") from error


def read_lines(path: Path) -> Lines:
    """The lines of a CSV file, strictly: a header of distinct names, and as many cells in each line.

    Raises:
        RequestError: it cannot be read or is wrong.
    """
    numbers: list[int] = []
    cells: list[Mapping[str, str]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = tuple(next(reader, ()))
            if not header or len(set(header)) < len(header):
                raise RequestError(f"{path}:1: is no header of distinct column names; write one")
            for line in reader:
                if len(line) != len(header):
                    message = f"has {len(line)} cells, and the header {len(header)}; mend the line"
                    raise RequestError(f"{path}:{reader.line_num}: {message}")
                numbers.append(reader.line_num)
                cells.append(dict(zip(header, line, strict=True)))
    except FileNotFoundError as error:
        raise RequestError(f"{path}: there is no such file; name a CSV file with one line for each finished trial") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{path}: cannot be read as CSV in UTF-8 ({error}); name a readable file") from error
    return Lines(path=path, columns=header, numbers=tuple(numbers), cells=tuple(cells))
