"""What every latent action model's settings say. A kind of model is two files of this room: ``<name>.py`` and ``<name>_settings.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from lamflow.components import Chosen, Component, Registry
from lamflow.envs.spec import EnvironmentSpec
from lamflow.quantizers.settings import QUANTIZERS, QuantizerSettings
from lamflow.quantizers.vq_ema_settings import VqEmaSettings
from lamflow.settings import DEEPEST, LARGEST_BATCH, MOST, Settings, Width
from lamflow.spaces import Unknown
from lamflow.training.settings import TrainingSettings


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

    def problems_on(self, spec: EnvironmentSpec) -> Iterable[tuple[str, str]]:
        """Labels where nobody recorded actions."""
        if isinstance(spec.action, Unknown):
            yield (
                "labels",
                f"found {self.labels}, and the episodes of {spec.name} have no actions: leave `supervision` out",
            )


class LamSettings(Component):
    """What learns latent actions of frames. It builds a ``lamflow.lam.model.LatentActionModel``, with ``spec``."""

    quantizer: Annotated[QuantizerSettings, Chosen(QUANTIZERS)] = Field(
        default_factory=VqEmaSettings, description="The quantiser of its latents."
    )
    supervision: SupervisionSettings | None = Field(None, description="Few action labels in its training; null: none.")
    training: TrainingSettings = Field(default_factory=TrainingSettings, description="Its training.")


LAMS: Registry[LamSettings] = Registry("lamflow.lam", LamSettings)
AnyLam = Annotated[LamSettings, Chosen(LAMS, default="one_step")]


def lam_settings(settings: Mapping[str, Any]) -> LamSettings:
    """The settings group of a model's dumped settings, by their kind; pydantic's ValidationError when they are none."""
    found: LamSettings = TypeAdapter(AnyLam).validate_python(dict(settings))
    return found
