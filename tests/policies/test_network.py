"""The policy network: which inputs matter when, what a symmetry makes invariant, what a recurrent state carries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from operator import itemgetter
from typing import Any

import pytest
import torch
from torch import Tensor

from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.networks.symmetry import rotate_frames
from lamflow.networks.vectors import FURTHEST
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.network import PolicyNetwork, carried_matches, inference_precision, match_planes
from lamflow.policies.settings import PolicySettings
from lamflow.spaces import Categories, Discrete, Pixels, Vector
from lamflow.training import precision
from lamflow.training.precision import autocast

MakeInputs = Callable[..., PolicyInputs]
DOORKEY, XLAND = preset("xland-doorkey-5x5"), preset("xland-r1-9x9")
FULL, XLAND_FULL = preset("xland-doorkey-5x5-full"), preset("xland-r1-9x9-full")


def make_network(spec: EnvironmentSpec, **settings: Any) -> PolicyNetwork:
    torch.manual_seed(0)
    network = {"width": 8, "layers": 2, "embedding_dim": 4, "hidden_width": 16, "pooling": "flatten"}
    return PolicyNetwork(
        settings=PolicySettings.model_validate({"network": network} | settings), spec=spec, output_dim=6
    ).eval()


def changed(inputs: PolicyInputs, name: str) -> PolicyInputs:
    """The inputs with one part in reverse order of the batch."""
    return inputs.replaced({name: inputs.parts[name].flip(0)})


VARIANTS = [{}, {"context": 3}, {"context": 3, "recurrent": True}]


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
@pytest.mark.parametrize("spec", [DOORKEY, XLAND, FULL], ids=lambda spec: spec.name)
def test_outputs_have_the_asked_width(spec: EnvironmentSpec, settings: dict[str, Any], make_inputs: MakeInputs) -> None:
    outputs = make_network(spec, **settings)(make_inputs(spec, context=settings.get("context", 1)))
    assert outputs.shape == (8, 6) and outputs.dtype == torch.float32


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
@pytest.mark.parametrize("part", ["frames", "proprioception", "task"])
def test_every_input_matters(part: str, settings: dict[str, Any], make_inputs: MakeInputs) -> None:
    network, inputs = make_network(XLAND, **settings), make_inputs(XLAND, context=settings.get("context", 1))
    assert not torch.allclose(network(inputs), network(changed(inputs, part)))


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
@pytest.mark.parametrize("part", ["proprioception", "task"])
def test_an_input_that_is_switched_off_does_not_matter(
    part: str, settings: dict[str, Any], make_inputs: MakeInputs
) -> None:
    network = make_network(XLAND, **settings, **{part: False})
    inputs = make_inputs(XLAND, context=settings.get("context", 1))
    assert torch.equal(network(inputs), network(changed(inputs, part)))


def test_the_task_is_no_input_where_it_never_changes(make_inputs: MakeInputs) -> None:
    assert "task" not in make_inputs(DOORKEY).parts
    names = {name.split(".")[0] for name in make_network(DOORKEY).state_dict()}
    assert names == {"proprioception", "encoder"}
    assert {name.split(".")[0] for name in make_network(XLAND).state_dict()} == {"proprioception", "goal", "encoder"}


@pytest.mark.parametrize("settings", VARIANTS[1:], ids=str)
@pytest.mark.parametrize("index", range(3))
def test_every_frame_of_the_context_matters(index: int, settings: dict[str, Any], make_inputs: MakeInputs) -> None:
    network, inputs = make_network(DOORKEY, **settings), make_inputs(DOORKEY, context=3)
    frames = inputs.parts["frames"].clone()
    frames[:, index] = frames[:, index].flip(0)
    assert not torch.allclose(network(inputs), network(inputs.replaced({"frames": frames})))


def test_match_planes_show_where_the_objects_of_the_goal_are() -> None:
    frames = torch.zeros(2, 3, 3, 2, dtype=torch.uint8)
    frames[0, 1, 2] = torch.tensor([4, 7])
    frames[0, 0, 0] = torch.tensor([4, 8])  # another colour
    frames[1, 2, 2] = torch.tensor([5, 1])
    task = torch.tensor([[3, 4, 7, 5, 1], [3, 4, 7, 5, 1]], dtype=torch.uint8)
    planes = match_planes(frames, task)
    assert planes.shape == (2, 3, 3, 2) and planes.dtype == torch.float32
    assert torch.nonzero(planes).tolist() == [[0, 1, 2, 0], [1, 2, 2, 1]]


def test_carried_objects_are_matched_with_those_of_the_goal() -> None:
    proprioception = torch.tensor([[0, 4, 7], [1, 5, 1], [2, 4, 1], [3, 0, 0]], dtype=torch.uint8)
    task = torch.tensor([[3, 4, 7, 5, 1]] * 4, dtype=torch.uint8)
    assert carried_matches(proprioception, task).tolist() == [[1, 0], [0, 1], [0, 0], [0, 0]]


def test_the_goals_objects_matter_through_what_the_grid_shows(make_inputs: MakeInputs) -> None:
    """Without proprioception the network learns of the goal's objects by the planes: absent ones make no difference."""
    network, inputs = make_network(XLAND, proprioception=False), make_inputs(XLAND)
    inputs.parts["frames"][..., 0] %= 5
    absent, present = inputs.parts["task"].clone(), inputs.parts["task"].clone()
    absent[..., 1:] = torch.tensor([12, 3, 11, 4])
    also_absent = absent.clone()
    also_absent[..., 1:] = torch.tensor([10, 1, 9, 2])
    present[..., 1:3] = inputs.parts["frames"][:, :, 2, 2]
    outputs = [network(inputs.replaced({"task": task})) for task in (absent, also_absent, present)]
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.allclose(outputs[0], outputs[2])


