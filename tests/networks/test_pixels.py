"""How frames enter a network: the order of channels, exact levels, and convolutions that read them as scaled pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.networks.pixels import PatchStem, PixelConv2d, about_grey, patch_planes, pixel_planes, row_planes


def random_frames(count: int, num_frames: int, height: int = 12, width: int = 16) -> Tensor:
    torch.manual_seed(0)
    return torch.randint(256, (count, num_frames, height, width, 3), dtype=torch.uint8)


@pytest.mark.parametrize("num_frames", [1, 3])
def test_the_channels_of_stacked_frames_come_frame_by_frame(num_frames: int) -> None:
    frames = random_frames(2, num_frames, 5, 7)
    planes = pixel_planes(frames)
    assert planes.shape == (2, 3 * num_frames, 5, 7)
    assert planes.is_contiguous(memory_format=torch.channels_last)
    for index in range(num_frames):
        assert torch.equal(planes[:, 3 * index : 3 * index + 3], frames[:, index].permute(0, 3, 1, 2))


@pytest.mark.parametrize("num_frames", [1, 3])
def test_the_channels_of_rows_come_frame_by_frame_and_pixel_by_pixel(num_frames: int) -> None:
    frames = random_frames(2, num_frames)
    planes = row_planes(frames)
    assert planes.shape == (2, 12 * num_frames, 12, 4)
    for channel in range(planes.shape[1]):
        frame, pixel, color = channel // 12, channel // 3 % 4, channel % 3
        assert torch.equal(planes[:, channel], frames[:, frame, :, pixel::4, color])


@pytest.mark.parametrize("num_frames", [1, 2])
def test_the_channels_of_patches_come_frame_by_frame_and_from_the_upper_left(num_frames: int) -> None:
    frames = random_frames(2, num_frames)
    planes = patch_planes(frames)
    assert planes.shape == (2, 48 * num_frames, 3, 4)
    for channel in range(planes.shape[1]):
        frame, row, pixel, color = channel // 48, channel // 12 % 4, channel // 3 % 4, channel % 3
        assert torch.equal(planes[:, channel], frames[:, frame, row::4, pixel::4, color])


def test_frames_in_the_middle_of_windows_are_read_where_they_lie() -> None:
    windows = random_frames(3, 3)
    assert torch.equal(patch_planes(windows[:, 1:]), patch_planes(windows[:, 1:].clone()))
    assert torch.equal(row_planes(windows[1:, :2]), row_planes(windows[1:, :2].clone()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_levels_about_mid_grey_are_exact(dtype: torch.dtype) -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(about_grey(levels, dtype).double(), levels.double() - 127.5)


@pytest.mark.parametrize("kind", ["pixels", "rows"])
def test_a_convolution_over_levels_is_one_over_scaled_pixels(kind: str) -> None:
    """Also at the border, whose padding is mid-grey; outputs and gradients."""
    frames = random_frames(3, 2)
    network: nn.Conv2d = PixelConv2d(6, 5, 3, padding=1) if kind == "pixels" else PatchStem(6, 5)
    assert network.bias is not None
    planes = pixel_planes(frames) if kind == "pixels" else row_planes(frames)
    found = network(about_grey(planes, torch.float32))
    pixels = (pixel_planes(frames) / 255 - 0.5).contiguous()
    expected = functional.conv2d(pixels, network.weight, network.bias, network.stride, network.padding)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    parameters, upstream = [network.weight, network.bias], torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, parameters, upstream),
        torch.autograd.grad(expected, parameters, upstream),
        strict=True,
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
