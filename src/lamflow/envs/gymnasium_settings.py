"""Settings of any environment that Gymnasium can make."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from lamflow.envs.recorded_settings import SplitSettings
from lamflow.envs.settings import EnvironmentSettings
from lamflow.episodes.settings import AnySource
from lamflow.settings import LARGEST, Settings

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."

Path = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=200)]
"""``package.module:name``."""
Json = bool | int | float | str | list[Any] | dict[str, Any] | None
SMALLEST_SIDE, LARGEST_SIDE = 32, 256
LONGEST_PATH = 1000
CONTRIB_ALGORITHMS = frozenset({"ARS", "CrossQ", "MaskablePPO", "QRDQN", "RecurrentPPO", "TQC", "TRPO"})
"""Of the package sb3-contrib."""


class PolicyDemonstratorSettings(Settings):
    """Your own policy demonstrates."""

    kind: Literal["policy"] = "policy"
    path: Path = Field(
        description="`package.module:function`, which is called without arguments for each running episode and answers the policy: a "
        "callable from an observation (of a Dict space a dict of its parts) to an action. A policy with a state has a method `reset()`, "
        "which is called when an episode begins.",
    )


class SavedPolicyDemonstratorSettings(Settings):
    """A policy that Stable-Baselines3 has saved demonstrates; needs the extra `rl`. Loading such a file runs code that it holds."""

    kind: Literal["stable_baselines3"] = "stable_baselines3"
    algorithm: Literal[
        "A2C",
        "DDPG",
        "DQN",
        "PPO",
        "SAC",
        "TD3",
        "ARS",
        "CrossQ",
        "MaskablePPO",
        "QRDQN",
        "RecurrentPPO",
        "TQC",
        "TRPO",
    ] = Field(description="The class that saved it; from ARS on they are those of sb3-contrib.")
    path: str = Field(
        min_length=1,
        max_length=LONGEST_PATH,
        description="What its `save` wrote, from the folder in which the run is started. A changed file makes again what comes of it.",
    )
    vecnormalize: str | None = Field(
        None,
        min_length=1,
        max_length=LONGEST_PATH,
        description="What `VecNormalize.save` wrote, where the policy was trained on normalised observations.",
    )
    deterministic: bool = Field(
        True, description="Take the most likely action, or the mean, in place of one drawn from the policy."
    )


class PpoDemonstratorSettings(Settings):
    """PPO learns to demonstrate: over pixels, with discrete actions, as `pixel_expert` says; over vectors, with discrete or continuous
    actions, as `vector_expert` says."""

    kind: Literal["ppo"] = "ppo"


class ReturnSettings(Settings):
    """Mean raw returns by which those of agents are normalised, where episodes are recordings."""

    random: float = Field(description="Of random actions.")
    demonstrator: float | None = Field(
        None, description="Of who was recorded; null: the mean over all recorded episodes, which need rewards for that."
    )


class GymnasiumSettings(EnvironmentSettings):
    """Any environment of Gymnasium, by its id. A level is a seed of `reset`: splits share no seed."""

    builds: ClassVar[str] = "lamflow.envs.gymnasium_facts:describe"

    kind: Literal["gymnasium"] = "gymnasium"
    id: str = Field(
        min_length=1,
        max_length=200,
        description="As `gymnasium.make` takes it; `my_package:MyGame-v0` imports the package that registers it.",
    )
    kwargs: dict[str, Json] = Field(default_factory=dict, description="Further arguments of `gymnasium.make`.")
    wrappers: tuple[Path, ...] = Field(
        (),
        description="`package.module:function`s that get the environment and answer one; the first one is the innermost.",
    )
    max_steps: int | None = Field(
        None, gt=0, le=LARGEST, description="Steps after which an episode is cut; null: as it is registered."
    )
    main: str | None = Field(
        None,
        description="The part of a Dict space that latent action models see; null: its first picture, or its first grid, or its only part.",
    )
    resize: int | None = Field(
        None,
        ge=SMALLEST_SIDE,
        le=LARGEST_SIDE,
        description="Pictures are made squares of this side, in pixels; null: they stay as they are.",
    )
    action_names: tuple[str, ...] = Field(
        (), description="Names of discrete actions, for figures; none: their numbers."
    )
    demonstrator: Annotated[
        PolicyDemonstratorSettings | SavedPolicyDemonstratorSettings | PpoDemonstratorSettings,
        Field(discriminator="kind"),
    ] = Field(default_factory=PpoDemonstratorSettings, description="Who plays the episodes.")
    episodes: AnySource | None = Field(
        None,
        description="Recordings in the place of a demonstrator's episodes, of the same spaces; agents play the simulator.",
    )
    splits: SplitSettings = Field(
        default_factory=SplitSettings, description="How recorded episodes are shared out to train, validation and test."
    )
    returns: ReturnSettings | None = Field(
        None, description="By which returns are normalised, where there are recordings; needed with `episodes`."
    )

    @model_validator(mode="after")
    def _recorded_or_demonstrated(self) -> GymnasiumSettings:
        """Who is recorded needs no demonstrator, and who demonstrates no splits."""
        for key in ("demonstrator",) if self.episodes else ("splits", "returns"):
            if getattr(self, key) != type(self).model_fields[key].get_default(call_default_factory=True):
                having, cure = ("beside", "leave one of them out") if self.episodes else ("without", "leave it out")
                raise ValueError(f"{key}: found it {having} episodes, where it does nothing: {cure}")
        if self.episodes and self.returns is None:
            raise ValueError(
                "returns: found none beside episodes, expected `returns: {random: ...}`, the mean return of random actions, by which "
                "returns are normalised: play some episodes with actions of `action_space.sample()`"
            )
        return self

    @field_validator("kwargs")
    @classmethod
    def _are_finite(cls, kwargs: dict[str, Json]) -> dict[str, Json]:
        """JSON, as which they travel, has no other numbers."""
        try:
            json.dumps(kwargs, allow_nan=False)
        except ValueError:
            raise ValueError("found a number that is NaN or infinite, expected finite ones") from None
        return kwargs

    @property
    def packages(self) -> tuple[str, ...]:
        """Those of the id, the wrappers and the policy."""
        paths = [self.id, *self.wrappers]
        if isinstance(self.demonstrator, PolicyDemonstratorSettings):
            paths.append(self.demonstrator.path)
        if self.episodes and self.episodes.implementation.partition(".")[0] != "lamflow":
            paths.append(self.episodes.implementation)
        return tuple(dict.fromkeys(path.partition(":")[0] for path in paths if ":" in path))

    @property
    def recordings(self) -> tuple[str, ...]:
        """The files and folders that the source of episodes reads."""
        return self.episodes.files if self.episodes else ()

    @property
    def files(self) -> tuple[str, ...]:
        """Those of the saved policy."""
        if not isinstance(self.demonstrator, SavedPolicyDemonstratorSettings):
            return ()
        return tuple(filter(None, (self.demonstrator.path, self.demonstrator.vecnormalize)))
