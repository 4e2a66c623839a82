"""The training loop: what it converges to, repeats, resumes, refuses, measures and leaves alone."""

from __future__ import annotations

import math
import os
import re
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lamflow.quantizers.vq_ema import VectorQuantizerEma
from lamflow.quantizers.vq_ema_settings import VqEmaSettings
from lamflow.runs.training_lines import last_training_line
from lamflow.training import precision, progress_lines
from lamflow.training.checkpoint import load_checkpoint, seed_everything
from lamflow.training.interruption import SIGNALS, TrainingInterrupted
from lamflow.training.loop import Loss, ParameterGroup, Resumable, Watched, learning_rate_at, train
from lamflow.training.meters import TrainingDiverged
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import Processor
from lamflow.training.settings import TrainingSettings

SETTINGS = TrainingSettings(
    steps=20,
    learning_rate=0.01,
    warmup_steps=5,
    precision="float32",
    log_every=3,
    validate_every=4,
    checkpoint_every=6,
)


def settings_with(**changes: Any) -> TrainingSettings:
    return TrainingSettings.model_validate(SETTINGS.model_dump() | changes)


class Killed(BaseException):
    """What ends a run in the middle."""


class Learner(nn.Module):
    """A little of all that a run consists of: parameters, buffers that training changes, and torch's random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 8))
        self.quantizer = VectorQuantizerEma(
            VqEmaSettings(codebooks=1, tokens=2, code_dim=4, codes=5, decay=0.8, revive_below=0.5)
        )
        self.decoder = nn.Linear(8, 6)

    def loss(self, inputs: Tensor) -> Loss:
        quantized = self.quantizer(self.encoder(inputs))
        reconstruction = functional.mse_loss(self.decoder(quantized.latents), inputs)
        return Loss(reconstruction + quantized.commitment_loss, {"loss/reconstruction": reconstruction.detach()})


def run(
    state_dir: Path | None = None,
    *,
    stop_at: int | None = None,
    signal_at: tuple[int, int] | None = None,
    nan_at: int | None = None,
    identity: str = "this run",
    validate: Callable[[], dict[str, float]] | None = None,
    settings: TrainingSettings = SETTINGS,
    watched: Watched | None = None,
    companion: Resumable | None = None,
) -> tuple[Learner, MetricsLog]:
    """Train a learner on batches that depend on the step alone; die, get a signal, or meet a NaN at some step."""
    seed_everything(3)
    learner, metrics = Learner(), MetricsLog()
    data = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))

    def batch_at(step: int) -> Tensor:
        if step == stop_at:
            raise Killed
        if signal_at and step == signal_at[0]:
            os.kill(os.getpid(), signal_at[1])
        batch = data[torch.arange(step * 16, step * 16 + 16) % 200]
        if step == nan_at:
            batch[0, 0] = math.nan
        return batch

    train(
        module=learner,
        batch_at=batch_at,
        loss=learner.loss,
        settings=settings,
        metrics=metrics,
        validate=validate,
        state_dir=state_dir,
        identity=identity,
        watched=watched,
        companion=companion,
    )
    return learner, metrics


def assert_equal_runs(found: tuple[Learner, MetricsLog], expected: tuple[Learner, MetricsLog]) -> None:
    """Bit by bit."""
    wanted = expected[0].state_dict()
    assert found[0].state_dict().keys() == wanted.keys()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in found[0].state_dict().items())
    assert found[1].rows == expected[1].rows


def test_linear_regression_reaches_the_least_squares_solution() -> None:
    torch.manual_seed(0)
    inputs, targets = torch.randn(100, 4), torch.randn(100, 2)
    solution = torch.linalg.lstsq(torch.cat([inputs, torch.ones(100, 1)], dim=1), targets).solution
    module = nn.Linear(4, 2)
    settings = settings_with(steps=600, learning_rate=0.05)
    train(
        module=module,
        batch_at=lambda step: step,
        loss=lambda step: Loss(functional.mse_loss(module(inputs), targets)),
        settings=settings,
        metrics=MetricsLog(),
    )
    torch.testing.assert_close(module.weight.detach(), solution[:4].T, atol=1e-4, rtol=0)
    torch.testing.assert_close(module.bias.detach(), solution[4], atol=1e-4, rtol=0)


def test_the_learning_rate_rises_from_a_tenth_to_its_peak_and_falls_to_its_end() -> None:
    settings = settings_with(steps=105, warmup_steps=5, learning_rate=2.0, final_learning_rate_fraction=0.1)
    points = {0: 0.2, 1: 0.56, 5: 2.0, 30: 1.55, 55: 1.1, 105: 0.2}
    assert {step: learning_rate_at(step, settings) for step in points} == pytest.approx(points)
    rates = [learning_rate_at(step, settings) for step in range(105)]
    assert rates == sorted(rates[:5]) + sorted(rates[5:], reverse=True)


def test_without_warm_up_training_starts_at_the_peak() -> None:
    assert learning_rate_at(0, settings_with(warmup_steps=0)) == 0.01


@pytest.mark.parametrize(("warmup", "moved"), [(0, 0.01), (5, 0.001)])
def test_the_first_step_is_taken_with_the_first_learning_rate(warmup: int, moved: float) -> None:
    """Adam's first step moves each weight by the learning rate, against the sign of its gradient."""
    module = nn.Linear(3, 1, bias=False)
    before = module.weight.detach().clone()
    train(
        module=module,
        batch_at=lambda step: step,
        loss=lambda step: Loss((module.weight * torch.tensor([1.0, -2.0, 3.0])).sum()),
        settings=settings_with(steps=1, warmup_steps=warmup),
        metrics=MetricsLog(),
    )
    torch.testing.assert_close(module.weight.detach() - before, moved * torch.tensor([[-1.0, 1.0, -1.0]]))


