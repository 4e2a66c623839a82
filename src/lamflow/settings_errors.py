"""What people read when a configuration is wrong: each bad key with what was found and what is allowed."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from lamflow.components import annotation_of, kind_of
from lamflow.settings import Switch
from lamflow.yaml_files import check_extent, read_yaml, written_key

RERUNS_NOTHING = "It says what is wrong with settings."

ModelT = TypeVar("ModelT", bound=BaseModel)

_NOTHING = " (found nothing after the colon, or null)"
_REPR = reprlib.Repr()
"""Values of any size and depth are shown in bounded time."""
_REPR.maxlevel, _REPR.maxlist, _REPR.maxtuple, _REPR.maxdict = 3, 12, 12, 12
_REPR.maxstring, _REPR.maxlong, _REPR.maxother = 76, 76, 76


def read_settings(path: Path, model: type[ModelT]) -> ModelT:
    """A YAML file as ``model``; ValueError lists each bad key with its value and what is allowed."""
    return settings_from(read_yaml(path), model, str(path))


def settings_from(raw: Any, model: type[ModelT], source: str) -> ModelT:
    """What a YAML file held as ``model``; ValueError lists each bad key with its value and what is allowed."""
    check_extent(raw, source)
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise ValueError(explain(error, model, source)) from None


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """One line a problem: key, what is wrong, what was found. ``source`` names the file."""
    problems = error.errors(include_url=False)
    # What holds a bad entry is counted without it.
    told = [
        p for p in problems if p["type"] != "too_short" or not any(_is_inside(o["loc"], p["loc"]) for o in problems)
    ]
    return "\n".join([f"{source}: {len(told)} problem(s)", *(f"  {_explain_one(problem, model)}" for problem in told)])


def _is_inside(inner: Sequence[str | int], outer: Sequence[str | int]) -> bool:
    return len(inner) > len(outer) and tuple(inner[: len(outer)]) == tuple(outer)


def _explain_one(problem: ErrorDetails, model: type[BaseModel]) -> str:
    location, given, kind = problem["loc"], problem["input"], problem["type"]
    if location and location[-1] == "[key]":
        return _explain_key(problem, model)
    keys, annotation = _followed(location, model)
    key = written_key(keys) or "the whole file"
    # A group that does not fit together says itself what was found.
    found = "" if kind == "value_error" and isinstance(given, dict) else f" (found {short_repr(given)})"
    if kind == "extra_forbidden":
        known = _followed(location[:-1], model)[1]
        return f"{key}: unknown key; known here: {', '.join(_keys_of(known))}{found}"
    if kind == "missing":
        return f"{key}: missing; it has no default"
    if kind == "union_tag_not_found":
        return f"{key}: kind is missing; expected one of {', '.join(_members(annotation))}{found}"
    if kind == "union_tag_invalid":
        tag = given.get("kind") if isinstance(given, dict) else given
        found = _NOTHING if tag is None else f" (found {short_repr(tag)})"
        cure = _cure(kind, Switch(tag) if isinstance(tag, bool) else tag)
        return f"{key}.kind: expected one of {', '.join(_members(annotation))}{cure}{found}"
    if given is None and kind != "value_error":
        found = _NOTHING if location else found
    if kind == "tuple_type":
        return f"{key}: expected a list{found}"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"{key}: expected a mapping of keys to values{found}"
    message = problem["msg"].removeprefix("Value error, ") + _cure(kind, given)
    return f"{key}: {message}{found}" if location else message


def _explain_key(problem: ErrorDetails, model: type[BaseModel]) -> str:
    """A key of a mapping that is no such name, or no text at all."""
    *around, key, _ = problem["loc"]
    given, keys = problem["input"], _followed(around, model)[0]
    if isinstance(given, str):
        return f"{written_key([*keys, key])}: not allowed as a key: {problem['msg']} (found {short_repr(given)})"
    return (
        f"{written_key(keys)}: found the key {short_repr(given)}, expected text: YAML reads on, yes and true as True, off, no and false as "
        "False, digits as a number: quote it"
    )


def _cure(kind: str, given: Any) -> str:
    """What to write instead, where YAML reads something else than was meant."""
    if kind == "int_parsing" and isinstance(given, str):
        try:
            number = float(given)
        except ValueError:
            return ""
        if number.is_integer() and abs(number) < 1e18:
            return f"; YAML reads {short_repr(given)[1:-1]} as text: write {int(number)}"
    if isinstance(given, Switch):
        words = "on, yes and true as true" if given.on else "off, no and false as false"
        return f"; YAML reads {words}: quote the word where text is meant"
    if kind == "string_type" and isinstance(given, int | float):
        return f'; quote it: "{short_repr(given)}"'
    return ""


def _followed(location: Sequence[str | int], model: type[BaseModel]) -> tuple[list[str | int], Any]:
    """The keys of a location as the file has them, and the type of what stands there, None where that is not known.

    Pydantic puts the member of a union before the keys in it, the file does not.
    """
    annotation: Any = model
    keys: list[str | int] = []
    for part in location:
        annotation = _given(annotation)
        members = _members(annotation)
        if members:
            annotation = members.get(str(part))
        elif get_origin(annotation) in (Union, UnionType):
            annotation = None
        else:
            keys.append(part)
            annotation = _inside(annotation, part)
    return keys, _given(annotation)


def _inside(annotation: Any, part: str | int) -> Any:
    """The type of one part of a group, list or mapping, None where there is no such part."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field: FieldInfo | None = annotation.model_fields.get(str(part))
        if field is None:
            return None
        return annotation_of(field)
    inner = get_args(annotation)
    if get_origin(annotation) is dict:
        return inner[1]
    if get_origin(annotation) is tuple and isinstance(part, int):
        return inner[0] if inner[-1] is Ellipsis else inner[part] if part < len(inner) else None
    return None


def _given(annotation: Any) -> Any:
    """What ``annotation`` is where it is not None, without what is only said about it."""
    while True:
        inner = get_args(annotation)
        if NoneType in inner and len(inner) == 2:
            annotation = next(member for member in inner if member is not NoneType)
        elif get_origin(annotation) is Annotated and not _members(annotation):
            annotation = inner[0]
        else:
            return annotation


def _keys_of(annotation: Any) -> list[str]:
    """The keys that are known in a group."""
    return list(getattr(annotation, "model_fields", {}))


def _members(union: Any) -> dict[str, type[BaseModel]]:
    """The groups of a union that is told apart by ``kind``, by their kind; of anything else none."""
    members = get_args(get_args(union)[0]) if get_origin(union) is Annotated else get_args(union)
    groups = [member for member in members if isinstance(member, type) and issubclass(member, BaseModel)]
    if len(groups) < 2 or len(groups) < len(members):
        return {}
    return {kind: group for group in groups if (kind := kind_of(group)) is not None}


def short_repr(value: Any) -> str:
    """A value as Python writes it, cut to a line, in bounded time."""
    try:
        text = _REPR.repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        text = f"a {type(value).__name__} too large to be shown"
    return text if len(text) <= 80 else text[:77] + "..."
