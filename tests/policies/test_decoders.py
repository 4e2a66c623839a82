"""From latents and codes to true actions: closed forms of the dictionary, and decoders that learn what is there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lamflow.data.held_windows import HeldWindows
from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION, Window, effectful, transition_rows
from lamflow.envs.presets import preset
from lamflow.networks.grid_settings import GridEncoderSettings
from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.networks.perceptron import mlp
from lamflow.networks.settings import Symmetry
from lamflow.networks.symmetry import rotate_frames
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.dataset import policy_features
from lamflow.policies.decoders import code_one_hot, no_decode
from lamflow.policies.dictionary_decoder import code_action_table, table_decode
from lamflow.policies.inverse_dynamics import ActionLabeller, fit_action_labeller
from lamflow.policies.mlp_decoder import fit_mlp_decoder, mlp_decode
from lamflow.policies.mlp_decoder_settings import MlpDecoderSettings
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings
from lamflow.training.settings import TrainingSettings

WORLD = preset("xland-empty-random-8x8-full")


def test_the_table_smooths_counts_towards_the_frequencies_of_the_labels() -> None:
    """Five labels: code 0 with actions 0, 0 and 1, code 1 with actions 1 and 1; code 2 has none."""
    codes, actions = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 1])
    table = code_action_table(codes, actions, num_codes=3, num_actions=3, smoothing=0.5)
    prior = [3 / 8, 4 / 8, 1 / 8]  # (n_a + 1) / (5 + 3)
    expected = [
        [(2 + 0.5 * prior[0]) / 3.5, (1 + 0.5 * prior[1]) / 3.5, 0.5 * prior[2] / 3.5],
        [0.5 * prior[0] / 2.5, (2 + 0.5 * prior[1]) / 2.5, 0.5 * prior[2] / 2.5],
        prior,
    ]
    torch.testing.assert_close(table, torch.tensor(expected))


def test_rows_of_the_table_are_distributions() -> None:
    torch.manual_seed(0)
    table = code_action_table(
        torch.randint(8, (30,)), torch.randint(6, (30,)), num_codes=8, num_actions=6, smoothing=0.1
    )
    assert table.shape == (8, 6) and (table > 0).all()
    torch.testing.assert_close(table.sum(1), torch.ones(8))


def test_table_decoding_averages_over_the_policys_distribution() -> None:
    """P(action 0) = .6 * .9 + .4 * .2, although the most likely code alone would say .9."""
    tables = [torch.tensor([[0.9, 0.1], [0.2, 0.8]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])]
    logits = torch.tensor([[0.6, 0.4]]).log() + 3
    decode = table_decode(tables)
    found = decode(logits.expand(3, -1), torch.tensor([1, 0, 1]))
    torch.testing.assert_close(found, torch.tensor([[0.4, 0.6], [0.62, 0.38], [0.4, 0.6]]))


def test_policies_in_true_actions_answer_the_softmax_of_their_logits() -> None:
    logits = torch.tensor([[0.25, 0.75]]).log()
    torch.testing.assert_close(no_decode(DiscreteActions(2))(logits, torch.tensor([3])), torch.tensor([[0.25, 0.75]]))


def test_one_hot_codes_stand_side_by_side() -> None:
    assert code_one_hot(torch.tensor([[2, 0]]), 3).tolist() == [[0, 0, 1, 1, 0, 0]]


@pytest.mark.parametrize("hidden", [(), (7,), (9, 5)])
def test_an_mlp_decodes_latents_by_the_members_network(hidden: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    networks = [mlp(4, hidden, 6) for _ in range(12)]
    decode = mlp_decode([network.state_dict() for network in networks], DiscreteActions(6), num_tokens=0, num_codes=0)
    for members in ([3, 11, 3, 0, 11, 3, 3, 7, 0], [5, 0, 3], [11] * 4, [*range(12), 3]):
        latents = torch.randn(len(members), 4)
        expected = [networks[member](row).softmax(-1) for member, row in zip(members, latents, strict=True)]
        torch.testing.assert_close(decode(latents, torch.tensor(members)), torch.stack(expected))


def test_an_mlp_decodes_the_most_likely_code_of_every_token() -> None:
    torch.manual_seed(0)
    network = mlp(2 * 3, (8,), 6)
    decode = mlp_decode([network.state_dict()], DiscreteActions(6), num_tokens=2, num_codes=3)
    logits = torch.tensor([[0.1, 0.9, 0.2, 5.0, 4.0, 4.9]])
    expected = network(torch.tensor([[0.0, 1, 0, 1, 0, 0]])).softmax(-1)
    torch.testing.assert_close(decode(logits, torch.tensor([0])), expected)


def test_codes_are_decoded_together_with_what_stands_behind_them() -> None:
    torch.manual_seed(0)
    network = mlp(2 * 3 + 2, (8,), 6)
    decode = mlp_decode([network.state_dict()], DiscreteActions(6), num_tokens=2, num_codes=3)
    values = torch.tensor([[0.1, 0.9, 0.2, 5.0, 4.0, 4.9, -0.5, 7.0]])
    expected = network(torch.tensor([[0.0, 1, 0, 1, 0, 0, -0.5, 7.0]])).softmax(-1)
    torch.testing.assert_close(decode(values, torch.tensor([0])), expected)


@pytest.mark.slow
def test_a_decoder_that_sees_the_observation_learns_what_a_latent_stands_for_there(walks: EpisodeArrays) -> None:
    """The latent says in which of four directions the agent moves or turns, seen from above; which action that is, forward or a
    turn, hangs on where it looks. A policy that was never trained has features that tell."""
    data, rows = EpisodeTensors(walks), transition_rows(walks)
    rows = rows[data.actions[rows] < 3]
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    turn = torch.tensor([0, 1, 3])[data.actions[rows]]
    looks = torch.from_numpy(walks.observations["proprioception"])[rows, 0].long()
    latents = functional.one_hot((looks + turn) % 4, 4).float()
    torch.manual_seed(0)
    policy = PolicySettings.model_validate({"network": {"width": 8, "layers": 1, "hidden_width": 32}})
    network = PolicyNetwork(settings=policy, spec=WORLD, output_dim=4)
    features = policy_features(network, data, rows)
    assert features.shape == (len(rows), 32) and features.dtype == torch.float32
    training = TrainingSettings(steps=300, batch_size=64, learning_rate=3e-3, precision="float32")
    settings, found = MlpDecoderSettings(training=training), {}
    for name, inputs in (("latent", latents), ("both", torch.cat([latents, features], dim=1))):
        labelled, actions = inputs[:512], data.actions[rows[:512]]
        decoder = fit_mlp_decoder(labelled, actions, space=DiscreteActions(6), settings=settings, seed=0)
        found[name] = (decoder(inputs[512:]).argmax(-1) == data.actions[rows[512:]]).float().mean().item()
    assert found["latent"] < 0.7 < 0.9 < found["both"], found


def labelled_latents(count: int) -> tuple[Tensor, Tensor]:
    """Six separable clusters in eight dimensions."""
    torch.manual_seed(0)
    centres = torch.randn(6, 8)
    actions = torch.arange(count) % 6
    return centres[actions] + 0.1 * torch.randn(count, 8), actions


def test_an_mlp_decoder_learns_from_a_few_labels() -> None:
    latents, actions = labelled_latents(264)
    settings = MlpDecoderSettings(training=TrainingSettings(steps=100, batch_size=32, precision="float32"))
    network = fit_mlp_decoder(latents[:64], actions[:64], space=DiscreteActions(6), settings=settings, seed=1)
    assert (network(latents[64:]).argmax(-1) == actions[64:]).float().mean() > 0.95


def test_decoders_depend_on_their_seed_alone() -> None:
    latents, actions = labelled_latents(16)
    settings = MlpDecoderSettings(training=TrainingSettings(steps=5, batch_size=32))
    first, again, other = (
        fit_mlp_decoder(latents, actions, space=DiscreteActions(6), settings=settings, seed=seed).state_dict()[
            "0.weight"
        ]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.slow
def test_the_supervised_inverse_dynamics_model_labels_transitions(walks: EpisodeArrays) -> None:
    """Trained on 128 labels, right about most other transitions that change the frame."""
    data, rows = EpisodeTensors(walks), transition_rows(walks)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    labeller = fit_action_labeller(
        settings=GridEncoderSettings(width=16, layers=2),
        symmetry="rotation",
        training=TrainingSettings(steps=150, batch_size=64, learning_rate=3e-3, precision="float32"),
        spec=WORLD,
        data=data,
        rows=rows[:128],
        seed=0,
    )
    found, changes = labeller.pseudo_labels(data, rows[128:]), effectful(walks)[rows[128:]]
    assert found.shape == (len(rows) - 128,) and found.dtype == torch.int64
    assert (found == data.actions[rows[128:]])[changes].float().mean() > 0.85


def test_pseudo_labels_hold_a_batch_of_windows_at_a_time(
    colours: Callable[..., EpisodeArrays], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamflow.data.held_windows.INFERENCE_BATCH", {"cpu": 7, "cuda": 7})
    torch.manual_seed(0)
    labeller = ActionLabeller(
        settings=ImpalaSettings(stem="patch", channels=(8,), blocks=0, hidden_width=16),
        symmetry="none",
        spec=preset("procgen-bigfish"),
    )
    data = EpisodeTensors(colours(4), torch.device("cpu"))
    gather, sizes = HeldWindows.gather, []

    def counted(held: HeldWindows, rows: Tensor) -> Window:
        sizes.append(len(rows))
        return gather(held, rows)

    monkeypatch.setattr(HeldWindows, "gather", counted)
    monkeypatch.setattr("lamflow.training.precision.processor_of", lambda device: "CPU without AMX and AVX512_BF16")
    found = labeller.pseudo_labels(data, data.rows)
    assert len(data.rows) == 4 * 9 and sizes == [7, 7, 7, 7, 7, 1]
    assert torch.equal(found, labeller(data.part(TRANSITION, data.rows).gather(data.rows).frames).argmax(-1))
    assert found.unique().numel() > 1


def test_with_rotation_symmetry_turned_windows_get_the_same_labels(walks: EpisodeArrays) -> None:
    torch.manual_seed(0)
    rows = transition_rows(walks)[:50]
    windows = EpisodeTensors(walks).part(TRANSITION, rows).gather(rows).frames
    expected: dict[Symmetry, bool] = {"rotation": True, "none": False}
    for symmetry, equal in expected.items():
        labeller = ActionLabeller(settings=GridEncoderSettings(width=8, layers=2), symmetry=symmetry, spec=WORLD)
        assert torch.equal(labeller(rotate_frames(windows, 1)), labeller(windows)) == equal
