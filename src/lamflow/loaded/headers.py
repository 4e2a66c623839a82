"""What a model's file says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lamflow.training.checkpoint import read_model


def header_of(path: Path, *, kind: str, wanted: str, says: str, said: str) -> dict[str, Any]:
    """The header of a model's file.

    ValueError where it is missing, damaged or of another ``kind``, which is told as ``wanted``, or where it lacks the key ``says``, which
    is told as ``said``: files of earlier versions do.
    """
    header = read_model(path)[1]
    if header.get("kind") != kind:
        raise ValueError(f"{path}: found a file of kind {header.get('kind')!r}, expected {wanted}")
    if says not in header:
        raise ValueError(f"{path}: does not say its {said}: an earlier version wrote it; run its rule again")
    return header
