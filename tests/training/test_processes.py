"""Trainings of several processes against the same trainings of one."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from lamflow.data.windows import Window
from lamflow.envs.presets import preset
from lamflow.envs.tiles import AGENT_TILE
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.training.checkpoint import seed_everything
from lamflow.training.interruption import RETRY_EXIT_CODE, TrainingInterrupted
from lamflow.training.loop import Loss, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.processes import any_process, is_main, launch, mean_over_processes, num_processes, share_of

pytestmark = pytest.mark.usefixtures("signals_are_heard")

SPEC = preset("xland-doorkey-5x5")
NETWORK = {"width": 8, "layers": 2, "embedding_dim": 4, "hidden_width": 16}
TRAINING = {
    "steps": 6,
    "batch_size": 12,
    "precision": "float32",
    "log_every": 2,
    "checkpoint_every": 2,
    "warmup_steps": 0,
}
SETTINGS = OneStepSettings.model_validate(
    {
        "inverse_dynamics": NETWORK,
        "forward_dynamics": NETWORK,
        "quantizer": {"codebooks": 1, "tokens": 2, "code_dim": 4, "codes": 6, "decay": 0.5},
        # With a large epsilon Adam's steps are proportional to gradients, so that rounding stays rounding.
        "training": {**TRAINING, "adam_epsilon": 1.0},
    }
)


def made_up_windows() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    windows = torch.randint(AGENT_TILE, (12, 3, *SPEC.frame_shape), generator=generator)
    return windows.clamp(max=SPEC.category_sizes[1] - 1).to(torch.uint8)


def train_lam(
    *, output: str, state_dir: str | None = None, kill_at: int | None = None, press_at: int | None = None
) -> None:
    """What each process does: a short training, whose weights, metrics and gradients the main process saves."""
    torch.set_num_threads(1)
    seed_everything(0)
    model, metrics, windows = OneStepLam(settings=SETTINGS, spec=SPEC), MetricsLog(), made_up_windows()
    gradients: dict[str, torch.Tensor] = {}

    def batch_at(step: int) -> Window:
        if step == 1:
            gradients.update({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        if step == kill_at and is_main():
            os.kill(os.getpid(), signal.SIGTERM)
        if step == press_at and is_main():
            os.killpg(os.getpgid(0), signal.SIGINT)
        return Window.of_frames(share_of(windows))

    def loss(part: Window) -> Loss:
        return model.loss(part)

    train(
        module=model,
        batch_at=batch_at,
        loss=loss,
        settings=SETTINGS.training,
        metrics=metrics,
        validate=lambda: {"processes": float(num_processes())},
        state_dir=Path(state_dir) if state_dir else None,
    )
    if is_main():
        torch.save({"weights": model.state_dict(), "gradients": gradients, "metrics": metrics.rows}, output)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("single") / "result.pt"
    train_lam(output=str(path))
    result: dict[str, Any] = torch.load(path)
    return result


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys() and expected
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, atol=1e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.slow
def test_two_processes_with_half_a_batch_each_compute_the_gradients_of_one(
    single: dict[str, Any], tmp_path: Path
) -> None:
    launch(train_lam, {"output": str(tmp_path / "result.pt")}, processes=2)
    found = torch.load(tmp_path / "result.pt")
    assert any(gradient.abs().max() > 1e-3 for gradient in single["gradients"].values())
    assert_close(found["gradients"], single["gradients"])
    assert_close(found["weights"], single["weights"])  # codebooks and their statistics are among them
    losses = [[value for _, split, name, value in run["metrics"] if split == "train"] for run in (found, single)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert ("validation", "processes", 1.0) in [row[1:] for row in found["metrics"]], "validation is one process's work"


@pytest.mark.whole
def test_a_signal_to_one_of_two_processes_stops_both_and_they_resume(single: dict[str, Any], tmp_path: Path) -> None:
    arguments = {"output": str(tmp_path / "result.pt"), "state_dir": str(tmp_path / "state")}
    with pytest.raises(TrainingInterrupted):
        launch(train_lam, {**arguments, "kill_at": 2}, processes=2)
    assert (tmp_path / "state/checkpoint-0000000003.pt").exists() and not (tmp_path / "result.pt").exists()
    launch(train_lam, {**arguments, "kill_at": 2}, processes=2)
    assert_close(torch.load(tmp_path / "result.pt")["weights"], single["weights"])


def launch_in_group(arguments: dict[str, Any]) -> None:
    """In a process group of its own, as a terminal gives its foreground job."""
    os.setpgid(0, 0)
    try:
        launch(train_lam, arguments, processes=2)
    except TrainingInterrupted as error:
        print(error, file=Path(arguments["output"]).with_suffix(".txt").open("w"))
        raise SystemExit(RETRY_EXIT_CODE) from None


@pytest.mark.whole
def test_ctrl_c_in_the_terminal_of_two_processes_stops_all_and_they_resume(
    single: dict[str, Any], tmp_path: Path
) -> None:
    arguments = {"output": str(tmp_path / "result.pt"), "state_dir": str(tmp_path / "state")}
    process = multiprocessing.get_context("spawn").Process(target=launch_in_group, args=({**arguments, "press_at": 2},))
    process.start()
    process.join()
    assert process.exitcode == RETRY_EXIT_CODE
    assert (tmp_path / "result.txt").read_text().startswith("SIGINT ended the training's processes")
    assert (tmp_path / "state/checkpoint-0000000003.pt").exists() and not (tmp_path / "result.pt").exists()
    launch(train_lam, arguments, processes=2)
    assert_close(torch.load(tmp_path / "result.pt")["weights"], single["weights"])


def fail() -> None:
    raise ValueError("found nothing, expected something")


@pytest.mark.slow
def test_what_a_process_raises_is_raised_by_launch() -> None:
    with pytest.raises(Exception, match="found nothing, expected something"):
        launch(fail, {}, processes=2)


def test_one_process_shares_with_nobody() -> None:
    rows = torch.arange(5)
    assert share_of(rows) is rows and is_main() and num_processes() == 1
    assert any_process(True) and not any_process(False)
    assert mean_over_processes({"loss": 2.0}) == {"loss": 2.0}


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=r"found 1 GPUs, expected 2: lower `training\.devices`"):
        launch(fail, {}, processes=2)
