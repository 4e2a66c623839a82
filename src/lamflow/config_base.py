"""What every settings group of the configuration is."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
"""A name that may stand in a path: lower-case letters, digits, '-' and '_'."""


class Settings(BaseModel):
    """Base of every settings group: unknown keys are refused, values are fixed once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _complete_groups(cls, given: Any) -> Any:
        """A nested group that is given in part keeps the rest of the default it has here, which may differ from its class's; where there
        are kinds, one without a kind is of the default's kind, and one of another kind keeps nothing."""
        if not isinstance(given, dict):
            return given
        completed = dict(given)
        for name, field in cls.model_fields.items():
            default = field.get_default(call_default_factory=True, validated_data={})
            part = given.get(name)
            if not isinstance(default, BaseModel) or not isinstance(part, dict):
                continue
            kind = getattr(default, "kind", None)
            if part.get("kind", kind) == kind:
                own = {} if kind is None else {"kind": kind}
                completed[name] = own | default.model_dump(exclude_defaults=True) | part
        return completed
