"""What can be chosen by its ``kind``: a settings class for each choice, found by name, which names what it builds and does not import it.

A room's choices are the classes in its files ``*_settings.py``, and those that the entry points of the room's name give in other packages.
So another choice is two more files in the room, and no edit of another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from importlib import import_module
from importlib.metadata import entry_points
from operator import or_
from pkgutil import iter_modules
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema

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
        return getattr(import_module(self.implementation), name)(settings=self, **context)


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
    modules += [point.load() for point in entry_points(group=room)]
    choices: dict[str, type[C]] = {}
    for module in modules:
        for found in vars(module).values():
            if not (isinstance(found, type) and issubclass(found, base) and found.__module__ == module.__name__):
                continue
            kind = kind_of(found)
            if kind is None:
                continue
            if kind in choices:
                first = choices[kind].__module__
                raise ValueError(
                    f"{room}: found the kind {kind!r} in {first} and in {module.__name__}, expected it once"
                )
            choices[kind] = found
    return choices


@dataclass(frozen=True)
class Chosen:
    """Annotates a field of a base class: any of the registry's choices, told apart by ``kind``."""

    registry: Registry[Any]

    def annotation(self) -> Any:
        """The choices as one type."""
        choices = list(self.registry.choices().values())
        union: Any = reduce(or_, choices)
        return Annotated[union, Field(discriminator="kind")] if len(choices) > 1 else union

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return handler.generate_schema(self.annotation())


def annotation_of(field: FieldInfo) -> Any:
    """What may stand in a field, with the choices of a component written out."""
    for part in field.metadata:
        if isinstance(part, Chosen):
            return part.annotation()
    # Pydantic moves the discriminator from the annotation to the field.
    return Annotated[field.annotation, field] if field.discriminator else field.annotation


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