def test_long_gradients_are_scaled_down_and_logged_as_they_were() -> None:
    """Under a constant gradient each of Adam's steps is as long as the learning rate: the first gradient was clipped to it."""
    metrics, module = MetricsLog(), nn.Linear(1, 1, bias=False)
    before = module.weight.item()
    train(
        module=module,
        batch_at=lambda step: step,
        loss=lambda step: Loss(module.weight.sum() * (1e6 if step == 0 else 1.0)),
        settings=settings_with(steps=2, clip_norm=1.0, warmup_steps=0, final_learning_rate_fraction=1.0, log_every=1),
        metrics=metrics,
    )
    norms = [value for _, _, name, value in metrics.rows if name == "optimizer/gradient_norm"]
    assert norms == pytest.approx([1e6, 1.0])
    assert before - module.weight.item() == pytest.approx(2 * 0.01, rel=1e-4)


def test_without_a_clip_norm_long_gradients_are_logged_and_left_as_they_are() -> None:
    """Plain gradient steps, by an epsilon beside which Adam's second moments are nothing."""
    metrics, module = MetricsLog(), nn.Linear(1, 1, bias=False)
    before = module.weight.item()
    train(
        module=module,
        batch_at=lambda step: step,
        loss=lambda step: Loss(module.weight.sum() * 1e3),
        settings=settings_with(
            steps=1, clip_norm=None, warmup_steps=0, adam_epsilon=1e7, learning_rate=10, log_every=1
        ),
        metrics=metrics,
    )
    assert [value for _, _, name, value in metrics.rows if name == "optimizer/gradient_norm"] == [1e3]
    assert before - module.weight.item() == pytest.approx(10 * 1e3 / (1e7 + 1e3), rel=1e-3)


