"""Finite scalar quantisation: agreement with vector-quantize-pytorch, codes and latents that belong together, settings."""

from __future__ import annotations

import pytest
import torch
from vector_quantize_pytorch import FSQ

from lamflow.data.windows import Window
from lamflow.envs.presets import preset
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.quantizers.fsq import FiniteScalarQuantizer
from lamflow.quantizers.fsq_settings import FsqSettings
from lamflow.quantizers.settings import QUANTIZERS
from lamflow.settings_errors import settings_from

LEVELS = [(5, 5, 5), (8, 6, 5), (4, 3), (7,)]


@pytest.mark.parametrize("levels", LEVELS)
def test_latents_codes_and_gradients_are_those_of_vector_quantize_pytorch(levels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    ours, reference = FiniteScalarQuantizer(FsqSettings(levels=levels)), FSQ(list(levels))
    latents = (2 * torch.randn(500, len(levels))).requires_grad_()
    found = ours(latents)
    (gradient,) = torch.autograd.grad(found.latents.pow(2).sum(), latents)
    wanted, indices = reference(latents[:, None])
    (wanted_gradient,) = torch.autograd.grad(wanted.pow(2).sum(), latents)
    torch.testing.assert_close(found.latents, wanted[:, 0])
    torch.testing.assert_close(found.codes, indices.long())
    torch.testing.assert_close(gradient, wanted_gradient)
    assert found.commitment_loss == 0


@pytest.mark.parametrize("levels", [*LEVELS, (2, 2)])
def test_every_code_stands_for_one_latent_which_has_that_code(levels: tuple[int, ...]) -> None:
    settings = FsqSettings(levels=levels, tokens=2)
    quantizer = FiniteScalarQuantizer(settings)
    codes = torch.arange(settings.num_codes).repeat(2, 1).T.contiguous()
    latents = quantizer.decode(codes)
    assert latents.shape == (settings.num_codes, settings.latent_dim) and latents.abs().max() <= 1
    assert len(latents.unique(dim=0)) == settings.num_codes
    wide = quantizer(torch.linspace(-9, 9, 1001)[:, None].expand(-1, settings.latent_dim))
    torch.testing.assert_close(quantizer.decode(wide.codes), wide.latents)
    assert wide.codes.min() >= 0 and wide.codes.max() < settings.num_codes


def test_latents_of_several_tokens_are_those_of_each() -> None:
    torch.manual_seed(0)
    latents = torch.randn(40, 6)
    two = FiniteScalarQuantizer(FsqSettings(levels=(5, 4, 3), tokens=2))(latents)
    one = FiniteScalarQuantizer(FsqSettings(levels=(5, 4, 3)))
    parts = [one(latents[:, :3]), one(latents[:, 3:])]
    torch.testing.assert_close(two.latents, torch.cat([part.latents for part in parts], 1))
    torch.testing.assert_close(two.codes, torch.cat([part.codes for part in parts], 1))


def test_it_stays_in_float32_under_autocast_and_learns_nothing() -> None:
    quantizer = FiniteScalarQuantizer(FsqSettings(levels=(5, 5)))
    with torch.autocast("cpu", torch.bfloat16):
        assert quantizer(torch.randn(4, 2, dtype=torch.bfloat16)).latents.dtype == torch.float32
    assert not quantizer.state_dict() and not list(quantizer.parameters())


def test_latents_near_zero_have_one_code_until_they_are_normalised() -> None:
    """Why it is refused without: what a fresh IDM answers is one code, and the same after batch normalisation many."""
    torch.manual_seed(0)
    spec = preset("xland-doorkey-5x5-full")
    with pytest.raises(ValueError, match="set normalise: true"):
        OneStepSettings(quantizer=FsqSettings(levels=(5, 5)))
    model = OneStepLam(settings=OneStepSettings(quantizer=FsqSettings(levels=(5, 5)), normalise=True), spec=spec)
    frames = torch.randint(12, (64, 3, 5, 5, 2)).to(torch.uint8)
    raw = model.quantizer(0.1 * model.inverse_dynamics(frames)).codes
    assert len(raw.unique()) == 1
    assert len(model.quantizer(model.encode(Window.of_frames(frames))).codes.unique()) > 10


def test_a_configuration_chooses_it_by_its_kind_and_is_told_what_is_wrong() -> None:
    assert list(QUANTIZERS.choices()) == ["fsq", "none", "vq_ema"]
    lam = settings_from({"quantizer": {"kind": "fsq", "levels": [4, 3]}, "normalise": True}, OneStepSettings, "a.yaml")
    assert (lam.quantizer.num_codes, lam.quantizer.latent_dim) == (12, 2)
    for given, message in (
        ({"kind": "fsq", "levels": [4, 1]}, r"quantizer\.levels\[?\.?1\]?: Input should be greater than or equal to 2"),
        ({"kind": "fsq", "codes": 3}, "quantizer.codes: unknown key"),
        ({"kind": "fsk"}, "quantizer.kind: expected one of fsq, none, vq_ema"),
        ({"kind": "fsq", "levels": [300, 300]}, "levels: found 90000 codes"),
    ):
        with pytest.raises(ValueError, match=message):
            settings_from({"quantizer": given, "normalise": True}, OneStepSettings, "a.yaml")
