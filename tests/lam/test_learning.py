"""Training a latent action model: it finds the actions of a small world, repeats itself, resumes, and is read back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from fitting import fitted

from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.presets import preset
from lamflow.lam import probe
from lamflow.lam.learning import fit_latent_action_model, load_latent_action_model
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.lam.validation import effectful_rows, label_rows
from lamflow.training.checkpoint import save_model
from lamflow.training.metrics import MetricsLog

SPEC = preset("xland-empty-random-8x8-full")
SETTINGS: dict[str, Any] = {
    "inverse_dynamics": {"width": 16, "layers": 2, "hidden_width": 32},
    "forward_dynamics": {"width": 16, "layers": 2},
    "quantizer": {"codebooks": 1, "tokens": 1, "code_dim": 8, "codes": 16, "decay": 0.95, "revive_below": 0.3},
    "symmetry": "rotation",
    "training": {"steps": 600, "batch_size": 64, "learning_rate": 3e-3, "validate_every": 600, "precision": "float32"},
}


def fit(
    train: EpisodeArrays, validation: EpisodeArrays, state_dir: Path | None = None, **training: Any
) -> tuple[OneStepLam, MetricsLog]:
    settings = OneStepSettings.model_validate(SETTINGS | {"training": SETTINGS["training"] | training})
    return fitted(SPEC, settings, train, validation, state_dir)


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it does not matter what probes find."""
    monkeypatch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 3}))


@pytest.fixture(scope="module")
def trained(walks: EpisodeArrays, other_walks: EpisodeArrays) -> tuple[OneStepLam, MetricsLog]:
    return fit(walks, other_walks)


@pytest.mark.slow
def test_codes_become_the_actions_of_a_small_world(
    trained: tuple[OneStepLam, MetricsLog], other_walks: EpisodeArrays
) -> None:
    """No action was ever shown; on held-out episodes each code stands for one action, wherever the agent is and looks."""
    model, _ = trained
    batches = EpisodeTensors(other_walks)
    held = batches.part(model.window, batches.rows)
    actions, effectful = held.at("actions"), effectful_rows(held)
    codes = label_rows(model, held).codes[:, 0]
    counts = torch.zeros(16, 6)
    counts.index_put_((codes[effectful], actions[effectful]), torch.ones(int(effectful.sum())), accumulate=True)
    assert counts.amax(1).sum() / counts.sum() > 0.95, counts
    assert set(counts.argmax(1)[counts.sum(1) > 0].tolist()) == {0, 1, 2}, "forward, right and left"


def test_held_out_metrics_show_what_was_learnt(trained: tuple[OneStepLam, MetricsLog]) -> None:
    found = trained[1].latest("validation")
    assert found["probe/mlp_accuracy_effectful"] > 0.95
    assert found["probe/linear_accuracy_effectful"] > 0.8
    assert found["fdm/changed_cell_accuracy"] > 0.9
    assert found["fdm/loss"] < 0.5 * min(found["fdm/loss_shuffled_latent"], found["fdm/loss_copy_last_frame"])
    assert found["fdm/frame_accuracy"] > 0.8
    assert 2 < found["codebook/perplexity"] <= 16
    assert 0.25 < found["codebook/used_fraction"] <= 1


