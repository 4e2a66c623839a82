"""Latent action models that see a few action labels, or frames further ahead: what reaches them, and that they resume."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fitting import fitted
from torch import Tensor

from lamflow.data.label_budgets import LabelBudget
from lamflow.data.labels import draw_labels
from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION, Window
from lamflow.envs.presets import preset
from lamflow.lam import learning, probe
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.lam.settings import SupervisionSettings
from lamflow.lam.supervision import Labelled, LabelledTransitions, SupervisedLam
from lamflow.training.metrics import MetricsLog

SPEC = preset("xland-empty-random-8x8-full")
SETTINGS: dict[str, Any] = {
    "inverse_dynamics": {"width": 8, "layers": 2, "hidden_width": 16},
    "forward_dynamics": {"width": 8, "layers": 2},
    "quantizer": {"codebooks": 1, "tokens": 2, "code_dim": 4, "codes": 8, "decay": 0.9, "revive_below": 0.3},
    "symmetry": "rotation",
}
TRAINING: dict[str, Any] = {
    "steps": 12,
    "batch_size": 16,
    "learning_rate": 3e-3,
    "log_every": 1,
    "checkpoint_every": 5,
    "precision": "float32",
}
LABELS = {"labels": 20, "label_draw": 1, "weight": 0.1, "batch_size": 8}


def fit(
    train: EpisodeArrays,
    held_out: EpisodeArrays,
    state_dir: Path | None = None,
    training: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[OneStepLam, MetricsLog]:
    """A LAM trained with the changed settings, its labels drawn with seed 0."""
    given = {**SETTINGS, **changes, "training": TRAINING | (training or {})}
    settings, labelled = OneStepSettings.model_validate(given), None
    if supervision := settings.supervision:
        count, draw = supervision.labels, supervision.label_draw
        labelled = draw_labels(train, LabelBudget(count), draw=draw, seed=0)
    return fitted(SPEC, settings, train, held_out, state_dir, labelled)


def same(one: OneStepLam, other: OneStepLam) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().values(), strict=True)
    return all(torch.equal(tensor, found) for (_, tensor), found in pairs)


def values(metrics: MetricsLog, name: str, split: str = "train") -> list[float]:
    return [value for _, row_split, row_name, value in metrics.rows if (row_split, row_name) == (split, name)]


@pytest.fixture
def no_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes read every action."""
    monkeypatch.setattr(learning, "held_out_metrics", lambda *given, **named: {"fdm/loss": 0.0})


@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 3}))


def transitions(data: EpisodeTensors, rows: Tensor) -> Window:
    return data.part(TRANSITION, rows).gather(rows)


@pytest.fixture
def supervised(walks: EpisodeArrays) -> tuple[SupervisedLam, tuple[Window, Labelled]]:
    """A model with a head, and a batch: eight windows and eight others with labels."""
    torch.manual_seed(0)
    supervision = SupervisionSettings.model_validate(LABELS)
    model = SupervisedLam(OneStepLam(settings=OneStepSettings.model_validate(SETTINGS), spec=SPEC), supervision)
    data = EpisodeTensors(walks)
    labelled = LabelledTransitions(data, data.rows[100:120], TRANSITION, supervision, seed=0).batch(0)
    return model, (transitions(data, data.rows[:8]), labelled)


def test_the_labels_train_the_inverse_dynamics_and_nothing_behind_it(
    supervised: tuple[SupervisedLam, tuple[Window, Labelled]],
) -> None:
    model, (windows, labelled) = supervised
    model.eval()  # or the codebook would move in between
    (model.loss((windows, labelled)).total - model.lam.loss(windows).total).backward()
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.abs().sum() > 1e-5)
        assert reached == ("forward_dynamics" not in name), name


def test_the_codebook_does_not_move_towards_labelled_windows(
    supervised: tuple[SupervisedLam, tuple[Window, Labelled]],
) -> None:
    model, (windows, labelled) = supervised
    before = {name: tensor.clone() for name, tensor in model.lam.state_dict().items()}
    states = torch.get_rng_state()
    model.lam.loss(windows)
    alone = {name: tensor.clone() for name, tensor in model.lam.quantizer.state_dict().items()}
    model.lam.load_state_dict(before)
    torch.set_rng_state(states)
    model.loss((windows, labelled))
    for name, tensor in model.lam.quantizer.state_dict().items():
        assert torch.equal(tensor, alone[name])