def turned(inputs: PolicyInputs, quarter_turns: int) -> PolicyInputs:
    """What the agent would see had the whole grid been turned."""
    proprioception = inputs.parts["proprioception"].clone()
    proprioception[..., 0] = (proprioception[..., 0].long() - quarter_turns) % 4
    frames = rotate_frames(inputs.parts["frames"], quarter_turns)
    return inputs.replaced({"frames": frames, "proprioception": proprioception})


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
@pytest.mark.parametrize("spec", [FULL, XLAND_FULL], ids=lambda spec: spec.name)
def test_with_rotation_symmetry_a_turned_grid_gives_the_same_outputs(
    spec: EnvironmentSpec, settings: dict[str, Any], make_inputs: MakeInputs
) -> None:
    """With the direction in proprioception too, which turns with the grid."""
    network = make_network(spec, symmetry="rotation", **settings)
    inputs = make_inputs(spec, context=settings.get("context", 1))
    for quarter_turns in (1, 2, 3):
        assert torch.equal(network(turned(inputs, quarter_turns)), network(inputs))
    plain = make_network(spec, **settings)
    assert not torch.allclose(plain(turned(inputs, 1)), plain(inputs))


def steps_of(network: PolicyNetwork, inputs: PolicyInputs) -> list[Tensor]:
    """The outputs of a recurrent policy that sees the frames of ``inputs`` one after the other."""
    batch, context = inputs.begun.shape
    state, outputs = torch.zeros(batch, 16), []
    for index in range(context):
        output, state = network.step(inputs.map(itemgetter((slice(None), slice(index, index + 1)))), state)
        outputs.append(output)
    return outputs


@pytest.mark.parametrize("symmetry", ["none", "rotation"])
def test_a_recurrent_policy_unrolled_in_training_equals_its_steps(symmetry: str, make_inputs: MakeInputs) -> None:
    network = make_network(XLAND_FULL, recurrent=True, context=5, symmetry=symmetry)
    inputs = make_inputs(XLAND_FULL, context=5)
    torch.testing.assert_close(network(inputs), steps_of(network, inputs)[-1])


@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_recurrent_policy_skips_what_was_before_the_episode_began(length: int, make_inputs: MakeInputs) -> None:
    network, inputs = make_network(DOORKEY, recurrent=True, context=5), make_inputs(DOORKEY, context=5)
    inputs.begun[:, : 5 - length] = False
    history = inputs.map(lambda part: part[:, -length:])
    torch.testing.assert_close(network(inputs), steps_of(network, history)[-1])