@pytest.mark.slow
def test_the_true_actions_do_not_reach_the_model(
    walks: EpisodeArrays, other_walks: EpisodeArrays, quick_probes: None
) -> None:
    without = EpisodeArrays(**(vars(walks) | {"actions": walks.actions * 0}))
    models = [fit(arrays, other_walks, steps=20, validate_every=10)[0] for arrays in (walks, without)]
    for one, other in zip(*(model.state_dict().values() for model in models), strict=True):
        assert torch.equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_an_interrupted_and_resumed_lam_equals_a_straight_one(
    precision: str,
    walks: EpisodeArrays,
    other_walks: EpisodeArrays,
    quick_probes: None,
    tmp_path: Path,
    killed_at_loss: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Bit by bit, with the quantiser's moving averages and its random revivals, and with probes in between."""
    changes: dict[str, Any] = {
        "steps": 30,
        "validate_every": 7,
        "checkpoint_every": 10,
        "log_every": 4,
        "precision": precision,
    }
    straight, straight_metrics = fit(walks, other_walks, **changes)
    assert (straight.state_dict()["quantizer.cluster_size"] < 0.31).any(), "some codes were revived"
    with killed_at_loss(26):
        fit(walks, other_walks, tmp_path, **changes)
    resumed, metrics = fit(walks, other_walks, tmp_path, **changes)
    for name, tensor in straight.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    assert metrics.rows == straight_metrics.rows


def test_another_seed_gives_another_model(walks: EpisodeArrays, other_walks: EpisodeArrays, quick_probes: None) -> None:
    settings = OneStepSettings.model_validate(SETTINGS | {"training": SETTINGS["training"] | {"steps": 2}})
    weights = []
    for seed in (0, 1):
        model = fit_latent_action_model(
            spec=SPEC,
            settings=settings,
            data=EpisodeTensors(walks),
            held_out=EpisodeTensors(other_walks),
            seed=seed,
            metrics=MetricsLog(),
            state_dir=None,
            identity="",
        )
        weights.append(model.forward_dynamics.head.weight)
    assert not torch.equal(*weights)


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path, settings = tmp_path / "model.safetensors", OneStepSettings()
    model = OneStepLam(settings=settings, spec=SPEC)
    metadata = {"kind": "lam", "env": SPEC.name, "lam": "lapo", "seed": 1, "settings": settings.model_dump(mode="json")}
    save_model(path, model.state_dict(), metadata)
    return path


def test_a_model_is_read_back_with_its_settings(walks: EpisodeArrays, model_path: Path) -> None:
    model = load_latent_action_model(model_path, spec=SPEC, lam="lapo", seed=1)
    assert not model.training
    data = EpisodeTensors(walks)
    assert label_rows(model, data.part(model.window, data.rows[:4])).codes.shape == (4, 8)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"spec": preset("xland-doorkey-5x5")},
            "env 'xland-empty-random-8x8-full', expected 'xland-doorkey-5x5'",
        ),
        ({"lam": "other"}, "lam 'lapo', expected 'other'"),
        ({"seed": 2}, "seed 1, expected 2"),
    ],
)
def test_a_model_of_something_else_is_refused(asked: dict[str, Any], message: str, model_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"model\.safetensors: found a model of {message}: give the file of that"):
        load_latent_action_model(model_path, **({"spec": SPEC} | asked))


def test_a_file_that_holds_no_lam_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path / "policy.safetensors", {}, {"kind": "policy", "env": SPEC.name})
    with pytest.raises(ValueError, match=r"policy\.safetensors: found a model of kind 'policy', expected 'lam'"):
        load_latent_action_model(tmp_path / "policy.safetensors", spec=SPEC)


def test_a_model_of_another_architecture_is_refused(tmp_path: Path) -> None:
    model = OneStepLam(settings=OneStepSettings(), spec=SPEC)
    other = OneStepSettings.model_validate({"quantizer": {"codes": 32}})
    metadata = {"kind": "lam", "env": SPEC.name, "settings": other.model_dump(mode="json")}
    save_model(tmp_path / "model.safetensors", model.state_dict(), metadata)
    with pytest.raises(
        ValueError, match=r"another architecture .*codebook has shape \(2, 64, 16\), expected \(2, 32, 16\)"
    ):
        load_latent_action_model(tmp_path / "model.safetensors", spec=SPEC)


def test_samples_are_the_same_ones_every_time(walks: EpisodeArrays) -> None:
    batches = EpisodeTensors(walks)
    first = batches.sample(50)
    assert torch.equal(batches.sample(50), first) and len(first.unique()) == 50
    assert set(first.tolist()) <= set(batches.rows.tolist())
    assert len(batches.sample(10**6)) == len(batches.rows)