@pytest.mark.slow
def test_a_batch_may_look_through_the_module_without_gradients_and_train_another_one() -> None:
    """Autocast keeps lowered weights as long as it lasts: what a batch did must not be seen by the loss, nor the other way round."""

    def trained(look: Callable[[nn.Module], object]) -> nn.Module:
        seed_everything(0)
        module, inputs = nn.Linear(4, 4), torch.linspace(-1, 1, 32).reshape(8, 4)

        def batch_at(step: int) -> Tensor:
            look(module)
            return inputs

        train(
            module=module,
            batch_at=batch_at,
            loss=lambda batch: Loss(functional.mse_loss(module(batch).float(), batch.flip(1))),
            settings=settings_with(precision="bf16"),
            metrics=MetricsLog(),
            title="",
        )
        return module

    inner: list[nn.Module] = []

    def look(module: nn.Module) -> None:
        with torch.no_grad():
            module(torch.ones(2, 4))
        states = torch.get_rng_state()
        inner[:] = [trained(lambda _: None)]
        torch.set_rng_state(states)

    alone, looked_through = trained(lambda _: None), trained(look)
    for name, value in alone.state_dict().items():
        assert torch.equal(looked_through.state_dict()[name], value), name
        assert torch.equal(inner[0].state_dict()[name], value), name


def test_each_group_of_parameters_has_its_own_learning_rate() -> None:
    """Adam's first steps are as long as the learning rate, whatever the gradient."""
    module = nn.ParameterDict({name: nn.Parameter(torch.ones(3)) for name in ("early", "late")})
    groups = [
        ParameterGroup([module["early"]], lambda step: 0.1),
        ParameterGroup([module["late"]], lambda step: 0.01 if step >= 2 else 0.0),
    ]
    train(
        module=module,
        batch_at=lambda step: step,
        loss=lambda _: Loss(sum((value.sum() for value in module.values()), torch.zeros(()))),
        settings=settings_with(steps=3, warmup_steps=0),
        metrics=MetricsLog(),
        title="",
        groups=groups,
    )
    torch.testing.assert_close(module["early"].data, torch.full((3,), 0.7))
    torch.testing.assert_close(module["late"].data, torch.full((3,), 0.99))


def test_a_training_that_has_reached_its_aim_ends_early_with_its_last_row_and_checkpoint(tmp_path: Path) -> None:
    done: list[int] = []

    def go() -> MetricsLog:
        learner, metrics = Learner(), MetricsLog()
        seen: list[int] = []

        def batch_at(step: int) -> Tensor:
            seen.append(step)
            return torch.ones(4, 6)

        train(
            module=learner,
            batch_at=batch_at,
            loss=learner.loss,
            settings=SETTINGS,
            metrics=metrics,
            state_dir=tmp_path,
            title="",
            finished=lambda: bool(done) or len(seen) >= 8,
        )
        done.extend(seen)
        return metrics

    assert go().rows[-1][0] == 8
    assert tmp_path.joinpath("checkpoint-0000000008.pt").exists()
    trained = len(done)
    go()
    assert len(done) == trained, "what has reached its aim is not trained further"


