"""What every network's settings say. A network is two files of this room: one of torch, and ``<name>_settings.py``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from lamflow.components import Chosen, Component, Registry, kind_of
from lamflow.envs.spec import EnvironmentSpec
from lamflow.settings import WIDEST

Symmetry = Literal["none", "rotation"]
SYMMETRY = (
    "rotation: networks see the window turned by quarter turns so that the agent faces up in the present frame, which makes them "
    "invariant to rotations of the grid. Only for full views, whose dynamics have that symmetry."
)


Target = Literal["frame", "change", "standardised"]
TARGET = (
    "What the output is and the loss is taken of. frame: the next frame (LAPO); change: its change from the present frame, to which it is "
    "added; standardised: the change less its mean, in standard deviations, both of the train split, per colour of pixels, per entry of a "
    "vector. Errors are reported in the frame's own units all the same."
)


def symmetry_problems(symmetry: Symmetry, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
    """Why a symmetry, of a settings group's key of this name, cannot be used on an environment."""
    if symmetry == "rotation" and spec.view != "full":
        found = "an egocentric one" if spec.view == "egocentric" else spec.view
        yield "symmetry", f"rotation needs a full view, and {spec.name} has {found}"


class NetworkSettings(Component):
    """A network that sees frames."""

    role: ClassVar[str] = "network"
    """What it is, for messages."""

    @classmethod
    def accepts(cls, spec: EnvironmentSpec) -> bool:
        """Whether it can see the environment's frames."""
        raise NotImplementedError

    def problems_on(self, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
        """Frames that it cannot see."""
        if not self.accepts(spec):
            suited = " or ".join(suited_kinds(type(self), spec)) or "a kind that there is not"
            yield "kind", f"found {kind_of(type(self))}, and the frames of {spec.name} need {suited}"

    def check(self, spec: EnvironmentSpec) -> None:
        """ValueError when it cannot see the environment's frames."""
        if not self.accepts(spec):
            found, suited = kind_of(type(self)), ", ".join(map(repr, suited_kinds(type(self), spec)))
            raise ValueError(
                f"{spec.name}: found {'an' if self.role[0] in 'aeiou' else 'a'} {self.role} of kind {found!r}, expected "
                f"{suited or 'no kind there is'} for frames of shape {list(spec.frame_shape)}: set its kind"
            )


class EncoderSettings(NetworkSettings):
    """From frames to a vector, by a last hidden layer and a linear output.

    It builds an ``lamflow.networks.encoders.Encoder``, with ``num_frames``, ``spec``, ``output_dim``, and the widths ``extra_dim`` and
    ``extra_planes`` of inputs beside the frames.
    """

    role: ClassVar[str] = "encoder"
    float32_when_used: ClassVar[str] = ""
    """Why a trained network of this kind computes in float32 whatever the processor prefers; empty where it need not."""

    hidden_width: int = Field(128, gt=0, le=WIDEST, description="Width of the hidden layer.")

    @property
    def extras_width(self) -> int | None:
        """Embedding width of each category among inputs beside the frames; None where the network has no such inputs."""
        return None


class DynamicsSettings(NetworkSettings):
    """A forward dynamics model: the next frame from the last ones and a latent.

    It builds an ``lamflow.networks.forward_dynamics.ForwardDynamics``, with ``spec``, ``latent_dim`` and, where the model sees other than
    two frames, ``num_frames``.
    """

    role: ClassVar[str] = "forward dynamics model"

    @property
    def learns_standardised(self) -> bool:
        """Whether its training minimises errors in other units than the frame's own: see ``ForwardDynamics.training_losses``."""
        return False


ENCODERS: Registry[EncoderSettings] = Registry("lamflow.networks", EncoderSettings)
DYNAMICS: Registry[DynamicsSettings] = Registry("lamflow.networks", DynamicsSettings)
AnyEncoder = Annotated[EncoderSettings, Chosen(ENCODERS)]
AnyDynamics = Annotated[DynamicsSettings, Chosen(DYNAMICS)]


def suited_kinds(group: type[NetworkSettings], spec: EnvironmentSpec) -> list[str]:
    """The kinds of the networks of the same role that can see the environment's frames."""
    registry: Registry[Any] = ENCODERS if issubclass(group, EncoderSettings) else DYNAMICS
    return [kind for kind, choice in registry.choices().items() if choice.accepts(spec)]
