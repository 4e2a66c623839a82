"""Settings of an agent that somebody else has made."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from lamflow.methods.settings import MethodSettings, Stage


class ExternalMethodSettings(MethodSettings):
    """An agent of your own, which plays the same levels as the others and stands in all tables and figures."""

    builds: ClassVar[str] = "lamflow.methods.external:External"

    kind: Literal["external"] = "external"
    agent: str = Field(
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        max_length=200,
        description="`package.module:function`, which is called without arguments and answers the agent: a callable from an observation "
        "(a dict of its parts, where there are several) to an action. It learns nothing here. An agent with a state has a method "
        "`reset()`; the function then answers a new one for each episode. A changed source file of the package plays again.",
    )

    @field_validator("agent")
    @classmethod
    def _is_there(cls, agent: str) -> str:
        """Its package can be found; nothing is imported, as plans need no more."""
        package = agent.partition(":")[0].partition(".")[0]
        if find_spec(package) is None:
            raise ValueError(f"found no module {package}: install it, or put its folder on PYTHONPATH")
        return agent

    def modules(self, stage: Stage) -> tuple[str, ...]:
        """The agent's."""
        return (self.agent.partition(":")[0],)