@pytest.mark.slow
def test_training_twice_gives_equal_weights_and_metrics() -> None:
    assert_equal_runs(run(), run())


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [1, 6, 7, 12, 19])
def test_an_interrupted_and_resumed_run_equals_a_straight_one(
    stop_at: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    straight = run(tmp_path / "straight", validate=lambda: {"draw": torch.rand(()).item()})
    with pytest.raises(Killed):
        run(tmp_path / "killed", stop_at=stop_at, validate=lambda: {"draw": torch.rand(()).item()})
    capsys.readouterr()
    resumed = run(tmp_path / "killed", validate=lambda: {"draw": torch.rand(()).item()})
    checkpoint = tmp_path / "killed" / f"checkpoint-{stop_at // 6 * 6:010d}.pt"
    expected = f"resumed from step {stop_at // 6 * 6} of {checkpoint}" if stop_at >= 6 else ""
    assert capsys.readouterr().out.startswith(expected)
    assert_equal_runs(resumed, straight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begun", "resumed", "taken"),
    [
        ("CPU with AMX", "CPU without AMX and AVX512_BF16", "bf16"),
        ("CPU without AMX and AVX512_BF16", "CPU with AMX", "float32"),
    ],
)
def test_a_training_keeps_its_precision_on_another_processor(
    begun: Processor,
    resumed: Processor,
    taken: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    automatic = settings_with(precision="auto")
    monkeypatch.setattr(precision, "processor_of", lambda device: begun)
    with pytest.raises(Killed):
        run(tmp_path, stop_at=14, settings=automatic)
    monkeypatch.setattr(precision, "processor_of", lambda device: resumed)
    capsys.readouterr()
    found = run(tmp_path, settings=automatic)
    assert_equal_runs(found, run(settings=settings_with(precision=taken)))
    assert found[1].rows != run(settings=automatic)[1].rows, "the other precision gives other losses"
    assert found[1].precision is not None and found[1].precision.name == taken
    line = f"training: precision {taken} (kept from the checkpoint; begun here: "
    assert sum(told.startswith(line) for told in capsys.readouterr().out.splitlines()) == 1


def test_what_auto_takes_is_told_in_one_line_before_the_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    run(settings=settings_with(precision="auto"))
    first, *others = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"training: precision (bf16|float32) \(CPU with.*, 0\.000\d+ M parameters.*\)", first)
    assert not any("precision" in line for line in others)
    run()
    assert "precision" not in capsys.readouterr().out


def test_a_run_that_is_interrupted_twice_equals_a_straight_one(tmp_path: Path) -> None:
    for stop_at in (8, 15):
        with pytest.raises(Killed):
            run(tmp_path, stop_at=stop_at)
    assert_equal_runs(run(tmp_path), run())


@pytest.mark.slow
def test_a_checkpoint_of_another_run_is_not_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Killed):
        run(tmp_path, stop_at=8, identity="other settings")
    assert_equal_runs(run(tmp_path), run())
    assert "checkpoint of other settings, data or code; it is removed" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.999])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    keep: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Killed):
        run(tmp_path, stop_at=14)
    path = tmp_path / "checkpoint-0000000012.pt"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    assert_equal_runs(run(tmp_path), run())
    printed = capsys.readouterr().out
    assert f"{path}: damaged checkpoint (its digest does not fit); it is removed" in printed
    assert "resumed from step 6 of" in printed


@pytest.mark.slow
def test_when_all_checkpoints_are_damaged_training_starts_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Killed):
        run(tmp_path, stop_at=14)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert_equal_runs(run(tmp_path), run())
    assert "no checkpoint of this run; starting from step 0" in capsys.readouterr().out


@pytest.mark.slow
def test_the_last_two_checkpoints_are_kept_and_nothing_else_is_left(tmp_path: Path) -> None:
    run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-0000000018.pt", "checkpoint-0000000020.pt"]


def test_a_run_that_is_done_is_not_trained_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert_equal_runs(run(tmp_path, stop_at=0), first)


@pytest.mark.slow
def test_the_log_of_a_job_says_how_far_its_training_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_lines, "SECONDS_BETWEEN_LINES", 0.0)
    _, metrics = run()
    log = tmp_path / "job.log"
    log.write_text(capsys.readouterr().out)
    line = last_training_line(log, datetime.fromtimestamp(0, tz=UTC))
    assert line is not None
    assert (line.title, line.step, line.steps) == ("training", 18, 20)
    means = {name: value for step, _, name, value in metrics.rows if step == 18 and name.startswith("loss/")}
    assert line.metrics == ", ".join(f"{name} {value:.4g}" for name, value in means.items())


@pytest.mark.slow
def test_a_training_says_how_far_it_is_no_more_often_than_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_lines, "SECONDS_BETWEEN_LINES", math.inf)
    run()
    assert capsys.readouterr().out.startswith("training: 20 steps in ")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (7000, "117 min"), (8000, "2 h 13 min")]
)
def test_times_left_are_in_units_that_people_think_in(seconds: float, text: str) -> None:
    assert progress_lines.time_left(seconds) == text


