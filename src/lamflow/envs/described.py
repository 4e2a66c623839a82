"""The facts of environments that are found by trying them, kept between processes: each of some hundred jobs asks for them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lamflow.caches import cache_folder
from lamflow.envs.settings import EnvironmentSettings
from lamflow.envs.spec import EnvironmentSpec
from lamflow.episodes.files import files_digest
from lamflow.kept_answers import KeptAnswers
from lamflow.provenance import file_digest

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."


_ASKED: dict[tuple[str, str, tuple[EnvironmentSpec, ...]], EnvironmentSpec] = {}
"""By settings, name and the environments that it is made of: a plan asks for every job."""


class _Answer(NamedTuple):
    facts: dict[str, Any]


def described(
    settings: EnvironmentSettings, name: str, others: Mapping[str, EnvironmentSpec] | None = None
) -> EnvironmentSpec:
    """The environment that these settings describe; ValueError, which begins with the key to change, where it cannot be used.

    It is tried again when the settings, a file or a package that they name, or a version of a package has changed: the next process
    looks at that. ``others``: the environments that it is made of, by name, whose facts are all that there is to look at then.
    """
    asked = (settings.model_dump_json(), name, tuple((others or {}).values()))
    if asked not in _ASKED and others:
        _ASKED[asked] = settings.build(name=name, others=others)
    if asked not in _ASKED:
        key, kept = _key(settings, name), _kept()
        if key not in kept:
            kept[key] = _Answer(settings.build(name=name).facts())
            kept.is_new = True
            kept.save()
        _ASKED[asked] = EnvironmentSpec.from_facts(kept[key].facts)
    return _ASKED[asked]


def _key(settings: EnvironmentSettings, name: str) -> str:
    digest = hashlib.sha256()
    for part in (settings.model_dump_json(), name, sys.version, *_versions()):
        digest.update(part.encode())
    for package in settings.packages:
        for path in _files_of(package):
            digest.update(path.read_bytes())
    for name in settings.files:
        digest.update((file_digest(Path(name)) if Path(name).is_file() else "").encode())
    digest.update(files_digest(settings.recordings).encode())
    for path in sorted([*Path(__file__).parent.glob("gymnasium_*.py"), *_describing_recordings(settings)]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _describing_recordings(settings: EnvironmentSettings) -> list[Path]:
    """The files that say what recordings are, where there are some."""
    here = Path(__file__).parent
    return [*here.glob("recorded_*.py"), *here.with_name("episodes").glob("*.py")] if settings.recordings else []


@cache
def _versions() -> tuple[str, ...]:
    """Of all packages that are installed: any of them may be the one that registers or simulates the environment."""
    return tuple(sorted(f"{found.name} {found.version}" for found in importlib.metadata.distributions()))


def _files_of(module: str) -> Iterator[Path]:
    """The source files of the package in which a module is, found without importing it."""
    try:
        found = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return
    if found is None:
        return
    for folder in found.submodule_search_locations or ():
        yield from sorted(Path(folder).rglob("*.py"))
    if found.origin and not found.submodule_search_locations and Path(found.origin).is_file():
        yield Path(found.origin)


@cache
def _kept() -> KeptAnswers[_Answer]:
    folder = cache_folder("environments")
    return KeptAnswers(folder / "facts.json" if folder else None, lambda answer: _Answer(dict(answer[0])))
