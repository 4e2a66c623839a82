"""Encoders behind one face: LAPO's sizes, equal features and outputs, and refusals of what does not fit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lamflow.envs.presets import preset
from lamflow.networks.encoders import build_encoder
from lamflow.networks.grid_settings import GridEncoderSettings
from lamflow.networks.impala import ImpalaEncoder
from lamflow.networks.impala_settings import ImpalaSettings

PIXELS, GRID = preset("procgen-bigfish"), preset("xland-doorkey-5x5")
NARROW = ImpalaSettings(stem="patch", channels=(8, 8), hidden_width=16)


@pytest.mark.parametrize(("num_frames", "output_dim", "expected"), [(3, 128, 3_685_376), (1, 128, 3_682_177 - 257)])
def test_lapos_encoders_have_the_parameters_of_the_official_ones(
    num_frames: int, output_dim: int, expected: int
) -> None:
    """The inverse dynamics model, and the latent policy without its value head of 256 weights and a bias."""
    encoder = build_encoder(ImpalaSettings(scale=4), num_frames=num_frames, spec=PIXELS, output_dim=output_dim)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == expected


@pytest.mark.parametrize("kind", ["grid", "impala"])
def test_the_output_is_a_linear_map_of_the_features(kind: str) -> None:
    spec, settings = (GRID, GridEncoderSettings(hidden_width=16)) if kind == "grid" else (PIXELS, NARROW)
    encoder = build_encoder(settings, num_frames=2, spec=spec, output_dim=5)
    frames = torch.randint(12, (3, 2, *spec.frame_shape), dtype=torch.uint8)
    features = encoder.features(frames)
    assert features.shape == (3, 16) and features.min() >= 0
    torch.testing.assert_close(encoder(frames), features @ encoder.output.weight.T + encoder.output.bias)


def test_a_grid_encoder_takes_extra_inputs() -> None:
    encoder = build_encoder(GridEncoderSettings(), num_frames=1, spec=GRID, output_dim=5, extra_dim=3, extra_planes=2)
    frames = torch.zeros(3, 1, 5, 5, 2, dtype=torch.uint8)
    extra, planes = torch.randn(3, 3), torch.randn(3, 5, 5, 2)
    output = encoder(frames, extra, planes)
    assert not torch.allclose(encoder(frames, extra + 1, planes), output)
    assert not torch.allclose(encoder(frames, extra, planes + 1), output)


def pixel_frames(count: int = 3) -> torch.Tensor:
    return torch.randint(256, (count, 1, *PIXELS.frame_shape), dtype=torch.uint8)


def test_extra_inputs_over_pixels_enter_the_hidden_layer() -> None:
    """Beside an equal encoder without them, they shift the sums of its hidden layer."""
    encoder = build_encoder(NARROW, num_frames=1, spec=PIXELS, output_dim=5, extra_dim=3)
    plain = build_encoder(NARROW, num_frames=1, spec=PIXELS, output_dim=5)
    weights, size = encoder.state_dict(), plain.hidden.in_features
    assert encoder.hidden.in_features == size + 3
    plain.load_state_dict(weights | {"impala.hidden.weight": weights["impala.hidden.weight"][:, :size]})
    frames, extra = pixel_frames(), torch.randn(3)
    torch.testing.assert_close(encoder(frames, torch.zeros(3, 3)), plain(frames))
    with torch.no_grad():
        plain.hidden.bias += encoder.hidden.weight[:, size:] @ extra
    features = encoder.features(frames, extra.expand(3, 3))
    torch.testing.assert_close(features, plain.features(frames))
    torch.testing.assert_close(encoder(frames, extra.expand(3, 3)), encoder.output(features))
    assert not torch.allclose(features, encoder.features(frames, torch.zeros(3, 3)))


def test_an_encoder_over_pixels_without_extra_inputs_is_the_impala_network_and_its_output() -> None:
    """Down to the random numbers that it draws."""
    torch.manual_seed(0)
    encoder = build_encoder(NARROW, num_frames=1, spec=PIXELS, output_dim=5)
    torch.manual_seed(0)
    network = ImpalaEncoder(settings=NARROW, num_frames=1, frame_shape=PIXELS.frame_shape)
    output, frames = nn.Linear(16, 5), pixel_frames()
    torch.testing.assert_close(encoder.features(frames), network(frames))
    torch.testing.assert_close(encoder(frames), output(network(frames)))
    names = {f"impala.{name}" for name in network.state_dict()} | {"output.weight", "output.bias"}
    assert set(encoder.state_dict()) == names


def test_planes_over_pixels_are_refused() -> None:
    with pytest.raises(AssertionError, match="bigfish: planes belong to grids"):
        build_encoder(NARROW, num_frames=1, spec=PIXELS, output_dim=5, extra_planes=2)
    encoder = build_encoder(NARROW, num_frames=1, spec=PIXELS, output_dim=5)
    with pytest.raises(AssertionError):
        encoder(pixel_frames(), None, torch.zeros(3, 64, 64, 2))


def test_an_encoder_of_another_kind_of_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bigfish: found an encoder of kind 'grid', expected 'impala'"):
        build_encoder(GridEncoderSettings(), num_frames=1, spec=PIXELS, output_dim=5)
    with pytest.raises(ValueError, match=r"doorkey-5x5: found an encoder of kind 'impala', expected 'grid'"):
        build_encoder(NARROW, num_frames=1, spec=GRID, output_dim=5)
