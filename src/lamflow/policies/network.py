"""The policy network, over grids with the inputs that a frame hides as settings, over pixels, or over vectors.

Shapes: B batch, K context frames, H and W frame sides, P proprioceptive entries, G task entries, O outputs, F feature width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.encoders import build_encoder
from lamflow.networks.grids import CategoryEmbedding
from lamflow.networks.settings import EncoderSettings
from lamflow.networks.symmetry import agent_direction, centred_on_agent, face_up
from lamflow.networks.vectors import standardise_inputs, vector_input
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.latent_heads import LatentHead
from lamflow.policies.settings import PolicySettings
from lamflow.spaces import Part
from lamflow.training.precision import Precision, precision_of


def match_planes(frames_BHW2: Tensor, task_BG: Tensor) -> Tensor:
    """Where the grid shows the goal's first and second object: float32 [B, H, W, 2]."""
    objects = (task_BG[:, None, None, 1:3], task_BG[:, None, None, 3:5])
    return torch.stack([(frames_BHW2 == entry).all(-1) for entry in objects], dim=-1).float()


def carried_matches(proprioception_BP: Tensor, task_BG: Tensor) -> Tensor:
    """Whether the agent carries the goal's first or second object: float32 [B, 2]."""
    carried = proprioception_BP[:, 1:3]
    return torch.stack([(carried == task_BG[:, 1:3]).all(-1), (carried == task_BG[:, 3:5]).all(-1)], dim=-1).float()


def inference_precision(settings: EncoderSettings, parameters: Iterable[nn.Parameter]) -> Precision:
    """Of the network of these settings and parameters outside of training: what ``auto`` takes, or float32 where its kind says so."""
    reason = settings.float32_when_used
    return Precision("float32", reason) if reason else precision_of("auto", parameters)


def other_parts(spec: EnvironmentSpec) -> dict[str, Part]:
    """The parts of observations that policies see beside the main one, without those that grid worlds give a meaning of their own."""
    meant = ("proprioception", "task") if spec.is_grid_world else ()
    return {name: part for name, part in spec.observation.items() if name not in (spec.main, *meant)}


def _module_name(part: str) -> str:
    """By which its input is kept: a part may be called what modules have as an attribute, such as ``keys`` or ``type``."""
    return f"of_{part}"


