"""Behaviour cloning: objectives in closed form, and policies that imitate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import transition_rows
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.policies.actions import DiscreteActions
from lamflow.policies.dataset import policy_inputs, policy_window
from lamflow.policies.flow_settings import FlowSettings
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.latent_heads import LatentHead
from lamflow.policies.learning import Examples, clone, code_objective, latent_objective
from lamflow.policies.mixture_settings import MixtureSettings
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings
from lamflow.training.metrics import MetricsLog

WORLD = preset("xland-empty-random-8x8-full")


def test_the_code_objective_is_the_cross_entropy_averaged_over_tokens() -> None:
    torch.manual_seed(0)
    logits, codes = torch.randn(5, 2 * 3), torch.randint(3, (5, 2))
    expected = torch.zeros(())
    for row in range(5):
        for token in range(2):
            expected -= logits[row, 3 * token : 3 * token + 3].log_softmax(0)[codes[row, token]] / 10
    torch.testing.assert_close(code_objective(logits, codes), expected)


def test_the_latent_objective_is_the_mean_squared_error() -> None:
    assert latent_objective(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])) == 2.0


def test_the_action_loss_is_the_cross_entropy() -> None:
    logits = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
    expected = -(torch.tensor(0.75).log() + torch.tensor(0.5).log()) / 2
    torch.testing.assert_close(DiscreteActions(logits.shape[1]).loss(logits, torch.tensor([1, 0])), expected)


def examples_of(arrays: EpisodeArrays) -> Examples:
    return Examples(EpisodeTensors(arrays), transition_rows(arrays), "actions")


def inputs_of(
    data: EpisodeTensors, rows: Tensor, settings: PolicySettings, spec: EnvironmentSpec = WORLD
) -> PolicyInputs:
    return policy_inputs(data.part(policy_window(settings, spec), rows).gather(rows), spec)


def fit(train: Examples, validation: Examples | None = None, *, seed: int = 0, **changes: Any) -> PolicyNetwork:
    arguments: dict[str, Any] = {"output_dim": 6, "objective": DiscreteActions(6).loss, "metrics": MetricsLog()}
    training = {"steps": 10, "batch_size": 64, "learning_rate": 3e-3, "precision": "float32"}
    network = {"width": 16, "layers": 2, "hidden_width": 32, "pooling": "flatten"}
    settings = PolicySettings.model_validate({"network": network, "training": training | changes.pop("training", {})})
    return clone(
        spec=WORLD,
        settings=settings,
        train_examples=train,
        validation_examples=validation,
        seed=seed,
        state_dir=None,
        identity="",
        title="",
        **(arguments | changes),
    )


@pytest.mark.slow
def test_a_policy_imitates_the_demonstrator_on_levels_it_has_not_seen(
    walks: EpisodeArrays, other_walks: EpisodeArrays
) -> None:
    """The demonstrator's own action is known in every frame; half of the actions it is learnt from are random."""
    network = fit(examples_of(walks), training={"steps": 200})
    data, rows = EpisodeTensors(other_walks), transition_rows(other_walks)
    chosen = network(inputs_of(data, rows, network.settings)).argmax(-1)
    frames = other_walks.frames[rows]
    cells = (frames[..., 0] >= 13).reshape(len(rows), -1).argmax(1)
    wanted = torch.from_numpy(cells // 8 < 6) + 1  # down (2) above the lowest row, then right (1)
    expert = (torch.from_numpy(other_walks.observations["proprioception"])[rows, 0] != wanted).long()
    assert (chosen == expert).float().mean() > 0.85


@pytest.mark.slow
def test_cloning_is_deterministic_in_its_seed(walks: EpisodeArrays) -> None:
    first, again, other = (fit(examples_of(walks), seed=seed).encoder.output.weight for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.slow
def test_the_validation_loss_is_the_mean_over_all_its_rows(
    walks: EpisodeArrays, other_walks: EpisodeArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamflow.data.held_windows.INFERENCE_BATCH", {"cpu": 100, "cuda": 100})
    metrics, validation = MetricsLog(), examples_of(other_walks)
    network = fit(examples_of(walks), validation, metrics=metrics, training={"steps": 4})
    inputs = inputs_of(validation.data, validation.rows, network.settings)
    expected = DiscreteActions(6).loss(network(inputs), validation.data.actions[validation.rows]).item()
    assert metrics.latest("validation")["loss/total"] == pytest.approx(expected, rel=1e-5)


def test_the_validation_of_many_rows_looks_at_the_same_random_part_of_them(
    walks: EpisodeArrays, other_walks: EpisodeArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamflow.policies.learning.VALIDATION_ROWS", 40)
    metrics, validation = MetricsLog(), examples_of(other_walks)
    picked = validation.sample(40, PolicySettings(), WORLD)
    assert len(picked.rows.unique()) == 40 and torch.isin(picked.rows, validation.rows).all()
    assert picked.rows.max() > 100 and torch.equal(picked.rows, validation.sample(40, PolicySettings(), WORLD).rows)
    network = fit(examples_of(walks), validation, metrics=metrics, training={"steps": 2})
    inputs = inputs_of(validation.data, picked.rows, network.settings)
    expected = DiscreteActions(6).loss(network(inputs), picked.at("actions")).item()
    assert metrics.latest("validation")["loss/total"] == pytest.approx(expected, rel=1e-5)


PIXEL_NETWORK = {"kind": "impala", "stem": "patch", "channels": [8, 16], "blocks": 1, "hidden_width": 32}


@pytest.mark.slow
def test_a_policy_over_pixels_learns_the_actions_of_frames_and_is_deterministic(
    colours: Callable[..., EpisodeArrays],
) -> None:
    """From every row with an action: the last one of an episode has no next frame, and needs none."""
    arrays = colours(20)
    data = EpisodeTensors(arrays)
    rows = data.action_rows
    assert len(rows) == 200
    training = {"steps": 20, "batch_size": 32, "learning_rate": 3e-3, "warmup_steps": 0}
    settings = PolicySettings.model_validate({"network": PIXEL_NETWORK, "training": training})

    def train(seed: int) -> PolicyNetwork:
        return clone(
            spec=preset("procgen-bigfish"),
            settings=settings,
            output_dim=15,
            objective=DiscreteActions(6).loss,
            train_examples=Examples(data, rows, "actions"),
            validation_examples=None,
            seed=seed,
            metrics=MetricsLog(),
            state_dir=None,
            identity="",
            title="",
        )

    network, again, other = train(1), train(1), train(2)
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert not torch.equal(network.encoder.output.weight, other.encoder.output.weight)
    unseen = EpisodeTensors(colours(6, seed=1))
    chosen = network(inputs_of(unseen, torch.arange(60), settings, network.spec)).argmax(-1)
    assert (chosen == unseen.actions).float().mean() > 0.95


@pytest.mark.slow
def test_targets_may_be_latents_or_codes(walks: EpisodeArrays) -> None:
    rows = walks.num_rows
    data = EpisodeTensors(walks).with_column("latents", torch.randn(rows, 4))
    data = data.with_column("codes", torch.randint(3, (rows, 2)))
    latents, codes = (Examples(data, data.rows, target) for target in ("latents", "codes"))
    assert fit(latents, output_dim=4, objective=latent_objective).encoder.output.out_features == 4
    assert fit(codes, output_dim=6, objective=code_objective).encoder.output.out_features == 6


def latent_examples(arrays: EpisodeArrays) -> Examples:
    """Latents of four entries that the present action decides."""
    torch.manual_seed(0)
    data = EpisodeTensors(arrays)
    latents = torch.randn(arrays.num_rows, 4) + 3 * functional.one_hot(data.actions.clamp(min=0) % 4, 4)
    return Examples(data.with_column("latents", latents), data.rows, "latents")


def new_head(settings: MixtureSettings | FlowSettings) -> LatentHead:
    torch.manual_seed(0)
    return settings.build(latent_dim=4, feature_dim=32)


HEADS = [MixtureSettings(components=3), FlowSettings(hidden_widths=(16,))]


@pytest.mark.slow
@pytest.mark.parametrize("target", HEADS, ids=["mixture", "flow"])
def test_a_head_is_trained_with_its_policy_and_deterministic(
    target: MixtureSettings | FlowSettings, walks: EpisodeArrays
) -> None:
    trained = []
    for seed in (1, 1, 2):
        head = new_head(target)
        before = {name: tensor.clone() for name, tensor in head.named_parameters()}
        trained.append(
            fit(latent_examples(walks), seed=seed, output_dim=head.num_outputs, objective=head.loss, head=head)
        )
        assert all(not torch.equal(before[name], tensor) for name, tensor in head.named_parameters())
    first, again, other = (network.state_dict() for network in trained)
    assert any(name.startswith("head.") for name in first)
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    assert any(not torch.equal(other[name], tensor) for name, tensor in first.items())


class Killed(BaseException):
    """What ends a run in the middle."""


@pytest.mark.slow
@pytest.mark.parametrize("flow", [False, True])
def test_an_interrupted_and_resumed_policy_equals_a_straight_one(
    flow: bool, walks: EpisodeArrays, tmp_path: Path
) -> None:
    """Recurrent, with a context: bit by bit. A flow draws noise and times in its loss."""
    settings = PolicySettings.model_validate(
        {
            "network": {"width": 8, "layers": 1, "hidden_width": 16},
            "context": 3,
            "recurrent": True,
            "training": {"steps": 12, "batch_size": 16, "checkpoint_every": 5, "validate_every": 4, "log_every": 3},
        }
    )
    calls = []

    def run(state_dir: Path, *, killed_at: int | None = None) -> tuple[PolicyNetwork, MetricsLog]:
        metrics, head = MetricsLog(), new_head(FlowSettings(hidden_widths=(16,))) if flow else None

        def objective(outputs: Tensor, targets: Tensor) -> Tensor:
            calls.append(1)
            if len(calls) == killed_at:
                raise Killed
            return head.loss(outputs, targets) if head else DiscreteActions(6).loss(outputs, targets)

        network = clone(
            spec=WORLD,
            settings=settings,
            output_dim=head.num_outputs if head else 6,
            objective=objective,
            train_examples=latent_examples(walks) if flow else examples_of(walks),
            validation_examples=latent_examples(walks) if flow else None,
            seed=3,
            metrics=metrics,
            state_dir=state_dir,
            identity="policy",
            title="",
            head=head,
        )
        return network, metrics

    straight, straight_metrics = run(tmp_path / "straight")
    calls.clear()
    with pytest.raises(Killed):
        run(tmp_path / "killed", killed_at=9)
    resumed, metrics = run(tmp_path / "killed")
    assert all(torch.equal(resumed.state_dict()[name], t) for name, t in straight.state_dict().items())
    assert metrics.rows == straight_metrics.rows
