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

    @property
    def recordings(self) -> tuple[str, ...]:
        """The files and folders of recorded episodes that say what the environment is. Their names, sizes and times tell whether they have
        changed: they may be large."""
        return ()

    @property
    def made_of(self) -> tuple[str, ...]:
        """The names of the environments whose episodes are those of this one, which then has none of its own. It is built with ``others``,
        the facts of these and of those of ``played_in`` by name."""
        return ()

    @property
    def played_in(self) -> tuple[str, ...]:
        """The names of the environments in which its agents play, where it is made of others."""
        return ()

    @property
    def shares_of_members(self) -> tuple[float, ...] | None:
        """How much learners see of each of ``made_of``; None: by their numbers of transitions."""
        return None


ENVIRONMENTS: Registry[EnvironmentSettings] = Registry("lamflow.envs", EnvironmentSettings)
AnyEnvironment = Annotated[EnvironmentSettings, Chosen(ENVIRONMENTS, default="gymnasium")]