def test_a_recurrent_policy_is_trained_through_its_whole_history(make_inputs: MakeInputs) -> None:
    network = make_network(DOORKEY, recurrent=True, context=4)
    network(make_inputs(DOORKEY, context=4)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


BIGFISH = preset("procgen-bigfish")
PATCHES = {"kind": "impala", "stem": "patch", "channels": [8, 8], "blocks": 1, "hidden_width": 16}


def pixel_network(**settings: Any) -> PolicyNetwork:
    return make_network(BIGFISH, **({"network": PATCHES} | settings))


def pixel_inputs(context: int = 1, seed: int = 0) -> PolicyInputs:
    torch.manual_seed(seed)
    frames = torch.randint(256, (4, context, *BIGFISH.frame_shape), dtype=torch.uint8)
    return PolicyInputs({"frames": frames}, torch.ones(4, context, dtype=torch.bool))


def test_lapos_latent_policy_has_the_parameters_of_the_official_one() -> None:
    """But for its value head of 257, which online decoding adds here."""
    settings = PolicySettings.model_validate({"network": {"kind": "impala", "scale": 4}})
    network = PolicyNetwork(settings=settings, spec=BIGFISH, output_dim=128)
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_682_177 - 257


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_a_policy_over_pixels_sees_every_frame_of_its_context_and_nothing_else(settings: dict[str, Any]) -> None:
    network, context = pixel_network(**settings), settings.get("context", 1)
    inputs = pixel_inputs(context)
    outputs = network(inputs)
    assert outputs.shape == (4, 6)
    assert {name.split(".")[0] for name in network.state_dict()} <= {"encoder", "cell", "output"}
    for index in range(context):
        frames = inputs.parts["frames"].clone()
        frames[:, index] = frames[:, index].flip(0)
        assert not torch.allclose(network(inputs.replaced({"frames": frames})), outputs)


def test_networks_over_pixels_answer_in_the_fastest_precision_and_those_over_grids_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "processor_of", lambda device: "CPU with AMX")
    for network, expected in ((pixel_network(), torch.bfloat16), (make_network(DOORKEY), torch.float32)):
        taken = inference_precision(network.settings.network, network.parameters())
        with autocast(taken.name, torch.device("cpu")):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == expected


ARM = EnvironmentSpec(
    name="made-up-arm",
    family="gymnasium",
    observation={"frames": Pixels((32, 32, 3)), "pose": Vector((2,)), "held": Categories((1,), (4,))},
    action=Discrete(6),
    max_steps=20,
)
"""An environment with two parts beside its frames."""


def arm_network(seed: int = 0, **settings: Any) -> PolicyNetwork:
    network = make_network(ARM, network=PATCHES, **settings)
    torch.manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def arm_inputs(context: int = 1) -> PolicyInputs:
    """Four arms that hold another thing each, about 50 and -3, scattered by about 5 and 0.1."""
    torch.manual_seed(0)
    parts = {
        "frames": torch.randint(256, (4, context, 32, 32, 3), dtype=torch.uint8),
        "pose": torch.tensor([50.0, -3]) + torch.randn(4, context, 2) * torch.tensor([5.0, 0.1]),
        "held": (torch.arange(4)[:, None, None] + torch.arange(context)[None, :, None]).to(torch.uint8) % 4,
    }
    return PolicyInputs(parts, torch.ones(4, context, dtype=torch.bool))


MOMENTS = {"pose": (torch.tensor([50.0, -3]), torch.tensor([5.0, 0.1]))}


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
@pytest.mark.parametrize("part", list(ARM.observation))
def test_every_part_of_an_observation_matters(part: str, settings: dict[str, Any]) -> None:
    network, inputs = arm_network(**settings), arm_inputs(settings.get("context", 1))
    network.standardise(MOMENTS)
    outputs = network(inputs)
    assert outputs.shape == (4, 6) and outputs.isfinite().all()
    differs = ~torch.isclose(network(changed(inputs, part)), outputs).all(-1)
    assert differs.all(), "in each row"


