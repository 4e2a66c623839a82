"""CSV files as tables of checked cells, for what reads results to compute with them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

LARGEST_NUMBER = 1e100
"""In size; sums and squares of such numbers are finite."""
_INT64 = np.iinfo(np.int64)
_INTEGER = re.compile(r"\s*([+-]?\d{1,19})(\.0*)?\s*", re.ASCII)


def read_table(
    path: Path, columns: Sequence[str], *, least: int = 1, older: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """A CSV file as text with exactly ``columns``, ``least`` rows or more and no empty line between rows; row i stands in line i + 2.

    ``older``: columns that tables of older versions lack, and what stands in them there. ValueError names the file and,
    where there is one, the line.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected a table with the columns {', '.join(columns)}")
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no readable CSV file ({error}); expected the columns {', '.join(columns)}") from None
    while rows and not rows[-1]:
        rows.pop()
    found = rows[0] if rows else []
    lacking = {column: cell for column, cell in (older or {}).items() if found and column not in found}
    missing = [column for column in columns if column not in found and column not in lacking]
    unknown = [column for place, column in enumerate(found) if column not in columns or column in found[:place]]
    if missing or unknown:
        raise ValueError(
            f"{path}: missing column(s): {', '.join(missing) or 'none'}; unknown column(s): {', '.join(unknown) or 'none'}; "
            f"expected {', '.join(columns)}"
        )
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(found):
            raise ValueError(f"{path}: line {line}: found {len(row)} cells, expected {len(found)}")
        if any(len(cell.splitlines()) > 1 for cell in row):
            raise ValueError(f"{path}: line {line}: found a cell with a line break, expected none")
    if len(rows) - 1 < least:
        raise ValueError(f"{path}: no rows; delete it so that it is made again")
    return pd.DataFrame(rows[1:], columns=found, dtype=str).assign(**lacking)[list(columns)]


def to_numbers(
    table: pd.DataFrame, columns: Sequence[str], dtype: type, path: Path, *, least: float = -math.inf
) -> None:
    """Turn text columns into numbers of ``dtype`` in place, none below ``least``: integers that int64 holds, or finite numbers of at
    most ``LARGEST_NUMBER`` in size. ValueError names file, line, column and value."""
    for column in columns:
        if dtype is int:
            numbers, kind = table[column].map(_integer), "an integer"
        else:
            numbers, kind = parsed(table[column]), f"a finite number of at most {LARGEST_NUMBER:g} in size"
            numbers = numbers.where(numbers.abs() <= LARGEST_NUMBER)
        bad = numbers.isna() | (numbers.fillna(least) < least)
        if bad.any():
            raise bad_cell(path, table, column, bad, kind if least == -math.inf else f"{kind} of at least {least:g}")
        table[column] = numbers.astype(np.int64 if dtype is int else float)


def _integer(cell: str) -> int | None:
    """The number of a cell like 12, -3 or 4.0, None where int64 does not hold it or it is none."""
    found = _INTEGER.fullmatch(cell)
    number = int(found[1]) if found else None
    return number if number is not None and _INT64.min <= number <= _INT64.max else None


def parsed(cells: pd.Series) -> pd.Series:
    """Text as float64, NaN where it is no number."""
    return pd.to_numeric(cells, errors="coerce").astype(float)


def bad_cell(path: Path, table: pd.DataFrame, column: str, bad: pd.Series, expected: str) -> ValueError:
    """What to raise for the first of the ``bad`` rows of a column."""
    row = int(np.flatnonzero(bad)[0])
    found = str(table[column].iloc[row])
    shown = found if len(found) <= 60 else f"{found[:60]}..."
    return ValueError(f"{path}: line {row + 2}, column {column}: found {shown!r}, expected {expected}")
