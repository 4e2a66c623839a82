"""Verdicts on models that were made to be good or bad and then measured, and the arithmetic behind the verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import Window
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam import probe
from lamflow.lam.learning import fit_latent_action_model
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.lam.validation import error_of_mean, held_out_metrics
from lamflow.lam.verdicts import Finding, interval_of_share, judge
from lamflow.quantizers.vq_ema import VectorQuantizerEma
from lamflow.training.metrics import MetricsLog

GRID, PIXELS = preset("xland-empty-random-8x8-full"), preset("procgen-bigfish")
CODES = {"codebooks": 1, "tokens": 1, "code_dim": 8, "codes": 16, "decay": 0.95, "revive_below": 0.3}
TOKENS = {"codebooks": 1, "tokens": 3, "code_dim": 4, "codes": 8}
CONTINUOUS = {"kind": "none", "codebooks": 1, "tokens": 1, "code_dim": 8}
GRID_NETWORKS = {
    "inverse_dynamics": {"width": 16, "layers": 2, "hidden_width": 32},
    "forward_dynamics": {"width": 16, "layers": 2},
    "symmetry": "rotation",
}
PIXEL_NETWORKS = {
    "inverse_dynamics": {"kind": "impala", "stem": "patch", "channels": [16, 16], "blocks": 1, "hidden_width": 32},
    "forward_dynamics": {"kind": "unet", "stem": "patch", "base_width": 16, "target": "change"},
}
Measure = Callable[..., dict[str, float]]


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 30}))


@pytest.fixture(scope="module")
def films(walks: EpisodeArrays, other_walks: EpisodeArrays, squares: Callable[..., EpisodeArrays]) -> dict[str, Any]:
    """Training and held-out episodes of both kinds of frames."""
    return {
        GRID.name: (EpisodeTensors(walks), EpisodeTensors(other_walks)),
        PIXELS.name: (EpisodeTensors(squares(40, seed=0)), EpisodeTensors(squares(15, seed=1))),
    }


@pytest.fixture(scope="module")
def measure(films: dict[str, Any]) -> Measure:
    """The held-out metrics of a model, on at most so many transitions of each split."""

    def metrics_of(model: OneStepLam, *, most: int = 4096) -> dict[str, float]:
        fit, test = films[model.spec.name]
        with torch.no_grad():
            fitted, tested = (data.part(model.window, data.sample(most)) for data in (fit, test))
            return held_out_metrics(model.eval(), fit=fitted, test=tested, judged=tested)

    return metrics_of


def make(spec: EnvironmentSpec, quantizer: dict[str, Any], kind: type[OneStepLam] = OneStepLam) -> Any:
    networks = GRID_NETWORKS if spec is GRID else PIXEL_NETWORKS
    return kind(settings=OneStepSettings.model_validate(networks | {"quantizer": quantizer}), spec=spec)


def trained(films: dict[str, Any], spec: EnvironmentSpec, quantizer: dict[str, Any], steps: int) -> OneStepLam:
    training = {"steps": steps, "batch_size": 32, "learning_rate": 4e-3, "precision": "float32"}
    networks = GRID_NETWORKS if spec is GRID else PIXEL_NETWORKS
    settings = OneStepSettings.model_validate(networks | {"quantizer": quantizer, "training": training})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 3}))
        return fit_latent_action_model(
            spec=spec,
            settings=settings,
            data=films[spec.name][0],
            held_out=films[spec.name][1],
            seed=0,
            metrics=MetricsLog(),
            state_dir=None,
            identity="",
        )


@pytest.fixture(scope="module")
def grid_model(films: dict[str, Any]) -> OneStepLam:
    return trained(films, GRID, CODES, steps=500)


@pytest.fixture(scope="module")
def pixel_model(films: dict[str, Any]) -> OneStepLam:
    return trained(films, PIXELS, CONTINUOUS, steps=200)


class Deaf(OneStepLam):
    """Its forward model hears no latent."""

    def prediction_loss(self, window: Window, latents_BD: Tensor) -> Tensor:
        return super().prediction_loss(window, torch.zeros_like(latents_BD))

    def predict(self, window: Window, latents_BD: Tensor) -> Tensor:
        return super().predict(window, torch.zeros_like(latents_BD))


def deafened(model: OneStepLam) -> Deaf:
    """The same weights, with a forward model that hears no latent."""
    deaf = Deaf(settings=model.settings, spec=model.spec)
    deaf.load_state_dict(model.state_dict())
    return deaf


@pytest.mark.slow
def test_a_model_that_learnt_a_small_world_is_healthy(grid_model: OneStepLam, measure: Measure) -> None:
    verdict = judge(measure(grid_model))
    assert verdict.finding is Finding.HEALTHY
    assert "Try" not in verdict.reason


@pytest.mark.slow
def test_a_model_of_pixels_without_a_quantiser_can_be_healthy(pixel_model: OneStepLam, measure: Measure) -> None:
    metrics = measure(pixel_model)
    assert "codebook/joint_perplexity" not in metrics
    assert judge(metrics).finding is Finding.HEALTHY
    assert "code" not in judge(metrics).reason


def test_a_codebook_of_which_one_code_is_used_has_collapsed(grid_model: OneStepLam, measure: Measure) -> None:
    """All other codes are far from every latent, where the official code's first moving average throws them."""
    model = make(GRID, CODES)
    model.load_state_dict(grid_model.state_dict())
    assert isinstance(model.quantizer, VectorQuantizerEma)
    model.quantizer.codebook[:, 1:] += 1e4
    metrics = measure(model)
    assert metrics["codebook/joint_perplexity"] == pytest.approx(1)
    verdict = judge(metrics)
    assert verdict.finding is Finding.COLLAPSED
    assert "effective number of codes 1.00" in verdict.reason and "`quantizer.revive_below: 0.3`" in verdict.reason