def test_the_terms_are_the_cross_entropy_and_the_share_of_right_actions(
    supervised: tuple[SupervisedLam, tuple[Window, Labelled]],
) -> None:
    model, (windows, labelled) = supervised
    model.eval()
    loss, alone = model.loss((windows, labelled)), model.lam.loss(windows)
    logits = model.head(model.lam.label(labelled.window).continuous)
    expected = -logits.log_softmax(1)[torch.arange(8), labelled.actions].mean()
    torch.testing.assert_close(loss.terms["loss/supervision"], expected.detach())
    torch.testing.assert_close(loss.total, alone.total + 0.1 * expected)
    right = (logits.argmax(1) == labelled.actions).float().mean()
    assert loss.terms["supervision/accuracy"] == right


def test_only_the_labelled_actions_reach_the_model(
    walks: EpisodeArrays, other_walks: EpisodeArrays, no_validation: None
) -> None:
    """All others are none that exist: a loss that read one would fail, or be another."""
    rows = draw_labels(walks, LabelBudget(20), draw=1, seed=0)
    poisoned, swapped = np.full_like(walks.actions, 99), walks.actions.copy()
    poisoned[rows] = walks.actions[rows]
    swapped[rows] = (walks.actions[rows] + 1) % SPEC.num_actions
    whole, hidden, other = (
        fit(EpisodeArrays(**(vars(walks) | {"actions": actions})), other_walks, supervision=LABELS)[0]
        for actions in (walks.actions, poisoned, swapped)
    )
    assert same(hidden, whole)
    assert not same(other, whole)


def test_labels_are_the_first_of_a_larger_budget_of_the_same_draw(walks: EpisodeArrays) -> None:
    few, many = (draw_labels(walks, LabelBudget(count), draw=1, seed=0) for count in (20, 64))
    assert torch.equal(few, many[:20])


@pytest.mark.slow
def test_a_weight_of_zero_is_no_supervision(
    walks: EpisodeArrays, other_walks: EpisodeArrays, quick_probes: None
) -> None:
    """Bit by bit, with random revivals of codes. But for the norm of all gradients: the head's zeros are summed too, in whose order the
    sum is rounded on some processors. So nothing is clipped to it here."""
    unclipped = {"clip_norm": 1e9}
    plain, metrics = fit(walks, other_walks, training=unclipped)
    weightless, with_labels = fit(walks, other_walks, training=unclipped, supervision=LABELS | {"weight": 0})
    assert same(plain, weightless)
    names = {"loss/supervision", "supervision/accuracy"}
    norm = "optimizer/gradient_norm"
    found = [row for row in with_labels.rows if row[2] not in {*names, norm}]
    assert found == [row for row in metrics.rows if row[2] != norm]
    assert values(with_labels, norm) == pytest.approx(values(metrics, norm), rel=1e-6)
    assert len(values(with_labels, "loss/supervision")) == len(values(with_labels, "supervision/accuracy")) == 12
    assert not same(plain, fit(walks, other_walks, training=unclipped, supervision=LABELS)[0])


def test_labels_count_in_every_so_manyth_step(walks: EpisodeArrays) -> None:
    data = EpisodeTensors(walks)
    settings = SupervisionSettings.model_validate(LABELS | {"every": 3})
    batches = LabelledTransitions(data, data.rows[:20], TRANSITION, settings, seed=0)
    weights = [batches.batch(step).weight.item() for step in range(7)]
    assert weights == pytest.approx([0.1, 0, 0, 0.1, 0, 0, 0.1])


def test_a_step_without_labels_has_the_gradients_of_the_frames_alone(
    supervised: tuple[SupervisedLam, tuple[Window, Labelled]],
) -> None:
    model, (windows, labelled) = supervised
    model.eval()
    model.lam.loss(windows).total.backward()
    alone = {name: parameter.grad.clone() for name, parameter in model.lam.named_parameters()}
    model.zero_grad()
    model.loss((windows, labelled._replace(weight=torch.tensor(0.0)))).total.backward()
    for name, parameter in model.lam.named_parameters():
        assert torch.equal(parameter.grad, alone[name]), name
    assert all(not parameter.grad.any() for parameter in model.head.parameters())


