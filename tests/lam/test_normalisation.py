"""Batch normalisation of latents: agreement with torch, frozen when labelling, one batch over several processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from lamflow.data.windows import Window
from lamflow.envs.presets import preset
from lamflow.lam.normalisation import LatentNorm
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.networks.grid_settings import GridDynamicsSettings, GridEncoderSettings
from lamflow.training.settings import TrainingSettings

SPEC = preset("xland-doorkey-5x5-full")
NETWORK = GridEncoderSettings(width=8, layers=1, hidden_width=16)
DYNAMICS = GridDynamicsSettings(width=8, layers=1)


def steps(norm: nn.Module, latents_NBD: Tensor) -> list[Tensor]:
    """Outputs, gradients of the input under a loss, and what has been learnt, after a step per batch."""
    found = []
    for batch in latents_NBD:
        batch = batch.clone().requires_grad_()
        out = norm(batch)
        (out.pow(3).sum() / len(latents_NBD[0])).backward()
        assert batch.grad is not None
        found += [out.detach(), batch.grad]
    return [*found, *(value.detach().clone() for value in norm.state_dict().values())]


def shared(rank: int, folder: str, latents_NBD: Tensor) -> None:
    distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    half = latents_NBD.shape[1] // 2
    own = latents_NBD[:, rank * half : (rank + 1) * half]
    norm = LatentNorm(latents_NBD.shape[2])
    found = []
    for batch in own:
        batch = batch.clone().requires_grad_()
        out = norm(batch)
        (out.pow(3).sum() / latents_NBD.shape[1]).backward()
        found += [out.detach(), batch.grad]
    torch.save((found, norm.state_dict()), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def batches() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 8, 5, generator=generator) * torch.tensor([1.0, 10, 0.1, 3, 1]) + torch.arange(5.0)


@pytest.mark.slow
def test_two_processes_normalise_as_one_would_the_whole_batch(tmp_path: Path) -> None:
    latents = batches()
    single = nn.BatchNorm1d(5)
    wanted = steps(single, latents)
    multiprocessing.spawn(shared, (str(tmp_path), latents), nprocs=2)
    (first, state), (second, other_state) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for index, (a, b) in enumerate(zip(first, second, strict=True)):
        torch.testing.assert_close(torch.cat([a, b]), wanted[index], rtol=1e-4, atol=1e-5)
    for name, value in single.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(state[name], other_state[name])


def test_one_process_normalises_as_torch_does() -> None:
    for found, wanted in zip(steps(LatentNorm(5), batches()), steps(nn.BatchNorm1d(5), batches()), strict=True):
        torch.testing.assert_close(found, wanted)


def windows(count: int) -> Window:
    generator = torch.Generator().manual_seed(1)
    tiles = torch.randint(13, (count, 3, 5, 5, 1), generator=generator)
    colours = torch.randint(12, (count, 3, 5, 5, 1), generator=generator)
    return Window.of_frames(torch.cat([tiles, colours], -1).to(torch.uint8))


def test_a_label_depends_on_its_own_window_alone_and_changes_nothing() -> None:
    """The control: in training mode it depends on the others of its batch."""
    torch.manual_seed(0)
    settings = OneStepSettings(inverse_dynamics=NETWORK, forward_dynamics=DYNAMICS, normalise=True)
    model = OneStepLam(settings=settings, spec=SPEC)
    batch = windows(16)
    first = Window.of_frames(batch.frames[:4])
    model.train()
    for _ in range(5):
        model.loss(batch)
    with torch.no_grad():
        alone, together = model.encode(first), model.encode(batch)[:4]
    assert not torch.allclose(alone, together, atol=1e-3)
    model.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.testing.assert_close(model.label(first).continuous, model.label(batch).continuous[:4])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_without_it_a_model_has_no_more_parameters_than_before() -> None:
    settings = OneStepSettings(inverse_dynamics=NETWORK, forward_dynamics=DYNAMICS)
    names = OneStepLam(settings=settings, spec=SPEC).state_dict()
    assert not any(name.startswith("normalisation") for name in names)


def test_batches_of_one_are_refused() -> None:
    with pytest.raises(ValueError, match="normalise: true needs batches of more than one transition per device"):
        OneStepSettings(normalise=True, training=TrainingSettings(batch_size=2, devices=2))
