"""The latent action model: what trains what, what a symmetry makes invariant, what labels are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lamflow.data.windows import Window
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.envs.tiles import AGENT_TILE
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.networks.symmetry import rotate_frames
from lamflow.quantizers.vq_ema import VectorQuantizerEma

FULL, EGOCENTRIC = preset("xland-doorkey-5x5-full"), preset("xland-doorkey-5x5")
QUANTIZERS = {
    "lapo": {"codebooks": 2, "tokens": 4, "code_dim": 4, "codes": 16},
    "one code": {"codebooks": 1, "tokens": 1, "code_dim": 8, "codes": 6, "revive_below": 0.3},
    "none": {"kind": "none", "codebooks": 1, "tokens": 1, "code_dim": 8},
}


def make_model(
    quantizer: str = "lapo", *, symmetry: str = "none", spec: EnvironmentSpec = FULL, pooling: str = "max"
) -> OneStepLam:
    torch.manual_seed(0)
    network = {"width": 8, "layers": 2, "hidden_width": 16}
    settings = OneStepSettings.model_validate(
        {
            "inverse_dynamics": network | {"pooling": pooling},
            "forward_dynamics": network,
            "quantizer": QUANTIZERS[quantizer],
            "symmetry": symmetry,
        }
    )
    return OneStepLam(settings=settings, spec=spec)


def random_frames(count: int = 6, *, frames: int = 3, spec: EnvironmentSpec = FULL) -> Tensor:
    """uint8 [B, frames, H, W, 2]; in full views each frame has one agent."""
    torch.manual_seed(1)
    shape = (count, frames, *spec.frame_shape[:2])
    windows = torch.stack([torch.randint(13, shape), torch.randint(12, shape)], dim=-1).to(torch.uint8)
    if spec.view == "full":
        for window in windows.flatten(0, 1):
            row, column, direction = torch.randint(4, (3,))
            window[row, column, 0] = AGENT_TILE + direction
    return windows


def random_windows(count: int = 6, *, spec: EnvironmentSpec = FULL) -> Window:
    """Transitions of ``random_frames``."""
    return Window.of_frames(random_frames(count, spec=spec))


@pytest.mark.parametrize("spec", [FULL, EGOCENTRIC], ids=lambda spec: spec.name)
@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_latents_have_the_shapes_of_the_quantiser(quantizer: str, spec: EnvironmentSpec) -> None:
    model = make_model(quantizer, spec=spec).eval()
    windows = random_windows(spec=spec)
    latents = model.label(windows)
    settings = model.settings.quantizer
    codes = 0 if settings.kind == "none" else settings.codebooks * settings.tokens
    assert latents.continuous.shape == latents.quantized.shape == (6, settings.latent_dim)
    assert latents.codes.shape == (6, codes) and latents.codes.dtype == torch.int64
    assert latents.continuous.dtype == latents.quantized.dtype == torch.float32
    assert model.prediction_loss(windows, latents.quantized).shape == (6,)
    predicted = model.predict(windows, latents.quantized)
    assert predicted.shape == (6, *spec.frame_shape) and predicted.dtype == torch.uint8


def test_the_latent_before_quantisation_is_kept_beside_its_code() -> None:
    model = make_model().eval()
    latents = model.label(random_windows())
    assert isinstance(model.quantizer, VectorQuantizerEma)
    torch.testing.assert_close(latents.quantized, model.quantizer.decode(latents.codes))
    assert not torch.allclose(latents.continuous, latents.quantized)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_labels_are_deterministic_and_leave_the_model_alone(quantizer: str) -> None:
    model, windows = make_model(quantizer).eval(), random_windows()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first, second = model.label(windows), model.label(windows)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_window_is_labelled_the_same_in_any_batch() -> None:
    model, frames = make_model().eval(), random_frames()
    alone = torch.cat([model.label(Window.of_frames(part[None])).continuous for part in frames])
    torch.testing.assert_close(model.label(Window.of_frames(frames)).continuous, alone)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_the_reconstruction_trains_the_inverse_dynamics_through_the_quantiser(quantizer: str) -> None:
    model = make_model(quantizer)
    latents = model.quantizer(model.inverse_dynamics(random_frames())).latents
    model.prediction_loss(random_windows(), latents).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_loss_is_the_mean_prediction_loss_and_the_weighted_commitment() -> None:
    model = make_model().eval()
    windows = random_windows()
    loss, latents = model.loss(windows), model.label(windows)
    reconstruction = model.prediction_loss(windows, latents.quantized).mean()
    commitment = 0.05 * (latents.continuous - latents.quantized).square().mean()
    torch.testing.assert_close(loss.terms["loss/reconstruction"], reconstruction.detach())
    torch.testing.assert_close(loss.terms["loss/commitment"], commitment)
    torch.testing.assert_close(loss.total, reconstruction + commitment)


def test_the_prediction_loss_is_the_cross_entropy_of_both_channels_summed_over_cells() -> None:
    model, windows = make_model(), random_windows(2)
    latents = torch.randn(2, 32)
    tiles, colors = model.forward_dynamics(windows.frames[:, :2], latents)
    expected = torch.zeros(2)
    for b in range(2):
        for row in range(5):
            for column in range(5):
                tile, color = windows.frames[b, 2, row, column].tolist()
                expected[b] -= tiles[b, :, row, column].log_softmax(0)[tile]
                expected[b] -= colors[b, :, row, column].log_softmax(0)[color]
    torch.testing.assert_close(model.prediction_loss(windows, latents), expected)


def test_the_next_frame_does_not_reach_the_prediction_but_through_the_latent() -> None:
    model, windows = make_model().eval(), random_windows()
    other = Window.of_frames(torch.cat([windows.frames[:, :2], random_frames(12)[6:, 2:]], dim=1))
    latents = torch.randn(6, 32)
    assert torch.equal(model.predict(windows, latents), model.predict(other, latents))
    assert not torch.allclose(model.label(windows).continuous, model.label(other).continuous)


@pytest.mark.parametrize("pooling", ["max", "flatten"])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_with_rotation_symmetry_a_turned_window_has_the_same_label_and_loss(turns: int, pooling: str) -> None:
    model, windows = make_model(symmetry="rotation", pooling=pooling).eval(), random_windows()
    turned = Window.of_frames(rotate_frames(windows.frames, turns))
    latents, turned_latents = model.label(windows), model.label(turned)
    assert torch.equal(turned_latents.continuous, latents.continuous)
    assert torch.equal(turned_latents.codes, latents.codes)
    losses = model.prediction_loss(windows, latents.quantized)
    assert torch.equal(model.prediction_loss(turned, latents.quantized), losses)
    assert torch.equal(model.loss(turned).total, model.loss(windows).total)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_with_rotation_symmetry_the_prediction_turns_with_the_frames(turns: int) -> None:
    model, frames = make_model(symmetry="rotation").eval(), random_frames(frames=2)
    with torch.no_grad():
        model.forward_dynamics.head.weight.mul_(
            20
        )  # an untrained model would predict the present frame, which turns anyway
    latents = torch.randn(6, 32)
    predicted = model.predict(Window.of_frames(frames), latents)
    assert not torch.equal(predicted, frames[:, 1])
    assert torch.equal(
        model.predict(Window.of_frames(rotate_frames(frames, turns)), latents), rotate_frames(predicted, turns)
    )


def test_without_symmetry_a_turned_window_has_another_label() -> None:
    model, windows = make_model().eval(), random_windows()
    turned = Window.of_frames(rotate_frames(windows.frames, 1))
    assert not torch.allclose(model.label(turned).continuous, model.label(windows).continuous)