@pytest.mark.slow
def test_the_best_value_of_the_watched_metric_is_kept_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {4: 3.0, 8: 1.0, 12: math.nan, 16: 2.0, 20: 1.5}
    for best, expected in (("lowest", (1.0, 8)), ("highest", (3.0, 4))):
        values = iter(scores.values())
        validate = lambda values=values: {"score": next(values)}  # noqa: E731
        run(tmp_path / best, validate=validate, watched=Watched("score", best))
        assert capsys.readouterr().out.endswith(f"; {best} score {expected[0]:.4g} at step {expected[1]}\n")
        state = load_checkpoint(tmp_path / best / "checkpoint-0000000020.pt", "this run")
        assert state is not None and state["best"] == expected


@pytest.mark.slow
@pytest.mark.usefixtures("signals_are_heard")
@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("at", [0, 6, 10])
def test_a_signal_ends_the_step_and_leaves_a_checkpoint(number: signal.Signals, at: int, tmp_path: Path) -> None:
    """Also while a validation runs that trains networks of its own (10 and not 8: the next step is done)."""
    straight = run(tmp_path / "straight")
    told = (
        f"{number.name} ended the training after step {at + 1} of 20; a checkpoint is in {tmp_path / 'told'}, the next"
    )
    before = signal.getsignal(number)
    with pytest.raises(TrainingInterrupted, match=told):
        run(tmp_path / "told", signal_at=(at, number))
    assert signal.getsignal(number) is before
    assert (tmp_path / "told" / f"checkpoint-{at + 1:010d}.pt").exists()
    assert_equal_runs(run(tmp_path / "told", stop_at=at), straight)


def test_a_signal_during_validation_waits_for_its_end(tmp_path: Path) -> None:
    def trains_and_is_told() -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        train(
            module=nn.Linear(1, 1),
            batch_at=lambda step: torch.ones(1, 1),
            loss=lambda batch: Loss(batch.sum().requires_grad_()),
            settings=settings_with(steps=2),
            metrics=MetricsLog(),
            title="",
        )
        return {"loss/total": 0.5}

    with pytest.raises(TrainingInterrupted, match="after step 4 of 20"):
        run(tmp_path, validate=trains_and_is_told)
    state = load_checkpoint(tmp_path / "checkpoint-0000000004.pt", "this run")
    assert state is not None and (4, "validation", "loss/total", 0.5) in state["metrics"]


def test_a_signal_waits_for_a_companion_to_be_complete(tmp_path: Path) -> None:
    class InFives:
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None: ...

        def is_complete_at(self, step: int) -> bool:
            return step % 5 == 0

    with pytest.raises(TrainingInterrupted, match="after step 10 of 20"):
        run(tmp_path, signal_at=(6, signal.SIGTERM), companion=InFives())


def test_a_signal_at_the_last_step_is_too_late_to_matter(tmp_path: Path) -> None:
    assert_equal_runs(run(tmp_path, signal_at=(19, signal.SIGTERM)), run())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_training_with_its_step_and_term(value: float) -> None:
    module = nn.Linear(1, 1)

    def loss(step: int) -> Loss:
        commitment = torch.tensor(value if step == 7 else 0.5)
        good = module.weight.square().sum()
        return Loss(good + commitment, {"loss/good": good.detach(), "loss/commitment": commitment})

    with pytest.raises(TrainingDiverged, match=rf"^training diverged at step 7: loss/commitment = {value}\. Try"):
        train(module=module, batch_at=lambda step: step, loss=loss, settings=SETTINGS, metrics=MetricsLog())


def test_a_loss_without_terms_that_is_not_finite_is_named_total() -> None:
    module = nn.Linear(1, 1)
    with pytest.raises(TrainingDiverged, match="diverged at step 0: total = nan"):
        train(
            module=module,
            batch_at=lambda step: step,
            loss=lambda step: Loss(module.weight.sum() * math.nan),
            settings=SETTINGS,
            metrics=MetricsLog(),
        )


@pytest.mark.slow
def test_validation_leaves_no_trace_in_training() -> None:
    modes = []

    def validate() -> dict[str, float]:
        modes.append((torch.is_grad_enabled(), torch.randn(3).sum().item()))
        return {"loss/total": 1.0}

    learner, metrics = run(validate=validate)
    metrics.rows = [row for row in metrics.rows if row[1] == "train"]
    assert_equal_runs((learner, metrics), run())
    assert len(modes) == 5 and not any(grad for grad, _ in modes)


