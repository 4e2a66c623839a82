"""A supervised multi-step training that two processes share, against the same training of one."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.envs.presets import preset
from lamflow.lam import learning
from lamflow.lam.learning import fit_latent_action_model
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.training.metrics import MetricsLog
from lamflow.training.processes import is_main, launch

SPEC = preset("xland-doorkey-5x5")
NETWORK = {"width": 8, "layers": 2, "embedding_dim": 4, "hidden_width": 16}
SETTINGS = OneStepSettings.model_validate(
    {
        "inverse_dynamics": NETWORK,
        "forward_dynamics": NETWORK,
        "quantizer": {"codebooks": 1, "tokens": 2, "code_dim": 4, "codes": 6, "decay": 0.5},
        "idm_horizon": 3,
        "supervision": {"labels": 10, "batch_size": 6, "weight": 3.0, "every": 2},
        # With a large epsilon Adam's steps are proportional to gradients, so that rounding stays rounding.
        "training": {"steps": 6, "batch_size": 12, "precision": "float32", "log_every": 2, "warmup_steps": 0}
        | {"adam_epsilon": 1.0, "clip_norm": 1e6},
    }
)


def made_up_episodes() -> EpisodeTensors:
    """Five episodes of nine random frames."""
    generator, acted = np.random.default_rng(0), np.arange(45) % 9 != 8
    actions = np.where(acted, generator.integers(0, SPEC.num_actions, 45), -1)
    frames, zeros = generator.integers(0, min(SPEC.category_sizes), (45, *SPEC.frame_shape)), np.zeros(45, bool)
    return EpisodeTensors(
        EpisodeArrays(
            observations={"frames": frames.astype(np.uint8)},
            actions=actions,
            acted=acted,
            rewards=zeros.astype(np.float32),
            terminated=zeros,
            truncated=zeros,
            episode_starts=np.arange(5) * 9,
            level_seeds=np.arange(5),
        )
    )


def train_lam(*, output: str) -> None:
    """What each process does; the main one saves."""
    torch.set_num_threads(1)
    data, metrics = made_up_episodes(), MetricsLog()
    with mock.patch.object(learning, "held_out_metrics", lambda *given, **named: {"fdm/loss": 0.0}):
        model = fit_latent_action_model(
            spec=SPEC,
            settings=SETTINGS,
            data=data,
            held_out=data,
            seed=0,
            metrics=metrics,
            state_dir=None,
            identity="",
            labelled_rows=data.rows[:10],
        )
    if is_main():
        torch.save({"weights": model.state_dict(), "metrics": metrics.rows}, output)


@pytest.mark.slow
def test_two_processes_share_windows_and_labels(tmp_path: Path) -> None:
    train_lam(output=str(tmp_path / "one.pt"))
    launch(train_lam, {"output": str(tmp_path / "two.pt")}, processes=2)
    one, two = (torch.load(tmp_path / f"{name}.pt") for name in ("one", "two"))
    for name, tensor in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], tensor, atol=1e-6, rtol=1e-5)
    rows = [run["metrics"] for run in (one, two)]
    assert [row[:3] for row in rows[0]] == [row[:3] for row in rows[1]]
    assert [row[3] for row in rows[0]] == pytest.approx([row[3] for row in rows[1]], rel=1e-4)
    assert any(row[2] == "loss/supervision" for row in rows[0])
