"""Latent action models over pixels: a moving square, repeatability, resuming, and files of other networks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from fitting import fitted

from lamflow.data.store import EpisodeArrays
from lamflow.data.windows import Window
from lamflow.envs.presets import preset
from lamflow.lam import learning, probe
from lamflow.lam.learning import load_latent_action_model
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.training.checkpoint import save_model
from lamflow.training.metrics import MetricsLog

SPEC = preset("procgen-bigfish")
SETTINGS: dict[str, Any] = {
    "inverse_dynamics": {"kind": "impala", "stem": "patch", "channels": [16, 16], "blocks": 1, "hidden_width": 32},
    "forward_dynamics": {"kind": "unet", "stem": "patch", "base_width": 16, "target": "change"},
    "quantizer": {"codebooks": 1, "tokens": 2, "code_dim": 8, "codes": 16, "decay": 0.95, "revive_below": 0.3},
    "training": {"steps": 100, "batch_size": 32, "learning_rate": 4e-3, "validate_every": 100},
}


@pytest.fixture(scope="module")
def episodes(squares: Callable[..., EpisodeArrays]) -> EpisodeArrays:
    return squares(40, seed=0)


@pytest.fixture(scope="module")
def other_episodes(squares: Callable[..., EpisodeArrays]) -> EpisodeArrays:
    return squares(15, seed=1)


def fit(
    train: EpisodeArrays,
    validation: EpisodeArrays,
    state_dir: Path | None = None,
    quantizer: dict[str, Any] = SETTINGS["quantizer"],
    **training: Any,
) -> tuple[OneStepLam, MetricsLog]:
    settings = OneStepSettings.model_validate(
        SETTINGS | {"quantizer": quantizer, "training": SETTINGS["training"] | training}
    )
    return fitted(SPEC, settings, train, validation, state_dir)


@pytest.mark.slow
def test_the_latent_tells_where_the_square_goes(episodes: EpisodeArrays, other_episodes: EpisodeArrays) -> None:
    """No action was ever shown; judged on held-out episodes, beside copying the frame and another transition's latent."""
    continuous = {"kind": "none", "codebooks": 1, "tokens": 1, "code_dim": 8}
    _, metrics = fit(episodes, other_episodes, quantizer=continuous, steps=200, validate_every=200)
    found = metrics.latest("validation")
    assert found["fdm/loss"] < 0.5 * min(found["fdm/loss_shuffled_latent"], found["fdm/loss_copy_last_frame"])
    assert found["fdm/change_explained"] > 0.6
    assert found["probe/mlp_accuracy_effectful"] > 0.75
    assert found["probe/mlp_accuracy_classes"] > 0.65, "moves against a wall look like none"
    assert found["probe/mlp_accuracy"] < found["probe/mlp_accuracy_classes"], "4 and 9 do the same"
    assert not {"fdm/frame_accuracy", "fdm/changed_cell_accuracy"} & set(found)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does not matter what is found."""
    monkeypatch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 2}))
    monkeypatch.setattr(learning, "PROBE_TRANSITIONS", 64)
    monkeypatch.setattr(learning, "VALIDATION_TRANSITIONS", 64)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_an_interrupted_and_resumed_training_equals_a_straight_one(
    precision: str,
    episodes: EpisodeArrays,
    other_episodes: EpisodeArrays,
    quick: None,
    tmp_path: Path,
    killed_at_loss: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Bit by bit, with the running statistics of the batch norms."""
    changes: dict[str, Any] = {"steps": 9, "validate_every": 3, "checkpoint_every": 4, "precision": precision}
    straight, straight_metrics = fit(episodes, other_episodes, **changes)
    with killed_at_loss(7):
        fit(episodes, other_episodes, tmp_path, **changes)
    resumed, metrics = fit(episodes, other_episodes, tmp_path, **changes)
    states = straight.state_dict()
    assert states["forward_dynamics.first.norm.running_mean"].abs().sum() > 0
    assert states["forward_dynamics.first.norm.num_batches_tracked"] == 9
    for name, tensor in states.items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    assert metrics.rows == straight_metrics.rows


@pytest.mark.slow
def test_training_twice_gives_equal_weights(
    episodes: EpisodeArrays, other_episodes: EpisodeArrays, quick: None
) -> None:
    first, second = (fit(episodes, other_episodes, steps=4)[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_labels_and_predictions_have_the_shapes_of_windows(episodes: EpisodeArrays) -> None:
    model = OneStepLam(settings=OneStepSettings.model_validate(SETTINGS), spec=SPEC).eval()
    windows = Window.of_frames(torch.from_numpy(episodes.frames[:6].reshape(2, 3, 64, 64, 3)))
    labels = model.label(windows)
    assert labels.continuous.shape == (2, 16) and labels.codes.shape == (2, 2)
    assert labels.continuous.dtype == torch.float32
    assert model.prediction_loss(windows, labels.quantized).shape == (2,)
    predicted = model.predict(windows, labels.quantized)
    assert predicted.shape == (2, 64, 64, 3) and predicted.dtype == torch.uint8


def test_bfloat16_has_the_loss_and_the_gradient_of_float32_within_a_hundredth(episodes: EpisodeArrays) -> None:
    """The gradient of the forward dynamics model, in direction and length: that of the encoder hangs on which codes are near."""
    torch.manual_seed(0)
    model = OneStepLam(settings=OneStepSettings.model_validate(SETTINGS), spec=SPEC).eval()
    windows = Window.of_frames(torch.from_numpy(episodes.frames[:96].reshape(32, 3, 64, 64, 3)))
    torch.nn.init.normal_(model.forward_dynamics.last[-1].weight, std=0.1)
    losses, gradients = [], []
    for lower in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=lower):
            loss = model.loss(windows).total
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.forward_dynamics.parameters()]))
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99
    assert gradients[1].norm().item() == pytest.approx(gradients[0].norm().item(), rel=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forward_dynamics": {"kind": "unet", "base_width": 16}}, "forward_dynamics.*"),
        ({"inverse_dynamics": {"kind": "impala", "channels": [16, 16], "hidden_width": 32}}, "inverse_dynamics.*"),
    ],
)
def test_a_file_of_other_networks_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    model = OneStepLam(settings=OneStepSettings.model_validate(SETTINGS), spec=SPEC)
    other = OneStepSettings.model_validate(SETTINGS | changes)
    metadata = {"kind": "lam", "env": SPEC.name, "settings": other.model_dump(mode="json")}
    save_model(tmp_path / "model.safetensors", model.state_dict(), metadata)
    with pytest.raises(ValueError, match=rf"model\.safetensors: checkpoint of another architecture .*{message}"):
        load_latent_action_model(tmp_path / "model.safetensors", spec=SPEC)


def test_a_file_is_read_back_with_its_weights_and_statistics(
    episodes: EpisodeArrays, other_episodes: EpisodeArrays, quick: None, tmp_path: Path
) -> None:
    model, _ = fit(episodes, other_episodes, steps=3)
    metadata = {"kind": "lam", "env": SPEC.name, "settings": model.settings.model_dump(mode="json")}
    save_model(tmp_path / "model.safetensors", model.state_dict(), metadata)
    loaded = load_latent_action_model(tmp_path / "model.safetensors", spec=SPEC)
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert not loaded.training


def test_a_symmetry_of_grids_is_refused() -> None:
    with pytest.raises(ValueError, match="found symmetry 'rotation', expected 'none' as its view is 'pixels'"):
        OneStepLam(settings=OneStepSettings.model_validate(SETTINGS | {"symmetry": "rotation"}), spec=SPEC)
