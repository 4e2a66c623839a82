"""Settings of decoders that are networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.settings import BOX_LOSS, BoxLoss, DecoderSettings
from lamflow.settings import DEEPEST, Width
from lamflow.spaces import Box
from lamflow.training.settings import TrainingSettings


class MlpDecoderSettings(DecoderSettings):
    """A network on the latent."""

    builds: ClassVar[str] = "lamflow.policies.mlp_decoder:MlpDecoder"

    kind: Literal["mlp"] = "mlp"
    hidden_widths: tuple[Width, ...] = Field((128, 128), max_length=DEEPEST, description="Hidden layers.")
    observation: bool = Field(
        False,
        description="It also gets the features of the trained policy's hidden layer in the present observation: what a latent stands for "
        "may depend on it. Latent methods.",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the label that the loss spreads over all discrete actions."
    )
    box_loss: BoxLoss = Field("squared", description=BOX_LOSS)
    training: TrainingSettings = Field(
        default_factory=lambda: TrainingSettings(steps=300, learning_rate=1e-3), description="Its training."
    )

    def problems_on(self, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
        """Smoothing where there is nothing to spread over."""
        if self.label_smoothing and isinstance(spec.action, Box):
            yield (
                "label_smoothing",
                f"spreads over discrete actions, and those of {spec.name} are continuous: leave it out",
            )

    @property
    def sees_observation(self) -> bool:
        """As ``observation`` says."""
        return self.observation

    @property
    def devices(self) -> int:
        """Those of its training."""
        return self.training.devices

    @property
    def inputs(self) -> str:
        """The latent, and the observation where it sees that."""
        return f"{self.kind} with observation" if self.observation else self.kind
