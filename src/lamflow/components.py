"""What can be chosen by its ``kind``: a settings class for each choice, found by name, which names what it builds and does not import it.

A room's choices are the classes in its files ``*_settings.py``, and those that the entry points of the room's name give in other packages.
So another choice is two more files in the room, and no edit of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from operator import or_
from pkgutil import iter_modules
from types import GenericAlias, ModuleType
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from lamflow.settings import Settings

RERUNS_NOTHING = "What is chosen is among a stage's params, and its code in the digest of the job that names it."


class Component(Settings):
    """Settings of what is chosen by its ``kind``, a field that each choice has as a literal with a default."""

    builds: ClassVar[str]
    """``package.module:Name`` of what these settings describe; imported when it is built."""

    @property
    def implementation(self) -> str:
        """The module of what these settings describe."""
        return self.builds.partition(":")[0]

    def build(self, **context: Any) -> Any:
        """``Name(settings=self, **context)``."""
        name = self.builds.partition(":")[2]
        module = import_module(self.implementation)
        if not hasattr(module, name):
            raise ValueError(
                f"{type(self).__module__}.{type(self).__name__}.builds: found no {name} in {module.__name__}"
            )
        return getattr(module, name)(settings=self, **context)


def kind_of(group: type[BaseModel]) -> str | None:
    """The ``kind`` by which a settings group is told apart from its like, None where it has none."""
    return str(group.model_fields["kind"].default) if "kind" in group.model_fields else None


C = TypeVar("C", bound=Component)


@dataclass(frozen=True)
class Registry(Generic[C]):
    """The choices of one ``room``, a package: subclasses of ``base``."""

    room: str
    base: type[C]

    def choices(self) -> Mapping[str, type[C]]:
        """The settings classes by their kinds, ours first, in the order of their files' names. ValueError when two have the same kind."""
        return _choices(self.room, self.base)


@cache
def _choices(room: str, base: type[C]) -> dict[str, type[C]]:
    names = sorted(found.name for found in iter_modules(import_module(room).__path__))
    modules = [import_module(f"{room}.{name}") for name in names if name.endswith("_settings")]
    found = [group for module in modules for group in _groups_of(module, base)]
    for point in entry_points(group=room):
        found += _groups_at(point, base)
    choices: dict[str, type[C]] = {}
    for group in found:
        kind = kind_of(group)
        assert kind is not None
        if kind in choices:
            first = choices[kind].__module__
            raise ValueError(f"{room}: found the kind {kind!r} in {first} and in {group.__module__}, expected it once")
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", str(getattr(group, "builds", ""))):
            raise ValueError(
                f"{group.__module__}.{group.__name__}.builds: found {getattr(group, 'builds', None)!r}, expected 'package.module:Name'"
            )
        choices[kind] = group
    return choices


def _groups_of(module: Any, base: type[C]) -> list[type[C]]:
    """The settings of a module that have a kind."""
    groups = [group for group in vars(module).values() if isinstance(group, type) and issubclass(group, base)]
    return [group for group in groups if group.__module__ == module.__name__ and kind_of(group) is not None]


def _groups_at(point: EntryPoint, base: type[C]) -> list[type[C]]:
    """The settings that another package's entry point leads to: those of a module, or a class. ValueError says which package to mend."""
    package = point.dist.name if point.dist else "a package"
    source = f"{package}, entry point {point.name!r} of {point.group} ({point.value})"
    try:
        loaded = point.load()
    except Exception as error:  # whatever a foreign module does when it is imported
        raise ValueError(
            f"{source}: could not be imported: {type(error).__name__}: {error}; mend or uninstall it"
        ) from error
    groups: list[Any] = list(_groups_of(loaded, Component)) if isinstance(loaded, ModuleType) else [loaded]
    if not groups or not all(
        isinstance(group, type) and issubclass(group, Component) and kind_of(group) for group in groups
    ):
        raise ValueError(
            f"{source}: found no settings class, expected a module with subclasses of {base.__name__} that have a kind, or one of them"
        )
    return [group for group in groups if issubclass(group, base)]  # a room may have choices of several sorts


@dataclass(frozen=True)
class Chosen:
    """Annotates a field of a base class: any of the registry's choices, told apart by ``kind``; ``default``: that of what does not say
    its kind, where that is allowed."""

    registry: Registry[Any]
    default: str | None = None

    def annotation(self) -> Any:
        """The choices as one type."""
        choices = list(self.registry.choices().values())
        union: Any = reduce(or_, choices)
        return Annotated[union, Field(discriminator="kind")] if len(choices) > 1 else union

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler.generate_schema(self.annotation())
        return schema if self.default is None else no_info_before_validator_function(self._with_kind, schema)

    def _with_kind(self, given: Any) -> Any:
        return {"kind": self.default} | given if isinstance(given, dict) else given


def annotation_of(field: FieldInfo) -> Any:
    """What may stand in a field, with the choices of a component written out."""
    for part in field.metadata:
        if isinstance(part, Chosen):
            return part.annotation()
    # Pydantic moves the discriminator from the annotation to the field.
    return Annotated[field.annotation, field] if field.discriminator else _written_out(field.annotation)


def _written_out(annotation: Any) -> Any:
    """An annotation, with the choices of the components that a mapping holds."""
    if get_origin(annotation) is Annotated:
        return next((part.annotation() for part in annotation.__metadata__ if isinstance(part, Chosen)), annotation)
    if get_origin(annotation) is dict:
        key, value = get_args(annotation)
        return GenericAlias(dict, (key, _written_out(value)))
    return annotation


def components_in(settings: Any) -> Iterator[Component]:
    """The components that some settings name, at any depth."""
    if isinstance(settings, Component):
        yield settings
    if isinstance(settings, BaseModel):
        for name in type(settings).model_fields:
            yield from components_in(getattr(settings, name))
    elif isinstance(settings, Mapping):
        for value in settings.values():
            yield from components_in(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from components_in(value)
