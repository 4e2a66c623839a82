"""What recordings are, for a person who wants to use them, and the configuration to paste."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lamflow.components import kind_of
from lamflow.episodes.fit import FrameFit
from lamflow.episodes.interface import Described, Source
from lamflow.episodes.recognition import recognise
from lamflow.episodes.settings import SOURCES, SourceSettings
from lamflow.settings_errors import settings_from
from lamflow.spaces import Box, Discrete, Pixels

SIDE = 64
"""Of frames, in pixels, where recorded ones are too small or too large for networks."""
MOST_NOTES = 20


@dataclass(frozen=True)
class Inspected:
    """``problem``: why the recordings cannot be used as they are; ``resized``: frames get another size than the recorded one."""

    settings: SourceSettings
    described: Described | None
    resized: bool = False
    problem: str = ""


def recognised(path: Path, changes: Sequence[str] = ()) -> SourceSettings:
    """The settings of the source that knows the layout of what lies there best, with ``changes``, each ``key=value``. ValueError lists the
    sources where none does, and names a change that there cannot be."""
    found = recognise(path)
    if not found:
        kinds = ", ".join(SOURCES.choices())
        raise ValueError(
            f"{path}: found nothing that a source of recorded episodes knows, expected files of one of the kinds {kinds}"
        )
    return _changed(found[0], changes) if changes else found[0]


def _changed(settings: SourceSettings, changes: Sequence[str]) -> SourceSettings:
    given = settings.model_dump(mode="json", exclude_unset=True)
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise ValueError(f"--set {change}: expected key=value")
        given[key] = yaml.safe_load(value)
    return settings_from(given, type(settings), f"--set {' --set '.join(changes)}")


def inspect(path: Path, changes: Sequence[str] = ()) -> Inspected:
    """Of a file or folder; ValueError where no source knows it."""
    settings = recognised(path, changes)
    problem = ""
    for fit in (FrameFit(), FrameFit(SIDE, SIDE)):
        source: Source = settings.build(fit=fit)
        try:
            return Inspected(settings, source.describe(), resized=fit.height is not None)
        except ValueError as error:
            problem = str(error)
    return Inspected(settings, None, problem=problem)


def told(path: Path, found: Inspected) -> str:
    """For people: facts, notes, and the configuration."""
    kind = kind_of(type(found.settings))
    lines = [f"{path}: recordings of the kind {kind}"]
    if found.described is None:
        return "\n".join([*lines, f"  cannot be used as they are: {found.problem}"])
    width = max(len(name) for name, _ in _facts(found.described))
    lines += [f"  {name:<{width}}  {value}" for name, value in _facts(found.described)]
    notes = found.described.notes
    lines += [f"  note: {note}" for note in notes[:MOST_NOTES]]
    lines += [f"  and {len(notes) - MOST_NOTES} notes more"] if len(notes) > MOST_NOTES else []
    return "\n".join(
        [*lines, "", "To use them, paste this into an experiment's configuration:", "", configuration(path, found)]
    )


def _facts(found: Described) -> Iterator[tuple[str, str]]:
    rows = [episode.rows for episode in found.episodes]
    known = sum(count or 0 for count in rows)
    unknown = sum(count is None for count in rows)
    counted = f", {known:,} frames" if known else ""
    yield (
        "episodes",
        f"{len(rows):,}{counted}" + (f" ({unknown:,} of a length that only decoding tells)" if unknown else ""),
    )
    groups = {episode.group for episode in found.episodes} - {""}
    if groups:
        yield "groups", f"{len(groups):,}, which splits may keep together (splits: {{by: group}})"
    for name, part in found.observation.items():
        size = (
            f"{part.shape[0]} x {part.shape[1]} (height x width)" if isinstance(part, Pixels) else f"{list(part.shape)}"
        )
        seen = ", seen by latent action models" if name == found.main else ""
        yield f"part {name}", f"{part.kind} {size}{seen}"
    if found.frames_per_second is not None:
        yield "rate", f"{found.frames_per_second:g} frames per second"
    yield "actions", _actions(found)
    yield "codec", "lossy: frames that should be equal may differ a little" if found.lossy else "lossless"
    yield "licence", found.licence
    for name, value in found.facts.items():
        yield name.replace("_", " "), f"{value}"


def _actions(found: Described) -> str:
    if isinstance(found.action, Discrete):
        names = f" ({', '.join(found.action_names)})" if found.action_names else ""
        return f"discrete, {found.action.count}{names}{_known_in(found)}"
    if isinstance(found.action, Box):
        return f"continuous, {found.action.shape[0]} entries{_known_in(found)}"
    return "none: latent actions can be learnt and predictions judged, and nothing can be decoded"


def _known_in(found: Described) -> str:
    """Where the actions of some episodes are known and those of others not."""
    labelled = [episode.labelled for episode in found.episodes if episode.labelled is not None]
    return f"; known in {sum(labelled):,} of {len(found.episodes):,} episodes" if not all(labelled) else ""


def configuration(path: Path, found: Inspected) -> str:
    """The environment, as YAML."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", path.resolve().stem).strip("_-") or "mine"
    given: dict[str, Any] = found.settings.model_dump(mode="json", exclude_unset=True)
    environment: dict[str, Any] = {"kind": "recorded", "episodes": {"kind": kind_of(type(found.settings)), **given}}
    if found.resized:
        environment["frames"] = {"height": SIDE, "width": SIDE}
    return yaml.safe_dump({"environments": {name: environment}, "envs": [name]}, sort_keys=False)
