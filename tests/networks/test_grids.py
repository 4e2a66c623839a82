"""Networks over grids: what they read, what they keep under translation, where the latent enters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.envs.tiles import AGENT_TILE
from lamflow.networks.grid_dynamics import GridForwardDynamics
from lamflow.networks.grid_encoder import GridEncoder
from lamflow.networks.grid_settings import GridEncoderSettings
from lamflow.networks.grids import CategoryEmbedding, GridTrunk, one_hot_grid
from lamflow.networks.perceptron import mlp

SIZES = (17, 12)
SMALL = GridEncoderSettings(width=8, layers=3, embedding_dim=4, hidden_width=16)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def random_frames(*shape: int) -> Tensor:
    """uint8 [*shape, 2]."""
    channels = [torch.randint(size, shape) for size in SIZES]
    return torch.stack(channels, dim=-1).to(torch.uint8)


def encoder(pooling: str = "max", num_frames: int = 1, side: int = 5, **changes: int) -> GridEncoder:
    return GridEncoder(
        settings=SMALL.model_copy(update={"pooling": pooling}),
        num_frames=num_frames,
        frame_shape=(side, side, 2),
        category_sizes=SIZES,
        output_dim=6,
        **changes,
    )


def test_one_hot_planes_stand_for_the_categories() -> None:
    frames = random_frames(3, 5, 5)
    planes = one_hot_grid(frames, SIZES)
    assert planes.shape == (3, 5, 5, sum(SIZES)) and planes.dtype == torch.float32
    tiles, colors = planes.split(SIZES, dim=-1)
    assert torch.equal(tiles.argmax(-1), frames[..., 0].long())
    assert torch.equal(colors.argmax(-1), frames[..., 1].long())
    assert torch.equal(planes.sum(-1), torch.full((3, 5, 5), 2.0))


def test_embeddings_have_a_table_a_column() -> None:
    embedding = CategoryEmbedding((4, 13, 12), dim=5)
    values = torch.tensor([[3, 3, 3], [0, 12, 11]], dtype=torch.uint8)
    found = embedding(values)
    assert found.shape == (2, 15) and embedding.output_dim == 15
    rows = embedding.table.weight
    expected = [torch.cat([rows[3], rows[4 + 3], rows[17 + 3]]), torch.cat([rows[0], rows[4 + 12], rows[17 + 11]])]
    assert torch.equal(found, torch.stack(expected))
    assert "offsets" not in embedding.state_dict()


def test_equal_categories_of_different_frames_have_different_embeddings() -> None:
    """Else an encoder could not tell which frame of the window came first."""
    frames = random_frames(2, 2, 5, 5)
    network = encoder(num_frames=2)
    assert not torch.allclose(network(frames), network(frames.flip(1)))


def test_max_pooling_makes_the_encoder_invariant_to_translation_away_from_borders() -> None:
    """Three 3x3 layers see three cells far: an object at least seven cells from the border may move without a trace."""
    empty = torch.zeros(1, 1, 19, 19, 2, dtype=torch.uint8)
    network = encoder(side=19)
    outputs = []
    for row, column in ((7, 7), (9, 11), (11, 8)):
        frames = empty.clone()
        frames[0, 0, row, column] = torch.tensor([AGENT_TILE, 3])
        frames[0, 0, row, column + 1] = torch.tensor([7, 4])
        outputs.append(network(frames))
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(outputs[2], outputs[0])
    assert not torch.allclose(network(empty), outputs[0])


def test_flattening_keeps_places() -> None:
    frames = torch.zeros(1, 1, 19, 19, 2, dtype=torch.uint8)
    moved = frames.clone()
    frames[0, 0, 7, 7, 0] = moved[0, 0, 9, 9, 0] = AGENT_TILE
    network = encoder("flatten", side=19)
    assert not torch.allclose(network(frames), network(moved))


def test_extra_inputs_and_planes_are_read() -> None:
    frames, extra, planes = random_frames(3, 1, 5, 5), torch.randn(3, 4), torch.rand(3, 5, 5, 2)
    network = encoder(extra_dim=4, extra_planes=2)
    output = network(frames, extra, planes)
    assert output.shape == (3, 6)
    assert network.features(frames, extra, planes).shape == (3, 16)
    assert not torch.allclose(output, network(frames, extra + 1, planes))
    assert not torch.allclose(output, network(frames, extra, planes + 1))


def test_a_shift_enters_every_layer_like_a_latent_tiled_over_the_grid() -> None:
    """Away from the border, adding W z before the activation equals a convolution that also reads z in every cell."""
    trunk = GridTrunk(settings=SMALL, num_frames=1, category_sizes=SIZES)
    frames, latents = random_frames(2, 1, 7, 7), torch.randn(2, 5)
    kernels = [torch.randn(8, 5, 3, 3) for _ in range(3)]
    shifts = torch.cat([latents @ kernel.sum((2, 3)).T for kernel in kernels], dim=1)
    features = trunk.embedding(frames.movedim(1, 3).flatten(3)).permute(0, 3, 1, 2)
    tiled = latents[:, :, None, None].expand(-1, -1, 7, 7)
    for index, (convolution, kernel) in enumerate(zip(trunk.convolutions, kernels, strict=True)):
        assert isinstance(convolution, nn.Conv2d)
        wider = torch.cat([convolution.weight, kernel], dim=1)
        update = functional.relu(
            functional.conv2d(torch.cat([features, tiled], dim=1), wider, convolution.bias, padding=1)
        )
        features = update if index == 0 else features + update
    found = trunk(frames, shift_BC=shifts)
    torch.testing.assert_close(found[:, :, 3, 3], features[:, :, 3, 3], atol=1e-4, rtol=1e-4)


def forward_dynamics() -> GridForwardDynamics:
    return GridForwardDynamics(settings=SMALL, category_sizes=SIZES, latent_dim=10)


def test_before_it_has_learnt_anything_the_present_frame_is_predicted_in_nearly_every_cell() -> None:
    frames = random_frames(40, 2, 5, 5)
    tiles, colors = forward_dynamics()(frames, torch.randn(40, 10))
    assert tiles.shape == (40, 17, 5, 5) and colors.shape == (40, 12, 5, 5)
    assert (tiles.argmax(1) == frames[:, 1, ..., 0]).float().mean() > 0.9
    assert (colors.argmax(1) == frames[:, 1, ..., 1]).float().mean() > 0.9


@pytest.mark.parametrize("layer", range(3))
def test_the_latent_enters_every_layer(layer: int) -> None:
    """Through the rows of its projection that belong to the layer alone it still changes the prediction."""
    network = forward_dynamics()
    with torch.no_grad():
        for index, part in enumerate(network.latent_projection.weight.chunk(3)):
            part.mul_(10.0 if index == layer else 0.0)
    frames = random_frames(4, 2, 5, 5)
    first, second = (network(frames, latents)[0] for latents in torch.randn(2, 4, 10))
    assert not torch.allclose(first, second)


def test_both_frames_are_read() -> None:
    network, frames, latents = forward_dynamics(), random_frames(4, 2, 5, 5), torch.zeros(4, 10)
    other = frames.clone()
    other[:, 0] = random_frames(4, 5, 5)
    assert not torch.allclose(network(frames, latents)[0], network(other, latents)[0])


def test_a_perceptron_has_the_widths_it_is_given_and_is_linear_without_hidden_ones() -> None:
    shapes = [tuple(p.shape) for p in mlp(4, (8, 6), 3).parameters() if p.ndim == 2]
    assert shapes == [(8, 4), (6, 8), (3, 6)]
    linear = mlp(4, (), 3)
    a, b = torch.randn(2, 5, 4)
    torch.testing.assert_close(linear(a) + linear(b) - linear(torch.zeros(5, 4)), linear(a + b))
