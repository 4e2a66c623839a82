"""Agents: members act by their own networks and decoders, actions are taken from distributions as asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from lamflow.envs.interface import Observation
from lamflow.envs.presets import preset
from lamflow.networks.perceptron import mlp
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.agents import AgentState, Decode, PolicyAgent, RandomAgent
from lamflow.policies.decoders import no_decode
from lamflow.policies.flow_settings import FlowSettings
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.mixture_settings import MixtureSettings
from lamflow.policies.mlp_decoder import mlp_decode
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import ActionSelection, PolicySettings
from lamflow.policies.views import agent_in
from lamflow.spaces import Vector
from lamflow.training.precision import default_device

SPEC = preset("xland-doorkey-5x5")
MakeInputs = Callable[..., PolicyInputs]


def make_network(seed: int = 0, **settings: Any) -> PolicyNetwork:
    torch.manual_seed(seed)
    network = {"width": 8, "layers": 1, "embedding_dim": 4, "hidden_width": 16}
    return PolicyNetwork(
        settings=PolicySettings.model_validate({"network": network} | settings), spec=SPEC, output_dim=6
    )


def constant_network(action: int) -> PolicyNetwork:
    """Answers ``action`` whatever it sees."""
    network = make_network()
    with torch.no_grad():
        network.encoder.output.weight.zero_()
        network.encoder.output.bias.copy_(10.0 * torch.eye(6)[action])
    return network


def observation_of(inputs: PolicyInputs) -> Observation:
    return Observation({name: inputs.present(name).numpy() for name in inputs.parts})


def decode_rolled(outputs: Tensor, members: Tensor) -> Tensor:
    """Each member's actions are those of the policy, moved on by its number."""
    pairs = zip(outputs, members.tolist(), strict=True)
    return torch.stack([output.roll(member).softmax(-1) for output, member in pairs])


def make_agent(
    networks: Sequence[PolicyNetwork],
    num_members: int,
    decode: Decode = no_decode(DiscreteActions(6)),  # noqa: B008
    action_selection: Literal["argmax", "sample"] = "argmax",
    seed: int = 0,
    decodes_features: bool = False,
) -> PolicyAgent:
    return PolicyAgent(
        networks=networks,
        num_members=num_members,
        space=DiscreteActions(6),
        decode=decode,
        action_selection=action_selection,
        seed=seed,
        decodes_features=decodes_features,
    )


def test_each_member_acts_by_its_own_network(make_inputs: MakeInputs) -> None:
    agent = make_agent([constant_network(action) for action in (4, 1, 3)], 3)
    observation, members = observation_of(make_inputs(SPEC)), torch.tensor([2, 0, 1, 1, 0, 2, 2, 0])
    actions, _ = agent.act(observation, agent.initial_state(observation), members)
    assert actions.tolist() == [3, 4, 1, 1, 4, 3, 3, 4]
    assert actions.dtype == torch.int64


def test_members_that_share_a_network_are_told_apart_by_their_decoders(make_inputs: MakeInputs) -> None:
    agent = make_agent([constant_network(2)], 3, decode_rolled)
    observation, members = observation_of(make_inputs(SPEC)), torch.tensor([2, 0, 1, 1, 0, 2, 2, 0])
    actions, _ = agent.act(observation, agent.initial_state(observation), members)
    assert actions.tolist() == [4, 2, 3, 3, 2, 4, 4, 2]


@pytest.mark.parametrize("settings", [{}, {"context": 3}, {"context": 3, "recurrent": True}], ids=str)
def test_a_row_is_acted_on_the_same_in_any_company(settings: dict[str, Any], make_inputs: MakeInputs) -> None:
    """Members with their own networks and states, over three steps: all together or each row alone."""
    agent = make_agent([make_network(seed, **settings) for seed in range(2)], 2)
    members = torch.tensor([0, 1, 1, 0, 1, 0, 0, 1])
    observations = [observation_of(make_inputs(SPEC, seed=seed)) for seed in range(3)]
    state = agent.initial_state(observations[0])
    together = []
    for observation in observations:
        actions, state = agent.act(observation, state, members)
        together.append(actions)
    for row in range(8):
        part = slice(row, row + 1)
        alone = agent.initial_state(observations[0][part])
        for observation, expected in zip(observations, together, strict=True):
            actions, alone = agent.act(observation[part], alone, members[part])
            assert actions.tolist() == expected[part].tolist()
        torch.testing.assert_close(alone.recurrent, state.recurrent[part])


def test_actions_are_sampled_from_the_distribution_and_repeat_with_the_seed(make_inputs: MakeInputs) -> None:
    probabilities = torch.tensor([0.5, 0.3, 0.2, 0.0, 0.0, 0.0])

    def decode(outputs: Tensor, _members: Tensor) -> Tensor:
        return probabilities.expand(len(outputs), -1)

    observation = observation_of(make_inputs(SPEC, count=4000))
    members = torch.zeros(4000, dtype=torch.long)
    draws = []
    for seed in (0, 0, 1):
        agent = make_agent([constant_network(0)], 1, decode, "sample", seed)
        draws.append(agent.act(observation, agent.initial_state(observation), members)[0])
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    frequencies = torch.bincount(draws[0], minlength=6) / 4000
    torch.testing.assert_close(frequencies, probabilities, atol=0.03, rtol=0)
    agent = make_agent([constant_network(0)], 1, decode, "argmax")
    assert not agent.act(observation, agent.initial_state(observation), members)[0].any()


