"""Settings of a union: one environment to learners that is made of several."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.envs.settings import EnvironmentSettings
from lamflow.settings import Settings

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has, its shares among those that join its episodes."

Share = Annotated[float, Field(ge=0)]


class UnionEvaluationSettings(Settings):
    """Where the agents of a union play."""

    members: tuple[str, ...] = Field(
        (),
        description="The environments, by name, which need be no members of the union: an agent may learn on some and play others. "
        "None: the members.",
    )


class UnionSettings(EnvironmentSettings):
    """Several environments as one: its splits are those of its members, seen one after the other and not copied. A task is a member and a
    level."""

    builds: ClassVar[str] = "lamflow.envs.union_facts:describe"

    kind: Literal["union"] = "union"
    members: tuple[str, ...] = Field(
        min_length=1,
        description="Environments by name, presets or your own. The space of what latent action models see is equal, and so are "
        "the actions of those that have some: labels are of these.",
    )
    shares: tuple[Share, ...] | Literal["equal", "by size"] = Field(
        "equal",
        description="How much of each batch, and of the labels, is of each member: a number each, of which only the ratios count "
        "(0 leaves a member out); or `equal`; or `by size`, as many as it has transitions.",
    )
    evaluation: UnionEvaluationSettings = Field(
        default_factory=UnionEvaluationSettings, description="Where its agents play."
    )

    @model_validator(mode="after")
    def _one_share_per_member(self) -> UnionSettings:
        for key, names in (("members", self.members), ("evaluation.members", self.evaluation.members)):
            if twice := [name for place, name in enumerate(names) if name in names[:place]]:
                raise ValueError(f"{key}: {twice[0]} is listed twice; `shares` says how much of it there is")
        if isinstance(self.shares, tuple):
            if len(self.shares) != len(self.members):
                raise ValueError(
                    f"shares: found {len(self.shares)}, expected {len(self.members)}: one for each of {', '.join(self.members)}"
                )
            if not sum(self.shares) > 0:
                raise ValueError("shares: found nothing but 0, expected at least one member with a share")
        return self

    @property
    def made_of(self) -> tuple[str, ...]:
        """The members that have a share."""
        if isinstance(self.shares, str):
            return self.members
        return tuple(name for name, share in zip(self.members, self.shares, strict=True) if share > 0)

    @property
    def played_in(self) -> tuple[str, ...]:
        """As ``evaluation`` says."""
        return self.evaluation.members or self.made_of

    @property
    def shares_of_members(self) -> tuple[float, ...] | None:
        """Of each of ``made_of``, which sum to 1; None: by size."""
        if self.shares == "by size":
            return None
        given = (
            [share for share in self.shares if share > 0]
            if isinstance(self.shares, tuple)
            else [1.0] * len(self.members)
        )
        return tuple(share / sum(given) for share in given)
