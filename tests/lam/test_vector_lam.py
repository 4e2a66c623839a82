"""Latent action models over vectors: a linear world, whose noise nobody can predict; resuming, repeating, and what travels in the file."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fitting import fitted
from linear_world import ACTIONS, ENTRIES, NOISE, SETTINGS, SPEC, UNITS, linear_episodes, random_frames

from lamflow.data.store import EpisodeArrays
from lamflow.data.windows import Window
from lamflow.lam import learning, probe
from lamflow.lam.learning import load_latent_action_model
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.lam.verdicts import Finding, judge
from lamflow.networks.vectors import StandardisedChange
from lamflow.training.checkpoint import save_model
from lamflow.training.metrics import MetricsLog


@pytest.fixture(scope="module")
def episodes() -> EpisodeArrays:
    return linear_episodes(100, seed=0)


@pytest.fixture(scope="module")
def other_episodes() -> EpisodeArrays:
    return linear_episodes(40, seed=1)


def fit(
    train: EpisodeArrays,
    validation: EpisodeArrays,
    state_dir: Path | None = None,
    changes: dict[str, Any] | None = None,
    **training: Any,
) -> tuple[OneStepLam, MetricsLog]:
    settings = OneStepSettings.model_validate(
        SETTINGS | (changes or {}) | {"training": SETTINGS["training"] | training}
    )
    return fitted(SPEC, settings, train, validation, state_dir)


@pytest.mark.slow
def test_the_error_goes_down_to_the_noise_and_the_latent_is_the_action(
    episodes: EpisodeArrays, other_episodes: EpisodeArrays
) -> None:
    """The latent has as many dimensions as the action: it can tell the action, or the part of the noise that looks like one."""
    _, metrics = fit(episodes, other_episodes)
    found = metrics.latest("validation")
    variances = (
        np.diff(other_episodes.frames.astype(float).reshape(40, -1, ENTRIES), axis=1).reshape(-1, ENTRIES).var(0)
    )
    unpredictable = ((NOISE * UNITS) ** 2 / variances).mean()
    assert 0.4 * unpredictable < found["fdm/unexplained_variance"] < 1.5 * unpredictable
    assert 0.4 < found["fdm/loss"] / ((NOISE * UNITS) ** 2).mean() < 1.5
    assert found["fdm/loss"] < 0.3 * min(found["fdm/loss_shuffled_latent"], found["fdm/loss_copy_last_frame"])
    assert found["fdm/change_explained"] == pytest.approx(1 - found["fdm/loss"] / found["fdm/loss_copy_last_frame"])
    for kind in ("linear", "mlp"):
        each = [found[f"probe/{kind}_r2_entry{index}"] for index in range(ACTIONS)]
        assert min(each) > 0.9
        assert found[f"probe/{kind}_r2"] == pytest.approx(np.mean(each))
    assert judge(found).finding == Finding.HEALTHY
    assert "with an R² of" in judge(found).reason


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does not matter what is found."""
    monkeypatch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 2}))
    monkeypatch.setattr(learning, "PROBE_TRANSITIONS", 200)
    monkeypatch.setattr(learning, "VALIDATION_TRANSITIONS", 200)


