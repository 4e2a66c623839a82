"""Compiled trainings: when, and that they are the plain ones. (Dynamo traces here; kernels and CUDA graphs need a GPU.)"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamflow.data.windows import Window
from lamflow.envs.presets import preset
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.rl.actor_critic import GridActorCritic
from lamflow.rl.demonstrator_settings import ExpertSettings
from lamflow.rl.ppo import PpoLearner
from lamflow.training import loop
from lamflow.training.checkpoint import seed_everything
from lamflow.training.compilation import COMPILED_STEPS, compiles
from lamflow.training.loop import train
from lamflow.training.metrics import MetricsLog

IMPALA = {"kind": "impala", "channels": (4, 4), "hidden_width": 16}
GRID = {"kind": "grid", "width": 8, "layers": 2, "hidden_width": 16}
QUANTIZER = {"codebooks": 2, "tokens": 2, "code_dim": 4, "codes": 8, "revive_below": 0.5}
TRAINING = {"steps": 4, "batch_size": 6, "warmup_steps": 0, "log_every": 1}
LAMS = {
    "procgen-coinrun": {"inverse_dynamics": IMPALA, "forward_dynamics": {"kind": "unet", "base_width": 4}},
    "xland-doorkey-5x5": {"inverse_dynamics": GRID, "forward_dynamics": GRID},
}


def test_long_trainings_on_a_gpu_are_compiled_and_no_others() -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert compiles("auto", gpu, COMPILED_STEPS)
    assert not compiles("auto", gpu, COMPILED_STEPS - 1)
    assert not compiles("auto", cpu, COMPILED_STEPS)
    assert not compiles("off", gpu, COMPILED_STEPS)


def lam_of(env: str) -> tuple[OneStepLam, Window, OneStepSettings]:
    settings = OneStepSettings.model_validate({**LAMS[env], "quantizer": QUANTIZER, "training": TRAINING})
    spec = preset(env)
    model = OneStepLam(settings=settings, spec=spec)
    return model, Window.of_frames(torch.randint(3, (6, 3, *spec.frame_shape)).to(torch.uint8)), settings


@pytest.mark.slow
@pytest.mark.parametrize("env", LAMS)
def test_a_compiled_training_has_no_graph_breaks_and_gives_the_weights_of_the_plain_one(
    env: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, **options: real(function, fullgraph=options["fullgraph"], backend="eager")
    )
    weights = []
    for compiled in (False, True):
        monkeypatch.setattr(loop, "compiles", lambda *arguments, compiled=compiled: compiled)
        seed_everything(0)
        (model, windows, settings), metrics = lam_of(env), MetricsLog()
        train(
            module=model,
            batch_at=lambda step, windows=windows: windows,
            loss=model.loss,
            settings=settings.training,
            metrics=metrics,
        )
        weights.append({**model.state_dict(), "losses": torch.tensor([row[3] for row in metrics.rows])})
    plain, traced = weights
    assert plain.keys() == traced.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(traced[name], tensor, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.slow
def test_ppo_is_compiled_once_for_all_rollouts(monkeypatch: pytest.MonkeyPatch) -> None:
    real, graphs = torch.compile, []

    def note(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(
        torch,
        "compile",
        lambda function, **options: real(
            function, fullgraph=options["fullgraph"], dynamic=options["dynamic"], backend=note
        ),
    )
    settings = ExpertSettings(total_steps=4 * 64 * 32, num_envs=64, minibatches=2, epochs=1)
    logged = []
    for compiled in (False, True):
        monkeypatch.setattr(loop, "compiles", lambda *arguments, compiled=compiled: compiled)
        seed_everything(0)
        network, metrics = (
            GridActorCritic(spec=preset("xland-empty-random-8x8"), hidden_width=8),
            MetricsLog(),
        )
        PpoLearner(network, settings, seed=0).train(metrics=metrics, title="PPO")
        logged.append(torch.tensor([row[3] for row in metrics.rows]))
    torch.testing.assert_close(*logged, equal_nan=True)
    assert len(graphs) == 1
