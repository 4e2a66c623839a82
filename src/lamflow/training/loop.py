"""The one training loop: steps, precision, schedule, checkpoints, resume, signals, metrics, progress."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lamflow.training.checkpoint import CheckpointFolder, random_states, restore_random_states
from lamflow.training.compilation import compiled, compiles
from lamflow.training.interruption import Request, TrainingInterrupted, stop_requests
from lamflow.training.meters import LossMeter
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import Precision, autocast, precision_of
from lamflow.training.processes import (
    alone,
    any_process,
    backward,
    is_main,
    mean_over_processes,
    num_processes,
    synchronised,
    wait_for_all,
)
from lamflow.training.progress_lines import ProgressLines
from lamflow.training.settings import TrainingSettings

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise and its named terms (scalars, for the log and for the message when one is not finite)."""

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


class Resumable(Protocol):
    """What a training consists of beside its module and optimiser, kept in its checkpoints."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def is_complete_at(self, step: int) -> bool:
        """Whether ``state_dict`` is all that is needed to go on after ``step`` steps."""
        ...


@dataclass(frozen=True)
class Watched:
    """A validation metric whose best value is told at the end: ``name``, and whether the lowest or the highest is best."""

    name: str
    best: Literal["lowest", "highest"] = "lowest"

    def improves(self, value: float, before: float) -> bool:
        """NaN never does."""
        return value < before if self.best == "lowest" else value > before


EVALUATION = "evaluation"
"""The split under which evaluations are logged."""


@dataclass(frozen=True)
class Evaluations:
    """What is measured of a module while it trains, beside its validation: so many ``times``, evenly over the steps and the last time after
    all of them (once per step, where there are fewer steps). ``measure`` gets the module, not to be changed, and answers numbers by name, a
    function of the module alone."""

    times: int
    measure: Callable[[nn.Module], Mapping[str, float]]

    def are_due(self, step: int, steps: int) -> bool:
        """Whether the module is measured after ``step`` of ``steps`` steps."""
        return step * self.times // steps > (step - 1) * self.times // steps


def learning_rate_at(step: int, settings: TrainingSettings) -> float:
    """Piecewise linear: the initial fraction of the peak at step 0, the peak after the warm-up, the final fraction at the last
    step (LAPO)."""
    if step < settings.warmup_steps:
        initial = settings.initial_learning_rate_fraction
        return settings.learning_rate * (initial + (1 - initial) * step / settings.warmup_steps)
    progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * (1 - progress * (1 - settings.final_learning_rate_fraction))


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters with a schedule of their own: ``learning_rate_at`` maps a step to their learning rate."""

    parameters: Sequence[nn.Parameter]
    learning_rate_at: Callable[[int], float]


class _Objective(nn.Module):
    """The loss as a module over the trained one: what is compiled, and what DDP wraps."""

    def __init__(self, module: nn.Module, loss: Callable[[Any], Loss]) -> None:
        super().__init__()
        self.module = module
        self._loss = loss

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self._loss(batch)
        return loss.total, loss.terms


@dataclass
class _Run:
    """What a run consists of besides its settings. The schedule and the batches are functions of ``step``."""

    PARTS: ClassVar = ("step", "precision", "module", "optimizer", "random", "metrics", "meter", "best", "companion")
    """Of its state."""

    precision: Precision
    module: nn.Module
    optimizer: torch.optim.Optimizer
    metrics: MetricsLog
    meter: LossMeter
    companion: Resumable | None = None
    finished: Callable[[], bool] | None = None
    best: tuple[float, int] | None = None
    step: int = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "precision": self.precision.name,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": random_states(),
            "metrics": self.metrics.rows,
            "meter": self.meter.state_dict(),
            "best": self.best,
            "companion": self.companion.state_dict() if self.companion else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        restore_random_states(state["random"])
        self.metrics.rows = state["metrics"]
        self.meter.load_state_dict(state["meter"])
        self.best = state["best"]
        if self.companion:
            self.companion.load_state_dict(state["companion"])
        self.precision = self.precision.resumed(state["precision"])
        self.step = state["step"]

    def can_stop(self) -> bool:
        return self.companion is None or self.companion.is_complete_at(self.step)

    def is_done(self, settings: TrainingSettings) -> bool:
        ended = self.finished is not None and self.can_stop() and self.finished()
        return ended or self.step >= settings.steps


