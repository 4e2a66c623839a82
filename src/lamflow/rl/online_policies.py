"""The policies of online decoding: a latent policy with heads for rewards, and the same network from nothing.

Shapes: B batch, S latents a state, D decoder inputs, F features, A actions, T codes a transition, C codes a codebook.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.perceptron import mlp
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.decoders import code_one_hot
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings
from lamflow.rl.actor_critic import ActorCritic, Encoded, initialise_head


class OnlinePolicy(ActorCritic):
    """What all variants share: ``forward`` answers logits, so that rollouts take it for a policy in true actions."""

    settings: PolicySettings

    def forward(self, inputs: PolicyInputs) -> Tensor:
        """Logits float32 [B, A]."""
        return self.evaluate(self.encode(inputs))[0]


class ScratchPolicy(OnlinePolicy):
    """A policy network with a value head, all of it trained: PPO from scratch."""

    def __init__(self, *, settings: PolicySettings, spec: EnvironmentSpec) -> None:
        super().__init__()
        refuse_recurrence(settings)
        self.settings, self.spec, self.context = settings, spec, settings.context
        self.space = DiscreteActions.of(spec)
        self.network = PolicyNetwork(settings=settings, spec=spec, output_dim=self.space.num_outputs)
        initialise_head(self.network.encoder.output, 0.01)
        self.value = initialise_head(nn.Linear(settings.network.hidden_width, 1), 1.0)

    def encode(self, inputs: PolicyInputs) -> Encoded:
        """The inputs themselves: their parts in the order of the environment's, and what had begun."""
        return (*(inputs.parts[name] for name in self.spec.observation), inputs.begun)

    def evaluate(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Log-probabilities float32 [B, A] and values float32 [B]."""
        encoder = self.network.encoder
        *parts, begun = encoded
        inputs = PolicyInputs(dict(zip(self.spec.observation, parts, strict=True)), begun)
        features_BF = encoder.dense(self.network.convolved(inputs), encoder.hidden)
        return self.space.distribution(encoder.output(features_BF), features_BF.new_zeros(0)), self.value(
            features_BF
        ).float()[:, 0]


class FinetunedPolicy(OnlinePolicy):
    """LAPO's online policy: the convolutions of a latent policy, frozen; a copy of its hidden layer, a policy head that begins at
    zero and a value head, trained with rewards.

    With ``decoder_widths`` the logits are the mean of the policy head's and of the log-probabilities that an action decoder gives the
    frozen latent policy's answer: uniform until ``put_decoder`` is called for the first time. Of a policy over one codebook of one token
    the decoder's answers are averaged over the codes; of one over several tokens the most likely codes count.
    ``num_tokens`` is 0 for a policy in latents; of a distribution over latents the decoder's answers are averaged over those drawn, with
    noise of ``generator``.
    """

    def __init__(
        self,
        policy: PolicyNetwork,
        *,
        spec: EnvironmentSpec,
        num_tokens: int,
        num_codes: int,
        decoder_widths: Sequence[int] | None,
    ) -> None:
        super().__init__()
        refuse_recurrence(policy.settings)
        self.settings, self.spec, self.context = policy.settings, spec, policy.settings.context
        self.latent_policy = policy.requires_grad_(False)
        self.generator = torch.default_generator
        self.num_tokens, self.num_codes = num_tokens, num_codes
        encoder = policy.encoder
        width = policy.settings.network.hidden_width
        self.hidden = copy.deepcopy(encoder.hidden).requires_grad_(True)
        self.space = DiscreteActions.of(spec)
        self.policy = nn.Linear(width, self.space.num_outputs)
        nn.init.zeros_(self.policy.weight)
        nn.init.zeros_(self.policy.bias)
        self.value = initialise_head(nn.Linear(width, 1), 1.0)
        self.decoder: nn.Sequential | None = None
        if decoder_widths is not None:
            self.decoder = mlp(self.decoder_inputs, decoder_widths, self.space.num_outputs).requires_grad_(False)
            with torch.no_grad():
                for parameter in self.decoder[-1].parameters():
                    parameter.zero_()

    @property
    def decoder_inputs(self) -> int:
        """Width of what the decoder gets: a latent, or the one-hot codes of all tokens."""
        head = self.latent_policy.head
        return self.latent_policy.output_dim if head is None else head.latent_dim

    def put_decoder(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of a decoder that was fitted anew."""
        assert self.decoder is not None
        self.decoder.load_state_dict(dict(weights))

    @torch.no_grad()
    def encode(self, inputs: PolicyInputs) -> Encoded:
        """What the frozen convolutions see, and the decoder's log-probabilities, if there is one."""
        convolved_BF = self.latent_policy.convolved(inputs)
        if self.decoder is None:
            return (convolved_BF,)
        encoder = self.latent_policy.encoder
        outputs = self.latent_policy.outputs(encoder.dense(convolved_BF, encoder.hidden)).float()
        weights_BS, inputs_BSD = self._decodable(outputs)
        probabilities = self.space.answer(self.decoder(inputs_BSD))
        return convolved_BF, torch.einsum("bs,bsa->ba", weights_BS, probabilities).clamp_min(1e-12).log()

    def _decodable(self, outputs_BO: Tensor) -> tuple[Tensor, Tensor]:
        """What the latent policy means, as weights [B, S] of decoder inputs [B, S, D]."""
        if self.latent_policy.head is not None:
            return self.latent_policy.head.draw(outputs_BO, self.generator)
        if self.num_tokens == 1:
            one_hot_CC = torch.eye(self.num_codes, device=outputs_BO.device)
            return torch.softmax(outputs_BO, dim=-1), one_hot_CC.expand(len(outputs_BO), -1, -1)
        if self.num_tokens > 1:
            codes_BT = outputs_BO.unflatten(1, (self.num_tokens, self.num_codes)).argmax(-1)
            outputs_BO = code_one_hot(codes_BT, self.num_codes)
        return outputs_BO.new_ones(len(outputs_BO), 1), outputs_BO[:, None]

    def evaluate(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Log-probabilities float32 [B, A] and values float32 [B]."""
        convolved_BF, *decoded = encoded
        features_BF = self.latent_policy.encoder.dense(convolved_BF, self.hidden)
        logits_BA = self.policy(features_BF).float()
        if decoded:
            logits_BA = (logits_BA + decoded[0]) / 2
        return self.space.distribution(logits_BA, logits_BA.new_zeros(0)), self.value(features_BF).float()[:, 0]


def refuse_recurrence(settings: PolicySettings) -> None:
    """ValueError for a recurrent policy."""
    if settings.recurrent:
        raise ValueError(
            "policy.recurrent: online decoding takes no recurrent policy; give it a context of several frames instead"
        )
