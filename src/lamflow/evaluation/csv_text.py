"""Tables as the text of CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A line of names and a line per row; what is no text is written as ``str`` does."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def rounded_csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Of each row the ``columns``; numbers with six significant digits."""
    cells = ([row[name] for name in columns] for row in rows)
    return csv_text(columns, ([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in cells))