@pytest.mark.slow
@pytest.mark.parametrize("spec", [GRID, PIXELS], ids=["grids", "pixels"])
def test_one_code_per_token_has_collapsed_although_the_pooled_tokens_look_varied(
    spec: EnvironmentSpec, measure: Measure
) -> None:
    model = make(spec, TOKENS)
    silence_the_encoder(model, output=torch.linspace(-5, 5, 12))
    metrics = measure(model)
    assert metrics["codebook/perplexity"] > 1.5
    assert judge(metrics).finding is Finding.COLLAPSED


@pytest.mark.slow
@pytest.mark.parametrize("spec", [GRID, PIXELS], ids=["grids", "pixels"])
def test_continuous_latents_that_are_all_alike_have_collapsed(spec: EnvironmentSpec, measure: Measure) -> None:
    model = make(spec, CONTINUOUS)
    silence_the_encoder(model, output=torch.linspace(-5, 5, 8))
    verdict = judge(measure(model))
    assert verdict.finding is Finding.COLLAPSED
    assert "the same but for 0.00% of their size" in verdict.reason


def silence_the_encoder(model: OneStepLam, *, output: Tensor) -> None:
    """Its last layer answers ``output`` whatever it sees."""
    last = [module for module in model.inverse_dynamics.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(output)


def test_a_grid_model_whose_prediction_hears_no_latent_ignores_it(grid_model: OneStepLam, measure: Measure) -> None:
    metrics = measure(deafened(grid_model))
    assert metrics["fdm/loss_shuffled_latent"] == pytest.approx(metrics["fdm/loss"])
    verdict = judge(metrics)
    assert verdict.finding is Finding.IGNORED
    assert f"{metrics['fdm/loss']:.4g}" in verdict.reason


@pytest.mark.slow
def test_a_pixel_model_whose_prediction_hears_no_latent_ignores_it(pixel_model: OneStepLam, measure: Measure) -> None:
    assert judge(measure(deafened(pixel_model))).finding is Finding.IGNORED


@pytest.mark.slow
def test_an_untrained_model_ignores_its_latent_within_the_error_of_the_difference(measure: Measure) -> None:
    assert judge(measure(make(GRID, CONTINUOUS))).finding is Finding.IGNORED
    assert judge(measure(make(PIXELS, CONTINUOUS))).finding is Finding.IGNORED


@pytest.mark.slow
def test_a_prediction_that_hardly_leaves_the_present_frame_is_no_better_than_copying(
    pixel_model: OneStepLam, measure: Measure
) -> None:
    """A tenth of the predicted change: the latent counts, and the loss is a little below that of copying."""
    model = make(PIXELS, CONTINUOUS)
    model.load_state_dict(pixel_model.state_dict())
    head = model.forward_dynamics.last[-1]
    with torch.no_grad():
        head.weight *= 0.1
        head.bias *= 0.1
    metrics = measure(model)
    assert metrics["fdm/loss"] < metrics["fdm/loss_copy_last_frame"]
    assert metrics["fdm/nearer_next_frame"] < 0.1
    assert judge(metrics).finding is Finding.COPIES


def test_a_grid_model_that_is_surer_of_copying_than_frames_allow_is_no_better_than_copying(
    grid_model: OneStepLam, measure: Measure
) -> None:
    model = make(GRID, CODES)
    model.load_state_dict(grid_model.state_dict())
    with torch.no_grad():
        model.forward_dynamics.copy_scale += 24
    metrics = measure(model)
    assert metrics["fdm/loss"] > metrics["fdm/loss_copy_last_frame"]
    assert metrics["fdm/nearer_next_frame"] < 0.1
    assert judge(metrics).finding is Finding.COPIES


def test_probes_without_transitions_are_too_few_labels() -> None:
    losses = {"fdm/loss": 1.0, "fdm/loss_shuffled_latent": 3.0, "fdm/loss_copy_last_frame": 4.0}
    for counts in ((0.0, 0.0), (500.0, 0.0), (0.0, 500.0)):
        counted = dict(zip(("probe/fitted_transitions", "probe/judged_transitions"), counts, strict=True))
        for accuracy in (float("nan"), 0.5):
            assert judge({**losses, **counted, "probe/mlp_accuracy": accuracy}).finding == Finding.FEW_LABELS


def test_with_24_labelled_transitions_the_probe_says_nothing(grid_model: OneStepLam, measure: Measure) -> None:
    metrics = measure(grid_model, most=24)
    assert metrics["probe/fitted_transitions"] == metrics["probe/judged_transitions"] == 24
    verdict = judge(metrics)
    assert verdict.finding is Finding.FEW_LABELS
    low, high = interval_of_share(metrics["probe/mlp_accuracy"], 24)
    assert f"judged on 24 (95% interval {low:.2f} to {high:.2f})" in verdict.reason


def losses(**changes: float) -> dict[str, float]:
    named = {"fdm/loss": 1.0, "fdm/loss_shuffled_latent": 3.0, "fdm/loss_copy_last_frame": 2.0}
    return named | {name.replace("__", "/"): value for name, value in changes.items()}


def test_a_difference_within_its_own_error_is_no_difference() -> None:
    assert judge(losses(fdm__loss_difference_error=1.5)).finding is Finding.IGNORED
    assert judge(losses(fdm__loss_difference_error=0.5)).finding is Finding.HEALTHY


def test_metrics_of_older_versions_are_judged_by_what_they_have() -> None:
    assert judge(losses()).finding is Finding.HEALTHY
    assert judge(losses(codebook__perplexity=1.0)).finding is Finding.COLLAPSED
    assert judge(losses(latent__deviation=math.nan)).finding is Finding.HEALTHY


def test_copying_is_judged_by_most_frames_and_the_mean_together() -> None:
    """A model of coinrun after 300 steps explained 59% of the change, and was nearer to the next frame in 49% of the frames."""
    assert judge(losses(fdm__loss=0.82, fdm__nearer_next_frame=0.49)).finding is Finding.HEALTHY
    assert judge(losses(fdm__loss=1.2, fdm__nearer_next_frame=0.49)).finding is Finding.COPIES
    assert judge(losses(fdm__loss=2.0, fdm__nearer_next_frame=0.9)).finding is Finding.COPIES


def test_codes_that_are_few_but_carry_the_actions_are_healthy() -> None:
    """LAPO's codebooks of 64 codes do well with a quarter of them."""
    found = judge(losses(codebook__joint_perplexity=5.0, codebook__perplexity=3.0, codebook__used_fraction=0.12))
    assert found.finding is Finding.HEALTHY


def test_without_losses_there_is_no_verdict() -> None:
    with pytest.raises(
        ValueError, match="no verdict without fdm/loss, fdm/loss_copy_last_frame: train the model again"
    ):
        judge({"fdm/loss_shuffled_latent": 1.0, "fdm/loss": math.nan})


def test_intervals_of_shares_are_wilsons() -> None:
    """Newcombe 1998, table I."""
    assert interval_of_share(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert interval_of_share(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)


def test_the_error_of_a_mean_counts_what_is_alike_in_an_episode_once() -> None:
    torch.manual_seed(1)
    values = torch.randn(40, dtype=torch.float64)
    apart = error_of_mean(values, torch.arange(40))
    assert apart == pytest.approx(values.std().item() / math.sqrt(40))
    repeated = error_of_mean(values.repeat_interleave(25), torch.arange(40).repeat_interleave(25))
    assert repeated == pytest.approx(apart)
    assert math.isnan(error_of_mean(values, torch.zeros(40, dtype=torch.long)))
