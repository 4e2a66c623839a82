"""torch.compile takes the losses of training as one graph, without a break, and does not change them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from linear_world import SPEC as WORLD
from torch import Tensor, nn

from lamflow.data.windows import Window
from lamflow.envs.presets import preset
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.lam.settings import SupervisionSettings
from lamflow.lam.supervision import Labelled, SupervisedLam
from lamflow.policies.inputs import PolicyInputs
from lamflow.policies.network import PolicyNetwork
from lamflow.policies.settings import PolicySettings

SPEC = preset("procgen-bigfish")


def encoder(stem: str) -> dict[str, Any]:
    return {"kind": "impala", "stem": stem, "channels": [4, 4], "blocks": 1, "hidden_width": 8}


def random_frames(num_frames: int) -> Tensor:
    return torch.randint(256, (4, num_frames, 64, 64, 3), dtype=torch.uint8)


def assert_compiles_to_the_same(network: nn.Module, loss: Callable[[], Tensor], precision: torch.dtype) -> None:
    """The loss, the gradients, and what a step leaves in the network's buffers."""
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found: list[dict[str, Tensor]] = []
    for step in (loss, compiled):
        network.load_state_dict(before)
        network.zero_grad()
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            total = step()
        total.backward()
        gradients = {
            f"gradient of {name}": tensor.grad.clone()
            for name, tensor in network.named_parameters()
            if tensor.grad is not None
        }
        buffers = {name: tensor.clone() for name, tensor in network.named_buffers()}
        found.append({"loss": total.detach(), **gradients, **buffers})
    eager, graph = found
    assert eager.keys() == graph.keys()
    for name, tensor in eager.items():
        torch.testing.assert_close(graph[name], tensor, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.slow
@pytest.mark.parametrize(("stem", "precision"), [("conv", torch.float32), ("patch", torch.bfloat16)])
def test_the_loss_of_a_latent_action_model_is_one_graph(stem: str, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    settings = OneStepSettings.model_validate(
        {
            "inverse_dynamics": encoder(stem),
            "forward_dynamics": {"kind": "unet", "stem": stem, "base_width": 4, "target": "change"},
            "quantizer": {"codebooks": 2, "tokens": 2, "code_dim": 4, "codes": 8, "revive_below": 0.9},
        }
    )
    model, window = OneStepLam(settings=settings, spec=SPEC), Window.of_frames(random_frames(3))
    assert_compiles_to_the_same(model, lambda: model.loss(window).total, precision)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["standardised", "change"])
def test_the_loss_over_vectors_is_one_graph(target: str) -> None:
    """In float32: with bfloat16 around them, a compiled graph takes the gradients of the products in float32 in bfloat16, too."""
    torch.manual_seed(0)
    settings = OneStepSettings.model_validate(
        {
            "inverse_dynamics": {"kind": "mlp", "hidden_width": 8},
            "forward_dynamics": {"kind": "mlp", "hidden_width": 8, "target": target},
            "quantizer": {"kind": "none", "codebooks": 1, "tokens": 1, "code_dim": 4},
            "context": 2,
        }
    )
    model, window = OneStepLam(settings=settings, spec=WORLD), Window.of_frames(torch.randn(4, 4, 6), present=2)
    assert_compiles_to_the_same(model, lambda: model.loss(window).total, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_the_loss_of_a_supervised_multi_step_model_is_one_graph(weight: float) -> None:
    """The same one for steps with labels and without."""
    torch.manual_seed(0)
    settings = OneStepSettings.model_validate(
        {"inverse_dynamics": encoder("patch"), "forward_dynamics": {"kind": "unet", "base_width": 4}}
    )
    model = SupervisedLam(OneStepLam(settings=settings, spec=SPEC), SupervisionSettings())
    labelled = Labelled(Window.of_frames(random_frames(3)), torch.randint(15, (4,)), torch.tensor(weight))
    batch = Window.of_frames(random_frames(4)), labelled
    assert_compiles_to_the_same(model, lambda: model.loss(batch).total, torch.float32)


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["conv", "patch"])
def test_the_outputs_of_a_policy_are_one_graph(stem: str) -> None:
    torch.manual_seed(0)
    settings = PolicySettings.model_validate({"network": encoder(stem), "context": 2})
    network = PolicyNetwork(settings=settings, spec=SPEC, output_dim=5)
    inputs = PolicyInputs({"frames": random_frames(2)}, torch.ones(4, 2, dtype=torch.bool))
    assert_compiles_to_the_same(network, lambda: network(inputs).square().mean(), torch.float32)
