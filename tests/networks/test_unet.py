"""The U-Net forward dynamics model: LAPO's size, its latent without tiles, its patch form, and what it predicts."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.envs.presets import preset
from lamflow.networks.forward_dynamics import build_forward_dynamics
from lamflow.networks.grid_settings import GridDynamicsSettings
from lamflow.networks.impala import ResidualBlock
from lamflow.networks.pixels import LEVELS
from lamflow.networks.unet import DownBlock, LatentConv2d, RevisitConv2d, UnetForwardDynamics, UpConv2d
from lamflow.networks.unet_settings import UnetSettings
from lamflow.networks.vectors import change_of, standardise_inputs

SPEC = preset("procgen-bigfish")
PATCHES = UnetSettings(stem="patch", base_width=16)
FULL = UnetSettings(base_width=8)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def unet(settings: UnetSettings, latent_dim: int = 10) -> UnetForwardDynamics:
    return UnetForwardDynamics(settings=settings, frame_shape=SPEC.frame_shape, latent_dim=latent_dim)


def random_frames(*shape: int) -> Tensor:
    return torch.randint(256, (*shape, 64, 64, 3), dtype=torch.uint8)


def test_the_default_has_the_parameters_of_the_official_world_model() -> None:
    assert sum(parameter.numel() for parameter in unet(UnetSettings(), latent_dim=128).parameters()) == 7_814_139


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 2), (7, 9), (16, 16)])
def test_a_latent_enters_a_convolution_as_if_it_were_tiled_over_the_planes(height: int, width: int) -> None:
    convolution, planes, latents = LatentConv2d(6, 8, 5), torch.randn(3, 6, height, width), torch.randn(3, 8)
    tiled = latents[:, :, None, None].expand(-1, -1, height, width)
    expected = functional.conv2d(
        torch.cat([planes, tiled], dim=1), convolution.weight, convolution.bias, stride=1, padding=1
    )
    torch.testing.assert_close(convolution(planes * LEVELS, latents), expected, atol=1e-5, rtol=1e-5)


def test_a_latent_without_tiles_has_the_gradients_of_a_tiled_one() -> None:
    convolution, planes = LatentConv2d(6, 8, 5), torch.randn(3, 6, 7, 9)
    latents, upstream = torch.randn(3, 8, requires_grad=True), torch.randn(3, 5, 7, 9)
    tiled = latents[:, :, None, None].expand(-1, -1, 7, 9)
    plain = functional.conv2d(torch.cat([planes, tiled], dim=1), convolution.weight, convolution.bias, padding=1)
    wanted = torch.autograd.grad(plain, [latents, convolution.weight], upstream)
    found = torch.autograd.grad(convolution(planes * LEVELS, latents), [latents, convolution.weight], upstream)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_features_and_pixels_enter_a_convolution_as_if_they_were_concatenated() -> None:
    """Output, and gradients of features and parameters."""
    convolution, planes = RevisitConv2d(4, 6, 5), torch.randn(3, 6, 7, 9)
    features, upstream = torch.randn(3, 4, 7, 9, requires_grad=True), torch.randn(3, 5, 7, 9)
    plain = functional.conv2d(
        torch.cat([features, planes], dim=1), convolution.weight, convolution.bias, stride=1, padding=1
    )
    output = convolution(features, planes * LEVELS)
    torch.testing.assert_close(output, plain, atol=1e-5, rtol=1e-5)
    inputs = [features, *convolution.parameters()]
    wanted, found = (torch.autograd.grad(result, inputs, upstream) for result in (plain, output))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_linear_map_of_cells_is_a_transposed_convolution() -> None:
    """Output, and gradients of features and parameters."""
    convolution, features = UpConv2d(4, 5), torch.randn(3, 4, 3, 2, requires_grad=True)
    plain = functional.conv_transpose2d(features, convolution.weight, convolution.bias, stride=2)
    output = convolution(features)
    torch.testing.assert_close(output, plain)
    inputs, upstream = [features, *convolution.parameters()], torch.randn(3, 5, 6, 4)
    wanted, found = (torch.autograd.grad(result, inputs, upstream) for result in (plain, output))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def plain_residual(block: ResidualBlock, features: Tensor) -> Tensor:
    return features + block.second(torch.relu(block.first(torch.relu(features))))


def plain_down(block: DownBlock, features: Tensor) -> Tensor:
    convolution = block.convolution
    convolved = functional.conv2d(features, convolution.weight.contiguous(), convolution.bias, padding=1)
    return torch.relu(functional.max_pool2d(plain_residual(block.residual, block.norm(convolved)), 2))


def plain_losses(network: UnetForwardDynamics, frames: Tensor, latents: Tensor, following: Tensor) -> Tensor:
    """Of a network without patches: pixels in -.5 .. .5, a tiled latent, concatenations, nothing in place, contiguous memory."""
    pixels = (frames.permute(0, 1, 4, 2, 3).flatten(1, 2) / 255 - 0.5).contiguous()
    tiled = latents[:, :, None, None].expand(-1, -1, 64, 64)
    skips = [plain_down(network.first, torch.cat([pixels, tiled], dim=1))]
    for block in network.down:
        skips.append(plain_down(block, skips[-1]))
    features = network.bottom(skips[-1])
    for block, skip in zip(network.up, [latents[:, :, None, None], *reversed(skips)], strict=True):
        weight, bias = block.convolution.weight, block.convolution.bias
        convolved = functional.conv_transpose2d(torch.cat([features, skip], dim=1), weight, bias, stride=2)
        features = torch.relu(plain_residual(block.residual, block.norm(convolved)))
    revisit, residual, _, head = network.last
    features = functional.conv2d(torch.cat([features, pixels], dim=1), revisit.weight, revisit.bias, padding=1)
    output = torch.tanh(head(torch.relu(plain_residual(residual, features))))
    predicted = pixels[:, -3:] + output if network.predicts_change else output / 2
    target = following.permute(0, 3, 1, 2) / 255 - 0.5
    return (predicted - target).square().mean(dim=(1, 2, 3))


@pytest.mark.parametrize("target", ["frame", "change"])
def test_losses_and_gradients_are_those_of_the_plain_form(target: str) -> None:
    network = unet(FULL.model_copy(update={"target": target}))
    nn.init.normal_(network.last[-1].weight, std=0.1)
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    frames, latents, following = random_frames(3, 2), torch.randn(3, 10, requires_grad=True), random_frames(3)
    inputs = [latents, *network.parameters()]
    losses = [
        network.prediction_losses(frames, latents, following),
        plain_losses(network, frames, latents, following),
    ]
    torch.testing.assert_close(losses[0], losses[1], atol=1e-6, rtol=1e-5)
    found, wanted = (torch.autograd.grad(loss.sum(), inputs) for loss in losses)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_the_gradient_of_a_loss_of_zero_is_zero() -> None:
    network, frames = unet(PATCHES.model_copy(update={"target": "change"})), random_frames(2, 2)
    network.prediction_losses(frames, torch.randn(2, 10), frames[:, 1]).mean().backward()
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in network.parameters() if p.grad is not None)
    assert network.last[-1].weight.grad is not None


@pytest.mark.parametrize("settings", [FULL, PATCHES, PATCHES.model_copy(update={"target": "change"})])
def test_predictions_have_the_shape_of_a_frame(settings: UnetSettings) -> None:
    network, frames, latents = unet(settings), random_frames(2, 2), torch.randn(2, 10)
    prediction = network(frames, latents)
    assert prediction.shape == (2, 3, 64, 64) and prediction.dtype == torch.float32
    likely = network.eval().most_likely(frames, latents)
    assert likely.shape == (2, 64, 64, 3) and likely.dtype == torch.uint8
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(frames, latents).dtype == torch.float32


@pytest.mark.parametrize("settings", [FULL, PATCHES])
def test_the_most_likely_frame_is_the_prediction_in_levels(settings: UnetSettings) -> None:
    """Also where pixels lie: with patches the channels of a patch become its pixels."""
    network, frames, latents = unet(settings).eval(), random_frames(2, 2), torch.randn(2, 10)
    levels = (network(frames, latents).permute(0, 2, 3, 1) + 0.5) * 255
    assert (network.most_likely(frames, latents) - levels).abs().max() <= 0.501


@pytest.mark.parametrize("settings", [FULL, PATCHES, PATCHES.model_copy(update={"target": "change"})])
def test_the_loss_is_the_mean_squared_error_over_pixels(settings: UnetSettings) -> None:
    network, frames, latents = unet(settings).eval(), random_frames(3, 2), torch.randn(3, 10)
    following = random_frames(3)
    errors = network(frames, latents).permute(0, 2, 3, 1) - (following / 255 - 0.5)
    losses = network.prediction_losses(frames, latents, following)
    assert losses.shape == (3,) and losses.dtype == torch.float32
    torch.testing.assert_close(losses, errors.square().mean(dim=(1, 2, 3)))


def test_a_model_of_changes_first_predicts_the_present_frame() -> None:
    network, frames = unet(PATCHES.model_copy(update={"target": "change"})), random_frames(2, 2)
    assert torch.equal(network.most_likely(frames, torch.randn(2, 10)), frames[:, 1])
    assert network.prediction_losses(frames, torch.randn(2, 10), frames[:, 1]).max() == 0


@pytest.mark.parametrize("settings", [FULL, PATCHES, UnetSettings(stem="patch", base_width=4)])
def test_a_standardised_change_is_scaled_per_colour_and_reported_in_pixels(settings: UnetSettings) -> None:
    """What is minimised is the error in deviations; the loss that is reported is that of the prediction. Odd sides have half patches."""
    settings = settings.model_copy(update={"target": "standardised"})
    side = 61 if settings.base_width == 4 else 64
    network = UnetForwardDynamics(settings=settings, frame_shape=(side, side, 3), latent_dim=10)
    deviations, mean = torch.tensor([5.0, 20.0, 80.0]), torch.tensor([1.0, -2.0, 0.5])
    standardise_inputs(network, {change_of("frames"): (mean, deviations)})
    nn.init.normal_(network.last[-1].weight, std=2)
    frames, latents = torch.randint(256, (3, 3, side, side, 3), dtype=torch.uint8), torch.randn(3, 10)
    minimised, reported = network.training_losses(frames[:, :2], latents, frames[:, 2])
    levels = (network(frames[:, :2], latents) + 0.5).permute(0, 2, 3, 1) * LEVELS
    errors = levels - frames[:, 2]
    torch.testing.assert_close(reported, (errors / LEVELS).square().mean(dim=(1, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(minimised, (errors / deviations).square().mean(dim=(1, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(network.prediction_losses(frames[:, :2], latents, frames[:, 2]), reported)
    standardised = ((levels - frames[:, 1] - mean) / deviations).abs().max()
    assert standardised > 1, "it has no bounds"


def test_a_model_of_standardised_changes_first_predicts_the_mean_change() -> None:
    network, frames = unet(PATCHES.model_copy(update={"target": "standardised"})), random_frames(2, 2)
    standardise_inputs(network, {change_of("frames"): (torch.tensor([0.0, 0.0, -300.0]), torch.ones(3))})
    predicted = network.most_likely(frames, torch.randn(2, 10))
    assert torch.equal(predicted[..., :2], frames[:, 1, ..., :2]) and predicted[..., 2].max() == 0


def test_the_former_name_of_the_target_may_be_used() -> None:
    assert UnetSettings.model_validate({"predicts": "change"}) == UnetSettings(target="change")
    with pytest.raises(ValueError, match="found predicts, too, which is its former name"):
        UnetSettings.model_validate({"predicts": "change", "target": "change"})


@pytest.mark.parametrize("settings", [FULL, PATCHES])
@pytest.mark.parametrize("changed", ["first frame", "second frame", "latent"])
def test_both_frames_and_the_latent_are_read(settings: UnetSettings, changed: str) -> None:
    network, frames, latents = unet(settings).eval(), random_frames(2, 2), torch.randn(2, 10)
    before = network(frames, latents)
    if changed == "latent":
        latents = torch.randn(2, 10)
    else:
        frames[:, int(changed == "second frame")] = random_frames(2)
    assert not torch.allclose(network(frames, latents), before)


@pytest.mark.parametrize("place", ["input", "bottleneck"])
def test_the_latent_is_read_at_the_input_and_at_the_bottleneck(place: str) -> None:
    """With its weights at the other place set to zero, the latent still changes the prediction."""
    network, frames = unet(PATCHES).eval(), random_frames(2, 2)
    with torch.no_grad():
        if place == "bottleneck":
            network.first.convolution.weight[:, -10:] = 0
        else:
            network.up[0].convolution.weight[-10:] = 0
    first, second = (network(frames, latents) for latents in torch.randn(2, 2, 10))
    assert not torch.allclose(first, second, atol=1e-7)


@pytest.mark.parametrize(
    ("shape", "stem"), [((64, 3, 3), "conv"), ((2, 2, 3), "conv"), ((12, 64, 3), "patch"), ((8, 8, 3), "patch")]
)
def test_frames_that_are_too_small_are_refused(shape: tuple[int, int, int], stem: str) -> None:
    settings = UnetSettings.model_validate({"stem": stem})
    with pytest.raises(
        ValueError, match=rf"found frames of {shape[0]}x{shape[1]} pixels, expected sides of at least .*: scale or pad"
    ):
        UnetForwardDynamics(settings=settings, frame_shape=shape, latent_dim=8)


def test_a_model_of_another_kind_of_frame_is_refused() -> None:
    message = "found a forward dynamics model of kind 'grid', expected 'unet' for frames of shape [64, 64, 3]"
    with pytest.raises(ValueError, match=re.escape(message)):
        build_forward_dynamics(GridDynamicsSettings(), spec=SPEC, latent_dim=8)
    grid = preset("xland-doorkey-5x5")
    with pytest.raises(ValueError, match="of kind 'unet', expected 'grid'"):
        build_forward_dynamics(PATCHES, spec=grid, latent_dim=8)


SIZES = ((32, 32), (33, 33), (50, 50), (64, 64), (65, 65), (84, 84), (99, 99), (256, 256), (96, 64), (64, 96), (33, 84))


@pytest.mark.parametrize("settings", [PATCHES, FULL, UnetSettings(stem="patch", base_width=8, target="change")])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_frames_of_any_size_are_predicted_and_learnt_from(height: int, width: int, settings: UnetSettings) -> None:
    model = UnetForwardDynamics(settings=settings, frame_shape=(height, width, 3), latent_dim=6)
    frames = torch.randint(256, (2, 3, height, width, 3), dtype=torch.uint8)
    latents = torch.randn(2, 6)
    prediction = model(frames[:, :2], latents)
    assert prediction.shape == (2, 3, height, width)
    assert model.most_likely(frames[:, :2], latents).shape == (2, height, width, 3)
    losses = model.prediction_losses(frames[:, :2], latents, frames[:, 2])
    target = frames[:, 2].permute(0, 3, 1, 2) / LEVELS - 0.5
    torch.testing.assert_close(losses, (prediction - target).square().mean(dim=(1, 2, 3)), rtol=1e-4, atol=1e-5)
    losses.mean().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