def test_the_module_is_in_evaluation_mode_while_it_is_validated_and_when_it_is_done() -> None:
    module = nn.Sequential(nn.Linear(2, 1))
    seen = []

    def loss(_step: int) -> Loss:
        seen.append(module.training)
        return Loss(module(torch.ones(1, 2)).sum())

    def validate() -> dict[str, float]:
        seen.append(module.training)
        return {}

    settings = settings_with(steps=4, validate_every=2)
    train(
        module=module,
        batch_at=lambda step: step,
        loss=loss,
        settings=settings,
        metrics=MetricsLog(),
        validate=validate,
    )
    assert seen == [True, True, False, True, True, False]
    assert not module.training


def test_rows_are_logged_every_so_often_and_at_the_last_step() -> None:
    _, metrics = run(validate=lambda: {"probe": 0.5}, settings=settings_with(steps=10))
    assert [row[0] for row in metrics.rows if row[1] == "train" and row[2] == "loss/total"] == [3, 6, 9, 10]
    assert [row[0] for row in metrics.rows if row[1:3] == ("validation", "probe")] == [4, 8, 10]
    assert {row[2] for row in metrics.rows} == {"loss/total", "loss/reconstruction", "optimizer/gradient_norm", "probe"}


def test_logged_terms_are_means_over_the_steps_since_the_last_row() -> None:
    metrics, module = MetricsLog(), nn.Linear(1, 1)
    train(
        module=module,
        batch_at=lambda step: torch.tensor(float(step)),
        loss=lambda number: Loss(module.weight.sum() * 0 + number, {"loss/number": number}),
        settings=settings_with(steps=5, log_every=2),
        metrics=metrics,
    )
    found = [(step, value) for step, _, name, value in metrics.rows if name == "loss/number"]
    assert found == [(2, 0.5), (4, 2.5), (5, 4.0)]


@pytest.mark.slow
def test_a_nan_in_a_batch_leaves_the_earlier_checkpoints_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(TrainingDiverged, match="diverged at step 14: loss/reconstruction = nan"):
        run(tmp_path, nan_at=14)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-0000000006.pt", "checkpoint-0000000012.pt"]
    assert_equal_runs(run(tmp_path), run())


def test_a_gradient_that_is_not_finite_stops_training() -> None:
    module = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.zero_()
    with pytest.raises(TrainingDiverged, match="at step 0: gradient norm = nan"):
        train(
            module=module,
            batch_at=lambda step: step,
            loss=lambda step: Loss(module.weight.abs().sqrt().sum()),
            settings=SETTINGS,
            metrics=MetricsLog(),
        )


def test_there_is_no_progress_bar_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run()
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.startswith("training: 20 steps in ")


def test_bf16_lowers_the_networks_and_leaves_quantiser_and_optimiser_in_float32(tmp_path: Path) -> None:
    seen: dict[str, torch.dtype] = {}
    seed_everything(0)
    learner = Learner()
    learner.encoder.register_forward_hook(lambda module, inputs, output: seen.update(encoder=output.dtype))
    learner.quantizer.register_forward_hook(lambda module, inputs, output: seen.update(latents=output.latents.dtype))
    train(
        module=learner,
        batch_at=lambda step: step,
        loss=lambda step: learner.loss(torch.randn(16, 6)),
        settings=settings_with(precision="bf16"),
        metrics=MetricsLog(),
        state_dir=tmp_path,
    )
    assert seen == {"encoder": torch.bfloat16, "latents": torch.float32}
    assert {tensor.dtype for tensor in learner.state_dict().values() if tensor.is_floating_point()} == {torch.float32}
    state = load_checkpoint(tmp_path / "checkpoint-0000000020.pt", "")
    assert state is not None
    moments = [entry[name] for entry in state["optimizer"]["state"].values() for name in ("exp_avg", "exp_avg_sq")]
    assert {moment.dtype for moment in moments} == {torch.float32}
