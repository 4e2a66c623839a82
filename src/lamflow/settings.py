"""What every settings group of the configuration is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

RERUNS_NOTHING = "What settings are read as reaches a stage as values."

LONGEST_NAME = 100
"""File systems allow 255 bytes for the name of a file or folder, of which lamflow's own words need a part."""
MOST = 10**9
"""Episodes, transitions, rollouts: what is counted and stored."""
LARGEST_BATCH = 2**24
WIDEST = 65_536
"""Channels or units of a layer, and what else is a dimension of a tensor."""
DEEPEST = 1_000
"""Layers of a network, and what else is unrolled."""
LARGEST = 10**12
"""Of any number: what counts as float32 or int64 in the stages, products of a few included, and what nobody means."""
SMALLEST = 1e-30
"""Of what is divided by; smaller numbers are 0 in float32."""

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=LONGEST_NAME)]
"""A name that may stand in a path: lower-case letters, digits, '-' and '_'."""
EpisodeCount = Literal["all"] | Annotated[int, Field(gt=0, le=MOST)]
"""So many episodes of a split, or all of them."""
Width = Annotated[int, Field(gt=0, le=WIDEST)]
"""Of a layer."""


class Settings(BaseModel):
    """Base of every settings group: unknown keys are refused, values are fixed once read, numbers are finite and no switches."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def problems_on(self, spec: Any) -> Iterable[tuple[str, str]]:
        """Why this group itself cannot be used on an environment (an ``EnvironmentSpec``): pairs of one of its keys and what is wrong."""
        return ()

    @field_validator("*", mode="after")
    @classmethod
    def _numbers_within_reason(cls, value: Any) -> Any:
        for number in _values_in(value):
            if isinstance(number, int | float) and abs(number) > LARGEST:
                raise ValueError(f"expected a number of at most {LARGEST:.0e} in size")
        return value

    @model_validator(mode="before")
    @classmethod
    def _complete_groups(cls, given: Any) -> Any:
        """A nested group that is given in part keeps the rest of the default it has here, which may differ from its class's; where there
        are kinds, one without a kind is of the default's kind, and one of another kind keeps nothing."""
        if not isinstance(given, dict):
            return given
        completed = {name: _without_switches(cls, str(name), value) for name, value in given.items()}
        for name, default in _default_groups(cls).items():
            part = given.get(name)
            if not isinstance(part, dict):
                continue
            kind = getattr(default, "kind", None)
            if part.get("kind", kind) == kind:
                own = {} if kind is None else {"kind": kind}
                completed[name] = own | default.model_dump(exclude_defaults=True) | part
        return completed


def _values_in(given: Any) -> Iterable[Any]:
    """A value, or those of a list or mapping."""
    return given.values() if isinstance(given, Mapping) else given if isinstance(given, list | tuple) else (given,)


class Switch:
    """A true or false where none belongs, which would count as 1 or 0 and fits nothing now."""

    def __init__(self, on: bool) -> None:
        self.on = on

    def __repr__(self) -> str:
        return str(self.on)


def _without_switches(group: type[BaseModel], name: str, given: Any) -> Any:
    """``given`` for the field ``name``. YAML reads off as false: where it is the name of a choice, that is meant."""
    takes_switches, choices = _facts_of(group).get(name, (True, ()))
    if takes_switches:
        return given
    if given is False and "off" in choices:
        return "off"
    if isinstance(given, Mapping):
        return {key: Switch(value) if isinstance(value, bool) else value for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [Switch(value) if isinstance(value, bool) else value for value in given]
    return Switch(given) if isinstance(given, bool) else given


@cache
def _default_groups(group: type[BaseModel]) -> dict[str, BaseModel]:
    """The defaults of those fields that are groups themselves."""
    fields = group.model_fields.items()
    defaults = {name: field.get_default(call_default_factory=True, validated_data={}) for name, field in fields}
    return {name: default for name, default in defaults.items() if isinstance(default, BaseModel)}


@cache
def _facts_of(group: type[BaseModel]) -> dict[str, tuple[bool, tuple[Any, ...]]]:
    """Of each field whether a switch may stand in it, and its choices."""
    fields = group.model_fields.items()
    return {name: (_takes_switches(field.annotation), _choices_in(field.annotation)) for name, field in fields}


def _takes_switches(annotation: Any) -> bool:
    """Whether a switch may stand in what is annotated so. Groups look at their own."""
    if annotation is bool or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return True
    return any(_takes_switches(part) for part in _parts_of(annotation))


def _choices_in(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(choice for part in _parts_of(annotation) for choice in _choices_in(part))


def _parts_of(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Annotated, Union, UnionType, tuple, list, dict) else ()
