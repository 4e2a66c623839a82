"""Settings of environments that have no name of their own: a kind per family, which the configuration chooses and fills."""

from __future__ import annotations

from typing import Annotated

from lamflow.components import Chosen, Component, Registry

RERUNS_NOTHING = "An environment's facts are among the params of the stages that it has."


class EnvironmentSettings(Component):
    """Base of them. It builds an ``lamflow.envs.spec.EnvironmentSpec``, with ``name``; ValueError where the environment cannot be used."""

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages, or modules, of other people whose code says what the environment is."""
        return ()

    @property
    def files(self) -> tuple[str, ...]:
        """The files that say what the environment is, or who demonstrates."""
        return ()


ENVIRONMENTS: Registry[EnvironmentSettings] = Registry("lamflow.envs", EnvironmentSettings)
AnyEnvironment = Annotated[EnvironmentSettings, Chosen(ENVIRONMENTS)]
