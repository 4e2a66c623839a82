"""Evaluations during a training: when they are due, and that they leave no trace."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lamflow.training.loop import EVALUATION, Evaluations, Loss, train
from lamflow.training.metrics import MetricsLog
from lamflow.training.settings import TrainingSettings

SETTINGS = TrainingSettings(steps=12, batch_size=4, warmup_steps=0, precision="float32")


@pytest.mark.parametrize(
    ("times", "steps", "expected"),
    [(1, 10, [10]), (3, 6, [2, 4, 6]), (3, 10, [4, 7, 10]), (4, 3, [1, 2, 3]), (0, 5, [])],
)
def test_evaluations_are_even_and_the_last_is_at_the_end(times: int, steps: int, expected: list[int]) -> None:
    evaluations = Evaluations(times, lambda module: {})
    assert [step for step in range(1, steps + 1) if evaluations.are_due(step, steps)] == expected


def trained(evaluations: Evaluations | None) -> tuple[Tensor, MetricsLog]:
    """The weights of a network with dropout, whose training draws random numbers at each step."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 1))
    metrics = MetricsLog()
    train(
        module=network,
        batch_at=lambda step: torch.randn(4, 3),
        loss=lambda batch: Loss(network(batch).square().mean()),
        settings=SETTINGS,
        metrics=metrics,
        title="",
        evaluations=evaluations,
    )
    return torch.cat([part.flatten() for part in network.state_dict().values()]), metrics


def test_a_training_that_is_looked_at_is_the_training_that_it_is_without() -> None:
    """A look at the module draws random numbers and runs it: in evaluation mode, where its statistics stay."""
    plain, _ = trained(None)

    def look(module: nn.Module) -> dict[str, float]:
        assert not module.training and not torch.is_grad_enabled()
        return {"return": float(module(torch.randn(5, 3)).mean())}

    watched, metrics = trained(Evaluations(3, look))
    assert torch.equal(plain, watched)
    assert [(step, split) for step, split, name, _ in metrics.rows if name == "return"] == [
        (step, EVALUATION) for step in (4, 8, 12)
    ]


def test_a_look_that_changes_the_module_would_be_seen() -> None:
    """The control of the test above."""
    plain, _ = trained(None)

    def spoil(module: nn.Module) -> dict[str, float]:
        module.train()
        return {"return": float(module(torch.randn(5, 3)).mean())}

    assert not torch.equal(plain, trained(Evaluations(3, spoil))[0])
