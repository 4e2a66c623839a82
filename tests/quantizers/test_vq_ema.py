"""Vector quantisation: agreement with vector-quantize-pytorch, codes and latents that belong together, revival."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, distributed, multiprocessing
from torch.nn import functional
from vector_quantize_pytorch import VectorQuantize

from lamflow.quantizers.none import IdentityQuantizer
from lamflow.quantizers.none_settings import NoneSettings
from lamflow.quantizers.vq_ema import VectorQuantizerEma
from lamflow.quantizers.vq_ema_settings import VqEmaSettings

SHAPES = [(1, 1), (1, 4), (2, 1), (2, 4)]
"""Codebooks and tokens a codebook."""
WIDTH = 8


def make_quantizer(codebooks: int, tokens: int, *, codes: int = 6, **changes: Any) -> VectorQuantizerEma:
    torch.manual_seed(0)
    settings = VqEmaSettings(codebooks=codebooks, tokens=tokens, code_dim=WIDTH, codes=codes, **changes)
    return VectorQuantizerEma(settings)


def make_reference(ours: VectorQuantizerEma) -> VectorQuantize:
    """The library's quantiser with the same settings and codebooks: one head a codebook, plain straight-through gradients."""
    settings = ours.settings
    reference = VectorQuantize(
        dim=settings.codebooks * settings.code_dim,
        codebook_dim=settings.code_dim,
        codebook_size=settings.codes,
        heads=settings.codebooks,
        separate_codebook_per_head=True,
        decay=settings.decay,
        eps=settings.epsilon,
        commitment_weight=1.0,
        threshold_ema_dead_code=settings.revive_below,
        rotation_trick=False,
    )
    reference._codebook.embed.copy_(ours.codebook)
    reference._codebook.embed_avg.copy_(ours.codebook)
    return reference


def by_token(latents_BD: Tensor, settings: VqEmaSettings) -> Tensor:
    """Our latents [B, G * T * W] as the library takes them: [B, T, G * W]."""
    latents = latents_BD.unflatten(1, (settings.codebooks, settings.tokens, settings.code_dim))
    return latents.transpose(1, 2).flatten(2)


@pytest.mark.parametrize(("codebooks", "tokens"), SHAPES)
def test_training_agrees_with_vector_quantize_pytorch(codebooks: int, tokens: int) -> None:
    """Codes, quantised latents, commitment loss, gradient, and all moving averages, over 30 updates.

    Both start with cluster sizes of 1, both smooth them in Laplace's way and scale them back to their sum,
    (n_c + eps) / (sum n + C eps) * sum n, and both quantise a batch before they learn from it.
    """
    ours = make_quantizer(codebooks, tokens, decay=0.9, epsilon=1e-3)
    theirs = make_reference(ours)
    weights = torch.randn(ours.settings.latent_dim)
    for step in range(30):
        batch = 0.5 * torch.randn(12, ours.settings.latent_dim) + 0.02 * step
        inputs = [batch.clone().requires_grad_() for _ in range(2)]
        quantized = ours(inputs[0])
        latents, codes, commitment = theirs(by_token(inputs[1], ours.settings))
        if codebooks == 1:
            codes = codes[..., None]
        assert torch.equal(quantized.codes, codes.transpose(1, 2).flatten(1))
        torch.testing.assert_close(by_token(quantized.latents, ours.settings), latents)
        torch.testing.assert_close(quantized.commitment_loss, commitment.squeeze())
        ((quantized.latents * weights).sum() + quantized.commitment_loss).backward()
        ((latents * by_token(weights[None], ours.settings)).sum() + commitment.squeeze()).backward()
        torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
        torch.testing.assert_close(ours.codebook, theirs._codebook.embed)
        torch.testing.assert_close(ours.cluster_size, theirs._codebook.cluster_size)
        torch.testing.assert_close(ours.cluster_sum, theirs._codebook.embed_avg)
    assert not torch.allclose(ours.codebook, make_quantizer(codebooks, tokens).codebook)