class PolicyNetwork(nn.Module):
    """An encoder over a context of frames, or a recurrent state over single frames, with what is observed beside frames.

    Vectors are standardised (``standardise``), categories embedded; of both the network sees those of the present.
    An environment without proprioception or without a task has no such input, whatever the settings. With a task, planes mark
    the cells that show the goal's objects; in a full view, where the agent may be anywhere, they also enter centred on the
    agent, so that the way to an object is the same input wherever both are. ``head``, no part of ``forward``, reads the outputs as a
    distribution over latents: without one, they are the latent itself (or logits).
    """

    def __init__(
        self, *, settings: PolicySettings, spec: EnvironmentSpec, output_dim: int, head: LatentHead | None = None
    ) -> None:
        super().__init__()
        assert head is None or head.num_outputs == output_dim
        self.settings, self.output_dim, self.spec, self.main = settings, output_dim, spec, spec.main
        self.has_proprioception = settings.proprioception and spec.is_grid_world and bool(spec.proprioception_sizes)
        self.has_task = settings.task and spec.is_grid_world and bool(spec.task_sizes)
        self.centres_goal = self.has_task and spec.view == "full"
        self.others = other_parts(spec)
        extra_dim = self._embed_extras(spec, settings.network.extras_width)
        hidden = settings.network.hidden_width
        self.encoder = build_encoder(
            settings.network,
            num_frames=1 if settings.recurrent else settings.context,
            spec=spec,
            output_dim=hidden if settings.recurrent else output_dim,
            extra_dim=extra_dim,
            extra_planes=2 if self.has_task else 0,
        )
        if settings.recurrent:
            self.cell = nn.GRUCell(hidden, hidden)
            self.output = nn.Linear(hidden, output_dim)
        self.head = head

    def _embed_extras(self, spec: EnvironmentSpec, width: int | None) -> int:
        """Make the embeddings of the inputs beside the frames, ``width`` a category; the width of all these inputs together, 0 where the
        encoder has none."""
        extra_dim = 0
        self.other_inputs = nn.ModuleDict()
        if width is None:
            return extra_dim
        if self.has_proprioception:
            self.proprioception = CategoryEmbedding(spec.proprioception_sizes, width)
            extra_dim += self.proprioception.output_dim
        if self.has_task:
            self.goal = CategoryEmbedding(spec.task_sizes[:1], width)
            extra_dim += self.goal.output_dim + (2 if self.has_proprioception else 0)
            if self.centres_goal:
                extra_dim += 2 * (2 * spec.frame_shape[0] - 1) * (2 * spec.frame_shape[1] - 1)
        for name, part in self.others.items():
            module = vector_input(name, part, width)
            extra_dim += module.output_dim
            self.other_inputs[_module_name(name)] = module
        return extra_dim

    def standardise(self, moments: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Take over the mean and the standard deviation, float32 [entries] each, of the parts that are vectors: those of the data to train
        on. They travel with the weights."""
        standardise_inputs(self, moments)

    def _other_inputs(self) -> list[tuple[str, nn.Module]]:
        """The parts that have an input of their own, and its module; none where the encoder has no extra inputs."""
        modules = {name: _module_name(name) for name in self.others}
        return [(name, self.other_inputs[key]) for name, key in modules.items() if key in self.other_inputs]

    def forward(self, inputs: PolicyInputs) -> Tensor:
        """Outputs float [B, O] for a batch of contexts; a recurrent policy starts from a zero state."""
        return self.outputs(self.features(inputs))

    def features(self, inputs: PolicyInputs) -> Tensor:
        """Float [B, F] for a batch of contexts: activations of the hidden layer, or the recurrent state, from zero on."""
        if not self.settings.recurrent:
            inputs = self._canonical(inputs)
            return self.encoder.features(inputs.parts[self.main], *self._extras(inputs))
        batch, context = inputs.begun.shape
        width = self.settings.network.hidden_width
        state = torch.zeros(batch, width, device=inputs.begun.device)
        for index in range(context):
            state = torch.where(inputs.begun[:, index, None], self._advance(inputs, index, state), state)
        return state

    def outputs(self, features_BF: Tensor) -> Tensor:
        """Outputs [B, O] of the present features."""
        outputs: Tensor = self.output(features_BF) if self.settings.recurrent else self.encoder.output(features_BF)
        return outputs

    def convolved(self, inputs: PolicyInputs) -> Tensor:
        """What the hidden layer of a policy that is not recurrent gets, [B, D]; see ``Encoder.convolved``."""
        assert not self.settings.recurrent
        inputs = self._canonical(inputs)
        return self.encoder.convolved(inputs.parts[self.main], *self._extras(inputs))

    def step(self, inputs: PolicyInputs, state_BF: Tensor) -> tuple[Tensor, Tensor]:
        """One step of a recurrent policy: outputs [B, O] and the next state [B, F], which is its features too."""
        state_BF = self._advance(inputs, -1, state_BF)
        return self.outputs(state_BF), state_BF

    def _canonical(self, inputs: PolicyInputs) -> PolicyInputs:
        """With a rotation symmetry, frames and the directions in proprioception turned so that the agent faces up at present."""
        if self.settings.symmetry == "none":
            return inputs
        frames, proprioception = inputs.parts[self.main], inputs.parts["proprioception"].clone()
        turned = proprioception[..., 0].long() - agent_direction(frames[:, -1])[:, None]
        proprioception[..., 0] = (turned % 4).to(proprioception.dtype)
        return inputs.replaced({self.main: face_up(frames, present=-1), "proprioception": proprioception})

    def _advance(self, inputs: PolicyInputs, index: int, state_BF: Tensor) -> Tensor:
        single = slice(index, index + 1) if index >= 0 else slice(index, None)
        inputs = self._canonical(inputs.map(lambda part: part[:, single]))
        features = torch.relu(self.encoder(inputs.parts[self.main], *self._extras(inputs)))
        next_state: Tensor = self.cell(features.float(), state_BF)
        return next_state

    def _extras(self, inputs: PolicyInputs) -> tuple[Tensor | None, Tensor | None]:
        """What stands beside the main part at present: a vector, and planes over a grid."""
        parts = []
        planes = None
        if self.has_proprioception:
            parts.append(self.proprioception(inputs.present("proprioception")))
        if self.has_task:
            frames, task = inputs.present(self.main), inputs.present("task")
            parts.append(self.goal(task[:, :1]))
            planes = match_planes(frames, task)
            if self.has_proprioception:
                parts.append(carried_matches(inputs.present("proprioception"), task))
            if self.centres_goal:
                parts.append(centred_on_agent(planes, frames).flatten(1))
        parts += [module(inputs.present(name)) for name, module in self._other_inputs()]
        return (torch.cat(parts, dim=-1) if parts else None), planes