def test_fewer_labels_than_a_batch_are_drawn_again(walks: EpisodeArrays) -> None:
    data = EpisodeTensors(walks)
    settings = SupervisionSettings.model_validate({"labels": 5, "batch_size": 10})
    labelled = LabelledTransitions(data, data.rows[:5], TRANSITION, settings, seed=0).batch(3)
    assert labelled.actions.sort().values.tolist() == data.actions[data.rows[:5]].repeat(2).sort().values.tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {"supervision": LABELS | {"every": 2, "hidden_widths": [8]}},
        {"idm_horizon": 5},
        {"idm_horizon": 10, "supervision": LABELS, "quantizer": {"kind": "none", "codebooks": 1, "tokens": 1}},
    ],
    ids=["supervised", "multi-step", "both, continuous"],
)
def test_an_interrupted_and_resumed_lam_equals_a_straight_one(
    changes: dict[str, Any],
    walks: EpisodeArrays,
    other_walks: EpisodeArrays,
    quick_probes: None,
    tmp_path: Path,
    killed_at_loss: Callable[[int], AbstractContextManager[None]],
) -> None:
    straight, straight_metrics = fit(walks, other_walks, **changes)
    with killed_at_loss(9):
        fit(walks, other_walks, tmp_path, **changes)
    resumed, metrics = fit(walks, other_walks, tmp_path, **changes)
    assert same(resumed, straight)
    assert metrics.rows == straight_metrics.rows


def test_a_horizon_of_one_is_the_window_of_three_frames(walks: EpisodeArrays) -> None:
    data, found = EpisodeTensors(walks), []
    for horizon in (1, 4):
        settings = OneStepSettings.model_validate(SETTINGS | {"idm_horizon": horizon})
        model = OneStepLam(settings=settings, spec=SPEC).eval()
        with data.stream(model.training_window, data.rows, 16, seed=0) as stream:
            found.append(stream.window(3))
            assert torch.equal(found[-1].frames[:, :3], transitions(data, stream.rows(3)).frames)
    three, four = found
    assert three.frames.shape[1] == 3 and four.frames.shape[1] == 4
    repeated = Window.of_frames(torch.cat([three.frames, three.frames[:, 2:]], dim=1))
    assert torch.equal(model.loss(repeated).total, model.loss(three).total), "k = 1"


def test_the_inverse_dynamics_see_the_frame_ahead_and_the_prediction_is_of_the_next_one(walks: EpisodeArrays) -> None:
    data = EpisodeTensors(walks)
    model = OneStepLam(settings=OneStepSettings.model_validate(SETTINGS), spec=SPEC).eval()
    window = transitions(data, data.rows[:8])
    ahead = transitions(data, data.rows[8:16]).frames[:, 2:]
    latents = model.label(Window.of_frames(torch.cat([window.frames[:, :2], ahead], dim=1))).quantized
    expected = model.prediction_loss(window, latents).mean().detach()
    found = model.loss(Window.of_frames(torch.cat([window.frames, ahead], dim=1))).terms["loss/reconstruction"]
    torch.testing.assert_close(found, expected)


@pytest.mark.slow
def test_labels_make_latents_tell_the_actions(walks: EpisodeArrays, other_walks: EpisodeArrays) -> None:
    """Of a model too young to have found them in the frames."""
    changes: dict[str, Any] = {
        "inverse_dynamics": {"width": 16, "layers": 2, "hidden_width": 32},
        "quantizer": {"kind": "none", "codebooks": 1, "tokens": 1, "code_dim": 4},
        "training": {"steps": 80, "learning_rate": 1e-2, "warmup_steps": 10, "clip_norm": 100.0},
    }
    labels = {"labels": 256, "weight": 30.0}
    (_, plain), (_, taught) = fit(walks, other_walks, **changes), fit(walks, other_walks, supervision=labels, **changes)
    before, after = plain.latest("validation"), taught.latest("validation")
    assert after["probe/linear_accuracy_effectful"] > before["probe/linear_accuracy_effectful"] + 0.1
    assert after["supervision/accuracy"] > 0.65
    assert values(taught, "loss/supervision")[-1] < 0.6 * values(taught, "loss/supervision")[0]
    assert not [name for name in after if name.startswith("codebook/")], "a continuous latent has none"