@pytest.mark.parametrize("part", ["pose", "held"])
def test_of_the_parts_beside_frames_only_a_recurrent_policy_sees_the_past(part: str) -> None:
    inputs = arm_inputs(context=3)
    past = inputs.parts[part].clone()
    past[:, :-1] = past[:, :-1].flip(0)
    for settings, sees in zip(VARIANTS[1:], (False, True), strict=True):
        network = arm_network(**settings)
        network.standardise(MOMENTS)
        assert torch.equal(network(inputs), network(inputs.replaced({part: past}))) != sees


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_a_vector_may_be_shifted_and_scaled_with_its_moments(settings: dict[str, Any]) -> None:
    network, inputs = arm_network(**settings), arm_inputs(settings.get("context", 1))
    network.standardise(MOMENTS)
    outputs, (mean, deviation) = network(inputs), MOMENTS["pose"]
    shift, scale = torch.tensor([-20.0, 7.0]), torch.tensor([0.5, 30.0])
    moved = inputs.replaced({"pose": inputs.parts["pose"] * scale + shift})
    assert not torch.allclose(network(moved), outputs)
    network.standardise({"pose": (mean * scale + shift, deviation * scale)})
    torch.testing.assert_close(network(moved), outputs, atol=1e-3, rtol=1e-3)


def test_the_moments_of_vectors_travel_with_the_weights() -> None:
    network, other, inputs = arm_network(), arm_network(seed=1), arm_inputs()
    network.standardise(MOMENTS)
    found = {
        name: value.tolist() for name, value in network.state_dict().items() if name.startswith("other_inputs.of_pose")
    }
    mean, deviation = (moment.tolist() for moment in MOMENTS["pose"])
    assert found == {"other_inputs.of_pose.mean": mean, "other_inputs.of_pose.deviation": deviation}
    assert not torch.allclose(other(inputs), network(inputs))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(inputs), network(inputs))


def test_vectors_are_cut_where_they_are_far_from_all_data() -> None:
    network, inputs, (mean, deviation) = arm_network(), arm_inputs(), MOMENTS["pose"]
    network.standardise(MOMENTS)

    def outputs_at(deviations: float) -> Tensor:
        outputs: Tensor = network(inputs.replaced({"pose": (mean + deviations * deviation).expand(4, 1, 2)}))
        return outputs

    for sign in (1, -1):
        torch.testing.assert_close(outputs_at(sign * (FURTHEST + 1)), outputs_at(sign * 1e6))
        assert not torch.allclose(outputs_at(sign * (FURTHEST - 1)), outputs_at(sign * (FURTHEST + 1)))


def test_an_entry_that_never_varied_adds_nothing() -> None:
    """Its deviation is 0, by which nothing can be divided."""
    network, inputs, (mean, _) = arm_network(), arm_inputs(), MOMENTS["pose"]
    network.standardise({"pose": (mean, torch.zeros(2))})
    constant = network(inputs.replaced({"pose": mean.expand(4, 1, 2)}))
    network.standardise({"pose": (torch.zeros(2), torch.ones(2))})
    torch.testing.assert_close(constant, network(inputs.replaced({"pose": torch.zeros(4, 1, 2)})))


@pytest.mark.parametrize("part", [Vector((2,)), Categories((2,), (4, 4))], ids=lambda part: part.kind)
@pytest.mark.parametrize("name", ["proprioception", "task", "keys", "type"])
def test_a_part_may_have_any_name(name: str, part: Vector | Categories) -> None:
    """Also one that means something else in grid worlds, or to torch."""
    spec = replace(ARM, observation={"frames": ARM.main_part, name: part})
    network, inputs = make_network(spec, network=PATCHES), arm_inputs()
    if isinstance(part, Vector):
        network.standardise({name: MOMENTS["pose"]})
        values = inputs.parts["pose"]
    else:
        values = inputs.parts["held"].repeat(1, 1, 2)
    inputs = PolicyInputs({"frames": inputs.parts["frames"], name: values}, inputs.begun)
    assert not torch.allclose(network(inputs), network(changed(inputs, name)))


class FramesAloneSettings(ImpalaSettings):
    """An encoder without extra inputs."""

    @property
    def extras_width(self) -> None:  # type: ignore[override]
        return None


def test_parts_beside_frames_are_left_out_where_the_encoder_has_no_extra_inputs() -> None:
    torch.manual_seed(0)
    settings = PolicySettings()
    settings = settings.model_copy(update={"network": FramesAloneSettings.model_validate(PATCHES)})
    network, inputs = PolicyNetwork(settings=settings, spec=ARM, output_dim=6), arm_inputs()
    network.standardise(MOMENTS)
    for part in ("pose", "held"):
        assert torch.equal(network(inputs), network(changed(inputs, part)))
