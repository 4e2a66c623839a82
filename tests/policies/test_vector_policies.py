"""Policies that see vectors and answer continuous actions: what they learn, and that the moments of their data travel with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import transition_rows
from lamflow.envs.interface import Observation
from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.mlp_settings import MlpEncoderSettings
from lamflow.policies.actions import BoxActions, actions_of
from lamflow.policies.agents import PolicyAgent, RandomAgent
from lamflow.policies.decoders import no_decode
from lamflow.policies.inverse_dynamics import fit_action_labeller
from lamflow.policies.learning import Examples, clone
from lamflow.policies.members import build_policy, policy_header
from lamflow.policies.mlp_decoder import MlpDecoder
from lamflow.policies.mlp_decoder_settings import MlpDecoderSettings
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings
from lamflow.spaces import Box, Categories, Vector
from lamflow.training.agreement import r_squared
from lamflow.training.metrics import MetricsLog

SPEC = EnvironmentSpec(
    name="line",
    family="gymnasium",
    observation={"state": Vector((3,)), "mode": Categories((1,), (2,))},
    main="state",
    action=Box((-1.0, 0.0), (1.0, 4.0)),
    max_steps=10,
)
MEAN, DEVIATION = np.array([100.0, -3.0, 0.0]), np.array([20.0, 0.1, 0.0])
"""Of what is observed; the last entry never varies."""
TRAINING = {"steps": 400, "batch_size": 128, "learning_rate": 3e-3, "precision": "float32"}


def line(episodes: int, seed: int = 0) -> EpisodeArrays:
    """Episodes whose action follows from the state and the mode, and whose next state shows the action."""
    generator, length = np.random.default_rng(seed), 10
    rows = episodes * length
    place = generator.uniform(-1, 1, (rows, 2))
    mode = generator.integers(2, size=rows)
    first = 0.8 * place[:, 0] * np.where(mode == 1, 1, -1)
    actions = np.stack([first, 2 + 1.6 * place[:, 1]], axis=1)
    for row in range(1, rows):  # the first entry of the next state is moved by the first entry of the action
        place[row, 0] = 0.1 * place[row, 0] + 1.2 * actions[row - 1, 0]
        actions[row, 0] = 0.8 * place[row, 0] * (1 if mode[row] == 1 else -1)
    state = np.concatenate([place, np.zeros((rows, 1))], axis=1) * DEVIATION + MEAN
    return EpisodeArrays(
        observations={"state": state.astype(np.float32), "mode": mode[:, None].astype(np.uint8)},
        actions=actions.astype(np.float32),
        acted=np.ones(rows, np.bool_),
        rewards=np.zeros(rows, np.float32),
        terminated=np.arange(rows) % length == length - 1,
        truncated=np.zeros(rows, np.bool_),
        episode_starts=np.arange(0, rows, length),
        level_seeds=np.arange(episodes),
        main="state",
    )


def settings_of(**changes: Any) -> PolicySettings:
    network = {"kind": "mlp", "hidden_width": 64}
    return PolicySettings.model_validate({"network": network, "training": TRAINING, **changes})


@pytest.fixture(scope="module")
def fit() -> Callable[..., PolicyNetwork]:
    def made(**changes: Any) -> PolicyNetwork:
        settings, arrays = settings_of(**changes), line(100)
        space = actions_of(SPEC).learnt_by(settings.box_loss)
        return clone(
            spec=SPEC,
            settings=settings,
            output_dim=space.num_outputs,
            objective=space.loss,
            train_examples=Examples(EpisodeTensors(arrays), transition_rows(arrays), "actions"),
            validation_examples=None,
            seed=0,
            metrics=MetricsLog(),
            state_dir=None,
            identity="",
            title="",
        ).eval()

    return made


def seen(arrays: EpisodeArrays) -> Observation:
    return Observation(dict(arrays.observations))


def agent_of(network: PolicyNetwork, selection: Any = "argmax") -> PolicyAgent:
    space = actions_of(SPEC).learnt_by(network.settings.box_loss)
    return PolicyAgent(
        networks=[network],
        num_members=1,
        space=actions_of(SPEC),
        decode=no_decode(space),
        action_selection=selection,
        seed=0,
    )


def acted(agent: PolicyAgent | RandomAgent, observation: Observation) -> torch.Tensor:
    return agent.act(observation, agent.initial_state(observation), torch.zeros(len(observation), dtype=torch.int64))[0]


@pytest.mark.slow
@pytest.mark.parametrize("box_loss", ["squared", "gaussian"])
def test_a_policy_over_vectors_imitates_with_either_loss_by_all_parts(
    box_loss: str, fit: Callable[..., PolicyNetwork]
) -> None:
    network, held_out = fit(box_loss=box_loss), line(20, seed=1)
    wanted = torch.from_numpy(held_out.actions)
    found = acted(agent_of(network), seen(held_out))
    assert r_squared(found, wanted).min() > 0.95
    confused = dict(held_out.observations) | {"mode": 1 - held_out.observations["mode"]}
    assert r_squared(acted(agent_of(network), Observation(confused)), wanted)[0] < 0, "the mode decides about the sign"
    drawn = acted(agent_of(network, "sample"), seen(held_out))
    assert torch.equal(drawn, found) == (box_loss == "squared"), "a mean has no deviation to draw with"


@pytest.mark.slow
def test_equal_trainings_are_equal_and_moments_of_the_data_travel_with_the_weights(
    fit: Callable[..., PolicyNetwork],
) -> None:
    changes = {"training": TRAINING | {"steps": 20}}
    first, second = fit(**changes), fit(**changes)
    weights = first.state_dict()
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in weights.items())
    state = line(100).observations["state"].astype(np.float64)
    moments = {name: tensor for name, tensor in weights.items() if name.endswith((".mean", ".deviation"))}
    assert len(moments) == 2
    for name, tensor in moments.items():
        expected = state.mean(0) if name.endswith("mean") else state.std(0)
        torch.testing.assert_close(tensor.double(), torch.from_numpy(expected), rtol=1e-5, atol=1e-6)
    again = build_policy(policy_header(first), SPEC)
    again.load_state_dict(weights)
    observation = seen(line(3, seed=2))
    found = acted(agent_of(first), observation)
    assert torch.equal(found, acted(agent_of(again.eval()), observation))
    for name, tensor in moments.items():
        again.load_state_dict({**weights, name: tensor + 1})
        assert not torch.equal(found, acted(agent_of(again), observation)), name


def test_inputs_are_the_same_in_whatever_unit_they_are_measured() -> None:
    arrays, inputs = line(20), []
    for scale, shift in ((1.0, 0.0), (0.25, 8.0)):
        observations = {
            **arrays.observations,
            "state": arrays.observations["state"] * np.float32(scale) + np.float32(shift),
        }
        torch.manual_seed(0)
        network = PolicyNetwork(settings=settings_of(), spec=SPEC, output_dim=2).eval()
        scaled = EpisodeArrays(**{**arrays.__dict__, "observations": observations})
        network.standardise(EpisodeTensors(scaled).moments())
        inputs.append(acted(agent_of(network), Observation(observations)))
    torch.testing.assert_close(*inputs, atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_an_inverse_dynamics_model_labels_continuous_actions() -> None:
    arrays = line(100)
    data = EpisodeTensors(arrays)
    training = MlpDecoderSettings.model_validate({"training": TRAINING}).training
    labeller = fit_action_labeller(
        settings=MlpEncoderSettings(hidden_width=64),
        symmetry="none",
        training=training,
        spec=SPEC,
        data=data,
        rows=data.rows,
        seed=0,
    ).eval()
    labels = labeller.pseudo_labels(data, data.rows)
    assert labels.shape == (len(data.rows), 2) and labels.dtype == torch.float32
    assert r_squared(labels, data.actions[data.rows]).min() > 0.8
    shuffled = labels[torch.randperm(len(labels))]
    assert r_squared(shuffled, data.actions[data.rows]).max() < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("box_loss", ["squared", "gaussian"])
def test_decoders_make_continuous_actions_of_latents_for_each_member(box_loss: str) -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(400, 3, generator=generator)
    space = BoxActions((-1.0, 0.0), (1.0, 4.0))
    wanted = space.taken(0.6 * latents[:, :2].tanh())
    settings = MlpDecoderSettings.model_validate({"box_loss": box_loss, "training": TRAINING, "hidden_widths": [32]})
    decoder = MlpDecoder(settings, space, 0, 0)
    mirrored = torch.stack([-wanted[:, 0], 4 - wanted[:, 1]], dim=1)
    weights = [decoder.fit(latents, torch.zeros(400, 0), actions, 0)[0] for actions in (wanted, mirrored)]
    members = torch.arange(400) % 2
    answers = decoder.decode(weights)(latents, members)
    found = space.choose(answers, "argmax", generator)
    expected = torch.where(members[:, None] == 0, wanted, mirrored)
    assert r_squared(found, expected).min() > 0.95


def test_random_agents_act_anywhere_in_the_space() -> None:
    observation = seen(line(100))
    found = acted(RandomAgent(actions_of(SPEC), seed=0), observation)
    np.testing.assert_allclose(found.min(0).values, SPEC.action.low, atol=0.05)
    np.testing.assert_allclose(found.max(0).values, SPEC.action.high, atol=0.05)