def plain_update(
    state: dict[str, Tensor], vectors: Tensor, codes: Tensor, decay: float, eps: float, *, lapo: bool
) -> None:
    """One step of the moving averages of one codebook [C, W], written out."""
    one_hot = (codes[:, None] == torch.arange(len(state["codebook"]))).to(vectors.dtype)
    state["size"] = decay * state["size"] + (1 - decay) * one_hot.sum(0)
    state["sum"] = decay * state["sum"] + (1 - decay) * one_hot.T @ vectors
    total = state["size"].sum()
    smoothed = (state["size"] + eps) / (total + len(one_hot.T) * eps) * total
    state["codebook"] = state["sum"] / smoothed[:, None]
    if lapo:
        state["size"] = smoothed


@pytest.mark.parametrize("counts", ["ones", "lapo"])
def test_the_moving_averages_are_what_the_formula_says(counts: Literal["ones", "lapo"]) -> None:
    quantizer = make_quantizer(1, 1, codes=16, ema_counts=counts)
    book = quantizer.codebook[0].double().clone()
    state = {"codebook": book, "sum": book.clone(), "size": torch.full((16,), float(counts == "ones")).double()}
    for _ in range(20):
        batch = 0.1 * torch.randn(12, WIDTH)
        codes = quantizer(batch).codes[:, 0]
        plain_update(state, batch.double(), codes, 0.999, 1e-5, lapo=counts == "lapo")
        torch.testing.assert_close(quantizer.codebook[0].double(), state["codebook"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(quantizer.cluster_size[0].double(), state["size"], rtol=1e-4, atol=1e-8)


def test_lapos_counts_throw_unused_codes_to_1e5_times_their_size_at_the_first_step_and_ours_do_not() -> None:
    """And few codes are in use for long after that, since only 1e-5 per step is written into a count."""
    in_use = {}
    for counts in ("ones", "lapo"):
        quantizer = make_quantizer(1, 1, codes=64, ema_counts=counts)
        before = quantizer.codebook[0].clone()
        batches = 0.1 * torch.randn(100, 128, WIDTH, generator=torch.Generator().manual_seed(0))
        used = quantizer(batches[0]).codes.unique()
        unused = torch.ones(64, dtype=torch.bool)
        unused[used] = False
        grown = (quantizer.codebook[0][unused] / before[unused]).flatten()
        assert unused.any() and used.numel() > 1
        torch.testing.assert_close(
            grown, torch.full_like(grown, 0.999e5 if counts == "lapo" else 1.0), rtol=0.02, atol=0
        )
        if counts == "lapo":
            torch.testing.assert_close(
                quantizer.cluster_size[0][unused], torch.full((int(unused.sum()),), 1e-5), rtol=0.02, atol=0
            )
        for batch in batches[1:]:
            codes = quantizer(batch).codes
        in_use[counts] = codes.unique().numel()
    assert in_use["lapo"] < in_use["ones"]


def test_the_default_counts_give_bit_by_bit_what_they_always_gave() -> None:
    quantizer = make_quantizer(2, 4)
    size, total, book = quantizer.cluster_size.clone(), quantizer.cluster_sum.clone(), quantizer.codebook.clone()
    assert torch.equal(size, torch.ones(2, 6))
    for _ in range(5):
        batch = 0.1 * torch.randn(16, quantizer.settings.latent_dim)
        vectors = quantizer._split(batch)
        one_hot = functional.one_hot(quantizer(batch).codes.unflatten(1, (2, 4)).transpose(0, 1).flatten(1), 6).float()
        size.lerp_(one_hot.sum(1), 1 - 0.999)
        total.lerp_(torch.bmm(one_hot.transpose(1, 2), vectors), 1 - 0.999)
        all_ = size.sum(-1, keepdim=True)
        book = total / ((size + 1e-5) / (all_ + 6 * 1e-5) * all_)[..., None]
        assert torch.equal(quantizer.codebook, book)
        assert torch.equal(quantizer.cluster_size, size)


def test_evaluation_agrees_with_vector_quantize_pytorch() -> None:
    """Codes and latents; the library has no commitment loss then."""
    ours = make_quantizer(2, 4).eval()
    theirs = make_reference(ours).eval()
    batch = 0.1 * torch.randn(16, ours.settings.latent_dim)
    quantized, (latents, codes, _) = ours(batch), theirs(by_token(batch, ours.settings))
    assert torch.equal(quantized.codes, codes.transpose(1, 2).flatten(1))
    torch.testing.assert_close(by_token(quantized.latents, ours.settings), latents)


def test_revival_agrees_with_vector_quantize_pytorch_in_which_codes_it_moves_and_with_what_weight() -> None:
    """Which vectors they move onto is drawn at random, by either in its own way."""
    ours = make_quantizer(1, 1, decay=0.5, revive_below=0.4)
    theirs = make_reference(ours)
    batch = torch.randn(4, WIDTH)
    for _ in range(3):
        alive = ours.cluster_size.clone()
        ours(batch)
        theirs(by_token(batch, ours.settings))
        torch.testing.assert_close(ours.cluster_size, theirs._codebook.cluster_size)
        moved = ours.cluster_size == 0.4
        torch.testing.assert_close(ours.codebook[~moved], theirs._codebook.embed[~moved])
        if moved.any():
            break
    assert moved.any() and not moved.all(), f"sizes before: {alive}"
    for code in ours.codebook[moved]:
        assert (batch == code).all(1).any(), "a revived code is one of the batch's vectors"
    torch.testing.assert_close(ours.cluster_sum[moved], 0.4 * ours.codebook[moved])


def test_codes_are_not_revived_unless_asked_for() -> None:
    quantizer = make_quantizer(1, 1, decay=0.5)
    for _ in range(20):
        quantizer(torch.ones(4, WIDTH))
    assert (quantizer.cluster_size < 1e-4).sum() == quantizer.settings.codes - 1


CASES = [(1, 0.0), (2, 0.0), (2, 0.5)]
"""Codebooks and the size below which a code is revived, of the quantisers that several processes share."""


def batches(quantizer: VectorQuantizerEma) -> Tensor:
    """Five batches of eight latents."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(5, 8, quantizer.settings.latent_dim, generator=generator)


def quantise_share(rank: int, folder: Path) -> None:
    """One of two processes: quantise its half of each batch, and keep what its quantisers have learnt."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    learnt = {}
    for codebooks, revive_below in CASES:
        quantizer = make_quantizer(codebooks, 2, decay=0.7, revive_below=revive_below)
        torch.manual_seed(rank)
        for batch in batches(quantizer):
            quantizer(batch.chunk(2)[rank])
        learnt[codebooks, revive_below] = quantizer.state_dict()
    torch.save(learnt, folder / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_learn_one_codebook_from_both_halves_of_a_batch(tmp_path: Path) -> None:
    """The one of a single process, but that codes are revived from the first half only; both always have the same."""
    multiprocessing.spawn(quantise_share, args=(tmp_path,), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for codebooks, revive_below in CASES:
        states = [shares[codebooks, revive_below] for shares in (first, second)]
        assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
        alone = make_quantizer(codebooks, 2, decay=0.7, revive_below=revive_below)
        for batch in batches(alone):
            alone(batch)
        agrees = all(torch.allclose(states[0][name], tensor, atol=1e-6) for name, tensor in alone.state_dict().items())
        assert agrees == (revive_below == 0)


def test_a_batch_is_quantised_by_the_codebook_it_found_even_when_its_codes_are_revived() -> None:
    quantizer = make_quantizer(1, 1, decay=0.5, revive_below=100.0)
    before = quantizer.codebook[0].clone()
    quantized = quantizer(torch.randn(4, WIDTH))
    torch.testing.assert_close(quantized.latents, before[quantized.codes[:, 0]])
    assert not torch.allclose(quantizer.codebook[0], before), "all codes were moved"


def test_codes_become_the_means_of_their_vectors() -> None:
    """Two well separated clusters: their codes go to their means, and the moving cluster sizes to the batch's counts."""
    quantizer = make_quantizer(1, 1, codes=2, decay=0.8)
    clusters = torch.stack([torch.full((WIDTH,), -3.0), torch.full((WIDTH,), 2.0)])
    quantizer.codebook.copy_(clusters[None] / 4)
    offsets = torch.tensor([0.0, 0.5, 0.0, -0.5])
    batch = torch.cat([clusters[0] + offsets[:3, None] - 1 / 6, clusters[1] + offsets[[1, 3]][:, None]])
    for _ in range(80):
        quantizer(batch)
    torch.testing.assert_close(quantizer.cluster_size, torch.tensor([[3.0, 2.0]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(quantizer.codebook[0], clusters, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("codebooks", "tokens"), SHAPES)
def test_decode_gives_the_latents_of_codes(codebooks: int, tokens: int) -> None:
    quantizer = make_quantizer(codebooks, tokens).eval()
    quantized = quantizer(0.1 * torch.randn(9, quantizer.settings.latent_dim))
    assert quantized.codes.shape == (9, codebooks * tokens)
    torch.testing.assert_close(quantizer.decode(quantized.codes), quantized.latents)


@pytest.mark.parametrize(("codebooks", "tokens"), SHAPES)
def test_codes_and_latents_are_in_the_order_of_codebooks_then_tokens(codebooks: int, tokens: int) -> None:
    """Column g * T + t of the codes is token t of codebook g, and so is the slice of the latent at the same place."""
    quantizer = make_quantizer(codebooks, tokens, codes=40).eval()
    codes = torch.randint(40, (5, codebooks * tokens))
    latents = torch.cat([quantizer.codebook[column // tokens][codes[:, column]] for column in range(codes.shape[1])], 1)
    torch.testing.assert_close(quantizer.decode(codes), latents)
    assert torch.equal(quantizer(latents).codes, codes)


def test_buffers_change_in_training_mode_only() -> None:
    quantizer = make_quantizer(2, 4, revive_below=0.5).eval()
    batch = torch.randn(16, quantizer.settings.latent_dim)
    before = {name: buffer.clone() for name, buffer in quantizer.named_buffers()}
    quantizer(batch)
    assert all(torch.equal(buffer, before[name]) for name, buffer in quantizer.named_buffers())
    quantizer.train()(batch)
    assert not any(torch.equal(buffer, before[name]) for name, buffer in quantizer.named_buffers())
    assert len(before) == 3 and not list(quantizer.parameters())


def test_the_quantiser_is_float32_under_autocast() -> None:
    straight, lowered = make_quantizer(2, 4), make_quantizer(2, 4)
    batch = torch.randn(16, straight.settings.latent_dim)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = lowered(batch)
    expected = straight(batch)
    assert found.latents.dtype == found.commitment_loss.dtype == torch.float32
    assert torch.equal(found.latents, expected.latents) and torch.equal(found.codes, expected.codes)
    assert all(torch.equal(a, b) for a, b in zip(lowered.buffers(), straight.buffers(), strict=True))


def test_bfloat16_latents_are_quantised_in_float32() -> None:
    quantizer = make_quantizer(1, 1).eval()
    found = quantizer(torch.randn(4, WIDTH, dtype=torch.bfloat16))
    torch.testing.assert_close(found.latents, quantizer.decode(found.codes))
    assert found.latents.dtype == torch.float32


def test_without_a_quantiser_the_latent_passes_as_it_is() -> None:
    quantizer = NoneSettings().build()
    latents = torch.randn(5, 3)
    quantized = quantizer(latents)
    assert isinstance(quantizer, IdentityQuantizer)
    assert quantized.latents is latents
    assert quantized.codes.shape == (5, 0) and quantized.codes.dtype == torch.int64
    assert quantized.commitment_loss == 0