def test_moments_are_those_of_the_train_split_and_stand_in_the_file(
    episodes: EpisodeArrays, other_episodes: EpisodeArrays, quick: None, tmp_path: Path
) -> None:
    model, _ = fit(episodes, other_episodes, steps=3)
    states = episodes.frames.astype(float)
    changes = np.diff(states.reshape(100, -1, ENTRIES), axis=1).reshape(-1, ENTRIES)
    for network in (model.inverse_dynamics, model.forward_dynamics):
        first, change = network.input.first, network.input.change
        np.testing.assert_allclose(first.mean, states.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(first.deviation, states.std(0), rtol=1e-5)
        np.testing.assert_allclose(change.mean, changes.mean(0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(change.deviation, changes.std(0), rtol=1e-5)
    metadata = {"kind": "lam", "env": SPEC.name, "settings": model.settings.model_dump(mode="json")}
    save_model(tmp_path / "model.safetensors", model.state_dict(), metadata)
    loaded = load_latent_action_model(tmp_path / "model.safetensors", spec=SPEC)
    window = Window.of_frames(random_frames(5, 3))
    for one, other in zip(model.eval().label(window), loaded.label(window), strict=True):
        assert torch.equal(one, other)


def test_training_twice_gives_equal_weights(
    episodes: EpisodeArrays, other_episodes: EpisodeArrays, quick: None
) -> None:
    first, second = (fit(episodes, other_episodes, steps=4)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_an_interrupted_and_resumed_training_equals_a_straight_one(
    precision: str,
    episodes: EpisodeArrays,
    other_episodes: EpisodeArrays,
    quick: None,
    tmp_path: Path,
    killed_at_loss: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Bit by bit, with the moments, which are measured again."""
    changes: dict[str, Any] = {"steps": 9, "validate_every": 3, "checkpoint_every": 4, "precision": precision}
    straight, straight_metrics = fit(episodes, other_episodes, **changes)
    with killed_at_loss(7):
        fit(episodes, other_episodes, tmp_path, **changes)
    resumed, metrics = fit(episodes, other_episodes, tmp_path, **changes)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    assert metrics.rows == straight_metrics.rows


def test_the_true_actions_do_not_reach_the_model(
    episodes: EpisodeArrays, other_episodes: EpisodeArrays, quick: None
) -> None:
    without = EpisodeArrays(**(vars(episodes) | {"actions": episodes.actions * 0}))
    models = [fit(arrays, other_episodes, steps=5)[0] for arrays in (episodes, without)]
    for one, other in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(one, other)


def test_the_log_has_the_reconstruction_in_the_frames_own_units(
    episodes: EpisodeArrays, other_episodes: EpisodeArrays, quick: None
) -> None:
    model = fit(episodes, other_episodes, steps=2)[0]
    window = Window.of_frames(random_frames(7, 3))
    loss = model.loss(window)
    own_units = model.prediction_loss(window, model.label(window).quantized).mean()
    torch.testing.assert_close(loss.terms["loss/reconstruction"], own_units)
    torch.testing.assert_close(loss.total.detach(), loss.terms["loss/standardised"])
    assert loss.terms["loss/standardised"] < 0.1 * own_units, "an entry is measured in hundreds"
    plain = OneStepSettings.model_validate(SETTINGS | {"forward_dynamics": {"kind": "mlp", "target": "change"}})
    assert "loss/standardised" not in OneStepLam(settings=plain, spec=SPEC).loss(window).terms


@pytest.mark.parametrize("target", ["frame", "change", "standardised"])
def test_predictions_of_all_targets_are_measured_alike(target: str) -> None:
    """The loss is the squared distance of the prediction, in the entries' own units; only what is minimised differs."""
    torch.manual_seed(0)
    settings = OneStepSettings.model_validate(SETTINGS | {"forward_dynamics": {"kind": "mlp", "target": target}})
    model = OneStepLam(settings=settings, spec=SPEC).eval()
    for module in model.modules():
        if isinstance(module, StandardisedChange):
            module.mean.copy_(torch.randn(ENTRIES))
            module.deviation.copy_(torch.rand(ENTRIES) + 0.1)
    window, latents = Window.of_frames(random_frames(9, 3)), torch.randn(9, ACTIONS)
    predicted = model.predict(window, latents)
    assert predicted.dtype == torch.float32 and predicted.shape == (9, ENTRIES)
    expected = (predicted - window.frames[:, 2]).square().mean(1)
    torch.testing.assert_close(model.prediction_loss(window, latents), expected, rtol=1e-4, atol=1e-3)
    if target == "standardised":
        change, output = model.forward_dynamics.units, model.forward_dynamics(window.frames[:, :2], latents)
        wanted = (window.frames[:, 2] - window.frames[:, 1] - change.mean) / change.deviation
        minimised, _ = model.forward_dynamics.training_losses(window.frames[:, :2], latents, window.frames[:, 2])
        torch.testing.assert_close(minimised, (output - wanted).square().mean(1))
