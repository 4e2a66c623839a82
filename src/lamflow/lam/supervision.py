"""Few action labels in the training of a latent action model: a head on the latent predicts the true action.

LAOM (arXiv 2502.00379), LAFP (arXiv 2606.10517) and CLAM (arXiv 2505.04999) do so with weights of 0.01, 0.1 and 1. The head reads
the latent before quantisation, as decoders and probes do, so its gradient goes past the quantiser. It is of no use once the model
is trained and is no part of the model's file.

Shapes: S labelled batch, A actions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import Window, WindowSpec
from lamflow.lam.model import LatentActionModel
from lamflow.lam.settings import SupervisionSettings
from lamflow.networks.perceptron import mlp
from lamflow.policies.actions import actions_of
from lamflow.training.checkpoint import random_states, restore_random_states
from lamflow.training.loop import Loss


class Labelled(NamedTuple):
    """Labelled transitions with their true ``actions`` int64 [S], and the ``weight`` of their loss at this step, a scalar."""

    window: Window
    actions: Tensor
    weight: Tensor


class LabelledTransitions:
    """Endless batches of the labelled ``rows`` int64 of ``data``, in windows of ``spec``; the batch of a step depends on the arguments and
    the step alone.

    No other transition's action is read. Of several processes, each gets its part of the batch.
    """

    def __init__(
        self, data: EpisodeTensors, rows: Tensor, spec: WindowSpec, settings: SupervisionSettings, seed: int
    ) -> None:
        held = data.part(spec.with_columns("actions"), rows)
        self._stream = held.stream(settings.batch_size, seed)
        self._every = settings.every
        self._weight = torch.tensor(settings.weight, device=data.device)
        self._none = torch.zeros_like(self._weight)

    def batch(self, step: int) -> Labelled:
        """The labelled transitions of step ``step`` (0, 1, ...); they count in each ``every``-th one, from step 0 on.

        In the others their weight is 0: a compiled step is the same graph whether they count or not.
        """
        window = self._stream.window(step)
        weight = self._weight if step % self._every == 0 else self._none
        return Labelled(window, window.at("actions"), weight)


class SupervisedLam(nn.Module):
    """A latent action model in training, and the head that reads true actions off its latents.

    The head is drawn with a copy of the random states: a model with supervision begins, and goes on to draw, as one without.
    """

    def __init__(self, lam: LatentActionModel, settings: SupervisionSettings) -> None:
        super().__init__()
        self.lam = lam
        states = random_states()
        self.space = actions_of(lam.spec)
        self.head = mlp(lam.settings.quantizer.latent_dim, settings.hidden_widths, self.space.num_outputs)
        restore_random_states(states)

    def loss(self, batch: tuple[Window, Labelled]) -> Loss:
        """The model's own loss of its windows + weight x loss of the labelled transitions' actions, in nats."""
        window, labelled = batch
        loss = self.lam.loss(window)
        logits_SA = self.head(self.lam.encode(labelled.window)).float()
        supervision = self.space.loss(logits_SA, labelled.actions)
        agreement = self.space.agreement(logits_SA, labelled.actions)
        return Loss(
            total=loss.total + labelled.weight * supervision,
            terms={
                **loss.terms,
                "loss/supervision": supervision.detach(),
                **{f"supervision/{name}": value for name, value in agreement.items()},
            },
        )
