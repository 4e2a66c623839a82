"""Settings of policies and of what makes actions of latents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from lamflow.components import Chosen, Component, Registry, kind_of
from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.grid_settings import GridEncoderSettings
from lamflow.networks.settings import SYMMETRY, AnyEncoder, Symmetry, symmetry_problems
from lamflow.quantizers.settings import QuantizerSettings
from lamflow.settings import DEEPEST, EpisodeCount, Settings
from lamflow.spaces import Discrete, KnownActions
from lamflow.training.settings import TrainingSettings

ActionSelection = Literal["argmax", "sample"]
BoxLoss = Literal["squared", "gaussian"]
BOX_LOSS = (
    "What is learnt of continuous actions (Box). squared: their mean, by its squared error behind a tanh; gaussian: mean and deviation, by "
    "likelihood. Discrete actions are learnt by cross-entropy."
)


ACTION_SELECTION = "How an action is taken from its distribution; null: as `evaluation.action_selection` says."


def action_outputs(action: KnownActions, box_loss: BoxLoss) -> int:
    """Width of what a network answers of actions: a logit per discrete one; of continuous ones a mean per entry, and its deviation where
    likelihood is learnt."""
    if isinstance(action, Discrete):
        return action.count
    return len(action.low) * (2 if box_loss == "gaussian" else 1)


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
    box_loss: BoxLoss = Field("squared", description=BOX_LOSS)
    episodes: EpisodeCount = Field(
        "all",
        description="Episodes of the train split that the policy is trained on, whatever the label budget: all, or so many of them, drawn "
        "by the seed. The same draw for all methods, of which a smaller number is a part.",
    )
    task: bool = Field(True, description="Input of the goal's encoding where the task varies (XLand rulesets).")
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="Its training.")

    def problems_on(self, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
        """A symmetry that the environment's view has not."""
        return symmetry_problems(self.symmetry, spec)

    @model_validator(mode="after")
    def _recurrent_needs_history(self) -> PolicySettings:
        if self.recurrent and self.context == 1:
            raise ValueError(
                "policy.recurrent: true needs a context above 1, the frames of history in training; found context: 1"
            )
        return self


class DecoderSettings(Component):
    """From latent actions to true actions, with a few labels. It builds an ``lamflow.policies.decoders.Decoder``, with ``space``,
    ``num_tokens`` (0 where the policy answers latents) and ``num_codes``."""

    decodes_codes: ClassVar[bool] = False
    """Whether it decodes codes alone, of one token."""

    @property
    def sees_observation(self) -> bool:
        """Whether it also gets the features of the trained policy in the present observation."""
        return False

    @property
    def devices(self) -> int:
        """GPUs that share its training."""
        return 1

    @property
    def inputs(self) -> str:
        """What the decoder is and sees, as files of decoders say it."""
        return kind_of(type(self)) or ""

    def refusal(self, target: str, quantizer: QuantizerSettings, lam: str) -> str:
        """Why it cannot decode what a policy learns of the latents of ``lam``, empty where it can."""
        return ""


class HeadSettings(Component):
    """A distribution over latents, given a policy's outputs. It builds an ``lamflow.policies.latent_heads.LatentHead``, with ``latent_dim``
    and ``feature_dim``, the width of the policy's hidden layer."""


DECODERS: Registry[DecoderSettings] = Registry("lamflow.policies", DecoderSettings)
HEADS: Registry[HeadSettings] = Registry("lamflow.policies", HeadSettings)
AnyDecoder = Annotated[DecoderSettings, Chosen(DECODERS)]
AnyHead = Annotated[HeadSettings, Chosen(HEADS)]