def test_acting_leaves_the_state_that_it_was_given_alone(make_inputs: MakeInputs) -> None:
    agent = make_agent([make_network(context=3, recurrent=True)], 1)
    first, second = (observation_of(make_inputs(SPEC, seed=seed)) for seed in range(2))
    state = agent.initial_state(first)
    frames, recurrent = state.inputs.parts["frames"].clone(), state.recurrent.clone()
    _, following = agent.act(second, state, torch.zeros(8, dtype=torch.long))
    assert torch.equal(state.inputs.parts["frames"], frames) and torch.equal(state.recurrent, recurrent)
    assert not torch.equal(following.recurrent, recurrent)


def test_a_context_moves_on_by_a_frame_a_step(make_inputs: MakeInputs) -> None:
    agent = make_agent([make_network(context=3)], 1)
    observations = [observation_of(make_inputs(SPEC, seed=seed)) for seed in range(4)]
    state = agent.initial_state(observations[0])
    assert not state.inputs.begun.any()
    for observation in observations:
        _, state = agent.act(observation, state, torch.zeros(8, dtype=torch.long))
    np.testing.assert_array_equal(
        state.inputs.parts["frames"], np.stack([seen.parts["frames"] for seen in observations[1:]], axis=1)
    )
    assert state.inputs.begun.all()


def test_an_agent_over_pixels_acts_on_single_frames() -> None:
    """Whatever precision its network computes in, its actions are int64 on the CPU."""
    torch.manual_seed(0)
    network = {"kind": "impala", "stem": "patch", "channels": [8], "blocks": 0, "hidden_width": 16}
    policy = PolicyNetwork(
        settings=PolicySettings.model_validate({"network": network}),
        spec=preset("procgen-bigfish"),
        output_dim=15,
    )
    agent = make_agent([policy.to(default_device())], 2, decode_rolled)
    frames = np.random.default_rng(0).integers(256, size=(6, 64, 64, 3), dtype=np.uint8)
    observation = Observation({"frames": frames})
    actions, state = agent.act(observation, agent.initial_state(observation), torch.tensor([0, 1] * 3))
    assert actions.dtype == torch.int64 and actions.device.type == "cpu"
    np.testing.assert_array_equal(state.inputs.parts["frames"][:, 0].cpu(), frames)
    turned, _ = agent.act(observation, agent.initial_state(observation), torch.tensor([1, 0] * 3))
    assert (turned - actions).remainder(15).tolist() == [1, 14] * 3, "each member has its own decoder"


def test_states_of_some_rows_are_taken_out_and_put_back() -> None:
    parts = {"frames": torch.arange(12).reshape(4, 3), "pose": torch.arange(12).reshape(4, 3, 1) * 2}
    inputs = PolicyInputs(parts, torch.zeros(4, 3, dtype=torch.bool))
    state = AgentState(inputs, torch.rand(4, 2))
    rows = torch.tensor([3, 1])
    part = state[rows]
    assert part.inputs.parts["frames"].tolist() == [[9, 10, 11], [3, 4, 5]]
    part.inputs.parts["frames"].add_(100)
    part.inputs.begun[:] = True
    assert state.inputs.parts["frames"][3, 0] == 9, "a part is a copy"
    part.inputs.parts["pose"].neg_()
    state.put(rows, part)
    assert state.inputs.parts["pose"][:, -1, 0].tolist() == [4, -10, 16, -22]
    assert state.inputs.parts["frames"].tolist() == [[0, 1, 2], [103, 104, 105], [6, 7, 8], [109, 110, 111]]
    assert state.inputs.begun.all(1).tolist() == [False, True, False, True]


def test_the_random_agent_takes_every_action_equally_often(make_inputs: MakeInputs) -> None:
    observation, members = observation_of(make_inputs(SPEC, count=6000)), torch.zeros(6000, dtype=torch.long)
    draws = []
    for seed in (0, 0, 1):
        agent = RandomAgent(DiscreteActions(6), seed=seed)
        draws.append(agent.act(observation, agent.initial_state(observation), members)[0])
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    frequencies = torch.bincount(draws[0], minlength=6) / 6000
    torch.testing.assert_close(frequencies, torch.full((6,), 1 / 6), atol=0.02, rtol=0)


def headed_network(target: MixtureSettings | FlowSettings, **settings: Any) -> PolicyNetwork:
    """With a head over latents of four entries."""
    torch.manual_seed(0)
    head = target.build(latent_dim=4, feature_dim=16)
    network = {"width": 8, "layers": 1, "embedding_dim": 4, "hidden_width": 16}
    return PolicyNetwork(
        settings=PolicySettings.model_validate({"network": network} | settings),
        spec=SPEC,
        output_dim=head.num_outputs,
        head=head,
    ).eval()


