"""The IMPALA network: its two stems, and its equality with the plain form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.networks.impala import ImpalaEncoder, ResidualBlock
from lamflow.networks.impala_settings import ImpalaSettings
from lamflow.networks.pixels import row_planes


def make_network(stem: str, num_frames: int = 3) -> ImpalaEncoder:
    torch.manual_seed(0)
    settings = ImpalaSettings.model_validate({"stem": stem, "channels": (8, 8), "hidden_width": 16})
    return ImpalaEncoder(settings=settings, num_frames=num_frames, frame_shape=(64, 64, 3))


def plain_features(network: ImpalaEncoder, frames_BKHWC: Tensor) -> Tensor:
    """As the papers have it: pixels in -.5 .. .5, [B, C, H, W] in contiguous memory, nothing in place."""
    features = (frames_BKHWC.permute(0, 1, 4, 2, 3).flatten(1, 2) / 255 - 0.5).contiguous()
    for layer in network.trunk:
        if isinstance(layer, nn.Conv2d):
            weight = layer.weight.contiguous()
            features = functional.conv2d(features, weight, layer.bias, layer.stride, layer.padding)
        elif isinstance(layer, ResidualBlock):
            first, second = layer.first, layer.second
            hidden = functional.conv2d(torch.relu(features), first.weight.contiguous(), first.bias, padding=1)
            features = features + functional.conv2d(
                torch.relu(hidden), second.weight.contiguous(), second.bias, padding=1
            )
        else:
            features = functional.max_pool2d(features, 3, stride=2, padding=1)
    return torch.relu(network.hidden(torch.relu(features).flatten(1)))


@pytest.mark.parametrize("stem", ["conv", "patch"])
def test_every_frame_reaches_the_features(stem: str) -> None:
    network = make_network(stem)
    frames = torch.randint(256, (2, 3, 64, 64, 3), dtype=torch.uint8)
    features = network(frames)
    assert features.shape == (2, 16) and features.min() >= 0
    for index in range(3):
        other = frames.clone()
        other[:, index] = torch.randint(256, (2, 64, 64, 3), dtype=torch.uint8)
        assert not torch.allclose(network(other), features)


def test_a_patch_stem_has_a_quarter_of_the_side_at_once() -> None:
    network = make_network("patch", num_frames=1)
    rows = row_planes(torch.zeros(1, 1, 64, 64, 3, dtype=torch.uint8)).float()
    assert network.trunk[0](rows).shape == (1, 8, 16, 16)
    assert network.hidden.in_features == 8 * 8 * 8


@pytest.mark.parametrize("stem", ["conv", "patch"])
def test_features_and_gradients_are_those_of_the_plain_form(stem: str) -> None:
    network = make_network(stem)
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    frames = torch.randint(256, (4, 3, 64, 64, 3), dtype=torch.uint8)
    found, expected = network(frames), plain_features(network, frames)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    parameters, upstream = list(network.parameters()), torch.randn(4, 16)
    wanted = torch.autograd.grad(expected, parameters, upstream)
    for one, other in zip(torch.autograd.grad(found, parameters, upstream), wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stem", ["conv", "patch"])
@pytest.mark.parametrize(
    ("height", "width"),
    [(32, 32), (33, 33), (50, 50), (63, 63), (84, 84), (99, 99), (210, 210), (256, 256), (96, 64), (64, 96), (33, 84)],
)
def test_frames_of_any_size_are_encoded(height: int, width: int, stem: str) -> None:
    settings = ImpalaSettings.model_validate({"stem": stem, "channels": (4, 8), "blocks": 1, "hidden_width": 8})
    encoder = ImpalaEncoder(settings=settings, num_frames=2, frame_shape=(height, width, 3))
    assert encoder(torch.randint(256, (2, 2, height, width, 3), dtype=torch.uint8)).shape == (2, 8)
