"""What is measured of a latent action model: closed forms, and probes that find what is there and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lamflow.data.held_windows import HeldWindows
from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION, Window
from lamflow.envs.presets import preset
from lamflow.lam import probe as probes
from lamflow.lam.frame_metrics import GridFrameMetrics, PixelFrameMetrics
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.lam.probe import Probed, probe_accuracy
from lamflow.lam.validation import codebook_metrics, effectful_rows, forward_metrics, label_rows
from lamflow.policies.actions import DiscreteActions
from lamflow.training.agreement import r_squared

SPEC = preset("xland-doorkey-5x5")


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def episodes_of(windows: Tensor) -> HeldWindows:
    """Each window [3, H, W, C] as an episode of its own."""
    count = len(windows)
    flags = torch.zeros(3 * count, dtype=torch.bool).numpy()
    arrays = EpisodeArrays(
        observations={"frames": windows.flatten(0, 1).numpy()},
        actions=torch.tensor([0, 0, -1]).repeat(count).numpy(),
        acted=torch.tensor([True, True, False]).repeat(count).numpy(),
        rewards=torch.zeros(3 * count).numpy(),
        terminated=flags,
        truncated=flags,
        episode_starts=(3 * torch.arange(count)).numpy(),
        level_seeds=torch.arange(count).numpy(),
    )
    return EpisodeTensors(arrays, torch.device("cpu")).part(TRANSITION, 3 * torch.arange(count) + 1)


def copy_last_frame_loss(windows: Tensor) -> float:
    """Counted in two batches."""
    metrics = GridFrameMetrics((13, 12))
    for part in windows.split(len(windows) // 2 + 1):
        metrics.add_windows(Window.of_frames(part))
    return metrics.copy_last_frame_loss()


def test_perplexity_is_the_number_of_codes_that_are_used_equally_often() -> None:
    codes = torch.tensor([[0], [1], [2], [3]] * 5)
    found = codebook_metrics(codes, codes_each=16, codebooks=1)
    assert found == pytest.approx({"codebook/perplexity": 4.0, "codebook/used_fraction": 0.25})


def test_perplexity_is_the_exponential_of_the_entropy_and_tokens_of_a_codebook_are_pooled() -> None:
    """Codebook 0 (first two columns): code 0 three times of four; codebook 1: code 5 always."""
    codes = torch.tensor([[0, 0, 5, 5], [0, 1, 5, 5]])
    found = codebook_metrics(codes, codes_each=8, codebooks=2)
    first = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert found == pytest.approx(
        {"codebook/perplexity": (first + 1) / 2, "codebook/used_fraction": (2 / 8 + 1 / 8) / 2}
    )


def test_there_are_no_codebook_metrics_without_codes() -> None:
    assert codebook_metrics(torch.zeros(5, 0, dtype=torch.long), codes_each=8, codebooks=1) == {}


def test_copying_the_last_frame_costs_what_its_closed_form_says() -> None:
    """Of 2 x 2 cells of 3 frames, 3 of 12 tiles change and 0 of 12 colours."""
    windows = torch.zeros(3, 3, 2, 2, 2, dtype=torch.uint8)
    windows[:, 2, 0, 0, 0] = 1
    per_cell = -0.75 * math.log(0.75) - 0.25 * math.log(0.25 / (13 - 1))
    assert copy_last_frame_loss(windows) == pytest.approx(4 * per_cell, rel=1e-6)


def test_copying_the_last_frame_is_free_where_nothing_changes() -> None:
    windows = torch.randint(12, (4, 1, 5, 5, 2)).to(torch.uint8).expand(-1, 3, -1, -1, -1)
    assert copy_last_frame_loss(windows) == 0.0


def test_no_constant_confidence_copies_the_last_frame_more_cheaply() -> None:
    windows = torch.randint(3, (20, 3, 5, 5, 2)).to(torch.uint8)
    windows[:15, 2] = windows[:15, 1]
    best = copy_last_frame_loss(windows)
    for confidence in (0.7, 0.8, 0.9, 0.95):
        total = 0.0
        for channel, categories in enumerate((13, 12)):
            same = windows[:, 1, ..., channel] == windows[:, 2, ..., channel]
            wrong = math.log((1 - confidence) / (categories - 1))
            total -= torch.where(same, math.log(confidence), wrong).sum().item() / len(windows)
        assert total >= best - 1e-4


class Oracle(OneStepLam):
    """Predicts what the latent [B, 50] holds: the next frame, flattened."""

    def predict(self, window: Window, latents_BD: Tensor) -> Tensor:
        return latents_BD.view(-1, 5, 5, 2).to(torch.uint8)

    def prediction_loss(self, window: Window, latents_BD: Tensor) -> Tensor:
        return (window.frames[:, 2] != self.predict(window, latents_BD)).flatten(1).float().sum(1)


def test_forward_metrics_count_changed_cells_whole_frames_and_shuffled_latents() -> None:
    """Two changed cells a frame; the latents tell all of them but one, in the first of five frames."""
    windows = torch.zeros(5, 3, 5, 5, 2, dtype=torch.uint8)
    for index in range(5):
        windows[index, 2, index, 0, 0] = windows[index, 2, index, 1, 1] = 1 + index
    latents = windows[:, 2].flatten(1).float()
    latents[0, 0] = 0
    found = forward_metrics(Oracle(settings=OneStepSettings(), spec=SPEC), episodes_of(windows), latents)
    assert found["fdm/changed_cell_accuracy"] == pytest.approx(0.9)
    assert found["fdm/frame_accuracy"] == pytest.approx(0.8)
    assert found["fdm/loss"] == pytest.approx(0.2)
    assert found["fdm/loss_shuffled_latent"] > 2
    assert found["fdm/loss_copy_last_frame"] == pytest.approx(copy_last_frame_loss(windows))


def test_labelling_in_batches_labels_every_window_in_order() -> None:
    model = OneStepLam(settings=OneStepSettings(), spec=SPEC).eval()
    windows = torch.randint(12, (1500, 3, 5, 5, 2)).to(torch.uint8)
    latents = label_rows(model, episodes_of(windows))
    last = model.label(Window.of_frames(windows[1024:]))
    assert len(latents.continuous) == len(latents.codes) == 1500
    assert torch.equal(latents.codes[1024:], last.codes)


def test_transitions_are_effectful_where_the_frame_changes() -> None:
    windows = torch.randint(12, (600, 3, 5, 5, 2)).to(torch.uint8)
    windows[::3, 2] = windows[::3, 1]
    assert torch.equal(effectful_rows(episodes_of(windows)), torch.arange(600) % 3 > 0)


def test_the_change_explained_compares_the_loss_with_that_of_copying_the_last_frame() -> None:
    """A fifth of the channels goes from black to white in each of 8 windows."""
    windows = torch.zeros(8, 3, 10, 10, 3, dtype=torch.uint8)
    windows[:, 2, :2] = 255
    metrics = PixelFrameMetrics()
    for part in windows.split(3):
        metrics.add_windows(Window.of_frames(part))
    found = metrics.values(0.05)
    assert found["fdm/loss_copy_last_frame"] == pytest.approx(0.2)
    assert found["fdm/change_explained"] == pytest.approx(0.75)


def probe(
    fit: Tensor,
    test: Tensor,
    fit_actions: Tensor,
    test_actions: Tensor,
    effectful: Tensor,
    class_of_action: tuple[int, ...] | None = None,
) -> dict[str, float]:
    return probe_accuracy(
        fit_latents=fit,
        fit_actions=fit_actions,
        test_latents=test,
        test_actions=test_actions,
        test_effectful=effectful,
        space=DiscreteActions(6, class_of_action),
    )


@pytest.fixture(scope="module")
def actions() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(77)
    return torch.randint(6, (1500,), generator=generator), torch.randint(6, (1000,), generator=generator)


@pytest.mark.slow
def test_probes_read_separable_latents(actions: tuple[Tensor, Tensor]) -> None:
    """Latents far from the origin and of small scale, which standardisation undoes."""
    centres = 0.01 * torch.randn(6, 16)
    fit, test = (5 + centres[part] + 0.001 * torch.randn(len(part), 16) for part in actions)
    found = probe(fit, test, *actions, torch.ones(1000, dtype=torch.bool))
    assert set(found) == {f"probe/{k}_accuracy{e}" for k in ("linear", "mlp") for e in ("", "_effectful")}
    assert min(found.values()) > 0.99


@pytest.mark.slow
def test_only_the_mlp_reads_what_no_line_separates(actions: tuple[Tensor, Tensor]) -> None:
    """Actions 0 and 1 are the exclusive or of two signs."""
    fit_actions, test_actions = (part % 2 for part in actions)
    latents = []
    for part in (fit_actions, test_actions):
        sign = torch.randint(2, (len(part),)) * 2.0 - 1
        latents.append(torch.stack([sign, sign * (1 - 2.0 * part)], dim=1) + 0.1 * torch.randn(len(part), 2))
    found = probe(latents[0], latents[1], fit_actions, test_actions, torch.ones(1000, dtype=torch.bool))
    assert found["probe/mlp_accuracy"] > 0.98
    assert found["probe/linear_accuracy"] < 0.7


@pytest.mark.slow
def test_probes_of_random_latents_are_at_chance(actions: tuple[Tensor, Tensor]) -> None:
    """Held-out accuracy: what the probe memorises of 1500 transitions does not help it."""
    fit, test = (torch.randn(len(part), 16) for part in actions)
    found = probe(fit, test, *actions, torch.ones(1000, dtype=torch.bool))
    assert all(0.1 < value < 0.24 for value in found.values()), found


def box_probe(fit: Tensor, test: Tensor, fit_actions: Tensor, test_actions: Tensor) -> dict[str, float]:
    """The second half of the tested transitions change nothing."""
    effectful = torch.arange(len(test)) < len(test) // 2
    return probes.probe_r_squared(Probed(fit, fit_actions), Probed(test, test_actions), effectful)


def test_a_linear_probe_of_continuous_actions_is_the_least_squares_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two entries, of which noise is a tenth and half of the variance; the third never varies. A latent stands there twice, which makes the
    solution one of many. Beside the closed form, on other transitions."""
    monkeypatch.setattr(probes, "PROBE_TRAINING", probes.PROBE_TRAINING.model_copy(update={"steps": 2}))
    latents = torch.randn(3000, 4) * torch.tensor([1.0, 10, 0.1, 1]) + 3
    latents = torch.cat([latents, latents[:, :1]], dim=1)
    noise = torch.randn(3000, 2) * torch.tensor([1 / 3, 1.0])
    actions = torch.cat([(latents[:, [0, 3]] - 3) * torch.tensor([1.0, -1.0]) + noise, torch.ones(3000, 1)], dim=1)
    found = box_probe(latents[:2000], latents[2000:], actions[:2000], actions[2000:])
    assert found["probe/linear_r2_entry0"] == pytest.approx(0.9, abs=0.02)
    assert found["probe/linear_r2_entry1"] == pytest.approx(0.5, abs=0.06)
    assert math.isnan(found["probe/linear_r2_entry2"])
    entries = [found[f"probe/linear_r2_entry{index}"] for index in (0, 1)]
    assert found["probe/linear_r2"] == pytest.approx(sum(entries) / 2)
    design, tested = (
        np.pad(part.double().numpy(), ((0, 0), (0, 1)), constant_values=1) for part in (latents[:2000], latents[2000:])
    )
    predicted = tested @ (np.linalg.pinv(design) @ actions[:2000].double().numpy())
    errors = ((predicted - actions[2000:].numpy()) ** 2).sum(0)[:2]
    variances = ((actions[2000:] - actions[2000:].mean(0)) ** 2).sum(0)[:2].numpy()
    np.testing.assert_allclose(entries, 1 - errors / variances, rtol=1e-4)


