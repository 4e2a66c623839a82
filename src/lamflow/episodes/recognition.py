"""Which source reads what lies at a path."""

from __future__ import annotations

from pathlib import Path

from lamflow.episodes.settings import SOURCES, SourceSettings

LAST = ("images", "npz")
"""Kinds that any folder of such files is of; others know their layouts better."""


def recognise(path: Path) -> list[SourceSettings]:
    """The settings of all sources that know the layout of what lies at ``path``, the one that knows it best first. FileNotFoundError where
    nothing lies there."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: found nothing, expected a file or folder of recorded episodes")
    choices = SOURCES.choices()
    ordered = sorted(choices, key=lambda kind: LAST.index(kind) + 1 if kind in LAST else 0)
    found = [choices[kind].recognised(path) for kind in ordered]
    return [settings for settings in found if settings is not None]
