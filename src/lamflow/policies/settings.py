"""Settings of policies and of what makes actions of latents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lamflow.networks.grid_settings import GridEncoderSettings
from lamflow.networks.settings import SYMMETRY, AnyEncoder, Symmetry
from lamflow.settings import DEEPEST, WIDEST, Settings, Width
from lamflow.training.settings import TrainingSettings

ActionSelection = Literal["argmax", "sample"]


ACTION_SELECTION = "How an action is taken from its distribution; null: as `evaluation.action_selection` says."


class PolicySettings(Settings):
    """A policy network and its inputs."""

    network: AnyEncoder = Field(
        default_factory=lambda: GridEncoderSettings(pooling="flatten"), description="The network."
    )
    context: int = Field(
        1,
        gt=0,
        le=DEEPEST,
        description="Frames the policy sees: the current one and context - 1 before it. A recurrent policy sees them in training "
        "and the whole episode in rollouts.",
    )
    recurrent: bool = Field(
        False, description="A GRU over the episode instead of a context of frames; needs a context above 1."
    )
    proprioception: bool = Field(
        True, description="Input of direction and carried object, which an egocentric view hides."
    )
    symmetry: Symmetry = Field("none", description=SYMMETRY)
    task: bool = Field(True, description="Input of the goal's encoding where the task varies (XLand rulesets).")
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="Its training.")

    @model_validator(mode="after")
    def _recurrent_needs_history(self) -> PolicySettings:
        if self.recurrent and self.context == 1:
            raise ValueError(
                "policy.recurrent: true needs a context above 1, the frames of history in training; found context: 1"
            )
        return self


class DecoderSettings(Settings):
    """From latent actions to true actions, with a few labels."""

    kind: Literal["mlp", "dictionary"] = Field(
        "mlp",
        description="mlp: a network on the latent; dictionary: smoothed counts of true actions a code (Genie's way).",
    )
    hidden_widths: tuple[Width, ...] = Field((128, 128), max_length=DEEPEST, description="Hidden layers of the MLP.")
    observation: bool = Field(
        False,
        description="The MLP also gets the features of the trained policy's hidden layer in the present observation: what a latent "
        "stands for may depend on it. Latent methods, kind mlp.",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of the label that the MLP's loss spreads over all actions."
    )
    smoothing: float = Field(
        0.1, gt=0, description="Pseudo-count of each action and code, shared out by the labels' frequencies."
    )
    training: TrainingSettings = Field(
        default_factory=lambda: TrainingSettings(steps=300, learning_rate=1e-3), description="Training of the MLP."
    )

    @model_validator(mode="after")
    def _tables_see_codes_alone(self) -> DecoderSettings:
        if self.observation and self.kind == "dictionary":
            raise ValueError(
                "decoder.observation: true needs kind: mlp, a network on latent and observation; found kind: dictionary, a table of "
                "codes alone"
            )
        return self

    @property
    def inputs(self) -> str:
        """What the decoder is and sees, as files of decoders say it."""
        return f"{self.kind} with observation" if self.observation else self.kind


class MixtureSettings(Settings):
    """A Gaussian mixture over the pre-quantisation latent, with diagonal deviations."""

    components: int = Field(5, gt=0, le=WIDEST, description="Components; an agent decodes the mean of each.")


class FlowSettings(Settings):
    """Flow matching over the pre-quantisation latent: a network predicts the latent from a noisy one, the time and the policy's output."""

    integration_steps: int = Field(
        4, gt=0, le=DEEPEST, description="Euler steps from noise to a latent; 2 to 5 are enough."
    )
    hidden_widths: tuple[Width, ...] = Field(
        (256, 256), min_length=1, max_length=DEEPEST, description="Hidden layers of the network."
    )
    samples: int = Field(
        4,
        gt=0,
        le=DEEPEST,
        description="Latents that an agent draws at each step; it averages their decoded action probabilities.",
    )