@pytest.mark.slow
def test_probes_of_continuous_actions_read_what_is_there_and_nothing_else() -> None:
    """The MLP also a square, which is no line; of random latents nothing; and the units of actions make no difference."""
    latents, noise = torch.randn(2500, 2), torch.randn(2500, 2)
    actions = torch.stack([1000 * latents[:, 0] ** 2, 0.001 * latents[:, 1]], dim=1)
    found = box_probe(latents[:1500], latents[1500:], actions[:1500], actions[1500:])
    assert found["probe/mlp_r2_entry0"] > 0.95 and found["probe/mlp_r2_entry1"] > 0.95
    assert found["probe/linear_r2_entry0"] < 0.1 and found["probe/linear_r2_entry1"] > 0.999
    random = box_probe(noise[:1500], noise[1500:], actions[:1500], actions[1500:])
    assert all(value < 0.05 for value in random.values()), random
    latents[2000:] = noise[2000:]
    half = box_probe(latents[:1500], latents[1500:], actions[:1500], actions[1500:])
    assert half["probe/linear_r2_effectful"] > half["probe/linear_r2"] + 0.1


def test_r_squared_is_its_definition() -> None:
    true = torch.tensor([[0.0, 5], [1, 5], [2, 5], [3, 5]])
    perfect, mean = r_squared(true, true), r_squared(torch.full((4, 2), 1.5), true)
    assert perfect[0] == 1 and mean[0] == 0 and perfect.isnan().tolist() == [False, True]
    assert r_squared(true.flip(0), true)[0] == pytest.approx(1 - 20 / 5)


