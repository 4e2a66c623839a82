"""Tables that people write beside their recordings: CSV or parquet."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

ENDINGS = (".csv", ".parquet")


def read_table(path: Path, *, what: str, texts: Collection[str]) -> pa.Table:
    """All of a table of ``what``; ``texts``: the columns that hold text in a CSV file, whatever it looks like. Empty cells are null.
    ValueError where there is no such file, or it is no such table."""
    if path.suffix not in ENDINGS or not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        found = found if path.suffix in ENDINGS else f"a file that ends in {path.suffix or 'nothing'!r}"
        raise ValueError(f"{path}: found {found}, expected a table of {what}: {' or '.join(ENDINGS)}")
    try:
        if path.suffix == ".parquet":
            return pq.ParquetFile(path).read()
        options = pa_csv.ConvertOptions(column_types=dict.fromkeys(texts, pa.string()), strings_can_be_null=True)
        return pa_csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path}: could not be read as a {path.suffix[1:]} table: {error}: write it again (CSV in UTF-8, with commas)"
        ) from error
