"""Settings of latent action models and of the methods that are compared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lamflow.config_base import DEEPEST, LARGEST_BATCH, MOST, WIDEST, Name, Settings, Width
from lamflow.config_networks import (
    SYMMETRY,
    DynamicsSettings,
    EncoderSettings,
    NetworkSettings,
    QuantizerSettings,
    Symmetry,
)
from lamflow.config_online import OnlineMethodSettings
from lamflow.config_training import TrainingSettings

ActionSelection = Literal["argmax", "sample"]
ACTION_SELECTION = "How an action is taken from its distribution; null: as `evaluation.action_selection` says."


class SupervisionSettings(Settings):
    """Few action labels that a LAM sees beside the frames: a head on the latent before quantisation predicts the true action.

    Methods with such a LAM are compared at label budgets that hold these labels: of at least as many transitions, of that draw.
    """

    labels: int = Field(64, gt=0, le=MOST, description="Labelled transitions, the first of every larger label budget.")
    label_draw: int = Field(0, ge=0, le=MOST, description="Which random draw of the labels.")
    weight: float = Field(
        0.01, ge=0, description="Weight of the head's cross-entropy (nats) in the loss: LAOM 0.01, LAFP 0.1, CLAM 1."
    )
    every: int = Field(1, gt=0, description="Steps from one that the cross-entropy counts in to the next; CLAM 2.")
    batch_size: int = Field(64, gt=0, le=LARGEST_BATCH, description="Labelled transitions a step.")
    hidden_widths: tuple[Width, ...] = Field(
        (), max_length=DEEPEST, description="Hidden layers of the head; none: a linear map."
    )


class LamSettings(Settings):
    """A latent action model: inverse dynamics model, quantiser, forward dynamics model."""

    inverse_dynamics: EncoderSettings = Field(
        default_factory=NetworkSettings, description="The inverse dynamics model (IDM)."
    )
    forward_dynamics: DynamicsSettings = Field(
        default_factory=NetworkSettings, description="The forward dynamics model (FDM)."
    )
    quantizer: QuantizerSettings = Field(default_factory=QuantizerSettings, description="The quantiser between them.")
    symmetry: Symmetry = Field("none", description=SYMMETRY)
    idm_horizon: int = Field(
        1,
        ge=1,
        le=10,
        description="In training the IDM sees o_{t+k} in the place of o_{t+1}, with k uniform in 1 .. idm_horizon within the episode "
        "(LAOM); the FDM still predicts o_{t+1}, and latent actions are those of k = 1.",
    )
    supervision: SupervisionSettings | None = Field(None, description="Few action labels in its training; null: none.")
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="Its training.")


class PolicySettings(Settings):
    """A policy network and its inputs."""

    network: EncoderSettings = Field(
        default_factory=lambda: NetworkSettings(pooling="flatten"), description="The network."
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


class LatentMethodSettings(Settings):
    """Policy in latent actions + action decoder (LAPO and its relatives)."""

    kind: Literal["latent"] = "latent"
    lam: Name = Field(description="The LAM, by its name under `lams`.")
    target: Literal["latent", "codes", "mixture", "flow"] = Field(
        "latent",
        description="What the policy learns of the pre-quantisation latent. latent: its mean (MSE, LAPO); mixture: its distribution as a "
        "Gaussian mixture; flow: its distribution by flow matching. Or codes: categorical over the codes.",
    )
    mixture: MixtureSettings = Field(default_factory=MixtureSettings, description="The mixture, with target mixture.")
    flow: FlowSettings = Field(default_factory=FlowSettings, description="The flow, with target flow.")
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The latent policy.")
    decoder: DecoderSettings = Field(default_factory=DecoderSettings, description="The action decoder.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)

    @model_validator(mode="after")
    def _settings_of_the_target(self) -> LatentMethodSettings:
        for name, default in (("mixture", MixtureSettings()), ("flow", FlowSettings())):
            if getattr(self, name) != default and self.target != name:
                raise ValueError(f"{name}: counts with target: {name} alone; found target: {self.target}")
        return self

    @property
    def head(self) -> MixtureSettings | FlowSettings | None:
        """Settings of the distribution over latents, where the policy has one."""
        return self.mixture if self.target == "mixture" else self.flow if self.target == "flow" else None


class BcMethodSettings(Settings):
    """Behaviour cloning on the N labelled transitions alone."""

    kind: Literal["bc"] = "bc"
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)


class VptMethodSettings(Settings):
    """An IDM trained on the N labels, its pseudo-labels on all episodes, behaviour cloning on them (VPT)."""

    kind: Literal["vpt"] = "vpt"
    inverse_dynamics: EncoderSettings = Field(default_factory=NetworkSettings, description="The supervised IDM.")
    symmetry: Symmetry = Field("none", description="Of the supervised IDM. " + SYMMETRY)
    decoder: DecoderSettings = Field(default_factory=DecoderSettings, description="Training of the supervised IDM.")
    label_draws: int | None = Field(
        None,
        gt=0,
        le=100,
        description="At most so many of the experiment's label draws, the first ones: each costs a policy on all episodes for each label "
        "count. null: all of them.",
    )
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)

    @model_validator(mode="after")
    def _models_see_windows(self) -> VptMethodSettings:
        if self.decoder.observation:
            raise ValueError(
                "decoder.observation: true is for decoders of latents; found kind: vpt, whose inverse dynamics model sees the frames"
            )
        return self


class OracleMethodSettings(Settings):
    """Behaviour cloning on the true action of every transition: the ceiling of the same inputs."""

    kind: Literal["oracle_bc"] = "oracle_bc"
    policy: PolicySettings = Field(default_factory=PolicySettings, description="The policy.")
    action_selection: ActionSelection | None = Field(None, description=ACTION_SELECTION)


class RandomMethodSettings(Settings):
    """Uniformly random actions."""

    kind: Literal["random"] = "random"


MethodSettings = Annotated[
    LatentMethodSettings
    | BcMethodSettings
    | VptMethodSettings
    | OracleMethodSettings
    | OnlineMethodSettings
    | RandomMethodSettings,
    Field(discriminator="kind"),
]
