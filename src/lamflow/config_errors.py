"""What people read when a configuration is wrong: each bad key with what was found and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_UNION_KEYS = ("inverse_dynamics", "forward_dynamics", "network")
"""Keys whose groups come in kinds."""


ModelT = TypeVar("ModelT", bound=BaseModel)


def read_yaml(path: Path) -> Any:
    """What a YAML file holds; ValueError when it is not there or is no YAML."""
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not readable as YAML: {error}") from None


def read_settings(path: Path, model: type[ModelT]) -> ModelT:
    """A YAML file as ``model``; ValueError lists each bad key with its value and what is allowed."""
    try:
        return model.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ValueError(explain(error, model, str(path))) from None


def explain(error: ValidationError, model: type[BaseModel], source: str) -> str:
    """One line a problem: key, what is wrong, what was found. ``source`` names the file."""
    lines = [f"{source}: {error.error_count()} problem(s)"]
    return "\n".join(lines + [f"  {_explain_one(problem, model)}" for problem in error.errors()])


def _explain_one(problem: ErrorDetails, model: type[BaseModel]) -> str:
    location = problem["loc"]
    key = _shown_key(location)
    # A group that does not fit together says itself what was found.
    found = (
        ""
        if problem["type"] == "value_error" and isinstance(problem["input"], dict)
        else f" (found {_short(problem['input'])})"
    )
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key; known here: {', '.join(_keys_beside(location, model))}{found}"
    if problem["type"] == "missing":
        return f"{key}: missing; it has no default"
    if problem["type"] == "union_tag_not_found":
        return f"{key}: kind is missing; expected one of {', '.join(_kinds_beside(location, model))}{found}"
    if problem["type"] == "union_tag_invalid":
        return f"{key}.kind: expected one of {', '.join(_kinds_beside(location, model))} (found {problem['input'].get('kind')!r})"
    if problem["type"] == "tuple_type":
        return f"{key}: expected a list{found}"
    if problem["type"] == "model_type":
        return f"{key}: expected a mapping of keys to values{found}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message}{found}" if location else message


def _shown_key(location: Sequence[str | int]) -> str:
    """``methods.lapo.decoder.kind``: pydantic puts the kind of a union's member before its keys, the file does not."""
    parts = [str(part) for part in location]
    if parts[:1] == ["methods"] and len(parts) > 2:
        del parts[2]
    shown = [part for index, part in enumerate(parts) if index == 0 or parts[index - 1] not in _UNION_KEYS]
    return ".".join(shown) or "the whole file"


def _annotation_at(location: Sequence[str | int], model: type[BaseModel]) -> Any:
    """The type of what stands at ``location``."""
    annotation: Any = model
    for part in location:
        annotation = _given(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(part)].annotation
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            annotation = _members(annotation)[str(part)]
    return _given(annotation)


def _given(annotation: Any) -> Any:
    """What ``annotation`` is where it is not None."""
    given = [member for member in get_args(annotation) if member is not NoneType]
    return given[0] if NoneType in get_args(annotation) and len(given) == 1 else annotation


def _keys_beside(location: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    """The keys that are known where the unknown one at ``location`` stands."""
    return list(_annotation_at(location[:-1], model).model_fields)


def _kinds_beside(location: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    """The kinds that are known at ``location``."""
    return list(_members(_annotation_at(location, model)))


def _members(union: Any) -> dict[str, type[BaseModel]]:
    """The models of a union that is told apart by ``kind``, by their kind."""
    members = get_args(get_args(union)[0] if get_origin(union) is Annotated else union)
    return {member.model_fields["kind"].default: member for member in members}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
