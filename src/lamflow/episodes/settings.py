"""Settings of where recorded episodes come from. A source is two files of this room: ``<name>.py`` and ``<name>_settings.py``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import TypeAdapter

from lamflow.components import Chosen, Component, Registry

RERUNS_NOTHING = "A source's settings are among the params of the job that imports its episodes."


class SourceSettings(Component):
    """Base of them. It builds an ``lamflow.episodes.interface.Source``, with ``fit``, an ``lamflow.episodes.fit.FrameFit``."""

    @property
    def files(self) -> tuple[str, ...]:
        """The files and folders that it reads, from the folder in which the run is started."""
        raise NotImplementedError

    @classmethod
    def recognised(cls, path: Path) -> Self | None:
        """The settings that read what lies at ``path``, where this source knows its layout; None where it does not. Opens no more than a
        file or two."""
        return None


SOURCES: Registry[SourceSettings] = Registry("lamflow.episodes", SourceSettings)
AnySource = Annotated[SourceSettings, Chosen(SOURCES)]


def source_settings(settings: Mapping[str, Any]) -> SourceSettings:
    """The settings group of a source's dumped settings, by their kind; pydantic's ValidationError when they are none."""
    found: SourceSettings = TypeAdapter(AnySource).validate_python(dict(settings))
    return found
