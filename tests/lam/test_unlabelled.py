"""Latent action models of episodes whose actions nobody knows, or knows of some rows: what they learn, and what is said of actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fitting import fitted
from numpy.typing import NDArray

from lamflow.data.label_budgets import LabelBudget
from lamflow.data.labels import draw_labels
from lamflow.data.store import EpisodeArrays
from lamflow.data.tensors import EpisodeTensors
from lamflow.data.windows import TRANSITION, Window, effectful
from lamflow.envs.presets import preset
from lamflow.envs.spec import EnvironmentSpec
from lamflow.lam import probe
from lamflow.lam.frame_metrics import PixelFrameMetrics
from lamflow.lam.one_step import OneStepLam
from lamflow.lam.one_step_settings import OneStepSettings
from lamflow.lam.validation import effectful_rows
from lamflow.lam.verdicts import Finding, judge
from lamflow.spaces import Unknown
from lamflow.training.metrics import MetricsLog

SPEC = preset("xland-empty-random-8x8-full")
CLIPS = replace(SPEC, name="clips", action=Unknown(), action_names=(), action_classes=())
SETTINGS: dict[str, Any] = {
    "inverse_dynamics": {"width": 8, "layers": 1, "hidden_width": 16},
    "forward_dynamics": {"width": 8, "layers": 1},
    "quantizer": {"codebooks": 1, "tokens": 1, "code_dim": 4, "codes": 8},
    "training": {"steps": 6, "batch_size": 32, "learning_rate": 3e-3, "validate_every": 3, "precision": "float32"},
}
Log = tuple[OneStepLam, MetricsLog]


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 20}))


def fit(train: EpisodeArrays, validation: EpisodeArrays, spec: EnvironmentSpec = SPEC, **changes: Any) -> Log:
    settings = OneStepSettings.model_validate(SETTINGS | changes)
    rows = None
    if settings.supervision:
        rows = draw_labels(train, LabelBudget(settings.supervision.labels), draw=0, seed=0)
    return fitted(spec, settings, train, validation, labelled_rows=rows)


def known(arrays: EpisodeArrays, labelled: NDArray[np.bool_], otherwise: int = -1) -> EpisodeArrays:
    """The same episodes, of which the actions of some rows are known; ``otherwise``: what the others have in their place."""
    return replace(arrays, labelled=labelled, actions=np.where(labelled, arrays.actions, otherwise))


def some(arrays: EpisodeArrays, share: float, otherwise: int = -1) -> EpisodeArrays:
    drawn = np.random.default_rng(0).random(arrays.num_rows) < share
    return known(arrays, drawn & arrays.acted, otherwise)


def same(one: OneStepLam, other: OneStepLam) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)


@pytest.fixture(scope="module")
def with_all(walks: EpisodeArrays, other_walks: EpisodeArrays) -> Log:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "PROBE_TRAINING", probe.PROBE_TRAINING.model_copy(update={"steps": 3}))
        return fit(walks, other_walks)


def test_a_model_of_no_actions_is_that_of_all(with_all: Log, walks: EpisodeArrays, other_walks: EpisodeArrays) -> None:
    """Bit by bit, and nothing is said of actions; all else is measured alike."""
    none = [known(arrays, np.zeros(arrays.num_rows, np.bool_)) for arrays in (walks, other_walks)]
    model, log = fit(*none, spec=CLIPS)
    assert same(model, with_all[0])
    found, expected = log.latest("validation"), with_all[1].latest("validation")
    assert found == {name: value for name, value in expected.items() if not name.startswith("probe/")}
    assert "no probe of true actions" in judge(found).reason or judge(found).finding is not Finding.HEALTHY


def test_probes_are_fitted_and_judged_on_labelled_rows_alone(
    with_all: Log, walks: EpisodeArrays, other_walks: EpisodeArrays
) -> None:
    model, log = fit(some(walks, 0.3), some(other_walks, 0.2))
    assert same(model, with_all[0])
    found = log.latest("validation")
    counts = [int(EpisodeTensors(some(a, s)).labelled.sum()) for a, s in ((walks, 0.3), (other_walks, 0.2))]
    assert [found["probe/fitted_transitions"], found["probe/judged_transitions"]] == [min(c, 4096) for c in counts]
    poisoned = fit(some(walks, 0.3, 10**6), some(other_walks, 0.2, 10**6))
    assert same(poisoned[0], model) and poisoned[1].rows == log.rows


@pytest.mark.parametrize(("train", "validation"), [(0.3, 0.0), (0.0, 0.3)], ids=["none to judge", "none to fit"])
def test_without_labels_on_either_side_there_is_no_probe(
    walks: EpisodeArrays, other_walks: EpisodeArrays, train: float, validation: float
) -> None:
    found = fit(some(walks, train), some(other_walks, validation))[1].latest("validation")
    names = {name for name in found if name.startswith("probe/")}
    assert names == {"probe/fitted_transitions", "probe/judged_transitions"}
    assert (found["probe/fitted_transitions"] > 0, found["probe/judged_transitions"] > 0) == (train > 0, validation > 0)
    assert min(found["probe/fitted_transitions"], found["probe/judged_transitions"]) == 0


def test_supervision_reads_labelled_rows_alone(walks: EpisodeArrays, other_walks: EpisodeArrays) -> None:
    supervision = {"labels": 20, "weight": 1.0}
    one, other = (
        fit(some(walks, 0.3, nothing), some(other_walks, 0.2, nothing), supervision=supervision)
        for nothing in (-1, 10**6)
    )
    assert same(one[0], other[0]) and one[1].rows == other[1].rows
    assert "supervision/accuracy" in one[1].latest("validation")
    unjudged = fit(some(walks, 0.3), some(other_walks, 0), supervision=supervision)[1].latest("validation")
    assert "supervision/accuracy" not in unjudged


def test_supervision_where_nobody_recorded_actions_is_a_problem_of_the_configuration() -> None:
    settings = OneStepSettings.model_validate(SETTINGS | {"supervision": {"labels": 20}})
    assert settings.supervision is not None
    (problem,) = settings.supervision.problems_on(CLIPS)
    assert problem == ("labels", "found 20, and the episodes of clips have no actions: leave `supervision` out")
    assert list(settings.supervision.problems_on(SPEC)) == []


def test_frames_within_the_tolerance_do_not_change(squares: Callable[..., EpisodeArrays]) -> None:
    """Noise upon frames, as a lossy codec leaves it: with its tolerance the same transitions change the frame as without noise."""
    clean = squares(4, seed=0)
    noise = np.random.default_rng(0).integers(-2, 3, clean.frames.shape)
    noisy = replace(clean, observations={"frames": (clean.frames + noise).astype(np.uint8)})
    held = [data.part(TRANSITION, data.rows) for data in (EpisodeTensors(clean), EpisodeTensors(noisy))]
    expected = effectful_rows(held[0])
    assert 0 < expected.sum() < len(expected)
    assert effectful_rows(held[1]).all()
    assert torch.equal(effectful_rows(held[1], 4), expected)
    assert torch.equal(effectful(replace(noisy, frame_tolerance=4)), effectful(clean))


def test_predictions_are_compared_on_the_frames_that_change_beyond_the_tolerance() -> None:
    frames = torch.zeros(4, 3, 8, 8, 3, dtype=torch.uint8)
    frames[0, 2] = 3
    frames[1, 2] = 200
    window, right = Window.of_frames(frames), frames[:, 2].float()
    for tolerance, changing in ((0, 2), (2, 2), (3, 1), (200, 0)):
        metrics = PixelFrameMetrics(tolerance)
        metrics.add_predictions(window, right)
        assert (metrics.nearer.changing, metrics.nearer.nearer) == (changing, changing)