def train(
    *,
    module: nn.Module,
    batch_at: Callable[[int], BatchT],
    loss: Callable[[BatchT], Loss],
    settings: TrainingSettings,
    metrics: MetricsLog,
    validate: Callable[[], dict[str, float]] | None = None,
    watched: Watched | None = None,
    state_dir: Path | None = None,
    identity: str = "",
    title: str = "training",
    companion: Resumable | None = None,
    groups: Sequence[ParameterGroup] | None = None,
    finished: Callable[[], bool] | None = None,
    evaluations: Evaluations | None = None,
) -> None:
    """Minimise ``loss(batch_at(step)).total`` over the module's parameters for ``settings.steps`` steps.

    ``batch_at`` must give its batch as a function of the step alone, and both may use torch's generators, whose states are
    checkpointed: then an interrupted and resumed run equals a straight one, bit by bit on a CPU. ``loss`` runs in the autocast
    precision of the settings, ``batch_at`` does not; what ``auto`` takes when the training begins is checkpointed, so that it stays on
    another processor, and kept as ``metrics.precision``. ``validate`` answers held-out metrics, of which the best value of ``watched``
    is told at the end; the weights are the last ones. A ``batch_at`` that has a state of its own (a simulator, running statistics)
    gives it as ``companion``. With ``groups``, which hold all that is trained, each has its own learning rate; the others have
    ``learning_rate_at``'s. The training ends early when ``finished`` (a function of what is checkpointed) says so, asked where a
    checkpoint could be written. Neither validation nor ``evaluations``, whose numbers are logged as of the split ``EVALUATION``, changes
    what the training comes to.

    With ``state_dir``, the last checkpoints lie there (see ``CheckpointFolder``); those whose ``identity`` differs are not resumed.
    Raises TrainingDiverged when a loss or gradient is not finite: at its step on a CPU, on a GPU at the next step that is
    logged, validated or checkpointed, and always before a checkpoint is written. Raises TrainingInterrupted after a signal of
    ``interruption.SIGNALS``, when the step is done and a checkpoint is written.
    """
    device = next(module.parameters()).device
    groups = groups or [ParameterGroup(list(module.parameters()), partial(learning_rate_at, settings=settings))]
    optimizer = torch.optim.AdamW(
        [{"params": list(group.parameters)} for group in groups],
        lr=settings.learning_rate,
        eps=settings.adam_epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    precision = precision_of(settings.precision, module.parameters())
    run = _Run(precision, module, optimizer, metrics, LossMeter(device), companion, finished)
    folder = CheckpointFolder(state_dir, identity) if state_dir else None
    if folder:
        folder.resume(run.load_state_dict, parts=_Run.PARTS)
    objective: Callable[[BatchT], tuple[Tensor, dict[str, Tensor]]] = synchronised(_Objective(module, loss))
    if num_processes() == 1 and compiles(settings.compile, device, settings.steps - run.step):
        objective = compiled(objective)
    module.train()
    bar = tqdm(
        total=settings.steps,
        initial=run.step,
        desc=title,
        disable=not title or not is_main() or not sys.stderr.isatty(),
        dynamic_ncols=True,
    )
    metrics.precision = run.precision
    lines = ProgressLines(title if is_main() else "", settings, run.step)
    lines.begin(run.precision)
    with stop_requests() as request:
        while not run.is_done(settings):
            for group, tuned in zip(groups, optimizer.param_groups, strict=True):
                tuned["lr"] = group.learning_rate_at(run.step)
            # Outside of autocast, which keeps the weights that it has lowered until it ends: those of a batch that was made
            # without gradients (a rollout) would have none in the loss, and a training within would not see its own steps.
            batch = batch_at(run.step)
            with autocast(run.precision.name, device):
                total, terms = objective(batch)
            optimizer.zero_grad(set_to_none=True)
            backward(total)
            norm = _clipped(module, settings.clip_norm)
            run.meter.add(run.step, total, norm, terms)
            if device.type == "cpu":
                run.meter.check()
            optimizer.step()
            run.step += 1
            bar.update()
            last = run.is_done(settings)
            if last or run.step % settings.log_every == 0:
                means = mean_over_processes(run.meter.read())
                metrics.log(run.step, "train", means)
                if bar.disable:
                    lines.tell(run.step, means)
            if validate is not None and (last or run.step % settings.validate_every == 0):
                run.meter.check()
                _validate(run, validate, watched, device)
            if evaluations is not None and evaluations.are_due(run.step, settings.steps):
                run.meter.check()
                _evaluate(run, evaluations)
            stopping = any_process(request.signal is not None) and run.can_stop()
            if folder and (stopping or last or run.step % settings.checkpoint_every == 0):
                run.meter.check()
                _save(folder, run)
            if stopping and not last:
                raise TrainingInterrupted(_farewell(request, run, settings, folder))
    bar.close()
    lines.end(run.step, _best(run, watched))
    module.eval()


def _clipped(module: nn.Module, most: float | None) -> Tensor:
    """The norm of all gradients, a scalar, before they are scaled down to ``most``, if there is such a limit."""
    if most is not None:
        return nn.utils.clip_grad_norm_(module.parameters(), most)
    return nn.utils.get_total_norm([part.grad for part in module.parameters() if part.grad is not None])


def _validate(
    run: _Run,
    validate: Callable[[], dict[str, float]],
    watched: Watched | None,
    device: torch.device,
) -> None:
    """One process does it, the others wait."""
    if is_main():
        with _without_trace(run.module), autocast(run.precision.name, device):
            values = validate()
        run.metrics.log(run.step, "validation", values)
        if watched and (run.best is None or watched.improves(values[watched.name], run.best[0])):
            run.best = (values[watched.name], run.step)
    wait_for_all()


def _evaluate(run: _Run, evaluations: Evaluations) -> None:
    """One process does it, the others wait."""
    if is_main():
        with _without_trace(run.module):
            values = evaluations.measure(run.module)
        run.metrics.log(run.step, EVALUATION, values)
    wait_for_all()


@contextmanager
def _without_trace(module: nn.Module) -> Iterator[None]:
    """What looks at a module leaves no trace in its training: mode and random states are put back."""
    states = random_states()
    module.eval()
    with alone(), torch.no_grad():
        yield
    module.train()
    restore_random_states(states)


def _save(folder: CheckpointFolder, run: _Run) -> None:
    if is_main():
        folder.save(run.step, run.state_dict())
    wait_for_all()


def _farewell(request: Request, run: _Run, settings: TrainingSettings, folder: CheckpointFolder | None) -> str:
    cause = request.signal.name if request.signal else "a signal to another process"
    kept = "nothing is kept of it"
    if folder:
        kept = f"a checkpoint is in {folder.path}, the next attempt resumes from it: run the same command again"
    return f"{cause} ended the training after step {run.step} of {settings.steps}; {kept}"


def _best(run: _Run, watched: Watched | None) -> str:
    return f"{watched.best} {watched.name} {run.best[0]:.4g} at step {run.best[1]}" if watched and run.best else ""