def noted_probabilities(agent: PolicyAgent, observation: Observation, members: Tensor) -> Tensor:
    """The action probabilities [B, A] by which the agent acts."""
    seen: list[Tensor] = []

    class Noting(DiscreteActions):
        def choose(self, answers_BA: Tensor, selection: ActionSelection, generator: torch.Generator) -> Tensor:
            seen.append(answers_BA)
            return super().choose(answers_BA, selection, generator)

    agent.space = Noting(agent.space.count)
    agent.act(observation, agent.initial_state(observation), members)
    return seen[0]


HEADS = [MixtureSettings(components=3), FlowSettings(hidden_widths=(8,), samples=5)]


@pytest.mark.parametrize("settings", [{}, {"context": 3}, {"context": 3, "recurrent": True}], ids=str)
@pytest.mark.parametrize("target", HEADS, ids=["mixture", "flow"])
def test_with_a_head_probabilities_are_the_weighted_mean_over_the_latents_that_it_draws(
    target: MixtureSettings | FlowSettings, settings: dict[str, Any], make_inputs: MakeInputs
) -> None:
    network = headed_network(target, **settings)
    decoders = [mlp(4, (8,), 6) for _ in range(2)]
    decode = mlp_decode([decoder.state_dict() for decoder in decoders], DiscreteActions(6), num_tokens=0, num_codes=0)
    inputs, members = make_inputs(SPEC, context=settings.get("context", 1)), torch.tensor([1, 0, 0, 1, 1, 1, 0, 1])
    observation = observation_of(inputs)
    found = noted_probabilities(make_agent([network], 2, decode, seed=7), observation, members)
    inputs = inputs.replaced({name: part[:, -1:].expand_as(part) for name, part in inputs.parts.items()})
    inputs.begun[:, :-1] = False
    assert network.head is not None
    with torch.no_grad():
        weights, latents = network.head.draw(network(inputs), torch.Generator().manual_seed(7))
        for row, member in enumerate(members.tolist()):
            each = decoders[member](latents[row]).softmax(-1)
            torch.testing.assert_close(found[row], (weights[row, :, None] * each).sum(0))


def test_decoders_may_see_the_features_of_the_policy_behind_the_latent(make_inputs: MakeInputs) -> None:
    seen = []

    def decode(values: Tensor, _members: Tensor) -> Tensor:
        seen.append(values)
        return torch.ones(len(values), 6)

    inputs = make_inputs(SPEC)
    for network in (make_network(), headed_network(MixtureSettings(components=3))):
        agent = make_agent([network], 1, decode, decodes_features=True)
        observation = observation_of(inputs)
        agent.act(observation, agent.initial_state(observation), torch.zeros(8, dtype=torch.long))
        with torch.no_grad():
            features = network.features(inputs)
        samples = len(seen[-1]) // 8
        torch.testing.assert_close(seen[-1][:, -16:], features.repeat_interleave(samples, dim=0))
    assert [tuple(values.shape) for values in seen] == [(8, 6 + 16), (3 * 8, 4 + 16)]


@pytest.mark.parametrize("target", HEADS, ids=["mixture", "flow"])
def test_an_agent_that_draws_latents_repeats_with_its_seed(
    target: MixtureSettings | FlowSettings, make_inputs: MakeInputs
) -> None:
    decode = mlp_decode([mlp(4, (), 6).state_dict()], DiscreteActions(6), num_tokens=0, num_codes=0)
    observation, members = observation_of(make_inputs(SPEC, count=200)), torch.zeros(200, dtype=torch.long)
    acted = []
    for seed in (0, 0, 1):
        agent = make_agent([headed_network(target)], 1, decode, "sample", seed)
        acted.append(agent.act(observation, agent.initial_state(observation), members)[0])
    assert torch.equal(acted[0], acted[1]) and not torch.equal(acted[0], acted[2])


def test_an_agent_of_a_union_sees_in_each_environment_what_it_has_learnt_from(make_inputs: MakeInputs) -> None:
    inputs = make_inputs(SPEC, 4)
    seen = observation_of(inputs)
    elsewhere = Observation(
        {"map": seen.parts["frames"], "proprioception": seen.parts["proprioception"], "more": np.zeros((4, 2))}
    )
    there = replace(
        SPEC,
        name="there",
        main="map",
        observation={"map": SPEC.main_part, "proprioception": SPEC.observation["proprioception"], "more": Vector((2,))},
    )
    actions = []
    for played, observation in ((SPEC, seen), (there, elsewhere)):
        agent = make_agent([make_network()], 1, action_selection="argmax")
        learnt = agent_in(agent, SPEC, played)
        assert (learnt is agent) == (played is SPEC)
        assert learnt.num_members == 1 and learnt.precision == agent.precision
        state = learnt.initial_state(observation)
        chosen, state = learnt.act(observation, state, torch.zeros(4, dtype=torch.int64))
        actions.append(chosen.tolist())
    assert actions[0] == actions[1]
