"""The one training loop: steps, precision, schedule, checkpoints, resume, metrics, progress."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lamflow.config import TrainingSettings
from lamflow.training.checkpoint import load_checkpoint, random_states, restore_random_states, save_checkpoint
from lamflow.training.metrics import MetricsLog
from lamflow.training.precision import autocast


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise and its named terms (scalars, for the log and for the message when one is not finite)."""

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


class Resumable(Protocol):
    """What a training consists of beside its module and optimiser, kept in its checkpoints."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class TrainingDiverged(RuntimeError):
    """A loss was not finite; the message names the step and the term."""


def learning_rate_at(step: int, settings: TrainingSettings) -> float:
    """Piecewise linear: the initial fraction of the peak at step 0, the peak after the warm-up, the final fraction at the last
    step (LAPO)."""
    if step < settings.warmup_steps:
        initial = settings.initial_learning_rate_fraction
        return settings.learning_rate * (initial + (1 - initial) * step / settings.warmup_steps)
    progress = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * (1 - progress * (1 - settings.final_learning_rate_fraction))


@dataclass
class _State:
    """What a run consists of besides its settings."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    metrics: MetricsLog
    companion: Resumable | None = None
    step: int = 0

    def save(self, path: Path, identity: str) -> None:
        save_checkpoint(
            path,
            {
                "identity": identity,
                "step": self.step,
                "module": self.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "random": random_states(),
                "metrics": self.metrics.rows,
                "companion": self.companion.state_dict() if self.companion else None,
            },
        )

    def restore(self, path: Path, identity: str) -> None:
        state = load_checkpoint(path, identity)
        if state is None:
            return
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        restore_random_states(state["random"])
        self.metrics.rows = state["metrics"]
        if self.companion:
            self.companion.load_state_dict(state["companion"])
        self.step = state["step"]
        print(f"resumed from step {self.step} of {path}")


def _check_finite(step: int, loss: Loss) -> None:
    if math.isfinite(loss.total.item()):
        return
    bad = {name: term.item() for name, term in loss.terms.items() if not math.isfinite(term.item())} or {
        "total": loss.total.item()
    }
    named = ", ".join(f"{name} = {value}" for name, value in bad.items())
    raise TrainingDiverged(
        f"training diverged at step {step}: {named}. Try a smaller learning rate or precision: float32."
    )


def train(
    *,
    module: nn.Module,
    loss_at: Callable[[int], Loss],
    settings: TrainingSettings,
    metrics: MetricsLog,
    validate: Callable[[], dict[str, float]] | None = None,
    state_dir: Path | None = None,
    identity: str = "",
    title: str = "training",
    companion: Resumable | None = None,
) -> None:
    """Minimise ``loss_at(step).total`` over the module's parameters for ``settings.steps`` steps.

    ``loss_at`` must draw its batch as a function of the step alone, and may use torch's generators, whose states are
    checkpointed: then an interrupted and resumed run equals a straight one, bit by bit on a CPU. ``validate`` answers held-out metrics.
    A ``loss_at`` that keeps a state of its own (a simulator, running statistics) gives it as ``companion``.
    With ``state_dir``, checkpoints go to ``state_dir/checkpoint.pt``; one whose ``identity`` differs is not resumed.
    Raises TrainingDiverged at the first loss that is not finite.
    """
    device = next(module.parameters()).device
    optimizer = torch.optim.AdamW(
        module.parameters(),
        lr=settings.learning_rate,
        eps=settings.adam_epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    state = _State(module, optimizer, metrics, companion)
    checkpoint = state_dir / "checkpoint.pt" if state_dir else None
    if checkpoint:
        state.restore(checkpoint, identity)
    module.train()
    bar = tqdm(
        total=settings.steps,
        initial=state.step,
        desc=title,
        disable=not title or not sys.stderr.isatty(),
        dynamic_ncols=True,
    )
    started, first_step = time.monotonic(), state.step
    for step in range(state.step, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, settings)
        with autocast(settings.precision, device):
            loss = loss_at(step)
        _check_finite(step, loss)
        optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        norm = nn.utils.clip_grad_norm_(module.parameters(), settings.clip_norm)
        optimizer.step()
        state.step = step + 1
        bar.update()
        last = state.step == settings.steps
        if last or state.step % settings.log_every == 0:
            values = {name: term.item() for name, term in loss.terms.items()}
            metrics.log(
                state.step, "train", {"loss/total": loss.total.item(), **values, "optimizer/gradient_norm": norm.item()}
            )
        if validate is not None and (last or state.step % settings.validate_every == 0):
            _log_validation(module, validate, metrics, state.step, settings, device)
        if checkpoint and not last and state.step % settings.checkpoint_every == 0:
            state.save(checkpoint, identity)
    bar.close()
    seconds = time.monotonic() - started
    done = settings.steps - first_step
    if title:
        print(
            f"{title}: {done} steps in {seconds:.1f} s ({done * settings.batch_size / max(seconds, 1e-9):.0f} samples/s)"
        )
    module.eval()


def _log_validation(
    module: nn.Module,
    validate: Callable[[], dict[str, float]],
    metrics: MetricsLog,
    step: int,
    settings: TrainingSettings,
    device: torch.device,
) -> None:
    """Validation leaves no trace in the training: mode and random states are put back."""
    states = random_states()
    module.eval()
    with torch.no_grad(), autocast(settings.precision, device):
        metrics.log(step, "validation", validate())
    module.train()
    restore_random_states(states)