@pytest.mark.slow
def test_accuracy_on_effectful_transitions_is_over_those_alone(actions: tuple[Tensor, Tensor]) -> None:
    """Half of the test latents are noise, and those are marked as without effect."""
    centres = 3 * torch.randn(6, 16)
    fit, test = (centres[part] for part in actions)
    effectful = torch.arange(1000) < 500
    test = torch.where(effectful[:, None], test, torch.randn(1000, 16))
    found = probe(fit, test, *actions, effectful)
    assert found["probe/mlp_accuracy_effectful"] > 0.99
    assert found["probe/mlp_accuracy"] < 0.75


@pytest.mark.slow
def test_accuracy_over_classes_forgives_actions_that_do_the_same(actions: tuple[Tensor, Tensor]) -> None:
    """The latents tell all actions apart but 4 and 5, which look alike."""
    centres = 3 * torch.randn(6, 16)
    centres[5] = centres[4]
    fit, test = (centres[part] for part in actions)
    classes = torch.tensor([0, 1, 2, 3, 4, 4])
    found = probe(fit, test, *actions, torch.ones(1000, dtype=torch.bool), classes)
    assert found["probe/mlp_accuracy_classes"] > 0.99
    assert found["probe/mlp_accuracy"] < 0.9


def test_without_classes_there_is_no_accuracy_over_them(
    actions: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PROBE_TRAINING", probes.PROBE_TRAINING.model_copy(update={"steps": 2}))
    found = probe(torch.randn(1500, 2), torch.randn(1000, 2), *actions, torch.ones(1000, dtype=torch.bool))
    assert set(found) == {f"probe/{kind}_accuracy{part}" for kind in ("linear", "mlp") for part in ("", "_effectful")}


def test_probing_leaves_the_random_numbers_alone_and_does_not_depend_on_them(
    actions: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PROBE_TRAINING", probes.PROBE_TRAINING.model_copy(update={"steps": 10}))
    fit, test, everywhere = torch.randn(1500, 2), torch.randn(1000, 2), torch.ones(1000, dtype=torch.bool)
    before = torch.get_rng_state()
    first = probe(fit, test, *actions, everywhere)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert probe(fit, test, *actions, everywhere) == first


def test_probes_are_trained_in_float32_whatever_the_lam_is(
    actions: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PROBE_TRAINING", probes.PROBE_TRAINING.model_copy(update={"steps": 10}))
    seen: set[torch.dtype] = set()
    loss = DiscreteActions.loss

    def loss_and_note(space: DiscreteActions, logits: Tensor, actions: Tensor) -> Tensor:
        seen.add(logits.dtype)
        return loss(space, logits, actions)

    monkeypatch.setattr(DiscreteActions, "loss", loss_and_note)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        probe(torch.randn(1500, 2), torch.randn(1000, 2), *actions, torch.ones(1000, dtype=torch.bool))
    assert seen == {torch.float32}
