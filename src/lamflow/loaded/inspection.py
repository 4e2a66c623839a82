"""What recordings are, for a person who wants to use them, and the configuration to paste."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lamflow.components import kind_of
from lamflow.envs.interface import SPLITS
from lamflow.episodes.files import files_below
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
    """``problem``: why the recordings cannot be used as they are; ``resized``: frames get another size than the recorded one; ``others``:
    kinds of sources that know the path as well."""

    settings: SourceSettings
    described: Described | None
    resized: bool = False
    problem: str = ""
    others: tuple[str, ...] = ()


def recognised(path: Path, changes: Sequence[str] = ()) -> SourceSettings:
    """The settings of the source that knows the layout of what lies there best, or of that of the kind that a change names, with
    ``changes``, each ``key=value``. ValueError lists the sources where none does, and names a change that there cannot be."""
    return _recognised(path, changes)[0]


def _recognised(path: Path, changes: Sequence[str]) -> tuple[SourceSettings, tuple[str, ...]]:
    """And the other kinds that know it."""
    given, found = dict(map(_change, changes)), recognise(path)
    kinds = [kind_of(type(settings)) or "" for settings in found]
    kind = given.pop("kind", kinds[0] if kinds else None)
    choices = SOURCES.choices()
    if kind is None:
        raise ValueError(
            f"{path}: found {_what_is_in(path)}, and nothing that a source of recorded episodes knows, expected files of one of the kinds "
            f"{', '.join(choices)}; `--set kind=hdf5`, or another, says what one of them misses"
        )
    if kind not in choices:
        raise ValueError(f"--set kind={kind}: expected one of {', '.join(choices)}")
    known = (
        found[kinds.index(kind)].model_dump(mode="json", exclude_unset=True) if kind in kinds else {"path": str(path)}
    )
    settings = settings_from({**known, **given}, choices[kind], f"--set {' --set '.join(changes)}")
    return settings, tuple(other for other in kinds if other != kind)


def _change(change: str) -> tuple[str, Any]:
    key, equals, value = change.partition("=")
    if not equals:
        raise ValueError(f"--set {change}: expected key=value")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {change}: the value is no YAML ({' '.join(str(error).split())})") from None


def _what_is_in(path: Path) -> str:
    if path.is_file():
        return f"a file that ends in {path.suffix!r} (of pictures and NumPy files name the folder)"
    counts = Counter(file.suffix or file.name for file in files_below(path))
    return ", ".join(f"{count} of {ending}" for ending, count in counts.most_common(5)) or "an empty folder"


def inspect(path: Path, changes: Sequence[str] = ()) -> Inspected:
    """Of a file or folder; ValueError where no source knows it."""
    settings, others = _recognised(path, changes)
    problem = ""
    for fit in (FrameFit(), FrameFit(SIDE, SIDE)):
        source: Source = settings.build(fit=fit)
        try:
            return Inspected(settings, source.describe(), resized=fit.height is not None, others=others)
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
    notes = [*_own_notes(found, found.described), *found.described.notes]
    lines += [f"  note: {note}" for note in notes[:MOST_NOTES]]
    lines += [f"  and {len(notes) - MOST_NOTES} notes more"] if len(notes) > MOST_NOTES else []
    return "\n".join(
        [*lines, "", "To use them, paste this into an experiment's configuration:", "", configuration(path, found)]
    )


def _own_notes(found: Inspected, described: Described) -> Iterator[str]:
    """What holds of all sources."""
    if found.others:
        yield f"recordings of the kind {', '.join(found.others)} lie there, too: --set kind={found.others[0]} looks at them."
    if len(described.episodes) < len(SPLITS):
        yield (
            f"an experiment needs {len(SPLITS)} episodes at least, one for each of {', '.join(SPLITS)}; a model that there is can label "
            "fewer."
        )
    short = [episode.name for episode in described.episodes if episode.rows == 1]
    if short:
        yield (
            f"{len(short)} of {len(described.episodes)} episodes have a single frame, from which no action leads on, such as "
            f"{short[0]!r}: leave them out."
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
    return yaml.safe_dump(
        {"environments": {name: environment}, "envs": [name]}, sort_keys=False, allow_unicode=True, width=10_000
    )
