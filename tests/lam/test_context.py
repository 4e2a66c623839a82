"""How many frames a latent action model sees: no more than its context, and none of another episode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from linear_world import ENTRIES, LENGTH, SETTINGS, SPEC, linear_episodes, random_frames
from torch import Tensor

from lamflow.data.held_windows import Gatherer
from lamflow.data.row_memory import HeldRows
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import FRAMES, TRANSITION, EpisodeBounds, Window
from lamflow.envs.presets import preset
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.networks.symmetry import rotate_frames
from lamflow.runs.sizes import labelling_size, lam_size

PIXELS, GRID = preset("procgen-bigfish"), preset("xland-doorkey-5x5-full")
OTHERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "pixels": (
        PIXELS,
        {
            "inverse_dynamics": {"kind": "impala", "stem": "patch", "channels": [8], "blocks": 0, "hidden_width": 8},
            "forward_dynamics": {"kind": "unet", "stem": "patch", "base_width": 4},
        },
    ),
    "grid": (GRID, {"inverse_dynamics": {"width": 8, "layers": 1}, "forward_dynamics": {"width": 8, "layers": 1}}),
}


def vector_lam(context: int, **changes: Any) -> OneStepLam:
    torch.manual_seed(0)
    return OneStepLam(settings=OneStepSettings.model_validate(SETTINGS | {"context": context} | changes), spec=SPEC)


def rows_that_count(context: int, row: int, *, horizon: int = 1, one_episode: bool = False) -> list[int]:
    """The rows of two episodes whose frames have a part in the loss, or in the label, of a transition."""
    data, model = EpisodeTensors(linear_episodes(2, seed=0)), vector_lam(context, idm_horizon=horizon)
    every = torch.arange(2 * (LENGTH + 1))
    bounds = EpisodeBounds(every * 0, every * 0 + every[-1]) if one_episode else data.bounds
    frames = torch.from_numpy(linear_episodes(2, seed=0).frames).requires_grad_()
    ahead = torch.tensor([horizon]) if horizon > 1 else None
    gatherer = Gatherer(model.training_window, bounds, {}, HeldRows({FRAMES: frames}))
    model.loss(gatherer.gather(torch.tensor([row]), ahead)).total.backward()
    assert frames.grad is not None
    return torch.nonzero(frames.grad.abs().sum(1))[:, 0].tolist()


@pytest.mark.parametrize("context", [0, 1, 2, 5])
def test_frames_beyond_the_context_have_no_influence(context: int) -> None:
    """The control: one frame more of context, and one frame more has a part in the loss."""
    assert rows_that_count(context, 12) == list(range(12 - context, 14))
    assert rows_that_count(context + 1, 12) == list(range(11 - context, 14))


def test_no_frame_of_another_episode_is_seen() -> None:
    """On the second and third step of the second episode. The control: were both one episode, frames of the first would count."""
    begin = LENGTH + 1
    for row in (begin, begin + 1, begin + 2):
        assert rows_that_count(4, row) == list(range(begin, row + 2))
        assert rows_that_count(4, row, one_episode=True) == list(range(row - 4, row + 2))


def test_the_next_frame_counts_beside_the_one_ahead() -> None:
    assert rows_that_count(2, 12, horizon=5) == [10, 11, 12, 13, 17]


def test_at_an_episodes_begin_its_first_frame_is_repeated() -> None:
    data, model = EpisodeTensors(linear_episodes(2, seed=0)), vector_lam(3)
    window = data.part(model.window, torch.tensor([LENGTH + 2])).gather(torch.tensor([LENGTH + 2]))
    first = torch.from_numpy(linear_episodes(2, seed=0).frames)[LENGTH + 1]
    assert window.inside.tolist() == [[False, False, True, True, True]]
    assert all(torch.equal(window.frames[0, place], first) for place in range(3))


def test_one_frame_before_is_lapos_window() -> None:
    assert vector_lam(1).window == TRANSITION == OneStepLam(settings=OneStepSettings(), spec=GRID).window


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("context", [0, 3])
def test_networks_over_pixels_and_grids_take_any_context(kind: str, context: int) -> None:
    spec, networks = OTHERS[kind]
    torch.manual_seed(0)
    model = OneStepLam(settings=OneStepSettings.model_validate(networks | {"context": context}), spec=spec).eval()
    frames = torch.randint(12, (2, context + 2, *spec.frame_shape), dtype=torch.uint8)
    window = Window.of_frames(frames, present=context)
    label = model.label(window)
    assert model.prediction_loss(window, label.quantized).shape == (2,)
    assert model.predict(window, label.quantized).shape == (2, *spec.frame_shape)
    without = model.predict(window, torch.zeros_like(label.quantized))
    assert torch.equal(without, model.predict(replaced_next(window), torch.zeros_like(label.quantized)))
    model.train()
    model.loss(window).total.backward()


def replaced_next(window: Window) -> Window:
    """With another frame in the place of the next one, which no prediction may see."""
    frames = window.frames.clone()
    frames[:, -1] = (frames[:, -1] + 1) % 12
    return Window.of_frames(frames, present=window.present)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_window_has_the_same_label_whatever_the_context(turns: int) -> None:
    torch.manual_seed(0)
    settings = OneStepSettings.model_validate(OTHERS["grid"][1] | {"context": 2, "symmetry": "rotation"})
    model, frames = OneStepLam(settings=settings, spec=GRID).eval(), grid_frames(4)
    window, turned = (Window.of_frames(seen, present=2) for seen in (frames, rotate_frames(frames, turns)))
    assert torch.equal(model.label(window).continuous, model.label(turned).continuous)


def grid_frames(count: int) -> Tensor:
    """The agent of the present frame, the third of four, looks somewhere else than in the others."""
    frames = torch.randint(12, (count, 4, 5, 5, 2), dtype=torch.uint8)
    frames[:, :, 2, 2, 0] = 13
    frames[:, 2, 2, 2, 0] = 13 + torch.arange(count, dtype=torch.uint8) % 4
    return frames


@pytest.mark.parametrize("context", [1, 4])
def test_sizes_count_the_context(context: int) -> None:
    """An MLP of two layers of 64: each further frame has its columns in both first layers."""
    model, entries = vector_lam(context), ENTRIES
    settings = model.settings
    size, labels = lam_size(SPEC, settings), labelling_size(SPEC, settings)
    idm = (context + 2) * entries * 64 + 64 * 64 + 64 * 2
    fdm = ((context + 1) * entries + 2) * 64 + 64 * 64 + 64 * entries
    assert (labels.macs, size.macs) == (idm, idm + fdm)
    assert size.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert labels.parameters == idm + 64 + 64 + 2


def test_the_label_of_a_transition_is_that_of_its_window() -> None:
    """Whatever lies around it in its batch."""
    model, frames = vector_lam(2).eval(), random_frames(5, 4)
    together, alone = (model.label(Window.of_frames(part, present=2)) for part in (frames, frames[:1]))
    torch.testing.assert_close(together.continuous[:1], alone.continuous)
