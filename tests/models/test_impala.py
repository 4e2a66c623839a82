"""The IMPALA network: how frames enter it, and its two stems."""

from __future__ import annotations

import pytest
import torch

from lamflow.config import ImpalaSettings
from lamflow.models.impala import ImpalaEncoder, normalised_pixels


@pytest.mark.parametrize("num_frames", [1, 3])
def test_the_channels_of_stacked_frames_come_frame_by_frame(num_frames: int) -> None:
    frames = torch.randint(256, (2, num_frames, 5, 4, 3), dtype=torch.uint8)
    planes = normalised_pixels(frames, torch.float32)
    assert planes.shape == (2, 3 * num_frames, 5, 4)
    assert planes.is_contiguous(memory_format=torch.channels_last)
    for index in range(num_frames):
        expected = frames[:, index].permute(0, 3, 1, 2) / 255 - 0.5
        torch.testing.assert_close(planes[:, 3 * index : 3 * index + 3], expected)


@pytest.mark.parametrize("stem", ["conv", "patch"])
def test_every_frame_reaches_the_features(stem: str) -> None:
    torch.manual_seed(0)
    settings = ImpalaSettings.model_validate({"stem": stem, "channels": (8, 8), "hidden_width": 16})
    network = ImpalaEncoder(settings=settings, num_frames=3, frame_shape=(64, 64, 3))
    frames = torch.randint(256, (2, 3, 64, 64, 3), dtype=torch.uint8)
    features = network(frames)
    assert features.shape == (2, 16) and features.min() >= 0
    for index in range(3):
        other = frames.clone()
        other[:, index] = torch.randint(256, (2, 64, 64, 3), dtype=torch.uint8)
        assert not torch.allclose(network(other), features)


def test_a_patch_stem_has_a_quarter_of_the_side_at_once() -> None:
    settings = ImpalaSettings(stem="patch", channels=(8, 8), hidden_width=16)
    network = ImpalaEncoder(settings=settings, num_frames=1, frame_shape=(64, 64, 3))
    assert network.trunk[0](torch.zeros(1, 3, 64, 64)).shape == (1, 8, 16, 16)
    assert network.hidden.in_features == 8 * 8 * 8
